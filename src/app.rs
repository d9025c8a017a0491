//! Wiring: settings to tasks, and their ordered stop. Decides nothing else.

mod adoption;
mod bound;
mod orders;
mod stop;
mod takeover;
mod upkeep;
mod views;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, BackendRow, Readiness, Views};
use crate::fleet::{Asker, AskerBounds, Fleet, FleetHandle};
use crate::geo::{Atlas, AtlasError};
use crate::model::{Draws, SessionId, Time};
use crate::pins::{
    Chronicle, DiskStore, Handover, Keeper, MemoryStore, News, Opened, PinStore, Registry,
    StateDir, StateError,
};
use crate::proxy::{
    Arrivals, BlockingCalls, Choices, Connection, DecisionLog, Edge, ListenError, Listener,
    Manager, Pacer, People, Placement, Sessions,
};
use crate::runtime::{Clock, InheritError, Inherited, Tasks, random};
use crate::settings::{
    GeoipSettings, PinSettings, PlacementSettings, Settings, ShutdownSettings, StoreKind,
};
use crate::telemetry::Metrics;
pub(crate) use adoption::{Adoption, Left};
use bound::Bound;
pub use takeover::TakeoverError;
use takeover::{Door, Predecessor};
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
    /// A socket that the process was given cannot be used.
    #[error(transparent)]
    Inherit(#[from] InheritError),
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
    /// Cancelled when another process has taken over.
    moved: CancellationToken,
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
        Self::start_with(settings, clock, Inherited::default()).await
    }

    /// The same, with sockets that are open already. Each must be at an address of `settings`.
    ///
    /// # Errors
    /// The same, or a socket that was given is at no such address.
    pub async fn start_with(
        settings: &Settings,
        clock: Clock,
        mut inherited: Inherited,
    ) -> Result<Self, StartError> {
        let bound = Bound::new(settings, &mut inherited).await?;
        inherited.check_empty()?;
        let go = CancellationToken::new();
        go.cancel();
        Self::start_on(settings, clock, Start { bound, go, news: None })
    }

    /// Starts all tasks. Until `go` nothing is accepted, and nothing decided about pins.
    fn start_on(settings: &Settings, clock: Clock, start: Start) -> Result<Self, StartError> {
        let Start { bound: Bound { listeners, admin }, go, news } = start;
        let urls = listeners.iter().map(Listener::url).collect::<Result<_, _>>()?;
        let admin_url = format!("http://{}", admin.local_addr()?);

        let metrics = Metrics::new();
        let inner = Tasks::new();
        let people = start_people(&settings.geoip, &metrics, &inner)?;
        let fleet = Fleet::new(&settings.backends, &settings.probe, clock, random::seed());
        let handle = fleet.handle.clone();
        let (keeper, mut left, fleet, handover) = start_keeper((settings, clock), fleet, &inner)?;
        left.news = news;
        let sessions = Arc::new(Sessions::new(settings.sessions.keep, settings.sessions.away_max));
        let readiness = Readiness::default();
        let losses = fleet.start(&inner, &metrics);
        let (fleet, kept) = (handle.clone(), (keeper.clone(), sessions.clone()));
        let shown = (readiness.clone(), metrics.clone());
        let upkeep = Upkeep::new(fleet, kept, shown, clock);
        inner.spawn_vital("upkeep", after(&go, &inner, upkeep.run(losses, inner.stop_token())));
        let asker = Asker::new(handle.clone(), Arc::new(clock), AskerBounds::of(settings));
        let adoption = Adoption {
            fleet: handle.clone(),
            keeper: keeper.clone(),
            clock: Arc::new(clock),
            witness: asker.clone(),
            promises: settings.placement.promises,
        };
        inner.spawn("adoption", after(&go, &inner, adoption.run(left, inner.stop_token())));
        let placement =
            placement(settings, (clock, metrics.clone()), handle.clone(), (keeper, people));
        let (moved, admin_stop) = (CancellationToken::new(), inner.stop_token().child_token());
        let (door, knocks) = Door::new();
        if let Some((pins, news)) = handover {
            let state_dir = settings.pins.state_dir.clone();
            let sockets = listeners.iter().map(Listener::socket).collect();
            let admin = (admin.as_fd().try_clone_to_owned()?, admin_stop.clone());
            let moved = moved.clone();
            let before = Predecessor { state_dir, pins, news, sockets, admin, moved };
            inner.spawn("takeover", before.run(knocks, inner.stop_token()));
        }
        let views = EdgeViews { clock, placement: placement.clone(), door };
        let shown =
            Admin { views: views.clone(), readiness: readiness.clone(), metrics: metrics.clone() };
        let (serve, stop) = (admin::serve(admin, Arc::new(shown), admin_stop), inner.stop_token());
        // It ends before the others when another process has taken over.
        let serve = serve.then(|()| async move { stop.cancelled().await });
        inner.spawn_vital("admin", after(&go, &inner, serve));

        let app = Self {
            urls,
            admin_url,
            views,
            fleet: handle,
            shutdown: settings.shutdown.clone(),
            readiness,
            accepting: CancellationToken::new(),
            closing: CancellationToken::new(),
            moved,
            clients: Tasks::new(),
            inner,
        };
        let edge = Arc::new(app.edge(settings, clock, (placement, asker, metrics)));
        app.accept((listeners, &go), (&edge, &sessions), settings.limits.connections_max);
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
            moved: self.moved.clone(),
            draws: Mutex::new(Draws::seeded(random::seed())),
        }
    }

    fn accept(
        &self,
        (listeners, go): (Vec<Listener>, &CancellationToken),
        (edge, sessions): (&Arc<Edge>, &Arc<Sessions<Connection>>),
        connections_max: usize,
    ) {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        for listener in listeners {
            let (tasks, stop) = (self.clients.clone(), self.accepting.clone());
            let shared = (edge.clone(), sessions.clone());
            let run = listener.run(shared, permits.clone(), tasks, stop);
            self.clients.spawn_vital("listener", after(go, &self.clients, run));
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

    /// Waits until another process has taken over.
    pub async fn succeeded(&self) {
        self.moved.cancelled().await;
    }
}

/// What a process starts with.
struct Start {
    bound: Bound,
    /// Cancelled when it may begin.
    go: CancellationToken,
    /// What the process before tells, if it still runs.
    news: Option<mpsc::Receiver<News>>,
}

/// `task`, once it may begin; nothing if `tasks` are told to stop before.
fn after<T: Future<Output = ()>>(
    go: &CancellationToken,
    tasks: &Tasks,
    task: T,
) -> impl Future<Output = ()> + use<T> {
    let (go, stop) = (go.clone(), tasks.stop_token());
    async move {
        if stop.run_until_cancelled(go.cancelled()).await.is_some() {
            task.await;
        }
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
) -> Result<(Arc<Keeper>, Left, Fleet, Option<Handing>), StartError> {
    let (Kept { pins, mut left, handing }, fleet) = start_pins(&settings.pins, fleet, tasks)?;
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
    Ok((keeper, left, fleet, handing))
}

/// The pins as they can be handed over, and the news for who has them then.
type Handing = (Arc<Handover>, mpsc::Receiver<News>);

/// A pin store, what was found in it, and how it is handed over if it can be.
struct Kept {
    pins: Arc<dyn PinStore>,
    left: Left,
    handing: Option<Handing>,
}

/// Opens the pin store, with the pins and losses that a process before has left.
fn start_pins(
    settings: &PinSettings,
    fleet: Fleet,
    tasks: &Tasks,
) -> Result<(Kept, Fleet), StartError> {
    let (dir, pins_max) = (&settings.state_dir, settings.pins_max);
    if settings.store == StoreKind::Memory {
        let pins = Arc::new(MemoryStore::new(pins_max));
        return Ok((Kept { pins, left: Left::default(), handing: None }, fleet));
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
    let (store, news) = Handover::new(store);
    let fleet = fleet.remembering(&opened.losses, store.clone());
    let Opened { pins, pipelines, history, .. } = opened;
    let left = Left { pins, pipelines, history, news: None };
    Ok((Kept { pins: store.clone(), left, handing: Some((store, news)) }, fleet))
}
