//! The opening handshake as KMS does it.

use std::io::{self, Cursor};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Chain, Join};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::connection::ConnectionError;

/// The largest message a client may send, in bytes, as in KMS.
const MESSAGE_MAX_BYTES: usize = 32_000_000;
/// The largest request head, in bytes, as in KMS.
const HEAD_MAX_BYTES: usize = 16_000;
/// The default of 128 KiB for each connection would be most of what an idle one costs.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// A client that does not read makes the writer wait when this much is buffered.
const WRITE_BUFFER_MAX_BYTES: usize = 64 * 1024 * 1024;
/// A connection that is not a WebSocket by then is closed, as in KMS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A socket whose first bytes have already been read.
pub(super) type Rewound = Join<Chain<Cursor<Vec<u8>>, OwnedReadHalf>, OwnedWriteHalf>;

/// A WebSocket that was opened.
pub(super) struct Opened {
    pub(super) socket: WebSocketStream<Rewound>,
    /// Whether the path was `/kurento`. KMS opens on any path and closes after that.
    pub(super) is_right_path: bool,
}

/// Opens a WebSocket, or refuses plain HTTP: none.
///
/// # Errors
/// If the connection breaks, takes over 5 s or asks for a WebSocket wrongly.
pub(super) async fn accept(stream: TcpStream) -> Result<Option<Opened>, ConnectionError> {
    stream.set_nodelay(true)?;
    let opening = tokio::time::timeout(HANDSHAKE_TIMEOUT, open(stream));
    opening.await.map_err(|_| ConnectionError::HandshakeTimeout)?
}

#[expect(clippy::result_large_err, reason = "the callback's type is the WebSocket library's")]
async fn open(stream: TcpStream) -> Result<Option<Opened>, ConnectionError> {
    let (mut reader, mut writer) = stream.into_split();
    let head = read_head(&mut reader).await?;
    if let Some(refusal) = refusal(&head) {
        writer.write_all(refusal.as_bytes()).await?;
        writer.shutdown().await?;
        return Ok(None);
    }
    let mut is_right_path = false;
    let rewound = tokio::io::join(Cursor::new(head).chain(reader), writer);
    let callback = |request: &Request, mut response: Response| {
        is_right_path = request.uri().path() == "/kurento";
        let server = HeaderValue::from_static("WebSocket++/0.8.2");
        response.headers_mut().insert("Server", server);
        Ok(response)
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_MAX_BYTES)
        .max_message_size(Some(MESSAGE_MAX_BYTES))
        .max_frame_size(Some(MESSAGE_MAX_BYTES));
    let socket = accept_hdr_async_with_config(rewound, callback, Some(config)).await?;
    Ok(Some(Opened { socket, is_right_path }))
}

/// Reads until the empty line after the head, or a little past it.
async fn read_head(reader: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    while !ends_head(&head) && head.len() <= HEAD_MAX_BYTES {
        if reader.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn ends_head(head: &[u8]) -> bool {
    head.windows(4).any(|four| four == b"\r\n\r\n")
}

/// What is answered to a head that does not ask for a WebSocket.
fn refusal(head: &[u8]) -> Option<&'static str> {
    if !ends_head(head) {
        return Some("HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n");
    }
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut lines = head.lines();
    if !lines.next().is_some_and(|line| line.ends_with(" http/1.1")) {
        return Some("HTTP/1.1 400 \r\nConnection: close\r\n\r\n");
    }
    let asks = lines.any(|line| line.starts_with("upgrade:") && line.contains("websocket"));
    let refusal = "HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\n\
                   Server: WebSocket++/0.8.2\r\n\r\n";
    (!asks).then_some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_for_a_websocket_is_let_in() {
        let status = |head: &str| refusal(head.as_bytes()).map(|text| text[9..12].to_owned());
        assert_eq!(status("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), None);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_deref(), Some("426"));
        assert_eq!(status("rubbish\r\n\r\n").as_deref(), Some("400"));
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a").as_deref(), Some("431"));
    }
}
