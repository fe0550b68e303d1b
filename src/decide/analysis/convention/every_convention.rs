//! Pages as the libraries and sidecars write them, one for each row of the table.

use std::collections::BTreeMap;

use super::*;
use crate::api::objective::Metrics;

fn reading(metrics: serde_json::Value) -> Reading {
    Reading::of(&serde_json::from_value::<Metrics>(metrics).unwrap()).unwrap()
}

fn auto(body: &str) -> Counters {
    read(body.as_bytes(), "text/plain", &Reading::default()).unwrap()
}

const MICROMETER: &str = r#"# TYPE http_server_requests_seconds histogram
http_server_requests_seconds_bucket{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/a",le="0.25"} 7
http_server_requests_seconds_bucket{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/a",le="+Inf"} 8
http_server_requests_seconds_count{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/a"} 8
http_server_requests_seconds_sum{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/a"} 1.5
http_server_requests_seconds_count{exception="Oops",method="GET",outcome="SERVER_ERROR",status="500",uri="/a"} 3
http_server_requests_seconds_count{exception="Gone",method="GET",outcome="UNKNOWN",status="UNKNOWN",uri="/a"} 2
http_server_requests_seconds_count{exception="Oops",method="GET",outcome="SERVER_ERROR",status="UNKNOWN",uri="/a"} 1
http_server_requests_seconds_max{exception="None",method="GET",outcome="SUCCESS",status="200",uri="/a"} 0.4
"#;

const GRPC: &str = r#"# TYPE grpc_server_handled_total counter
grpc_server_handled_total{grpc_code="OK",grpc_method="Pay",grpc_service="shop",grpc_type="unary"} 90
grpc_server_handled_total{grpc_code="NotFound",grpc_method="Pay",grpc_service="shop",grpc_type="unary"} 5
grpc_server_handled_total{grpc_code="DeadlineExceeded",grpc_method="Pay",grpc_service="shop",grpc_type="unary"} 3
grpc_server_handled_total{grpc_code="Unavailable",grpc_method="Pay",grpc_service="shop",grpc_type="unary"} 2
grpc_server_started_total{grpc_method="Pay",grpc_service="shop",grpc_type="unary"} 101
grpc_server_handling_seconds_bucket{grpc_method="Pay",grpc_service="shop",grpc_type="unary",le="0.1"} 80
grpc_server_handling_seconds_bucket{grpc_method="Pay",grpc_service="shop",grpc_type="unary",le="+Inf"} 100
grpc_server_handling_seconds_count{grpc_method="Pay",grpc_service="shop",grpc_type="unary"} 100
"#;

const ISTIO: &str = r#"# TYPE istio_requests_total counter
istio_requests_total{reporter="destination",request_protocol="http",response_code="200",response_flags="-"} 40
istio_requests_total{reporter="destination",request_protocol="http",response_code="503",response_flags="UC"} 4
istio_requests_total{reporter="destination",request_protocol="http",response_code="0",response_flags="DC"} 1
istio_requests_total{reporter="destination",request_protocol="grpc",response_code="200",grpc_response_status="14"} 5
istio_requests_total{reporter="source",request_protocol="http",response_code="500",response_flags="-"} 1000
istio_request_duration_milliseconds_bucket{reporter="destination",response_code="200",le="25"} 30
istio_request_duration_milliseconds_bucket{reporter="destination",response_code="200",le="+Inf"} 40
istio_request_duration_milliseconds_bucket{reporter="source",response_code="200",le="+Inf"} 1000
"#;

const LINKERD: &str = r#"response_total{direction="inbound",target_addr="0.0.0.0:8080",tls="true",status_code="200",classification="success"} 50
response_total{direction="inbound",target_addr="0.0.0.0:8080",tls="true",status_code="429",classification="success"} 6
response_total{direction="inbound",target_addr="0.0.0.0:8080",tls="true",status_code="200",grpc_status="14",classification="failure"} 7
response_total{direction="outbound",target_addr="10.0.0.1:80",status_code="500",classification="failure"} 900
response_latency_ms_bucket{direction="inbound",status_code="200",le="10"} 55
response_latency_ms_bucket{direction="inbound",status_code="200",le="+Inf"} 63
response_latency_ms_bucket{direction="outbound",status_code="200",le="+Inf"} 900
"#;

const ENVOY: &str = r#"# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="local_app"} 20
envoy_cluster_upstream_rq{envoy_response_code="504",envoy_cluster_name="local_app"} 2
envoy_cluster_upstream_rq{envoy_response_code="500",envoy_cluster_name="payments"} 700
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="local_app",le="250"} 19
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="local_app",le="+Inf"} 22
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="payments",le="+Inf"} 700
"#;

#[test]
fn each_is_recognised_and_counted() {
    let cases = [
        // page          source                requests failures     bound     within  timed
        (MICROMETER, Source::Micrometer, Convention::Micrometer, (14, 4), (250_000, 7), 8),
        (GRPC, Source::Grpc, Convention::Grpc, (100, 5), (100_000, 80), 100),
        (ISTIO, Source::Istio, Convention::Istio, (50, 9), (25_000, 30), 40),
        (LINKERD, Source::Linkerd, Convention::Linkerd, (63, 7), (10_000, 55), 63),
        (ENVOY, Source::Envoy, Convention::Envoy, (22, 2), (250_000, 19), 22),
    ];
    for (page, source, convention, counts, bucket, timed) in cases {
        let found = auto(page);
        assert_eq!(found.source, Some(source), "{page}");
        assert_eq!((found.requests(), found.failures()), counts, "{source}");
        assert_eq!((&found.buckets, found.timed), (&BTreeMap::from([bucket]), timed), "{source}");
        assert_eq!(read(page.as_bytes(), "", &Reading::by(convention)).unwrap(), found, "{source}: by its name as well");
        assert_eq!(read(page.as_bytes(), "", &Reading::by(Convention::PromClient)).unwrap().source, None, "{source}");
    }
}

#[test]
fn the_apps_own_metrics_go_before_its_sidecars() {
    let page = format!("{ISTIO}http_requests_total{{code=\"200\"}} 3\n");
    assert_eq!(auto(&page).source, Some(Source::RequestsTotal));
}

#[test]
fn requests_that_the_app_sends_are_not_its_own() {
    let cases = [
        ("istio_requests_total{reporter=\"source\",response_code=\"200\"} 9\n", "(reporter=\"destination\")"),
        ("response_total{direction=\"outbound\",classification=\"success\"} 9\n", "(direction=\"inbound\")"),
        ("envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"payments\"} 9\n", "name its cluster so"),
    ];
    for (page, hint) in cases {
        let found = auto(page);
        let missing = found.missing.unwrap();
        assert!(
            found.source.is_none() && missing.contains("no series of this service's own incoming requests") && missing.contains(hint),
            "{missing}"
        );
    }
}

#[test]
fn which_statuses_fail_is_the_users_word() {
    let page = "http_requests_total{code=\"200\"} 90\nhttp_requests_total{code=\"429\"} 5\nhttp_requests_total{code=\"503\"} 3\n\
                http_requests_total{code=\"501\"} 2\n";
    let failures =
        |list: serde_json::Value| read(page.as_bytes(), "", &reading(serde_json::json!({"failureStatus": list}))).unwrap().failures();
    assert_eq!(failures(serde_json::json!([])), 5);
    assert_eq!(failures(serde_json::json!(["5xx", "429"])), 10);
    assert_eq!(failures(serde_json::json!(["503"])), 3);
    assert_eq!(failures(serde_json::json!(["4xx"])), 5);
    let grpc = read(GRPC.as_bytes(), "", &reading(serde_json::json!({"failureStatus": ["429"]}))).unwrap();
    assert_eq!(grpc.failures(), 5, "gRPC codes count as before");
    for wrong in ["6xx", "99", "600", "", "5x", "५xx"] {
        assert!(Failing::of(&[wrong.to_owned()]).is_err(), "{wrong}");
    }
}

#[test]
fn names_of_the_apps_own() {
    let by_label = reading(serde_json::json!({"custom": {
        "requests": "shop_calls", "failures": {"label": "result", "matches": "error|time.*"}, "buckets": "shop_call_ms_bucket"}}));
    let page = "shop_calls{result=\"ok\"} 10\nshop_calls{result=\"timeout\"} 2\nshop_calls{result=\"an error\"} 4\nshop_calls 1\n\
                shop_call_ms_bucket{le=\"250\"} 9\nshop_call_ms_bucket{le=\"+Inf\"} 16\nhttp_requests_total{code=\"500\"} 999\n";
    let found = read(page.as_bytes(), "", &by_label).unwrap();
    assert_eq!((found.source, found.requests(), found.failures()), (Some(Source::Custom), 17, 2), "the whole value has to match");
    assert_eq!((found.buckets, found.timed), (BTreeMap::from([(250_000, 9)]), 16));
    let by_metric = reading(serde_json::json!({"custom": {"requests": "shop_calls_total", "failures": {"metric": "shop_errors_total"}}}));
    let found = read(b"shop_calls_total{a=\"1\"} 10\nshop_calls_total{a=\"2\"} 5\nshop_errors_total 3\n", "", &by_metric).unwrap();
    assert_eq!((found.requests(), found.failures()), (15, 3));
    let found = read(b"shop_calls_total 10\n# TYPE shop_errors counter\n# EOF\n", "", &by_metric).unwrap();
    assert_eq!((found.requests(), found.failures()), (10, 0), "declared without a series is none yet");
    let missing = |page: &[u8]| read(page, "", &by_metric).unwrap().missing.unwrap();
    assert_eq!(missing(b"shop_calls_total 10\n"), "no shop_errors_total, which is to count failures");
    assert_eq!(missing(b"shop_errors_total 10\n"), "no shop_calls_total, which is to count requests");
    for pattern in ["(", "a)|(b", "a{1000}{1000}{1000}"] {
        let metrics = serde_json::json!({"custom": {"requests": "a", "failures": {"label": "b", "matches": pattern}}});
        assert!(Reading::of(&serde_json::from_value(metrics).unwrap()).is_err(), "{pattern}");
    }
}
