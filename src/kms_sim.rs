//! Serves simulated KMSs over sockets, as real ones are served: `ws://ADDR/kurento`.
//!
//! From the outside in: a `server` is an address and the processes that serve it one after another;
//! `process` is one life, from listening to its end; a `hub` holds its one `Kms` behind a lock, held
//! while one message is worked on and never while waiting; `conn` is one socket. A connection reads
//! only while no answer is due, so a slow call delays what comes behind it, pings included, and
//! while the server answers at all, which `door` tells everyone. `control` does harm from outside.
//! Source of the behaviour: Kurento protocol notes, sections 1, 9 and 10.
//!
//! Known differences from a real one: no TLS; one message of more than 8 MiB, or 16,384 unread ones,
//! end a connection.

mod conn;
mod control;
mod door;
mod fault;
mod handshake;
mod hub;
mod process;
mod register;
mod server;

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::runtime::Clock;
use crate::sim::kms::KmsSettings;

use self::hub::End;
use self::server::Server;

pub use self::fault::{Fault, FaultError, ProcessRow, ServerRow, StartFaults, State};
pub use self::register::RegistrarSettings;

/// Connections that the kernel completes while nobody accepts them. Further ones wait or fail.
/// Source: KMS asks for SOMAXCONN, which is 4096 on a current kernel.
const BACKLOG: u32 = 4_096;

/// What is to be known of one server to play it.
#[derive(Clone, Debug)]
pub struct KmsSimSettings {
    /// Its name in the control API and in logs.
    pub name: String,
    /// The server's own settings.
    pub kms: KmsSettings,
    /// Decides all ids, the `serverId` first: another seed is another process.
    pub seed: u64,
    /// The clock.
    pub clock: Clock,
    /// What is wrong with it from the start of each process.
    pub faults: StartFaults,
    /// Where each of its processes registers, if anywhere.
    pub registrar: Option<RegistrarSettings>,
}

impl KmsSimSettings {
    /// A sound server that registers nowhere.
    #[must_use]
    pub fn new(name: &str, kms: KmsSettings, seed: u64, clock: Clock) -> Self {
        let name = name.to_owned();
        Self { name, kms, seed, clock, faults: StartFaults::default(), registrar: None }
    }
}

/// Why simulated servers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KmsSimEnd {
    /// They were told to, or the only one ended by its own `killLimit`.
    Stopped,
    /// A frame killed the only one, as such a frame kills a real one.
    Died,
}

/// Listens at `addr` as a KMS does.
///
/// # Errors
/// If the address cannot be had.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Plays a server on each listener until `stop`; a single one also ends when its process does.
///
/// Of several, one that is killed by a frame is down: its address refuses connections until it is
/// restarted by way of `control`. On `stop` each ends as a KMS does on SIGTERM; one that hangs does
/// so only when it goes on. All connections are then cut without a close frame, and all tasks have
/// ended.
///
/// # Errors
/// If a listener's address cannot be read: it is then no listener.
pub async fn serve(
    servers: Vec<(TcpListener, KmsSimSettings)>,
    control: Option<TcpListener>,
    stop: CancellationToken,
) -> io::Result<KmsSimEnd> {
    let is_only = servers.len() == 1;
    let (mut running, mut handles) = (JoinSet::new(), Vec::new());
    for (listener, settings) in servers {
        let (server, handle) = Server::new(listener, settings)?;
        handles.push(handle);
        running.spawn(server.run(is_only, stop.clone()));
    }
    let over = CancellationToken::new();
    let controlling = control.map(|listener| control::serve(listener, handles, over.clone()));
    let serving = async {
        let mut end = KmsSimEnd::Stopped;
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok(End::Died) if is_only => end = KmsSimEnd::Died,
                Ok(End::Died | End::Stopped | End::Crashed) => {}
                Err(error) => tracing::error!(%error, "a simulated server has failed"),
            }
        }
        over.cancel();
        end
    };
    let controlled = async {
        if let Some(controlling) = controlling {
            controlling.await;
        }
    };
    Ok(tokio::join!(serving, controlled).0)
}
