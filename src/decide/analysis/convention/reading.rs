//! How a page is to be read: the convention, what counts as a failure, and the names of a service that follows no convention.

use regex::Regex;

use super::{Convention, Source, rules};
use crate::api::objective::{Custom, Failures, Metrics};

/// Statuses from here on are failures of their own kind: no `failureStatus` takes them away.
pub(super) const FAILED: u16 = 1000;

/// The label by which a service's own requests are known, and what its value begins with; `None`: all are.
pub type Own = Option<(&'static str, &'static [&'static str])>;

/// How a page is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Names by which requests, failures and latency are known; of no account where there are names of the service's own.
    pub convention: Convention,
    /// Which statuses are failures.
    pub failing: Failing,
    /// Names of the service's own.
    pub custom: Option<Names>,
}

impl Reading {
    /// By this convention, failures as everywhere.
    #[must_use]
    pub fn by(convention: Convention) -> Self {
        Self { convention, ..Self::default() }
    }

    /// As the spec says.
    ///
    /// # Errors
    /// What in it cannot be honoured: the field's path below `metrics`, and why.
    pub fn of(metrics: &Metrics) -> Result<Self, String> {
        let custom = metrics.custom.as_ref().map(Names::of).transpose()?;
        Ok(Self { convention: metrics.convention.unwrap_or_default(), failing: Failing::of(&metrics.failure_status)?, custom })
    }

    /// Names of the series that count requests, and of histograms that may be native.
    #[must_use]
    pub fn counters(&self) -> Vec<String> {
        match &self.custom {
            Some(Names { requests, failures, buckets, .. }) => {
                let failures = if let Told::Metric(metric) = failures { Some(metric) } else { None };
                [Some(requests), failures, buckets.as_ref()].into_iter().flatten().cloned().collect()
            }
            None => rules::counters(Source::of(self.convention)),
        }
    }

    /// Names of the series that count requests, the most specific first, with the label by which the service's own are known and the beginnings of its
    /// value. Native histograms are not among them.
    #[must_use]
    pub fn requests(&self) -> Vec<(String, Own)> {
        match &self.custom {
            Some(names) => vec![(names.requests.clone(), None)],
            None => Source::of(self.convention).iter().flat_map(|source| rules::requests(*source)).collect(),
        }
    }

    /// Names of the histograms, without `_bucket`.
    #[must_use]
    pub fn histograms(&self) -> Vec<String> {
        match &self.custom {
            Some(names) => names.buckets.iter().cloned().collect(),
            None => rules::histograms(Source::of(self.convention)),
        }
    }

    /// Labels that tell failures, and which requests are the service's own.
    #[must_use]
    pub fn labels(&self) -> Vec<&str> {
        match &self.custom {
            Some(Names { failures: Told::Label(label, _), .. }) => vec![label],
            Some(_) => Vec::new(),
            None => rules::LABELS.to_vec(),
        }
    }
}

/// Statuses that are failures, as ranges. Default: 500 and above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing(Vec<(u16, u16)>);

impl Default for Failing {
    fn default() -> Self {
        Self(vec![(500, 999)])
    }
}

impl Failing {
    /// `5xx` is all from 500 to 599, `429` is itself. An empty list is the default.
    ///
    /// # Errors
    /// One is neither.
    pub fn of(texts: &[String]) -> Result<Self, String> {
        if texts.is_empty() {
            return Ok(Self::default());
        }
        let range = |text: &String| {
            let class = text.strip_suffix("xx").and_then(|class| class.parse().ok()).filter(|class| (1..=5).contains(class));
            let one = text.parse().ok().filter(|status| (100..=599).contains(status));
            class.map(|class: u16| (100 * class, 100 * class + 99)).or(one.map(|status: u16| (status, status)))
        };
        let read = texts.iter().map(|text| {
            range(text).ok_or_else(|| format!("failureStatus: {text:?} is neither a status such as \"429\" nor a class such as \"5xx\""))
        });
        Ok(Self(read.collect::<Result<_, _>>()?))
    }

    /// Whether a status is a failure.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        status >= FAILED || self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// Names of a service that follows no convention.
#[derive(Debug, Clone)]
pub struct Names {
    /// The counter of all requests.
    pub requests: String,
    /// How failures are told.
    pub failures: Told,
    /// The histogram's name, without `_bucket`.
    pub buckets: Option<String>,
    given: Custom,
}

/// How failures are told.
#[derive(Debug, Clone)]
pub enum Told {
    /// By a counter of their own.
    Metric(String),
    /// By a label of the requests whose whole value matches.
    Label(String, Regex),
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

impl Eq for Names {}

impl Names {
    fn of(custom: &Custom) -> Result<Self, String> {
        let failures = match &custom.failures {
            Failures { metric: Some(metric), .. } => Told::Metric(metric.clone()),
            Failures { label: Some(label), matches: Some(pattern), .. } => {
                let limited = |pattern: &str| regex::RegexBuilder::new(pattern).size_limit(1 << 18).build();
                // By itself first: what closes our group is no expression.
                let built = limited(pattern).and_then(|_| limited(&format!("^(?s:{pattern})$")));
                let regex = built
                    .map_err(|_| format!("custom.failures.matches: {pattern:?} is no regular expression; write for example \"5..\""))?;
                Told::Label(label.clone(), regex)
            }
            Failures { .. } => return Err("custom.failures: set metric, or label and matches".to_owned()),
        };
        let buckets = custom.buckets.as_ref().map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned());
        Ok(Self { requests: custom.requests.clone(), failures, buckets, given: custom.clone() })
    }
}
