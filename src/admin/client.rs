//! A client of the admin API, for commands that talk to a running edge.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time;

/// Where the admin API listens unless configured otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:9901";

/// Longest answer taken; a longer one is an error.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Time for a request and its answer altogether.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why an answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The base URL is not of the form `http://host[:port]`. Carries it.
    #[error("{0:?} is not a URL like {DEFAULT_URL}")]
    Url(String),
    /// No connection. Carries the address asked for.
    #[error("cannot connect to {0}")]
    Connect(String, #[source] std::io::Error),
    /// The connection broke, or what came is not HTTP.
    #[error("no answer")]
    Http(#[from] hyper::Error),
    /// The answer was cut off or is too long.
    #[error("no whole answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The other side said no. Carries the HTTP status and the reason it gave.
    #[error("refused with status {0}: {1}")]
    Status(u16, String),
    /// The answer is not the JSON that was expected.
    #[error("unexpected answer")]
    Json(#[from] serde_json::Error),
    /// It took longer than 10 seconds.
    #[error("no answer in time")]
    Timeout,
}

/// Asks the admin API at `base`, like `http://127.0.0.1:9901`, for `path` and its query.
///
/// # Errors
/// No connection, no answer within 10 seconds, or one that is no success or no `T`.
pub async fn fetch_json<T: DeserializeOwned>(base: &str, path: &str) -> Result<T, FetchError> {
    Ok(serde_json::from_slice(&fetch_success(base, path).await?)?)
}

/// The same for text.
///
/// # Errors
/// No connection, no answer within 10 seconds, or one that is no success.
pub async fn fetch_text(base: &str, path: &str) -> Result<String, FetchError> {
    Ok(String::from_utf8_lossy(&fetch_success(base, path).await?).into_owned())
}

/// Gives the order at `path` with `body` as JSON; returns what is told of it.
///
/// # Errors
/// As for [`fetch_json`].
pub async fn post_json<T: DeserializeOwned>(
    base: &str,
    path: &str,
    body: &impl Serialize,
) -> Result<T, FetchError> {
    let body = serde_json::to_vec(body)?.into();
    Ok(serde_json::from_slice(&success(base, path, Some(body)).await?)?)
}

async fn fetch_success(base: &str, path: &str) -> Result<Bytes, FetchError> {
    success(base, path, None).await
}

/// The answer to an order, if there is a body, or to a question.
async fn success(base: &str, path: &str, body: Option<Bytes>) -> Result<Bytes, FetchError> {
    let (authority, url) = parse_url(base, path)?;
    let fetched = time::timeout(TIMEOUT, fetch(&authority, url, body));
    let (status, body) = fetched.await.map_err(|_| FetchError::Timeout)??;
    if (200..300).contains(&status) {
        return Ok(body);
    }
    Err(FetchError::Status(status, reason_in(&body)))
}

/// Splits `base` into `host:port` to connect to, and makes the URL of the request.
fn parse_url(base: &str, path: &str) -> Result<(String, Uri), FetchError> {
    let malformed = || FetchError::Url(base.to_owned());
    let uri: Uri = base.parse().map_err(|_| malformed())?;
    let authority = uri.authority().ok_or_else(malformed)?;
    let is_base = uri.scheme_str() == Some("http")
        && matches!(uri.path_and_query().map(PathAndQuery::as_str), None | Some("/"))
        && !authority.as_str().contains('@')
        && !authority.host().is_empty();
    if !is_base {
        return Err(malformed());
    }
    let target = path.parse().map_err(|_| FetchError::Url(path.to_owned()))?;
    Ok((format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)), target))
}

/// Sends the request and reads the whole answer: status and body.
async fn fetch(
    authority: &str,
    target: Uri,
    body: Option<Bytes>,
) -> Result<(u16, Bytes), FetchError> {
    let failed = |error| FetchError::Connect(authority.to_owned(), error);
    let socket = TcpStream::connect(authority).await.map_err(failed)?;
    // The admin API knows itself by address only, whatever name led here.
    let host = socket.peer_addr().map_err(failed)?.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = match body {
        None => Request::get(target).header(HOST, host).body(Full::default()),
        Some(body) => Request::post(target)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body)),
    };
    let request = request.map_err(|_| FetchError::Url(authority.to_owned()))?;
    let answer = async {
        let answer = read(sender.send_request(request).await?).await;
        drop(sender); // lets the connection end
        answer
    };
    let (answer, _ended) = tokio::join!(answer, connection);
    answer
}

async fn read(answer: Response<Incoming>) -> Result<(u16, Bytes), FetchError> {
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES);
    Ok((status, body.collect().await.map_err(FetchError::Body)?.to_bytes()))
}

/// The reason in an error of the API, else the start of the text.
fn reason_in(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refused {
        error: String,
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => refused.error,
        Err(_) => String::from_utf8_lossy(body).trim().chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_host_and_port() {
        for (base, authority) in [
            (DEFAULT_URL, "127.0.0.1:9901"),
            ("http://[::1]:9901/", "[::1]:9901"),
            ("http://edge.example", "edge.example:80"),
        ] {
            assert_eq!(parse_url(base, "/healthz").unwrap().0, authority);
        }
        for base in ["", "127.0.0.1:9901", "https://a", "http://a/b", "http://a?b", "http://u@a"] {
            assert!(parse_url(base, "/healthz").is_err(), "{base}");
        }
    }

    #[test]
    fn the_reason_of_an_error_is_found() {
        assert_eq!(reason_in(br#"{"error":"no such meeting"}"#), "no such meeting");
        assert_eq!(reason_in(b"<html>no\n"), "<html>no");
    }
}
