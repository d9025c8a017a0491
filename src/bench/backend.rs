//! A backend that costs little: it speaks enough Kurento for a proxy and for the measuring clients.
//!
//! It keeps no objects. An id says who made it, so a call for another backend's object is refused, and
//! every value names the backend and the object, so that a client sees where its call went. What is
//! kept is who subscribed to what, for [`answer::EMIT`].
//! Not here: times, limits, faults and everything else a real server does (`kms_sim`).

pub(super) mod answer;
mod call;
mod connection;
mod subscribers;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::answer::Identity;
use self::connection::Connection;
use self::subscribers::Subscribers;

/// Connections served at once; further ones wait until one ends.
const CONNECTIONS_MAX: usize = 65_536;

/// Connections that wait for a thread to take them, each.
const HANDED_MAX: usize = 1_024;

/// Connections that the kernel completes while nobody accepts them, if its own bound allows.
const BACKLOG: u32 = 16_384;

/// How to play a backend.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// Its name, which every value it answers with begins with.
    pub name: String,
    /// Threads that answer.
    pub threads: usize,
    /// Drawn at random, so that no two processes make the same ids.
    pub seed: u64,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    identity: Identity,
    name: String,
    subscribers: Subscribers,
}

/// Listens at `addr`.
///
/// # Errors
/// If the address cannot be had.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Plays a backend at `addr` until `stop`; tells `on_listening` the address it has.
///
/// # Errors
/// The address cannot be had, or the system has no threads left.
pub async fn serve(
    addr: SocketAddr,
    settings: BackendSettings,
    stop: CancellationToken,
    on_listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let listener = listen(addr)?;
    on_listening(listener.local_addr()?);
    let shared = Arc::new(Shared {
        identity: Identity::new(&settings.name, settings.seed),
        name: settings.name,
        subscribers: Subscribers::default(),
    });
    let mut threads = Vec::new();
    for _ in 0..settings.threads {
        let (tx, rx) = mpsc::channel(HANDED_MAX);
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(stop.run_until_cancelled(work(rx, shared)));
        std::thread::Builder::new().name("bench-backend".to_owned()).spawn(work)?;
        threads.push(tx);
    }
    stop.run_until_cancelled(accept(listener, threads)).await;
    Ok(())
}

/// A connection on its way to the thread that serves it, and what counts it.
type Handed = (std::net::TcpStream, tokio::sync::OwnedSemaphorePermit);

/// Hands out connections to the threads in turn.
async fn accept(listener: TcpListener, threads: Vec<mpsc::Sender<Handed>>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    for thread in threads.iter().cycle() {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let Some(stream) = accept_one(&listener).await else { continue };
        if thread.send((stream, permit)).await.is_err() {
            return; // the thread has stopped, so all do
        }
    }
}

/// The next connection, for any thread; `None` for one that has failed already.
async fn accept_one(listener: &TcpListener) -> Option<std::net::TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => stream.set_nodelay(true).and_then(|()| stream.into_std()).ok(),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            // No file is left: some connection has to end first.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            None
        }
    }
}

/// Serves what is handed over, for ever.
async fn work(mut handed: mpsc::Receiver<Handed>, shared: Arc<Shared>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            next = handed.recv() => {
                let Some((stream, permit)) = next else { return };
                let Ok(stream) = TcpStream::from_std(stream) else { continue };
                let connection = Connection::new(stream, Arc::clone(&shared));
                running.spawn(async move {
                    connection.run().await;
                    drop(permit);
                });
            }
            Some(_ended) = running.join_next() => {}
        }
    }
}
