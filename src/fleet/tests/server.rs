//! A server that answers probes, or does not, as the test says.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::protocol::event::{Change, ObjectEvent};
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

/// What a server that answers does when it is to make a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Craft {
    /// It makes it.
    Works,
    /// It has no resources.
    Full,
    /// It answers with some other error.
    Fails,
    /// It says nothing on that connection until this is over.
    Hangs,
}

/// A server on a port of its own, gone when dropped.
pub(super) struct Server {
    pub(super) url: BackendUrl,
    mood: watch::Sender<Mood>,
    seen: Arc<Seen>,
    craft: watch::Sender<Craft>,
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
        let craft = watch::Sender::new(Craft::Works);
        let mut accepting = JoinSet::new();
        let moods = (mood.subscribe(), craft.subscribe());
        accepting.spawn(accept(listener, moods, Arc::clone(&seen)));
        Self { url: BackendUrl::parse(&url).unwrap(), mood, seen, craft, _accepting: accepting }
    }

    pub(super) fn turn_craft(&self, craft: Craft) {
        self.craft.send_replace(craft);
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

type Moods = (watch::Receiver<Mood>, watch::Receiver<Craft>);

async fn accept(listener: TcpListener, moods: Moods, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, moods.clone(), Arc::clone(&seen)));
    }
}

/// Serves one connection until either side ends it.
async fn serve(stream: TcpStream, (mut mood, mut craft): Moods, seen: Arc<Seen>) {
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
                if text.contains(r#""method":"create""#) {
                    let _ = craft.wait_for(|craft| *craft != Craft::Hangs).await;
                }
                let (answer, asked) = answer(process, &text, *craft.borrow());
                if let Some(event) = events_of(&asked) {
                    let _ = seen.events.send(event);
                }
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
fn answer(process: &str, text: &str, craft: Craft) -> (String, String) {
    let call: Value = serde_json::from_str(text).unwrap();
    let method = call["method"].as_str().unwrap();
    let asked = call["params"]["operation"].as_str().unwrap_or(method);
    let value = match asked {
        "connect" | "unsubscribe" | "release" | "closeSession" => Value::Null,
        "subscribe" => json!(call["params"]["type"]),
        "ping" => json!("pong"),
        "getInfo" => json!({"version": "7.3.1", "modules": []}),
        "create" => match craft {
            Craft::Works | Craft::Hangs => json!(DEEP),
            Craft::Full => return (error(&call, 40009), asked.to_owned()),
            Craft::Fails => return (error(&call, 40003), asked.to_owned()),
        },
        "getCpuCount" => json!(4),
        "getUsedMemory" => json!(70_516),
        "getUsedCpu" => json!(12.5),
        other => panic!("nobody asks for {other}"),
    };
    let result = json!({"serverId": process, "sessionId": "s", "value": value});
    let answer = json!({"id": call["id"], "jsonrpc": "2.0", "result": result});
    (answer.to_string(), asked.to_owned())
}

/// The pipeline that it makes, time and again.
pub(super) const DEEP: &str = "dddddddd-0000-4000-8000-000000000001_kurento.MediaPipeline";

/// What it tells all connections before it answers.
fn events_of(asked: &str) -> Option<String> {
    let change = match asked {
        "create" => Change::Created,
        "release" => Change::Destroyed,
        _ => return None,
    };
    Some(ObjectEvent::new(change, DEEP.to_owned(), "1".to_owned()).text)
}

fn error(call: &Value, code: i32) -> String {
    let error = json!({"code": code, "message": "no"});
    json!({"id": call["id"], "jsonrpc": "2.0", "error": error}).to_string()
}
