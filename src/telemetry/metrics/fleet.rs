//! Metrics of the fleet and of the config that it follows.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram as LockedHistogram;
use prometheus_client::registry::Registry;

use super::{Metrics, counter, counters, gauge, register, signed};
use crate::model::{BackendId, Legs, Usage};
use crate::policy::health::Cause;
use crate::policy::tally::Counts;
use crate::telemetry::backends::BackendGauges;
use crate::telemetry::labels::{
    DeepOutcome, DiscoverySource, HealthLabel, ProbeOutcome, ReloadOutcome, SourceLabel,
};
use crate::telemetry::per_label::PerLabel;

/// Bounds of the time in which a loss is found out: some probes.
const LOSS_BOUNDS_SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 60.0];

/// Their values.
#[derive(Debug)]
pub(super) struct FleetValues {
    meetings_moved: Counter,
    loss: LockedHistogram,
    config_reloads: PerLabel<ReloadOutcome, Counter>,
    config_success: Gauge,
    config_success_at: Gauge,
    probes: PerLabel<ProbeOutcome, Counter>,
    deep_probes: PerLabel<DeepOutcome, Counter>,
    ejections: PerLabel<Cause, Counter>,
    backends: PerLabel<HealthLabel, Gauge>,
    backends_spared: Gauge,
    backends_by_source: PerLabel<SourceLabel, Gauge>,
    discovery_failures: PerLabel<DiscoverySource, Counter>,
    of_backends: BackendGauges,
}

impl FleetValues {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            meetings_moved: counter(
                r,
                "meetings_moved",
                "Meetings let go because the drain of their backend was over",
            ),
            loss: register(
                r,
                "loss_seconds",
                "Time from the first sign that a backend is gone to its loss being told",
                LockedHistogram::new(LOSS_BOUNDS_SECONDS),
            ),
            config_reloads: counters(r, "config_reloads", "Reloads of the config"),
            config_success: gauge(
                r,
                "config_last_reload_success",
                "Whether the last reload of the config, or the start, went well",
            ),
            config_success_at: gauge(
                r,
                "config_last_reload_success_timestamp_seconds",
                "When a reload of the config, or the start, last went well",
            ),
            probes: counters(r, "probes", "Probes of backends"),
            deep_probes: counters(r, "deep_probes", "Pipelines made and released as a probe"),
            ejections: counters(r, "ejections", "Backends ejected, or lost with what they had"),
            backends: register(r, "backends", "Backends by health", PerLabel::new(Gauge::default)),
            backends_spared: gauge(
                r,
                "backends_spared",
                "Backends that would be ejected, if half of their region were not out",
            ),
            backends_by_source: register(
                r,
                "backends_by_source",
                "Backends that are wanted, by who names them",
                PerLabel::new(Gauge::default),
            ),
            discovery_failures: counters(
                r,
                "discovery_failures",
                "Look-ups and files that told nothing, servers that may not register",
            ),
            of_backends: BackendGauges::register(r),
        }
    }
}

impl Metrics {
    /// Shows how many backends that source names.
    pub fn set_backends_of(&self, source: SourceLabel, count: usize) {
        self.0.values.fleet.backends_by_source.of(source).set(signed(count));
    }

    /// Counts a look-up, or a file, that told nothing, or a server that may not register.
    pub fn on_discovery_failure(&self, source: DiscoverySource) {
        self.0.values.fleet.discovery_failures.of(source).inc();
    }

    /// Counts a meeting that was let go because the drain of its backend is over.
    pub fn on_meeting_moved(&self) {
        self.0.values.fleet.meetings_moved.inc();
    }

    /// A backend is given up for lost, so long after the first sign of it.
    pub fn on_loss(&self, after: Duration) {
        self.0.values.fleet.loss.observe(after.as_secs_f64());
    }

    /// A config is in use since that moment, in seconds since 1970.
    pub fn on_config(&self, unix_seconds: u64) {
        self.0.values.fleet.config_success.set(1);
        let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
        self.0.values.fleet.config_success_at.set(seconds);
    }

    /// Counts a reload of the config that came to an end at that moment, in seconds since 1970.
    pub fn on_reload(&self, outcome: ReloadOutcome, unix_seconds: u64) {
        self.0.values.fleet.config_reloads.of(outcome).inc();
        match outcome {
            ReloadOutcome::Applied | ReloadOutcome::Unchanged => self.on_config(unix_seconds),
            ReloadOutcome::Refused => {
                self.0.values.fleet.config_success.set(0);
            }
        }
    }

    /// Counts a probe.
    pub fn on_probe(&self, outcome: ProbeOutcome) {
        self.0.values.fleet.probes.of(outcome).inc();
    }

    /// Counts a deep probe.
    pub fn on_deep_probe(&self, outcome: DeepOutcome) {
        self.0.values.fleet.deep_probes.of(outcome).inc();
    }

    /// Counts a backend that was ejected, or lost what it had.
    pub fn on_ejection(&self, cause: Cause) {
        self.0.values.fleet.ejections.of(cause).inc();
    }

    /// Shows the number of backends that would be ejected, if that left enough others.
    pub fn set_spared(&self, count: usize) {
        self.0.values.fleet.backends_spared.set(signed(count));
    }

    /// Shows the time of the last deep probe that a backend of the config file has passed.
    pub fn set_backend_deep(&self, backend: &BackendId, took: Option<Duration>) {
        self.0.values.fleet.of_backends.set_deep(backend, took);
    }

    /// Shows the number of backends of one health.
    pub fn set_backends(&self, health: HealthLabel, count: usize) {
        self.0.values.fleet.backends.of(health).set(signed(count));
    }

    /// Shows load and capacity of a backend of the config file.
    pub fn set_backend_load(&self, backend: &BackendId, load: Legs, capacity: Legs) {
        self.0.values.fleet.of_backends.set_load(backend, load, capacity);
    }

    /// Shows what the meetings of a backend of the config file consist of, and cost.
    pub fn set_backend_media(&self, backend: &BackendId, measured: Legs, counts: &Counts) {
        self.0.values.fleet.of_backends.set_media(backend, measured, counts);
    }

    /// Shows what a backend of the config file has measured of itself; what is not known is not shown.
    pub fn set_backend_usage(&self, backend: &BackendId, usage: Usage) {
        self.0.values.fleet.of_backends.set_usage(backend, usage);
    }

    /// Forgets a backend that is no longer in the config file.
    pub fn forget_backend(&self, backend: &BackendId) {
        self.0.values.fleet.of_backends.forget(backend);
    }
}
