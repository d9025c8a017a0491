//! The WebSocket handshake with a client: HTTP in, a stream and what its URL says out.
//!
//! Unlike Kurento, which accepts any path and then closes, a wrong one gets HTTP 404, so that a
//! health check which stops at HTTP tells the truth.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::protocol::request::{Hints, parse_meeting, parse_participants, require};
use crate::telemetry::HandshakeRejection;

/// Bytes of a request's head. A longer one gets HTTP 431.
const HEAD_MAX: usize = 16 * 1024;

/// A connection that has become a WebSocket.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The connection.
    pub stream: S,
    /// Bytes that came behind the handshake.
    pub first: Bytes,
    /// What the URL says of the meeting.
    pub hints: Hints,
    /// The headers of its request.
    pub headers: HeaderMap,
}

/// Serves one HTTP request on `stream`, for a listener with this `path`.
///
/// # Errors
/// It did not become a WebSocket, which its sender has then been told: with 404 for another path, 400
/// for a bad hint in the URL or a request that is malformed, 426 where no WebSocket of version 13 is
/// asked for, 431 for a head over 16 KiB. Who sends no whole request is told nothing.
pub async fn shake_hands<S>(stream: S, path: &str) -> Result<Accepted<S>, HandshakeRejection>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let agreed = Mutex::new(Err(HandshakeRejection::Io));
    let service = service_fn(|request: Request<Incoming>| {
        let (response, hints) = answer(&request, path);
        let headers = request.into_parts().0.headers;
        *agreed.lock().expect("nothing panics while holding it") =
            hints.map(|hints| (hints, headers));
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let parts = connection.without_shutdown().await.map_err(|_| HandshakeRejection::Malformed)?;
    let (stream, first) = (parts.io.into_inner(), parts.read_buf);
    let (hints, headers) = agreed.into_inner().expect("nothing panics while holding it")?;
    Ok(Accepted { stream, first, hints, headers })
}

/// The response to `request`, and the hints of its URL if it becomes a WebSocket or the reason why
/// not.
fn answer<B>(
    request: &Request<B>,
    path: &str,
) -> (Response<Full<Bytes>>, Result<Hints, HandshakeRejection>) {
    match read_url(request.uri(), path) {
        None => {
            let text = format!("Not found. Try {path}\n");
            (say(StatusCode::NOT_FOUND, text), Err(HandshakeRejection::Path))
        }
        Some(Err(why)) => {
            (say(StatusCode::BAD_REQUEST, format!("{why}\n")), Err(HandshakeRejection::Meeting))
        }
        Some(Ok(hints)) => match check(request) {
            Ok(key) => (accept(key), Ok(hints)),
            Err(Unfit { status, why, reason }) => (say(status, why.to_owned()), Err(reason)),
        },
    }
}

/// What the URL says, if its path is the listener's: `path`, or `path/MEETING`. The query may hold
/// `meeting`, `participants` and `require.KEY`. Percent-encoding is undone once.
fn read_url(uri: &Uri, path: &str) -> Option<Result<Hints, String>> {
    let rest = uri.path().strip_prefix(path)?;
    let mut hints = Hints::default();
    let segment = match rest.strip_prefix('/') {
        Some(segment) if !segment.is_empty() && !segment.contains('/') => Some(segment),
        None if rest.is_empty() => None,
        _ => return None,
    };
    Some(read_hints(segment, uri.query().unwrap_or_default(), &mut hints).map(|()| hints))
}

fn read_hints(segment: Option<&str>, query: &str, hints: &mut Hints) -> Result<(), String> {
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "meeting" => hints.meeting = Some(parse_meeting(&decode(&value.replace('+', " "))?)?),
            "participants" => hints.participants = Some(parse_participants(&decode(value)?)?),
            _ => {
                if let Some(label) = name.strip_prefix("require.") {
                    let value = value.replace('+', " ");
                    require(&mut hints.require, &decode(label)?, &decode(&value)?)?;
                }
            }
        }
    }
    if let Some(segment) = segment {
        hints.meeting = Some(parse_meeting(&decode(segment)?)?);
    }
    Ok(())
}

fn decode(text: &str) -> Result<Cow<'_, str>, String> {
    percent_decode_str(text).decode_utf8().map_err(|_| "the URL is not UTF-8".to_owned())
}

/// Why a request does not ask for a WebSocket.
struct Unfit {
    status: StatusCode,
    why: &'static str,
    reason: HandshakeRejection,
}

impl Unfit {
    const fn upgrade_required(why: &'static str) -> Self {
        let reason = HandshakeRejection::NotUpgrade;
        Self { status: StatusCode::UPGRADE_REQUIRED, why, reason }
    }

    const fn malformed(why: &'static str) -> Self {
        let reason = HandshakeRejection::Malformed;
        Self { status: StatusCode::BAD_REQUEST, why, reason }
    }
}

/// The key of a request that asks for a WebSocket as RFC 6455, section 4.2.1 wants it.
fn check<B>(request: &Request<B>) -> Result<&HeaderValue, Unfit> {
    let headers = request.headers();
    let is_upgrade = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, &header::CONNECTION, "upgrade")
        && has_token(headers, &header::UPGRADE, "websocket");
    if !is_upgrade {
        return Err(Unfit::upgrade_required("This is a WebSocket endpoint.\n"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(Unfit::upgrade_required("Only WebSocket version 13 is spoken here.\n"));
    }
    if !headers.contains_key(header::HOST) {
        return Err(Unfit::malformed("Host is missing.\n"));
    }
    // Whoever stands before us would not read frames where we do.
    if has_body(headers) {
        return Err(Unfit::malformed("A request for a WebSocket has no body.\n"));
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key.as_bytes()) => Ok(key),
        _ => Err(Unfit::malformed("Sec-WebSocket-Key is missing or wrong.\n")),
    }
}

/// Whether `key` is the base64 of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key.strip_suffix(b"=="), Some(digits) if digits.len() == 22 && digits.iter().all(is_digit))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|len| len != "0")
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn accept(key: &HeaderValue) -> Response<Full<Bytes>> {
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .body(Full::default())
        .expect("made of constants and base64")
}

fn say(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UPGRADE_REQUIRED {
        let version = HeaderValue::from_static("13");
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(&request.body(()).unwrap(), "/kurento").0.status().as_u16()
    }

    type Said = (Option<String>, Option<u32>);

    fn hints(url: &str) -> Option<Result<Said, String>> {
        let read = read_url(&url.parse().unwrap(), "/kurento")?;
        Some(read.map(|h| (h.meeting.map(|m| m.to_string()), h.participants)))
    }

    const UPGRADE: [(&str, &str); 5] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("host", "a"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_url_may_name_the_meeting() {
        let named = |name: &str, count| Some(Ok((Some(name.to_owned()), count)));
        assert_eq!(hints("/kurento"), Some(Ok((None, None))));
        assert_eq!(hints("/kurento?access_token=x"), Some(Ok((None, None))));
        assert_eq!(hints("/kurento/stand%20up"), named("stand up", None));
        assert_eq!(hints("/kurento?meeting=a+b&participants=4"), named("a b", Some(4)));
        let url = "/kurento?require.region=eu&require.tier=a%2Bb+c".parse().unwrap();
        let required = read_url(&url, "/kurento").unwrap().unwrap().require;
        assert_eq!(required.to_string(), "region=eu tier=a+b c");
        assert_eq!(hints("/kurento/path?meeting=query"), named("path", None));
        assert_eq!(hints("/kurento/%2525"), named("%25", None), "decoded once");
    }

    #[test]
    fn other_paths_are_not_found_and_bad_hints_are_told() {
        for path in ["/", "/Kurento", "/kurentox", "/kurento/", "/kurento/a/b", "//kurento"] {
            assert_eq!(hints(path), None, "{path}");
            assert_eq!(status(path, &UPGRADE), 404, "{path}");
        }
        for path in
            ["/kurento?require.=a", "/kurento?require.a=1&require.a=2", "/kurento?require.a=%ff"]
        {
            assert!(matches!(read_url(&path.parse().unwrap(), "/kurento"), Some(Err(_))), "{path}");
        }
        for path in ["/kurento?meeting=", "/kurento/%00", "/kurento?participants=x", "/kurento/%ff"]
        {
            assert_eq!(status(path, &UPGRADE), 400, "{path}");
        }
    }

    #[test]
    fn only_a_proper_upgrade_becomes_a_websocket() {
        assert_eq!(status("/kurento", &UPGRADE), 101);
        assert_eq!(status("/kurento", &[]), 426);
        let [connection, upgrade, version, host, key] = UPGRADE;
        assert_eq!(status("/kurento", &[connection, upgrade, version, host]), 400);
        assert_eq!(status("/kurento", &[connection, upgrade, version, key]), 400);
        assert_eq!(status("/kurento", &[connection, upgrade, host, key]), 426);
        let mut old = Request::get("/kurento").version(Version::HTTP_10);
        for (name, value) in UPGRADE {
            old = old.header(name, value);
        }
        assert_eq!(answer(&old.body(()).unwrap(), "/kurento").0.status(), 426, "HTTP/1.0");
        for key in ["short", "dGhlIHNhbXBsZSBub25jZQ=x", "dGhlIHNhbXBsZSBub2 jZQ=="] {
            let key = ("sec-websocket-key", key);
            let asked = [connection, upgrade, version, host, key];
            assert_eq!(status("/kurento", &asked), 400, "{key:?}");
        }
        for (body, expected) in [
            (("content-length", "0"), 101),
            (("content-length", "5"), 400),
            (("transfer-encoding", "chunked"), 400),
        ] {
            assert_eq!(status("/kurento", &[&UPGRADE[..], &[body]].concat()), expected, "{body:?}");
        }
    }
}
