//! Two backends, one of which will be in trouble, with a meeting on it.

use pinfold::load::{Client, Events};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::e2e::harness::{Edge, KmsSim, Party, TempDir, wait_for, within_bound};

/// Probes so often that a test need not wait, and time enough for a busy machine to answer.
pub(super) const QUICK: &str =
    "[probe]\ninterval_ms = 100\ntimeout_ms = 400\nretry_ms = 50\ndeep_ms = 150\n";

/// A simulated backend that does what it is told.
pub(super) struct Sim {
    pub(super) kms: KmsSim,
    control: String,
}

impl Sim {
    pub(super) async fn start(id: &str, more: &[&str]) -> Self {
        let control = ["--control", "127.0.0.1:0"];
        let mut kms = KmsSim::start_with(id, &[&control, more].concat()).await;
        let control = kms.process.line_after("kms-sim control on http://").await;
        Self { kms, control }
    }

    /// Has a fault begin, or end.
    pub(super) async fn order(&self, fault: &str) {
        let (id, control) = (&self.kms.id, &self.control);
        let text = format!(
            "POST /servers/{id}/{fault} HTTP/1.1\r\nHost: {control}\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(control).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within_bound("the fault", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl std::ops::Deref for Sim {
    type Target = KmsSim;

    fn deref(&self) -> &KmsSim {
        &self.kms
    }
}

/// Backends `a` and `b`, and a meeting on `a`.
pub(super) struct Trouble {
    pub(super) edge: Edge,
    pub(super) a: Sim,
    pub(super) client: Client,
    pub(super) events: Events,
    /// The name of the meeting on `a`.
    pub(super) meeting: String,
    /// What the client has in it.
    pub(super) party: Party,
    _b: Sim,
}

impl Trouble {
    /// With more settings of the edge, tables only, and more arguments of both servers.
    pub(super) async fn start(settings: &str, arguments: &[&str]) -> Self {
        let (a, b) = (Sim::start("a", arguments).await, Sim::start("b", arguments).await);
        let backends = [("a", a.kms.url.as_str()), ("b", b.kms.url.as_str())];
        let edge = Edge::start_unready(&backends, settings, TempDir::create()).await;
        edge.becomes_ready().await;
        let (client, events) = edge.connect().await;
        let mut number = 0;
        let (meeting, party) = loop {
            let meeting = format!("old-{number}");
            let party = Party::new(&client, &meeting).await;
            if edge.backend_of(&meeting).await == "a" {
                break (meeting, party);
            }
            number += 1;
        };
        Self { edge, a, client, events, meeting, party, _b: b }
    }

    /// What was in the old meeting is there and works, with the client's subscriptions.
    pub(super) async fn party_is_whole(&mut self) {
        self.party.is_whole(&self.client, &mut self.events).await;
    }
}

/// The row of that backend.
pub(super) async fn row(edge: &Edge, id: &str) -> Value {
    let backends = edge.backends().await;
    backends.into_iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("there is {id}"))
}

/// Waits until `member` of that backend's row is `value`.
pub(super) async fn until(edge: &Edge, id: &str, member: &str, value: &str) {
    let what = format!("{member} of {id} is {value}");
    let is_so = || async { (row(edge, id).await[member] == value).then_some(()) };
    wait_for(&what, is_so).await;
}

/// The value of that metric.
pub(super) async fn metric(edge: &Edge, name: &str) -> u64 {
    let (_, metrics) = edge.admin("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("there is {name}")).trim().parse().unwrap()
}

/// A server that does nothing useful, gone when dropped.
pub(super) struct Dead {
    pub(super) url: String,
    _accepting: JoinSet<()>,
}

/// Accepts connections and says nothing at all.
pub(super) async fn silent_listener() -> Dead {
    dead(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await
}

/// Shakes hands and answers nothing.
pub(super) async fn mute_server() -> Dead {
    dead(|stream| async move {
        let _socket = tokio_tungstenite::accept_async(stream).await;
        std::future::pending::<()>().await;
    })
    .await
}

async fn dead<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> Dead {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/kurento", listener.local_addr().unwrap());
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
        }
    });
    Dead { url, _accepting: accepting }
}
