use serde_json::json;

use super::*;
use crate::api::status::Moment;
use crate::api::{ProductionService, ProductionServiceSpec};
use crate::decide::plan;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_265_200 + second).unwrap()
}

fn service(promql: &serde_json::Value) -> ProductionService {
    let spec = json!({
        "image": "shop:1", "ports": [{"name": "http", "port": 8080}],
        "objectives": [{"name": "checkouts", "promql": promql}],
        "observability": {"metrics": {"provider": "main"}},
    });
    let mut service = ProductionService::new("shop", serde_json::from_value::<ProductionServiceSpec>(spec).unwrap());
    service.metadata.namespace = Some("web".into());
    service
}

fn plan_with(promql: &serde_json::Value) -> Plan {
    plan::of_service(&service(promql))
}

fn by_revision() -> serde_json::Value {
    json!({"query": "sum(rate(checkouts_ok{revision=\"{{revision}}\"}[1m]))", "atLeast": "0.9"})
}

fn watched() -> Progress {
    let progress = json!({
        "id": "bbbbbbbbbb-1", "revision": "bbbbbbbbbb", "attempt": 1, "started": at(0), "step": 0, "stage": "Soaking", "since": at(0),
        "weightSince": at(0), "deadline": at(600), "readyHighWater": 1,
    });
    serde_json::from_value(progress).unwrap()
}

fn answer(revision: &str, value: Result<f64, Silence>) -> QueryAnswer {
    QueryAnswer { objective: "checkouts".into(), revision: Some(revision.into()), value }
}

/// S held, F failed, B failed on both, I said nothing, E was no answer.
fn given(progress: &mut Progress, plan: &Plan, letters: &str) {
    for letter in letters.chars() {
        let own = match letter {
            'S' => Ok(0.95),
            'F' | 'B' => Ok(0.5),
            'I' => Err(Silence::Inconclusive("the answer has no sample".into())),
            _ => Err(Silence::Error("Prometheus: connection refused".into())),
        };
        let other = if letter == 'B' { 0.5 } else { 0.97 };
        observe(plan, progress, &[answer("bbbbbbbbbb", own), answer("aaaaaaaaaa", Ok(other))]);
    }
}

fn verdict(letters: &str) -> (Standing, String) {
    let (plan, mut progress) = (plan_with(&by_revision()), watched());
    given(&mut progress, &plan, letters);
    let verdict = verdicts(&plan, &progress, "aaaaaaaaaa", Some(at(700)), at(300)).remove(0);
    (verdict.standing, verdict.sentence)
}

#[test]
fn example_29() {
    assert_eq!(verdict("SSFFF").0, Standing::Fail("FailedInARow"));
    assert_eq!(verdict("FSFSFSFSF").0, Standing::Fail("FailedTooOften"));
    assert_eq!(verdict("FFIF").0, Standing::Fail("FailedInARow"));
    assert_eq!(verdict("EEEEEE").0, Standing::Pending("NoAnswer"));
}

#[test]
fn answers_come_to_a_verdict_with_its_numbers() {
    let cases = [
        ("", Standing::Pending("TooFewAnswers"), "checkouts: 0 of 3 answers in a row that hold; at least 0.9 is asked"),
        (
            "SS",
            Standing::Pending("TooFewAnswers"),
            "checkouts: 2 of 3 answers in a row that hold; 0.95 on bbbbbbbbbb, 0.97 on aaaaaaaaaa, at least 0.9 is asked",
        ),
        ("SSS", Standing::Pass, "checkouts: 0.95 on bbbbbbbbbb, 0.97 on aaaaaaaaaa, at least 0.9 is asked; it held 3 times in a row"),
        ("SSISES", Standing::Pass, "in a row"),
        ("SSF", Standing::Pending("TooFewAnswers"), "checkouts: 0 of 3 answers in a row"),
        ("SSSF", Standing::Pending("TooFewAnswers"), "0 of 3"),
        ("SSSFSS", Standing::Pending("TooFewAnswers"), "2 of 3"),
        (
            "FFF",
            Standing::Fail("FailedInARow"),
            "checkouts: 0.5 on bbbbbbbbbb, 0.97 on aaaaaaaaaa, at least 0.9 is asked; it failed 3 times in a row",
        ),
        ("FFEEEEF", Standing::Fail("FailedInARow"), "3 times in a row"),
        ("FSSSSSSSSSSFFSF", Standing::Pending("TooFewAnswers"), "0 of 3"),
        ("BBBBBB", Standing::Pending("StableToo"), "it fails on the running revision as well"),
        ("EEEEE", Standing::Pending("NoAnswer"), "checkouts: no number 5 times in a row: Prometheus: connection refused"),
        ("SSSEEEEE", Standing::Pass, "it held 3 times in a row"),
    ];
    for (letters, standing, words) in cases {
        let (found, sentence) = verdict(letters);
        assert_eq!(found, standing, "{letters}: {sentence}");
        assert!(sentence.contains(words), "{letters}: {sentence}");
    }
    // Not cumulative: thirty failures among three hundred answers fail nobody.
    let long = "SSSSSSSSSF".repeat(30);
    assert!(!matches!(verdict(&long).0, Standing::Fail(_)));
}

#[test]
fn each_step_needs_answers_of_its_own() {
    let (plan, mut progress) = (plan_with(&by_revision()), watched());
    given(&mut progress, &plan, "SSS");
    progress.weight_since = Some(Moment(at(400)));
    given(&mut progress, &plan, "SS");
    let standing = |progress: &Progress| verdicts(&plan, progress, "aaaaaaaaaa", None, at(500)).remove(0).standing;
    assert_eq!(standing(&progress), Standing::Pending("TooFewAnswers"));
    given(&mut progress, &plan, "S");
    assert_eq!(standing(&progress), Standing::Pass);
    assert!(progress.queries[0].recent.len() <= REMEMBERED);
}

#[test]
fn time_that_is_over_does_what_the_spec_says_and_never_promotes_what_fails() {
    let cases = [
        ("hold", "S", "Pending"),
        ("rollBack", "S", "Fail"),
        ("promote", "S", "Pass"),
        ("promote", "E", "Pass"),
        ("promote", "SF", "Pending"),
        ("promote", "SFII", "Pending"),
    ];
    for (wanted, letters, expected) in cases {
        let mut service = service(&by_revision());
        service.spec.rollout = serde_json::from_value(json!({"analysis": {"onNoEvidence": wanted}})).unwrap();
        let (plan, mut progress) = (plan::of_service(&service), watched());
        given(&mut progress, &plan, letters);
        let verdict = verdicts(&plan, &progress, "aaaaaaaaaa", Some(at(700)), at(700)).remove(0);
        assert!(format!("{:?}", verdict.standing).starts_with(expected), "{wanted} {letters}: {verdict:?}");
        assert!(verdict.sentence.contains("the time for it is over"), "{}", verdict.sentence);
    }
}

#[test]
fn questions_are_asked_from_a_minute_on_each_in_its_interval() {
    let plan = plan_with(&by_revision());
    let progress = watched();
    let mut queried = BTreeMap::new();
    assert_eq!(wake(&plan, &progress, &queried), Some(at(60)));
    queried.insert("checkouts".to_owned(), at(60));
    assert_eq!(wake(&plan, &progress, &queried), Some(at(90)));
    let shifting = Progress { stage: Stage::Shifting, ..watched() };
    assert_eq!(wake(&plan, &shifting, &queried), None, "no weight is in force");
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_field() {
    let cases = [
        (json!({"query": "sum(", "atMost": "1"}), "spec.objectives[0].promql.query: Prometheus would not read it"),
        (json!({"query": "up", "atMost": "1", "atLeast": "1"}), "set exactly one of atMost and atLeast"),
        (json!({"query": "up"}), "set exactly one of atMost and atLeast"),
    ];
    for (promql, expected) in cases {
        let mut refusals = Vec::new();
        planned(&service(&promql).spec, "web", &mut refusals);
        assert!(refusals.iter().any(|refusal| refusal.message.contains(expected)), "{refusals:?}");
    }
    let known = [("other".to_owned(), 15)].into();
    assert!(unknown(&plan_with(&by_revision()).queries, &known).any(|refusal| refusal.message.contains("checkouts is asked of \"main\"")));
}

#[test]
fn numbers_have_four_digits() {
    let cases = [
        (0.0, "0"),
        (1.0, "1"),
        (0.123_456, "0.1235"),
        (1_234_567.0, "1235000"),
        (-0.5, "-0.5"),
        (1e-12, "0.000000000001"),
        (1e300, "1.000e300"),
    ];
    for (value, expected) in cases {
        assert_eq!(number(value), expected, "{value}");
    }
}
