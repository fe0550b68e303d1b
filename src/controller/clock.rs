//! The only clock: everything else gets the time as an argument.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// The wall clock: what decisions and status are dated by.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the wall clock is read")]
    pub fn now(self) -> Timestamp {
        let now = Timestamp::now();
        // Whole milliseconds, as status shows them; rounded down, so that nothing is dated later than it was.
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// The monotonic clock: what waiting is measured by.
    #[must_use]
    pub fn instant(self) -> Instant {
        Instant::now()
    }

    /// The instant at which the wall clock will show `at`; now if that has passed.
    #[must_use]
    pub fn instant_of(self, at: Timestamp) -> Instant {
        let wait = at.duration_since(self.now());
        self.instant() + Duration::try_from(wait).unwrap_or(Duration::ZERO)
    }
}
