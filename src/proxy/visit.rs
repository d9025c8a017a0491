//! A client's connection: its socket, and what counts it.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::sessions::Desk;
use super::socket::Socket;
use crate::policy::guard::Rules;
use crate::protocol::request::Hints;
use crate::telemetry::OpenCount;

/// A client that is connected.
pub(super) struct Visit {
    pub(super) socket: Socket,
    /// What its URL says of every pipeline created here.
    pub(super) hints: Hints,
    /// What holds for the clients of its listener.
    pub(super) rules: Arc<Rules>,
    /// Messages that were read from it and wait for the session they name.
    pub(super) waiting: Vec<String>,
    /// Who takes the connection that this one displaces; told even if there is none.
    pub(super) swap: Option<Arc<Desk>>,
    /// When the message was read with which it wants to go on with another session, in nanoseconds.
    pub(super) since_nanos: Option<u64>,
    /// Held for as long as the connection is open.
    pub(super) _counts: (OpenCount, OwnedSemaphorePermit),
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
