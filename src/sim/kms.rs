//! One simulated Kurento Media Server: texts in, texts out, no media.
//!
//! It follows a running KMS 7.3.1 in what a client or an edge can see: sessions and ties, object
//! ids and their life, the 13 methods with their codes, events, transactions, the answer cache and
//! garbage collection. It does not: run media, limit resources, block on slow calls, or crash on
//! `connect` with a sink that is no element (it answers -32603 instead).

mod answers;
mod events;
mod methods;
mod objects;
mod operations;
mod sdp;
mod sessions;
mod transactions;
mod types;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::model::{Draws, Time};

use self::answers::Answers;
use self::objects::Objects;
use self::sessions::Sessions;
use self::wire::{Fault, Frame, Object, Request};

/// How often sessions without a sign of life are removed, by default of KMS.
pub const COLLECT_EVERY: Duration = Duration::from_secs(240);

/// One connection to the simulated server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

/// What the server does to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KmsOutput {
    /// Send this text message; an empty one is sent too.
    Text {
        /// The connection it goes to.
        conn: ConnId,
        /// The message.
        text: String,
    },
    /// Cut TCP without a close frame.
    Cut {
        /// The connection to cut.
        conn: ConnId,
    },
}

/// The state of one server. It grows with what clients make it hold, as a real one does; only the
/// answer cache has a bound of its own.
#[derive(Debug)]
pub struct Kms {
    server_id: String,
    draws: Draws,
    started_unix_ms: u64,
    now: Time,
    collect_at: Time,
    conns: u64,
    /// Connections cut for broken text: their session is kept alive for ever, as KMS does.
    leaked: BTreeSet<ConnId>,
    sessions: Sessions,
    objects: Objects,
    answers: Answers,
    outbox: Vec<KmsOutput>,
}

impl Kms {
    /// A server without sessions or objects. `server_id` is what `connect` answers; `draws` decide
    /// all ids.
    #[must_use]
    pub fn new(server_id: String, draws: Draws) -> Self {
        Self {
            server_id,
            draws,
            started_unix_ms: 0,
            now: Time::ZERO,
            collect_at: Time::ZERO + COLLECT_EVERY,
            conns: 0,
            leaked: BTreeSet::new(),
            sessions: Sessions::default(),
            objects: Objects::new(),
            answers: Answers::default(),
            outbox: Vec::new(),
        }
    }

    /// Sets the wall-clock time of `Time::ZERO`, in milliseconds since 1970, for what is shown.
    #[must_use]
    pub fn started_at(mut self, unix_ms: u64) -> Self {
        self.started_unix_ms = unix_ms;
        if let Some(manager) = self.objects.find_mut(objects::MANAGER_ID) {
            manager.created_s = unix_ms / 1_000;
        }
        self
    }

    /// A new connection, which has no session yet.
    pub fn open(&mut self) -> ConnId {
        self.conns += 1;
        ConnId(self.conns)
    }

    /// A connection has ended: its session has no connection any more but lives on.
    pub fn close(&mut self, conn: ConnId) {
        if !self.leaked.contains(&conn) {
            self.sessions.untie(conn);
        }
    }

    /// Takes one message of a connection; what follows from it is added to `out`, for other
    /// connections too.
    pub fn on_text(&mut self, now: Time, conn: ConnId, text: &str, out: &mut Vec<KmsOutput>) {
        self.now = now;
        self.answers.expire(now);
        self.take_text(conn, text);
        out.append(&mut self.outbox);
    }

    /// Removes sessions without a sign of life when a period has passed; what follows from it is
    /// added to `out`. To be called at least once in a while.
    pub fn tick(&mut self, now: Time, out: &mut Vec<KmsOutput>) {
        self.now = now;
        self.answers.expire(now);
        if now < self.collect_at {
            return;
        }
        self.collect_at = now + COLLECT_EVERY;
        for session in self.sessions.collect() {
            self.end_session(&session);
        }
        out.append(&mut self.outbox);
    }

    fn take_text(&mut self, conn: ConnId, text: &str) {
        let is_tied = self.sessions.of_conn(conn).is_some();
        match wire::read(text) {
            Frame::Object(object) => self.take_object(conn, object),
            Frame::Other if !is_tied => {
                let refusal = wire::answer(&Value::Null, &Err(Fault::invalid_request()));
                self.send(conn, &refusal);
            }
            Frame::Other | Frame::Broken => self.cut(conn),
        }
    }

    fn take_object(&mut self, conn: ConnId, object: Object) {
        let id = object.get("id").cloned().unwrap_or(Value::Null);
        match Request::from_object(object) {
            Ok(request) => self.take_request(conn, request),
            Err(fault) if fault == Fault::invalid_request() => {
                self.send(conn, &wire::answer(&Value::Null, &Err(fault)));
            }
            Err(_) if self.sessions.of_conn(conn).is_some() => self.cut(conn),
            Err(fault) => self.send(conn, &wire::answer(&id, &Err(fault))),
        }
    }

    fn take_request(&mut self, conn: ConnId, mut request: Request) {
        if let Some(session) = self.sessions.of_conn(conn) {
            let params = request.params.get_or_insert_default();
            params.entry("sessionId").or_insert_with(|| Value::String(session.clone()));
        }
        if request.id.is_null() {
            let outcome = self.call(&request);
            match wire::answer_without_id(&outcome) {
                Some(answer) => self.send(conn, &answer),
                None => self.outbox.push(KmsOutput::Text { conn, text: String::new() }),
            }
            return;
        }
        let answer = self.answer(&request);
        match session_in(answer.get("result")) {
            Some(session) if session.is_empty() => self.sessions.untie(conn),
            Some(session) => self.sessions.tie(conn, &session),
            None => {}
        }
        self.send(conn, &answer);
    }

    /// The answer to a request, from the cache if its id was answered a moment ago.
    fn answer(&mut self, request: &Request) -> Value {
        let id = wire::to_text(&request.id).unwrap_or_default();
        let named = request.params.as_ref().and_then(|params| params.get("sessionId"));
        let named = named.and_then(wire::to_text);
        let cached = named.as_deref().and_then(|session| self.answers.find(session, &id));
        if let Some(cached) = cached.filter(|_| methods::is_known(&request.method)) {
            return cached.clone();
        }
        let answer = wire::answer(&request.id, &self.call(request));
        if let Some(session) = named.or_else(|| session_in(answer.get("result"))) {
            self.answers.keep(self.now, &session, id, &answer);
        }
        answer
    }

    fn send(&mut self, conn: ConnId, message: &Value) {
        self.outbox.push(KmsOutput::Text { conn, text: wire::to_ascii(message) });
    }

    fn cut(&mut self, conn: ConnId) {
        if self.sessions.of_conn(conn).is_some() {
            self.leaked.insert(conn);
        }
        self.outbox.push(KmsOutput::Cut { conn });
    }

    fn unix_ms(&self) -> u64 {
        self.started_unix_ms + self.now.as_micros() / 1_000
    }

    fn new_uuid(&mut self) -> String {
        uuid(&mut self.draws)
    }
}

/// A random UUID (version 4) in its usual text form.
#[must_use]
pub fn uuid(draws: &mut Draws) -> String {
    let (high, low) = (draws.next(), draws.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

fn session_in(result: Option<&Value>) -> Option<String> {
    result?.get("sessionId").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests;
