//! Starts the processes of a test, waits for conditions, and asks the edge about itself.

mod cutter;
mod edge;
mod party;
mod process;
mod socket;
mod stub_backend;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) use cutter::Cutter;
pub(crate) use edge::{Edge, KmsSim, get, write_config};
pub(crate) use party::Party;
pub(crate) use process::Process;
pub(crate) use socket::{RawSocket, narrow_socket, raw_socket, send_text};
pub(crate) use stub_backend::{EVENT_PADDING_BYTES, StubBackend};

/// Longest wait for any condition. Generous: it only decides how late a broken test fails.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Time between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Looks again and again until `look` finds something; panics with `what` after [`BOUND`].
pub(crate) async fn wait_for<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    within_bound(what, looking).await
}

/// Awaits `future`; panics with `what` after [`BOUND`].
pub(crate) async fn within_bound<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(BOUND, future).await;
    result.unwrap_or_else(|_| panic!("not within {BOUND:?}: {what}"))
}

/// A directory of one test, removed at its end.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
