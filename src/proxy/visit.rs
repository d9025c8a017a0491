//! A client's connection: its socket, and what counts it.

use tokio::sync::OwnedSemaphorePermit;

use super::socket::Socket;
use crate::telemetry::OpenCount;

/// A client that is connected.
pub(super) struct Visit {
    pub(super) socket: Socket,
    /// Messages that were read from it and wait for the session they name.
    pub(super) waiting: Vec<String>,
    /// Held for as long as the connection is open.
    pub(super) _counts: (OpenCount, OwnedSemaphorePermit),
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
