//! The Gateway API through a real proxy: what tests with weights of routes rely on. Traffic needs root, because Envoy has to reach fake pods.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test ends by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{output, until};
use plimsoll_bed::{Bed, Options, host};

const LIMIT: Duration = Duration::from_secs(240);
const REQUESTS: usize = 400;
/// More would be as unlikely as one in a million: five standard deviations of 400 requests at 20 percent.
const DEVIATION: usize = 40;

/// Answers every request to this port with `word`, at the address of any fake pod.
fn serve(word: &'static str) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{word}", word.len());
            });
        }
    });
    port
}

fn backend(name: &str, port: u16) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: app, image: 'example.test/app:1'}}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: {port}}}]}}}}
---
"
    )
}

fn route(first: (&str, u32), second: (&str, u32)) -> String {
    let backends = [first, second].map(|(name, weight)| format!("{{name: {name}, port: 80, weight: {weight}}}")).join(", ");
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{namespace: gateway, name: bed}}]
  hostnames: [shop.example]
  rules: [{{backendRefs: [{backends}]}}]
"
    )
}

/// The body of one answer of the shop; empty where there is none.
fn ask(address: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = write!(stream, "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    if !answer.starts_with("HTTP/1.1 200") {
        return String::new();
    }
    answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
}

async fn apply(bed: &Bed, yaml: &str) {
    bed.kubectl_with_input(&["apply", "--filename=-"], yaml).await.unwrap();
}

/// Waits until the Gateway has said this of the route's present generation.
async fn reported(bed: &Bed, condition: &str, status: &str) {
    until(&format!("{condition} is {status}"), LIMIT, async || {
        let path = format!("{{.metadata.generation}} {{.status.parents[0].conditions[?(@.type=='{condition}')].observedGeneration}} {{.status.parents[0].conditions[?(@.type=='{condition}')].status}}");
        let answer = output(bed, "httproute", "shop", &path).await;
        let words: Vec<&str> = answer.split(' ').collect();
        words.len() == 3 && words[0] == words[1] && words[2] == status
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_reach_traffic_and_are_reported() {
    let bed = Bed::start(Options { gateway: true, ..Options::default() }).await.unwrap();
    let address = bed.gateway().unwrap().address.clone();
    apply(&bed, &(backend("one", serve("one")) + &backend("two", serve("two")) + &route(("one", 80), ("two", 20)))).await;
    bed.kubectl(&["rollout", "status", "deployment/one", "--timeout=240s"]).await.unwrap();
    bed.kubectl(&["rollout", "status", "deployment/two", "--timeout=240s"]).await.unwrap();
    reported(&bed, "Accepted", "True").await;
    reported(&bed, "ResolvedRefs", "True").await;
    let root = host::is_root();
    if root {
        splits_by_weight(&address).await;
    } else {
        eprintln!("traffic is not tested: without root nothing answers at the addresses of fake pods");
    }

    apply(&bed, &route(("one", 0), ("two", 100))).await;
    if root {
        until("the weight reaches traffic", LIMIT, async || (0..20).all(|_| ask(&address) == "two")).await;
    }
    reported(&bed, "Accepted", "True").await;

    apply(&bed, &route(("one", 50), ("missing", 50))).await;
    reported(&bed, "ResolvedRefs", "False").await;

    let directory = bed.directory().to_owned();
    let proxy = bed.gateway().unwrap().proxy;
    assert!(std::path::Path::new(&format!("/proc/{proxy}/root")).exists());
    bed.stop().await.unwrap();
    assert!(!directory.exists());
    assert!(!std::path::Path::new(&format!("/proc/{proxy}")).exists(), "Envoy is gone with the bed");
}

async fn splits_by_weight(address: &str) {
    until("Envoy sends requests to pods", LIMIT, async || !ask(address).is_empty()).await;
    // A busy machine may leave one without an answer in time; that is asked once more.
    let patient = || Some(ask(address)).filter(|answer| !answer.is_empty()).unwrap_or_else(|| ask(address));
    let answers: Vec<String> = (0..REQUESTS).map(|_| patient()).collect();
    assert!(answers.iter().all(|answer| answer == "one" || answer == "two"), "{answers:?}");
    let second = answers.iter().filter(|answer| *answer == "two").count();
    assert!(second.abs_diff(REQUESTS / 5) <= DEVIATION, "{second} of {REQUESTS} went to a backend of weight 20 of 100");
}
