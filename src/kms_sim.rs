//! Serves one simulated KMS over sockets, as the real one is served: `ws://ADDR/kurento`.
//!
//! One lock guards the `Kms`; it is held while one message is worked on, never while waiting. One
//! task a connection reads only while no answer is due, so a slow call delays what comes behind it,
//! pings included. Source of the behaviour: Kurento protocol notes, sections 1 and 9.

mod conn;
mod handshake;
mod hub;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::Draws;
use crate::runtime::Clock;
use crate::sim::kms::{Kms, KmsSettings};

use self::hub::Hub;

/// Wait after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What `serve` needs to know of the server it plays.
#[derive(Clone, Debug)]
pub struct KmsSimSettings {
    /// The server's own settings.
    pub kms: KmsSettings,
    /// Decides all ids, the `serverId` first: another seed is another process.
    pub seed: u64,
    /// The clock.
    pub clock: Clock,
}

/// Why a simulated KMS ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KmsSimEnd {
    /// It was told to.
    Stopped,
    /// A frame killed it, as such a frame kills a real one.
    Died,
}

/// Serves a new KMS on `listener` until `stop`, or until a frame kills it.
///
/// All connections are then cut without a close frame, and their tasks have ended.
///
/// # Errors
/// If the listener's address cannot be read: it is then no listener.
pub async fn serve(
    listener: TcpListener,
    settings: KmsSimSettings,
    stop: CancellationToken,
) -> io::Result<KmsSimEnd> {
    listener.local_addr()?;
    let kms = Kms::new(settings.kms, Draws::seeded(settings.seed));
    let hub = Arc::new(Hub::new(kms, settings.clock, stop.child_token()));
    let mut tasks = JoinSet::new();
    tasks.spawn(hub::run_timers(Arc::clone(&hub)));
    let accepting = accept(&listener, &hub, &mut tasks);
    hub.stop.run_until_cancelled(accepting).await;
    hub.stop.cancel();
    tasks.shutdown().await;
    Ok(if hub.is_dead() { KmsSimEnd::Died } else { KmsSimEnd::Stopped })
}

async fn accept(listener: &TcpListener, hub: &Arc<Hub>, tasks: &mut JoinSet<()>) {
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, _)) => drop(tasks.spawn(conn::run(socket, Arc::clone(hub)))),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
