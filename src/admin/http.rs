//! HTTP connections to APIs for operators: how they are taken, bounded and ended.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

/// Connections at once; further ones wait in the backlog of the system.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// Bytes of a request's head, and of what is buffered for one connection. Beyond it the request is
/// answered with 431.
pub(super) const HEAD_MAX_BYTES: usize = 16 * 1024;

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

/// Answer to a request.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers requests on `listener` by `answer` until `stop`; then ends once the requests at hand are
/// answered, within 2 seconds.
pub(crate) async fn serve<F, R>(
    listener: impl Into<Arc<TcpListener>>,
    answer: F,
    stop: CancellationToken,
) where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let listener = listener.into();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Some((socket, permit)) = stop.run_until_cancelled(accept(&listener, &permits)).await {
        while connections.try_join_next().is_some() {}
        connections.spawn(serve_connection(socket, answer.clone(), stop.clone(), permit));
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
async fn serve_connection<F, R>(
    socket: TcpStream,
    answer: F,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
) where
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Answer>,
{
    let has_begun = AtomicBool::new(false);
    let service = service_fn(|request| {
        has_begun.store(true, Relaxed);
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
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

/// An error as everything under this API tells it.
pub(crate) fn error(status: StatusCode, reason: &str) -> Answer {
    json(status, &json!({ "error": reason }))
}

/// A value as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).expect("rows are plain values with string keys");
    with_type(status, "application/json", text.into())
}

/// A body of a kind, which nobody may keep.
pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
