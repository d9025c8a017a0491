//! The task that carries losses and the passing of time to the pins, and shows what changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::fleet::{FleetHandle, FleetSnapshot, Loss};
use crate::pins::Keeper;
use crate::proxy::{Connection, Sessions};
use crate::runtime::Clock;
use crate::telemetry::Metrics;

/// How often the grace of meetings is looked at, and gauges are set.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Upkeep {
    pub(super) fleet: FleetHandle,
    pub(super) keeper: Arc<Keeper>,
    pub(super) sessions: Arc<Sessions<Connection>>,
    pub(super) readiness: Readiness,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
}

impl Upkeep {
    pub(super) fn new(
        fleet: FleetHandle,
        (keeper, sessions): (Arc<Keeper>, Arc<Sessions<Connection>>),
        (readiness, metrics): (Readiness, Metrics),
        clock: Clock,
    ) -> Self {
        Self { fleet, keeper, sessions, readiness, metrics, clock }
    }

    pub(super) async fn run(self, mut losses: mpsc::Receiver<Loss>, stop: CancellationToken) {
        let mut ticks = interval(SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fleet = self.fleet.watch();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(loss) = losses.recv() => self.keeper.on_loss(&loss.backend, loss.incarnation).await,
                Ok(()) = fleet.changed() => {
                    let snapshot = fleet.borrow_and_update().clone();
                    self.show(&snapshot);
                }
                _ = ticks.tick() => {
                    self.keeper.sweep(self.clock.now()).await;
                    self.sessions.sweep(self.clock.now());
                    self.show(&self.fleet.snapshot());
                }
            }
        }
    }

    fn show(&self, snapshot: &FleetSnapshot) {
        self.readiness.set_has_backend(snapshot.backends.iter().any(|b| b.takes_pins()));
        self.metrics.set_pins(self.keeper.registry.len().0);
        for backend in &snapshot.backends {
            self.metrics.set_backend_load(&backend.id, backend.load.legs(), backend.capacity);
            let (measured, counts) = (backend.load.measured(), backend.load.counts());
            self.metrics.set_backend_media(&backend.id, measured, &counts);
            self.metrics.set_backend_usage(&backend.id, backend.usage.last());
        }
    }
}
