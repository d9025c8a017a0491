//! The process that takes over.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Channel, Gates, LINE_MAX_BYTES, VERSION, WORD_MAX, Word, socket_path};
use crate::admin::TAKEOVER_PATH;
use crate::admin::client::{FetchError, post_json};
use crate::app::{App, ConfigSource, Prepared, Start, StartError, bind};
use crate::fleet::{BackendView, FleetHandle};
use crate::pins::News;
use crate::policy::health::Health;
use crate::runtime::{Clock, InheritError, Inherited, recv_sockets};
use crate::settings::{Settings, StoreKind};

/// Time for the predecessor to connect once it was asked.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long backends that were never heard from are waited for. Meanwhile new meetings wait.
const FLEET_MAX: Duration = Duration::from_secs(3);

/// News that may wait here; more wait with the predecessor.
const NEWS_MAX: usize = 1_024;

/// Why a process could not take over. The one that runs goes on.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// Pins in memory end with their process.
    #[error("--takeover needs pins.store = \"disk\": pins in memory cannot be handed over")]
    MemoryStore,
    /// The socket to meet at cannot be made.
    #[error(
        "cannot listen on {}: {reason}; is pins.state_dir that of the running edge?",
        .path.display()
    )]
    Socket {
        /// Where it was to be.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The running edge says no, or there is none. Carries where it was looked for.
    #[error("the edge at {0} cannot be taken over from")]
    Ask(String, #[source] FetchError),
    /// It has not connected.
    #[error("the running edge does not come to {}", .0.display())]
    Alone(PathBuf),
    /// It is of another version.
    #[error("the running edge hands over in another way (version {0}, not {VERSION}); restart it")]
    Version(u32),
    /// What it sent cannot be used.
    #[error(transparent)]
    Sockets(#[from] InheritError),
    /// This one cannot do its part.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It has ended the hand-over, or is gone.
    #[error("the running edge has not let go: {0}")]
    Ended(#[from] io::Error),
}

/// What a process that takes over has of the one before.
pub(crate) struct Successor(Channel);

impl Successor {
    /// Asks the edge with that admin address, which the config's may have been before; returns its
    /// sockets too.
    ///
    /// # Errors
    /// There is none, or it cannot hand over.
    pub(crate) async fn ask(
        settings: &Settings,
        admin: SocketAddr,
    ) -> Result<(Self, Inherited), TakeoverError> {
        if settings.pins.store == StoreKind::Memory {
            return Err(TakeoverError::MemoryStore);
        }
        let meeting_point = MeetingPoint::open(&settings.pins.state_dir)?;
        let url = format!("http://{admin}");
        let asked = post_json::<Value>(&url, TAKEOVER_PATH, &json!({})).await;
        asked.map_err(|error| TakeoverError::Ask(url, error))?;
        let alone = || TakeoverError::Alone(meeting_point.path.clone());
        let accepted = timeout(CONNECT_MAX, meeting_point.listener.accept()).await;
        let (stream, _) = accepted.map_err(|_| alone())??;
        let greeted = timeout(WORD_MAX, recv_sockets(&stream, LINE_MAX_BYTES)).await;
        let (hello, sockets) = greeted.map_err(|_| alone())??;
        match serde_json::from_slice(&hello).map_err(io::Error::from)? {
            Word::Hello { version: VERSION } => {}
            Word::Hello { version } => return Err(TakeoverError::Version(version)),
            word => return Err(io::Error::other(format!("{word:?} is no greeting")).into()),
        }
        Ok((Self(Channel::new(stream)), Inherited::sent(sockets)?))
    }

    /// Has the predecessor let go of the state directory.
    pub(crate) async fn prepare(&mut self) -> Result<(), TakeoverError> {
        self.0.say(&Word::Prepare).await?;
        Ok(self.0.expect(&Word::Released).await?)
    }

    /// Takes over: when this returns without an error, the predecessor decides nothing any more.
    pub(crate) async fn take_over(&mut self) -> Result<(), TakeoverError> {
        self.0.say(&Word::Ready).await?;
        Ok(self.0.expect(&Word::Go).await?)
    }

    /// Passes on what the predecessor tells, until it has ended.
    pub(crate) async fn listen(mut self, news: mpsc::Sender<News>) {
        while let Ok(word) = self.0.next().await {
            let Some(told) = word.news() else {
                tracing::warn!(?word, "the process before says what it should not");
                return;
            };
            if news.send(told).await.is_err() {
                return;
            }
        }
        tracing::info!("the process before has ended");
    }
}

/// The socket that the predecessor comes to; removed when it is not needed any more.
struct MeetingPoint {
    listener: UnixListener,
    path: PathBuf,
}

impl MeetingPoint {
    fn open(state_dir: &Path) -> Result<Self, TakeoverError> {
        let path = socket_path(state_dir);
        // One that failed may have left its own.
        let _ = std::fs::remove_file(&path);
        match UnixListener::bind(&path) {
            Ok(listener) => Ok(Self { listener, path }),
            Err(reason) => Err(TakeoverError::Socket { path, reason }),
        }
    }
}

impl Drop for MeetingPoint {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl App {
    /// Takes over from the edge whose admin API is at `admin`, with sockets that are open already. When
    /// this returns the clients of that are on their way to this one.
    ///
    /// # Errors
    /// There is no such edge, or either of the two cannot do its part. That one goes on then as if
    /// nothing had happened, and this process is to end.
    pub async fn take_over(
        (source, mut sockets): (Option<ConfigSource>, Inherited),
        settings: &Settings,
        clock: Clock,
        admin: SocketAddr,
    ) -> Result<Self, TakeoverError> {
        let (mut successor, sent) = Successor::ask(settings, admin).await?;
        sockets.add(sent);
        let addresses = bind(settings, &mut sockets).await?;
        successor.prepare().await?;
        let (news, told) = mpsc::channel(NEWS_MAX);
        let go = CancellationToken::new();
        let gates = Gates::default();
        let closed = gates.close().await;
        let start = Start { inherited: &mut sockets, go: go.clone(), gates, news: Some(told) };
        let prepared = Prepared::new(settings, clock, start).await?;
        // Those of addresses that the config has no more stay with the other process.
        drop(sockets);
        hears(&prepared.parts.placement.fleet).await;
        successor.take_over().await?;
        go.cancel();
        drop(closed);
        tracing::info!("this process has taken over");
        prepared.parts.inner.spawn("before", successor.listen(news));
        Ok(Self::open(prepared, addresses, source))
    }
}

/// Waits until every backend was heard from, or has turned out to be away; for a while.
async fn hears(fleet: &FleetHandle) {
    let is_known = |backend: &Arc<BackendView>| backend.health != Health::Unknown;
    let mut fleet = fleet.watch();
    let heard = fleet.wait_for(|fleet| fleet.backends.iter().all(is_known));
    if timeout(FLEET_MAX, heard).await.is_err() {
        tracing::warn!("not every backend was heard from; taking over all the same");
    }
}
