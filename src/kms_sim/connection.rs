//! One connection to the simulated server: one request at a time, events in between.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use super::handshake::{self, Rewound};
use super::{Registration, Server};

/// Why a connection ended other than by its client's wish.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// It was no WebSocket in time.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// The socket broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client broke the WebSocket protocol or vanished.
    #[error(transparent)]
    WebSocket(#[from] Box<tungstenite::Error>),
}

impl From<tungstenite::Error> for ConnectionError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

/// Serves one connection until it ends or the server cuts it.
///
/// # Errors
/// If it ended other than by a close frame or a cut of the server's.
pub(super) async fn run(stream: TcpStream, server: Arc<Server>) -> Result<(), ConnectionError> {
    let Some(mut opened) = handshake::accept(stream).await? else { return Ok(()) };
    if !opened.is_right_path {
        return close_wrong_path(&mut opened.socket).await;
    }
    let (registration, queue) = server.open();
    drop(server);
    let mut connection = Connection { socket: opened.socket, queue, registration, call: None };
    connection.run().await
}

async fn close_wrong_path(socket: &mut WebSocketStream<Rewound>) -> Result<(), ConnectionError> {
    let frame = CloseFrame { code: CloseCode::Protocol, reason: "Invalid path".into() };
    socket.close(Some(frame)).await?;
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}

struct Connection {
    socket: WebSocketStream<Rewound>,
    queue: mpsc::Receiver<String>,
    registration: Registration,
    /// The request whose answer waits; nothing is read until it has been given.
    call: Option<Call>,
}

struct Call {
    text: String,
    due: Pin<Box<Sleep>>,
}

impl Connection {
    async fn run(&mut self) -> Result<(), ConnectionError> {
        loop {
            tokio::select! {
                biased;
                text = self.queue.recv() => match text {
                    Some(text) => self.socket.send(Message::text(text)).await?,
                    None => return Ok(()),
                },
                () = due(&mut self.call) => self.answer(),
                message = self.socket.next(), if self.call.is_none() => match message {
                    Some(message) => self.take(message?),
                    None => return Ok(()),
                },
            }
        }
    }

    fn take(&mut self, message: Message) {
        let text = match message {
            Message::Text(text) => text.as_str().to_owned(),
            Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return,
        };
        let latency = self.registration.latency();
        if latency.is_zero() {
            self.registration.on_text(&text);
        } else {
            self.call = Some(Call { text, due: Box::pin(tokio::time::sleep(latency)) });
        }
    }

    fn answer(&mut self) {
        if let Some(call) = self.call.take() {
            self.registration.on_text(&call.text);
        }
    }
}

/// Waits until the call's answer is due; for ever if there is none.
async fn due(call: &mut Option<Call>) {
    match call {
        Some(call) => call.due.as_mut().await,
        None => std::future::pending().await,
    }
}
