//! Bugs that are planted on purpose: an oracle that never speaks proves nothing. Each spoils what the operator sees of the world or does to it,
//! at the edge of `decide`, which stays as it is; `tests/it/planted.rs` demands that the invariants catch every one of them.

use jiff::Timestamp;

use crate::api::ProductionServiceStatus;
use crate::api::analysis::OnNoEvidence;
use crate::api::status::{Progress, Stage};
use crate::decide::analysis::{PodSample, Scrape, convention};
use crate::decide::{Decision, Kind, ObjectKey, Request, Snapshot};

/// Requests that an invented page grows by with every look.
const INVENTED: u64 = 60;
/// More than any drain without a router takes.
const LONG_AGO: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// What is wrong with the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The status is written over whatever stands there: no fence.
    NoFence,
    /// Pods that give no usable answer count as ones whose every request went well.
    NotANumberPasses,
    /// Every pod counts as ready, and every Deployment as complete.
    NoCapacityGuard,
    /// Neither a fresh read before something is taken away, nor a wait until its own writes are seen.
    ActsOnAStaleCache,
    /// The promoted revision's predecessor goes before its connections are over.
    ForgetsTheDrain,
    /// A step's time counts from when its weight was asked for.
    SoaksFromTheRequest,
    /// Two steps at once.
    SkipsAStep,
    /// What was sent back is forgotten, and tried again.
    ForgetsTheQuarantine,
    /// Time that ran out without evidence counts as good.
    PromotesWhenTimeIsOut,
    /// `paused` is not looked at.
    IgnoresThePause,
    /// Objects are written before the decision that orders them.
    ActsBeforeItIsDecided,
    /// Something in the status is new with every look.
    NeverRests,
    /// A gate's Job that is gone is made once more.
    MakesAJobAnew,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::NoFence,
        Self::NotANumberPasses,
        Self::NoCapacityGuard,
        Self::ActsOnAStaleCache,
        Self::ForgetsTheDrain,
        Self::SoaksFromTheRequest,
        Self::SkipsAStep,
        Self::ForgetsTheQuarantine,
        Self::PromotesWhenTimeIsOut,
        Self::IgnoresThePause,
        Self::ActsBeforeItIsDecided,
        Self::NeverRests,
        Self::MakesAJobAnew,
    ];

    /// Spoils what the operator sees.
    pub(super) fn see(self, snapshot: &mut Snapshot) {
        let spec = &mut snapshot.service.spec;
        let status = snapshot.service.status.as_mut();
        match self {
            Self::NoCapacityGuard => {
                for pod in &mut snapshot.pods {
                    pod.state.ready = true;
                    pod.state.ready_since = pod.state.ready_since.or(pod.started).or(Some(Timestamp::UNIX_EPOCH));
                }
            }
            Self::ForgetsTheDrain => {
                let progress = status.and_then(|status| status.rollout.as_mut()?.progress.as_mut());
                if let Some(progress) = progress.filter(|progress| progress.stage == Stage::Draining)
                    && let Some(since) = &mut progress.weight_since
                {
                    since.0 -= LONG_AGO;
                }
            }
            Self::ForgetsTheQuarantine => {
                if let Some(status) = status {
                    status.quarantined.clear();
                }
            }
            Self::PromotesWhenTimeIsOut => {
                if let Some(rollout) = &mut spec.rollout {
                    rollout.analysis.get_or_insert_default().on_no_evidence = Some(OnNoEvidence::Promote);
                }
            }
            Self::MakesAJobAnew => {
                let progress = status.and_then(|status| status.rollout.as_mut()?.progress.as_mut());
                for gate in progress.into_iter().flat_map(|progress| &mut progress.gates) {
                    if let Some(job) = &mut gate.job
                        && !snapshot.children.contains_key(&ObjectKey::new(Kind::Job, &job.name))
                    {
                        job.uid = None;
                    }
                }
            }
            Self::IgnoresThePause => {
                if let Some(control) = &mut spec.control {
                    control.paused = None;
                }
            }
            _ => {}
        }
    }

    /// Spoils what it decides.
    pub(super) fn decide(self, before: Option<&ProductionServiceStatus>, decision: &mut Decision, now: Timestamp) {
        let rollout = |status: &ProductionServiceStatus| status.rollout.as_ref()?.progress.clone();
        let old: Option<Progress> = before.and_then(rollout);
        if self == Self::NeverRests {
            decision.status.message = Some(format!("looked at {now}"));
        }
        let Some(new) = decision.status.rollout.as_mut().and_then(|memory| memory.progress.as_mut()) else { return };
        match (self, old) {
            (Self::SoaksFromTheRequest, Some(old)) if old.stage == Stage::Shifting && new.stage == Stage::Soaking => {
                new.weight_since = Some(old.since);
            }
            (Self::SkipsAStep, Some(old)) if new.step > old.step && new.stage == Stage::Shifting => new.step += 1,
            _ => {}
        }
    }

    /// Spoils what was measured.
    pub(super) fn measure(self, scrape: &mut Scrape, requests: &[Request]) {
        if self != Self::NotANumberPasses {
            return;
        }
        let seconds = u64::try_from(scrape.at.as_second()).unwrap_or(0);
        for silent in std::mem::take(&mut scrape.silent) {
            let Some(request) = requests.iter().find(|request| request.pod == silent.pod) else { continue };
            let page = format!("http_requests_total{{code=\"200\"}} {}\n", seconds * INVENTED);
            let Ok(counters) = convention::read(page.as_bytes(), "text/plain; version=0.0.4", &request.reading) else { continue };
            let (started, ready_since) = (request.started, request.ready_since);
            scrape.samples.push(PodSample { pod: silent.pod, revision: silent.revision, at: scrape.at, started, ready_since, counters });
        }
    }
}
