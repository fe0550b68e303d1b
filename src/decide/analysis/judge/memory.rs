//! The judge's memory in status (§13).

use super::Judge;
use crate::decide::analysis::Settings;
use crate::decide::analysis::numbers::{parse_counts, print};
use crate::decide::analysis::objective::ObjectiveMemory;
use crate::decide::analysis::one_pod::OnePod;
use crate::decide::analysis::saturation::Saturation;
use crate::decide::analysis::sequential::Clock;
use crate::decide::analysis::state::{AnalysisState, Unreadable};

impl Judge {
    /// A judge that goes on from what status holds. An objective that it does not name starts anew.
    ///
    /// # Errors
    /// Something in it cannot be read. Say so and start anew with [`Judge::new`]; never pass a step by it.
    pub fn resume(settings: &Settings, state: &AnalysisState) -> Result<Self, Unreadable> {
        let mut judge = Self::new(settings, None);
        judge.take_over(state, false)?;
        Ok(judge)
    }

    /// What is written to status. The judge's own memory becomes the parse of it, so that a restart changes nothing.
    pub fn state(&mut self) -> AnalysisState {
        let (clock, alone) = (self.clock, self.clock_alone);
        let state = AnalysisState {
            step_since: self.step_since,
            clock: Some(print(&[clock.seconds, clock.begun, alone.seconds, alone.begun])),
            alone_percent: self.alone_percent,
            one_pod: self.one_pod.as_ref().map(OnePod::write),
            saturation: self.saturation.write(),
            stable_pods: Some(self.stable_pods),
            objectives: self.objectives.iter().map(|objective| objective.write(self.is_alone())).collect(),
        };
        // What was printed here can be read here; if not, the old memory is as good.
        let mut rounded = self.clone();
        if rounded.take_over(&state, true).is_ok() {
            *self = rounded;
        }
        state
    }

    fn take_over(&mut self, state: &AnalysisState, running: bool) -> Result<(), Unreadable> {
        let [seconds, begun, alone_seconds, alone_begun] = match &state.clock {
            Some(clock) => parse_counts(clock, "clock")?,
            None => return Err(Unreadable { what: "clock" }),
        };
        if begun > 1.0 || alone_begun > 1.0 {
            return Err(Unreadable { what: "clock" });
        }
        for memory in &mut self.objectives {
            if let Some(kept) = state.objectives.iter().find(|kept| kept.name == memory.objective.name) {
                let goes_on = running.then_some(&*memory);
                *memory = ObjectiveMemory::read(&memory.objective, self.settings.tolerance, kept, goes_on)?;
            }
        }
        self.clock = Clock { seconds, begun };
        self.clock_alone = Clock { seconds: alone_seconds, begun: alone_begun };
        self.step_since = state.step_since;
        self.alone_percent = state.alone_percent.map(|percent| percent.min(100));
        let one_pod = state.one_pod.as_ref().map(|kept| OnePod::read(kept, self.one_pod.as_ref().filter(|_| running)));
        self.one_pod = one_pod.transpose()?;
        self.saturation = Saturation::read(&state.saturation, running.then_some(&self.saturation))?;
        self.stable_pods = state.stable_pods.unwrap_or_default();
        Ok(())
    }
}
