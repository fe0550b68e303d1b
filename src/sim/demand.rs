//! Requests, and how each revision answers them; and what a pod's metrics page says about it.
//!
//! Requests arrive as a Poisson stream and are divided evenly over the pods that connections reach. What the judge gets is what a real pod
//! would send: a page of text, read by the same parser.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::cluster::Cluster;
use super::gateway;
use super::pods::SimPod;
use super::random::Random;
use super::scenario::{Answer, Behaviour, Traffic};
use super::workloads::Workloads;
use crate::decide::Request;
use crate::decide::analysis::{PodSample, Scrape, SilentPod, convention};
use crate::decide::queries::{QueryAnswer, QueryRequest, Silence};

/// Upper bounds of the histogram, in milliseconds.
const BOUNDS: [f64; 7] = [25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];
/// Behaviour may change within an interval; none is counted in one piece that is longer than this.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_secs(5);

/// Requests that a revision got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// All.
    pub requests: u64,
    /// Those that failed: a status of 500 or above, or no answer.
    pub failed: u64,
    /// Those that took longer than 500 milliseconds.
    pub slow: u64,
}

/// A pod's counters since its container started.
#[derive(Clone, Debug, Default)]
struct Counters {
    started: Option<Timestamp>,
    good: u64,
    failed: u64,
    /// Requests within each bound, not cumulative; the last one is beyond all of them.
    within: [u64; BOUNDS.len() + 1],
}

/// The users.
#[derive(Debug)]
pub(super) struct Demand {
    random: Random,
    pub(super) traffic: Traffic,
    counters: BTreeMap<String, Counters>,
    /// By revision.
    pub(super) served: BTreeMap<String, Served>,
    /// Requests that found no endpoint at all.
    pub(super) lost: u64,
    /// How metrics are answered instead of truly, until when, and by how many of the pods.
    pub(super) fault: Option<MetricsFault>,
}

/// Metrics that are not what they should be.
#[derive(Clone, Debug)]
pub(super) struct MetricsFault {
    pub(super) until: Timestamp,
    pub(super) answer: Answer,
    /// Only every second pod.
    pub(super) half: bool,
}

impl Demand {
    pub(super) fn new(traffic: Traffic, seed: u64) -> Self {
        Self { random: Random::new(seed, 2), traffic, counters: BTreeMap::new(), served: BTreeMap::new(), lost: 0, fault: None }
    }

    /// Requests between two moments between which nothing changed.
    pub(super) fn pass(&mut self, from: Timestamp, to: Timestamp, workloads: &Workloads, cluster: &Cluster, service: &str) {
        let seconds = to.duration_since(from).as_secs_f64();
        let expected = self.traffic.rate(from) * seconds;
        if expected <= 0.0 {
            return;
        }
        for share in gateway::shares(workloads, cluster, service) {
            let expected = expected * share.of_all;
            if share.pods.is_empty() {
                self.lost += self.random.poisson(expected);
            }
            for pod in &share.pods {
                let requests = self.random.poisson(expected / share.pods.len() as f64);
                self.answer(pod, workloads, requests);
            }
        }
        let Some((name, percent)) = workloads.gateway.mirror() else { return };
        // Copies: nobody waits for their answers.
        let users = self.served.clone();
        let pods: Vec<&SimPod> = workloads.endpoints(cluster, name).collect();
        for pod in &pods {
            let requests = self.random.poisson(expected * percent / 100.0 / pods.len() as f64);
            self.answer(pod, workloads, requests);
        }
        self.served = users;
    }

    fn answer(&mut self, pod: &SimPod, workloads: &Workloads, requests: u64) {
        let served = self.served.entry(pod.shown.state.revision.clone()).or_default();
        served.requests += requests;
        if !workloads.answers(pod) {
            served.failed += requests;
            return;
        }
        let behaviour = workloads.behaviour(pod.image());
        let failed = self.random.binomial(requests, behaviour.failures.0);
        served.failed += failed;
        let counters = self.counters.entry(pod.shown.state.pod.clone()).or_default();
        if counters.started != pod.shown.started {
            *counters = Counters { started: pod.shown.started, ..Counters::default() };
        }
        counters.good += requests - failed;
        counters.failed += failed;
        let (mut left, mut below) = (requests, 0.0);
        for (bound, within) in BOUNDS.iter().zip(&mut counters.within) {
            let share = share_within(&behaviour, *bound);
            let here = self.random.binomial(left, ((share - below) / (1.0 - below)).clamp(0.0, 1.0));
            *within += here;
            left -= here;
            if *bound > 500.0 {
                served.slow += here;
            }
            below = share;
        }
        counters.within[BOUNDS.len()] += left;
        served.slow += left;
    }

    /// Asks pods for their metrics.
    pub(super) fn scrape(&self, requests: &[Request], workloads: &Workloads, now: Timestamp) -> Scrape {
        let mut scrape = Scrape { at: now, samples: Vec::new(), silent: Vec::new() };
        for (index, request) in requests.iter().enumerate() {
            let page = match workloads.pod(&request.pod) {
                Some(pod) if workloads.answers(pod) => self.page(pod, &workloads.behaviour(pod.image()), index, now),
                _ => Err("connection refused".to_owned()),
            };
            match page.and_then(|page| read(&page, request, now)) {
                Ok(sample) => scrape.samples.push(sample),
                Err(why) => scrape.silent.push(SilentPod { pod: request.pod.clone(), revision: request.revision.clone(), why }),
            }
        }
        scrape
    }

    /// Asks Prometheus a question of the user's own. One that names no revision is about all that serve: the newest image answers.
    pub(super) fn query(&self, question: &QueryRequest, workloads: &Workloads, now: Timestamp) -> QueryAnswer {
        let nothing = || Err(Silence::Inconclusive("the answer has no sample".to_owned()));
        let fault = self.fault.as_ref().filter(|fault| now < fault.until).map(|fault| fault.answer);
        let value = match fault {
            Some(Answer::Down | Answer::Hangs | Answer::Status500 | Answer::Cut | Answer::Html) => {
                Err(Silence::Error("Prometheus: connection refused".to_owned()))
            }
            Some(Answer::Empty | Answer::NotANumber) => nothing(),
            // The peak that a load test asks for.
            None if question.objective.starts_with("gate/") => Ok(self.traffic.requests_per_second),
            None => match workloads.image_of(question.revision.as_deref()) {
                Some(image) => workloads.behaviour(&image).answers.get(&question.objective).copied().map_or_else(nothing, Ok),
                None => nothing(),
            },
        };
        QueryAnswer { objective: question.objective.clone(), revision: question.revision.clone(), value }
    }

    fn page(&self, pod: &SimPod, behaviour: &Behaviour, index: usize, now: Timestamp) -> Result<String, String> {
        let truly = || {
            self.counters
                .get(&pod.shown.state.pod)
                .filter(|counters| counters.started == pod.shown.started)
                .map_or_else(String::new, |counters| counters.page(behaviour))
        };
        let fault = self.fault.as_ref().filter(|fault| now < fault.until && (!fault.half || index.is_multiple_of(2)));
        match fault.map(|fault| fault.answer) {
            None => Ok(truly()),
            Some(Answer::Down) => Err("connection refused".to_owned()),
            Some(Answer::Hangs) => Err("no answer in 10 s".to_owned()),
            Some(Answer::Status500) => Err("status 500".to_owned()),
            Some(Answer::Empty) => Ok(String::new()),
            Some(Answer::Html) => Ok("<!DOCTYPE html><html><body>login</body></html>".to_owned()),
            Some(Answer::NotANumber) => Ok("http_requests_total{code=\"200\"} NaN\n".to_owned()),
            Some(Answer::Cut) => {
                let page = truly();
                Ok(page[..page.len() / 2].to_owned() + "\nhttp_requests_total{code=")
            }
        }
    }
}

fn read(page: &str, request: &Request, now: Timestamp) -> Result<PodSample, String> {
    let counters = convention::read(page.as_bytes(), "text/plain; version=0.0.4", &request.reading).map_err(|why| why.to_string())?;
    let at = counters.at.unwrap_or(now);
    Ok(request.answered(counters, at))
}

/// Share of the requests that are answered within a time: log-normal.
fn share_within(behaviour: &Behaviour, milliseconds: f64) -> f64 {
    let deviations = libm::log(milliseconds / behaviour.latency_milliseconds) / 0.7;
    0.5 * libm::erfc(-deviations / std::f64::consts::SQRT_2)
}

impl Counters {
    /// The page that a prom-client library would show.
    fn page(&self, behaviour: &Behaviour) -> String {
        let mut page = String::from("# TYPE http_requests_total counter\n");
        for (code, count) in [(200, self.good), (500, self.failed)] {
            if count > 0 {
                let _ = writeln!(page, "http_requests_total{{code=\"{code}\"}} {count}");
            }
        }
        page.push_str("# TYPE http_request_duration_seconds histogram\n");
        let mut sum = 0;
        for (bound, within) in BOUNDS.iter().zip(self.within) {
            sum += within;
            let _ = writeln!(page, "http_request_duration_seconds_bucket{{le=\"{}\"}} {sum}", bound / 1000.0);
        }
        let all = self.good + self.failed;
        let _ = writeln!(page, "http_request_duration_seconds_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(page, "http_request_duration_seconds_count {all}\nhttp_request_duration_seconds_sum {all}");
        if let Some(lag) = behaviour.loop_lag_milliseconds {
            let _ = writeln!(page, "# TYPE nodejs_eventloop_lag_p99_seconds gauge\nnodejs_eventloop_lag_p99_seconds {}", lag / 1000.0);
        }
        page
    }
}
