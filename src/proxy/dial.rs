//! Opens a link: TCP, then the WebSocket handshake, against a deadline.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::socket::Socket;
use super::stream::{self, Stream};
use crate::settings::{BackendUrl, Limits};

/// Pauses before a link whose handshake was cut is tried again.
const CUT_PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(150)];

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
    /// The connection ended before the handshake did.
    #[error("handshake cut: {0}")]
    Cut(#[source] hyper::Error),
    /// Something answers that does not speak WebSocket there.
    #[error("handshake failed: {0}")]
    Handshake(String),
}

/// Opens a link to the backend at `url`. `masks` seeds the masks of its frames.
///
/// A connection that ends within the handshake is tried again, twice: a process that was dying as
/// we called is gone soon, and refuses.
///
/// # Errors
/// What went wrong, at the latest after `limits.dial_timeout`.
pub(super) async fn dial(url: BackendUrl, limits: Limits, masks: u64) -> Result<Socket, DialError> {
    dial_within(&url, limits.backend_message_max_bytes, limits.dial_timeout, masks).await
}

/// The same for messages of at most `max` bytes and a handshake within `timeout`.
pub(super) async fn dial_within(
    url: &BackendUrl,
    max: usize,
    timeout: Duration,
    masks: u64,
) -> Result<Socket, DialError> {
    let shake = async {
        let mut pauses = CUT_PAUSES.into_iter();
        loop {
            let shaken = shake_hands(url, max, masks).await;
            match (&shaken, pauses.next()) {
                (Err(DialError::Cut(_) | DialError::Io(_)), Some(pause)) => {
                    tokio::time::sleep(pause).await;
                }
                _ => return shaken,
            }
        }
    };
    tokio::time::timeout(timeout, shake).await.unwrap_or(Err(DialError::Timeout))
}

async fn shake_hands(url: &BackendUrl, max: usize, masks: u64) -> Result<Socket, DialError> {
    let connect = TcpStream::connect((url.host.as_str(), url.port));
    let stream = connect.await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused,
        _ => DialError::Io(error),
    })?;
    stream::tune(&stream).map_err(DialError::Io)?;
    let (mut sender, mut connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(ended)?;
    let key = generate_key();
    let driven = pin!(poll_fn(|cx| connection.poll_without_shutdown(cx)));
    let answered = pin!(sender.send_request(request(url, &key)));
    // Either may be first: the connection is through as soon as it has read the response's head.
    let response = match select(answered, driven).await {
        Either::Left((response, driven)) => {
            let response = check(response.map_err(ended)?)?;
            driven.await.map_err(ended)?;
            response
        }
        Either::Right((driven, answered)) => {
            driven.map_err(ended)?;
            check(answered.await.map_err(ended)?)?
        }
    };
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
    {
        return Err(DialError::Handshake("wrong Sec-WebSocket-Accept".into()));
    }
    let parts = connection.into_parts();
    Ok(Socket::client(Stream::Plain(parts.io.into_inner()), max, &parts.read_buf, masks))
}

fn ended(error: hyper::Error) -> DialError {
    if error.is_parse() { DialError::Handshake(error.to_string()) } else { DialError::Cut(error) }
}

fn check(response: Response<Incoming>) -> Result<Response<Incoming>, DialError> {
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => Ok(response),
        status => Err(DialError::Handshake(format!("HTTP {status}"))),
    }
}

fn request(url: &BackendUrl, key: &str) -> Request<Empty<Bytes>> {
    Request::get(&url.path)
        .header(header::HOST, url.authority())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key)
        .body(Empty::new())
        .expect("settings check host and path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_ipv6_backend_stands_in_brackets() {
        for (url, host) in [
            ("ws://[2001:db8::1]:8888/kurento", "[2001:db8::1]:8888"),
            ("ws://[::1]/kurento", "[::1]:80"),
            ("ws://10.0.0.5:8888/kurento", "10.0.0.5:8888"),
            ("ws://kms.example:8888/kurento", "kms.example:8888"),
        ] {
            let request = request(&BackendUrl::parse(url).unwrap(), "key");
            assert_eq!(request.headers()[header::HOST], host);
        }
    }
}
