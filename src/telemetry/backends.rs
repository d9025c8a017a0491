//! The gauges that each backend has.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::model::{BackendId, Legs, Usage};
use crate::policy::tally::Counts;
use crate::protocol::media::ElementKind;

/// What a leg's `kind` may be.
const DIRECTIONS: [&str; 2] = ["publishing", "receiving"];

/// A label that is text: bounded, because backends come from the config file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabel {
    backend: String,
}

impl BackendLabel {
    fn of(backend: &BackendId) -> Self {
        Self { backend: backend.as_str().to_owned() }
    }
}

/// A backend, and one of a few kinds of what it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    backend: String,
    kind: &'static str,
}

impl KindLabel {
    fn of(backend: &BackendId, kind: &'static str) -> Self {
        Self { backend: backend.as_str().to_owned(), kind }
    }
}

/// Gauges by backend.
#[derive(Debug)]
pub(super) struct BackendGauges {
    load: Family<BackendLabel, Gauge>,
    measured: Family<BackendLabel, Gauge>,
    capacity: Family<BackendLabel, Gauge>,
    elements: Family<KindLabel, Gauge>,
    legs: Family<KindLabel, Gauge>,
    cpus: Family<BackendLabel, Gauge>,
    cpu: Family<BackendLabel, Gauge<f64, AtomicU64>>,
    memory: Family<BackendLabel, Gauge>,
    deep: Family<BackendLabel, Gauge<f64, AtomicU64>>,
}

impl BackendGauges {
    /// Makes the gauges and registers them under their names.
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            load: family(r, "backend_load_legs", "Load that the meetings of a backend are charged"),
            measured: family(
                r,
                "backend_measured_legs",
                "Load that these cost now, as far as seen",
            ),
            elements: family(r, "backend_elements", "Elements of a backend, as far as seen"),
            legs: family(r, "backend_connected_legs", "WebRTC endpoints that feed, or are fed"),
            capacity: family(r, "backend_capacity_legs", "Load a backend can bear"),
            cpus: family(r, "backend_cpu_count", "Processors of a backend, as it says"),
            cpu: family(r, "backend_cpu_percent", "How busy these are together, as it says"),
            memory: family(r, "backend_memory_bytes", "Resident memory of a backend, as it says"),
            deep: family(
                r,
                "backend_deep_probe_seconds",
                "Time that a backend took to make a pipeline in the last deep probe it passed",
            ),
        }
    }

    pub(super) fn set_load(&self, backend: &BackendId, load: Legs, capacity: Legs) {
        let label = BackendLabel::of(backend);
        self.load.get_or_create(&label).set(load.0.into());
        self.capacity.get_or_create(&label).set(capacity.0.into());
    }

    pub(super) fn set_media(&self, backend: &BackendId, measured: Legs, counts: &Counts) {
        self.measured.get_or_create(&BackendLabel::of(backend)).set(measured.0.into());
        for kind in ElementKind::ALL {
            let label = KindLabel::of(backend, kind.as_str());
            self.elements.get_or_create(&label).set(counts.of(kind).into());
        }
        for (direction, count) in DIRECTIONS.into_iter().zip([counts.publishing, counts.receiving])
        {
            self.legs.get_or_create(&KindLabel::of(backend, direction)).set(count.into());
        }
    }

    /// Shows what is known, and nothing for what is not.
    pub(super) fn set_usage(&self, backend: &BackendId, usage: Usage) {
        let label = BackendLabel::of(backend);
        let bytes = |kb: u64| i64::try_from(kb.saturating_mul(1_024)).unwrap_or(i64::MAX);
        show(&self.cpus, &label, usage.cpu_count.map(i64::from));
        show(&self.memory, &label, usage.memory_kb.map(bytes));
        match usage.cpu_percent {
            Some(percent) => drop(self.cpu.get_or_create(&label).set(percent)),
            None => drop(self.cpu.remove(&label)),
        }
    }

    /// Shows the time of a deep probe, if there was one.
    pub(super) fn set_deep(&self, backend: &BackendId, took: Option<Duration>) {
        let label = BackendLabel::of(backend);
        match took {
            Some(took) => drop(self.deep.get_or_create(&label).set(took.as_secs_f64())),
            None => drop(self.deep.remove(&label)),
        }
    }

    pub(super) fn forget(&self, backend: &BackendId) {
        let label = BackendLabel::of(backend);
        self.load.remove(&label);
        self.capacity.remove(&label);
        self.measured.remove(&label);
        for kind in ElementKind::ALL {
            self.elements.remove(&KindLabel::of(backend, kind.as_str()));
        }
        for direction in DIRECTIONS {
            self.legs.remove(&KindLabel::of(backend, direction));
        }
        self.set_usage(backend, Usage::default());
        self.set_deep(backend, None);
    }
}

fn family<L: Clone, M: Clone>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    Family<L, M>: Default + Metric,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

fn show(family: &Family<BackendLabel, Gauge>, label: &BackendLabel, value: Option<i64>) {
    match value {
        Some(value) => drop(family.get_or_create(label).set(value)),
        None => drop(family.remove(label)),
    }
}
