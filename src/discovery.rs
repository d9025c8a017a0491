//! Where backends come from besides the config: servers that register, names that are looked up, files
//! that are watched, and operators who add one.
//!
//! One task owns what each source last said, and tells the fleet whom it is to have; `policy::roster`
//! decides that. Sources are tasks that send it what they hear. What was found is noted in a file, so
//! that the next process knows it from the start.

mod book;
mod claim;
mod describe;
mod dns;
mod file;
mod notes;
mod owner;
mod registrar;
mod sources;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::fleet::FleetHandle;
use crate::geo::Atlas;
use crate::model::BackendId;
use crate::policy::roster::Source;
use crate::runtime::{Clock, Gate, Inherited, OpenSockets, Tasks};
use crate::settings::{BackendSettings, BackendUrl, DiscoverySettings};
use crate::telemetry::Metrics;
pub(crate) use book::Book;
use owner::Owner;

/// Messages to the task that may wait. When full, sources and callers wait.
const MESSAGES_MAX: usize = 256;

/// Who named each backend of the fleet, those that are leaving too.
type Sources = Arc<BTreeMap<BackendId, Source>>;

/// Why discovery cannot start, or cannot be as it should.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The registrar's address cannot be bound.
    #[error("cannot listen on {addr} for servers that register: {source}")]
    Bind {
        /// As configured.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The edge is ending.
    #[error("the edge is ending")]
    Ending,
}

/// Why a backend is not added or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The fleet has no such backend.
    #[error("no such backend")]
    Unknown,
    /// Only what was added here can be removed here. Carries who names it.
    #[error("it is named by {0}: remove it there, or drain it")]
    NamedBy(Source),
    /// Its id or URL is taken. Carries the id of the other, and who names that.
    #[error("{0}, named by {1}, has the same id or URL")]
    Taken(BackendId, Source),
    /// The fleet has all the backends it may have.
    #[error("the fleet has its {0} backends")]
    TooMany(usize),
    /// The edge is ending.
    #[error("the edge is ending")]
    Ending,
}

/// Discovery before it runs: everything is bound and read, nothing is probed or looked up.
pub struct Discovery {
    owner: Owner,
    registrar: Option<registrar::Door>,
    sockets: OpenSockets,
}

/// Discovery at work. Clones share it.
#[derive(Clone, Debug)]
pub struct DiscoveryHandle {
    messages: mpsc::Sender<Message>,
    sources: watch::Receiver<Sources>,
}

/// What the task is told.
#[derive(Debug)]
enum Message {
    /// A source was asked, or looked at.
    Heard(Heard),
    /// A server has registered over the connection of that number.
    Registered { connection: u64, found: Found },
    /// That connection has ended.
    Unregistered { connection: u64 },
    /// The config is another.
    Configure(Box<Config>, oneshot::Sender<Result<(), DiscoveryError>>),
    /// An operator adds a backend, or says something else of one added before.
    Add(Box<BackendSettings>, oneshot::Sender<Result<(), ChangeError>>),
    /// An operator removes a backend added before.
    Remove(BackendId, oneshot::Sender<Result<(), ChangeError>>),
}

/// What a source has answered.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) source: Source,
    /// What it names.
    pub(crate) found: Vec<Origin>,
    /// Whether that is all it has to say; an answer that failed in part is not.
    pub(crate) is_whole: bool,
}

/// What the config says.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) backends: Vec<BackendSettings>,
    pub(crate) discovery: DiscoverySettings,
}

/// What is known of a backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Origin {
    /// Somebody has described it.
    Told(Box<BackendSettings>),
    /// It was found: rules say what it is.
    Found(Found),
}

/// A backend of which only the place in the network is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    url: BackendUrl,
    /// The name that was looked up; `None` if there is none.
    name: Option<String>,
}

impl Discovery {
    /// Binds the registrar's address, unless it is among `inherited`, and reads back from `notes` what a process before has found.
    ///
    /// `notes` is the file of what was found, in a directory that is this process's own; `None` if
    /// nothing is to outlive it.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn open(
        (backends, discovery): (&[BackendSettings], &DiscoverySettings),
        notes: Option<PathBuf>,
        (atlas, metrics, clock): (Atlas, Metrics, Clock),
        (sockets, inherited): (&OpenSockets, &mut Inherited),
    ) -> Result<Self, DiscoveryError> {
        let registrar = match &discovery.registrar {
            Some(settings) => Some(registrar::Door::open(settings, inherited).await?),
            None => None,
        };
        let config = Config { backends: backends.to_vec(), discovery: discovery.clone() };
        let owner = Owner::new(config, notes, (atlas, metrics, clock));
        Ok(Self { owner, registrar, sockets: sockets.clone() })
    }

    /// The fleet to begin with: the config's, what operators added and what was found before.
    #[must_use]
    pub fn backends(&mut self) -> Vec<BackendSettings> {
        self.owner.first_wanted()
    }

    /// Where servers register, a URL without the path; `None` if they may not.
    #[must_use]
    pub fn registrar_url(&self) -> Option<String> {
        self.registrar.as_ref().map(|door| format!("ws://{}", door.addr()))
    }

    /// Starts all sources, and the task that tells `fleet` whom it is to have, until `stop`, a child of
    /// the stop token of `tasks`. While `gate` is closed nothing changes: the notes are another's.
    pub fn start(
        self,
        (fleet, gate): (FleetHandle, Gate),
        tasks: &Tasks,
        stop: &CancellationToken,
    ) -> DiscoveryHandle {
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        let (published, sources) = watch::channel(self.owner.sources());
        let shared = self.owner.instruments();
        let under = (tasks.clone(), stop.clone());
        let crew = sources::Crew::new(sender.clone(), under, shared).sharing(self.sockets);
        let run = self.owner.run((messages, published), (fleet, gate), (crew, self.registrar));
        let until = stop.clone();
        tasks.spawn_vital_until("discovery", stop.clone(), async move {
            until.run_until_cancelled(run).await;
        });
        DiscoveryHandle { messages: sender, sources }
    }
}

impl DiscoveryHandle {
    /// From now on the config says this. Returns when the fleet has been told.
    ///
    /// Sources that are gone are forgotten with what they named; connections of servers that have
    /// registered stay, as long as there is a registrar.
    ///
    /// # Errors
    /// The registrar's new address cannot be bound: nothing has changed.
    pub async fn set_config(
        &self,
        backends: Vec<BackendSettings>,
        discovery: DiscoverySettings,
    ) -> Result<(), DiscoveryError> {
        let config = Box::new(Config { backends, discovery });
        let done = self.ask(|answer| Message::Configure(config, answer)).await;
        done.unwrap_or(Err(DiscoveryError::Ending))
    }

    /// Adds a backend, or says something else of one that was added before. It is noted in the file of
    /// what was found, and probed before it gets meetings.
    ///
    /// # Errors
    /// Another has its id or URL, or there are too many.
    pub async fn add(&self, backend: BackendSettings) -> Result<(), ChangeError> {
        let added = self.ask(|answer| Message::Add(Box::new(backend), answer)).await;
        added.unwrap_or(Err(ChangeError::Ending))
    }

    /// Removes a backend that was added: it gets no new meetings, and goes when it has none.
    ///
    /// # Errors
    /// It was not added by [`Self::add`].
    pub async fn remove(&self, backend: BackendId) -> Result<(), ChangeError> {
        let removed = self.ask(|answer| Message::Remove(backend, answer)).await;
        removed.unwrap_or(Err(ChangeError::Ending))
    }

    /// Who named this backend; `None` if the fleet has no such.
    #[must_use]
    pub fn source_of(&self, backend: &BackendId) -> Option<Source> {
        self.sources.borrow().get(backend).cloned()
    }

    /// `None` if the task has ended.
    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.messages.send(message(answer)).await.ok()?;
        answered.await.ok()
    }
}

#[cfg(test)]
mod tests;
