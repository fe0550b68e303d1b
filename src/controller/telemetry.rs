//! Logs and the operator's own metrics. Labels come from closed sets only: no service names, nothing that users can make up.

use std::io::IsTerminal as _;
use std::sync::Arc;

use prometheus::{Encoder as _, Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use tracing_subscriber::EnvFilter;

use super::cache::Cache;
use crate::api::status::Phase;

const PHASES: [Phase; 7] = [
    Phase::Stable,
    Phase::Progressing,
    Phase::Paused,
    Phase::Baking,
    Phase::RollingBack,
    Phase::RolledBack,
    Phase::Blocked,
];
const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log to standard error. A panic becomes a log line as well.
///
/// # Errors
/// When `level` is neither a level nor a filter, or logging was begun before.
pub fn log(format: LogFormat, level: &str) -> anyhow::Result<()> {
    // kube reports each refused request as an error although most are expected here and every one of them reaches us as a value.
    let filter = EnvFilter::try_new(format!("{level},kube_client::client=off,kube_runtime=error,hyper=warn,tower=warn,rustls=warn"))?;
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    }
    .map_err(|error| anyhow::anyhow!(error))?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a bug: the reconcile ends, the operator goes on")));
    Ok(())
}

/// The operator's metrics.
#[derive(Clone)]
pub struct Telemetry(Arc<Metrics>);

struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    seconds: Histogram,
    rollouts: IntGaugeVec,
    writes: IntCounterVec,
    measurements: IntCounterVec,
    decisions: IntCounterVec,
    leader: IntGauge,
    undecodable: IntGauge,
}

impl Telemetry {
    /// All metrics at zero.
    ///
    /// # Errors
    /// When a metric's name is wrong or given twice, which would be a bug.
    pub fn new(version: &str, started: jiff::Timestamp) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let rollouts = IntGaugeVec::new(Opts::new("plimsoll_rollouts", "Services by the phase that they are in."), &["phase"])?;
        registry.register(Box::new(rollouts.clone()))?;
        let seconds = Histogram::with_opts(
            HistogramOpts::new("plimsoll_reconcile_duration_seconds", "Time that one reconcile took.").buckets(SECONDS.to_vec()),
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let build = IntGaugeVec::new(Opts::new("plimsoll_build_info", "Always 1; the version is the label."), &["version"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[version]).set(1);
        let begun = Gauge::new("process_start_time_seconds", "When the operator started, in seconds since 1970.")?;
        registry.register(Box::new(begun.clone()))?;
        begun.set(started.as_second() as f64);
        Ok(Self(Arc::new(Metrics {
            reconciles: counter("plimsoll_reconcile_total", "Reconciles by how they ended.", &["result"])?,
            writes: counter("plimsoll_writes_total", "Writes sent to the API server.", &["kind", "verb"])?,
            measurements: counter("plimsoll_measurements_total", "Answers asked of pods' metrics.", &["result"])?,
            decisions: counter("plimsoll_decisions_total", "Decisions by their reason.", &["reason"])?,
            leader: gauge("plimsoll_leader", "1 while this replica leads.")?,
            undecodable: gauge("plimsoll_undecodable_objects", "ProductionServices that cannot be read and are left alone.")?,
            rollouts,
            seconds,
            registry,
        })))
    }

    /// A reconcile ended like this after so many seconds.
    pub fn reconciled(&self, result: &str, seconds: f64) {
        self.0.reconciles.with_label_values(&[result]).inc();
        self.0.seconds.observe(seconds);
    }

    /// A write was sent.
    pub fn wrote(&self, kind: &str, verb: &str) {
        self.0.writes.with_label_values(&[kind, verb]).inc();
    }

    /// A pod was asked for its metrics.
    pub fn measured(&self, usable: bool) {
        self.0.measurements.with_label_values(&[if usable { "usable" } else { "unusable" }]).inc();
    }

    /// A decision was made for this reason.
    pub fn decided(&self, reason: &'static str) {
        self.0.decisions.with_label_values(&[reason]).inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.0.leader.set(leads.into());
    }

    /// Everything as Prometheus' text format.
    ///
    /// # Errors
    /// When the metrics cannot be written as text, which would be a bug.
    pub fn text(&self, cache: &Cache) -> prometheus::Result<Vec<u8>> {
        let (phases, undecodable) = cache.census();
        for phase in PHASES {
            let count = phases.iter().filter(|of| **of == phase).count();
            self.0.rollouts.with_label_values(&[format!("{phase:?}").as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.0.undecodable.set(i64::try_from(undecodable).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.registry.gather(), &mut text)?;
        Ok(text)
    }
}
