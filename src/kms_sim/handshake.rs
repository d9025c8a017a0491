//! The opening handshake as WebSocket++ does it. Source: Kurento protocol notes, section 1.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Longest request head, in bytes; a longer one gets 431.
const HEAD_MAX: usize = 16_000;

/// A handshake that was answered with 101.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Whether the path was the right one. If not the client is told by a close frame.
    pub(super) is_right_path: bool,
    /// What came behind the head.
    pub(super) rest: Vec<u8>,
}

/// Reads the request's head and answers it; `None` if the answer was a refusal.
///
/// If `refuses` says so when the head is there, every request gets 503, which no KMS sends: it
/// stands for whatever may fail before the WebSocket is open.
///
/// # Errors
/// If the socket fails.
pub(super) async fn shake(
    socket: &mut TcpStream,
    refuses: impl Fn() -> bool,
) -> io::Result<Option<Accepted>> {
    let mut bytes = Vec::with_capacity(1_024);
    let end = loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(at) = end.filter(|at| at + 4 <= HEAD_MAX) {
            break at;
        }
        if bytes.len() > HEAD_MAX {
            socket.write_all(refusal("431 Request Header Fields Too Large").as_bytes()).await?;
            return Ok(None);
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    if refuses() {
        socket.write_all(refusal("503 Service Unavailable").as_bytes()).await?;
        return Ok(None);
    }
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (answer, path) = answer(&head);
    socket.write_all(answer.as_bytes()).await?;
    let rest = bytes.split_off(end + 4);
    Ok(path.map(|path| Accepted { is_right_path: is_right(path), rest }))
}

/// The answer to a request `head`, and the path asked for if it is 101.
fn answer(head: &str) -> (String, Option<&str>) {
    let (request_line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let words: Vec<&str> = request_line.split(' ').collect();
    let [method, path, "HTTP/1.1"] = words[..] else {
        return (refusal("400 "), None);
    };
    let wants = value_of(headers, "upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket"));
    if method != "GET" || !wants {
        return (refusal("426 Upgrade Required"), None);
    }
    let Some(key) = value_of(headers, "sec-websocket-key") else {
        return (refusal("400 Bad Request"), None);
    };
    let accepted = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\
         Server: WebSocket++/0.8.2\r\nUpgrade: websocket\r\n\r\n",
        derive_accept_key(key.as_bytes()),
    );
    (accepted, Some(path))
}

fn refusal(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nServer: WebSocket++/0.8.2\r\n\r\n")
}

fn value_of<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = headers.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(of, _)| of.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Whether `path`, without its query, is the one that KMS serves.
fn is_right(path: &str) -> bool {
    path.split('?').next() == Some("/kurento")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_get_the_status_of_a_real_server() {
        let upgrade = "Host: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let cases = [
            ("GET /kurento HTTP/1.1", format!("{upgrade}{key}"), "101"),
            ("GET /kurento HTTP/1.1", upgrade.to_owned(), "400 Bad"),
            ("GET /kurento HTTP/1.1", "Host: a".to_owned(), "426 Upgrade"),
            ("POST /kurento HTTP/1.1", format!("{upgrade}{key}"), "426 Upgrade"),
            ("GET /kurento HTTP/1.0", format!("{upgrade}{key}"), "400 \r\n"),
            ("garbage", String::new(), "400 \r\n"),
        ];
        for (line, headers, expected) in cases {
            let head = format!("{line}\r\n{headers}");
            let (text, path) = answer(&head);
            assert!(text.starts_with(&format!("HTTP/1.1 {expected}")), "{line}: {text}");
            assert_eq!(path.is_some(), expected == "101");
        }
        let (text, _) = answer(
            "GET /x HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: \
            dGhlIHNhbXBsZSBub25jZQ==",
        );
        assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "RFC 6455, section 1.3");
    }

    #[test]
    fn the_path_is_compared_exactly_but_for_its_query() {
        assert!(is_right("/kurento") && is_right("/kurento?access_token=x"));
        for path in ["/", "/kurento/", "/Kurento", "//kurento", "/kurento#x"] {
            assert!(!is_right(path), "{path}");
        }
    }
}
