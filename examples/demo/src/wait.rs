//! Waiting with a limit, and saying for what.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks again and again until `look` gives a value.
///
/// # Errors
/// When there is none within `limit`; the message says what was waited for.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("not within {} s: {what}", limit.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
