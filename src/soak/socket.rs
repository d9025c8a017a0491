//! One WebSocket of a client: texts out, texts in.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Time that connecting may take; then it is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the edge. Dropping it cuts it without a close frame.
#[derive(Debug)]
pub(super) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Connects; `None` if that fails or takes too long.
    pub(super) async fn open(edge: SocketAddr) -> Option<Self> {
        let connecting = async {
            let stream = TcpStream::connect(edge).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let url = format!("ws://{edge}/kurento");
            let (socket, _response) = tokio_tungstenite::client_async(url, stream).await.ok()?;
            Some(Self(socket))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.ok().flatten()
    }

    /// Writes `text`; `None` if the connection has ended.
    pub(super) async fn send(&mut self, text: &str) -> Option<()> {
        self.0.send(Message::text(text)).await.ok()
    }

    /// The next text; `None` if the connection has ended. May be given up at any time.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(
                    Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_),
                ) => {}
            }
        }
    }

    /// Says goodbye, without waiting for the answer for long.
    pub(super) async fn close(mut self) {
        // However it goes, dropping the rest ends it.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.close(None)).await;
    }
}
