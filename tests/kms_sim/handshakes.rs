//! Handshakes of the real binary. Source: Kurento protocol notes, section 1.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::e2e::harness::within_bound;

use super::sim::{Sim, exchange};

const UPGRADE: &str = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn what_is_no_handshake_is_refused_and_closed() {
    let sim = Sim::start(&[]).await;
    let long = format!("GET /kurento HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(16_000));
    for (sent, status) in [
        ("GET /kurento HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "426 Upgrade Required"),
        ("POST /kurento HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "426 Upgrade Required"),
        ("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "426 Upgrade Required"),
        (format!("GET /kurento HTTP/1.0\r\n{UPGRADE}{KEY}\r\n"), "400 "),
        ("garbage\r\n\r\n".to_owned(), "400 "),
        (format!("GET /kurento HTTP/1.1\r\n{UPGRADE}\r\n"), "400 Bad Request"),
        (long, "431 Request Header Fields Too Large"),
    ] {
        let answer = exchange(sim.addr(), &sent).await;
        let expected = format!("HTTP/1.1 {status}\r\n");
        assert!(answer.starts_with(&expected) && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn no_extension_or_protocol_is_chosen_and_no_origin_refused() {
    let sim = Sim::start(&[]).await;
    for more in [
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
        "Sec-WebSocket-Version: 13\r\nOrigin: http://evil.example\r\n",
    ] {
        let mut socket = TcpStream::connect(sim.addr()).await.unwrap();
        let head = format!("GET /kurento HTTP/1.1\r\n{UPGRADE}{KEY}{more}\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let close = [0x88, 0x80, 0, 0, 0, 0];
        socket.write_all(&close).await.unwrap();
        let mut answer = Vec::new();
        within_bound("an answer", socket.read_to_end(&mut answer)).await.unwrap();
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                    Server: WebSocket++/0.8.2\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(&answer[..head.len()], head.as_bytes(), "{more}");
        assert_eq!(answer[head.len()..], [0x88, 2, 0x03, 0xe8], "{more}");
    }
}

/// It takes the 5 s that a real server gives.
#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let sim = Sim::start(&[]).await;
    let (nothing, half) =
        tokio::join!(exchange(sim.addr(), ""), exchange(sim.addr(), "GET /kurento HTTP/1.1\r\n"),);
    assert_eq!((nothing.as_str(), half.as_str()), ("", ""));
}
