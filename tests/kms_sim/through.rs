//! Every message of the recordings goes to a simulated KMS twice: straight, and through the edge.
//! An answer that differs belongs to a row of `docs/PROTOCOL.md`, and every one is listed here.
//!
//! Both are the real binary on real sockets. Messages go one after another, each when the one
//! before is answered, so what took time when it was recorded (collection, the end of the answer
//! cache) happens on neither way. Events are not compared: the end-to-end tests do that. Not here:
//! recording l, in which the server is stopped and started, and n, in which it is the client.

mod differences;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use self::differences::DIFFERENCES;
use super::recording::{Line, without_messages};
use super::same::Ids;
use crate::e2e::harness::{Edge, KmsSim, RawSocket, raw_socket, within_bound};

/// Operations whose answers no two runs give alike: what a machine uses, times, graphs in the order
/// of their ids, how far ICE has got.
const CHANCE: [&str; 6] = [
    "getUsedCpu",
    "getUsedMemory",
    "getCreationTime",
    "getPosition",
    "getGstreamerDot",
    "getIceConnectionState",
];

/// An answer; `None` when the connection was cut instead.
type Answer = Option<Value>;

/// What a client does on one connection, its message in the words of the straight run.
#[derive(Debug)]
enum Act {
    Open(String),
    Send { message: Message, answer: Answer },
    Close,
}

/// One step of a recording, and the line it stands on.
#[derive(Debug)]
struct Step {
    line: usize,
    t_ms: f64,
    conn: u64,
    act: Act,
}

/// The straight run, which gives the steps of the other one.
struct Straight {
    /// `ws://IP:PORT` of the simulated KMS.
    origin: String,
    sockets: BTreeMap<u64, RawSocket>,
    /// Ids of the recording -> ids of this run.
    ids: Ids,
    recorded: BTreeMap<u64, Vec<Answer>>,
    answered: BTreeMap<u64, Vec<Answer>>,
    learned: BTreeMap<u64, usize>,
    steps: Vec<Step>,
}

impl Straight {
    fn new(sim: &KmsSim) -> Self {
        Self {
            origin: sim.url.strip_suffix("/kurento").unwrap().to_owned(),
            sockets: BTreeMap::new(),
            ids: Ids::default(),
            recorded: BTreeMap::new(),
            answered: BTreeMap::new(),
            learned: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    async fn run(&mut self, number: usize, line: &Line) {
        let act = match (line.dir.as_str(), line.op.as_deref()) {
            ("c2s", Some("http")) => {
                let path = line.text.split(' ').nth(1).unwrap().to_owned();
                let socket = raw_socket(&format!("{}{path}", self.origin)).await;
                self.sockets.insert(line.conn, socket);
                Act::Open(path)
            }
            ("c2s", Some("tcp-fin" | "tcp-drop" | "close")) => {
                self.sockets.remove(&line.conn);
                Act::Close
            }
            ("c2s", op @ (None | Some("binary"))) if !line.truncated => {
                let Some(socket) = self.sockets.get_mut(&line.conn) else { return };
                let text = self.ids.translate(&line.text);
                let message = match op {
                    None => Message::text(text),
                    Some(_) => Message::binary(text.into_bytes()),
                };
                let answer = ask_straight(socket, &message, number).await;
                if answer.is_none() {
                    self.sockets.remove(&line.conn);
                }
                self.answered.entry(line.conn).or_default().push(answer.clone());
                Act::Send { message, answer }
            }
            ("s2c", None | Some("tcp-fin")) => {
                let value: Answer = line.op.is_none().then(|| parse(&line.text));
                let is_event = value.as_ref().is_some_and(is_event);
                if !is_event {
                    self.recorded.entry(line.conn).or_default().push(value);
                }
                return self.learn(line.conn);
            }
            _ => return,
        };
        self.steps.push(Step { line: number, t_ms: line.t_ms, conn: line.conn, act });
        self.learn(line.conn);
    }

    /// Learns the ids in answers that are there both in the recording and here.
    fn learn(&mut self, conn: u64) {
        let learned = self.learned.entry(conn).or_default();
        let pair = |at: usize| {
            Some((self.recorded.get(&conn)?.get(at)?, self.answered.get(&conn)?.get(at)?))
        };
        while let Some((recorded, answered)) = pair(*learned) {
            if let (Some(recorded), Some(answered)) = (recorded, answered) {
                self.ids.are_same(recorded, answered);
            }
            *learned += 1;
        }
    }
}

/// Sends `message` and a ping behind it, which a KMS answers after it.
async fn ask_straight(socket: &mut RawSocket, message: &Message, number: usize) -> Answer {
    let id = format!("behind-{number}");
    let ping = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"ping"}}"#);
    // A connection that is cut may refuse either.
    let _ = socket.send(message.clone()).await;
    let _ = socket.send(Message::text(ping)).await;
    let mut answer = None;
    while let Some(value) = next(socket).await {
        if value["id"] == id.as_str() {
            return answer;
        }
        answer = answer.or(Some(value));
    }
    None
}

/// The next message that is no event; `None` when the connection has ended.
async fn next(socket: &mut RawSocket) -> Answer {
    loop {
        let message = within_bound("an answer", socket.next()).await;
        let Some(Ok(Message::Text(text))) = message else { return None };
        let value = parse(&text);
        if !is_event(&value) {
            return Some(value);
        }
    }
}

/// `text` as JSON; null for the empty message.
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn is_event(message: &Value) -> bool {
    message.get("method").is_some()
}

/// An answer that is not the straight one.
struct Difference {
    line: usize,
    t_ms: f64,
    request: String,
    straight: Answer,
    through: Answer,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |answer: &Answer| answer.as_ref().map_or("cut".to_owned(), Value::to_string);
        writeln!(f, "line {}, at {} ms: {}", self.line, self.t_ms, self.request)?;
        writeln!(f, "  straight: {}\n  through: {}", text(&self.straight), text(&self.through))
    }
}

/// Takes `steps` through the edge; how many answers there were, and those that differ.
async fn run_through(edge: &Edge, steps: Vec<Step>) -> (usize, Vec<Difference>) {
    let origin = edge.url.strip_suffix("/kurento").unwrap();
    let mut sockets = BTreeMap::new();
    let mut ids = Ids::default();
    let (mut answers, mut differences) = (0, Vec::new());
    for Step { line, t_ms, conn, act } in steps {
        match act {
            Act::Open(path) => {
                sockets.insert(conn, raw_socket(&format!("{origin}{path}")).await);
            }
            Act::Close => {
                sockets.remove(&conn);
            }
            Act::Send { message, answer: straight } => {
                let socket = sockets.get_mut(&conn).expect("the edge cuts no connection");
                let request = ids.translate(message.to_text().unwrap());
                let message = match message {
                    Message::Binary(_) => Message::binary(request.clone().into_bytes()),
                    _ => Message::text(request.clone()),
                };
                socket.send(message).await.unwrap();
                let through = next(socket).await;
                answers += 1;
                let is_same = match (&straight, &through) {
                    (Some(straight), Some(through)) => ids.are_same(straight, through),
                    (None, _) | (_, None) => false,
                };
                if !is_same && !CHANCE.iter().any(|operation| request.contains(operation)) {
                    differences.push(Difference { line, t_ms, request, straight, through });
                }
            }
        }
    }
    (answers, differences)
}

/// Runs `file` both ways and holds the differences against the list.
async fn compare(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kms-wire").join(file);
    let text = std::fs::read_to_string(path.with_extension("jsonl")).unwrap();
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let skipped = without_messages(&lines);
    let alone = KmsSim::start("alone").await;
    let behind = KmsSim::start_all(["behind"]).await;
    let edge = Edge::start(&behind).await;
    let mut straight = Straight::new(&alone);
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !skipped.contains(&line.conn)) {
        straight.run(at + 1, line).await;
    }
    let (answers, differences) = run_through(&edge, straight.steps).await;
    println!("{file}: {answers} answers, {} differ", differences.len());
    let declared: BTreeMap<usize, &str> = differences::of(file).collect();
    let found: Vec<usize> = differences.iter().map(|difference| difference.line).collect();
    let undeclared: Vec<String> = differences
        .iter()
        .filter(|found| !declared.contains_key(&found.line))
        .map(Difference::to_string)
        .collect();
    assert!(undeclared.is_empty(), "{file}: no row tells why:\n{}", undeclared.concat());
    let unseen: Vec<_> = declared.iter().filter(|(line, _)| !found.contains(line)).collect();
    assert!(unseen.is_empty(), "{file}: declared, but the answers are the same: {unseen:?}");
    assert!(answers > 0);
}

/// A difference is no excuse unless the document tells of it.
#[test]
fn every_difference_has_its_row() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROTOCOL.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    let missing: BTreeSet<&str> =
        DIFFERENCES.iter().map(|differs| differs.row).filter(|row| !rows.contains(row)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

macro_rules! recordings {
    ($($name:ident: $file:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                compare($file).await;
            }
        )*
    };
}

recordings! {
    server_manager: "a-server-manager";
    webrtc: "b-webrtc";
    media: "c-media";
    transactions: "d-transactions";
    reconnect: "e-reconnect";
    errors: "f-errors";
    sharing: "g-sharing";
    request_cache: "h-request-cache";
    ordering: "i-ordering";
    garbage: "j-gc";
    garbage_of_moved_sessions: "j2-gc";
    wrong_kind: "k-wrong-kind";
    misc: "o-misc";
    release_manager: "p-release-manager";
}
