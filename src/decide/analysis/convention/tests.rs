use super::*;

fn counters(body: &str) -> Counters {
    read(body.as_bytes(), "text/plain", &Reading::default()).unwrap()
}

const PROM_CLIENT: &str = r#"# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 0.5
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0.5"} NaN
# TYPE http_requests_total counter
http_requests_total{method="GET",code="200"} 96
http_requests_total{method="POST",code="200"} 10
http_requests_total{method="GET",code="404"} 3
http_requests_total{method="GET",code="500"} 4
http_requests_total{method="GET",code="503"} 1
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{route="/a",le="0.1"} 50
http_request_duration_seconds_bucket{route="/a",le="0.3"} 60
http_request_duration_seconds_bucket{route="/a",le="+Inf"} 70
http_request_duration_seconds_sum{route="/a"} 7
http_request_duration_seconds_count{route="/a"} 70
http_request_duration_seconds_bucket{route="/b",le="0.3"} 30
http_request_duration_seconds_bucket{route="/b",le="1"} 40
http_request_duration_seconds_bucket{route="/b",le="+Inf"} 44
"#;

#[test]
fn prom_client_sums_label_sets_and_keeps_common_bounds() {
    let found = counters(PROM_CLIENT);
    assert_eq!(found.source, Some(Source::RequestsTotal));
    assert_eq!((found.requests(), found.failures()), (114, 5));
    assert_eq!(found.by_status, BTreeMap::from([(200, 106), (404, 3), (500, 4), (503, 1)]));
    // A bound that one route lacks would count that route's requests as slow.
    assert_eq!((found.buckets, found.timed), (BTreeMap::from([(300_000, 90)]), 114));
    assert_eq!(found.source.unwrap().to_string(), "promClient (http_requests_total)");
}

#[test]
fn a_histogram_alone_counts_requests_too() {
    let found = counters("http_request_duration_seconds_count{status=\"200\"} 5\nhttp_request_duration_seconds_count{status=\"5xx\"} 2\n");
    assert_eq!((found.source, found.requests(), found.failures()), (Some(Source::RequestDuration), 7, 2));
    // A counter without a status gives way to a histogram that has one.
    let found = counters("http_requests_total 9\nhttp_request_duration_seconds_count{http_status=\"200\"} 5\n");
    assert_eq!((found.source, found.requests()), (Some(Source::RequestDuration), 5));
}

#[test]
fn open_telemetry_counts_http_and_rpc() {
    let body = r#"http_server_request_duration_seconds_count{http_response_status_code="200"} 10
http_server_request_duration_seconds_count{http_response_status_code="502"} 2
http_server_request_duration_seconds_count{error_type="timeout"} 1
http_server_request_duration_seconds_count{http_request_method="GET"} 1
http_server_request_duration_seconds_bucket{http_response_status_code="200",le="0.25"} 9
http_server_request_duration_seconds_bucket{http_response_status_code="200",le="+Inf"} 10
rpc_server_duration_milliseconds_count{rpc_grpc_status_code="0"} 5
rpc_server_duration_milliseconds_count{rpc_grpc_status_code="14"} 3
rpc_server_duration_milliseconds_count{rpc_grpc_status_code="5"} 2
rpc_server_duration_milliseconds_bucket{rpc_grpc_status_code="0",le="250"} 4
rpc_server_duration_milliseconds_bucket{rpc_grpc_status_code="0",le="+Inf"} 5
http_requests_total{code="200"} 1000
"#;
    let found = counters(body);
    assert_eq!((found.source, found.requests(), found.failures()), (Some(Source::OpenTelemetry), 24, 6));
    assert_eq!((found.buckets, found.timed), (BTreeMap::from([(250_000, 13)]), 15));
    let asked = |convention| read(body.as_bytes(), "", &Reading::by(convention)).unwrap();
    assert_eq!(asked(Convention::PromClient).source, Some(Source::RequestsTotal));
    assert_eq!(asked(Convention::OpenTelemetry).source, Some(Source::OpenTelemetry));
}

#[test]
fn a_family_without_series_is_zero_and_known() {
    let found = counters("# TYPE http_requests_total counter\n");
    assert_eq!((found.source, found.requests(), found.missing), (Some(Source::RequestsTotal), 0, None));
    // OpenMetrics names the family without its suffix.
    assert_eq!(counters("# TYPE http_requests counter\n# EOF\n").source, Some(Source::RequestsTotal));
}

#[test]
fn what_is_missing_is_said() {
    let cases = [
        (
            "up 1\n",
            "no http_requests_total, http_request_duration_seconds, http_server_request_duration_seconds, rpc_server_duration, http_server_requests_seconds, grpc_server_handled_total, istio_requests_total, response_total or envoy_cluster_upstream_rq; other metrics only",
        ),
        (
            "# nothing\n",
            "no http_requests_total, http_request_duration_seconds, http_server_request_duration_seconds, rpc_server_duration, http_server_requests_seconds, grpc_server_handled_total, istio_requests_total, response_total or envoy_cluster_upstream_rq; no series at all",
        ),
        ("http_requests_total{method=\"GET\"} 4\n", "http_requests_total has no label code, status, status_code, http_status"),
        ("http_requests_total{code=\"\"} 4\n", "http_requests_total has no label code, status, status_code, http_status"),
        ("http_requests_total{status=\"error\"} 4\n", "http_requests_total has the status \"error\", which is no status"),
        (
            "rpc_server_duration_seconds_count{rpc_grpc_status_code=\"77\"} 4\n",
            "rpc_server_duration_seconds_count has the status \"77\", which is no status",
        ),
    ];
    for (body, missing) in cases {
        let found = counters(body);
        assert_eq!((found.source, found.requests(), found.missing.as_deref()), (None, 0, Some(missing)), "{body}");
    }
    let asked = |convention| read(b"up 1\n", "", &Reading::by(convention)).unwrap().missing.unwrap();
    assert!(asked(Convention::PromClient).starts_with("no http_requests_total or"));
    assert!(asked(Convention::OpenTelemetry).starts_with("no http_server_request"));
}

#[test]
fn what_cannot_be_told_for_certain_spoils_the_page() {
    let ok = "http_requests_total{code=\"200\"} 10\n";
    let long = format!(
        "{ok}{}",
        (0..10_000).map(|index| format!("http_requests_total{{code=\"200\",user=\"{index}\"}} 1\n")).collect::<Vec<_>>().concat()
    );
    let count = |value: &str| Unmeasured::NotACount { metric: "http_requests_total".to_owned(), value: value.to_owned() };
    let cases = [
        ("NaN", "http_requests_total{code=\"500\"} NaN\n", count("NaN")),
        ("infinite", "http_requests_total{code=\"500\"} +Inf\n", count("inf")),
        ("negative", "http_requests_total{code=\"500\"} -1\n", count("-1")),
        ("above 2^53", "http_requests_total{code=\"500\"} 9007199254740994\n", count("9007199254740994")),
        ("twice", "http_requests_total{code=\"200\",} 9\n", Unmeasured::Twice { metric: "http_requests_total".to_owned() }),
        (
            "twice, other order",
            "http_requests_total{b=\"1\",code=\"500\"} 0\nhttp_requests_total{code=\"500\",b=\"1\"} 9\n",
            Unmeasured::Twice { metric: "http_requests_total".to_owned() },
        ),
        ("unbounded label", &long[ok.len()..], Unmeasured::TooManySeries { metric: "http_requests_total".to_owned() }),
        ("cut", "http_requests_total{code=\"500\"} 7", Unmeasured::Cut),
        ("another metric is malformed", "nothing\n", Unmeasured::Malformed { line: 2, what: "has no value" }),
    ];
    for (why, line, expected) in cases {
        assert_eq!(read(format!("{ok}{line}").as_bytes(), "", &Reading::default()), Err(expected), "{why}");
    }
    let large = vec![b' '; MAX_BODY_BYTES + 1];
    assert_eq!(read(&large, "", &Reading::default()), Err(Unmeasured::TooLarge));
    assert_eq!(Unmeasured::TooLarge.to_string(), "the metrics page is larger than 1 MiB");
}

#[test]
fn the_oldest_time_counts() {
    let found = counters("http_requests_total{code=\"200\"} 1 1700000005000\nhttp_requests_total{code=\"500\"} 1 1700000000000\n");
    assert_eq!(found.at, Timestamp::from_millisecond(1_700_000_000_000).ok());
    assert_eq!(counters("http_requests_total{code=\"200\"} 1 9223372036854775807\n").at, Some(Timestamp::MIN));
}

#[test]
fn odd_statuses() {
    let cases = [("200", 0), ("499", 0), ("500", 1), ("999", 1), ("5XX", 1), ("4xx", 0), ("0", 0), ("000", 0)];
    for (status, failures) in cases {
        assert_eq!(counters(&format!("http_requests_total{{status_code=\"{status}\"}} 1\n")).failures(), failures, "{status}");
    }
    for status in ["-1", "1000", "6xx", "20x", "ok", "２００"] {
        assert_eq!(counters(&format!("http_requests_total{{status_code=\"{status}\"}} 1\n")).source, None, "{status}");
    }
}

#[test]
fn odd_buckets_are_left_out() {
    let body = "http_request_duration_seconds_count{code=\"200\"} 4\nhttp_request_duration_seconds_bucket{code=\"200\",le=\"x\"} 4\n\
                http_request_duration_seconds_bucket{code=\"200\",le=\"0\"} 0\nhttp_request_duration_seconds_bucket{code=\"200\"} 4\n\
                http_request_duration_seconds_bucket{code=\"200\",le=\"0.5\"} 3\n";
    // Without +Inf nobody knows how many there were.
    assert_eq!((counters(body).buckets.len(), counters(body).timed), (0, 0));
}

proptest::proptest! {
    #[test]
    fn a_page_cut_anywhere_never_counts(cut in 0usize..PROM_CLIENT.len()) {
        // A cut at the end of a line cannot be seen in the text format; the increments catch it (a series that is gone).
        if PROM_CLIENT.as_bytes()[..cut].last() != Some(&b'\n') {
            proptest::prop_assert!(read(&PROM_CLIENT.as_bytes()[..cut], "", &Reading::default()).is_err());
        }
    }
}
