//! Connections to the admin API.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

use super::api;
use super::readiness::Readiness;
use super::views::Views;

/// Connections at once; further ones wait in the backlog of the system.
const CONNECTIONS_MAX: usize = 64;

/// Bytes of a request's head, and of what is buffered for one connection. Beyond it the request is
/// answered with 431.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// Header lines of a request. Beyond it the request is answered with 431.
const HEADERS_MAX: usize = 64;

/// Time for a request's head to arrive. Then the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for one request and its answer altogether. Then the connection is cut.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that requests at hand get to be answered after the stop. Then they are cut.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Wait after an accept that failed, which it does for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What the admin API shows.
#[derive(Debug)]
pub struct Admin<V> {
    /// Rows of backends and meetings.
    pub views: V,
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/metrics`.
    pub metrics: Metrics,
}

/// Answers requests on `listener` until `stop`; then ends once the requests at hand are answered,
/// within 2 seconds.
pub async fn serve<V: Views>(listener: TcpListener, admin: Arc<Admin<V>>, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Some((socket, permit)) = stop.run_until_cancelled(accept(&listener, &permits)).await {
        while connections.try_join_next().is_some() {}
        connections.spawn(serve_connection(socket, Arc::clone(&admin), stop.clone(), permit));
    }
    drop(listener);
    let answered = async { while connections.join_next().await.is_some() {} };
    if time::timeout(STOP_GRACE, answered).await.is_err() {
        connections.shutdown().await;
    }
}

/// Waits for a place, then for a connection to fill it.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("nobody closes the semaphore");
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return (socket, permit),
            Err(error) => {
                tracing::warn!(%error, "admin connection not accepted");
                time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Answers one request: a connection kept open would hold one of few places. After `stop` it is
/// answered still if its head had arrived.
async fn serve_connection<V: Views>(
    socket: TcpStream,
    admin: Arc<Admin<V>>,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let has_begun = AtomicBool::new(false);
    let service = service_fn(|request| {
        has_begun.store(true, Relaxed);
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(api::answer(&admin, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    let mut answered = pin!(time::timeout(CONNECTION_TIMEOUT, connection));
    let result = match stop.run_until_cancelled(&mut answered).await {
        Some(result) => result,
        None if has_begun.load(Relaxed) => answered.await,
        None => return,
    };
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        Err(_) => tracing::debug!("admin connection took too long"),
    }
}

#[cfg(test)]
mod tests;
