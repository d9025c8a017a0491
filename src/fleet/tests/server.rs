//! A server that answers probes, or does not, as the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::settings::BackendUrl;

/// What a server does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It is the process with this `serverId` and answers; other processes' connections are cut.
    Answers(&'static str),
    /// It accepts connections, keeps them and says nothing.
    Frozen,
    /// It cuts every connection.
    Dead,
}

/// A server on a port of its own, gone when dropped.
pub(super) struct Server {
    pub(super) url: BackendUrl,
    mood: watch::Sender<Mood>,
    pings: Arc<AtomicU32>,
    _accepting: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/kurento", listener.local_addr().unwrap());
        let (mood, pings) = (watch::Sender::new(mood), Arc::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, mood.subscribe(), Arc::clone(&pings)));
        Self { url: BackendUrl::parse(&url).unwrap(), mood, pings, _accepting: accepting }
    }

    pub(super) fn turn(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many `ping`s were answered.
    pub(super) fn pings(&self) -> u32 {
        self.pings.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, mood: watch::Receiver<Mood>, pings: Arc<AtomicU32>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, mood.clone(), Arc::clone(&pings)));
    }
}

/// Serves one connection until either side ends it.
async fn serve(stream: TcpStream, mut mood: watch::Receiver<Mood>, pings: Arc<AtomicU32>) {
    let is_frozen = |mood: &Mood| *mood == Mood::Frozen;
    let awake = mood.wait_for(|mood| !is_frozen(mood)).await.map(|mood| *mood);
    let Ok(Mood::Answers(process)) = awake else { return };
    let Ok(mut socket) = accept_async(stream).await else { return };
    loop {
        let now = *mood.borrow_and_update();
        if now != Mood::Frozen && now != Mood::Answers(process) {
            return;
        }
        tokio::select! {
            changed = mood.changed() => if changed.is_err() { return },
            message = socket.next(), if !is_frozen(&now) => {
                let Some(Ok(Message::Text(text))) = message else { return };
                let (answer, is_ping) = answer(process, &text);
                pings.fetch_add(u32::from(is_ping), Ordering::Relaxed);
                if socket.send(Message::text(answer)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The answer to one call of a probe, and whether that was a `ping`.
fn answer(process: &str, text: &str) -> (String, bool) {
    let call: Value = serde_json::from_str(text).unwrap();
    let result = match call["method"].as_str().unwrap() {
        "connect" => json!({"serverId": process, "sessionId": "s"}),
        "invoke" => json!({"sessionId": "s", "value": {"version": "7.3.1", "modules": []}}),
        "ping" => json!({"value": "pong"}),
        other => panic!("no probe asks for {other}"),
    };
    let answer = json!({"id": call["id"], "jsonrpc": "2.0", "result": result});
    (answer.to_string(), call["method"] == "ping")
}
