//! One connection: its socket, and nothing that decides.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::handshake;
use super::hub::{Hub, Joined};

/// Time for the handshake. Source: the handshake timer of WebSocket++.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the far side to finish a closing handshake that we began. Source: WebSocket++'s
/// default.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest message that is read, in bytes; a longer one ends the connection. Source: WebSocket++'s
/// default.
const MESSAGE_MAX: usize = 32_000_000;

const READ_BUFFER_LEN: usize = 8 * 1024;

/// Most bytes that one message to a client may have, frame included. KMS has no bound; a list of
/// 100,000 pipelines fits.
const WRITE_BUFFER_MAX: usize = 8 * 1024 * 1024;

/// Serves `socket` until either side ends it.
pub(super) async fn run(mut socket: TcpStream, hub: Arc<Hub>) {
    let stop = hub.stop.clone();
    let serving = async {
        if let Err(error) = socket.set_nodelay(!hub.uses_nagle) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake::shake(&mut socket)).await;
        let Ok(Ok(Some(accepted))) = shaken else {
            return;
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_LEN)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let stream =
            WebSocketStream::from_partially_read(socket, accepted.rest, Role::Server, Some(config));
        let stream = stream.await;
        if accepted.is_right_path {
            serve(stream, &hub).await;
        } else {
            close(stream, CloseCode::Protocol, "Invalid path").await;
        }
    };
    stop.run_until_cancelled(serving).await;
}

async fn serve(mut stream: WebSocketStream<TcpStream>, hub: &Hub) {
    let mut member = Member { hub, joined: hub.join() };
    let mut is_busy = false;
    loop {
        tokio::select! {
            // Answers first, so that what a request causes leaves before the next one is read.
            biased;
            text = member.joined.outbox.recv() => {
                let Some(text) = text else { return };
                if stream.send(Message::text(text)).await.is_err() {
                    return;
                }
                is_busy = is_busy && hub.is_busy(member.joined.id);
            }
            message = stream.next(), if !is_busy => match message {
                Some(Ok(Message::Text(text))) => {
                    hub.on_text(member.joined.id, &text);
                    is_busy = hub.is_busy(member.joined.id);
                }
                Some(Ok(Message::Binary(bytes))) => {
                    hub.on_text(member.joined.id, &String::from_utf8_lossy(&bytes));
                    is_busy = hub.is_busy(member.joined.id);
                }
                // Answered by the library, with the next read.
                Some(Ok(
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_),
                )) => {}
                Some(Err(error)) => return refuse(stream, &error).await,
                None => return,
            },
        }
    }
}

/// A place at the hub, given back when dropped: also when the task is cancelled.
struct Member<'a> {
    hub: &'a Hub,
    joined: Joined,
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.hub.leave(self.joined.id);
    }
}

/// Ends a connection that broke the rules of WebSocket, as WebSocket++ does.
async fn refuse(stream: WebSocketStream<TcpStream>, error: &Error) {
    match error {
        Error::Utf8(_) => close(stream, CloseCode::Invalid, "Invalid UTF8 encoding").await,
        Error::Protocol(_) => close(stream, CloseCode::Protocol, "").await,
        // Too long, or the socket is gone: it is dropped as it is.
        _ => {}
    }
}

async fn close(mut stream: WebSocketStream<TcpStream>, code: CloseCode, reason: &'static str) {
    let closing = async {
        let frame = CloseFrame { code, reason: reason.into() };
        if stream.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        tracing::debug!("the far side did not finish the closing handshake");
    }
}
