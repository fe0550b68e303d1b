//! Sums over the series of one source.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::rules::Rule;
use super::status;
use crate::decide::analysis::component::whole;
use crate::decide::analysis::exposition::Sample;

/// Sums over the series of one source.
#[derive(Debug, Default)]
pub struct Tally {
    /// A `TYPE` or `HELP` line names it.
    pub declared: bool,
    /// It has at least one series that counts requests.
    pub any_requests: bool,
    /// It has series that are no incoming requests of this service.
    pub passed_over: bool,
    /// Requests by status.
    pub by_status: BTreeMap<u16, u64>,
    /// The oldest time given.
    pub oldest: Option<Timestamp>,
    /// Per bound: the sum, and how many series have it.
    buckets: BTreeMap<u64, (u64, u64)>,
    /// The same for the bound +Inf.
    all: (u64, u64),
    fault: Option<String>,
}

impl Tally {
    /// Why it cannot be used, in words.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// It counts requests, or will with the first of them.
    pub fn fits(&self) -> bool {
        self.fault.is_none() && (self.any_requests || (self.declared && !self.passed_over))
    }

    /// Takes a series' own time into account.
    pub fn time(&mut self, milliseconds: Option<i64>) {
        // A time that no calendar has is as old as can be: the sample is then too old to be used.
        let at = milliseconds.map(|at| Timestamp::from_millisecond(at).unwrap_or(Timestamp::MIN));
        self.oldest = [self.oldest, at].into_iter().flatten().min();
    }

    /// A series that counts requests.
    pub fn requests(&mut self, sample: &Sample<'_>, rule: &Rule) {
        match status::status(sample, rule) {
            Ok(status) => self.count(status, sample.value),
            Err(fault) => {
                self.any_requests = true;
                self.fault = Some(fault);
            }
        }
    }

    /// So many requests of a status.
    pub fn count(&mut self, status: u16, requests: f64) {
        self.any_requests = true;
        let sum = self.by_status.entry(status).or_default();
        *sum = sum.saturating_add(whole(requests));
    }

    /// Series that count requests up to a bound: their sum, and how many there are.
    pub fn bucket(&mut self, sample: &Sample<'_>, unit: f64, series: u64) {
        let Some(bound) = sample.label("le").and_then(|le| le.parse::<f64>().ok()).filter(|le| *le > 0.0) else { return };
        let bucket = if bound.is_infinite() { &mut self.all } else { self.buckets.entry(whole((bound * unit).round())).or_default() };
        *bucket = (bucket.0.saturating_add(whole(sample.value)), bucket.1.saturating_add(series));
    }

    /// Requests up to each bound that all series have, and all requests whose time was taken.
    pub fn histogram(&self) -> (BTreeMap<u64, u64>, u64) {
        let (all, series) = self.all;
        let common = self.buckets.iter().filter(|(_, (_, having))| *having == series);
        (common.map(|(bound, (sum, _))| (*bound, *sum)).collect(), all)
    }
}
