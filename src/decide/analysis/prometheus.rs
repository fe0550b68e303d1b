//! Prometheus as a source: what it is asked, and what its answers say of each pod.
//!
//! Asked for are *raw* counters per pod, never `rate()` or `increase()`, which extrapolate and hide gaps: increments are computed as for the
//! pods' own pages, and its series pass through the same table of conventions. One query brings the counts of all pods of both revisions with
//! the time at which each pod was scraped, a second one their histograms. The service's own namespace and pods stand in every selector.

mod answer;
mod native;
mod query;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::convention::{Counters, Page, Reading};
pub use answer::{Answer, Element, NotAnswer, Value, range, single};
pub use query::{buckets, counts, peak, pods_called};

/// What Prometheus knows of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// When it was last scraped.
    pub at: Timestamp,
    /// Its counters.
    pub counters: Counters,
}

/// The counters of each pod, by its name, or why there are none.
#[must_use]
pub fn read(counts: &Answer, buckets: &Answer, reading: &Reading) -> BTreeMap<String, Result<Known, String>> {
    let mut pods: BTreeMap<&str, Pod<'_>> = BTreeMap::new();
    for element in counts.elements.iter().chain(&buckets.elements) {
        let Some(name) = element.label("pod") else { continue };
        pods.entry(name).or_insert_with(|| Pod::new(reading)).take(element);
    }
    pods.into_iter().map(|(name, pod)| (name.to_owned(), pod.known())).collect()
}

/// What has been read of one pod.
struct Pod<'a> {
    page: Page<'a>,
    at: Option<Timestamp>,
    up: bool,
    fault: Option<String>,
    /// Bounds wait for the number of series that they are the sum of.
    bounds: BTreeMap<Vec<(&'a str, &'a str)>, (f64, u64)>,
}

impl<'a> Pod<'a> {
    fn new(reading: &'a Reading) -> Self {
        Self { page: Page::new(reading), at: None, up: false, fault: None, bounds: BTreeMap::new() }
    }

    fn take(&mut self, element: &'a Element) {
        let bound = || {
            element
                .labels
                .iter()
                .filter(|(label, _)| label.as_str() != query::MARK)
                .map(|(label, value)| (label.as_str(), value.as_str()))
                .collect()
        };
        match (element.label(query::MARK), &element.value) {
            (Some(query::AT), Value::Number(seconds)) => self.at = answer::time(*seconds),
            (Some(query::UP), Value::Number(up)) => self.up = *up > 0.5,
            (Some(query::SERIES), Value::Number(series)) => {
                let entry: &mut (f64, u64) = self.bounds.entry(bound()).or_insert((f64::NAN, 0));
                entry.1 = super::component::whole(*series);
            }
            (None, Value::Number(value)) if element.label("le").is_some() => self.bounds.entry(bound()).or_insert((f64::NAN, 0)).0 = *value,
            (None, Value::Number(value)) => self.sample(&element.sample(*value), 1),
            (None, Value::Histogram(histogram)) => {
                for sample in native::samples(element, histogram) {
                    self.sample(&sample, 1);
                }
            }
            _ => {}
        }
    }

    fn sample(&mut self, sample: &super::exposition::Sample<'_>, series: u64) {
        if let Err(why) = self.page.sample(sample, series) {
            self.fault.get_or_insert_with(|| why.to_string());
        }
    }

    fn known(mut self) -> Result<Known, String> {
        for (labels, (value, series)) in std::mem::take(&mut self.bounds) {
            self.sample(&answer::sample(&labels, value), series);
        }
        let Some(at) = self.at else {
            return Err("Prometheus has no up for it (is it scraped, with the labels namespace and pod?)".to_owned());
        };
        if !self.up {
            return Err("Prometheus cannot scrape it (up is 0)".to_owned());
        }
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(Known { at, counters: self.page.counters() }),
        }
    }
}

#[cfg(test)]
mod tests;
