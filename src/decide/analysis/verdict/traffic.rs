//! How many requests there are.

use super::{Judge, ObjectiveKind, ObjectiveMemory, Situation};

/// Seconds of counting after which traffic is known.
const WATCHED_SECONDS: f64 = 30.0;

impl Judge {
    /// Requests that both revisions serve in a second: in this step, else before the first weight. `None` while it was not watched for long enough.
    #[must_use]
    pub fn requests_per_second(&self, situation: &Situation<'_>) -> Option<f64> {
        let step = self.step(situation);
        // Counting begins one interval after the weight.
        let seconds = self.heard_for(&step).as_secs_f64() - self.settings.interval_seconds as f64;
        // Latency counts no young pods.
        let errors = |memory: &&ObjectiveMemory| matches!(memory.objective.kind, ObjectiveKind::ErrorRate { .. });
        let in_step = self.objectives.iter().find(errors).map(|memory| &memory.step).filter(|_| seconds >= WATCHED_SECONDS);
        in_step
            .map(|counts| (counts.candidate + counts.stable) as f64 / seconds)
            .or_else(|| self.objectives.first()?.requests_per_second_before(WATCHED_SECONDS))
    }
}
