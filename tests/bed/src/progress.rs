//! One line of progress per step, on standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two reminders of a long step where the line cannot be rewritten in place.
const REMINDER: Duration = Duration::from_secs(60);

/// Says one thing, on a line of its own.
pub fn say(message: &str) {
    eprintln!("bed: {message}");
}

/// A step that takes time: its line grows seconds while it runs.
pub struct Step {
    message: String,
    started: Instant,
    reminded: Instant,
    terminal: bool,
}

impl Step {
    /// Announces the step.
    #[must_use]
    pub fn begin(message: &str) -> Self {
        let now = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        if terminal {
            eprint!("bed: {message}");
        } else {
            say(message);
        }
        Self { message: message.to_owned(), started: now, reminded: now, terminal }
    }

    /// Shows the seconds so far; to be called a few times a second.
    pub fn tick(&mut self) {
        let seconds = self.started.elapsed().as_secs();
        if self.terminal {
            eprint!("\rbed: {} {seconds} s", self.message);
            // A line that cannot be shown is no reason to stop a build.
            let _ = std::io::stderr().flush();
        } else if self.reminded.elapsed() >= REMINDER {
            self.reminded = Instant::now();
            say(&format!("{} {seconds} s", self.message));
        }
    }

    /// Ends the line with the time the step took.
    pub fn end(self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let line = format!("bed: {} done in {seconds:.0} s", self.message);
        if self.terminal { eprintln!("\r{line}") } else { eprintln!("{line}") }
    }
}
