//! A route that the user owns (`canary.routeRef`): only the weights of the service's own backends in it are moved.
//!
//! At rest such a route is as its owner wrote it: a rule names Service `shop`. While a revision is rolled out that backend is replaced by the
//! revisions' own Services, which share its weight; everything else in the route stays as it is. `rules` and `backendRefs` are atomic lists, so one
//! list is exchanged at a time, by a patch that tests what it replaces.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Routed;
use super::gateway_api::unreported;
use crate::decide::render::ownership::revision_name;
use crate::decide::snapshot::{Child, ObjectKey};
use crate::decide::writes::{Exchange, Write};

/// Digits of a revision's name.
const REVISION_DIGITS: usize = 10;
/// Of a rule's weight that is shared with backends of others, each percent has to be a whole number.
const HUNDRED: i64 = 100;

/// The revision whose Service a backend names.
fn revision<'a>(service: &str, backend: &'a Value) -> Option<&'a str> {
    let revision = backend["name"].as_str()?.strip_prefix(service)?.strip_prefix('-')?;
    let digits = revision.len() == REVISION_DIGITS && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digits.then_some(revision)
}

/// It is a Service of this service: the front, or a revision's.
fn is_own(service: &str, backend: &Value) -> bool {
    let plain = |field: &str, default: &str| backend[field].as_str().is_none_or(|value| value.is_empty() || value == default);
    let here = backend["namespace"].is_null();
    here && plain("group", "") && plain("kind", "Service") && (backend["name"] == service || revision(service, backend).is_some())
}

fn weight(backend: &Value) -> i64 {
    backend["weight"].as_i64().unwrap_or(1)
}

/// A rule in which the service takes part.
struct Rule<'a> {
    index: usize,
    backends: &'a [Value],
    own: Vec<&'a Value>,
    /// The weight of all that is the service's.
    sum: i64,
}

impl Rule<'_> {
    fn is_shared(&self) -> bool {
        self.own.len() < self.backends.len()
    }

    /// Percents cannot be taken of its weight.
    fn is_too_coarse(&self) -> bool {
        self.is_shared() && self.sum % HUNDRED != 0
    }
}

/// Rules in which the service takes part with a weight above 0: where its owner has switched it off, it stays off.
fn rules<'a>(service: &'a str, body: &'a Value) -> impl Iterator<Item = Rule<'a>> {
    let rules = body["spec"]["rules"].as_array().into_iter().flatten().enumerate();
    rules.filter_map(move |(index, rule)| {
        let backends = rule["backendRefs"].as_array()?.as_slice();
        let own: Vec<&Value> = backends.iter().filter(|backend| is_own(service, backend)).collect();
        let sum = own.iter().map(|backend| weight(backend)).sum();
        (sum > 0).then_some(Rule { index, backends, own, sum })
    })
}

/// Whether the route names the Service of a revision: then it has to be handed back some day.
#[must_use]
pub fn is_lent(service: &str, body: &Value) -> bool {
    let backends =
        body["spec"]["rules"].as_array().into_iter().flatten().flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
    backends.into_iter().any(|backend| is_own(service, backend) && revision(service, backend).is_some())
}

/// Revisions whose Services the route names.
pub fn named<'a>(service: &'a str, body: &'a Value) -> impl Iterator<Item = &'a str> {
    let backends =
        body["spec"]["rules"].as_array().into_iter().flatten().flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
    backends.filter(move |backend| is_own(service, backend)).filter_map(move |backend| revision(service, backend))
}

/// What a live route of the user's shows: of several rules the least that any gives.
#[must_use]
pub fn observed(service: &str, key: &ObjectKey, body: &Value) -> Routed {
    let mut weights: Option<BTreeMap<String, i32>> = None;
    let (mut any, mut coarse, mut front) = (false, None, false);
    for rule in rules(service, body) {
        any = true;
        if rule.is_too_coarse() {
            coarse = Some(rule.index);
        }
        let percent = |backend: &&Value| {
            let percent = weight(backend) * HUNDRED / rule.sum;
            Some((revision(service, backend)?.to_owned(), i32::try_from(percent).unwrap_or(0)))
        };
        let here: BTreeMap<String, i32> = rule.own.iter().filter_map(percent).collect();
        front |= here.is_empty();
        let merged = weights.take().map_or_else(|| here.clone(), |before| least(&before, &here));
        weights = Some(merged);
    }
    let weights = weights.unwrap_or_default();
    let unreported = match coarse {
        _ if !any => Some(format!("{} {} has no backend that is Service {service}: add it to a rule", key.kind.names().1, key.name)),
        Some(index) => Some(format!(
            "rule {} of {} {} divides requests between Service {service} and others: give {service} a weight of 100, or of 200, 300 …, so that percents can be taken of it",
            index + 1,
            key.kind.names().1,
            key.name
        )),
        None => unreported(body),
    };
    // Where a rule sends everything to the front Service and another does not, neither is in force.
    let mixed = front && !weights.is_empty();
    Routed { weights, matched: None, unreported: unreported.or_else(|| mixed.then(|| "its rules say different things".to_owned())) }
}

fn least(one: &BTreeMap<String, i32>, other: &BTreeMap<String, i32>) -> BTreeMap<String, i32> {
    let names = one.keys().chain(other.keys());
    let of = |name: &String| one.get(name).copied().unwrap_or(0).min(other.get(name).copied().unwrap_or(0));
    names.map(|name| (name.clone(), of(name))).collect()
}

/// What has to be exchanged so that each rule gives the revisions these percents of the service's own weight; without weights the front Service is
/// named again, as its owner wrote it. `None`: it is so already.
#[must_use]
pub fn reroute(service: &str, key: &ObjectKey, child: &Child, weights: &BTreeMap<String, i32>) -> Option<Write> {
    let exchange = |rule: Rule<'_>| {
        let wanted = wanted(service, &rule, weights)?;
        let same = |(wanted, own): (&Value, &&Value)| wanted["name"] == own["name"] && weight(wanted) == weight(own);
        if wanted.len() == rule.own.len() && wanted.iter().zip(&rule.own).all(same) {
            return None;
        }
        let first = rule.backends.iter().position(|backend| is_own(service, backend))?;
        let (before, after) = rule.backends.split_at(first);
        let others = after.iter().filter(|backend| !is_own(service, backend));
        let all: Vec<Value> = before.iter().chain(&wanted).chain(others).cloned().collect();
        let pointer = format!("/spec/rules/{}/backendRefs", rule.index);
        Some(Exchange { pointer, seen: rule.backends.to_vec().into(), wanted: all.into() })
    };
    let exchanges: Vec<Exchange> = rules(service, &child.body).filter_map(exchange).collect();
    (!exchanges.is_empty()).then(|| Write::Reroute {
        key: key.clone(),
        uid: child.uid.clone(),
        resource_version: child.resource_version.clone(),
        exchanges,
    })
}

/// The service's own backends of a rule as they shall be; `None` where nothing can be done about it.
fn wanted(service: &str, rule: &Rule<'_>, weights: &BTreeMap<String, i32>) -> Option<Vec<Value>> {
    let like = |name: String, weight: Option<i64>| {
        let mut backend = rule.own.first().map(|own| (*own).clone()).unwrap_or_default();
        backend["name"] = name.into();
        match weight {
            Some(weight) => backend["weight"] = weight.into(),
            None => drop(backend.as_object_mut().and_then(|fields| fields.remove("weight"))),
        }
        backend
    };
    if weights.is_empty() {
        // By itself in its rule, any weight is everything.
        let as_it_is = rule.own.len() == 1 && rule.own[0]["name"] == service;
        let weight = if as_it_is { rule.own[0]["weight"].as_i64() } else { rule.is_shared().then_some(rule.sum) };
        return Some(vec![like(service.to_owned(), weight)]);
    }
    if rule.is_too_coarse() {
        return None;
    }
    let sum = if rule.is_shared() { rule.sum } else { HUNDRED };
    Some(
        weights
            .iter()
            .map(|(revision, percent)| like(revision_name(service, revision), Some(sum * i64::from(*percent) / HUNDRED)))
            .collect(),
    )
}

/// What the shell sends: tests of what was seen, then what takes its place.
#[must_use]
pub fn operations(uid: &str, resource_version: &str, exchanges: &[Exchange]) -> Value {
    let test = |path: &str, value: &Value| json!({"op": "test", "path": path, "value": value});
    let identity = [test("/metadata/uid", &uid.into()), test("/metadata/resourceVersion", &resource_version.into())];
    let each = exchanges.iter().flat_map(|exchange| {
        let replace = json!({"op": "replace", "path": exchange.pointer, "value": exchange.wanted});
        [test(&exchange.pointer, &exchange.seen), replace]
    });
    identity.into_iter().chain(each).collect()
}

#[cfg(test)]
mod tests;
