//! One life of a server: from listening until it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::conn;
use super::hub::{End, Hub};
use super::register::{self, RegistrarSettings};

/// Wait after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Serves on `listener` until the process ends, and says how.
///
/// All connections are then cut without a close frame, the address refuses connections, and all
/// tasks have ended.
pub(super) async fn run(
    listener: TcpListener,
    hub: Arc<Hub>,
    registrar: Option<RegistrarSettings>,
) -> End {
    let mut tasks = JoinSet::new();
    if let Some(registrar) = registrar {
        tasks.spawn(register::run(registrar, hub.sight()));
    }
    let end = tokio::select! {
        end = hub.run_timers() => end,
        never = accept(listener, &hub, &mut tasks) => match never {},
    };
    tasks.shutdown().await;
    end
}

/// Accepts until the process is ending; then only the listener ends.
async fn accept(
    listener: TcpListener,
    hub: &Arc<Hub>,
    tasks: &mut JoinSet<()>,
) -> std::convert::Infallible {
    let (mut sight, mut ending) = (hub.sight(), hub.sight());
    let accepting = async {
        loop {
            while tasks.try_join_next().is_some() {}
            sight.until(|doors| doors.accepts).await;
            let accepted = tokio::select! {
                biased;
                () = sight.changed() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => drop(tasks.spawn(conn::run(socket, hub.join()))),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        () = ending.until(|doors| doors.is_ending) => {}
        () = accepting => {}
    }
    drop(listener);
    std::future::pending().await
}
