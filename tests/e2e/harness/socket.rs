//! A WebSocket without the client's comforts, for tests of frames.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
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

/// Bytes that the system is asked to keep for each direction of a narrow socket.
pub(crate) const NARROW_BYTES: u32 = 64 * 1024;

/// A TCP socket for which the system keeps little, so that whoever does not read is noticed early.
pub(crate) fn narrow_tcp() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(NARROW_BYTES).unwrap();
    socket.set_send_buffer_size(NARROW_BYTES).unwrap();
    socket
}

/// Opens a WebSocket on a narrow TCP socket; `addr` is host and port.
pub(crate) async fn narrow_socket(url: &str, addr: &str) -> RawSocket {
    let connecting = async {
        let stream = narrow_tcp().connect(addr.parse().unwrap()).await.unwrap();
        tokio_tungstenite::client_async(url, MaybeTlsStream::Plain(stream)).await.unwrap().0
    };
    within_bound("a WebSocket", connecting).await
}

/// Sends a text frame and awaits the next message, which must be JSON in text.
pub(crate) async fn send_text(socket: &mut RawSocket, text: &str) -> Value {
    socket.send(Message::text(text)).await.unwrap();
    let message = within_bound("an answer", socket.next()).await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}
