//! A file that lists backends, looked at again and again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{Heard, Message, Origin};
use crate::policy::roster::Source;
use crate::settings::{BackendSettings, SettingsError, read_backends};
use crate::telemetry::{DiscoverySource, Metrics};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

/// The file as it was when it was last looked at.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// `None` if it was not there, or never looked at.
    seen: Option<Stamp>,
    /// Whether it was told that it is not there.
    is_missed: bool,
}

/// Looks at the file at `path` until stopped, and tells what it lists whenever it was replaced.
pub(super) async fn run(
    (source, path): (Source, PathBuf),
    messages: mpsc::Sender<Message>,
    metrics: Metrics,
) {
    let mut file = Watched { path, seen: None, is_missed: false };
    loop {
        let looked = spawn_blocking(move || {
            let news = file.look();
            (file, news)
        });
        let Ok((back, news)) = looked.await else {
            tracing::error!(%source, "a list of backends is not looked at any more");
            return;
        };
        file = back;
        match news {
            None => {}
            Some(Ok(backends)) => {
                tracing::info!(%source, count = backends.len(), "list of backends read");
                let found = backends.into_iter().map(|one| Origin::Told(Box::new(one))).collect();
                let heard = Heard { source: source.clone(), found, is_whole: true };
                if messages.send(Message::Heard(heard)).await.is_err() {
                    return;
                }
            }
            Some(Err(mistakes)) => {
                metrics.on_discovery_failure(DiscoverySource::File);
                for mistake in mistakes {
                    tracing::error!(%source, %mistake, "list of backends not read; what it said stays");
                }
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

impl Watched {
    /// What the file lists if it is another than before, or why that cannot be told; `None` if it is
    /// the same, or still not there.
    fn look(&mut self) -> Option<Result<Vec<BackendSettings>, Vec<SettingsError>>> {
        // Before the text: if it changes in between, the next look sees another stamp.
        let stamp = fs::metadata(&self.path).ok().map(|file| Stamp {
            modified: file.modified().ok(),
            len: file.len(),
            inode: file.ino(),
        });
        let is_news = match &stamp {
            Some(_) => stamp != self.seen,
            None => !self.is_missed,
        };
        self.is_missed = stamp.is_none();
        self.seen = stamp;
        is_news.then(|| read_backends(&self.path))
    }
}
