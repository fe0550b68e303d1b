//! Workers: so many services are looked at side by side, each by one worker at a time. A panic in one of them is one service's failure.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinSet;

use super::queue::{Key, Next, Queue};

/// Works until the queue is closed, and finishes what is in work then.
pub async fn work<F, R>(queue: Arc<Queue>, concurrency: usize, reconcile: F)
where
    F: Fn(Key) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Next> + Send + 'static,
{
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.max(1) {
        let (queue, reconcile) = (queue.clone(), reconcile.clone());
        workers.spawn(async move {
            while let Some(key) = queue.next().await {
                // The panic itself was logged where it happened.
                let next = AssertUnwindSafe(async { reconcile(key.clone()).await }).catch_unwind().await.unwrap_or_else(|_| {
                    tracing::error!(service = %key, "panic: it is tried again later");
                    Next::Failed(Duration::ZERO)
                });
                queue.finish(&key, next);
            }
        });
    }
    while workers.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_harms_only_its_own_service_and_is_tried_again() {
        let queue = Arc::new(Queue::default());
        queue.open();
        let (bad, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (bad.clone(), good.clone());
        let workers = tokio::spawn(work(queue.clone(), 2, move |key| {
            let (bad, good) = counts.clone();
            async move {
                if &*key.name == "bad" {
                    bad.fetch_add(1, Ordering::Relaxed);
                    panic!("a bug");
                }
                good.fetch_add(1, Ordering::Relaxed);
                Next::Wait(None)
            }
        }));
        queue.add(Key::new("shop", "bad"));
        queue.add(Key::new("shop", "good"));
        sleep(Duration::from_secs(10)).await;
        queue.add(Key::new("shop", "good"));
        sleep(Duration::from_secs(10)).await;
        assert_eq!(good.load(Ordering::Relaxed), 2);
        let tries = bad.load(Ordering::Relaxed);
        assert!((4..=10).contains(&tries), "tried again, with growing waits: {tries}");
        queue.close();
        workers.await.expect("the workers end by themselves");
    }
}
