//! Wiring: settings to tasks, and their ordered stop. Decides nothing else.

mod admin_api;
mod adoption;
mod drainage;
mod listeners;
mod orders;
mod parts;
mod reload;
mod upkeep;
mod views;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{Admin, BackendRow, Readiness, Views};
use crate::discovery::{Discovery, DiscoveryError};
use crate::fleet::{Asker, AskerBounds, Fleet};
use crate::geo::{Atlas, AtlasError, Maps};
use crate::model::Time;
use crate::pins::{
    Chronicle, DiskStore, Keeper, MemoryStore, Opened, PinStore, Registry, StateDir, StateError,
};
use crate::proxy::{ListenError, People, Sessions, TermsError};
use crate::runtime::{Clock, Latest, Tasks, random};
use crate::settings::{PinSettings, Settings, StoreKind};
use crate::telemetry::Metrics;
use admin_api::Bound;
pub(crate) use adoption::{Adoption, Left};
use listeners::{BindError, Listeners, NoListener, Ready, load_terms};
use parts::{Begun, Parts};
pub use reload::{ConfigSource, ReloadError, ReloadHandle};
use reload::{Reloader, RenewalTask};
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
        Self::start_from(None, settings, clock).await
    }

    /// The same with `settings` that were read from `source`, which is read again when it changes, or
    /// when somebody asks for it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_from(
        source: Option<ConfigSource>,
        settings: &Settings,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let addresses = bind(settings).await?;
        let metrics = Metrics::new();
        let inner = Tasks::new();
        let (atlas, renewal) = Atlas::new(Maps::open(&settings.geoip)?, metrics.clone());
        let people = People { atlas, arrivals: Arc::default() };
        let instruments = (people.atlas.clone(), metrics.clone(), clock);
        let discovery = open_discovery(settings, instruments).await?;
        let registrar_url = discovery.registrar_url();
        let begun = begin((settings, clock), (metrics, inner), (people, discovery))?;
        let drains = drainage::start(settings, &begun).await;
        let parts = Arc::new(Parts::new(begun, drains, settings));
        let renewal = RenewalTask::start(renewal, &settings.geoip, &parts.inner);
        let app = Self::open(parts, addresses, renewal, source);
        Ok(Self { registrar_url, ..app })
    }

    /// Lets clients and operators in.
    fn open(
        parts: Arc<Parts>,
        addresses: Addresses,
        renewal: RenewalTask,
        source: Option<ConfigSource>,
    ) -> Self {
        let (reload, requests) = reload::channel();
        let views = EdgeViews {
            clock: parts.clock,
            placement: parts.placement.clone(),
            drains: parts.drains.clone(),
            drain_pace: parts.drain_pace.clone(),
            discovery: parts.discovery.clone(),
            reload: reload.clone(),
        };
        let (readiness, metrics) = (parts.readiness.clone(), parts.metrics.clone());
        let shown = Arc::new(Admin { views: views.clone(), readiness, metrics });
        let admin = addresses.admin.open(shown, &parts.inner);
        let mut listeners = Listeners::default();
        let edge = Arc::new(parts.edge(&parts.settings.get()));
        listeners.turn_to(addresses.listeners, &edge, &parts);
        parts.metrics.on_config(Clock::unix_seconds());
        let (urls, admin_url) = (listeners.urls(), admin.url.clone());
        let reloader = Reloader::new(parts.clone(), (listeners, admin, renewal), source);
        let taking_up = reloader.run(requests, parts.inner.stop_token());
        parts.inner.spawn_vital("reload", taking_up);
        Self { urls, admin_url, registrar_url: None, reload, views, parts }
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

    /// Stops in order: readiness off, no more accepts, client connections closed one after another
    /// within the window, whatever is left at the deadline cut, then all else.
    pub async fn stop(self) {
        let parts = &self.parts;
        tracing::info!("stopping: not ready, accepting no more");
        parts.readiness.stop();
        parts.clients.stop();
        parts.accepting.cancel();
        parts.closing.cancel();
        if !parts.clients.join(parts.settings.get().shutdown.deadline).await {
            tracing::warn!("deadline reached, cutting what is left");
        }
        parts.inner.stop();
        if !parts.inner.join(JOIN_MAX).await {
            tracing::warn!("some tasks did not end in time");
        }
        tracing::info!("stopped");
    }
}

async fn bind(settings: &Settings) -> Result<Addresses, StartError> {
    let terms = load_terms(&settings.listeners, &Vec::new()).map_err(|(_, error)| error)?;
    let listeners =
        Listeners::default().prepare(terms).map_err(|NoListener(_, error)| match error {
            BindError::Listen(error) => StartError::Listen(error),
            BindError::Addr(error) => StartError::Addr(error),
        })?;
    let addr = settings.admin.addr;
    let admin = Bound::at(addr).await.map_err(|source| StartError::Admin { addr, source })?;
    Ok(Addresses { listeners, admin })
}

/// Discovery, with what it has noted if anything outlives the process.
async fn open_discovery(
    settings: &Settings,
    instruments: (Atlas, Metrics, Clock),
) -> Result<Discovery, DiscoveryError> {
    let keeps = settings.pins.store == StoreKind::Disk;
    let notes = keeps.then(|| settings.pins.state_dir.join(FOUND_BACKENDS));
    Discovery::open(&settings.backends, &settings.discovery, notes, instruments).await
}

/// Starts all that works without clients.
fn begin(
    (settings, clock): (&Settings, Clock),
    (metrics, inner): (Metrics, Tasks),
    (people, mut discovery): (People, Discovery),
) -> Result<Begun, StartError> {
    let fleet = Fleet::new(&discovery.backends(), &settings.probe, clock, random::seed());
    let handle = fleet.handle.clone();
    let (keeper, left, fleet) = start_keeper((settings, clock), fleet, &inner)?;
    let sessions = Arc::new(Sessions::new(settings.sessions.keep, settings.sessions.away_max));
    let readiness = Readiness::default();
    let losses = fleet.start(&inner, &metrics);
    let discovery = discovery.start(handle.clone(), &inner);
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
    inner.spawn_vital("upkeep", upkeep.run(losses, inner.stop_token()));
    let bounds = AskerBounds::of(settings);
    let asker = Asker::new(handle.clone(), Arc::new(clock), bounds);
    let (witness, promises) = (asker.clone(), settings.placement.promises);
    let adoption = Adoption {
        fleet: handle.clone(),
        keeper: keeper.clone(),
        clock: Arc::new(clock),
        witness,
        promises,
    };
    inner.spawn("adoption", adoption.run(left, inner.stop_token()));
    let fleet = handle;
    Ok(Begun {
        clock,
        metrics,
        readiness,
        inner,
        fleet,
        keeper,
        people,
        asker,
        sessions,
        loss_spread,
        drain_pace,
        discovery,
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
    let Opened { pins, pipelines, history, .. } = opened;
    let left = Left { pins, pipelines, history };
    Ok((store, left, fleet))
}
