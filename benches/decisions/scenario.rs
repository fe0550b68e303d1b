//! What a cell of the benchmark plays.

/// How the candidate is worse; shares are added to stable's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bad {
    /// Share of requests that fail in addition.
    pub fails: f64,
    /// From when on, in seconds.
    pub from: f64,
    /// Over so many seconds it grows to that.
    pub over: f64,
    /// Latency times this (0 is 1).
    pub slower: f64,
    /// Share of requests that take 1 to 2.5 s.
    pub tail: f64,
    /// Only the first pod is bad.
    pub one_pod: bool,
    /// Only while the candidate has at least this weight, in percent.
    pub above: f64,
    /// Mean seconds that a pod runs before it crashes (0: it does not).
    pub crashes: f64,
}

impl Bad {
    /// Nothing is wrong with it.
    pub fn is_none(&self) -> bool {
        self.fails == 0.0 && self.slower == 0.0 && self.tail == 0.0 && self.crashes == 0.0
    }
}

/// Something that happens to single pods of both revisions: starts by chance, exponential length.
#[derive(Clone, Copy, Debug)]
pub struct Incident {
    /// Mean seconds between two of a pod.
    pub every: f64,
    /// Mean seconds of one.
    pub lasting: f64,
    /// Share of requests that fail meanwhile.
    pub fails: f64,
    /// Share that takes 0.5 to 1 s meanwhile.
    pub slow: f64,
}

/// A cell of the benchmark.
#[expect(clippy::struct_excessive_bools, reason = "each is something that may be the matter")]
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name in the tables.
    pub name: &'static str,
    /// Requests per second.
    pub rate: f64,
    /// Stable's share of failures.
    pub fails: f64,
    /// Pods of stable and of the candidate.
    pub pods: (usize, usize),
    /// What is wrong with the candidate.
    pub bad: Bad,
    /// The candidate sits on the line that is still tolerated.
    pub on_the_line: bool,
    /// The share that stays in a cell of good versions, in percent.
    pub weight: f64,
    /// Latency grows with the load of a pod: by 0.5 ÷ (1 − 0.5·load), where load 1 is that of stable's pods before the rollout.
    pub load_slows: bool,
    /// One pod of each revision is replaced every minute.
    pub replaced: bool,
    /// The bake keeps stable beside the candidate.
    pub control: bool,
    /// Both fail 30%: from when, for how long. A negative start is a random one.
    pub outage: Option<(f64, f64)>,
    /// Load ±60%, failures times e^±1.1 over the day.
    pub day: bool,
    /// Failures come in clusters of so many in the mean (geometric), each on one pod; 0: each by itself.
    pub retries: f64,
    /// What happens to single pods.
    pub incident: Option<Incident>,
    /// Pods differ for good: lognormal spread of their failures.
    pub pods_differ: f64,
    /// Young pods are slower by 3 for so many seconds.
    pub cold_seconds: f64,
    /// Young pods fail 1% more in their first minute.
    pub cold_fails: bool,
    /// Seconds of history before the rollout.
    pub history: f64,
    /// Half of the scrapes are lost.
    pub lost_scrapes: bool,
    /// Seconds between scrapes.
    pub interval: f64,
    /// `warmUpSeconds`.
    pub warm_up: i64,
}

impl Scenario {
    /// An ordinary service of 10 pods.
    pub fn plain(name: &'static str, rate: f64) -> Self {
        Self {
            name,
            rate,
            fails: 0.001,
            pods: (10, 5),
            bad: Bad::default(),
            on_the_line: false,
            weight: 10.0,
            load_slows: false,
            replaced: false,
            control: true,
            outage: None,
            day: false,
            retries: 0.0,
            incident: None,
            pods_differ: 0.0,
            cold_seconds: 0.0,
            cold_fails: false,
            history: 7200.0,
            lost_scrapes: false,
            interval: 5.0,
            warm_up: 30,
        }
    }
}
