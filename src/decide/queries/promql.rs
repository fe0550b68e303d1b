//! The user's query, held to the service's own namespace: parsed, not pasted, so that no tenant reads a neighbour's numbers.

use promql_parser::label::{MatchOp, Matcher, Matchers};
use promql_parser::parser::{Expr, VectorSelector, parse};

/// What stands for a revision in a query.
pub const REVISION: &str = "{{revision}}";

/// The query for a revision, with the namespace in each of its selectors.
///
/// # Errors
/// Why it is no query.
pub fn forced(query: &str, revision: &str, namespace: &str) -> Result<String, String> {
    let mut expression = parse(&query.replace(REVISION, revision))?;
    force(&mut expression, &Matcher::new(MatchOp::Equal, "namespace", namespace))?;
    Ok(expression.to_string())
}

/// Adds the matcher to every selector below. What is matched already stays: of another namespace there is nothing then.
fn force(expression: &mut Expr, own: &Matcher) -> Result<(), String> {
    match expression {
        Expr::VectorSelector(selector) => selected(selector, own),
        Expr::MatrixSelector(selector) => selected(&mut selector.vs, own),
        Expr::Aggregate(aggregate) => {
            if let Some(parameter) = &mut aggregate.param {
                force(parameter, own)?;
            }
            return force(&mut aggregate.expr, own);
        }
        Expr::Unary(unary) => return force(&mut unary.expr, own),
        Expr::Binary(binary) => {
            force(&mut binary.lhs, own)?;
            return force(&mut binary.rhs, own);
        }
        Expr::Paren(paren) => return force(&mut paren.expr, own),
        Expr::Subquery(subquery) => return force(&mut subquery.expr, own),
        Expr::Call(call) => {
            for argument in &mut call.args.args {
                force(argument, own)?;
            }
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Extension(_) => return Err("it has an expression that is not of PromQL".to_owned()),
    }
    Ok(())
}

fn selected(selector: &mut VectorSelector, own: &Matcher) {
    let Matchers { matchers, or_matchers } = &mut selector.matchers;
    for alternative in &mut *or_matchers {
        alternative.push(own.clone());
    }
    // Alternatives stand in the place of the list.
    if or_matchers.is_empty() {
        matchers.push(own.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_gets_the_namespace() {
        let cases = [
            ("up", 1),
            ("sum(rate(checkout_failed_total{revision=\"{{revision}}\"}[1m])) / sum(rate(checkout_total[1m]))", 2),
            ("histogram_quantile(0.99, sum by (le) (rate(d_bucket{namespace=\"other\"}[5m])))", 1),
            ("max_over_time((a - b)[5m:30s] offset 1m)", 2),
            ("quantile(scalar(q), a) > bool on (pod) group_left (x) b{job=~\"x.*\"} @ end()", 3),
            ("topk(3, -a) or absent(b{}) unless c", 3),
            ("label_replace(a, \"x\", \"$1\", \"y\", \"(.*)\")", 1),
            ("{__name__=~\"a|b\"}", 1),
            ("{x=\"1\" or y=\"2\"}", 2),
            ("1 + 2", 0),
        ];
        for (query, selectors) in cases {
            let forced = forced(query, "7f9c4d01ab", "shop").unwrap_or_else(|why| panic!("{query}: {why}"));
            assert_eq!(forced.matches("namespace=\"shop\"").count(), selectors, "{query} -> {forced}");
            assert!(!forced.contains("{{"), "{forced}");
            assert_eq!(parse(&forced).map(|expression| expression.to_string()), Ok(forced.clone()), "{query} does not read back");
        }
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for query in ["", "sum(", "rate(a)", "a{b=c}", "a; drop", "{}"] {
            assert!(forced(query, "7f9c4d01ab", "shop").is_err(), "{query}");
        }
        // Nobody leaves the quotes by the namespace.
        assert_eq!(forced("up", "7f9c4d01ab", "a\"}").unwrap(), "up{namespace=\"a\\\"}\"}");
    }
}
