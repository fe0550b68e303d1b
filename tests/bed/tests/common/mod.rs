//! What the tests of the bed share.

use std::time::{Duration, Instant};

use plimsoll_bed::Bed;

/// Waits until `check` holds, at most `limit`.
pub async fn until(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !check().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A field of an object, or of a list selected by `-l=…`; empty where there is none.
pub async fn output(bed: &Bed, kind: &str, name: &str, path: &str) -> String {
    bed.kubectl(&["get", kind, name, &format!("--output=jsonpath={path}")]).await.unwrap_or_default()
}
