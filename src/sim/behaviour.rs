//! How an image behaves: what the simulator plays instead of an app.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::values::{Share, Wait};

/// How an image behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Behaviour {
    /// Share of the requests that it fails. Default: 0.
    pub failures: Share,
    /// Median of the time that it takes to answer, in milliseconds; the spread is log-normal. Default: 60.
    pub latency_milliseconds: f64,
    /// How late its event loop is at the 99th percentile, in milliseconds, if its metrics tell. Default: they do not.
    pub loop_lag_milliseconds: Option<f64>,
    /// Seconds to pull it. Default: 1.
    pub pull_seconds: i64,
    /// Seconds from its start until it is ready. Default: 4.
    pub start_seconds: i64,
    /// It cannot be pulled.
    pub unpullable: bool,
    /// It never becomes ready.
    pub never_ready: bool,
    /// It ends with exit code 1 so long after each start.
    pub crashes_after: Option<Wait>,
    /// It is killed for its memory so long after each start.
    pub out_of_memory_after: Option<Wait>,
    /// It stops being ready so long after its start.
    pub loses_readiness_after: Option<Wait>,
    /// Its pods are refused by the API server, with this message.
    pub refused: Option<String>,
    /// Answers to the queries of the service's objectives while this image is the one that they are about, by objective. Default: no sample.
    pub answers: BTreeMap<String, f64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            failures: Share(0.0),
            latency_milliseconds: 60.0,
            loop_lag_milliseconds: None,
            pull_seconds: 1,
            start_seconds: 4,
            unpullable: false,
            never_ready: false,
            crashes_after: None,
            out_of_memory_after: None,
            loses_readiness_after: None,
            refused: None,
            answers: BTreeMap::new(),
        }
    }
}

impl std::fmt::Display for Behaviour {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "fails {}%, answers in {} ms", 100.0 * self.failures.0, self.latency_milliseconds)?;
        match self.loop_lag_milliseconds {
            Some(lag) => write!(out, ", its event loop is late by {lag} ms"),
            None => Ok(()),
        }
    }
}
