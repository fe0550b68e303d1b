//! The world: traffic cut into slots, and for every request both outcomes, served by stable and by the candidate, so that every policy plays the
//! same requests whatever weights it gives.

use crate::random::Random;

/// Seconds of a tick.
pub const TICK: f64 = 5.0;
/// Cumulative shares of the slots.
pub const SLOTS: [f64; 14] = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8, 0.9, 1.0];
/// Upper bounds of the latency histogram, in milliseconds; a last bin is open.
pub const BOUNDS: [f64; 7] = [25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];
const BINS: usize = BOUNDS.len() + 1;
/// Median and spread of latency: lognormal.
const MEDIAN_MILLISECONDS: f64 = 60.0;
const SPREAD: f64 = 0.7;

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
}

impl Bad {
    /// Nothing is wrong with it.
    pub fn is_none(&self) -> bool {
        self.fails == 0.0 && self.slower == 0.0 && self.tail == 0.0
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
    /// Both fail 30%: from when, for how long. A negative start is a random one.
    pub outage: Option<(f64, f64)>,
    /// Load ±60%, failures times e^±1.1 over the day.
    pub day: bool,
    /// Failures come in clusters of five, each on one pod.
    pub retries: bool,
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
            outage: None,
            day: false,
            retries: false,
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

/// Requests of one pod, of one slot, in one tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell {
    /// All.
    pub requests: u32,
    /// Failed.
    pub failed: u32,
    /// By latency.
    pub bins: [u32; BINS],
}

impl Cell {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        for (bin, more) in self.bins.iter_mut().zip(other.bins) {
            *bin += more;
        }
    }

    /// Requests slower than 500 ms.
    pub fn slow(&self) -> u32 {
        self.bins[5..].iter().sum()
    }
}

/// A tick's requests by slot and pod, as each revision would serve them.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Served by stable.
    pub stable: Vec<Vec<Cell>>,
    /// Served by the candidate.
    pub candidate: Vec<Vec<Cell>>,
}

/// Pods of a revision.
#[derive(Clone, Debug)]
struct Pods {
    factor: Vec<f64>,
    incident_until: Vec<f64>,
    incident_from: Vec<f64>,
}

/// A run of a scenario.
#[derive(Clone, Debug)]
pub struct World {
    scenario: Scenario,
    random: Random,
    stable: Pods,
    candidate: Pods,
    outage: Option<(f64, f64)>,
    phase: f64,
}

impl World {
    /// Begins a run.
    pub fn new(scenario: &Scenario, mut random: Random) -> Self {
        let stable = Pods::new(scenario.pods.0, scenario, &mut random);
        let candidate = Pods::new(scenario.pods.1, scenario, &mut random);
        let start = random.uniform() * 3000.0;
        let outage = scenario.outage.map(|(from, lasting)| if from < 0.0 { (start, lasting) } else { (from, lasting) });
        let phase = random.uniform() * std::f64::consts::TAU;
        Self { scenario: scenario.clone(), random, stable, candidate, outage, phase }
    }

    /// The requests of the tick that begins at `time` (seconds since the first weight; negative: history). `slots`: shares at which slots end;
    /// where there are two at most, the first is the candidate's for good, the last stable's, and no other outcome is drawn.
    pub fn tick(&mut self, time: f64, slots: &[f64]) -> Tick {
        let scenario = &self.scenario;
        let day = if scenario.day { (std::f64::consts::TAU * time / 7200.0 + self.phase).sin() } else { 0.0 };
        let rate = scenario.rate * (1.0 + 0.6 * day);
        let base = scenario.fails * (1.1 * day).exp();
        let outage = self.outage.is_some_and(|(from, lasting)| (from..from + lasting).contains(&time));
        let base = if outage { 0.3 } else { base };
        let bad = &scenario.bad;
        let grown = if time < bad.from { 0.0 } else { ((time - bad.from + TICK) / bad.over.max(TICK)).min(1.0) };
        let line = if scenario.on_the_line { 0.25 * base + 0.001 } else { 0.0 };
        let cold = time < scenario.cold_seconds;
        let slower = if bad.slower > 0.0 && time >= bad.from { bad.slower } else { 1.0 } * if cold { 3.0 } else { 1.0 };
        let extra = line + if scenario.cold_fails && time < 60.0 { 0.01 } else { 0.0 };
        let usual = bins(1.0);
        let (stable_pods, candidate_pods) = scenario.pods;
        let shares_stable: Vec<Share> =
            (0..stable_pods).map(|pod| self.stable.share(pod, time, base, &usual, scenario.incident, &mut self.random)).collect();
        let candidate_bins = bins(slower);
        let shares_candidate: Vec<Share> = (0..candidate_pods)
            .map(|pod| {
                let mut share = self.candidate.share(pod, time, base, &candidate_bins, scenario.incident, &mut self.random);
                if !bad.one_pod || pod == 0 {
                    share.fails = (share.fails + extra + bad.fails * grown).min(1.0);
                    if time >= bad.from {
                        share.slow = bad.tail;
                        share.slow_bins = 6;
                    }
                } else {
                    share.fails = (share.fails + extra).min(1.0);
                }
                share
            })
            .collect();
        let mut tick = Tick {
            stable: vec![vec![Cell::default(); stable_pods]; slots.len()],
            candidate: vec![vec![Cell::default(); candidate_pods]; slots.len()],
        };
        let mut before = 0.0;
        for (slot, end) in slots.iter().enumerate() {
            let count = self.random.poisson(rate * TICK * (end - before));
            before = *end;
            let both = slots.len() > 2;
            if both || slot + 1 == slots.len() {
                serve(count, &shares_stable, &mut tick.stable[slot], scenario.retries, &mut self.random);
            }
            if both || slot + 1 < slots.len() {
                serve(count, &shares_candidate, &mut tick.candidate[slot], scenario.retries, &mut self.random);
            }
        }
        tick
    }
}

/// How a pod serves in a tick.
#[derive(Clone, Debug)]
struct Share {
    fails: f64,
    slow: f64,
    slow_bins: usize,
    bins: [f64; BINS],
}

impl Pods {
    fn new(count: usize, scenario: &Scenario, random: &mut Random) -> Self {
        let factor = (0..count).map(|_| (scenario.pods_differ * random.normal()).exp()).collect();
        let mut pods = Self { factor, incident_until: vec![f64::NEG_INFINITY; count], incident_from: vec![f64::INFINITY; count] };
        if let Some(incident) = scenario.incident {
            for from in &mut pods.incident_from {
                *from = -scenario.history + random.exponential(incident.every);
            }
        }
        pods
    }

    fn share(&mut self, pod: usize, time: f64, base: f64, bins: &[f64; BINS], incident: Option<Incident>, random: &mut Random) -> Share {
        let mut share = Share { fails: (base * self.factor[pod]).min(1.0), slow: 0.0, slow_bins: 5, bins: *bins };
        let Some(incident) = incident else { return share };
        let end = time + TICK;
        let mut covered = 0.0;
        loop {
            if self.incident_until[pod] > time {
                covered += self.incident_until[pod].min(end) - self.incident_from[pod].max(time);
                if self.incident_until[pod] > end {
                    break;
                }
                self.incident_from[pod] = self.incident_until[pod] + random.exponential(incident.every);
                self.incident_until[pod] = f64::NEG_INFINITY;
            }
            if self.incident_from[pod] >= end {
                break;
            }
            if self.incident_until[pod] == f64::NEG_INFINITY {
                self.incident_until[pod] = self.incident_from[pod] + random.exponential(incident.lasting);
                if self.incident_until[pod] <= time {
                    self.incident_from[pod] = self.incident_until[pod] + random.exponential(incident.every);
                    self.incident_until[pod] = f64::NEG_INFINITY;
                }
            }
        }
        let part = (covered / TICK).clamp(0.0, 1.0);
        share.fails = (share.fails + incident.fails * part).min(1.0);
        share.slow = incident.slow * part;
        share
    }
}

fn serve(count: u64, shares: &[Share], cells: &mut [Cell], retries: bool, random: &mut Random) {
    for _ in 0..count {
        let pod = random.pick(shares.len());
        let (share, cell) = (&shares[pod], &mut cells[pod]);
        cell.requests += 1;
        if !retries && random.happens(share.fails) {
            cell.failed += 1;
        }
        let bin = if random.happens(share.slow) { share.slow_bins } else { latency_bin(&share.bins, random) };
        cell.bins[bin] += 1;
    }
    if retries {
        // Clusters of five in the mean: the same failures, each cluster on one pod.
        for (share, cell) in shares.iter().zip(cells) {
            let clusters = random.poisson(f64::from(cell.requests) * share.fails / 5.0);
            for _ in 0..clusters {
                let mut size = 1;
                while random.happens(0.8) {
                    size += 1;
                }
                cell.failed = (cell.failed + size).min(cell.requests);
            }
        }
    }
}

fn latency_bin(cumulative: &[f64; BINS], random: &mut Random) -> usize {
    let uniform = random.uniform();
    cumulative.iter().position(|share| uniform < *share).unwrap_or(BINS - 1)
}

/// Cumulative shares of the bins where everything takes `slower` times as long.
fn bins(slower: f64) -> [f64; BINS] {
    let mut cumulative = [1.0; BINS];
    for (share, bound) in cumulative.iter_mut().zip(BOUNDS) {
        let deviations = (bound / (MEDIAN_MILLISECONDS * slower)).ln() / SPREAD;
        *share = 0.5 * libm::erfc(-deviations / std::f64::consts::SQRT_2);
    }
    cumulative
}
