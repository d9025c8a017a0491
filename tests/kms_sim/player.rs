//! Plays a recording to a simulated KMS and compares what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pinfold::model::{Draws, Time};
use pinfold::sim::kms::{ConnId, Kms, KmsOutput, KmsSettings, Limits};
use serde_json::{Value, json};

use super::recording::Line;
use super::same::Ids;

/// Something done to the process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// SIGTERM.
    Terminate,
    /// A new process under the same address.
    Start(Limits),
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

/// What came in turn on a connection: everything but events.
#[derive(Debug)]
enum Turn {
    Answer(Value),
    /// An answer of which only the beginning was recorded; ours as it is.
    Text(String),
    /// A pong with its payload.
    Pong(String),
    /// The connection ended.
    Cut,
}

/// What came back on one connection, in turn, and events apart: their place is chance.
#[derive(Debug, Default)]
struct Said {
    turns: Vec<Turn>,
    events: Vec<Value>,
}

/// One recording, and a simulated KMS that hears the same.
pub(super) struct Player {
    settings: KmsSettings,
    start: Time,
    kms: Kms,
    starts: u64,
    /// When the process is gone that was told to end.
    gone: Option<Time>,
    ids: Ids,
    conns: BTreeMap<u64, ConnId>,
    requests: BTreeMap<u64, Vec<String>>,
    /// Control frames that wait until their connection has nothing else to do.
    pings: BTreeMap<u64, Vec<String>>,
    recorded: BTreeMap<u64, Said>,
    ours: BTreeMap<u64, Said>,
    turns_compared: BTreeMap<u64, usize>,
    differences: Vec<String>,
}

impl Player {
    pub(super) fn new(settings: KmsSettings, start: Time) -> Self {
        Self {
            kms: Kms::new(settings.clone(), Draws::seeded(11)),
            settings,
            start,
            starts: 1,
            gone: None,
            ids: Ids::default(),
            conns: BTreeMap::new(),
            requests: BTreeMap::new(),
            pings: BTreeMap::new(),
            recorded: BTreeMap::new(),
            ours: BTreeMap::new(),
            turns_compared: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    /// Makes sessions of these names exist, as if left by earlier clients.
    pub(super) fn open_sessions(&mut self, names: &[String]) {
        for name in names {
            let conn = self.kms.open();
            let params = json!({ "object": "manager_ServerManager", "sessionId": name });
            let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "describe", "params": params });
            self.kms.on_text(self.start, conn, &text.to_string(), &mut Vec::new());
            self.kms.close(conn);
        }
    }

    fn time(&self, millis: f64) -> Time {
        self.start + Duration::from_secs_f64(millis / 1_000.0)
    }

    /// Does `act` at `millis` of the recording.
    pub(super) fn act(&mut self, millis: f64, act: Act) {
        let now = self.time(millis);
        self.tick_to(now);
        match act {
            Act::Terminate => self.gone = Some(self.kms.terminate(now)),
            Act::Start(limits) => {
                let is_gone = self.gone.take().is_some_and(|gone| gone <= now);
                assert!(is_gone, "the old process is there at {millis} ms");
                self.starts += 1;
                let settings = KmsSettings { limits, ..self.settings.clone() };
                self.kms = Kms::new(settings, Draws::seeded(10 + self.starts));
                self.conns.clear();
            }
            Act::Stop => self.kms.faults_mut().hang_after = Some(0),
            Act::Continue => self.kms.faults_mut().hang_after = None,
        }
        self.tick(now);
    }

    /// Has everything happen that is due until `now`, each thing at its time.
    fn tick_to(&mut self, now: Time) {
        loop {
            let at = self.kms.deadline().min(now);
            self.tick(at);
            if at == now {
                return;
            }
        }
    }

    fn tick(&mut self, now: Time) {
        let mut out = Vec::new();
        self.kms.tick(now, &mut out);
        self.note(out);
        self.answer_pings();
    }

    /// Plays one line.
    pub(super) fn run(&mut self, line: &Line) {
        let now = self.time(line.t_ms);
        self.tick_to(now);
        match (line.dir.as_str(), line.op.as_deref()) {
            ("c2s", Some("tcp-open")) => {
                let conn = self.kms.open();
                self.conns.insert(line.conn, conn);
            }
            ("c2s", Some("tcp-fin" | "tcp-drop" | "close")) => self.close(line.conn),
            ("c2s", Some("ping")) => {
                self.pings.entry(line.conn).or_default().push(line.text.clone());
            }
            ("c2s", None | Some("binary")) if !line.truncated => self.send(now, line),
            ("s2c", None) if line.truncated => {
                self.record(line.conn, Turn::Text(line.text.clone()));
            }
            ("s2c", None) => {
                let value = serde_json::from_str(&line.text).unwrap_or_default();
                self.record(line.conn, Turn::Answer(value));
            }
            ("s2c", Some("pong")) => self.record(line.conn, Turn::Pong(line.text.clone())),
            ("s2c", Some("tcp-fin")) if self.conns.contains_key(&line.conn) => {
                self.record(line.conn, Turn::Cut);
                self.close(line.conn);
            }
            _ => {}
        }
        self.answer_pings();
        self.compare_turns();
    }

    fn send(&mut self, now: Time, line: &Line) {
        if let Some(conn) = self.conns.get(&line.conn) {
            self.requests.entry(line.conn).or_default().push(line.text.clone());
            let text = self.ids.translate(&line.text);
            let mut out = Vec::new();
            self.kms.on_text(now, *conn, &text, &mut out);
            self.note(out);
        }
    }

    /// Answers the pings of connections that are not busy, as the sockets would.
    fn answer_pings(&mut self) {
        for (number, pings) in &mut self.pings {
            let is_free = self.conns.get(number).is_some_and(|conn| !self.kms.is_busy(*conn));
            if is_free {
                let said = self.ours.entry(*number).or_default();
                said.turns.extend(pings.drain(..).map(Turn::Pong));
            }
        }
    }

    fn close(&mut self, conn: u64) {
        // The server's side of a connection that it has cut itself is gone already.
        if let Some(conn) = self.conns.remove(&conn) {
            self.kms.close(conn);
        }
    }

    fn record(&mut self, conn: u64, turn: Turn) {
        let said = self.recorded.entry(conn).or_default();
        match turn {
            Turn::Answer(event) if event.get("method").is_some() => said.events.push(event),
            turn => said.turns.push(turn),
        }
    }

    fn note(&mut self, out: Vec<KmsOutput>) {
        for output in out {
            let (conn, turn) = match output {
                KmsOutput::Answer { conn, text } => (conn, Turn::Text(text)),
                KmsOutput::Event { conn, text } => {
                    (conn, Turn::Answer(serde_json::from_str(&text).unwrap()))
                }
                KmsOutput::Cut { conn } => (conn, Turn::Cut),
                KmsOutput::Die => panic!("died"),
            };
            let Some((number, _)) = self.conns.iter().find(|(_, known)| **known == conn) else {
                continue;
            };
            let said = self.ours.entry(*number).or_default();
            match turn {
                Turn::Answer(event) => said.events.push(event),
                turn => said.turns.push(turn),
            }
        }
    }

    /// Compares what both sides have said in turn.
    fn compare_turns(&mut self) {
        for (conn, recorded) in &self.recorded {
            let Some(ours) = self.ours.get(conn) else { continue };
            let compared = self.turns_compared.entry(*conn).or_default();
            while let (Some(a), Some(b)) =
                (recorded.turns.get(*compared), ours.turns.get(*compared))
            {
                if !are_same(&mut self.ids, a, b) {
                    let is_answer = |turn: &&Turn| !matches!(turn, Turn::Pong(_));
                    let at = recorded.turns[..*compared].iter().filter(is_answer).count();
                    let request = self.requests[conn].get(at).map_or("", String::as_str);
                    self.differences.push(format!("{request}\n  kms: {a:?}\n  sim: {b:?}"));
                }
                *compared += 1;
            }
        }
    }

    /// Compares the events, in any order, and looks for answers that one side did not give: how many
    /// frames were compared, and the differences.
    pub(super) fn end(mut self) -> (usize, Vec<String>) {
        self.compare_turns();
        let mut compared: usize = self.turns_compared.values().sum();
        let conns: BTreeSet<u64> = self.recorded.keys().chain(self.ours.keys()).copied().collect();
        let none = Said::default();
        for conn in conns {
            let recorded = self.recorded.get(&conn).unwrap_or(&none);
            let ours = self.ours.get(&conn).unwrap_or(&none);
            if recorded.turns.len() != ours.turns.len() {
                let (a, b) = (recorded.turns.len(), ours.turns.len());
                self.differences.push(format!("connection {conn}: answers {a} and {b}"));
            }
            compared += recorded.events.len();
            let mut left: Vec<&Value> = ours.events.iter().collect();
            for event in &recorded.events {
                match left.iter().position(|ours| self.ids.are_same(event, ours)) {
                    Some(at) => drop(left.remove(at)),
                    None => self.differences.push(format!("connection {conn}: no event {event}")),
                }
            }
            compared += left.len();
            let more = left.iter().map(|event| format!("connection {conn}: more event {event}"));
            self.differences.extend(more);
        }
        (compared, self.differences)
    }
}

/// Whether `ours` is what was recorded; of a text that was cut off, the beginning counts.
fn are_same(ids: &mut Ids, recorded: &Turn, ours: &Turn) -> bool {
    match (recorded, ours) {
        (Turn::Answer(a), Turn::Text(b)) => {
            ids.are_same(a, &serde_json::from_str(b).unwrap_or_default())
        }
        (Turn::Text(a), Turn::Text(b)) => b.starts_with(&ids.translate(a)),
        (Turn::Pong(a), Turn::Pong(b)) => a == b,
        (Turn::Cut, Turn::Cut) => true,
        (Turn::Answer(_) | Turn::Text(_) | Turn::Pong(_) | Turn::Cut, _) => false,
    }
}
