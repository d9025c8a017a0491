//! Opens a link: TCP, then the WebSocket handshake, against a deadline.

use std::future::poll_fn;
use std::io;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::StatusCode;
use hyper::client::conn::http1;
use hyper::header;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::socket::Socket;
use super::stream::{self, Stream};
use crate::settings::{BackendUrl, Limits};

/// Why a link could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no handshake in time")]
    Timeout,
    /// The network says no.
    #[error("connection failed: {0}")]
    Io(#[source] io::Error),
    /// Something answers that does not speak WebSocket there.
    #[error("handshake failed: {0}")]
    Handshake(String),
}

/// Opens a link to the backend at `url`. `masks` seeds the masks of its frames.
///
/// # Errors
/// What went wrong, at the latest after `limits.dial_timeout`.
pub(super) async fn dial(url: BackendUrl, limits: Limits, masks: u64) -> Result<Socket, DialError> {
    let shake = shake_hands(&url, limits.backend_message_max_bytes, masks);
    tokio::time::timeout(limits.dial_timeout, shake).await.unwrap_or(Err(DialError::Timeout))
}

async fn shake_hands(url: &BackendUrl, max: usize, masks: u64) -> Result<Socket, DialError> {
    let connect = TcpStream::connect((url.host.as_str(), url.port));
    let stream = connect.await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused,
        _ => DialError::Io(error),
    })?;
    stream::tune(&stream).map_err(DialError::Io)?;
    let broken = |error: hyper::Error| DialError::Handshake(error.to_string());
    let (mut sender, mut connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let key = generate_key();
    let response = tokio::select! {
        response = sender.send_request(request(url, &key)) => response.map_err(broken)?,
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
            return Err(ended.err().map_or(DialError::Handshake("closed".into()), broken));
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(DialError::Handshake(format!("HTTP {}", response.status())));
    }
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
    {
        return Err(DialError::Handshake("wrong Sec-WebSocket-Accept".into()));
    }
    poll_fn(|cx| connection.poll_without_shutdown(cx)).await.map_err(broken)?;
    let parts = connection.into_parts();
    Ok(Socket::client(Stream::Plain(parts.io.into_inner()), max, &parts.read_buf, masks))
}

fn request(url: &BackendUrl, key: &str) -> hyper::Request<Empty<Bytes>> {
    hyper::Request::get(&url.path)
        .header(header::HOST, format!("{}:{}", url.host, url.port))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key)
        .body(Empty::new())
        .expect("settings check host and path")
}
