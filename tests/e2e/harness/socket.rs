//! A WebSocket without the client's comforts, for tests of frames.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::within_bound;

/// An open WebSocket.
pub(crate) type RawSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket.
pub(crate) async fn raw_socket(url: &str) -> RawSocket {
    let connecting = tokio_tungstenite::connect_async(url);
    within_bound("a WebSocket", connecting).await.unwrap().0
}

/// Sends a text frame and awaits the next message, which must be JSON in text.
pub(crate) async fn send_text(socket: &mut RawSocket, text: &str) -> Value {
    socket.send(Message::text(text)).await.unwrap();
    let message = within_bound("an answer", socket.next()).await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}
