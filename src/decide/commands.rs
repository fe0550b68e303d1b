//! Commands of `spec.control`: each is carried out once per revision.
//!
//! A command is latched when it is first seen for the candidate. One that a GitOps tool removes again is not undone by that; one that stays in
//! Git is silent afterwards, also when the revision is tried again.

use crate::api::control::{Control, PromoteTo};
use crate::api::status::{Command, Latched, Memory};

/// Most latched commands that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 32;

/// Commands for the candidate that were not seen before, latched in `memory`.
pub fn latch(control: Option<&Control>, candidate: &str, memory: &mut Memory) -> Vec<Command> {
    let Some(control) = control else { return Vec::new() };
    let abort = control.abort.as_deref().map(|revision| (revision, Command::Abort));
    let promote = control.promote.as_ref().map(|promote| {
        let command = match promote.to {
            PromoteTo::Next => Command::PromoteNext,
            PromoteTo::Full => Command::PromoteFull,
        };
        (promote.revision.as_str(), command)
    });
    let mut seen = Vec::new();
    for (revision, command) in [abort, promote].into_iter().flatten() {
        let latched = Latched { revision: revision.to_owned(), command };
        if revision == candidate && !memory.commands.contains(&latched) {
            memory.commands.push(latched);
            seen.push(command);
        }
    }
    seen
}

/// Forgets the commands of revisions that status does not name any more.
pub fn forget(memory: &mut Memory, named: impl Fn(&str) -> bool) {
    memory.commands.retain(|latched| named(&latched.revision));
    let superfluous = memory.commands.len().saturating_sub(REMEMBERED);
    memory.commands.drain(..superfluous);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_seen_once_and_only_for_its_revision() {
        let mut memory = Memory::default();
        let abort = Control { abort: Some("aaaaaaaaaa".into()), ..Control::default() };
        assert_eq!(latch(Some(&abort), "bbbbbbbbbb", &mut memory), [], "a stale command is inert");
        assert_eq!(latch(Some(&abort), "aaaaaaaaaa", &mut memory), [Command::Abort]);
        assert_eq!(latch(Some(&abort), "aaaaaaaaaa", &mut memory), [], "one that stays in Git is silent");
        assert_eq!(latch(None, "aaaaaaaaaa", &mut memory), []);
        assert_eq!(latch(Some(&abort), "aaaaaaaaaa", &mut memory), [], "also when it was removed in between");
        forget(&mut memory, |revision| revision != "aaaaaaaaaa");
        assert_eq!(latch(Some(&abort), "aaaaaaaaaa", &mut memory), [Command::Abort], "the revision had left status");
    }
}
