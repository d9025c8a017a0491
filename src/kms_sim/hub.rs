//! The one `Kms` that all connections share, and the queues to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::model::Time;
use crate::sim::kms::{ConnId, Kms, KmsOutput};

use crate::runtime::Clock;

/// Messages that may wait for a connection that does not read. When full the connection is cut; a
/// real KMS goes on until its memory is gone.
const OUTBOX_MAX: usize = 16_384;

/// The server and who listens to it.
pub(super) struct Hub {
    inner: Mutex<Inner>,
    /// Told when the next deadline may have come nearer.
    changed: Notify,
    clock: Clock,
    /// Whether small messages wait for those before to be acknowledged.
    pub(super) uses_nagle: bool,
    /// Ends every task of this server.
    pub(super) stop: CancellationToken,
}

struct Inner {
    kms: Kms,
    outboxes: HashMap<ConnId, mpsc::Sender<String>>,
    is_dead: bool,
}

/// A connection's side of the hub.
pub(super) struct Joined {
    pub(super) id: ConnId,
    /// What to send, in order. Ends when the server cuts the connection.
    pub(super) outbox: mpsc::Receiver<String>,
}

impl Hub {
    pub(super) fn new(kms: Kms, clock: Clock, stop: CancellationToken) -> Self {
        let uses_nagle = kms.uses_nagle();
        let inner = Mutex::new(Inner { kms, outboxes: HashMap::new(), is_dead: false });
        Self { inner, changed: Notify::new(), clock, uses_nagle, stop }
    }

    /// A new connection.
    pub(super) fn join(&self) -> Joined {
        let (sender, outbox) = mpsc::channel(OUTBOX_MAX);
        let mut inner = self.lock();
        let id = inner.kms.open();
        inner.outboxes.insert(id, sender);
        Joined { id, outbox }
    }

    /// The connection is gone.
    pub(super) fn leave(&self, conn: ConnId) {
        let mut inner = self.lock();
        inner.outboxes.remove(&conn);
        inner.kms.close(conn);
    }

    /// A message came in.
    pub(super) fn on_text(&self, conn: ConnId, text: &str) {
        let mut out = Vec::new();
        let mut inner = self.lock();
        inner.kms.on_text(self.clock.now(), conn, text, &mut out);
        self.send(&mut inner, out);
        drop(inner);
        self.changed.notify_one();
    }

    /// Whether an answer to `conn` is due, so that it must not be read from.
    pub(super) fn is_busy(&self, conn: ConnId) -> bool {
        self.lock().kms.is_busy(conn)
    }

    /// Whether a frame has killed the server.
    pub(super) fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    fn tick(&self) -> Time {
        let mut out = Vec::new();
        let mut inner = self.lock();
        inner.kms.tick(self.clock.now(), &mut out);
        self.send(&mut inner, out);
        inner.kms.deadline()
    }

    fn send(&self, inner: &mut Inner, out: Vec<KmsOutput>) {
        for output in out {
            match output {
                KmsOutput::Answer { conn, text } | KmsOutput::Event { conn, text } => {
                    let outbox = inner.outboxes.get(&conn);
                    if outbox.is_some_and(|outbox| outbox.try_send(text).is_err()) {
                        inner.outboxes.remove(&conn);
                    }
                }
                KmsOutput::Cut { conn } => drop(inner.outboxes.remove(&conn)),
                KmsOutput::Die => {
                    inner.is_dead = true;
                    self.stop.cancel();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the server do what is due by itself, until the hub stops.
pub(super) async fn run_timers(hub: Arc<Hub>) {
    while !hub.stop.is_cancelled() {
        let wait = hub.tick().since(hub.clock.now());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = hub.changed.notified() => {}
            () = hub.stop.cancelled() => {}
        }
    }
}
