//! An opaque echo route: our framing and nothing else, for the conformance suites of others.
//!
//! client -> relay -> echo server. The relay meets the client with the handshake and the socket
//! that clients of the edge meet, and dials the echo server as the edge dials a backend. Text stays
//! text, bytes stay bytes, no message is read. So whatever a suite sends goes through the framing
//! of both sides, most of which Kurento's own messages never reach.
//!
//! At most [`WAITING_MAX`] bytes and one message wait for a socket; beyond it the other is not
//! read.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::dial::dial_within;
use super::handshake::shake_hands;
use super::socket::Socket;
use super::stream::{self, Stream};
use crate::model::Time;
use crate::protocol::frame::{Message, Opcode};
use crate::runtime::{Tasks, random};
use crate::settings::BackendUrl;

/// Longest message, in bytes: twice the longest of the Autobahn cases. A longer one closes with
/// 1009.
const MESSAGE_MAX: usize = 32 * 1024 * 1024;

/// Bytes that may wait for one socket before the other is no longer read.
const WAITING_MAX: usize = 256 * 1024;

/// Connections at once, on either listener; further ones wait in the system's backlog.
const CONNECTIONS_MAX: usize = 64;

/// Time for a handshake, on either side.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the other end may take to hang up after a close frame.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The relay and the echo server behind it, bound and not yet serving.
pub struct EchoRoute {
    relay: TcpListener,
    echo: TcpListener,
}

impl EchoRoute {
    /// Binds the relay to `addr`, and the echo server to a free port of loopback.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let relay = TcpListener::bind(addr).await?;
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self { relay, echo })
    }

    /// Where clients connect, with the port that was really bound.
    ///
    /// # Errors
    /// What the system says.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.relay.local_addr()
    }

    /// Serves until `tasks` are told to stop, or until dropped. Each connection is one of `tasks`.
    ///
    /// # Errors
    /// The address of the echo server cannot be read.
    pub async fn run(self, tasks: &Tasks) -> io::Result<()> {
        let addr = self.echo.local_addr()?;
        let url =
            BackendUrl { host: addr.ip().to_string(), port: addr.port(), path: "/".to_owned() };
        let relays = accept(self.relay, tasks, move |stream| relay(stream, url.clone()));
        tokio::join!(relays, accept(self.echo, tasks, echo));
        Ok(())
    }
}

/// Connects to `url` as the edge connects to a backend, and sends every message back until the
/// other end closes.
///
/// # Errors
/// No WebSocket came about.
pub async fn dial_and_echo(url: &BackendUrl) -> io::Result<()> {
    echo_all(dial(url).await?).await;
    Ok(())
}

async fn dial(url: &BackendUrl) -> io::Result<Socket> {
    let masks = random::seed();
    dial_within(url, MESSAGE_MAX, HANDSHAKE_TIMEOUT, masks).await.map_err(io::Error::other)
}

/// Has `serve` work on every connection until `tasks` are told to stop.
async fn accept<S: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    tasks: &Tasks,
    serve: impl Fn(TcpStream) -> S,
) {
    let stop = tasks.stop_token();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(permit) = stop.run_until_cancelled(permits.clone().acquire_owned()).await {
        let permit = permit.expect("nobody closes the semaphore");
        match stop.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(Ok((stream, _))) => {
                let (serving, stop) = (serve(stream), stop.clone());
                tasks.spawn("echo", async move {
                    let _permit = permit;
                    stop.run_until_cancelled(serving).await;
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The server's end of a WebSocket on `stream`; `None` if there is to be none.
async fn accept_socket(stream: TcpStream) -> Option<Socket> {
    stream::tune(&stream).ok()?;
    let shaking = shake_hands(Stream::Plain(stream), "/");
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await.ok()?.ok()?;
    Some(Socket::server(accepted.stream, MESSAGE_MAX, &accepted.first))
}

async fn echo(stream: TcpStream) {
    if let Some(socket) = accept_socket(stream).await {
        echo_all(socket).await;
    }
}

async fn echo_all(mut socket: Socket) {
    let end = poll_fn(|cx| poll_echo(&mut socket, cx)).await;
    if let End::Close(code) = end {
        socket.close(code, "", LINGER_MAX).await;
    }
}

async fn relay(stream: TcpStream, url: BackendUrl) {
    let Some(client) = accept_socket(stream).await else { return };
    match dial(&url).await {
        Ok(backend) => Pair { client, backend }.run().await,
        Err(error) => {
            tracing::warn!(%error, "the echo server could not be dialled");
            client.close(Some(1011), "no echo server", LINGER_MAX).await;
        }
    }
}

/// How one end of a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It closed, or broke the protocol: a close frame with this code is due.
    Close(Option<u16>),
    /// It is gone without a word.
    Gone,
}

/// Two sockets, each of which gets what the other says.
struct Pair {
    client: Socket,
    backend: Socket,
}

impl Pair {
    /// Passes messages on until both ends have closed.
    async fn run(mut self) {
        let (mut client_end, mut backend_end) = (None, None);
        poll_fn(|cx| {
            let forth = poll_pass(&mut self.client, &mut self.backend, cx);
            let back = poll_pass(&mut self.backend, &mut self.client, cx);
            if let Poll::Ready(end) = forth {
                client_end = Some(end);
            }
            if let Poll::Ready(end) = back {
                backend_end = Some(end);
            }
            if client_end.is_some() || backend_end.is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        match (client_end, backend_end) {
            (Some(End::Gone), _) | (None, Some(End::Gone) | None) => {}
            (Some(End::Close(code)), None) => self.close_behind(code).await,
            (Some(End::Close(code)), Some(_)) | (None, Some(End::Close(code))) => {
                tokio::join!(
                    self.client.close(code, "", LINGER_MAX),
                    self.backend.close(code, "", LINGER_MAX)
                );
            }
        }
    }

    /// The client has closed: so is the backend, and what it said before it closes too still goes
    /// to the client.
    async fn close_behind(mut self, code: Option<u16>) {
        self.backend.writer.close(code, "");
        let rest = poll_fn(|cx| {
            let _ = self.backend.poll_flush(cx, Time::ZERO);
            poll_pass(&mut self.backend, &mut self.client, cx)
        });
        // A backend that does not close is cut.
        let _ = tokio::time::timeout(LINGER_MAX, rest).await;
        self.client.close(code, "", LINGER_MAX).await;
    }
}

/// Sends what comes on `socket` back on it until it ends.
fn poll_echo(socket: &mut Socket, cx: &mut Context<'_>) -> Poll<End> {
    loop {
        let is_flushed = socket.poll_flush(cx, Time::ZERO);
        if let Poll::Ready(Err(_)) = is_flushed {
            return Poll::Ready(End::Gone);
        }
        if socket.writer.len() >= WAITING_MAX {
            return Poll::Pending;
        }
        let back = |socket: &mut Socket, opcode, payload: &[u8]| {
            socket.writer.send(opcode, payload, Time::ZERO);
        };
        if let Some(end) = ready!(poll_take(socket, cx, back)) {
            return Poll::Ready(end);
        }
    }
}

/// Sends what comes on `from` on to `to`, and pongs back, until `from` ends.
fn poll_pass(from: &mut Socket, to: &mut Socket, cx: &mut Context<'_>) -> Poll<End> {
    loop {
        let is_broken = [from.poll_flush(cx, Time::ZERO), to.poll_flush(cx, Time::ZERO)]
            .iter()
            .any(|flushed| matches!(flushed, Poll::Ready(Err(_))));
        if is_broken {
            return Poll::Ready(End::Gone);
        }
        if to.writer.len() >= WAITING_MAX || from.writer.len() >= WAITING_MAX {
            return Poll::Pending;
        }
        let on = |_: &mut Socket, opcode, payload: &[u8]| {
            to.writer.send(opcode, payload, Time::ZERO);
        };
        if let Some(end) = ready!(poll_take(from, cx, on)) {
            return Poll::Ready(end);
        }
    }
}

/// Takes the next message of `socket`, waiting for its bytes: a data message goes to `pass`, a ping
/// is answered. `None` if there may be more, else how the socket ends.
fn poll_take(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    mut pass: impl FnMut(&mut Socket, Opcode, &[u8]),
) -> Poll<Option<End>> {
    while socket.has_something(cx) {
        let mut decoder = socket.lend_decoder();
        let taken = match decoder.next() {
            Ok(None) => None,
            Ok(Some(message)) => Some(on_message(socket, message, &mut pass)),
            Err(error) => Some(Some(End::Close(Some(error.close_code())))),
        };
        socket.return_decoder(decoder);
        if let Some(taken) = taken {
            return Poll::Ready(taken);
        }
        if let Ok(0) | Err(_) = ready!(socket.poll_read()) {
            return Poll::Ready(Some(End::Gone));
        }
    }
    Poll::Pending
}

fn on_message(
    socket: &mut Socket,
    message: Message<'_>,
    pass: &mut impl FnMut(&mut Socket, Opcode, &[u8]),
) -> Option<End> {
    match message {
        Message::Text(text) => pass(socket, Opcode::Text, text.as_bytes()),
        Message::Binary(bytes) => pass(socket, Opcode::Binary, bytes),
        Message::Ping(payload) => socket.writer.send(Opcode::Pong, payload, Time::ZERO),
        Message::Pong(_) => {}
        Message::Close(code, _) => return Some(End::Close(code)),
        Message::TooLong(_) => return Some(End::Close(Some(1009))),
    }
    None
}
