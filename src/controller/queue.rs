//! What to look at next: every service at most once in the queue, at most once in work, and again at its time.
//!
//! A key that is added while it is in work is looked at once more afterwards: nothing that was seen is lost. A key that failed comes back by
//! itself after a growing wait; what is seen meanwhile brings it forward, but not more often than once a second: a crash must be seen in
//! seconds even while something else about the same service cannot be written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::clock::Clock;

/// Shortest time between two attempts at a service whose last attempt failed.
const SPACING: Duration = Duration::from_secs(1);
/// Longest wait of the back-off.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
const FIRST_BACK_OFF: Duration = Duration::from_millis(250);
/// So many reconciles in a row that all wrote something are not settling down: slow them.
const RESTLESS: u32 = 20;

/// Which service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// The service `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing to do before something is seen, or until this moment.
    Wait(Option<Instant>),
    /// Something was written: look at it again at once.
    Again,
    /// It failed: again after a wait that grows, at least this long.
    Failed(Duration),
}

/// The work queue.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    order: VecDeque<Key>,
    entries: BTreeMap<Key, Entry>,
    timers: BTreeSet<(Instant, Key)>,
}

#[derive(Debug, Default)]
struct Entry {
    queued: bool,
    running: bool,
    again: bool,
    timer: Option<Instant>,
    failures: u32,
    writes: u32,
    not_before: Option<Instant>,
}

impl Queue {
    /// Begins to take keys.
    pub fn open(&self) {
        self.lock().open = true;
    }

    /// Forgets everything and takes no more keys; [`Queue::next`] answers `None`.
    pub fn close(&self) {
        *self.lock() = State::default();
        self.changed.notify_waiters();
    }

    /// Something about this service was seen.
    pub fn add(&self, key: Key) {
        let mut state = self.lock();
        if state.open {
            state.add(key, Clock.instant());
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The next key to work on, when there is one. `None`: the queue is closed.
    pub async fn next(&self) -> Option<Key> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let earliest = {
                let mut state = self.lock();
                if !state.open {
                    return None;
                }
                if let Some(key) = state.take(Clock.instant()) {
                    return Some(key);
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match earliest {
                Some(at) => tokio::select! { () = changed => {}, () = sleep_until(at) => {} },
                None => changed.await,
            }
        }
    }

    /// The work on this key ended.
    pub fn finish(&self, key: &Key, next: Next) {
        self.lock().finish(key, next, Clock.instant());
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, key: Key, now: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.running {
            entry.again = true;
        } else if let Some(at) = entry.not_before.filter(|at| *at > now) {
            let earlier = entry.timer.map_or(at, |timer| timer.min(at));
            self.set_timer(&key, Some(earlier));
        } else if !entry.queued {
            entry.queued = true;
            self.set_timer(&key, None);
            self.order.push_back(key);
        }
    }

    fn take(&mut self, now: Instant) -> Option<Key> {
        while let Some((_, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.set_timer(&key, None);
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.not_before = None;
            }
            self.add(key, now);
        }
        let key = self.order.pop_front()?;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.queued = false;
            entry.running = true;
            entry.again = false;
        }
        Some(key)
    }

    fn finish(&mut self, key: &Key, next: Next, now: Instant) {
        // The queue was closed, and maybe opened again, meanwhile.
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.running) else { return };
        entry.running = false;
        let again = std::mem::take(&mut entry.again);
        let (failures, writes) = (entry.failures, entry.writes);
        (entry.failures, entry.writes) = match next {
            Next::Wait(_) => (0, 0),
            Next::Again => (0, writes.saturating_add(1)),
            Next::Failed(_) => (failures.saturating_add(1), 0),
        };
        entry.not_before = match next {
            Next::Wait(_) => None,
            Next::Again => (writes >= RESTLESS).then(|| now + SPACING),
            Next::Failed(_) => Some(now + SPACING.min(back_off(failures))),
        };
        match next {
            Next::Wait(at) => self.set_timer(key, at),
            Next::Again => self.add(key.clone(), now),
            Next::Failed(at_least) => self.set_timer(key, Some(now + back_off(failures).max(at_least))),
        }
        if again {
            self.add(key.clone(), now);
        }
        if self.entries.get(key).is_some_and(|entry| !entry.queued && entry.timer.is_none() && entry.failures == 0) {
            self.entries.remove(key);
        }
    }

    fn set_timer(&mut self, key: &Key, at: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(old) = std::mem::replace(&mut entry.timer, at) {
            self.timers.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, key.clone()));
        }
    }
}

fn back_off(failures: u32) -> Duration {
    FIRST_BACK_OFF.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("shop", name)
    }

    fn open() -> Queue {
        let queue = Queue::default();
        queue.open();
        queue
    }

    async fn taken(queue: &Queue) -> Option<String> {
        timeout(Duration::from_millis(1), queue.next()).await.ok().flatten().map(|key| key.name.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_runs_once_at_a_time() {
        let queue = open();
        queue.add(key("a"));
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(taken(&queue).await.as_deref(), Some("a"));
        queue.add(key("a"));
        assert_eq!(taken(&queue).await.as_deref(), Some("b"), "a is in work: it is not handed out twice");
        assert_eq!(taken(&queue).await, None);
        queue.finish(&key("a"), Next::Wait(None));
        assert_eq!(taken(&queue).await.as_deref(), Some("a"), "what was seen while it was in work is looked at afterwards");
        queue.finish(&key("a"), Next::Wait(None));
        assert_eq!(taken(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_comes_back_at_its_time_and_earlier_if_something_is_seen() {
        let queue = open();
        queue.add(key("a"));
        taken(&queue).await;
        queue.finish(&key("a"), Next::Wait(Some(Clock.instant() + Duration::from_secs(10))));
        advance(Duration::from_secs(9)).await;
        assert_eq!(taken(&queue).await, None);
        advance(Duration::from_secs(1)).await;
        assert_eq!(taken(&queue).await.as_deref(), Some("a"));
        queue.finish(&key("a"), Next::Wait(Some(Clock.instant() + Duration::from_secs(10))));
        queue.add(key("a"));
        assert_eq!(taken(&queue).await.as_deref(), Some("a"), "an event does not wait for the timer");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_but_events_are_seen_within_a_second() {
        let queue = open();
        queue.add(key("a"));
        for _ in 0..12 {
            taken(&queue).await;
            queue.finish(&key("a"), Next::Failed(Duration::ZERO));
            queue.add(key("a"));
            assert_eq!(taken(&queue).await, None, "not at once");
            advance(SPACING).await;
        }
        assert_eq!(taken(&queue).await.as_deref(), Some("a"), "a second after the failure, because something was seen");
        queue.finish(&key("a"), Next::Failed(Duration::ZERO));
        advance(LONGEST_BACK_OFF / 2).await;
        assert_eq!(taken(&queue).await, None, "nothing was seen: the back-off counts");
        advance(LONGEST_BACK_OFF / 2).await;
        assert_eq!(taken(&queue).await.as_deref(), Some("a"), "and has an end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_never_settles_is_slowed() {
        let queue = open();
        queue.add(key("a"));
        for _ in 0..=RESTLESS {
            assert_eq!(taken(&queue).await.as_deref(), Some("a"));
            queue.finish(&key("a"), Next::Again);
        }
        assert_eq!(taken(&queue).await, None);
        advance(SPACING).await;
        assert_eq!(taken(&queue).await.as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_hands_out_nothing_and_forgets() {
        let queue = open();
        queue.add(key("a"));
        queue.close();
        assert_eq!(queue.next().await, None);
        queue.open();
        assert_eq!(taken(&queue).await, None);
    }
}
