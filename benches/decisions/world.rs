//! The world: traffic cut into slots, and for every request both outcomes, served by stable and by the candidate, so that every policy plays the
//! same requests whatever weights it gives.

use crate::random::Random;
use crate::scenario::{Incident, Scenario};

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

/// Requests of one pod, of one slot, in one tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell {
    /// All.
    pub requests: u32,
    /// Failed.
    pub failed: u32,
    /// Of those that did not: would have failed under the load that the candidate does not bear.
    pub failed_loaded: u32,
    /// By latency.
    pub bins: [u32; BINS],
}

impl Cell {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.failed_loaded += other.failed_loaded;
        for (bin, more) in self.bins.iter_mut().zip(other.bins) {
            *bin += more;
        }
    }

    /// As it is under that load.
    pub fn loaded(self) -> Self {
        Self { failed: self.failed + self.failed_loaded, failed_loaded: 0, ..self }
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
    /// The candidate's pods at the tick's end.
    pub health: Vec<Health>,
}

/// How a pod of the candidate fares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    /// It crashed so often.
    pub crashes: u32,
    /// It waits for its restart until then.
    pub down_until: f64,
    /// It crashes next at that time.
    next_crash: f64,
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
    health: Vec<Health>,
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
        let crashes = scenario.bad.crashes;
        let next = |random: &mut Random| if crashes > 0.0 { random.exponential(crashes) } else { f64::INFINITY };
        let health = (0..scenario.pods.1).map(|_| Health { next_crash: next(&mut random), ..Health::default() }).collect();
        Self { scenario: scenario.clone(), random, stable, candidate, health, outage, phase }
    }

    /// The requests of the tick that begins at `time` (seconds since the first weight), each as both revisions would serve it.
    pub fn tick(&mut self, time: f64) -> Tick {
        let (rate, stable, candidate) = self.shares(time, None);
        let (stable_pods, candidate_pods) = self.scenario.pods;
        let mut tick = Tick {
            stable: vec![vec![Cell::default(); stable_pods]; SLOTS.len()],
            candidate: vec![vec![Cell::default(); candidate_pods]; SLOTS.len()],
            health: self.health.clone(),
        };
        let mut before = 0.0;
        for (slot, end) in SLOTS.iter().enumerate() {
            let count = self.random.poisson(rate * TICK * (end - before));
            before = *end;
            serve(count, &stable, &mut tick.stable[slot], self.scenario.retries, &mut self.random);
            serve(count, &candidate, &mut tick.candidate[slot], self.scenario.retries, &mut self.random);
        }
        tick
    }

    /// The same where the candidate's weight (in percent) never changes: what stable's pods and what the candidate's served. A Poisson number of
    /// requests, divided among pods and latencies by chance, is as many Poisson numbers: nothing is drawn request by request.
    pub fn divided(&mut self, time: f64, weight: f64) -> (Vec<Cell>, Vec<Cell>) {
        let (rate, stable, candidate) = self.shares(time, Some(weight));
        let mut serve = |shares: &[Share], share: f64| -> Vec<Cell> {
            let mean = rate * TICK * share / shares.len() as f64;
            shares.iter().map(|pod| pod.serve(mean, self.scenario.retries, &mut self.random)).collect()
        };
        (serve(&stable, 1.0 - weight / 100.0), if weight > 0.0 { serve(&candidate, weight / 100.0) } else { Vec::new() })
    }

    /// Requests per second in this tick, and how each pod of stable and of the candidate serves.
    fn shares(&mut self, time: f64, weight: Option<f64>) -> (f64, Vec<Share>, Vec<Share>) {
        let scenario = &self.scenario;
        let day = if scenario.day { (std::f64::consts::TAU * time / 7200.0 + self.phase).sin() } else { 0.0 };
        let rate = scenario.rate * (1.0 + 0.6 * day);
        let base = scenario.fails * (1.1 * day).exp();
        let outage = self.outage.is_some_and(|(from, lasting)| (from..from + lasting).contains(&time));
        let base = if outage { 0.3 } else { base };
        let bad = &scenario.bad;
        let grown = if time < bad.from { 0.0 } else { ((time - bad.from + TICK) / bad.over.max(TICK)).min(1.0) };
        let line = if scenario.on_the_line { 0.25 * base + 0.001 } else { 0.0 };
        let cold = if time < scenario.cold_seconds { 3.0 } else { 1.0 };
        let (stable_pods, candidate_pods) = scenario.pods;
        let load = |share: f64, pods: usize| match weight.filter(|_| scenario.load_slows) {
            Some(_) => 0.5 / (1.0 - 0.5 * (share * stable_pods as f64 / pods as f64).min(1.9)),
            None => 1.0,
        };
        let own = weight.unwrap_or(0.0) / 100.0;
        let slower = if bad.slower > 0.0 && time >= bad.from { bad.slower } else { 1.0 } * cold * load(own, candidate_pods);
        let extra = line + if scenario.cold_fails && time < 60.0 { 0.01 } else { 0.0 };
        let usual = bins(load(1.0 - own, stable_pods));
        let incident = scenario.incident;
        let stable = (0..stable_pods).map(|pod| self.stable.share(pod, time, base, &usual, incident, &mut self.random)).collect();
        let candidate_bins = bins(slower);
        let mut candidate: Vec<Share> = (0..candidate_pods)
            .map(|pod| {
                let mut share = self.candidate.share(pod, time, base, &candidate_bins, incident, &mut self.random);
                share.fails = (share.fails + extra).min(1.0);
                if !bad.one_pod || pod == 0 {
                    let worse = (share.fails + bad.fails * grown).min(1.0);
                    if bad.above > 0.0 {
                        share.fails_loaded = (worse - share.fails) / (1.0 - share.fails).max(1e-9);
                    } else {
                        share.fails = worse;
                    }
                    if time >= bad.from {
                        share.slow = bad.tail;
                        share.slow_bins = 6;
                    }
                }
                share
            })
            .collect();
        if bad.crashes > 0.0 && time >= 0.0 {
            self.crash(time, &mut candidate);
        }
        (rate, stable, candidate)
    }

    /// Pods that crash fail what they are asked between their end and the tick's; one that waits for its restart is asked nothing, unless all do.
    fn crash(&mut self, time: f64, shares: &mut [Share]) {
        let end = time + TICK;
        for (health, share) in self.health.iter_mut().zip(shares.iter_mut()) {
            share.asked = health.down_until <= time;
            if share.asked && health.next_crash < end {
                let gone = (end - health.next_crash.max(time)) / TICK;
                share.fails = share.fails + (1.0 - share.fails) * gone;
                // The kubelet restarts at once, then after 10 s, 20 s, 40 s, …
                let wait = if health.crashes == 0 { 0.0 } else { 10.0 * f64::from(1_u32 << (health.crashes - 1).min(5)) };
                health.crashes += 1;
                health.down_until = end + wait;
                health.next_crash = health.down_until + self.random.exponential(self.scenario.bad.crashes);
            }
        }
        if shares.iter().all(|share| !share.asked) {
            for share in shares {
                (share.asked, share.fails) = (true, 1.0);
            }
        }
    }
}

/// How a pod serves in a tick.
#[derive(Clone, Debug)]
struct Share {
    asked: bool,
    fails: f64,
    fails_loaded: f64,
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
        let fails = (base * self.factor[pod]).min(1.0);
        let mut share = Share { asked: true, fails, fails_loaded: 0.0, slow: 0.0, slow_bins: 5, bins: *bins };
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

impl Share {
    /// A tick of one pod that gets `mean` requests in the mean.
    fn serve(&self, mean: f64, retries: f64, random: &mut Random) -> Cell {
        let mut cell = Cell::default();
        let fails = if retries > 0.0 { 0.0 } else { self.fails };
        cell.failed = random.poisson(mean * fails) as u32;
        for _ in 0..cell.failed {
            cell.bins[self.bin(random)] += 1;
        }
        let mut below = 0.0;
        for (bin, cumulative) in self.bins.iter().enumerate() {
            let slow = if bin == self.slow_bins { self.slow } else { 0.0 };
            let share = (1.0 - self.slow) * (cumulative - below) + slow;
            below = *cumulative;
            cell.bins[bin] += random.poisson(mean * (1.0 - fails) * share) as u32;
        }
        cell.requests = cell.bins.iter().sum();
        self.cluster(&mut cell, retries, random);
        cell
    }

    fn bin(&self, random: &mut Random) -> usize {
        if random.happens(self.slow) { self.slow_bins } else { latency_bin(&self.bins, random) }
    }

    /// The same failures, in clusters on one pod.
    fn cluster(&self, cell: &mut Cell, size: f64, random: &mut Random) {
        if size == 0.0 {
            return;
        }
        let clusters = random.poisson(f64::from(cell.requests) * self.fails / size);
        for _ in 0..clusters {
            let mut failures = 1;
            while random.happens(1.0 - 1.0 / size) {
                failures += 1;
            }
            cell.failed = (cell.failed + failures).min(cell.requests);
        }
    }
}

fn serve(count: u64, shares: &[Share], cells: &mut [Cell], retries: f64, random: &mut Random) {
    let asked: Vec<usize> = (0..shares.len()).filter(|pod| shares[*pod].asked).collect();
    for _ in 0..count {
        let pod = asked[random.pick(asked.len())];
        let (share, cell) = (&shares[pod], &mut cells[pod]);
        cell.requests += 1;
        if retries == 0.0 && random.happens(share.fails) {
            cell.failed += 1;
        } else if random.happens(share.fails_loaded) {
            cell.failed_loaded += 1;
        }
        cell.bins[share.bin(random)] += 1;
    }
    for (share, cell) in shares.iter().zip(cells) {
        share.cluster(cell, retries, random);
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
