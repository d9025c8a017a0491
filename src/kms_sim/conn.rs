//! One connection: its socket, and nothing that decides.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::door::Sight;
use super::handshake;
use super::hub::Member;

/// Time for the handshake. Source: the handshake timer of WebSocket++.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the far side to close after we have. Source: WebSocket++'s default.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest message that is read, in bytes; a longer one ends the connection. Source: WebSocket++'s
/// default.
const MESSAGE_MAX: usize = 32_000_000;

const READ_BUFFER_LEN: usize = 8 * 1024;

/// Most bytes that one message to a client may have, frame included; a longer one ends the
/// connection. KMS has no bound; a list of 100,000 pipelines fits.
const WRITE_BUFFER_MAX: usize = 8 * 1024 * 1024;

/// A close frame with code 1000 and no reason, which answers one without a code.
const CLOSE_NORMAL: [u8; 4] = [0x88, 2, 0x03, 0xe8];

/// Serves `socket` until either side ends it.
pub(super) async fn run(socket: TcpStream, member: Member) {
    let cut = member.cut.clone();
    cut.run_until_cancelled(talk(socket, member)).await;
}

async fn talk(mut socket: TcpStream, member: Member) {
    if let Err(error) = socket.set_nodelay(!member.hub.uses_nagle()) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let mut sight = member.hub.sight();
    let refuses = || member.hub.refuses_handshakes();
    let shaking = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake::shake(&mut socket, refuses));
    let Ok(Ok(Some(accepted))) = sight.while_answering(shaking).await else {
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
        serve(stream, member, sight).await;
    } else {
        close(stream, CloseCode::Protocol, "Invalid path").await;
    }
}

async fn serve(mut stream: WebSocketStream<TcpStream>, mut member: Member, mut sight: Sight) {
    let mut is_busy = false;
    let mut hanging = member.hub.hanging();
    loop {
        let hangs = *hanging.borrow_and_update();
        tokio::select! {
            // Answers first, so that what a request causes leaves before the next one is read.
            biased;
            text = member.outbox.recv() => {
                let Some(text) = text else { return };
                if stream.send(Message::text(text)).await.is_err() {
                    return;
                }
                is_busy = is_busy && member.hub.is_busy(member.id);
            }
            _ = hanging.changed() => {}
            message = stream.next(), if !hangs && !is_busy => match message {
                Some(Ok(Message::Text(text))) => is_busy = member.hub.on_text(member.id, &text),
                Some(Ok(Message::Binary(bytes))) => {
                    is_busy = member.hub.on_text(member.id, &String::from_utf8_lossy(&bytes));
                }
                // Answered by the library with the next read, which is not before a thread is free.
                Some(Ok(Message::Ping(_) | Message::Close(Some(_)))) => {
                    sight.until(|doors| doors.answers).await;
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(None))) => {
                    // The library's own answer, not written yet, would be as empty.
                    return finish(stream.into_inner(), &CLOSE_NORMAL).await;
                }
                Some(Err(error)) => return refuse(stream, &error).await,
                None => return,
            },
        }
    }
}

/// Ends a connection that broke the rules of WebSocket, as WebSocket++ does.
async fn refuse(stream: WebSocketStream<TcpStream>, error: &Error) {
    match error {
        Error::Utf8(_) => close(stream, CloseCode::Invalid, "Invalid UTF8 encoding").await,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {}
        Error::Protocol(broken) => close(stream, CloseCode::Protocol, reason(broken)).await,
        // Too long, or the socket is gone: it is dropped as it is.
        _ => {}
    }
}

/// What WebSocket++ says of a broken rule, for those that were seen.
const fn reason(broken: &ProtocolError) -> &'static str {
    match broken {
        ProtocolError::UnmaskedFrameFromClient => "Clients may not send unmasked frames",
        ProtocolError::ControlFrameTooBig => {
            "Control messages are limited to fewer than 125 characters"
        }
        ProtocolError::InvalidOpcode(_)
        | ProtocolError::UnknownControlFrameType(_)
        | ProtocolError::UnknownDataFrameType(_) => "invalid opcode",
        _ => "",
    }
}

async fn close(mut stream: WebSocketStream<TcpStream>, code: CloseCode, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    if stream.close(Some(frame)).await.is_ok() {
        finish(stream.into_inner(), &[]).await;
    }
}

/// Writes `last`, ends our direction at once as WebSocket++ does, and takes what still comes, so
/// that the far side reads all before the connection is gone.
async fn finish(mut socket: TcpStream, last: &[u8]) {
    let finishing = async {
        socket.write_all(last).await?;
        socket.shutdown().await?;
        let mut rest = [0; 1024];
        while socket.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    match tokio::time::timeout(CLOSE_TIMEOUT, finishing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the connection broke while it was closed"),
        Err(_) => tracing::debug!("the far side did not close"),
    }
}
