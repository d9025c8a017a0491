//! The task that carries losses and the passing of time to the pins, and shows what changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::fleet::{FleetHandle, FleetSnapshot, Loss};
use crate::model::MeetingName;
use crate::pins::{PinStore, Registry};
use crate::runtime::Clock;
use crate::telemetry::Metrics;

/// How often the grace of meetings is looked at, and gauges are set.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Upkeep {
    pub(super) fleet: FleetHandle,
    pub(super) pins: Arc<dyn PinStore>,
    pub(super) registry: Arc<Registry>,
    pub(super) readiness: Readiness,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
}

impl Upkeep {
    pub(super) async fn run(self, mut losses: mpsc::Receiver<Loss>, stop: CancellationToken) {
        let mut ticks = interval(SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fleet = self.fleet.watch();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(loss) = losses.recv() => self.on_loss(&loss).await,
                Ok(()) = fleet.changed() => {
                    let snapshot = fleet.borrow_and_update().clone();
                    self.show(&snapshot);
                }
                _ = ticks.tick() => self.sweep().await,
            }
        }
    }

    async fn on_loss(&self, loss: &Loss) {
        let lost = self.registry.drop_backend(&loss.backend, loss.incarnation);
        let meetings = lost.len();
        tracing::warn!(backend = %loss.backend, meetings, "backend lost, with its named meetings");
        for (meeting, epoch) in lost {
            self.unpin(&meeting, epoch).await;
        }
    }

    async fn sweep(&self) {
        for (meeting, epoch) in self.registry.sweep(self.clock.now()) {
            self.unpin(&meeting, epoch).await;
            self.registry.unpinned(&meeting, epoch);
        }
        self.show(&self.fleet.snapshot());
    }

    /// A pin that cannot be removed now is removed by whoever finds that it no longer holds.
    async fn unpin(&self, meeting: &MeetingName, epoch: u64) {
        if let Err(error) = self.pins.unpin(meeting, epoch).await {
            tracing::warn!(%error, "pin not removed");
        }
    }

    fn show(&self, snapshot: &FleetSnapshot) {
        self.readiness.set_has_backend(snapshot.backends.iter().any(|b| b.takes_pins()));
        self.metrics.set_pins(self.registry.len().0);
        for backend in &snapshot.backends {
            self.metrics.set_backend_load(&backend.id, backend.load.legs(), backend.capacity);
        }
    }
}
