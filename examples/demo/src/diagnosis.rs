//! What went wrong: the state of the pods and the operator's last words.

use std::fmt::Write as _;

use crate::cluster::Cluster;
use crate::install::Release;

/// Log lines of the operator that are shown.
const LINES: &str = "--tail=15";

/// The pods of `namespaces` and of the operator, the services' own words, and the end of the operator's log.
pub async fn diagnose(cluster: &Cluster, release: &Release, namespaces: &[&str]) -> String {
    let mut text = String::new();
    let operator = release.namespace.as_str();
    for namespace in namespaces {
        section(
            &mut text,
            "services",
            namespace,
            cluster.kubectl(&["get", "productionservices", "--namespace", namespace, "--output=wide"]).await,
        );
        let message = "--output=jsonpath={range .items[*]}{.metadata.name}: {.status.message}{\"\\n\"}{end}";
        section(
            &mut text,
            "their words",
            namespace,
            cluster.kubectl(&["get", "productionservices", "--namespace", namespace, message]).await,
        );
    }
    for namespace in namespaces.iter().chain([&operator]) {
        section(&mut text, "pods", namespace, cluster.kubectl(&["get", "pods", "--namespace", namespace, "--output=wide"]).await);
        let last = ["get", "events", "--namespace", namespace, "--field-selector=type=Warning", "--sort-by=.lastTimestamp"];
        section(&mut text, "warnings", namespace, cluster.kubectl(&last).await);
    }
    let log = ["logs", "--namespace", operator, "--selector=app.kubernetes.io/name=plimsoll", "--prefix", LINES];
    section(&mut text, "the operator's last lines", operator, cluster.kubectl(&log).await);
    text
}

fn section(text: &mut String, title: &str, namespace: &str, found: anyhow::Result<String>) {
    let found = found.unwrap_or_else(|error| format!("{error:#}"));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "--- {title} ({namespace})\n{}", found.trim_end());
}
