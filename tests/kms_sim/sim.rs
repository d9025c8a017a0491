//! Starts `pinfold kms-sim` and looks at its sockets, byte by byte where it matters.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::e2e::harness::{Process, RawSocket, raw_socket, within_bound};

/// The frame that kills a server, after what it needs.
pub(super) const KILLING: &str = r#"{"id":1,"jsonrpc":"2.0","method":"transaction","params":
    {"operations":[
        {"id":0,"jsonrpc":"2.0","method":"create","params":{"type":"MediaPipeline"}},
        {"id":1,"jsonrpc":"2.0","method":"create","params":{"type":"PassThrough",
            "constructorParams":{"mediaPipeline":"newref:0"}}},
        {"id":2,"jsonrpc":"2.0","method":"invoke","params":{"object":"newref:1",
            "operation":"connect","operationParams":{"sink":"newref:0"}}}]}}"#;

pub(super) const PING: &str = r#"{"id":1,"jsonrpc":"2.0","method":"ping"}"#;
pub(super) const PONG: &str = r#"{"id":1,"jsonrpc":"2.0","result":{"value":"pong"}}"#;

/// A running `pinfold kms-sim`.
pub(super) struct Sim {
    pub(super) process: Process,
    /// `IP:PORT` of each server.
    pub(super) addrs: Vec<String>,
    control: Option<String>,
}

impl Sim {
    /// One server on a free port.
    pub(super) async fn start(args: &[&str]) -> Self {
        Self::start_many(1, false, args).await
    }

    /// One server, with a control API.
    pub(super) async fn start_controlled(args: &[&str]) -> Self {
        Self::start_many(1, true, args).await
    }

    /// So many servers on free ports.
    pub(super) async fn start_many(count: usize, is_controlled: bool, args: &[&str]) -> Self {
        let count_text = count.to_string();
        let mut all = vec!["kms-sim", "--name", "t", "--count", &count_text];
        if is_controlled {
            all.extend(["--control", "127.0.0.1:0"]);
        }
        all.extend(args);
        let mut process = Process::pinfold("kms-sim", &all);
        let mut addrs = Vec::new();
        for number in 1..=count {
            let name = if count == 1 { "t".to_owned() } else { format!("t-{number}") };
            let line = process.next_line().await;
            let url = line.strip_prefix(&format!("kms-sim {name} listening on ws://")).unwrap();
            addrs.push(url.strip_suffix("/kurento").unwrap().to_owned());
        }
        let control = if is_controlled {
            Some(process.line_after("kms-sim control on http://").await)
        } else {
            None
        };
        Self { process, addrs, control }
    }

    /// Address of the first server.
    pub(super) fn addr(&self) -> &str {
        &self.addrs[0]
    }

    pub(super) fn url(&self) -> String {
        format!("ws://{}/kurento", self.addr())
    }

    /// A WebSocket to the first server.
    pub(super) async fn connect(&self) -> RawSocket {
        raw_socket(&self.url()).await
    }

    /// One request to the control API: status and JSON.
    pub(super) async fn control(&self, method: &str, target: &str) -> (u16, Value) {
        self.control_with(method, target, "").await
    }

    /// The same with a further header line.
    pub(super) async fn control_with(
        &self,
        method: &str,
        target: &str,
        header: &str,
    ) -> (u16, Value) {
        let control = self.control.as_ref().unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {control}\r\n{header}\r\n");
        let answer = exchange(control, &head).await;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Has the first server suffer `fault`; gives the process afterwards.
    pub(super) async fn suffer(&self, fault: &str) -> Value {
        let name = if self.addrs.len() == 1 { "t" } else { "t-1" };
        let (status, row) = self.control("POST", &format!("/servers/{name}/{fault}")).await;
        assert_eq!(status, 200, "{fault}: {row}");
        row
    }

    /// Whether the address of the first server refuses connections.
    pub(super) async fn is_refused(&self) -> bool {
        let connected = within_bound("a connection", TcpStream::connect(self.addr())).await;
        connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

/// Sends `bytes` and reads until the far side closes.
pub(super) async fn exchange(addr: &str, bytes: &str) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within_bound("an answer", socket.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// Sends `text` and gives what comes next.
pub(super) async fn ask(socket: &mut RawSocket, text: &str) -> String {
    socket.send(Message::text(text)).await.unwrap();
    next_text(socket).await
}

pub(super) async fn next_text(socket: &mut RawSocket) -> String {
    let message = within_bound("a message", socket.next()).await.unwrap().unwrap();
    message.into_text().unwrap().to_string()
}

/// Whether the connection ended without a close frame.
pub(super) async fn is_cut(socket: &mut RawSocket) -> bool {
    match within_bound("the end", socket.next()).await {
        None | Some(Err(Error::Protocol(_) | Error::Io(_))) => true,
        Some(Ok(_) | Err(_)) => false,
    }
}
