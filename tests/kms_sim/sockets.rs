//! WebSockets of the real binary. Source: Kurento protocol notes, sections 1, 2, 9 and 10.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::e2e::harness::{raw_socket, within_bound};

use super::sim::{KILLING, PING, PONG, Sim, ask, is_cut};

/// Longest message that a KMS takes, in bytes.
const MESSAGE_MAX: usize = 32_000_000;

/// Opens a WebSocket by hand and ends the connection's part of HTTP.
async fn open(addr: &str) -> TcpStream {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let head = "GET /kurento HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within_bound("the handshake", socket.read_u8()).await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    socket
}

/// A frame with payload of less than 64 KiB, masked with zeros or not at all.
fn frame(first: u8, is_masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if is_masked { 0x80 } else { 0 };
    let len = u16::try_from(payload.len()).unwrap();
    let mut bytes = match u8::try_from(len) {
        Ok(len) if len < 126 => vec![first, mask_bit | len],
        _ => vec![first, mask_bit | 126, len.to_be_bytes()[0], len.to_be_bytes()[1]],
    };
    if is_masked {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn a_wrong_path_is_told_after_the_handshake() {
    let sim = Sim::start(&[]).await;
    for path in ["/", "/kurento/", "/Kurento", "//kurento"] {
        let mut socket = raw_socket(&format!("ws://{}{path}", sim.addr())).await;
        let Message::Close(Some(frame)) =
            within_bound("a close frame", socket.next()).await.unwrap().unwrap()
        else {
            panic!("no close frame");
        };
        assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Protocol, "Invalid path"));
    }
}

#[tokio::test]
async fn close_frames_say_what_a_real_server_says() {
    let sim = Sim::start(&[]).await;
    let bad_text = [0x7b, 0xff, 0xfe, 0x7d];
    let cases: [(&str, Vec<u8>, u16, &str); 8] = [
        ("unmasked", frame(0x81, false, b"{}"), 1002, "Clients may not send unmasked frames"),
        ("reserved opcode", frame(0x83, true, b"x"), 1002, "invalid opcode"),
        (
            "ping over 125 bytes",
            frame(0x89, true, &[b'x'; 126]),
            1002,
            "Control messages are limited to fewer than 125 characters",
        ),
        ("invalid UTF-8", frame(0x81, true, &bad_text), 1007, "Invalid UTF8 encoding"),
        ("close", frame(0x88, true, b"\x03\xe8bye"), 1000, "bye"),
        ("close with a code of its own", frame(0x88, true, &[0x10, 0xe1]), 4321, ""),
        ("close, going away", frame(0x88, true, &[0x03, 0xe9]), 1001, ""),
        ("close without code", frame(0x88, true, &[]), 1000, ""),
    ];
    for (what, sent, code, reason) in cases {
        let mut socket = open(sim.addr()).await;
        socket.write_all(&sent).await.unwrap();
        let mut answer = Vec::new();
        within_bound(what, socket.read_to_end(&mut answer)).await.unwrap();
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend(reason.as_bytes());
        assert_eq!(answer, frame(0x88, false, &payload), "{what}");
    }
}

#[tokio::test]
async fn binary_fragments_and_control_frames_are_taken() {
    let sim = Sim::start(&[]).await;
    let mut socket = open(sim.addr()).await;
    let (head, tail) = PING.as_bytes().split_at(9);
    let mut sent = frame(0x02, true, head); // binary, more to come
    sent.extend(frame(0x8a, true, b"unasked")); // pong
    sent.extend(frame(0x80, true, tail)); // the rest
    socket.write_all(&sent).await.unwrap();
    let mut answer = vec![0; PONG.len() + 2];
    within_bound("an answer", socket.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, frame(0x81, false, PONG.as_bytes()));
}

#[tokio::test]
async fn messages_have_a_greatest_length() {
    let sim = Sim::start(&[]).await;
    let mut socket = sim.connect().await;
    let longest = format!("{PING}{}", " ".repeat(MESSAGE_MAX - PING.len()));
    assert_eq!(ask(&mut socket, &longest).await, PONG);
    let mut socket = open(sim.addr()).await;
    let mut sent = vec![0x81, 0xff];
    sent.extend((MESSAGE_MAX as u64 + 1).to_be_bytes());
    sent.extend([0; 4]);
    socket.write_all(&sent).await.unwrap();
    let mut answer = Vec::new();
    // The end of the stream or a reset; in no case a close frame.
    let _ = within_bound("the cut", socket.read_to_end(&mut answer)).await;
    assert_eq!(answer, Vec::<u8>::new());
}

#[tokio::test]
async fn answers_come_in_order_and_a_ping_waits_behind_a_slow_call() {
    let sim = Sim::start(&[]).await;
    let mut socket = raw_socket(&format!("{}?access_token=x", sim.url())).await;
    let slow = r#"{"id":1,"jsonrpc":"2.0","method":"invoke","params":{"object":
        "manager_ServerManager","operation":"getUsedCpu","operationParams":{"interval":200}}}"#;
    socket.feed(Message::text(slow)).await.unwrap();
    socket.feed(Message::Ping("behind".into())).await.unwrap();
    let quick = r#"{"id":2,"jsonrpc":"2.0","method":"ping"}"#;
    socket.send(Message::binary(quick)).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 3 {
        came.push(within_bound("a message", socket.next()).await.unwrap().unwrap());
    }
    let starts = |message: &Message, start| message.to_text().is_ok_and(|t| t.starts_with(start));
    assert!(starts(&came[0], r#"{"id":1,"#), "{came:?}");
    assert!(came[1..].contains(&Message::Pong("behind".into())), "{came:?}");
    assert!(came[1..].iter().any(|message| starts(message, r#"{"id":2,"#)), "{came:?}");
}

#[tokio::test]
async fn malformed_json_cuts_one_connection_and_sigterm_all() {
    let mut sim = Sim::start(&["--seed", "5", "--gc-period", "9", "--latency-ms", "1"]).await;
    let mut bad = sim.connect().await;
    let mut good = sim.connect().await;
    bad.send(Message::text("{oops")).await.unwrap();
    assert!(is_cut(&mut bad).await);
    assert_eq!(ask(&mut good, PING).await, PONG);
    sim.process.signal("TERM");
    assert!(is_cut(&mut good).await);
    assert!(sim.process.exited().await.success());
    assert!(sim.is_refused().await);
}

#[tokio::test]
async fn the_answer_of_a_call_that_runs_at_sigterm_is_lost() {
    let mut sim = Sim::start(&[]).await;
    let (mut busy, mut other) = (sim.connect().await, sim.connect().await);
    // So slow that it surely still runs at the signal.
    let slow = r#"{"id":7,"jsonrpc":"2.0","method":"invoke","params":{"object":
        "manager_ServerManager","operation":"getUsedCpu","operationParams":{"interval":1500}}}"#;
    busy.send(Message::text(slow)).await.unwrap();
    sim.process.signal("TERM");
    assert!(is_cut(&mut busy).await && is_cut(&mut other).await);
    assert!(sim.process.exited().await.success());
}

#[tokio::test]
async fn the_frame_that_kills_a_real_one_kills_this_one() {
    let mut sim = Sim::start(&[]).await;
    let (mut socket, mut other) = (sim.connect().await, sim.connect().await);
    socket.send(Message::text(KILLING)).await.unwrap();
    assert!(is_cut(&mut socket).await && is_cut(&mut other).await);
    assert_eq!(sim.process.exited().await.code(), Some(134));
}

#[tokio::test]
async fn one_that_does_not_die_says_no() {
    let sim = Sim::start(&["--dies", "false"]).await;
    let mut socket = sim.connect().await;
    assert!(ask(&mut socket, KILLING).await.contains("\"error\""));
    let next = r#"{"id":2,"jsonrpc":"2.0","method":"ping"}"#;
    assert!(ask(&mut socket, next).await.contains("pong"));
}
