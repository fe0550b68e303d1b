//! Canary: give the new revision a little traffic, look, then give it more.
//!
//! ```text
//! Shifting ── weight seen ──► Soaking ── soak over, verdict Pass ──► next step … ► full ► Baking ──► Draining ──► Stable
//!    └── verdict Fail · signal · progress deadline · abort · other spec ──► RollingBack ── stable can carry it ──► Draining ──► over
//! ```
//! A soak is timed from the moment at which the weight is *seen* to be in force, never from the request: slow pods or a restarted
//! operator can lengthen a soak but cannot shorten it. Safety is looked at before anything that waits.

use crate::api::status::{Cause, CauseReason, Command, Stage};

/// What there is to know before a move.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an observation of its own, and the table below reads by their names")]
pub struct Seen {
    /// Why the candidate has to go back, worst first, if anything says so.
    pub cause: Option<Cause>,
    /// The step's pods are ready as asked, on both sides; with a router, it reports the step's weight.
    pub reached: bool,
    /// With a router: there are endpoints for more weight than it was asked for last, and stable's pods are ready as asked or late.
    pub shiftable: bool,
    /// With a router: it was asked for the step's weight, and has not reported it.
    pub unreported: bool,
    /// The time for that is over.
    pub late: bool,
    /// The candidate's own pods are ready as asked: what is missing is stable's.
    pub candidate_ready: bool,
    /// A foreign object stands where one of ours belongs.
    pub conflicted: bool,
    /// Nothing may move forward: paused, a spec that is not accepted, a name conflict.
    pub held: bool,
    /// The verdict is Pass, and no signal holds the step.
    pub passed: bool,
    /// The traffic that the stage is about is seen to go where it shall go.
    pub in_force: bool,
    /// The step was chosen automatically and would teach nothing.
    pub left_out: bool,
    /// A gate, a window or a freeze stands before the next move forward.
    pub barred: bool,
    /// The candidate alone can carry everything.
    pub can_take_over: bool,
    /// Stable alone can carry everything, or so much that a bad candidate's pods do more harm than good.
    pub can_go_back: bool,
    /// Stable has not got its pods in time: the way back ends here, and pods that serve stay for as long as they are needed.
    pub gives_up: bool,
    /// The front Service is seen to send everything to the one revision that shall have it, and the drain is over.
    pub drained: bool,
    /// There is nothing to serve with (0 replicas): nothing can be watched, and nothing is promoted unwatched but by command.
    pub empty: bool,
}

/// A move of the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing changes.
    Stay,
    /// The gates before the first pod are open.
    Begin,
    /// The pods are there: ask the router for more weight.
    Shift,
    /// The weight is in force: its clock starts.
    Watch,
    /// On to the next step.
    Advance,
    /// On past all steps.
    Full,
    /// All traffic to the candidate; stable's pods drain.
    TakeOver,
    /// Take the candidate back.
    GoBack(Cause),
    /// All traffic to stable; the candidate's pods drain.
    Narrow,
    /// The rollout is over.
    Finish,
}

/// What comes next. `ordered` is a command to go on that has not been carried out yet.
#[must_use]
pub fn next(stage: Stage, ordered: Option<Command>, seen: &Seen) -> Move {
    match stage {
        Stage::Starting if seen.reached && !seen.conflicted => Move::Finish,
        // Going back is the way out of everything, also when it waits itself; it never turns round.
        Stage::RollingBack if seen.can_go_back => Move::Narrow,
        Stage::RollingBack if seen.gives_up => Move::Finish,
        Stage::Draining => match &seen.cause {
            // Stable still has its pods.
            Some(cause) => Move::GoBack(cause.clone()),
            None if seen.drained => Move::Finish,
            None => Move::Stay,
        },
        Stage::Starting | Stage::RollingBack => Move::Stay,
        Stage::Gated | Stage::Shifting | Stage::Soaking | Stage::Baking => forward(stage, ordered, seen),
    }
}

fn forward(stage: Stage, ordered: Option<Command>, seen: &Seen) -> Move {
    if let Some(cause) = &seen.cause {
        return Move::GoBack(cause.clone());
    }
    match (stage, ordered) {
        // The switch was ordered and never seen.
        (Stage::Baking, _) if seen.late && !seen.in_force => {
            Move::GoBack(Cause { reason: CauseReason::ProgressDeadline, message: String::new() })
        }
        // Late, and the candidate itself is not what is late: stable is broken, and the fix may take its place. A router that does not report is
        // not taken at its word.
        (Stage::Shifting, _) if seen.late && (!seen.candidate_ready || seen.unreported) && !seen.empty => {
            Move::GoBack(Cause { reason: CauseReason::ProgressDeadline, message: String::new() })
        }
        _ if seen.held => Move::Stay,
        (Stage::Gated, _) if seen.barred => Move::Stay,
        (Stage::Gated, _) => Move::Begin,
        (_, Some(Command::PromoteFull)) if seen.empty && !seen.barred => Move::TakeOver,
        _ if seen.empty => Move::Stay,
        (Stage::Shifting | Stage::Soaking, Some(Command::PromoteFull)) if !seen.barred => Move::Full,
        (Stage::Shifting | Stage::Soaking, _) if seen.left_out && !seen.barred => Move::Advance,
        (Stage::Shifting, _) if seen.shiftable => Move::Shift,
        (Stage::Shifting, _) if seen.reached || seen.late => Move::Watch,
        (Stage::Baking, ordered) if seen.in_force && seen.can_take_over && (seen.passed || ordered.is_some()) => Move::TakeOver,
        (Stage::Soaking, ordered) if !seen.barred && (seen.passed || ordered.is_some()) => Move::Advance,
        _ => Move::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Stage::{Baking, Draining, Gated, RollingBack, Shifting, Soaking, Starting};

    fn cause() -> Cause {
        Cause { reason: CauseReason::Analysis, message: "worse".into() }
    }

    #[test]
    fn moves() {
        let seen = Seen::default();
        let reached = Seen { reached: true, candidate_ready: true, ..seen.clone() };
        let passed = Seen { passed: true, can_take_over: true, in_force: true, ..reached.clone() };
        let ordered = Seen { in_force: false, ..passed.clone() };
        let barred = Seen { barred: true, ..passed.clone() };
        let bad = Seen { cause: Some(cause()), ..passed.clone() };
        let late = Seen { late: true, ..seen.clone() };
        let late_stable = Seen { late: true, candidate_ready: true, ..seen.clone() };
        let held = |seen: &Seen| Seen { held: true, ..seen.clone() };
        let deadline = Move::GoBack(Cause { reason: CauseReason::ProgressDeadline, message: String::new() });
        let cases = [
            ("the first revision is there when its pods are", Starting, None, &reached, Move::Finish),
            ("the first revision has nothing to go back to", Starting, None, &late, Move::Stay),
            ("pods are coming", Shifting, None, &seen, Move::Stay),
            ("the weight is seen: its clock starts", Shifting, None, &reached, Move::Watch),
            ("pods that never come are taken back", Shifting, None, &late, deadline.clone()),
            ("the pods are there: the router is asked", Shifting, None, &Seen { shiftable: true, ..seen.clone() }, Move::Shift),
            ("a pause holds the weight", Shifting, None, &held(&Seen { shiftable: true, ..seen.clone() }), Move::Stay),
            ("a router's silence is no report", Shifting, None, &Seen { unreported: true, ..seen.clone() }, Move::Stay),
            ("it lasts too long", Shifting, None, &Seen { unreported: true, ..late_stable.clone() }, deadline.clone()),
            ("a broken stable does not stop the fix", Shifting, None, &late_stable, Move::Watch),
            ("a step that teaches nothing is left out", Shifting, None, &Seen { left_out: true, ..seen.clone() }, Move::Advance),
            ("not past a gate", Soaking, None, &Seen { left_out: true, barred: true, ..seen.clone() }, Move::Stay),
            ("nor in a pause", Soaking, None, &held(&Seen { left_out: true, ..seen.clone() }), Move::Stay),
            ("no evidence is not good evidence", Soaking, None, &reached, Move::Stay),
            ("passed", Soaking, None, &passed, Move::Advance),
            ("worst news first", Soaking, Some(Command::PromoteFull), &bad, Move::GoBack(cause())),
            ("a pause holds a passed step", Soaking, None, &held(&passed), Move::Stay),
            ("a pause does not hold the way back", Soaking, None, &held(&bad), Move::GoBack(cause())),
            ("a pause does not stop the deadline", Shifting, None, &held(&late), deadline.clone()),
            ("next skips the rest of the soak", Soaking, Some(Command::PromoteNext), &reached, Move::Advance),
            ("next does not skip the pods", Shifting, Some(Command::PromoteNext), &seen, Move::Stay),
            ("full skips the steps", Shifting, Some(Command::PromoteFull), &seen, Move::Full),
            ("full given in the bake ends it", Baking, Some(Command::PromoteFull), &passed, Move::TakeOver),
            ("the bake goes on until it passes", Baking, None, &reached, Move::Stay),
            ("the bake is over", Baking, None, &passed, Move::TakeOver),
            ("a switch that is not seen ends no bake", Baking, Some(Command::PromoteFull), &ordered, Move::Stay),
            ("one that never comes about is taken back", Baking, None, &Seen { late: true, ..ordered.clone() }, deadline.clone()),
            ("a candidate short of pods is not promoted", Baking, None, &Seen { can_take_over: false, ..passed.clone() }, Move::Stay),
            ("a late regression in the bake goes back", Baking, None, &bad, Move::GoBack(cause())),
            ("stable has to be able to carry it", RollingBack, None, &seen, Move::Stay),
            ("it can", RollingBack, None, &Seen { can_go_back: true, ..seen.clone() }, Move::Narrow),
            ("going back never turns round", RollingBack, Some(Command::PromoteFull), &passed, Move::Stay),
            ("the drain takes its time", Draining, None, &seen, Move::Stay),
            ("drained", Draining, None, &Seen { drained: true, ..seen.clone() }, Move::Finish),
            ("gates before the first pod", Gated, None, &Seen { barred: true, ..seen.clone() }, Move::Stay),
            ("they are open", Gated, None, &seen, Move::Begin),
            ("a pause holds them too", Gated, None, &held(&seen), Move::Stay),
            ("abort overtakes a gate", Gated, None, &Seen { barred: true, ..bad.clone() }, Move::GoBack(cause())),
            ("a gate holds what has passed", Soaking, None, &barred, Move::Stay),
            ("worst news overtakes it", Soaking, None, &Seen { cause: Some(cause()), ..barred.clone() }, Move::GoBack(cause())),
            ("no command opens a gate", Soaking, Some(Command::PromoteNext), &barred, Move::Stay),
            ("nor does this one; the step goes on", Shifting, Some(Command::PromoteFull), &barred, Move::Watch),
            ("a gate does not stop the bake's end", Baking, None, &barred, Move::TakeOver),
            (
                "nor does it stand open where nothing serves",
                Shifting,
                Some(Command::PromoteFull),
                &Seen { empty: true, ..barred.clone() },
                Move::Stay,
            ),
            ("an abort in the drain is not too late", Draining, None, &bad, Move::GoBack(cause())),
            ("stable never got its pods", RollingBack, None, &Seen { gives_up: true, ..seen.clone() }, Move::Finish),
            (
                "a foreign object in the way of the first revision",
                Starting,
                None,
                &Seen { conflicted: true, ..reached.clone() },
                Move::Stay,
            ),
            ("nothing serves, nothing to watch, nothing proved", Soaking, None, &Seen { empty: true, ..passed.clone() }, Move::Stay),
            ("unless somebody orders it", Soaking, Some(Command::PromoteFull), &Seen { empty: true, ..seen.clone() }, Move::TakeOver),
            ("without pods there is no deadline for them", Shifting, None, &Seen { empty: true, ..late.clone() }, Move::Stay),
        ];
        for (why, stage, ordered, seen, expected) in cases {
            assert_eq!(next(stage, ordered, seen), expected, "{why}");
        }
    }
}
