//! A client that means harm, beside others that do not: no backend dies, nobody else is cut or loses
//! a call, and nothing stays behind.

mod frames;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use pinfold::load::Client;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use self::frames::{Frames, recorded};
use crate::e2e::harness::{
    Edge, KmsSim, RawSocket, TempDir, raw_socket, send_text, wait_for, within_bound,
};

const MANAGER: &str = "manager_ServerManager";

/// Connections that the hostile client opens, one after another, and frames it sends on each.
const ROUNDS: u64 = 24;
const FRAMES: usize = 150;

/// What a client of good will keeps doing.
struct Victim {
    client: Client,
    pipeline: String,
    endpoints: [String; 2],
    session: String,
}

impl Victim {
    async fn begin(edge: &Edge, meeting: &str) -> Self {
        let (client, _events) = edge.connect().await;
        let pipeline = client.create_pipeline(Some(meeting)).await.unwrap();
        let create = || create(&client, "WebRtcEndpoint", json!({"mediaPipeline": pipeline}));
        let endpoints = [create().await, create().await];
        let connected = client.call("connect", json!({})).await.unwrap();
        let session = connected["sessionId"].as_str().unwrap().to_owned();
        Self { client, pipeline, endpoints, session }
    }

    /// Calls until `stop`; none may fail.
    async fn work(&self, stop: &AtomicBool, calls: &AtomicUsize) {
        let [a, b] = &self.endpoints;
        while !stop.load(Ordering::Relaxed) {
            for (object, operation, params) in [
                (a, "connect", json!({"sink": b})),
                (b, "addTag", json!({"key": "k", "value": self.pipeline})),
                (&self.pipeline, "getChildren", json!({})),
                (a, "disconnect", json!({"sink": b})),
            ] {
                self.client.invoke(object, operation, params).await.unwrap();
                calls.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

async fn create(client: &Client, kind: &str, params: Value) -> String {
    let params = json!({"type": kind, "constructorParams": params});
    let made = client.call("create", params).await.unwrap();
    made["value"].as_str().unwrap().to_owned()
}

/// A connection of the hostile client with some objects of its own on it.
struct Attack {
    socket: RawSocket,
    pipelines: Vec<String>,
    objects: Vec<String>,
    session: String,
}

impl Attack {
    async fn begin(edge: &Edge) -> Self {
        let socket = raw_socket(&edge.url).await;
        let (pipelines, objects, session) = (Vec::new(), Vec::new(), String::new());
        let mut attack = Self { socket, pipelines, objects, session };
        for _ in 0..2 {
            let pipeline = attack.create("MediaPipeline", json!({})).await;
            let inside = json!({"mediaPipeline": pipeline});
            for kind in ["PassThrough", "WebRtcEndpoint", "Composite", "DispatcherOneToMany"] {
                attack.create(kind, inside.clone()).await;
            }
            let recorder = json!({"mediaPipeline": pipeline, "uri": "file:///tmp/x.webm"});
            attack.create("RecorderEndpoint", recorder).await;
            attack.pipelines.push(pipeline);
        }
        attack
    }

    async fn create(&mut self, kind: &str, params: Value) -> String {
        let request = json!({"jsonrpc": "2.0", "id": self.objects.len(), "method": "create",
            "params": {"type": kind, "constructorParams": params}});
        let answer = send_text(&mut self.socket, &request.to_string()).await;
        let object = answer["result"]["value"].as_str().unwrap().to_owned();
        self.session = answer["result"]["sessionId"].as_str().unwrap().to_owned();
        self.objects.push(object.clone());
        object
    }

    /// Sends `frames`, and what ends each link's work behind them; then goes without a word. Gives
    /// how often each error was answered.
    async fn run(self, frames: Vec<String>) -> BTreeMap<i64, usize> {
        let (mut sender, receiver) = self.socket.split();
        let ends = self.pipelines.iter().enumerate().map(|(at, pipeline)| {
            let id = format!("end-{at}");
            json!({"jsonrpc": "2.0", "id": id, "method": "describe", "params": {"object": pipeline}})
                .to_string()
        });
        let all: Vec<String> = frames.into_iter().chain(ends).collect();
        let sending = async {
            for text in all {
                sender.send(Message::text(text)).await.unwrap();
            }
        };
        let (codes, ()) = within_bound("the answers", async {
            tokio::join!(answers(receiver, self.pipelines.len()), sending)
        })
        .await;
        codes
    }
}

/// Reads until all links have come to their ends.
async fn answers(mut receiver: SplitStream<RawSocket>, ends: usize) -> BTreeMap<i64, usize> {
    let (mut codes, mut ended) = (BTreeMap::new(), BTreeSet::new());
    while ended.len() < ends {
        let message = receiver.next().await.expect("the hostile client is not cut").unwrap();
        let Message::Text(text) = message else { continue };
        let Ok(answer) = serde_json::from_str::<Value>(&text) else { continue };
        if let Some(id) = answer["id"].as_str().filter(|id| id.starts_with("end-")) {
            ended.insert(id.to_owned());
        }
        if let Some(code) = answer["error"]["code"].as_i64() {
            *codes.entry(code).or_insert(0) += 1;
        }
    }
    codes
}

/// How many sessions a backend has, asked over `direct`.
async fn session_count(direct: &Client) -> usize {
    let sessions = direct.invoke(MANAGER, "getSessions", json!({})).await.unwrap();
    let ids: BTreeSet<&str> =
        sessions.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    ids.into_iter().filter(|id| !id.is_empty()).count()
}

/// Attacks again and again; gives how often each error was answered.
async fn attack(edge: &Edge, victims: &[Victim]) -> BTreeMap<i64, usize> {
    let foreign = victims.iter().map(|victim| victim.session.clone()).collect();
    let mut frames = Frames::seeded(20_261_121, recorded(), foreign);
    let mut total = BTreeMap::new();
    for round in 0..ROUNDS {
        let attack = Attack::begin(edge).await;
        let mut others: Vec<_> = victims.iter().map(|victim| victim.pipeline.clone()).collect();
        others.extend(victims.iter().flat_map(|victim| victim.endpoints.clone()));
        others.extend([MANAGER.to_owned(), "nosuch".to_owned()]);
        frames.aim_at(&attack.objects, &others, &attack.session);
        let sent = match round {
            0 => frames.all_recorded(),
            _ => (0..FRAMES).map(|_| frames.next()).collect(),
        };
        for (code, count) in attack.run(sent).await {
            *total.entry(code).or_insert(0) += count;
        }
    }
    total
}

#[tokio::test]
async fn a_hostile_client_hurts_nobody_but_itself() {
    let short = ["--gc-period", "1"];
    let mut sims = [KmsSim::start_with("a", &short).await, KmsSim::start_with("b", &short).await];
    // Its recorders are not to fill the backends.
    let more =
        "isolation = \"meeting\"\n[probe]\ntimeout_ms = 5000\n[weights]\nrecorder_legs = 1\n";
    let edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let begin = ["ana's", "ben's", "cem's"].map(|meeting| Victim::begin(&edge, meeting));
    let victims = join_all(begin).await;
    let direct = join_all(sims.iter().map(|sim| Client::connect(&sim.url))).await;
    let direct: Vec<Client> = direct.into_iter().map(|client| client.unwrap().0).collect();
    let before = join_all(direct.iter().map(session_count)).await;

    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let attacking = async {
        let codes = attack(&edge, &victims).await;
        stop.store(true, Ordering::Relaxed);
        codes
    };
    let working = join_all(victims.iter().map(|victim| victim.work(&stop, &calls)));
    let (codes, _) = tokio::join!(attacking, working);

    for code in [-32700, -32600, 40001, 40007, 40008, 40101, 40111] {
        assert!(codes.get(&code).is_some_and(|count| *count > 3), "{code} was tried: {codes:?}");
    }
    assert!(calls.load(Ordering::Relaxed) > 100, "the others worked meanwhile");
    for sim in &mut sims {
        assert!(sim.process.is_running(), "{} is dead", sim.id);
    }
    for (direct, before) in direct.iter().zip(before) {
        let left = || async { (session_count(direct).await <= before).then_some(()) };
        wait_for("nothing of the hostile client is left", left).await;
    }
}

/// Without the edge the same frame kills, so a backend that lives above was guarded.
#[tokio::test]
async fn the_frame_that_the_guard_stops_kills_a_bare_server() {
    let mut sim = KmsSim::start("bare").await;
    let (client, _events) = Client::connect(&sim.url).await.unwrap();
    let pipeline = client.create_pipeline(None).await.unwrap();
    let element = create(&client, "PassThrough", json!({"mediaPipeline": pipeline})).await;
    let killing = client.invoke(&element, "connect", json!({"sink": pipeline})).await;
    assert!(killing.is_err());
    assert!(!sim.process.exited().await.success());
}
