use std::collections::BTreeSet;

use super::*;
use crate::decide::Kind;

const OLD: &str = "a11ce0ffee";
const NEW: &str = "7f9c4d01ab";

fn key() -> ObjectKey {
    ObjectKey::new(Kind::HttpRoute, "public")
}

fn backend(name: &str, weight: i64) -> Value {
    json!({"group": "", "kind": "Service", "name": name, "port": 8080, "weight": weight})
}

/// A route with these rules, which its Gateway has taken in.
fn live(rules: &[Vec<Value>]) -> Child {
    let rules: Vec<Value> = rules.iter().map(|backends| json!({"matches": [{"path": {"value": "/"}}], "backendRefs": backends})).collect();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "observedGeneration": 3});
    let body = json!({
        "metadata": {"generation": 3},
        "spec": {"parentRefs": [{"name": "public"}], "rules": rules},
        "status": {"parents": [{"parentRef": {"name": "public"}, "conditions": [condition("Accepted"), condition("ResolvedRefs")]}]},
    });
    Child { uid: "u".into(), resource_version: "7".into(), ours: false, deleting: false, body }
}

fn shares(new: i32) -> BTreeMap<String, i32> {
    [(NEW.to_owned(), new), (OLD.to_owned(), 100 - new)].into()
}

/// The route once nothing is left to be written, with what is said of its weights on the way.
fn settled(child: &Child, weights: &BTreeMap<String, i32>) -> (Child, usize) {
    let (mut route, mut writes) = (child.clone(), 0);
    while let Some(next) = written(&route, weights) {
        (route, writes) = (next, writes + 1);
        assert!(writes < 4, "it does not come to rest: {:#}", route.body);
    }
    (route, writes)
}

fn seen(child: &Child) -> Routed {
    observed("shop", &key(), &child.body, Some(OLD))
}

/// The route after a write, as the API server carries it out.
fn written(child: &Child, weights: &BTreeMap<String, i32>) -> Option<Child> {
    let Write::Reroute { exchanges, .. } = reroute("shop", &key(), child, weights)? else { panic!("another write") };
    let mut after = child.clone();
    for Exchange { pointer, seen, wanted } in exchanges {
        let place = after.body.pointer_mut(&pointer).unwrap();
        assert_eq!(*place, seen, "it replaces what was seen");
        *place = wanted;
    }
    Some(after)
}

#[test]
fn its_backend_is_divided_and_handed_back_and_nothing_else_is_touched() {
    let at_rest = live(&[
        vec![backend("shop", 1)],
        vec![backend("cart", 300), backend("shop", 200), backend("shop-v2", 5)],
        vec![backend("cart", 1)],
    ]);
    assert!(!is_lent("shop", &at_rest.body));
    assert_eq!(seen(&at_rest), Routed::default(), "everything goes to the front Service");
    assert_eq!(written(&at_rest, &BTreeMap::new()).map(|after| after.body), None, "at rest it is its owner's");

    let begun = written(&at_rest, &shares(0)).unwrap();
    assert_eq!(seen(&begun).weights, shares(0), "what goes to the front Service goes to the revision that it selects");
    let mut route = at_rest.clone();
    for (percent, writes) in [(0, 2), (1, 1), (33, 1), (100, 1), (100, 0)] {
        let (next, count) = settled(&route, &shares(percent));
        assert_eq!((seen(&next).weights, count), (shares(percent), writes), "{percent}%");
        route = next;
    }
    let names = |child: &Child, rule: usize| {
        let backends = child.body["spec"]["rules"][rule]["backendRefs"].as_array().unwrap();
        backends.iter().map(|backend| (backend["name"].as_str().unwrap().to_owned(), weight(backend))).collect::<Vec<_>>()
    };
    let [old, new] = [OLD, NEW].map(|revision| format!("shop-{revision}"));
    let front = || ("shop".to_owned(), 0);
    assert_eq!(names(&route, 0), [front(), (new.clone(), 100), (old.clone(), 0)]);
    assert_eq!(names(&route, 1), [("cart".into(), 300), front(), (new, 200), (old, 0), ("shop-v2".into(), 5)], "others keep theirs");
    assert_eq!(names(&route, 2), [("cart".into(), 1)]);
    assert_eq!(named("shop", &route.body).collect::<BTreeSet<_>>(), [OLD, NEW].into());
    assert!(is_lent("shop", &route.body));

    let (back, writes) = settled(&route, &BTreeMap::new());
    assert_eq!(writes, 2, "given first, then no longer named");
    let mut expected = at_rest.body.clone();
    // Alone in a rule, a weight says nothing.
    expected["spec"]["rules"][0]["backendRefs"][0].as_object_mut().unwrap().remove("weight");
    assert_eq!(back.body, expected);
}

#[test]
fn what_cannot_be_divided_is_said_and_left_alone() {
    let elsewhere = json!({"name": "shop", "namespace": "other", "port": 80});
    let cases = [
        (
            "no backend of ours",
            vec![vec![backend("cart", 1)]],
            Some("HTTPRoute public has no backend that is Service shop: add it to a rule"),
        ),
        ("another namespace's", vec![vec![elsewhere]], Some("HTTPRoute public has no backend that is Service shop: add it to a rule")),
        ("switched off by its owner", vec![vec![backend("shop", 0), backend("cart", 1)], vec![backend("shop", 1)]], None),
        (
            "a weight of which no percent can be taken",
            vec![vec![backend("shop", 1)], vec![backend("shop", 90), backend("cart", 10)]],
            Some("rule 2 of HTTPRoute public divides requests between Service shop and others"),
        ),
        ("no percents are needed where nobody else is", vec![vec![backend("shop", 7)]], None),
    ];
    for (why, rules, expected) in cases {
        let child = live(&rules);
        let said = seen(&child).unreported;
        assert!(
            said.as_deref().zip(expected).is_some_and(|(said, expected)| said.starts_with(expected)) || said.as_deref() == expected,
            "{why}: {said:?}"
        );
    }
    let coarse = live(&[vec![backend("shop", 90), backend("cart", 10)]]);
    assert!(reroute("shop", &key(), &coarse, &shares(5)).is_none());
    let overwritten = live(&[vec![backend("shop", 1)], vec![backend("shop-7f9c4d01ab", 10), backend("shop-a11ce0ffee", 90)]]);
    assert_eq!(seen(&overwritten).weights, [(NEW.to_owned(), 0), (OLD.to_owned(), 90)].into(), "the least that a rule gives");
    let off = live(&[vec![backend("shop", 0), backend("cart", 1)]]);
    assert!(reroute("shop", &key(), &off, &shares(5)).is_none());
}

#[test]
fn nothing_is_given_to_whom_the_proxy_may_not_know_yet() {
    let unreported = |mut child: Child| {
        child.body["metadata"]["generation"] = 4.into();
        child
    };
    let at_rest = live(&[vec![backend("shop", 1)]]);
    let begun = written(&unreported(at_rest.clone()), &shares(20)).unwrap();
    let names: Vec<i64> = begun.body["spec"]["rules"][0]["backendRefs"].as_array().unwrap().iter().map(weight).collect();
    assert_eq!(names, [100, 0, 0], "named, and given nothing");
    assert!(written(&begun, &shares(20)).is_none(), "it waits for the report");
    let (divided, _) = settled(&at_rest, &shares(20));
    let back = written(&unreported(divided), &shares(0)).unwrap();
    assert_eq!(seen(&back).weights, shares(0), "going back waits for nobody");
    let given = written(&back, &BTreeMap::new()).unwrap();
    assert!(written(&given, &BTreeMap::new()).is_none(), "they stay named until it is reported that they get nothing");
}

#[test]
fn the_patch_tests_what_it_replaces() {
    let child = live(&[vec![backend("shop", 1)]]);
    let Some(Write::Reroute { exchanges, uid, resource_version, .. }) = reroute("shop", &key(), &child, &shares(5)) else {
        panic!("no write")
    };
    let operations = operations(&uid, &resource_version, &exchanges);
    let ops: Vec<_> = operations.as_array().unwrap().iter().map(|op| (op["op"].as_str().unwrap(), op["path"].as_str().unwrap())).collect();
    let path = "/spec/rules/0/backendRefs";
    assert_eq!(ops, [("test", "/metadata/uid"), ("test", "/metadata/resourceVersion"), ("test", path), ("replace", path)]);
}
