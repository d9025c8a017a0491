//! Serves one simulated Kurento Media Server on a socket.

mod connection;
mod handshake;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

use crate::model::{Draws, Time};
use crate::runtime::{Clock, Tasks, random};
use crate::sim::kms::{ConnId, Kms, KmsOutput, uuid};

/// Messages that may wait for one connection. When it is reached the connection is cut; a real KMS
/// would grow instead.
const QUEUE_MAX: usize = 16_384;
/// Connections at one time. More are closed as soon as they are accepted.
const CONNECTIONS_MAX: usize = 20_000;
/// How often the server looks whether garbage collection is due.
const TICK_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failed `accept`, which mostly means that descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How one simulated server behaves.
#[derive(Clone, Debug)]
pub struct KmsSimSettings {
    /// For logs only; clients cannot see it.
    pub name: String,
    /// How long each answer waits. The connection's later requests wait behind it, as in KMS.
    pub latency: Duration,
}

/// Serves a new simulated server on `listener` until `tasks` are told to stop, then cuts all
/// connections without a close frame. Its sessions and objects are gone when this returns.
pub async fn serve(listener: TcpListener, settings: KmsSimSettings, tasks: Tasks) {
    let server = Server::new(settings.latency);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stop = tasks.stop_token();
    let mut ticks = tokio::time::interval(TICK_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => server.tick(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => start(&server, stream, &permits, &tasks),
                Err(error) => {
                    warn!(kms = settings.name, %error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

fn start(server: &Arc<Server>, stream: TcpStream, permits: &Arc<Semaphore>, tasks: &Tasks) {
    let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
        warn!("connection limit reached");
        return;
    };
    let (server, stop) = (Arc::clone(server), tasks.stop_token());
    tasks.spawn("kms-sim-connection", async move {
        let _permit = permit;
        tokio::select! {
            () = stop.cancelled() => {}
            outcome = connection::run(stream, server) => {
                if let Err(error) = outcome {
                    debug!(%error, "connection ended");
                }
            }
        }
    });
}

/// The server and the queues of its connections, behind one lock so that order is as decided.
struct Server {
    clock: Clock,
    latency: Duration,
    state: Mutex<State>,
}

struct State {
    kms: Kms,
    queues: BTreeMap<ConnId, mpsc::Sender<String>>,
    /// Emptied after each use; kept for its memory.
    outputs: Vec<KmsOutput>,
}

impl Server {
    fn new(latency: Duration) -> Arc<Self> {
        let mut draws = Draws::seeded(random::seed());
        let id = uuid(&mut draws);
        let kms = Kms::new(id, draws).started_at(Clock::unix_seconds() * 1_000);
        let state = State { kms, queues: BTreeMap::new(), outputs: Vec::new() };
        Arc::new(Self { clock: Clock::start(), latency, state: Mutex::new(state) })
    }

    /// A new connection with the queue of what is to be sent on it. The queue ends when the
    /// connection is to be cut.
    fn open(self: &Arc<Self>) -> (Registration, mpsc::Receiver<String>) {
        let (tx, rx) = mpsc::channel(QUEUE_MAX);
        let mut state = self.lock();
        let conn = state.kms.open();
        state.queues.insert(conn, tx);
        (Registration { conn, server: Arc::clone(self) }, rx)
    }

    fn tick(&self) {
        self.lock().act(self.clock.now(), Kms::tick);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }
}

impl State {
    /// Lets the server do something and puts what follows into the queues.
    fn act(&mut self, now: Time, verb: impl FnOnce(&mut Kms, Time, &mut Vec<KmsOutput>)) {
        verb(&mut self.kms, now, &mut self.outputs);
        for output in self.outputs.drain(..) {
            match output {
                KmsOutput::Cut { conn } => drop(self.queues.remove(&conn)),
                KmsOutput::Text { conn, text } => {
                    let queue = self.queues.get(&conn);
                    if queue.is_some_and(|queue| queue.try_send(text).is_err()) {
                        warn!("a connection does not read; cutting it");
                        self.queues.remove(&conn);
                    }
                }
            }
        }
    }
}

/// An open connection; dropping it closes it in the simulated server.
struct Registration {
    conn: ConnId,
    server: Arc<Server>,
}

impl Registration {
    fn latency(&self) -> Duration {
        self.server.latency
    }

    fn on_text(&self, text: &str) {
        let now = self.server.clock.now();
        let take = |kms: &mut Kms, now, out: &mut Vec<_>| kms.on_text(now, self.conn, text, out);
        self.server.lock().act(now, take);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.server.lock();
        state.queues.remove(&self.conn);
        state.kms.close(self.conn);
    }
}

#[cfg(test)]
mod tests;
