//! The real binary on a real socket.

use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// More than anything here can take; the tests wait for what happens, not for this.
const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A running `pinfold kms-sim` on a port of its own.
struct Sim {
    process: Child,
    addr: String,
}

impl Sim {
    async fn start(args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pinfold"))
            .args(["kms-sim", "--name", "t", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = patient(lines.next_line()).await.unwrap().unwrap();
        let url = line.strip_prefix("kms-sim t listening on ws://").unwrap();
        let addr = url.strip_suffix("/kurento").unwrap().to_owned();
        Self { process, addr }
    }

    async fn connect(&self, path: &str) -> Socket {
        patient(connect_async(format!("ws://{}{path}", self.addr))).await.unwrap().0
    }
}

async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

async fn ask(socket: &mut Socket, text: &str) -> String {
    socket.send(Message::text(text)).await.unwrap();
    patient(socket.next()).await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// Whether the connection ended without a close frame.
async fn is_cut(socket: &mut Socket) -> bool {
    match patient(socket.next()).await {
        None | Some(Err(Error::Protocol(_) | Error::Io(_))) => true,
        Some(Ok(_) | Err(_)) => false,
    }
}

#[tokio::test]
async fn a_wrong_path_is_told_after_the_handshake() {
    let sim = Sim::start(&[]).await;
    let mut socket = sim.connect("/Kurento").await;
    let Message::Close(Some(frame)) = patient(socket.next()).await.unwrap().unwrap() else {
        panic!("no close frame");
    };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Protocol, "Invalid path"));
}

#[tokio::test]
async fn plain_http_is_told_to_upgrade() {
    let sim = Sim::start(&[]).await;
    let mut socket = TcpStream::connect(&sim.addr).await.unwrap();
    socket.write_all(b"GET /kurento HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    patient(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
}

#[tokio::test]
async fn answers_come_in_order_and_a_ping_waits_behind_a_slow_call() {
    let sim = Sim::start(&[]).await;
    let mut socket = sim.connect("/kurento?access_token=x").await;
    let slow = r#"{"id":1,"jsonrpc":"2.0","method":"invoke","params":{"object":
        "manager_ServerManager","operation":"getUsedCpu","operationParams":{"interval":200}}}"#;
    socket.feed(Message::text(slow)).await.unwrap();
    socket.feed(Message::Ping("behind".into())).await.unwrap();
    let quick = r#"{"id":2,"jsonrpc":"2.0","method":"ping"}"#;
    socket.send(Message::binary(quick)).await.unwrap();
    let first = patient(socket.next()).await.unwrap().unwrap().into_text().unwrap();
    assert!(first.starts_with(r#"{"id":1,"#), "{first}");
    let mut rest = Vec::new();
    while rest.len() < 2 {
        rest.push(patient(socket.next()).await.unwrap().unwrap());
    }
    assert!(rest.contains(&Message::Pong("behind".into())), "{rest:?}");
    assert!(rest.iter().any(|m| m.to_text().is_ok_and(|t| t.starts_with(r#"{"id":2,"#))));
}

#[tokio::test]
async fn malformed_json_cuts_one_connection_and_sigterm_all() {
    let mut sim = Sim::start(&["--seed", "5", "--gc-period", "9", "--latency-ms", "1"]).await;
    let mut bad = sim.connect("/kurento").await;
    let mut good = sim.connect("/kurento").await;
    bad.send(Message::text("{oops")).await.unwrap();
    assert!(is_cut(&mut bad).await);
    let pong = r#"{"id":1,"jsonrpc":"2.0","result":{"value":"pong"}}"#;
    assert_eq!(ask(&mut good, r#"{"id":1,"jsonrpc":"2.0","method":"ping"}"#).await, pong);
    let pid = sim.process.id().unwrap().to_string();
    let kill = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(kill.success() && is_cut(&mut good).await);
    assert!(patient(sim.process.wait()).await.unwrap().success());
}

#[tokio::test]
async fn the_frame_that_kills_a_real_one_kills_this_one() {
    let mut sim = Sim::start(&[]).await;
    let mut socket = sim.connect("/kurento").await;
    let transaction = r#"{"id":1,"jsonrpc":"2.0","method":"transaction","params":{"operations":[
        {"id":0,"jsonrpc":"2.0","method":"create","params":{"type":"MediaPipeline"}},
        {"id":1,"jsonrpc":"2.0","method":"create","params":{"type":"PassThrough",
            "constructorParams":{"mediaPipeline":"newref:0"}}},
        {"id":2,"jsonrpc":"2.0","method":"invoke","params":{"object":"newref:1",
            "operation":"connect","operationParams":{"sink":"newref:0"}}}]}}"#;
    socket.send(Message::text(transaction)).await.unwrap();
    assert!(is_cut(&mut socket).await);
    assert_eq!(patient(sim.process.wait()).await.unwrap().code(), Some(1));
}
