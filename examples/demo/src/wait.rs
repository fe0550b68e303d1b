//! Waiting with a limit, and saying for what.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between the first two looks at the cluster, and at last: each of them is a kubectl, a tenth of a second of a processor.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(3)];

/// Looks again and again until `look` gives a value.
///
/// # Errors
/// When there is none within `limit`; the message says what was waited for.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    let [mut pause, longest] = PAUSES;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("not within {} s: {what}", limit.as_secs());
        }
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 3 / 2);
    }
}
