//! Wiring: settings to tasks, and their ordered stop. Decides nothing else.

mod admin_api;
mod adoption;
mod drainage;
mod listeners;
mod orders;
mod parts;
mod reload;
mod stop;
mod takeover;
mod upkeep;
mod views;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, BackendRow, Readiness, Views};
use crate::discovery::{Discovery, DiscoveryError};
use crate::fleet::{Asker, AskerBounds, Fleet};
use crate::geo::{Atlas, AtlasError, Maps};
use crate::model::Time;
use crate::pins::{
    Chronicle, DiskStore, Handover, Keeper, MemoryStore, News, Opened, PinStore, Registry,
    StateDir, StateError,
};
use crate::proxy::{ListenError, People, Sessions, TermsError};
use crate::runtime::{Clock, InheritError, Inherited, Latest, OpenSockets, Tasks, random};
use crate::settings::{PinSettings, Settings, StoreKind};
use crate::telemetry::Metrics;
use admin_api::Bound;
pub(crate) use adoption::{Adoption, Left};
pub(crate) use drainage::{Drainage, Releaser};
use listeners::{BindError, Listeners, NoListener, Ready, load_terms};
use parts::{Begun, Parts};
pub use reload::{ConfigSource, ReloadError, ReloadHandle};
use reload::{Reloader, RenewalTask};
pub use takeover::TakeoverError;
use takeover::{Door, Gates, Predecessor};
use upkeep::Upkeep;
use views::EdgeViews;

/// How long tasks other than clients may take to end after they were told to.
const JOIN_MAX: Duration = Duration::from_secs(5);

/// Name of the file, in the state directory, of backends that were found.
const FOUND_BACKENDS: &str = "backends.json";

/// Why the edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener cannot speak TLS.
    #[error(transparent)]
    Terms(#[from] TermsError),
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
    /// Discovery cannot start.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
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
    /// Where clients connect, a URL for each listener that it was started with.
    pub urls: Vec<String>,
    /// Where the admin API was at the start.
    pub admin_url: String,
    /// Asks for the config to be read again.
    pub reload: ReloadHandle,
    /// Where servers register, without the path, which may be a secret; `None` if they may not.
    pub registrar_url: Option<String>,
    views: EdgeViews,
    parts: Arc<Parts>,
}

/// What an edge listens on, bound and not yet in use.
struct Addresses {
    listeners: Ready,
    admin: Bound,
}

impl App {
    /// Binds every address of `settings` and starts all tasks. They hold to the end: there is no file
    /// to read again.
    ///
    /// # Errors
    /// An address, a TLS file or the state directory cannot be used; nothing runs then.
    pub async fn start(settings: &Settings, clock: Clock) -> Result<Self, StartError> {
        Self::start_from((None, Inherited::default()), settings, clock).await
    }

    /// The same with `settings` that were read from a source, which is read again when it changes, or
    /// when somebody asks for it, and with sockets that are open already. Each must be at an address of
    /// `settings`.
    ///
    /// # Errors
    /// As [`Self::start`], or a socket that was given is at no such address.
    pub async fn start_from(
        (source, mut inherited): (Option<ConfigSource>, Inherited),
        settings: &Settings,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let addresses = bind(settings, &mut inherited).await?;
        let go = CancellationToken::new();
        go.cancel();
        let start = Start { inherited: &mut inherited, go, gates: Gates::default(), news: None };
        let prepared = Prepared::new(settings, clock, start).await?;
        inherited.check_empty()?;
        Ok(Self::open(prepared, addresses, source))
    }

    /// Lets clients and operators in.
    fn open(prepared: Prepared, addresses: Addresses, source: Option<ConfigSource>) -> Self {
        let Prepared { parts, renewal, registrar_url, handing } = prepared;
        let (reload, requests) = reload::channel();
        let (door, knocks) = Door::new();
        let views = EdgeViews {
            clock: parts.clock,
            placement: parts.placement.clone(),
            drains: parts.drains.clone(),
            drain_pace: parts.drain_pace.clone(),
            discovery: parts.discovery.clone(),
            reload: reload.clone(),
            door,
            orders: parts.gates.orders.clone(),
        };
        let (readiness, metrics) = (parts.readiness.clone(), parts.metrics.clone());
        let shown = Arc::new(Admin { views: views.clone(), readiness, metrics });
        let admin = addresses.admin.open(shown, &parts);
        let mut listeners = Listeners::default();
        let edge = Arc::new(parts.edge(&parts.settings.get()));
        listeners.turn_to(addresses.listeners, &edge, &parts);
        parts.metrics.on_config(Clock::unix_seconds());
        let (urls, admin_url) = (listeners.urls(), admin.url.clone());
        let reloader = Reloader::new(parts.clone(), (listeners, admin, renewal), source);
        let taking_up = reloader.run(requests, parts.ours.clone());
        parts.inner.spawn_vital_until("reload", parts.ours.clone(), taking_up);
        if let Some((pins, news)) = handing {
            let state_dir = parts.settings.get().pins.state_dir.clone();
            let (sockets, moved) = (parts.sockets.clone(), parts.moved.clone());
            let (ours, gates) = (parts.ours.clone(), parts.gates.clone());
            let before = Predecessor { state_dir, pins, news, sockets, ours, moved, gates };
            parts.inner.spawn("takeover", before.run(knocks, parts.inner.stop_token()));
        }
        Self { urls, admin_url, registrar_url, reload, views, parts }
    }

    /// Every backend as it is now, in the order of the config.
    #[must_use]
    pub fn backends(&self) -> Vec<BackendRow> {
        self.views.backends()
    }

    /// Waits until a task that the edge cannot do without has ended; returns its name.
    pub async fn failed(&self) -> &'static str {
        let Parts { inner, clients, .. } = &*self.parts;
        let (inner_stop, clients_stop) = (inner.stop_token(), clients.stop_token());
        tokio::select! {
            () = inner_stop.cancelled() => {}
            () = clients_stop.cancelled() => {}
        }
        let ended = inner.ended_unasked().or_else(|| clients.ended_unasked());
        ended.unwrap_or("unknown")
    }

    /// Waits until another process has taken over.
    pub async fn succeeded(&self) {
        self.parts.moved.cancelled().await;
    }
}

/// What a process starts with, besides its settings.
struct Start<'a> {
    /// Sockets that are open already.
    inherited: &'a mut Inherited,
    /// Cancelled when this process may decide about pins.
    go: CancellationToken,
    /// Open while this process may change what the next one reads at its start.
    gates: Gates,
    /// What the process before tells, if it still runs.
    news: Option<mpsc::Receiver<News>>,
}

/// All that works without clients.
struct Prepared {
    parts: Arc<Parts>,
    renewal: RenewalTask,
    registrar_url: Option<String>,
    /// `None` if this edge cannot hand its pins over.
    handing: Option<Handing>,
}

impl Prepared {
    /// Starts it. Until `start.go` nothing is decided about pins.
    async fn new(settings: &Settings, clock: Clock, start: Start<'_>) -> Result<Self, StartError> {
        let Start { inherited, go, gates, news } = start;
        let metrics = Metrics::new();
        let inner = Tasks::new();
        let (atlas, renewal) = Atlas::new(Maps::open(&settings.geoip)?, metrics.clone());
        let people = People { atlas, arrivals: Arc::default() };
        let instruments = (people.atlas.clone(), metrics.clone(), clock);
        let sockets = OpenSockets::default();
        let discovery = open_discovery(settings, instruments, (&sockets, inherited)).await?;
        let registrar_url = discovery.registrar_url();
        let shared = Shared { clock, metrics, inner, sockets, go, gates };
        let (begun, handing) = begin(settings, shared, (people, discovery), news)?;
        let drains = drainage::start(settings, &begun).await;
        let parts = Arc::new(Parts::new(begun, drains, settings));
        let renewal = RenewalTask::start(renewal, &settings.geoip, &parts.inner);
        Ok(Self { parts, renewal, registrar_url, handing })
    }
}

/// What the first parts of an edge have in common.
pub(super) struct Shared {
    clock: Clock,
    metrics: Metrics,
    inner: Tasks,
    sockets: OpenSockets,
    go: CancellationToken,
    gates: Gates,
}

/// `task`, once it may begin; nothing if `stop` comes before.
pub(crate) fn after<T: Future<Output = ()>>(
    go: &CancellationToken,
    stop: &CancellationToken,
    task: T,
) -> impl Future<Output = ()> + use<T> {
    let (go, stop) = (go.clone(), stop.clone());
    async move {
        if stop.run_until_cancelled(go.cancelled()).await.is_some() {
            task.await;
        }
    }
}

/// Takes sockets of `inherited` for the addresses they are at and binds the others.
async fn bind(settings: &Settings, inherited: &mut Inherited) -> Result<Addresses, StartError> {
    let terms = load_terms(&settings.listeners, &Vec::new()).map_err(|(_, error)| error)?;
    let listeners = Listeners::default().prepare(terms, inherited).map_err(
        |NoListener(_, error)| match error {
            BindError::Listen(error) => StartError::Listen(error),
            BindError::Addr(error) => StartError::Addr(error),
        },
    )?;
    let addr = settings.admin.addr;
    let admin = Bound::at(addr, inherited).await;
    let admin = admin.map_err(|source| StartError::Admin { addr, source })?;
    Ok(Addresses { listeners, admin })
}

/// Discovery, with what it has noted if anything outlives the process.
async fn open_discovery(
    settings: &Settings,
    instruments: (Atlas, Metrics, Clock),
    sockets: (&OpenSockets, &mut Inherited),
) -> Result<Discovery, DiscoveryError> {
    let keeps = settings.pins.store == StoreKind::Disk;
    let notes = keeps.then(|| settings.pins.state_dir.join(FOUND_BACKENDS));
    let config = (&settings.backends[..], &settings.discovery);
    Discovery::open(config, notes, instruments, sockets).await
}

/// Starts all that works without clients.
fn begin(
    settings: &Settings,
    shared: Shared,
    (people, mut discovery): (People, Discovery),
    news: Option<mpsc::Receiver<News>>,
) -> Result<(Begun, Option<Handing>), StartError> {
    let Shared { clock, metrics, inner, sockets, go, gates } = shared;
    let fleet = Fleet::new(&discovery.backends(), &settings.probe, clock, random::seed());
    let handle = fleet.handle.clone();
    let (Kept { keeper, left, handing }, fleet) = start_keeper((settings, clock), fleet, &inner)?;
    let left = Left { news, ..left };
    let sessions = Arc::new(Sessions::new(settings.sessions.keep, settings.sessions.away_max));
    let readiness = Readiness::default();
    let losses = fleet.start(&inner, &metrics);
    let ours = inner.stop_token().child_token();
    let discovery = discovery.start((handle.clone(), gates.notes.clone()), &inner, &ours);
    let loss_spread = Arc::new(Latest::new(settings.loss.spread));
    let drain_pace = Arc::new(Latest::new(settings.drain.moves_per_second));
    let upkeep = Upkeep {
        fleet: handle.clone(),
        keeper: keeper.clone(),
        sessions: sessions.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        clock,
        spread: loss_spread.clone(),
    };
    let stop = inner.stop_token();
    inner.spawn_vital("upkeep", after(&go, &stop, upkeep.run(losses, stop.clone())));
    let asker = Asker::new(handle.clone(), Arc::new(clock), AskerBounds::of(settings));
    let adoption = Adoption {
        fleet: handle.clone(),
        keeper: keeper.clone(),
        clock: Arc::new(clock),
        witness: asker.clone(),
        promises: settings.placement.promises,
    };
    inner.spawn("adoption", after(&go, &stop, adoption.run(left, stop.clone())));
    let begun = Begun {
        clock,
        metrics,
        readiness,
        inner,
        sockets,
        ours,
        go,
        gates,
        fleet: handle,
        keeper,
        people,
        asker,
        sessions,
        loss_spread,
        drain_pace,
        discovery,
    };
    Ok((begun, handing))
}

/// The pins as they can be handed over, and the news for who has them then.
type Handing = (Arc<Handover>, mpsc::Receiver<News>);

/// What keeps the pins, what a process before has left, and how the pins are handed over if they can be.
struct Kept {
    keeper: Arc<Keeper>,
    left: Left,
    handing: Option<Handing>,
}

fn start_keeper(
    (settings, clock): (&Settings, Clock),
    fleet: Fleet,
    tasks: &Tasks,
) -> Result<(Kept, Fleet), StartError> {
    let (Stored { pins, mut left, handing }, fleet) = start_pins(&settings.pins, fleet, tasks)?;
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
    Ok((Kept { keeper, left, handing }, fleet))
}

/// A pin store, what was found in it, and how it is handed over if it can be.
struct Stored {
    pins: Arc<dyn PinStore>,
    left: Left,
    handing: Option<Handing>,
}

/// Opens the pin store, with the pins and losses that a process before has left.
fn start_pins(
    settings: &PinSettings,
    fleet: Fleet,
    tasks: &Tasks,
) -> Result<(Stored, Fleet), StartError> {
    let (dir, pins_max) = (&settings.state_dir, settings.pins_max);
    if settings.store == StoreKind::Memory {
        let pins = Arc::new(MemoryStore::new(pins_max));
        return Ok((Stored { pins, left: Left::default(), handing: None }, fleet));
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
    let Opened { pins, pipelines, remnants, history, .. } = opened;
    let left = Left { pins, pipelines, remnants, history, news: None };
    Ok((Stored { pins: store.clone(), left, handing: Some((store, news)) }, fleet))
}
