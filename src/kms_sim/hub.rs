//! The one `Kms` that all connections of a process share, and the queues to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::model::Time;
use crate::runtime::Clock;
use crate::sim::kms::{ConnId, Faults, Kms, KmsOutput};

use super::door::{Doors, Sight};

/// Messages that may wait for a connection that does not read. When full the connection is cut; a
/// real KMS goes on until its memory is gone.
const OUTBOX_MAX: usize = 16_384;

/// What is due within this time is done now: timers are no finer than a millisecond, and most calls
/// take a tenth of that.
const SLACK: Duration = Duration::from_micros(500);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to, or reached its own `killLimit`.
    Stopped,
    /// A frame killed it.
    Died,
    /// Made to crash from outside.
    Crashed,
}

/// The server and who listens to it.
pub(super) struct Hub {
    inner: Mutex<Inner>,
    /// Told when the next deadline may have come nearer.
    changed: Notify,
    doors: watch::Sender<Doors>,
    /// Whether the server hangs: what idle connections wait for, which a busy server's doors would
    /// wake with every call.
    hangs: watch::Sender<bool>,
    clock: Clock,
}

struct Inner {
    kms: Kms,
    lines: HashMap<ConnId, Line>,
    end: Option<End>,
    refuses_handshakes: bool,
    /// The latest time the server was told, which is ahead of the clock by `SLACK` at most.
    now: Time,
}

/// The hub's side of a connection.
struct Line {
    outbox: mpsc::Sender<String>,
    cut: CancellationToken,
}

/// A connection's side of the hub; given back when dropped, also when its task is cancelled.
pub(super) struct Member {
    pub(super) hub: Arc<Hub>,
    pub(super) id: ConnId,
    /// What to send, in order.
    pub(super) outbox: mpsc::Receiver<String>,
    /// Ends the connection at once, without a close frame.
    pub(super) cut: CancellationToken,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.change(|inner, _| {
            inner.lines.remove(&self.id);
            inner.kms.close(self.id);
        });
    }
}

/// What can be seen of a process from outside.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) server_id: String,
    pub(super) conn_count: usize,
    pub(super) faults: Faults,
    pub(super) refuses_handshakes: bool,
    pub(super) is_ending: bool,
}

impl Hub {
    pub(super) fn new(kms: Kms, clock: Clock) -> Self {
        let inner = Inner {
            kms,
            lines: HashMap::new(),
            end: None,
            refuses_handshakes: false,
            now: clock.now(),
        };
        let (doors, hangs) = (watch::Sender::new(inner.doors()), watch::Sender::new(false));
        Self { inner: Mutex::new(inner), changed: Notify::new(), doors, hangs, clock }
    }

    /// A new connection.
    pub(super) fn join(self: &Arc<Self>) -> Member {
        let (sender, outbox) = mpsc::channel(OUTBOX_MAX);
        let cut = CancellationToken::new();
        let line = Line { outbox: sender, cut: cut.clone() };
        let id = self.change(|inner, _| {
            let id = inner.kms.open();
            inner.lines.insert(id, line);
            id
        });
        Member { hub: Arc::clone(self), id, outbox, cut }
    }

    /// A message came in; whether an answer to `conn` is now due, so that it must not be read from.
    pub(super) fn on_text(&self, conn: ConnId, text: &str) -> bool {
        self.change(|inner, out| {
            inner.kms.on_text(inner.now, conn, text, out);
            inner.kms.is_busy(conn)
        })
    }

    /// Whether an answer to `conn` is due.
    pub(super) fn is_busy(&self, conn: ConnId) -> bool {
        self.lock().kms.is_busy(conn)
    }

    /// Whether small messages wait for those before to be acknowledged.
    pub(super) fn uses_nagle(&self) -> bool {
        self.lock().kms.uses_nagle()
    }

    /// Whether handshakes are refused.
    pub(super) fn refuses_handshakes(&self) -> bool {
        self.lock().refuses_handshakes
    }

    /// A connection's sight of what the server lets happen.
    pub(super) fn sight(&self) -> Sight {
        Sight::new(self.doors.subscribe())
    }

    /// Whether the server hangs, now and later.
    pub(super) fn hanging(&self) -> watch::Receiver<bool> {
        self.hangs.subscribe()
    }

    /// What can be seen from outside.
    pub(super) fn sighting(&self) -> Sighting {
        let inner = self.lock();
        Sighting {
            server_id: inner.kms.server_id().to_owned(),
            conn_count: inner.lines.len(),
            faults: *inner.kms.faults(),
            refuses_handshakes: inner.refuses_handshakes,
            is_ending: inner.is_ending(),
        }
    }

    /// Changes what is wrong with the server.
    pub(super) fn set_faults(&self, set: impl FnOnce(&mut Faults)) {
        self.change(|inner, out| {
            set(inner.kms.faults_mut());
            inner.kms.tick(inner.now, out);
        });
    }

    /// Refuses handshakes from now on, or no longer.
    pub(super) fn refuse_handshakes(&self, is_on: bool) {
        self.lock().refuses_handshakes = is_on;
    }

    /// Cuts all connections; the server goes on, with its sessions.
    pub(super) fn cut_links(&self) {
        self.change(|inner, _| inner.lines.values().for_each(|line| line.cut.cancel()));
    }

    /// SIGTERM.
    pub(super) fn terminate(&self) {
        self.change(|inner, _| inner.kms.terminate(inner.now));
    }

    /// Ends the process here and now.
    pub(super) fn crash(&self) {
        self.change(|inner, _| inner.end = Some(End::Crashed));
    }

    /// Has the server do what is due by itself, until it ends.
    pub(super) async fn run_timers(&self) -> End {
        loop {
            let late = self.clock.now() + SLACK;
            let (end, due) = self.act(|inner, out| inner.tick(late, out));
            if let Some(end) = end {
                return end;
            }
            let wait = due.since(self.clock.now());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// The same as `act`; then has the timers look again.
    fn change<T>(&self, act: impl FnOnce(&mut Inner, &mut Vec<KmsOutput>) -> T) -> T {
        let done = self.act(act);
        self.changed.notify_one();
        done
    }

    /// Does something to the server, sends what it says, and tells everyone what has changed.
    fn act<T>(&self, act: impl FnOnce(&mut Inner, &mut Vec<KmsOutput>) -> T) -> T {
        let mut out = Vec::new();
        let mut inner = self.lock();
        inner.now = inner.now.max(self.clock.now());
        let done = act(&mut inner, &mut out);
        inner.send(out);
        // Told under the lock, so that the last one told is the last that holds.
        let (doors, hangs) = (inner.doors(), inner.kms.faults().hangs());
        self.doors.send_if_modified(|known| std::mem::replace(known, doors) != doors);
        self.hangs.send_if_modified(|known| std::mem::replace(known, hangs) != hangs);
        done
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Does what is due at `late`; then how the process ended, if it did, and when to come back.
    fn tick(&mut self, late: Time, out: &mut Vec<KmsOutput>) -> (Option<End>, Time) {
        self.now = self.now.max(late);
        self.kms.tick(self.now, out);
        let gone = self.kms.gone_at().filter(|_| !self.kms.faults().hangs());
        if gone.is_some_and(|at| at <= self.now) {
            self.end = self.end.or(Some(End::Stopped));
        }
        (self.end, gone.map_or(self.kms.deadline(), |at| at.min(self.kms.deadline())))
    }

    fn send(&mut self, out: Vec<KmsOutput>) {
        for output in out {
            match output {
                KmsOutput::Answer { conn, text } | KmsOutput::Event { conn, text } => {
                    let full = |line: &&Line| line.outbox.try_send(text).is_err();
                    if let Some(line) = self.lines.get(&conn).filter(full) {
                        line.cut.cancel();
                    }
                }
                KmsOutput::Cut { conn } => {
                    if let Some(line) = self.lines.get(&conn) {
                        line.cut.cancel();
                    }
                }
                KmsOutput::Die => self.end = Some(End::Died),
            }
        }
    }

    fn doors(&self) -> Doors {
        Doors {
            answers: self.kms.can_run() && self.end.is_none(),
            accepts: self.kms.takes_connections() && self.end.is_none(),
            is_ending: self.is_ending(),
        }
    }

    /// Whether it was told to end, or decided to; one that hangs ends only when it goes on.
    fn is_ending(&self) -> bool {
        self.kms.gone_at().is_some() && !self.kms.faults().hangs()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Draws;
    use crate::sim::kms::KmsSettings;

    use super::*;

    fn hub(io_threads: usize) -> Arc<Hub> {
        let kms = Kms::new(KmsSettings { io_threads, ..KmsSettings::default() }, Draws::seeded(1));
        Arc::new(Hub::new(kms, Clock::start()))
    }

    #[test]
    fn calls_on_all_threads_shut_every_door_and_the_end_of_one_opens_it() {
        let hub = hub(2);
        let members = [hub.join(), hub.join()];
        let slow = r#"{"id":1,"jsonrpc":"2.0","method":"invoke","params":{"object":
            "manager_ServerManager","operation":"getUsedCpu","operationParams":{"interval":60000}}}"#;
        let mut sight = hub.sight();
        let open = Doors { answers: true, accepts: true, is_ending: false };
        assert_eq!(sight.now(), open);
        assert!(hub.on_text(members[0].id, slow));
        assert_eq!(sight.now(), open);
        assert!(hub.on_text(members[1].id, slow));
        assert_eq!(sight.now(), Doors { answers: false, accepts: false, ..open });
        let later = hub.clock.now() + Duration::from_secs(61);
        let (end, _) = hub.act(|inner, out| inner.tick(later, out));
        assert_eq!((end, sight.now()), (None, open));
    }

    #[test]
    fn a_server_that_hangs_is_not_ending_until_it_goes_on() {
        let hub = hub(2);
        hub.set_faults(|faults| faults.hang_after = Some(0));
        hub.terminate();
        assert_eq!((hub.sight().now().is_ending, hub.sighting().is_ending), (false, false));
        hub.set_faults(|faults| faults.hang_after = None);
        assert!(hub.sight().now().is_ending);
        let gone = hub.clock.now() + Duration::from_secs(1);
        assert_eq!(hub.act(|inner, out| inner.tick(gone, out)).0, Some(End::Stopped));
    }

    #[test]
    fn a_connection_that_reads_nothing_is_cut_at_the_bound() {
        let hub = hub(2);
        let member = hub.join();
        for _ in 0..OUTBOX_MAX {
            hub.on_text(member.id, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}");
        }
        assert!(!member.cut.is_cancelled());
        hub.on_text(member.id, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}");
        assert!(member.cut.is_cancelled());
    }
}
