//! What outlives every config: made once, and told what a new one says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::takeover::Gates;
use crate::admin::Readiness;
use crate::discovery::DiscoveryHandle;
use crate::fleet::{Asker, AskerBounds, Drains, FleetHandle};
use crate::model::{Draws, SessionId};
use crate::pins::Keeper;
use crate::policy::charge::Weights;
use crate::proxy::{
    BlockingCalls, Choices, Connection, DecisionLog, Edge, Lobby, Manager, Pacer, People,
    Placement, PlacementConfig, Sessions, Slots,
};
use crate::runtime::{Clock, Latest, OpenSockets, Tasks, random};
use crate::settings::{PlacementSettings, Settings};
use crate::telemetry::Metrics;

/// The stateful parts of an edge.
pub(super) struct Parts {
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) placement: Arc<Placement>,
    pub(super) asker: Asker,
    pub(super) sessions: Arc<Sessions<Connection>>,
    pub(super) drains: Arc<Drains>,
    pub(super) discovery: DiscoveryHandle,
    /// Meetings that drains let go in a second.
    pub(super) drain_pace: Arc<Latest<f64>>,
    /// Over which time it is told what went with a backend.
    loss_spread: Arc<Latest<Duration>>,
    pacer: Arc<Pacer>,
    blocking: Arc<BlockingCalls>,
    manager: Arc<Manager>,
    slots: Arc<Slots>,
    server_id: String,
    /// What is listened on.
    pub(super) sockets: OpenSockets,
    /// Cancelled when another process has taken over.
    pub(super) moved: CancellationToken,
    /// Cancelled then, or at the stop: ends what only one process may do.
    pub(super) ours: CancellationToken,
    /// Open while this process may change what the next one reads at its start.
    pub(super) gates: Gates,
    /// Cancelled when no listener is to accept any more.
    pub(super) accepting: CancellationToken,
    /// Cancelled when client connections are to be closed.
    pub(super) closing: CancellationToken,
    close_window: Arc<Latest<Duration>>,
    /// Listeners and clients.
    pub(super) clients: Tasks,
    /// All other tasks.
    pub(super) inner: Tasks,
    /// The config in use; the reload task alone writes it.
    pub(super) settings: Latest<Settings>,
}

/// What was started before the rest.
pub(super) struct Begun {
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) inner: Tasks,
    pub(super) sockets: OpenSockets,
    /// Cancelled when another process decides about pins, or at the stop.
    pub(super) ours: CancellationToken,
    /// Cancelled when this process may decide about pins.
    pub(super) go: CancellationToken,
    /// Open while this process may change what the next one reads at its start.
    pub(super) gates: Gates,
    pub(super) fleet: FleetHandle,
    pub(super) keeper: Arc<Keeper>,
    pub(super) people: People,
    pub(super) asker: Asker,
    pub(super) sessions: Arc<Sessions<Connection>>,
    pub(super) loss_spread: Arc<Latest<Duration>>,
    pub(super) drain_pace: Arc<Latest<f64>>,
    pub(super) discovery: DiscoveryHandle,
}

impl Parts {
    /// The parts of an edge that starts with `settings`.
    pub(super) fn new(begun: Begun, drains: Arc<Drains>, settings: &Settings) -> Self {
        let Begun { clock, metrics, readiness, inner, fleet, keeper, people, .. } = begun;
        let Begun {
            asker, sessions, loss_spread, drain_pace, discovery, sockets, ours, gates, ..
        } = begun;
        let placement = Placement {
            fleet,
            keeper,
            people,
            config: Latest::new(PlacementConfig::first(placement_of(settings))),
            decisions: DecisionLog::new(settings.placement.decisions_max),
            timer: Arc::new(clock),
            metrics: metrics.clone(),
            choices: Mutex::new(Choices::seeded(random::seed())),
            queue: Arc::default(),
        };
        Self {
            clock,
            metrics,
            readiness,
            placement: Arc::new(placement),
            asker,
            sessions,
            drains,
            discovery,
            drain_pace,
            loss_spread,
            pacer: Arc::new(Pacer::new(settings.pacing.pace(), Arc::new(clock))),
            blocking: Arc::new(BlockingCalls::new(settings.limits.blocking_calls_max)),
            manager: Arc::new(Manager::new(Clock::unix_seconds())),
            slots: Slots::new(settings.limits.connections_max),
            server_id: SessionId::from_random(random::secret()).to_string(),
            sockets,
            moved: CancellationToken::new(),
            ours,
            gates,
            accepting: CancellationToken::new(),
            closing: CancellationToken::new(),
            close_window: Arc::new(Latest::new(settings.shutdown.close_window)),
            clients: Tasks::new(),
            inner,
            settings: Latest::new(settings.clone()),
        }
    }

    /// The edge of connections that come while `settings` are in use.
    pub(super) fn edge(&self, settings: &Settings) -> Edge {
        Edge {
            server_id: self.server_id.clone(),
            limits: settings.limits.clone(),
            clock: self.clock,
            metrics: self.metrics.clone(),
            fleet: self.placement.fleet.clone(),
            blocking: self.blocking.clone(),
            pacer: self.pacer.clone(),
            placement: self.placement.clone(),
            asker: Some(self.asker.clone()),
            hold: settings.sessions.hold,
            manager: self.manager.clone(),
            closing: self.closing.clone(),
            close_window: self.close_window.clone(),
            moved: self.moved.clone(),
            loss_spread: settings.loss.spread,
            draws: Mutex::new(Draws::seeded(random::seed())),
        }
    }

    /// What listeners share.
    pub(super) fn lobby(&self) -> Lobby {
        let (sessions, slots) = (self.sessions.clone(), self.slots.clone());
        Lobby { sessions, slots, tasks: self.clients.clone() }
    }

    /// Tells every part what `new`, the config of that `number`, says: it holds for whoever is there,
    /// too. Nothing here can fail.
    pub(super) async fn take_up(&self, new: &Arc<Settings>, number: u64) {
        let old = self.settings.get();
        let keeper = &self.placement.keeper;
        keeper.set_bounds(&new.pins, new.placement.history());
        if new.weights != old.weights {
            self.weigh(new.weights.clone()).await;
        }
        if new.probe != old.probe {
            self.placement.fleet.set_probe(new.probe.clone()).await;
        }
        self.asker.set_bounds(AskerBounds::of(new));
        self.pacer.set_pace(new.pacing.pace());
        self.blocking.set_max(new.limits.blocking_calls_max);
        self.slots.set_max(new.limits.connections_max);
        self.sessions.set_bounds(new.sessions.keep, new.sessions.away_max);
        self.placement.decisions.set_max(new.placement.decisions_max);
        self.placement.config.set(PlacementConfig { number, settings: placement_of(new) });
        self.close_window.set(new.shutdown.close_window);
        self.drain_pace.set(new.drain.moves_per_second);
        self.loss_spread.set(new.loss.spread);
        self.settings.set(new.clone());
    }

    /// Weighs all meetings anew, on a thread that may block: there may be very many.
    async fn weigh(&self, weights: Weights) {
        let (keeper, now) = (self.placement.keeper.clone(), self.clock.now());
        let weighed = spawn_blocking(move || keeper.registry.weigh(weights, now)).await;
        if let Err(error) = weighed {
            tracing::error!(%error, "meetings are weighed anew only as they change");
        }
    }
}

/// `[placement]`, with what it takes from elsewhere.
fn placement_of(settings: &Settings) -> PlacementSettings {
    let outlook = settings.placement.outlook_for(settings.probe.sample);
    PlacementSettings { outlook, ..settings.placement.clone() }
}
