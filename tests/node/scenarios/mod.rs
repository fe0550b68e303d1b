//! The scenarios, one file for each kind.

mod autoscaling;
mod config;
mod drain;
mod jobs;
mod mesh;
mod metrics;
mod nestjs;
mod pods;
mod restart;
mod sticky;
mod users;
mod zero_loss;

use std::time::Duration;

use libtest_mimic::Trial;

use crate::world::Turn::{Alone, Late, Shared};
use crate::world::scenario;

/// Enough for pods to be pulled, started and ready on a machine that does other things as well.
const DEPLOYED: Duration = Duration::from_secs(240);
/// Enough for a rollout of short steps to end in one way or the other.
const DECIDED: Duration = Duration::from_secs(360);

/// Half of the band in which 99.9 % of all binomial counts lie, in standard deviations.
const BAND: f64 = 3.29;

/// How far it is from `percent` of `all` that `own` were counted, in standard deviations of a binomial count.
fn deviations(own: f64, all: u32, percent: u32) -> f64 {
    let (all, share) = (f64::from(all), f64::from(percent) / 100.0);
    (own - all * share).abs() / (all * share * (1.0 - share)).sqrt()
}

/// All of them.
pub fn all() -> Vec<Trial> {
    // Those that take longest begin; the last ones wait for all others.
    vec![
        scenario("nestjs-good-version-is-promoted", Shared, nestjs::a_good_version_is_promoted),
        scenario("nestjs-errors-go-back", Shared, nestjs::errors_go_back),
        scenario("nestjs-blocked-event-loop-goes-back", Shared, nestjs::a_blocked_event_loop_goes_back),
        scenario("nestjs-leak-goes-back", Shared, nestjs::a_leak_goes_back),
        scenario("query-of-ones-own-rolls-a-version-back", Shared, metrics::query_of_ones_own),
        scenario("autoscaler-scales-by-processor-load", Shared, autoscaling::processor_load),
        scenario("config-is-rolled-back-with-its-revision", Shared, config::rolled_back),
        scenario("image-that-runs-as-root-is-told-the-remedy", Shared, users::runs_as_root),
        scenario("image-that-names-its-user-is-told-the-remedy", Shared, users::names_its_user),
        scenario("metrics-roll-a-worse-version-back", Shared, metrics::worse_version),
        scenario("crash-loop-is-rolled-back", Shared, pods::crash_loop),
        scenario("unpullable-image-is-rolled-back", Shared, pods::unpullable_image),
        scenario("out-of-memory-is-rolled-back", Shared, pods::out_of_memory),
        scenario("jobs-let-a-version-through-or-give-it-up", Shared, jobs::gate),
        scenario("mesh-divides-calls-as-asked", Shared, mesh::divides_calls),
        // Another Gateway with all that belongs to it: for CI, or by its name.
        scenario("users-stay-with-their-version", Shared, sticky::users_stay).with_ignored_flag(true),
        scenario("pods-run-under-restricted", Shared, users::restricted),
        scenario("killed-operator-goes-on-where-it-was", Shared, restart::killed),
        // When everything else has ended: load is measured, and the node of all pods is drained.
        scenario("routes-lose-no-request", Late, zero_loss::http),
        scenario("routes-lose-no-grpc-call", Late, zero_loss::grpc),
        scenario("node-drains-while-the-candidate-is-broken", Alone, drain::broken_candidate),
    ]
}
