//! One client: a WebSocket, concurrent calls matched by id, events in a bounded queue.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, WebSocketConfig, frame::coding::CloseCode,
};
use tokio_tungstenite::tungstenite::{self, Message};

use super::calls::{CallError, Calls, Ending, Event};
use crate::runtime::random;

/// Calls of one client that may wait for their answers at once; the next one waits to be sent.
pub const CALLS_MAX: usize = 1_024;

/// Events that may wait to be received. When full, the newest is dropped and counted: answers
/// behind it must not wait for someone who does not care about events.
pub const EVENTS_MAX: usize = 1_024;

/// Longest request, in bytes; a longer one is refused with [`CallError::TooLong`].
pub const REQUEST_MAX_LEN: usize = 192 * 1_024;

/// Time a call may take, and the handshake.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Time to read what is left once writing has failed, and for the server to cut after its close
/// frame.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

/// Frames that may wait for the socket; more make their callers wait.
const FRAMES_MAX: usize = 64;

/// Read buffer, allocated at once for each client.
const READ_BUFFER_LEN: usize = 8 * 1_024;

/// Bytes that may wait for a peer that stops reading. Holds [`REQUEST_MAX_LEN`] and what is
/// gathered before a write.
const WRITE_BUFFER_MAX_LEN: usize = 256 * 1_024;

/// Longest message from the server. Source: KMS 7.3.1 accepts and so may build this much.
const MESSAGE_MAX_LEN: usize = 32_000_000;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not `ws://host:port/…`. Carries the URL.
    #[error("not a URL of the form ws://host:port/path: {0}")]
    Url(String),
    /// No TCP connection.
    #[error("cannot connect")]
    Tcp(#[from] io::Error),
    /// The server refused the handshake, or broke it.
    #[error("no WebSocket: {0}")]
    Handshake(Box<tungstenite::Error>),
    /// Neither success nor failure in time.
    #[error("no WebSocket within {0:?}")]
    Timeout(Duration),
}

/// The events of one client, in the order they came. Dropping it is fine: events are dropped then.
#[derive(Debug)]
pub struct Events {
    rx: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` when the connection has ended and all were taken.
    pub async fn next(&mut self) -> Option<Event> {
        self.rx.recv().await
    }

    /// The next event of `kind` on `object`; those before it are dropped.
    pub async fn find(&mut self, object: &str, kind: &str) -> Option<Event> {
        loop {
            let event = self.next().await?;
            if event.object == object && event.kind == kind {
                return Some(event);
            }
        }
    }
}

/// One connection to an edge or a backend, used by any number of callers at once.
///
/// Dropping it cuts the connection; [`close`](Self::close) ends it with a close frame.
#[derive(Debug)]
pub struct Client {
    calls: Arc<Calls>,
    frames: mpsc::Sender<Message>,
    permits: Semaphore,
    ids: AtomicU64,
    events_dropped: Arc<AtomicU64>,
    /// Holds the one task that owns the socket, and ends it when dropped.
    _task: JoinSet<()>,
}

impl Client {
    /// Connects to `url`, which must be `ws://`; for TLS see [`on_stream`](Self::on_stream).
    ///
    /// # Errors
    /// If any step to an open WebSocket fails or takes longer than [`CALL_TIMEOUT`].
    pub async fn connect(url: &str) -> Result<(Self, Events), ConnectError> {
        let connecting = async {
            let stream = TcpStream::connect(tcp_addr(url)?).await?;
            stream.set_nodelay(true)?;
            Self::on_stream(url, stream).await
        };
        let timeout = tokio::time::timeout(CALL_TIMEOUT, connecting);
        timeout.await.map_err(|_| ConnectError::Timeout(CALL_TIMEOUT))?
    }

    /// Opens a WebSocket for `request`, a URL or one with headers, on `stream`, a TCP connection or TLS
    /// on top of one.
    ///
    /// # Errors
    /// If the server does not answer the handshake as it should.
    pub async fn on_stream<S>(
        request: impl IntoClientRequest,
        stream: S,
    ) -> Result<(Self, Events), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let request = request.into_client_request().map_err(handshake_error)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_LEN)
            .write_buffer_size(READ_BUFFER_LEN)
            .max_write_buffer_size(WRITE_BUFFER_MAX_LEN)
            .max_message_size(Some(MESSAGE_MAX_LEN))
            .max_frame_size(Some(MESSAGE_MAX_LEN));
        let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let (socket, _response) = opening.await.map_err(handshake_error)?;
        Ok(Self::on_socket(socket))
    }

    fn on_socket<S>(socket: WebSocketStream<S>) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let calls = Arc::new(Calls::new());
        let events_dropped = Arc::new(AtomicU64::new(0));
        let (frames, frames_rx) = mpsc::channel(FRAMES_MAX);
        let (events_tx, rx) = mpsc::channel(EVENTS_MAX);
        let inbox =
            Inbox { calls: Arc::clone(&calls), events_tx, dropped: Arc::clone(&events_dropped) };
        let mut task = JoinSet::new();
        task.spawn(run(socket, frames_rx, inbox));
        let permits = Semaphore::new(CALLS_MAX);
        // Kurento keeps answers for 20 s by session and id, so a client that goes on with a session
        // on another connection must not count from the same number again.
        let ids = AtomicU64::new(random::seed() >> 24);
        (Self { calls, frames, permits, ids, events_dropped, _task: task }, Events { rx })
    }

    /// Sends one request and waits for its `result`, which is JSON's null for `closeSession`.
    ///
    /// # Errors
    /// [`CallError`], also if the answer takes longer than [`CALL_TIMEOUT`].
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        let calling = async {
            let permit = self.permits.acquire().await;
            let _permit = permit.expect("the semaphore is never closed");
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
            let text = request.to_string();
            if text.len() > REQUEST_MAX_LEN {
                return Err(CallError::TooLong(text.len()));
            }
            let waiting = self.calls.wait_for(id)?;
            if self.frames.send(Message::text(text)).await.is_err() {
                return Err(self.calls.ended_error());
            }
            waiting.answer().await
        };
        let timeout = tokio::time::timeout(CALL_TIMEOUT, calling);
        timeout.await.unwrap_or(Err(CallError::Timeout(CALL_TIMEOUT)))
    }

    /// Says goodbye with close code 1000 and waits for the connection's end, [`CALL_TIMEOUT`] at
    /// most.
    pub async fn close(self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if self.frames.send(Message::Close(Some(frame))).await.is_ok() {
            // Late or not, dropping self cuts the connection.
            let _ = tokio::time::timeout(CALL_TIMEOUT, self.ended()).await;
        }
    }

    /// Waits until the connection has ended, and tells how.
    pub async fn ended(&self) -> Ending {
        self.calls.ended().await
    }

    /// Messages that were neither an event nor the answer to a waiting call. An answer that comes
    /// after its call's timeout counts too.
    #[must_use]
    pub fn stray_count(&self) -> u64 {
        self.calls.stray_count()
    }

    /// Events dropped because [`EVENTS_MAX`] were waiting or nobody receives them.
    #[must_use]
    pub fn events_dropped_count(&self) -> u64 {
        self.events_dropped.load(Ordering::Relaxed)
    }
}

/// Where messages from the server go.
struct Inbox {
    calls: Arc<Calls>,
    events_tx: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
}

impl Inbox {
    fn put(&self, text: &str) {
        let Some(event) = self.calls.on_message(text) else { return };
        if self.events_tx.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Owns `socket` until it ends. Reads and writes side by side: were one to wait for the other, two
/// peers that both write could wait for each other for ever.
async fn run<S>(socket: WebSocketStream<S>, frames: mpsc::Receiver<Message>, inbox: Inbox)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sink, stream) = socket.split();
    let mut reading = pin!(read(stream, &inbox));
    let ending = tokio::select! {
        ending = &mut reading => ending,
        error = write(sink, frames) => {
            // The close frame that says why may have arrived before the write failed.
            let closing = tokio::time::timeout(CLOSING_TIMEOUT, reading);
            closing.await.unwrap_or_else(|_| Ending { code: None, reason: error.to_string() })
        }
    };
    inbox.calls.end(ending);
}

/// Reads messages until the connection ends.
async fn read<S>(mut stream: SplitStream<WebSocketStream<S>>, inbox: &Inbox) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => inbox.put(&text),
            Some(Ok(Message::Close(frame))) => {
                // Reading on sends our own close frame, and the server cuts then; or is cut.
                let closing = async { while let Some(Ok(_)) = stream.next().await {} };
                let _ = tokio::time::timeout(CLOSING_TIMEOUT, closing).await;
                return ending_of(frame);
            }
            // The library answers pings; KMS answers in text only.
            Some(Ok(
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_),
            )) => {}
            Some(Err(error)) => return Ending { code: None, reason: error.to_string() },
            None => return Ending { code: None, reason: "end of stream".to_owned() },
        }
    }
}

/// How a connection ended with the close frame `frame`, which may be empty.
fn ending_of(frame: Option<CloseFrame>) -> Ending {
    match frame {
        Some(frame) => Ending { code: Some(frame.code.into()), reason: frame.reason.to_string() },
        None => Ending { code: None, reason: "close frame without a code".to_owned() },
    }
}

/// Writes frames, as many at once as wait, until the socket fails. The reader ends it otherwise.
async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut frames: mpsc::Receiver<Message>,
) -> tungstenite::Error
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut batch = Vec::with_capacity(FRAMES_MAX);
    loop {
        if frames.recv_many(&mut batch, FRAMES_MAX).await == 0 {
            return tungstenite::Error::ConnectionClosed;
        }
        for frame in batch.drain(..) {
            if let Err(error) = sink.feed(frame).await {
                return error;
            }
        }
        if let Err(error) = sink.flush().await {
            return error;
        }
    }
}

/// Host and port of a `ws://` URL, for the resolver.
fn tcp_addr(url: &str) -> Result<String, ConnectError> {
    let bad = || ConnectError::Url(url.to_owned());
    let uri: hyper::Uri = url.parse().map_err(|_| bad())?;
    let host = uri.host().ok_or_else(bad)?;
    if uri.scheme_str() != Some("ws") {
        return Err(bad());
    }
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

fn handshake_error(error: tungstenite::Error) -> ConnectError {
    ConnectError::Handshake(Box::new(error))
}

#[cfg(test)]
mod tests;
