//! Tells a registrar where the server can be reached, again and again, as a KMS does.
//!
//! What is said and when to try again is `sim::kms::registrar`.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::sim::kms::registrar::{CLOSE, OwnAddress, Retry};

use super::door::Sight;

/// Time for an attempt, from the TCP connection to the end of the handshake. Source: the handshake
/// timer of WebSocket++.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where a server registers, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarSettings {
    /// The registrar: `ws://HOST:PORT/PATH`.
    pub url: String,
    /// What the server says of itself.
    pub own: OwnAddress,
}

/// Keeps a connection to the registrar until the server ends, which closes it with 1001.
pub(super) async fn run(settings: RegistrarSettings, mut sight: Sight) {
    let mut retry = Retry::default();
    let mut ending = sight.clone();
    loop {
        let dialled = tokio::select! {
            () = ending.until(|doors| doors.is_ending) => return,
            dialled = sight.while_answering(tokio::time::timeout(DIAL_TIMEOUT, dial(&settings))) => dialled,
        };
        match dialled {
            Ok(Ok(stream)) => {
                retry.on_open();
                if stay(stream, &mut sight).await {
                    return;
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "the registrar cannot be reached"),
            Err(_) => tracing::debug!("the registrar does not answer"),
        }
        tokio::time::sleep(retry.wait()).await;
    }
}

/// Opens a connection and registers.
async fn dial(settings: &RegistrarSettings) -> Result<Stream, Error> {
    let mut request = settings.url.as_str().into_client_request()?;
    request.headers_mut().insert("user-agent", HeaderValue::from_static("WebSocket++/0.8.2"));
    let (mut stream, _) = connect_async(request).await?;
    stream.send(Message::text(settings.own.registration())).await?;
    Ok(stream)
}

/// Ignores what the registrar says until it is gone or the server ends; whether it was
/// the server.
async fn stay(mut stream: Stream, sight: &mut Sight) -> bool {
    loop {
        let doors = sight.now();
        if doors.is_ending {
            let (code, reason) = CLOSE;
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            if let Err(error) = stream.close(Some(frame)).await {
                tracing::debug!(%error, "the registrar was not told of the end");
            }
            return true;
        }
        tokio::select! {
            biased;
            () = sight.changed() => {}
            message = stream.next(), if doors.answers => {
                if !matches!(message, Some(Ok(_))) {
                    return false;
                }
            }
        }
    }
}
