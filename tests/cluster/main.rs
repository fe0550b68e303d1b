//! Scenarios against a real control plane with fake nodes, side by side, each in a namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![allow(clippy::must_use_candidate, clippy::unused_async, clippy::needless_pass_by_value, reason = "scaffolding, called from here only")]
#![allow(clippy::similar_names, clippy::cast_possible_truncation, reason = "a pod, a port, a few seconds")]
#![allow(clippy::disallowed_methods, reason = "a test may be told by the environment how large it shall be")]

mod admission;
#[path = "../auditor/mod.rs"]
mod auditor;
mod docs;
mod drift;
mod gates;
mod harness;
mod hostile;
mod objects;
mod operator;
mod parser;
mod reaction;
mod rights;
mod rollouts;
mod routes;
mod silence;
mod steady_state;
mod webhooks;
mod world;

use plimsoll_bed::{Bed, Options};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The one bed of this binary, with the definition installed. It ends with the process.
pub async fn bed() -> &'static Bed {
    static BED: OnceCell<Bed> = OnceCell::const_new();
    BED.get_or_init(|| async {
        let bed = Bed::start_or_attach(Options { gateway: true, ..Options::default() }).await.expect("a bed");
        define(&bed).await;
        bed
    })
    .await
}

/// Another bed, for operators that serve all of its namespaces. It is held by one test at a time.
pub async fn quiet_bed() -> (&'static Bed, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::const_new(());
    static BED: OnceCell<Bed> = OnceCell::const_new();
    let turn = TURN.lock().await;
    let start = async || {
        let bed = Bed::start(Options { gateway: true, ..Options::default() }).await.expect("a bed");
        define(&bed).await;
        bed
    };
    (BED.get_or_init(start).await, turn)
}

/// Installs the definition.
pub async fn define(bed: &Bed) {
    bed.define(&repository().join("crds")).await.expect("the definition");
}

/// The bed, and a namespace in it that did not exist before.
pub async fn bed_with_namespace(name: &str) -> &'static Bed {
    let bed = bed().await;
    // Only a bed that was attached to has one of an earlier run.
    bed.kubectl(&["delete", "namespace", name, "--ignore-not-found"]).await.expect("the namespace gone");
    bed.kubectl(&["create", "namespace", name]).await.expect("a namespace");
    bed
}

/// The root of the repository.
pub fn repository() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}
