//! A server that answers probes, or does not, as the test says.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
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
    seen: Arc<Seen>,
    _accepting: JoinSet<()>,
}

/// What its connections share.
struct Seen {
    /// Methods and, for `invoke`, operations that were asked for.
    asked: Mutex<Vec<String>>,
    /// What is sent to every connection.
    events: broadcast::Sender<String>,
}

impl Server {
    pub(super) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/kurento", listener.local_addr().unwrap());
        let mood = watch::Sender::new(mood);
        let seen = Arc::new(Seen { asked: Mutex::default(), events: broadcast::Sender::new(16) });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, mood.subscribe(), Arc::clone(&seen)));
        Self { url: BackendUrl::parse(&url).unwrap(), mood, seen, _accepting: accepting }
    }

    pub(super) fn turn(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many `ping`s were answered.
    pub(super) fn pings(&self) -> u32 {
        u32::try_from(self.count("ping")).unwrap()
    }

    /// How often it was asked for that method or operation.
    pub(super) fn count(&self, name: &str) -> usize {
        self.seen.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }

    /// Sends `text` over every connection.
    pub(super) fn send(&self, text: &str) {
        self.seen.events.send(text.to_owned()).unwrap();
    }
}

async fn accept(listener: TcpListener, mood: watch::Receiver<Mood>, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, mood.clone(), Arc::clone(&seen)));
    }
}

/// Serves one connection until either side ends it.
async fn serve(stream: TcpStream, mut mood: watch::Receiver<Mood>, seen: Arc<Seen>) {
    let is_frozen = |mood: &Mood| *mood == Mood::Frozen;
    let awake = mood.wait_for(|mood| !is_frozen(mood)).await.map(|mood| *mood);
    let Ok(Mood::Answers(process)) = awake else { return };
    let Ok(mut socket) = accept_async(stream).await else { return };
    let mut events = seen.events.subscribe();
    loop {
        let now = *mood.borrow_and_update();
        if now != Mood::Frozen && now != Mood::Answers(process) {
            return;
        }
        tokio::select! {
            changed = mood.changed() => if changed.is_err() { return },
            message = socket.next(), if !is_frozen(&now) => {
                let Some(Ok(Message::Text(text))) = message else { return };
                let (answer, asked) = answer(process, &text);
                seen.asked.lock().unwrap().push(asked);
                if socket.send(Message::text(answer)).await.is_err() {
                    return;
                }
            }
            Ok(event) = events.recv() => if socket.send(Message::text(event)).await.is_err() {
                return;
            },
        }
    }
}

/// The answer to one call of the fleet, and what that asked for.
fn answer(process: &str, text: &str) -> (String, String) {
    let call: Value = serde_json::from_str(text).unwrap();
    let method = call["method"].as_str().unwrap();
    let asked = call["params"]["operation"].as_str().unwrap_or(method);
    let value = match asked {
        "connect" | "unsubscribe" => Value::Null,
        "subscribe" => json!(call["params"]["type"]),
        "ping" => json!("pong"),
        "getInfo" => json!({"version": "7.3.1", "modules": []}),
        "getCpuCount" => json!(4),
        "getUsedMemory" => json!(70_516),
        "getUsedCpu" => json!(12.5),
        other => panic!("nobody asks for {other}"),
    };
    let result = json!({"serverId": process, "sessionId": "s", "value": value});
    let answer = json!({"id": call["id"], "jsonrpc": "2.0", "result": result});
    (answer.to_string(), asked.to_owned())
}
