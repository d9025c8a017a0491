//! Every message that clients sent to a real KMS goes to the simulated one; what it answers must be
//! what the real one did, but for the differences listed here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use pinfold::model::{Draws, Time};
use pinfold::sim::kms::{ConnId, Kms, KmsOutput, KmsSettings};
use serde_json::Value;

use super::same::Ids;

/// Differences we know of: those in the recording `file` that hold `text`.
struct Excuse {
    file: &'static str,
    text: &'static str,
    reason: &'static str,
}

const EXCUSES: &[Excuse] = &[
    excuse("a-server-manager", "getUsedMemory", "a number of the machine it ran on"),
    excuse("a-server-manager", "getUsedCpu", "a number of the machine it ran on"),
    excuse("a-server-manager", "getCreationTime", "the time it ran at"),
    excuse("a-server-manager", "getKmd", "the recording holds only the beginning of the text"),
    excuse("b-webrtc", "getGstreamerDot", "the recording holds only the beginning of the text"),
    excuse("c-media", "getPosition", "depends on how fast the file was read"),
    excuse("c-media", "Error code 1: Internal", "no GStreamer that could fail"),
    excuse("c-media", "Error code 4: Stream", "no GStreamer that could fail"),
    excuse("c-media", "NOT_FLOWING", "the real one waits 1.5 s after `stop`, and saw audio only"),
    excuse(
        "e-reconnect",
        "connection 12: no event",
        "which events a moving session loses is chance",
    ),
    excuse("f-errors", "[[[[[[", "nesting: 127 levels here, 1,000 there"),
    excuse("f-errors", "connection 81:", "the same; the probe behind it"),
    excuse("g-sharing", "getSessions", "the recording begins with sessions of earlier ones"),
    excuse("o-misc", "no event", "which events of a first request are lost is chance"),
    excuse("o-misc", "more event", "which events of a first request are lost is chance"),
];

const fn excuse(file: &'static str, text: &'static str, reason: &'static str) -> Excuse {
    Excuse { file, text, reason }
}

/// One line of a recording.
#[derive(Debug, serde::Deserialize)]
struct Line {
    t_ms: f64,
    dir: String,
    conn: u64,
    #[serde(default)]
    op: Option<String>,
    #[serde(default)]
    code: Option<u16>,
    text: String,
    #[serde(default)]
    truncated: bool,
    #[serde(default)]
    unmasked: bool,
}

impl Line {
    /// Whether its connection is about frames and not about messages.
    fn is_about_frames(&self) -> bool {
        let op = self.op.as_deref().unwrap_or("text");
        let is_usual = matches!(
            op,
            "text" | "binary" | "http" | "tcp-open" | "tcp-fin" | "tcp-drop" | "tcp-error"
        );
        let is_refused = op == "close" && self.code != Some(1000);
        self.unmasked
            || is_refused
            || (self.dir == "c2s" && self.truncated)
            || !(is_usual || op == "close")
    }
}

/// What came back on one connection, answers and cuts in order, events apart.
#[derive(Debug, Default)]
struct Said {
    answers: Vec<Option<Value>>,
    events: Vec<Value>,
}

/// One recording, and a simulated KMS that hears the same.
struct Replay {
    start: Time,
    kms: Kms,
    ids: Ids,
    conns: BTreeMap<u64, ConnId>,
    requests: BTreeMap<u64, Vec<String>>,
    recorded: BTreeMap<u64, Said>,
    ours: BTreeMap<u64, Said>,
    answers_compared: BTreeMap<u64, usize>,
    differences: Vec<String>,
}

impl Replay {
    fn new(settings: KmsSettings, start: Time) -> Self {
        Self {
            start,
            kms: Kms::new(settings, Draws::seeded(11)),
            ids: Ids::default(),
            conns: BTreeMap::new(),
            requests: BTreeMap::new(),
            recorded: BTreeMap::new(),
            ours: BTreeMap::new(),
            answers_compared: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    fn run(&mut self, line: &Line) {
        let now = self.start + Duration::from_secs_f64(line.t_ms / 1_000.0);
        let mut out = Vec::new();
        self.kms.tick(now, &mut out);
        let op = line.op.as_deref();
        match (line.dir.as_str(), op) {
            ("c2s", Some("tcp-open")) => {
                let conn = self.kms.open();
                self.conns.insert(line.conn, conn);
            }
            ("c2s", Some("tcp-fin" | "tcp-drop" | "close")) => self.close(line.conn),
            ("c2s", None | Some("binary")) if !line.truncated => {
                if let Some(conn) = self.conns.get(&line.conn) {
                    self.requests.entry(line.conn).or_default().push(line.text.clone());
                    let text = self.ids.translate(&line.text);
                    self.kms.on_text(now, *conn, &text, &mut out);
                }
            }
            ("s2c", None) if line.truncated => self.record(line.conn, Some(Value::Null)),
            ("s2c", None) => {
                let value = serde_json::from_str(&line.text).unwrap_or_default();
                self.record(line.conn, Some(value));
            }
            ("s2c", Some("tcp-fin")) if self.conns.contains_key(&line.conn) => {
                self.record(line.conn, None);
                self.close(line.conn);
            }
            _ => {}
        }
        self.note(out);
        self.compare_answers();
    }

    fn close(&mut self, conn: u64) {
        if let Some(conn) = self.conns.remove(&conn) {
            self.kms.close(conn);
        }
    }

    fn record(&mut self, conn: u64, value: Option<Value>) {
        let said = self.recorded.entry(conn).or_default();
        match value {
            Some(event) if event.get("method").is_some() => said.events.push(event),
            answer => said.answers.push(answer),
        }
    }

    fn note(&mut self, out: Vec<KmsOutput>) {
        let number = |conns: &BTreeMap<u64, ConnId>, conn: ConnId| {
            conns.iter().find(|(_, known)| **known == conn).map(|(number, _)| *number)
        };
        for output in out {
            let (conn, value) = match output {
                KmsOutput::Answer { conn, text } | KmsOutput::Event { conn, text } => {
                    (conn, Some(serde_json::from_str::<Value>(&text).unwrap_or_default()))
                }
                KmsOutput::Cut { conn } => (conn, None),
                KmsOutput::Die => panic!("died"),
            };
            let Some(number) = number(&self.conns, conn) else { continue };
            let said = self.ours.entry(number).or_default();
            match value {
                Some(event) if event.get("method").is_some() => said.events.push(event),
                answer => said.answers.push(answer),
            }
        }
    }

    /// Compares the answers that both sides have given.
    fn compare_answers(&mut self) {
        for (conn, recorded) in &self.recorded {
            let Some(ours) = self.ours.get(conn) else { continue };
            let compared = self.answers_compared.entry(*conn).or_default();
            while let (Some(a), Some(b)) =
                (recorded.answers.get(*compared), ours.answers.get(*compared))
            {
                let is_same = match (a, b) {
                    (Some(a), Some(b)) => self.ids.are_same(a, b),
                    (None, None) => true,
                    _ => false,
                };
                if !is_same {
                    let request = &self.requests[conn][*compared];
                    let text =
                        |v: &Option<Value>| v.as_ref().map_or("cut".into(), Value::to_string);
                    self.differences.push(format!(
                        "{request}\n  kms: {}\n  sim: {}",
                        text(a),
                        text(b)
                    ));
                }
                *compared += 1;
            }
        }
    }

    /// Compares the events, in any order, and looks for answers that one side did not give.
    fn end(&mut self) {
        for (conn, recorded) in &self.recorded {
            let none = Said::default();
            let ours = self.ours.get(conn).unwrap_or(&none);
            if recorded.answers.len() != ours.answers.len() {
                let (a, b) = (recorded.answers.len(), ours.answers.len());
                self.differences.push(format!("connection {conn}: answers {a} and {b}"));
            }
            let mut left: Vec<&Value> = ours.events.iter().collect();
            for event in &recorded.events {
                match left.iter().position(|ours| self.ids.are_same(event, ours)) {
                    Some(at) => drop(left.remove(at)),
                    None => self.differences.push(format!("connection {conn}: no event {event}")),
                }
            }
            let more = left.iter().map(|event| format!("connection {conn}: more event {event}"));
            self.differences.extend(more);
        }
    }
}

/// Connections that no message came from, or that are about frames: the business of the sockets.
fn without_messages(lines: &[Line]) -> BTreeSet<u64> {
    let mut skipped: BTreeSet<u64> = lines.iter().map(|line| line.conn).collect();
    for line in lines.iter().filter(|line| line.dir == "c2s" && line.op.is_none()) {
        skipped.remove(&line.conn);
    }
    skipped.extend(lines.iter().filter(|line| line.is_about_frames()).map(|line| line.conn));
    skipped
}

/// Replays `file`; the server had been running for `age` when the recording began.
fn replay(file: &str, settings: KmsSettings, age: Duration) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kms-wire").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let skipped = without_messages(&lines);
    let mut replay = Replay::new(settings, Time::ZERO + age);
    for line in lines.iter().filter(|line| !skipped.contains(&line.conn)) {
        replay.run(line);
    }
    replay.end();
    let answers: usize = replay.answers_compared.values().sum();
    let events: usize = replay.recorded.values().map(|said| said.events.len()).sum();
    let excuses: Vec<&Excuse> =
        EXCUSES.iter().filter(|excuse| file.starts_with(excuse.file)).collect();
    let is_excused = |text: &&String| excuses.iter().any(|excuse| text.contains(excuse.text));
    let (excused, bad): (Vec<&String>, Vec<&String>) =
        replay.differences.iter().partition(is_excused);
    println!("{file}: {answers} answers, {events} events, {} excused", excused.len());
    for excuse in &excuses {
        let is_needed = excused.iter().any(|text| text.contains(excuse.text));
        assert!(is_needed, "{}: nothing left to excuse: {}", excuse.text, excuse.reason);
    }
    assert!(answers > 0);
    let bad: Vec<&str> = bad.iter().map(|text| text.as_str()).collect();
    assert!(bad.is_empty(), "{file}: {} differences\n{}", bad.len(), bad.join("\n"));
}

/// A KMS that collects every `seconds`.
fn collecting_every(seconds: u64) -> KmsSettings {
    KmsSettings { gc_period: Duration::from_secs(seconds), ..KmsSettings::default() }
}

macro_rules! replays {
    ($($name:ident: $file:literal, $settings:expr, $age_millis:literal;)*) => {
        $(
            #[test]
            fn $name() {
                replay($file, $settings, Duration::from_millis($age_millis));
            }
        )*
    };
}

replays! {
    server_manager: "a-server-manager.jsonl", KmsSettings::default(), 0;
    webrtc: "b-webrtc.jsonl", KmsSettings::default(), 0;
    media: "c-media.jsonl", KmsSettings::default(), 0;
    transactions: "d-transactions.jsonl", KmsSettings::default(), 0;
    reconnect: "e-reconnect.jsonl", KmsSettings::default(), 0;
    errors: "f-errors.jsonl", KmsSettings::default(), 0;
    sharing: "g-sharing.jsonl", KmsSettings::default(), 0;
    request_cache: "h-request-cache.jsonl", KmsSettings::default(), 0;
    ordering: "i-ordering.jsonl", KmsSettings::default(), 0;
    garbage: "j-gc.jsonl", collecting_every(6), 0;
    garbage_of_moved_sessions: "j2-gc.jsonl", collecting_every(6), 4_839;
    wrong_kind: "k-wrong-kind.jsonl", KmsSettings::default(), 0;
    misc: "o-misc.jsonl", KmsSettings::default(), 0;
    release_manager: "p-release-manager.jsonl", KmsSettings::default(), 0;
}
