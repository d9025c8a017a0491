//! Body of the fuzz target `handshake`: any bytes where a client's HTTP request is expected.
//!
//! Whatever comes, the handshake ends when the bytes do, the client gets one response at most, its
//! status is one of those documented and fits the reason that is counted, and 101 is said only to
//! who asks for a WebSocket as RFC 6455 wants it.

use std::pin::pin;

use pinfold::proxy::{Accepted, shake_hands};
use pinfold::telemetry::HandshakeRejection;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The listener's path.
const PATH: &str = "/kurento";

/// Bytes that fit between the two ends; longer inputs are not tried.
const PIPE_LEN: usize = 1 << 16;

/// Sends `data` and looks at what comes back.
///
/// # Panics
/// Where the handshake breaks its promises.
pub(crate) fn run(data: &[u8]) {
    if data.len() > PIPE_LEN {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let (outcome, response) = runtime.expect("a runtime without IO").block_on(exchange(data));
    let response = String::from_utf8(response).expect("responses are ASCII");
    let status = status(&response);
    let request = String::from_utf8_lossy(data);
    match outcome {
        Ok(accepted) => {
            assert_eq!(status, Some(101), "{response}");
            check_upgrade(&request, &response);
            check_accepted(data, &accepted);
        }
        Err(reason) => {
            let expected: &[Option<u16>] = match reason {
                HandshakeRejection::Path => &[Some(404)],
                HandshakeRejection::NotUpgrade => &[Some(426)],
                HandshakeRejection::Meeting => &[Some(400)],
                HandshakeRejection::Malformed => &[Some(400), Some(431), None],
                HandshakeRejection::Io => &[None],
                HandshakeRejection::Tls
                | HandshakeRejection::Proxy
                | HandshakeRejection::Timeout => &[],
            };
            assert!(expected.contains(&status), "{reason:?}, but the client got {response:?}");
        }
    }
}

type Outcome = Result<Accepted<DuplexStream>, HandshakeRejection>;

/// How the handshake ends for a client that sends `data` and no more, and what it gets.
async fn exchange(data: &[u8]) -> (Outcome, Vec<u8>) {
    let (mut client, server) = duplex(PIPE_LEN);
    client.write_all(data).await.expect("it fits");
    let mut shaking = pin!(shake_hands(server, PATH));
    // Who hangs up before the response gets none, so the end is not shown before it is asked for.
    let early = tokio::select! {
        biased;
        outcome = &mut shaking => Some(outcome),
        () = tokio::task::yield_now() => None,
    };
    let mut outcome = match early {
        Some(outcome) => outcome,
        None => {
            client.shutdown().await.expect("a pipe in memory");
            shaking.await
        }
    };
    if let Ok(accepted) = &mut outcome {
        accepted.stream.shutdown().await.expect("the client is there");
    }
    let mut response = Vec::new();
    client.read_to_end(&mut response).await.expect("a pipe in memory");
    (outcome, response)
}

/// The status of the one response there is.
fn status(response: &str) -> Option<u16> {
    let mut lines = response.lines().filter_map(|line| line.strip_prefix("HTTP/1."));
    let first = lines.next()?;
    assert_eq!(lines.next(), None, "two responses: {response}");
    Some(first[2..5].parse().expect("three digits"))
}

/// The values of the headers `name` in a request or response.
fn headers<'a>(message: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let head = message.lines().skip_while(|line| line.trim().is_empty()).skip(1);
    let fields = head.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    fields.filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Source: RFC 6455, section 4.2.1.
fn check_upgrade(request: &str, response: &str) {
    let first = request.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    assert!(first.starts_with("GET ") && first.ends_with(" HTTP/1.1"), "101 to {first:?}");
    let has = |name: &str, token: &str| {
        headers(request, name)
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    assert!(has("upgrade", "websocket") && has("connection", "upgrade"), "101 to {request}");
    assert_eq!(headers(request, "sec-websocket-version").next(), Some("13"));
    assert!(headers(request, "content-length").all(|len| len == "0"), "101 with a body");
    assert_eq!(headers(request, "transfer-encoding").next(), None, "101 with a body");
    let key = headers(request, "sec-websocket-key").next().expect("101 without a key");
    let accept = headers(response, "sec-websocket-accept").next();
    assert_eq!(accept, Some(derive_accept_key(key.as_bytes()).as_str()));
}

fn check_accepted(data: &[u8], accepted: &Accepted<DuplexStream>) {
    let head = data.strip_suffix(accepted.first.as_ref()).expect("what came last is kept");
    assert!(head.ends_with(b"\n"), "part of what follows the head is missing");
    if let Some(meeting) = &accepted.hints.meeting {
        let name = meeting.as_str();
        assert!(!name.is_empty() && name.len() <= 256 && name.trim() == name, "{name:?}");
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    assert_ne!(accepted.hints.participants, Some(0));
}
