//! Wiring: settings to tasks, and their ordered stop. Decides nothing else.

mod adoption;
mod drainage;
mod orders;
mod upkeep;
mod views;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, BackendRow, Readiness, Views};
use crate::fleet::{Asker, AskerBounds, Fleet, FleetHandle};
use crate::geo::{Atlas, AtlasError};
use crate::model::{Draws, SessionId, Time};
use crate::pins::{
    Chronicle, DiskStore, Keeper, MemoryStore, Opened, PinStore, Registry, StateDir, StateError,
};
use crate::proxy::{
    Arrivals, BlockingCalls, Choices, Connection, DecisionLog, Edge, ListenError, Listener,
    Manager, Pacer, People, Placement, Sessions,
};
use crate::runtime::{Clock, Tasks, random};
use crate::settings::{
    GeoipSettings, PinSettings, PlacementSettings, Settings, ShutdownSettings, StoreKind,
};
use crate::telemetry::Metrics;
pub(crate) use adoption::{Adoption, Left};
use upkeep::Upkeep;
use views::EdgeViews;

/// How long tasks other than clients may take to end after they were told to.
const JOIN_MAX: Duration = Duration::from_secs(5);

/// Number of the config that a process starts with.
const FIRST_CONFIG: u64 = 1;

/// Why the edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The admin API cannot be bound.
    #[error("cannot listen on {addr} for the admin API: {source}")]
    Admin {
        /// As configured.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The places of addresses cannot be had.
    #[error(transparent)]
    Geoip(#[from] AtlasError),
    /// The system has no thread left.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// A bound address cannot be read back.
    #[error("cannot read a bound address: {0}")]
    Addr(#[from] io::Error),
}

/// An edge at work.
pub struct App {
    /// Where clients connect, a URL for each listener.
    pub urls: Vec<String>,
    /// Where the admin API is.
    pub admin_url: String,
    views: EdgeViews,
    fleet: FleetHandle,
    shutdown: ShutdownSettings,
    readiness: Readiness,
    accepting: CancellationToken,
    closing: CancellationToken,
    /// Listeners and clients.
    clients: Tasks,
    /// All other tasks.
    inner: Tasks,
}

impl App {
    /// Binds every address of `settings` and starts all tasks.
    ///
    /// # Errors
    /// An address, a TLS file or the state directory cannot be used; nothing runs then.
    pub async fn start(settings: &Settings, clock: Clock) -> Result<Self, StartError> {
        let bound: Result<Vec<_>, _> = settings.listeners.iter().map(Listener::bind).collect();
        let listeners = bound?;
        let urls = listeners.iter().map(Listener::url).collect::<Result<_, _>>()?;
        let addr = settings.admin.addr;
        let admin =
            TcpListener::bind(addr).await.map_err(|source| StartError::Admin { addr, source })?;
        let admin_url = format!("http://{}", admin.local_addr()?);

        let metrics = Metrics::new();
        let inner = Tasks::new();
        let people = start_people(&settings.geoip, &metrics, &inner)?;
        let fleet = Fleet::new(&settings.backends, &settings.probe, clock, random::seed());
        let handle = fleet.handle.clone();
        let (keeper, left, fleet) = start_keeper((settings, clock), fleet, &inner)?;
        let sessions = Arc::new(Sessions::new(settings.sessions.keep, settings.sessions.away_max));
        let readiness = Readiness::default();
        let losses = fleet.start(&inner, &metrics);
        let upkeep = Upkeep {
            fleet: handle.clone(),
            keeper: keeper.clone(),
            sessions: sessions.clone(),
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            clock,
            spread: settings.loss.spread,
        };
        inner.spawn_vital("upkeep", upkeep.run(losses, inner.stop_token()));
        let asker = Asker::new(handle.clone(), Arc::new(clock), AskerBounds::of(settings));
        let (fleet, witness) = (handle.clone(), asker.clone());
        let (clock_of, promises) = (Arc::new(clock), settings.placement.promises);
        let adoption =
            Adoption { fleet, keeper: keeper.clone(), clock: clock_of, witness, promises };
        inner.spawn("adoption", adoption.run(left, inner.stop_token()));
        let placement =
            placement(settings, (clock, metrics.clone()), handle.clone(), (keeper, people));
        let of = (clock, metrics.clone());
        let drains = drainage::start(settings, (&placement, asker.clone()), of, &inner).await;
        let moves_per_second = settings.drain.moves_per_second;
        let views = EdgeViews { clock, placement: placement.clone(), drains, moves_per_second };
        let shown =
            Admin { views: views.clone(), readiness: readiness.clone(), metrics: metrics.clone() };
        inner.spawn_vital("admin", admin::serve(admin, Arc::new(shown), inner.stop_token()));

        let app = Self {
            urls,
            admin_url,
            views,
            fleet: handle,
            shutdown: settings.shutdown.clone(),
            readiness,
            accepting: CancellationToken::new(),
            closing: CancellationToken::new(),
            clients: Tasks::new(),
            inner,
        };
        let edge = Arc::new(app.edge(settings, clock, (placement, asker, metrics)));
        app.accept(listeners, (&edge, &sessions), settings.limits.connections_max);
        Ok(app)
    }

    fn edge(
        &self,
        settings: &Settings,
        clock: Clock,
        (placement, asker, metrics): (Arc<Placement>, Asker, Metrics),
    ) -> Edge {
        let timer = Arc::new(clock);
        let pacer = settings.pacing.pace().map(|pace| Arc::new(Pacer::new(pace, timer)));
        Edge {
            server_id: SessionId::from_random(random::secret()).to_string(),
            limits: settings.limits.clone(),
            clock,
            metrics,
            fleet: self.fleet.clone(),
            blocking: BlockingCalls::new(settings.limits.blocking_calls_max),
            asker: Some(asker),
            hold: settings.sessions.hold,
            pacer,
            placement,
            manager: Manager::new(Clock::unix_seconds()),
            closing: self.closing.clone(),
            close_window: self.shutdown.close_window,
            loss_spread: settings.loss.spread,
            draws: Mutex::new(Draws::seeded(random::seed())),
        }
    }

    fn accept(
        &self,
        listeners: Vec<Listener>,
        (edge, sessions): (&Arc<Edge>, &Arc<Sessions<Connection>>),
        connections_max: usize,
    ) {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        for listener in listeners {
            let (tasks, stop) = (self.clients.clone(), self.accepting.clone());
            let shared = (edge.clone(), sessions.clone());
            let run = listener.run(shared, permits.clone(), tasks, stop);
            self.clients.spawn_vital("listener", run);
        }
    }

    /// Every backend as it is now, in the order of the config.
    #[must_use]
    pub fn backends(&self) -> Vec<BackendRow> {
        self.views.backends()
    }

    /// Waits until a task that the edge cannot do without has ended; returns its name.
    pub async fn failed(&self) -> &'static str {
        let (inner, clients) = (self.inner.stop_token(), self.clients.stop_token());
        tokio::select! {
            () = inner.cancelled() => {}
            () = clients.cancelled() => {}
        }
        let ended = self.inner.ended_unasked().or_else(|| self.clients.ended_unasked());
        ended.unwrap_or("unknown")
    }

    /// Stops in order: readiness off, no more accepts, client connections closed one after another
    /// within the window, whatever is left at the deadline cut, then all else.
    pub async fn stop(self) {
        tracing::info!("stopping: not ready, accepting no more");
        self.readiness.stop();
        self.clients.stop();
        self.accepting.cancel();
        self.closing.cancel();
        if !self.clients.join(self.shutdown.deadline).await {
            tracing::warn!("deadline reached, cutting what is left");
        }
        self.inner.stop();
        if !self.inner.join(JOIN_MAX).await {
            tracing::warn!("some tasks did not end in time");
        }
        tracing::info!("stopped");
    }
}

/// Opens the databases of places, and keeps them current.
fn start_people(
    settings: &GeoipSettings,
    metrics: &Metrics,
    tasks: &Tasks,
) -> Result<People, StartError> {
    let (atlas, renewal) = Atlas::open(settings, metrics.clone())?;
    if let Some(interval) = settings.reload() {
        tasks.spawn("geoip", renewal.run(interval, tasks.stop_token()));
    }
    Ok(People { atlas, arrivals: Arc::new(Arrivals::default()) })
}

fn placement(
    settings: &Settings,
    (clock, metrics): (Clock, Metrics),
    fleet: FleetHandle,
    (keeper, people): (Arc<Keeper>, People),
) -> Arc<Placement> {
    let outlook = settings.placement.outlook_for(settings.probe.sample);
    let settings = PlacementSettings { outlook, ..settings.placement.clone() };
    Arc::new(Placement {
        fleet,
        keeper,
        people,
        config: FIRST_CONFIG,
        decisions: DecisionLog::new(settings.decisions_max),
        settings,
        timer: Arc::new(clock),
        metrics,
        choices: Mutex::new(Choices::seeded(random::seed())),
        queue: Arc::default(),
    })
}

/// The keeper of the pins, and what a process before has left.
fn start_keeper(
    (settings, clock): (&Settings, Clock),
    fleet: Fleet,
    tasks: &Tasks,
) -> Result<(Arc<Keeper>, Left, Fleet), StartError> {
    let (pins, mut left, fleet) = start_pins(&settings.pins, fleet, tasks)?;
    let registry = Registry::new(settings.pins.grace, settings.pins.pins_max);
    let registry = Arc::new(registry.weighing(settings.weights.clone()));
    let bounds = settings.placement.history();
    // Times of the history are those of the calendar, and `Time` begins with the process.
    let since = clock.now().since(Time::ZERO);
    let begun = Duration::from_millis(Clock::unix_millis()).saturating_sub(since);
    let chronicle = Chronicle::new(bounds, begun);
    pins.note_history(chronicle.restore(std::mem::take(&mut left.history)));
    let keeper = Arc::new(Keeper::new(pins, registry).remembering(chronicle));
    keeper.found.fill(&left.pins, &left.pipelines);
    keeper.leave_behind(&std::mem::take(&mut left.remnants));
    Ok((keeper, left, fleet))
}

/// Opens the pin store, with the pins and losses that a process before has left.
fn start_pins(
    settings: &PinSettings,
    fleet: Fleet,
    tasks: &Tasks,
) -> Result<(Arc<dyn PinStore>, Left, Fleet), StartError> {
    let (dir, pins_max) = (&settings.state_dir, settings.pins_max);
    if settings.store == StoreKind::Memory {
        return Ok((Arc::new(MemoryStore::new(pins_max)), Left::default(), fleet));
    }
    let opened = DiskStore::open(StateDir::open(dir)?, pins_max, settings.when_away)?;
    tracing::info!(state_dir = %dir.display(), pins = opened.pins.len(), "pin store opened");
    let (store, writer) = (opened.store, opened.writer);
    tasks.spawn_thread("pins", move || writer.run()).map_err(StartError::Thread)?;
    let (closing, stop) = (store.clone(), tasks.stop_token());
    tasks.spawn("pins-stop", async move {
        stop.cancelled().await;
        closing.close();
    });
    let fleet = fleet.remembering(&opened.losses, store.clone());
    let Opened { pins, pipelines, remnants, history, .. } = opened;
    let left = Left { pins, pipelines, remnants, history };
    Ok((store, left, fleet))
}
