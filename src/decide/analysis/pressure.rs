//! How hard a pod is pressed, where its metrics say so: gauges and counters beside those of requests (§10, Saturation).
//!
//! Nothing here can spoil a page: what is no sensible number is left out, since it can only hold a step.

use super::component::whole;

const RESIDENT: &str = "process_resident_memory_bytes";
const LOOP_LAG: &str = "nodejs_eventloop_lag_p99_seconds";
const LOOP_DELAY: &str = "nodejs_eventloop_delay_p99_seconds";
const PERIODS: &str = "container_cpu_cfs_periods_total";
const THROTTLED: &str = "container_cpu_cfs_throttled_periods_total";

/// Names of the series that are read: of the clients for Go, Java, Node and Python, of `OpenTelemetry` for Node, and of the kubelet, which
/// only Prometheus has.
pub const NAMES: [&str; 5] = [RESIDENT, LOOP_LAG, LOOP_DELAY, PERIODS, THROTTLED];

/// What one pod's metrics say of it; `None` where they do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory that the process occupies, in bytes.
    pub resident_bytes: Option<u64>,
    /// 99th percentile of how late Node's event loop is, in microseconds.
    pub loop_lag_microseconds: Option<u64>,
    /// Periods of the processor's quota in which it wanted to run, since the container started.
    pub periods: Option<u64>,
    /// Those in which it was throttled.
    pub throttled_periods: Option<u64>,
}

impl Pressure {
    /// Takes a series in, if it is one of these.
    pub fn take(&mut self, name: &str, value: f64) {
        let add = |field: &mut Option<u64>, amount: f64| *field = Some(field.unwrap_or(0).saturating_add(whole(amount)));
        if !value.is_finite() || value < 0.0 {
            return;
        }
        match name {
            RESIDENT => add(&mut self.resident_bytes, value),
            LOOP_LAG | LOOP_DELAY => self.loop_lag_microseconds = self.loop_lag_microseconds.max(Some(whole(value * 1e6))),
            PERIODS => add(&mut self.periods, value),
            THROTTLED => add(&mut self.throttled_periods, value),
            _ => {}
        }
    }
}
