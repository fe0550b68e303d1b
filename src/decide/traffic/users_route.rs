//! A route that the user owns (`canary.routeRef`): only the weights of the service's own backends in it are moved.
//!
//! At rest such a route is as its owner wrote it: a rule names Service `shop`. While a revision is rolled out the revisions' own Services stand
//! beside that backend and share its weight; everything else in the route stays as it is. Who gets weight was named at 0 before, and that was
//! reported: a proxy that first has to learn of a Service answers 503 meanwhile (Contour and Envoy do, for a moment). So a rollout begins and ends with
//! two writes: named, then given; taken, then no longer named. `rules` and `backendRefs` are atomic lists, so one list is exchanged at a time, by a patch
//! that tests what it replaces.

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
    named(service, body).next().is_some()
}

/// Revisions whose Services the route names.
pub fn named<'a>(service: &'a str, body: &'a Value) -> impl Iterator<Item = &'a str> {
    let backends =
        body["spec"]["rules"].as_array().into_iter().flatten().flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
    backends.filter(move |backend| is_own(service, backend)).filter_map(move |backend| revision(service, backend))
}

/// What a live route of the user's shows: of several rules the least that any gives. What goes to the front Service goes to the revision that it
/// selects, if it selects one.
#[must_use]
pub fn observed(service: &str, key: &ObjectKey, body: &Value, selected: Option<&str>) -> Routed {
    let mut weights: Option<BTreeMap<String, i32>> = None;
    let (mut any, mut coarse, mut named) = (false, None, false);
    for rule in rules(service, body) {
        any = true;
        if rule.is_too_coarse() {
            coarse = Some(rule.index);
        }
        // Where the front Service selects several, it divides by their pods.
        let by_front = selected.is_none() && rule.own.iter().any(|own| own["name"] == service && weight(own) > 0);
        named |= !by_front && rule.own.iter().any(|backend| revision(service, backend).is_some());
        let mut here: BTreeMap<String, i32> = BTreeMap::new();
        for backend in &rule.own {
            let Some(revision) = revision(service, backend).or(selected) else { continue };
            let percent = weight(backend) * HUNDRED / rule.sum;
            *here.entry(revision.to_owned()).or_default() += i32::try_from(percent).unwrap_or(0);
        }
        weights = Some(weights.map_or_else(|| here.clone(), |before| least(&before, &here)));
    }
    // Where no revision is named, nothing is divided.
    let weights = weights.filter(|_| named).unwrap_or_default();
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
    Routed { weights, matched: None, mirrored: None, unreported }
}

fn least(one: &BTreeMap<String, i32>, other: &BTreeMap<String, i32>) -> BTreeMap<String, i32> {
    let names = one.keys().chain(other.keys());
    let of = |name: &String| one.get(name).copied().unwrap_or(0).min(other.get(name).copied().unwrap_or(0));
    names.map(|name| (name.clone(), of(name))).collect()
}

/// What has to be exchanged so that each rule gives the revisions these percents of the service's own weight; without weights everything to the
/// front Service, as its owner wrote it. `None`: it is so already, or what was written last has not been reported.
#[must_use]
pub fn reroute(service: &str, key: &ObjectKey, child: &Child, weights: &BTreeMap<String, i32>) -> Option<Write> {
    let reported = unreported(&child.body).is_none();
    exchanged(service, key, child, |rule| wanted(service, rule, weights, reported))
}

/// The route as its owner wrote it, at once: the front Service is known to every proxy, since it is named all along.
#[must_use]
pub fn hand_back(service: &str, key: &ObjectKey, child: &Child) -> Option<Write> {
    exchanged(service, key, child, |rule| Some(vec![made(rule, service, rule.is_shared().then_some(rule.sum))]))
}

/// Exchanges the service's own backends of each rule for others, where they are not the same already.
fn exchanged(service: &str, key: &ObjectKey, child: &Child, wanted: impl Fn(&Rule<'_>) -> Option<Vec<Value>>) -> Option<Write> {
    let exchange = |rule: Rule<'_>| {
        let wanted = wanted(&rule)?;
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

/// A backend like the rule's own ones, but for its name and weight; without a weight where it is by itself.
fn made(rule: &Rule<'_>, name: &str, weight: Option<i64>) -> Value {
    let mut backend = rule.own.first().map(|own| (*own).clone()).unwrap_or_default();
    backend["name"] = name.into();
    match weight {
        Some(weight) => backend["weight"] = weight.into(),
        None => drop(backend.as_object_mut().and_then(|fields| fields.remove("weight"))),
    }
    backend
}

/// The service's own backends of a rule as they shall be next; `None` where nothing can be done about it now.
fn wanted(service: &str, rule: &Rule<'_>, weights: &BTreeMap<String, i32>, reported: bool) -> Option<Vec<Value>> {
    let live = |name: &str| rule.own.iter().find(|own| own["name"] == name).map(|own| weight(own));
    let only_front = rule.own.len() == 1 && live(service).is_some();
    if weights.is_empty() && only_front {
        return None;
    }
    if weights.is_empty() && rule.own.iter().all(|own| own["name"] == service || weight(own) == 0) && live(service).is_some() {
        // By itself in its rule, any weight is everything.
        return reported.then(|| vec![made(rule, service, rule.is_shared().then_some(rule.sum))]);
    }
    if rule.is_too_coarse() {
        return None;
    }
    let sum = if rule.is_shared() { rule.sum } else { HUNDRED };
    let front = if weights.is_empty() { HUNDRED } else { 0 };
    let percents: BTreeMap<String, i64> = weights
        .iter()
        .map(|(revision, percent)| (revision_name(service, revision), i64::from(*percent)))
        // Whoever is named stays named until nothing goes there.
        .chain(
            rule.own
                .iter()
                .filter_map(|own| Some((own["name"].as_str()?.to_owned(), 0)))
                .filter(|(name, _)| weights.is_empty() && name != service),
        )
        .chain([(service.to_owned(), front)])
        .collect();
    let unknown = percents.iter().any(|(name, percent)| *percent > 0 && live(name).is_none());
    let share = |(name, percent): (&String, &i64)| {
        let now = live(name).unwrap_or(0) * sum / rule.sum;
        made(rule, name, Some(if unknown { now } else { sum * percent / HUNDRED }))
    };
    // Revisions that were named last have to be reported before they are given anything. The front Service is named all along.
    let gives = !unknown && front == 0 && live(service).is_some_and(|weight| weight > 0);
    (reported || !gives).then(|| percents.iter().map(share).collect())
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
