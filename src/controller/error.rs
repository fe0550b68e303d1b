//! What can go wrong in one reconcile: only I/O. Each variant says what has been written by then.

use std::time::Duration;

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A read failed. Nothing was written.
    #[error("cannot read {what}: {source}")]
    Observe {
        /// What was to be read.
        what: String,
        /// The request's failure.
        source: kube::Error,
    },
    /// The status was written by someone else since we read it. Nothing was written.
    #[error("status is newer than the one we read")]
    Stale,
    /// The status could not be written. Whether it was is unknown after a timeout; nothing else was written.
    #[error("cannot write the status: {source}")]
    Status {
        /// The request's failure.
        source: kube::Error,
    },
    /// An object changed since we read it. Writes before it stand; the next reconcile starts from a fresh read.
    #[error("{object} has changed since it was read")]
    Moved {
        /// Kind and name.
        object: String,
    },
    /// A write failed. Those before it stand; the next reconcile repeats them harmlessly.
    #[error("cannot {verb} {object}: {source}")]
    Apply {
        /// What was to be done.
        verb: &'static str,
        /// Kind and name.
        object: String,
        /// The request's failure.
        source: kube::Error,
    },
}

impl Error {
    /// How long the server asked us to wait, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let (Self::Observe { source, .. } | Self::Status { source } | Self::Apply { source, .. }) = self else { return None };
        let kube::Error::Api(status) = source else { return None };
        let seconds = status.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(super::client::LONGEST_WAIT))
    }

    /// What people have to be told in status: the API server refuses a write, and will again. Nothing for what another look, or time, mends.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let Self::Apply { source: kube::Error::Api(answer), .. } = self else { return None };
        (matches!(answer.code, 400..500) && !matches!(answer.code, 404 | 408 | 429)).then(|| self.to_string())
    }

    /// The failure as a word for metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Observe { .. } => "cannot_read",
            Self::Stale | Self::Moved { .. } => "stale",
            Self::Status { .. } | Self::Apply { .. } => "cannot_write",
        }
    }
}
