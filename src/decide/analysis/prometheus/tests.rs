use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::*;
use crate::decide::analysis::convention::{self, Convention, Source};

fn vector(result: &[Json]) -> Answer {
    Answer::read(json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string().as_bytes()).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "the rows build it")]
fn element(labels: Json, value: &str) -> Json {
    json!({"metric": labels, "value": [1_700_000_010.5, value]})
}

/// A pod that was scraped five seconds ago.
fn scraped(pod: &str, up: &str) -> [Json; 2] {
    [element(json!({"pod": pod, "plimsoll": "at"}), "1700000005.25"), element(json!({"pod": pod, "plimsoll": "up"}), up)]
}

fn counted(pod: &str, code: &str, value: &str) -> Json {
    element(json!({"__name__": "http_requests_total", "pod": pod, "code": code}), value)
}

fn read_one(counts: &[Json], buckets: &[Json]) -> Result<Known, String> {
    read(&vector(counts), &vector(buckets), &Reading::default()).remove("a").unwrap()
}

#[test]
fn both_sources_give_the_judge_the_same_numbers() {
    let page = "http_requests_total{code=\"200\",route=\"/a\"} 90\nhttp_requests_total{code=\"200\",route=\"/b\"} 6\nhttp_requests_total{code=\"500\"} 4\n\
                http_request_duration_seconds_bucket{le=\"0.25\"} 70\nhttp_request_duration_seconds_bucket{le=\"+Inf\"} 100\n";
    let own = convention::read(page.as_bytes(), "", &Reading::default()).unwrap();
    let [at, up] = scraped("a", "1");
    let bucket = |le: &str, value: &str, series: &str| {
        let name = "http_request_duration_seconds_bucket";
        [
            element(json!({"__name__": name, "pod": "a", "le": le}), value),
            element(json!({"__name__": name, "pod": "a", "le": le, "plimsoll": "series"}), series),
        ]
    };
    let buckets = [bucket("0.25", "70", "2"), bucket("0.5", "35", "1"), bucket("+Inf", "100", "2")].concat();
    let known = read_one(&[counted("a", "200", "96"), counted("a", "500", "4"), at, up], &buckets).unwrap();
    assert_eq!(known.counters, own, "a bound that one of two series lacks is left out");
    assert_eq!(known.at, "2023-11-14T22:13:25.25Z".parse().unwrap(), "the moment of the scrape, not of the question");
}

#[test]
fn pods_are_kept_apart_and_the_silent_say_why() {
    let [at, up] = scraped("a", "1");
    let [b_at, b_up] = scraped("b", "0");
    let [c_at, c_up] = scraped("c", "1");
    let counts = [counted("a", "200", "9"), at, up, b_at, b_up, c_at, c_up, counted("d", "200", "1"), counted("c", "500", "NaN")];
    let pods = read(&vector(&counts), &Answer::default(), &Reading::default());
    assert_eq!(pods["a"].as_ref().unwrap().counters.requests(), 9);
    assert_eq!(pods["b"].as_ref().unwrap_err(), "Prometheus cannot scrape it (up is 0)");
    assert_eq!(pods["c"].as_ref().unwrap_err(), "http_requests_total counts NaN, which is no count");
    assert!(pods["d"].as_ref().unwrap_err().starts_with("Prometheus has no up for it"));
    let [at, up] = scraped("a", "1");
    let missing = read_one(&[at, up], &[]).unwrap().counters.missing.unwrap();
    assert!(missing.ends_with("no series at all"), "{missing}");
}

#[test]
fn native_histograms_are_read_at_bounds_that_all_share() {
    let [at, up] = scraped("a", "1");
    let native = |code: &str, count: &str, buckets: Json| {
        json!({"metric": {"__name__": "http_request_duration_seconds", "pod": "a", "code": code},
               "histogram": [1_700_000_010.5, {"count": count, "sum": "3", "buckets": buckets}]})
    };
    let fast = native(
        "200",
        "10",
        json!([[0, "0.125", "0.1486508895", "6"], [0, "0.21022410381342865", "0.25", "3"], [0, "0.5", "0.5946035575013605", "1"]]),
    );
    let slow = native("500", "2", json!([[0, "1", "1.189207115", "2"]]));
    let known = read_one(&[fast, slow, at, up], &[]).unwrap();
    let counters = &known.counters;
    assert_eq!((counters.source, counters.requests(), counters.failures(), counters.timed), (Some(Source::RequestDuration), 12, 2, 12));
    assert_eq!(
        (counters.buckets[&125_000], counters.buckets[&250_000], counters.buckets[&1_000_000], counters.buckets[&2_000_000]),
        (0, 9, 10, 12)
    );
}

#[test]
fn queries_are_raw_counters_of_the_services_own_pods() {
    let pods = pods_called(["shop-1-x", "a|b"].into_iter());
    let query = counts("team \"a\"", &pods, &Reading::by(Convention::Grpc), false);
    assert!(query.starts_with("sum by (__name__,pod,code,"), "{query}");
    assert!(!query.contains("rate") && !query.contains("increase"), "{query}");
    let own = r#"namespace="team \"a\"",pod=~"shop\\-1\\-x|a\\|b""#;
    let selectors = query.matches('{').count();
    assert_eq!((selectors, query.matches(own).count()), (3, 3), "{query}");
    assert!(query.contains(r#"{__name__=~"grpc_server_handled_total|grpc_server_handling_seconds","#), "{query}");
    let query = counts("team", &pods, &Reading::by(Convention::Grpc), true);
    assert!(query.contains("grpc_server_handling_seconds|process_resident_memory_bytes|"), "{query}");
    let query = buckets("team", &pods, &Reading::default()).unwrap();
    assert_eq!((query.matches('{').count(), query.matches(r#"namespace="team""#).count()), (2, 2), "{query}");
}

#[test]
fn answers_that_say_nothing() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let many = json!({"status": "success", "data": {"resultType": "vector", "result": vec![element(json!({}), "1"); 20_001]}}).to_string();
    let of = |result: Json| json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string();
    let cases = [
        ("empty", String::new(), NotAnswer::NotJson),
        ("HTML", "<html>login</html>".to_owned(), NotAnswer::NotJson),
        ("cut", of(json!([]))[..40].to_owned(), NotAnswer::NotJson),
        ("deep", deep, NotAnswer::NotJson),
        (
            "deep in its middle",
            format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":{}}}}}", "[".repeat(5000)),
            NotAnswer::NotJson,
        ),
        ("no data", json!({"status": "success"}).to_string(), NotAnswer::NotJson),
        ("refused", json!({"status": "error", "error": "parse error"}).to_string(), NotAnswer::Refused("parse error".to_owned())),
        (
            "a scalar",
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}).to_string(),
            NotAnswer::WrongType("scalar".to_owned()),
        ),
        (
            "a matrix",
            json!({"status": "success", "data": {"resultType": "matrix", "result": []}}).to_string(),
            NotAnswer::WrongType("matrix".to_owned()),
        ),
        ("a word", of(json!([element(json!({}), "many")])), NotAnswer::NotANumber),
        ("without a value", of(json!([{"metric": {}}])), NotAnswer::NotJson),
        ("a number as value", of(json!([{"metric": {}, "value": [1, 2]}])), NotAnswer::NotJson),
        ("a label that is no text", of(json!([{"metric": {"a": 1}, "value": [1, "2"]}])), NotAnswer::NotJson),
        ("too many", many, NotAnswer::TooMany),
    ];
    for (why, body, expected) in cases {
        assert_eq!(Answer::read(body.as_bytes()), Err(expected), "{why}");
    }
    assert_eq!(Answer::read(&[0xff, 0xfe]), Err(NotAnswer::NotJson));
}

#[test]
fn values_that_are_no_counts_silence_their_pod_only() {
    for value in ["NaN", "+Inf", "-Inf", "-1", "9007199254740994"] {
        let [at, up] = scraped("a", "1");
        assert!(read_one(&[counted("a", "200", value), at, up], &[]).unwrap_err().contains("no count"), "{value}");
    }
    for at in ["NaN", "+Inf", "1e300"] {
        let [_, up] = scraped("a", "1");
        let at = element(json!({"pod": "a", "plimsoll": "at"}), at);
        assert!(read_one(&[counted("a", "200", "1"), at, up], &[]).is_err(), "a time that no calendar has");
    }
    assert_eq!(read(&vector(&[element(json!({}), "1")]), &Answer::default(), &Reading::default()), BTreeMap::new());
}

fn answer(kind: &str, result: &Json) -> Vec<u8> {
    json!({"status": "success", "data": {"resultType": kind, "result": result}}).to_string().into_bytes()
}

#[test]
fn the_past_is_what_instant_queries_would_have_answered() {
    let rows = json!([
        {"metric": {"__name__": "http_requests_total", "pod": "a", "code": "200"}, "values": [[1_700_000_000, "10"], [1_700_000_015, "25"]]},
        {"metric": {"pod": "a", "plimsoll": "at"}, "values": [[1_700_000_000, "1699999999"], [1_700_000_015, "1700000014"]]},
        {"metric": {"pod": "a", "plimsoll": "up"}, "values": [[1_700_000_000, "1"], [1_700_000_015, "1"]]},
        {"metric": {"__name__": "http_requests_total", "pod": "b", "code": "200"}, "values": [[1_700_000_015, "7"]]},
    ]);
    let moments = range(&answer("matrix", &rows)).unwrap();
    let known: Vec<_> = moments.values().map(|counts| read(counts, &Answer::default(), &Reading::default())).collect();
    let total = |round: usize| known[round]["a"].as_ref().unwrap().counters.requests();
    assert_eq!((known.len(), total(0), total(1)), (2, 10, 25));
    assert_eq!(known[1]["a"].as_ref().unwrap().at.as_second(), 1_700_000_014, "the time is the scrape's");
    assert!(!known[0].contains_key("b") && known[1]["b"].is_err(), "a pod without up is not known");
    assert_eq!(range(&answer("vector", &json!([]))), Err(NotAnswer::WrongType("vector".to_owned())));
    assert_eq!(range(b"<html>"), Err(NotAnswer::NotJson));
    let long: Vec<Json> = (0..300_000).map(|second| json!([second, "1"])).collect();
    assert_eq!(range(&answer("matrix", &json!([{"metric": {}, "values": long}]))), Err(NotAnswer::TooMany));
}

#[test]
fn a_query_of_ones_own_is_answered_by_one_finite_number() {
    let one = |value: &str| json!([{"metric": {}, "value": [1, value]}]);
    let cases = [
        ("vector", one("0.25"), Ok(Ok(0.25))),
        ("scalar", json!([1, "3"]), Ok(Ok(3.0))),
        ("vector", json!([]), Ok(Err("the answer has no sample"))),
        ("vector", one("NaN"), Ok(Err("the answer is NaN"))),
        ("vector", one("+Inf"), Ok(Err("the answer is inf"))),
        (
            "vector",
            json!([{"metric": {}, "value": [1, "1"]}, {"metric": {}, "value": [1, "2"]}]),
            Ok(Err("the answer has 2 series, not one")),
        ),
        ("vector", json!([{"metric": {}, "histogram": [1, {}]}]), Ok(Err("the answer is a histogram"))),
        ("matrix", json!([]), Ok(Err("the answer is a matrix"))),
        ("string", json!([1, "up"]), Ok(Err("the answer is a string"))),
        ("vector", json!([{"metric": {}}]), Err(NotAnswer::NotANumber)),
    ];
    for (kind, result, expected) in cases {
        let found = single(&answer(kind, &result));
        match (&found, expected) {
            (Ok(Ok(found)), Ok(Ok(expected))) => assert!((found - expected).abs() < 1e-12),
            (Ok(Err(why)), Ok(Err(expected))) => assert!(why.starts_with(expected), "{why}"),
            (found, Err(expected)) => assert_eq!(found.as_ref().unwrap_err(), &expected),
            (found, expected) => panic!("{kind} {result}: {found:?}, not {expected:?}"),
        }
    }
    let refused = br#"{"status": "error", "error": "bad_data: parse error"}"#;
    assert!(single(refused).unwrap_err().to_string().contains("parse error"));
    assert_eq!(single(b"").unwrap_err(), NotAnswer::NotJson);
}
