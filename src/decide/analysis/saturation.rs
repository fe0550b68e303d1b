//! Saturation (§10): a candidate that is short of something and still answers well. It holds a step and never fails one, for nobody knows how
//! often a good version looks like this.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::numbers::{parse_any, print};
use super::sentences;
use super::state::{SaturationState, Unreadable};
use super::{PodSample, Scrape, Settings, Situation};

/// It has to last for so long.
const LASTING: SignedDuration = SignedDuration::from_secs(60);
/// Without a number for so long, nothing is known any more.
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(120);
/// The candidate's number is at least so many times stable's.
const TIMES: f64 = 2.0;
/// Share of the quota's periods in which the processor was throttled.
const THROTTLED: f64 = 0.25;
/// Seconds by which the event loop is late, at the 99th percentile.
const LOOP_LAG: f64 = 0.1;
/// Memory's course is drawn from a moment that is at least so long ago.
const COURSE: SignedDuration = SignedDuration::from_secs(60);

/// What a revision may be short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Resource {
    Processor,
    Memory,
    EventLoop,
}

impl Resource {
    const ALL: [Self; 3] = [Self::Processor, Self::Memory, Self::EventLoop];

    /// Its name as in status.
    const fn name(self) -> &'static str {
        match self {
            Self::Processor => "Processor",
            Self::Memory => "Memory",
            Self::EventLoop => "EventLoop",
        }
    }
}

/// Since when, until when, and by what numbers a resource was short without a break.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    since: Timestamp,
    until: Timestamp,
    candidate: f64,
    stable: Option<f64>,
}

/// Memory of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Saturation {
    held: BTreeMap<Resource, Held>,
    /// Periods and throttled ones of each pod at the scrape before. In memory only, as the counters of requests.
    periods: BTreeMap<String, (u64, u64)>,
    /// The largest pod of stable and of the candidate, now and then. In memory only.
    courses: [Course; 2],
}

/// The largest pod's memory in bytes, at two moments at least [`COURSE`] apart.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Course {
    older: Option<(Timestamp, f64)>,
    newer: Option<(Timestamp, f64)>,
}

impl Course {
    /// Bytes a second, once it is known.
    fn take(&mut self, at: Timestamp, bytes: Option<f64>) -> Option<f64> {
        let bytes = bytes?;
        if self.newer.is_none_or(|(then, _)| at.duration_since(then) >= COURSE) {
            self.older = self.newer;
            self.newer = Some((at, bytes));
        }
        let (then, before) = self.older?;
        Some((bytes - before) / at.duration_since(then).as_secs_f64().max(1.0))
    }
}

impl Saturation {
    /// Takes in a scrape that is newer than the last. Pods count from the end of their warm-up on.
    pub fn take(&mut self, scrape: &Scrape, situation: &Situation<'_>, settings: &Settings) {
        let warm_up = SignedDuration::from_secs(settings.warm_up_seconds);
        let is_warm = |sample: &&PodSample| sample.ready_since.is_some_and(|since| scrape.at.duration_since(since) > warm_up);
        let of = |revision: &str| {
            let mut samples: Vec<_> = scrape.samples.iter().filter(|sample| sample.revision == revision).filter(is_warm).collect();
            samples.sort_by_key(|sample| &sample.pod);
            samples
        };
        let [stable, candidate] = [of(situation.stable), of(situation.candidate)];
        let throttled = [self.throttled(&stable), self.throttled(&candidate)];
        let pods = scrape.samples.iter().filter_map(|sample| periods(sample).map(|periods| (sample.pod.clone(), periods)));
        self.periods = pods.collect();

        let largest = |samples: &[&PodSample]| samples.iter().filter_map(|sample| sample.counters.pressure.resident_bytes).max();
        let bytes = [largest(&stable), largest(&candidate)].map(|bytes| bytes.map(|bytes| bytes as f64));
        let [stable_course, candidate_course] = &mut self.courses;
        let growth = [stable_course.take(scrape.at, bytes[0]), candidate_course.take(scrape.at, bytes[1])];
        let reaches = |limit: f64| {
            let (now, growth) = bytes[1].zip(growth[1]).unwrap_or_default();
            growth > 0.0 && now + growth * settings.bake_seconds as f64 >= limit
        };
        // Without a limit there is nothing to be on course for.
        let on_course = settings.memory_limit_bytes.is_some_and(reaches);

        let lag = [mean_lag(&stable), mean_lag(&candidate)];
        self.note(Resource::Processor, scrape.at, throttled, throttled[1].is_some_and(|share| share >= THROTTLED));
        self.note(Resource::Memory, scrape.at, growth, on_course);
        self.note(Resource::EventLoop, scrape.at, lag, lag[1].is_some_and(|seconds| seconds >= LOOP_LAG));
    }

    /// The share of throttled periods since the scrape before.
    fn throttled(&self, samples: &[&PodSample]) -> Option<f64> {
        let since = |sample: &&PodSample| {
            let (now, before) = (periods(sample)?, self.periods.get(&sample.pod)?);
            Some((now.0.checked_sub(before.0)?, now.1.checked_sub(before.1)?))
        };
        let (all, throttled) = samples.iter().filter_map(since).fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        (all > 0).then(|| throttled as f64 / all as f64)
    }

    /// Stable's number and the candidate's; a round without the candidate's says nothing.
    fn note(&mut self, resource: Resource, at: Timestamp, [stable, candidate]: [Option<f64>; 2], short: bool) {
        let Some(candidate) = candidate else { return };
        if short && candidate >= TIMES * stable.unwrap_or(0.0) {
            let before = self.held.get(&resource).filter(|held| at.duration_since(held.until) <= FORGOTTEN);
            let since = before.map_or(at, |held| held.since);
            self.held.insert(resource, Held { since, until: at, candidate, stable });
        } else {
            self.held.remove(&resource);
        }
    }

    /// What the candidate is short of now, in words; `None`: of nothing, for all that is known.
    pub fn sentence(&self, situation: &Situation<'_>, settings: &Settings) -> Option<String> {
        let lasts =
            |held: &&Held| held.until.duration_since(held.since) >= LASTING && situation.now.duration_since(held.until) <= FORGOTTEN;
        let (resource, held) = Resource::ALL.into_iter().find_map(|resource| Some((resource, self.held.get(&resource).filter(lasts)?)))?;
        let (candidate, stable) = (situation.candidate, situation.stable);
        let beside =
            |words: &dyn Fn(f64) -> String| held.stable.map_or_else(String::new, |number| format!(", {} on {stable}", words(number)));
        Some(match resource {
            Resource::Processor => {
                let words = |share: f64| format!("{:.0}%", share * 100.0);
                format!("{candidate} was throttled in {} of its processor's periods{}", words(held.candidate), beside(&words))
            }
            Resource::Memory => {
                let words = |growth: f64| format!("{:.1} MiB a minute", growth * 60.0 / 1_048_576.0);
                let limit = settings.memory_limit_bytes.unwrap_or_default() / 1_048_576.0;
                let bake = sentences::duration(settings.bake_seconds as f64);
                format!(
                    "memory on {candidate} grows by {}{}, and would reach its limit of {limit:.0} MiB within a bake of {bake}",
                    words(held.candidate),
                    beside(&words)
                )
            }
            Resource::EventLoop => {
                let words = |seconds: f64| format!("{:.0} ms", seconds * 1000.0);
                format!("the event loop of {candidate} is late by {} (p99){}", words(held.candidate), beside(&words))
            }
        })
    }

    /// To status.
    pub fn write(&self) -> Vec<SaturationState> {
        let state = |(resource, held): (&Resource, &Held)| SaturationState {
            resource: resource.name().to_owned(),
            since: held.since,
            until: held.until,
            numbers: print(&std::iter::once(held.candidate).chain(held.stable).collect::<Vec<_>>()),
        };
        self.held.iter().map(state).collect()
    }

    /// From status; `running`: what goes on, whose last scrape is kept.
    pub fn read(states: &[SaturationState], running: Option<&Self>) -> Result<Self, Unreadable> {
        const WHAT: &str = "saturation";
        let mut read = running.cloned().unwrap_or_default();
        read.held.clear();
        for state in states {
            let resource = Resource::ALL.into_iter().find(|resource| resource.name() == state.resource).ok_or(Unreadable { what: WHAT })?;
            let numbers = parse_any(&state.numbers, WHAT)?;
            let candidate = *numbers.first().ok_or(Unreadable { what: WHAT })?;
            read.held.insert(resource, Held { since: state.since, until: state.until, candidate, stable: numbers.get(1).copied() });
        }
        Ok(read)
    }
}

fn periods(sample: &PodSample) -> Option<(u64, u64)> {
    sample.counters.pressure.periods.zip(sample.counters.pressure.throttled_periods)
}

/// The pods' mean, in seconds.
fn mean_lag(samples: &[&PodSample]) -> Option<f64> {
    let lags: Vec<f64> =
        samples.iter().filter_map(|sample| sample.counters.pressure.loop_lag_microseconds).map(|lag| lag as f64 / 1e6).collect();
    (!lags.is_empty()).then(|| lags.iter().sum::<f64>() / lags.len() as f64)
}
