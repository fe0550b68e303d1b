//! One line per thing that happens, with its time.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Between two signs of life of a long step.
const REMINDER: Duration = Duration::from_secs(30);

/// Says one thing. `who` is the part that it is about.
pub fn say(who: &str, what: &str) {
    println!("{}  {who:<8}  {what}", Timestamp::now().strftime("%H:%M:%S"));
}

/// Says what is waited for, every half a minute again, and in the end how long it took.
///
/// # Errors
/// Those of `work`.
pub async fn step<T, E>(who: &str, what: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    say(who, &format!("{what} …"));
    let started = Instant::now();
    let mut work = std::pin::pin!(work);
    let result = loop {
        match tokio::time::timeout(REMINDER, &mut work).await {
            Ok(result) => break result,
            Err(_) => say(who, &format!("{what}, {} s so far …", started.elapsed().as_secs())),
        }
    };
    if result.is_ok() {
        say(who, &format!("… done in {:.1} s", started.elapsed().as_secs_f64()));
    }
    result
}
