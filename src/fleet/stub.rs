//! A fleet for tests of those who read it: no socket, probes end as the test says.
//!
//! The table, its task and the health of backends are the real ones.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::asker::Asked;
use super::handle::FleetHandle;
use super::table::Report;
use super::task::{Fleet, Loss};
use crate::model::{BackendId, Incarnation, Legs, MachineUsage, Time};
use crate::pins::PinStore;
use crate::policy::health::{Health, ProbeFailure};
use crate::policy::load::Sampled;
use crate::protocol::event::ObjectEvent;
use crate::runtime::{Clock, Tasks};
use crate::settings::{BackendSettings, BackendUrl, ProbeSettings};
use crate::telemetry::Metrics;

/// A fleet that is told how its backends do.
pub(crate) struct StubFleet {
    pub(crate) handle: FleetHandle,
    pub(crate) losses: mpsc::Receiver<Loss>,
    /// Questions to each backend.
    pub(crate) lines: Vec<mpsc::Receiver<Asked>>,
}

impl StubFleet {
    /// Backends `kms-0`, `kms-1`, … of equal `capacity`, not yet heard from. Three failures eject
    /// one, two answers readmit it.
    pub(crate) fn start(count: usize, capacity: Legs) -> Self {
        Self::start_fleet(fleet(count, capacity))
    }

    /// A fleet of those backends.
    pub(crate) fn start_of(backends: &[BackendSettings]) -> Self {
        Self::start_fleet(fleet_of(backends))
    }

    /// The same, with losses counted on from `losses` and noted in `ledger`.
    pub(crate) fn start_remembering(
        (count, capacity): (usize, Legs),
        losses: &BTreeMap<BackendId, u32>,
        ledger: Arc<dyn PinStore>,
    ) -> Self {
        Self::start_fleet(fleet(count, capacity).remembering(losses, ledger))
    }

    /// A fleet of those backends that does nothing it is told.
    pub(crate) fn deaf(backends: &[BackendSettings]) -> Fleet {
        fleet_of(backends)
    }

    fn start_fleet(mut fleet: Fleet) -> Self {
        let lines = fleet.take_lines();
        let handle = fleet.handle.clone();
        let losses = fleet.start_unprobed(&Tasks::new(), &Metrics::new());
        Self { handle, losses, lines }
    }

    /// A probe of `kms-{index}` is answered by `process`; returns when that is seen as `health`.
    pub(crate) async fn answer(&self, index: usize, process: u64, health: Health) {
        let incarnation = Incarnation(process);
        let took = Duration::from_millis(1);
        self.handle.report(index, Report::Answered { incarnation, facts: None, took }).await;
        self.wait_for(index, health).await;
    }

    /// A probe of `kms-{index}` is not answered; returns when that is seen as `health`.
    pub(crate) async fn fail(&self, index: usize, health: Health) {
        self.handle.report(index, Report::Failed(ProbeFailure::Refused)).await;
        self.wait_for(index, health).await;
    }

    /// The machine of `kms-{index}` has that much of its processors in use, an agent says.
    pub(crate) async fn tell(&self, index: usize, cpu_percent: f64) {
        let usage = MachineUsage { cpu_percent: Some(cpu_percent), ..MachineUsage::default() };
        self.handle.report(index, Report::Told(usage)).await;
        let view = self.handle.snapshot().backends[index].clone();
        let is_seen = || {
            let seen = view.samples.dimensions(Time::ZERO, Duration::ZERO, Time::ZERO).cpu;
            matches!(seen, Sampled::Last(last) if (last.used - cpu_percent / 100.0).abs() < 1e-3)
        };
        while !is_seen() {
            tokio::task::yield_now().await;
        }
    }

    /// The manager of some backend tells this.
    pub(crate) fn publish(&self, event: ObjectEvent) {
        self.handle.hub().publish(event);
    }

    async fn wait_for(&self, index: usize, health: Health) {
        let mut snapshots = self.handle.watch();
        snapshots.wait_for(|fleet| fleet.backends[index].health == health).await.unwrap();
    }
}

fn fleet(count: usize, capacity: Legs) -> Fleet {
    let backends: Vec<_> = (0..count).map(|index| backend(index, capacity)).collect();
    fleet_of(&backends)
}

fn fleet_of(backends: &[BackendSettings]) -> Fleet {
    let probe = ProbeSettings {
        interval: Duration::from_secs(2),
        jitter_percent: 0,
        timeout: Duration::from_secs(1),
        retry: Duration::from_millis(200),
        sample: Duration::from_secs(10),
        eject_after: NonZeroU32::new(3).unwrap(),
        readmit_after: NonZeroU32::new(2).unwrap(),
        ..ProbeSettings::default()
    };
    Fleet::new(backends, &probe, Clock::start(), 0)
}

/// The id of `kms-{index}`.
pub(crate) fn id(index: usize) -> BackendId {
    BackendId::parse(&format!("kms-{index}")).unwrap()
}

/// `kms-{index}` as the config has it.
pub(crate) fn backend(index: usize, capacity: Legs) -> BackendSettings {
    let url = BackendUrl::parse(&format!("ws://kms-{index}:8888/kurento")).unwrap();
    BackendSettings::new(id(index), url, capacity)
}
