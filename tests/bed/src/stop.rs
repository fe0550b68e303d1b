//! The wish to stop, shared between the threads of the supervisor.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

/// A flag that is raised once: by the end of standard input, or by a signal.
#[derive(Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Raises the flag.
    pub fn request(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits up to `duration`; true as soon as the flag is up.
    #[must_use]
    pub fn wait(&self, duration: Duration) -> bool {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (raised, _) = self.0.1.wait_timeout_while(guard, duration, |raised| !*raised).unwrap_or_else(PoisonError::into_inner);
        *raised
    }

    /// Sleeps for `duration`.
    ///
    /// # Errors
    /// When the flag is up.
    pub fn pause(&self, duration: Duration) -> Result<()> {
        if self.wait(duration) {
            bail!("asked to stop");
        }
        Ok(())
    }
}
