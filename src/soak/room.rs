//! What the people of one meeting know of it besides what the edge tells them.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One meeting.
#[derive(Debug)]
pub(super) struct Room {
    /// Its name, as the edge is told.
    pub(super) name: String,
    /// The host's pipeline, which guests use; `None` while the host has none.
    pub(super) shared: watch::Sender<Option<String>>,
    /// The host has left, or everybody is to leave.
    pub(super) over: CancellationToken,
}

impl Room {
    /// An empty room, which is over when `stop` is, or before.
    pub(super) fn new(name: String, stop: &CancellationToken) -> Self {
        Self { name, shared: watch::Sender::new(None), over: stop.child_token() }
    }

    /// The host's pipeline.
    pub(super) fn pipeline(&self) -> Option<String> {
        self.shared.borrow().clone()
    }
}
