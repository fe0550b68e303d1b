//! Stable's past, asked of Prometheus once, when a rollout begins (`decisions.md` §4, source a): how its failures cluster is known then before the
//! first request of the candidate, and not only learned beside it.

use jiff::{Timestamp, ToSpan as _};

use super::plan::Plan;
use super::snapshot::{Request, Snapshot};
use crate::api::status::{Progress, Stage};

/// Seconds that are looked back on, at most.
const SECONDS: i64 = 7200;
/// Pods for which so much is asked; of more pods less, since an answer has its limit.
const PODS: i64 = 4;
/// Whatever comes, so many seconds.
const LEAST_SECONDS: i64 = 600;

/// A question about the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Stable's pods that are there now.
    pub pods: Vec<Request>,
    /// The first moment.
    pub from: Timestamp,
    /// The last one.
    pub to: Timestamp,
    /// Seconds between two.
    pub step_seconds: i64,
}

/// Whether a rollout has still to ask for it: before its first weight, and once.
#[must_use]
pub fn is_wanted(plan: &Plan, progress: &Progress) -> bool {
    let asks = plan.metrics.as_ref().is_some_and(|metrics| metrics.provider.is_some());
    asks && progress.stage == Stage::Shifting && progress.step == 0 && progress.weight_since.is_none() && progress.history.is_none()
}

/// The question, if it is due. `requests`: of all ready pods.
#[must_use]
pub fn due(plan: &Plan, snapshot: &Snapshot, requests: &[Request], now: Timestamp) -> Option<HistoryRequest> {
    let memory = snapshot.service.status.as_ref()?.rollout.as_ref()?;
    let (progress, stable) = (memory.progress.as_ref()?, memory.stable.as_ref()?);
    if !is_wanted(plan, progress) {
        return None;
    }
    let pods: Vec<Request> = requests.iter().filter(|request| request.revision == *stable).cloned().collect();
    let count = i64::try_from(pods.len()).unwrap_or(i64::MAX).max(1);
    let seconds = (SECONDS * PODS / count).clamp(LEAST_SECONDS, SECONDS);
    Some(HistoryRequest { pods, from: now - seconds.seconds(), to: now, step_seconds: plan.settings.interval_seconds })
}
