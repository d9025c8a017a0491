//! The process that takes over.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Channel, LINE_MAX_BYTES, VERSION, WORD_MAX, Word, socket_path};
use crate::admin::client::{FetchError, order_takeover};
use crate::pins::News;
use crate::runtime::{InheritError, Inherited, recv_sockets};
use crate::settings::{Settings, StoreKind};

/// Time for the predecessor to connect once it was asked.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Why a process could not take over. The one that runs goes on.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// Pins in memory end with their process.
    #[error("--takeover needs pins.store = \"disk\": pins in memory cannot be handed over")]
    MemoryStore,
    /// The socket to meet at cannot be made. Carries its path.
    #[error("cannot listen on {}: {1}; is pins.state_dir that of the running edge?", .0.display())]
    Socket(PathBuf, #[source] io::Error),
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
        order_takeover(&url).await.map_err(|error| TakeoverError::Ask(url, error))?;
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
            Err(error) => Err(TakeoverError::Socket(path, error)),
        }
    }
}

impl Drop for MeetingPoint {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}
