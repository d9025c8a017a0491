//! A Kurento Media Server as its clients see it, without sockets, clock or random source.
//!
//! `Kms` is the transport side: connections, the session each is tied to, one request at a time on
//! each, the answers given again, the garbage collector's clock. What the requests do is
//! `server::Server`. Source of all behaviour: Kurento protocol notes, sections 2 to 11.
//!
//! Known differences from a real one: no media is behind it, so `getStats` gives null also where it
//! flows, and graphs and module descriptions are short; operations that are not modelled do nothing.

mod cache;
mod ending;
mod envelope;
mod fault;
mod faults;
mod invoke;
mod kmd;
mod load;
mod manager;
mod media;
mod methods;
mod objects;
mod random;
pub mod registrar;
mod sdp;
mod server;
mod settings;
mod threads;
mod ties;
mod timing;
mod transaction;
mod types;
mod uri;
mod usage;
mod webrtc;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::model::{Draws, Time};

use self::cache::Answers;
use self::ending::Life;
use self::fault::Fault;
use self::objects::Id;
use self::server::{Raised, Server};
use self::threads::Threads;

pub use self::faults::Faults;
pub use self::load::{CpuWeights, LoadModel, MemoryWeights};
pub use self::settings::{KmsSettings, Limits};

/// Of all events, how many in a hundred overtake the answer of the call that caused them. Source:
/// 40 of 50 observed.
const EARLY_PERCENT: usize = 80;

/// One connection to a `Kms`; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

/// What a `Kms` wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KmsOutput {
    /// Send `text` as the answer to the request under way.
    Answer {
        /// Where to.
        conn: ConnId,
        /// One whole message; may be empty.
        text: String,
    },
    /// Send `text`, which is no answer.
    Event {
        /// Where to.
        conn: ConnId,
        /// One whole message.
        text: String,
    },
    /// Close the TCP connection without a close frame.
    Cut {
        /// Which.
        conn: ConnId,
    },
    /// The process has crashed: cut everything, answer nothing.
    Die,
}

/// A connection, or what is left of it.
#[derive(Debug, Default)]
struct Conn {
    session: Option<Id>,
    /// Whether an answer is under way.
    is_busy: bool,
    /// Cut for malformed input, which leaves the tie behind for ever.
    is_ghost: bool,
}

/// A request that has run; its answer is still to come.
#[derive(Debug)]
struct Done {
    conn: ConnId,
    /// `None` for one that is answered with an empty message.
    answer: Option<Value>,
    key: Option<cache::Key>,
    raised: Vec<Raised>,
}

/// One simulated Kurento Media Server.
///
/// The caller carries messages in by `open`, `on_text` and `close`, what is in `out` to the
/// connections in that order, and calls `tick` when `deadline` has come.
#[derive(Debug)]
pub struct Kms {
    server: Server,
    conns: BTreeMap<ConnId, Conn>,
    conns_opened: u64,
    ties: BTreeMap<Id, ConnId>,
    answers: Answers,
    /// Messages that came while their connection, or all I/O threads, were busy. As many as the
    /// caller passes on: one a connection if it asks `is_busy` before it reads.
    waiting: VecDeque<(ConnId, String)>,
    done: BTreeMap<(Time, u64), Done>,
    done_count: u64,
    threads: Threads,
    next_collection: Time,
    next_round: Time,
    /// Whether the server hung when `tick` was called last.
    has_hung: bool,
    life: Life,
}

impl Kms {
    /// A server without connections; `draws` decides all ids and the order of events.
    #[must_use]
    pub fn new(settings: KmsSettings, draws: Draws) -> Self {
        let period = settings.gc_period;
        Self {
            server: Server::new(settings, draws),
            conns: BTreeMap::new(),
            conns_opened: 0,
            ties: BTreeMap::new(),
            answers: Answers::default(),
            waiting: VecDeque::new(),
            done: BTreeMap::new(),
            done_count: 0,
            threads: Threads::default(),
            next_collection: Time::ZERO + period,
            next_round: Time::ZERO + period / 4,
            has_hung: false,
            life: Life::default(),
        }
    }

    /// UUID of this process, as `connect` tells it.
    #[must_use]
    pub fn server_id(&self) -> &str {
        &self.server.id
    }

    /// Whether its connections keep small messages back, for whoever has the sockets.
    #[must_use]
    pub const fn uses_nagle(&self) -> bool {
        self.server.settings.uses_nagle
    }

    /// What is wrong with this server.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// What is wrong with this server, to change it. Call `tick` afterwards: one that hung has much
    /// to do.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.server.faults
    }

    /// A new connection.
    pub fn open(&mut self) -> ConnId {
        self.conns_opened += 1;
        let id = ConnId(self.conns_opened);
        self.conns.insert(id, Conn::default());
        self.server.conn_count += 1;
        id
    }

    /// `conn` is gone; its session stays until it is collected.
    pub fn close(&mut self, conn: ConnId) {
        self.waiting.retain(|(of, _)| *of != conn);
        if self.conns.get(&conn).is_some_and(|known| !known.is_ghost) {
            self.untie(conn);
            self.forget(conn);
        }
    }

    /// Whether a new connection would be accepted and its handshake answered now. If not, the
    /// kernel accepts it all the same, and it waits.
    #[must_use]
    pub fn takes_connections(&self) -> bool {
        self.can_run() && self.server.has_file()
    }

    /// Whether `conn` waits for an answer, so that nothing more should be read from it.
    #[must_use]
    pub fn is_busy(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|known| known.is_busy)
            || self.waiting.iter().any(|(of, _)| *of == conn)
    }

    /// One message, text or binary, came on `conn`.
    pub fn on_text(&mut self, now: Time, conn: ConnId, text: &str, out: &mut Vec<KmsOutput>) {
        self.tick(now, out);
        if self.life != Life::Runs {
            return;
        }
        if self.is_busy(conn) || !self.can_run() {
            self.waiting.push_back((conn, text.to_owned()));
            return;
        }
        self.run(now, conn, text, out);
    }

    /// When `tick` is due next; the end of time while the server hangs or when it has ended.
    #[must_use]
    pub fn deadline(&self) -> Time {
        if self.server.faults.hangs() || matches!(self.life, Life::Cut { .. }) {
            return Time::from_micros(u64::MAX);
        }
        let fixed = self.next_collection.min(self.next_round);
        let others = [self.next_step(), self.server.deadline(), self.life.cuts_at()];
        others.into_iter().flatten().fold(fixed, Time::min)
    }

    /// Does everything that is due at `now`.
    pub fn tick(&mut self, now: Time, out: &mut Vec<KmsOutput>) {
        if self.ends(now, out) {
            return;
        }
        while !self.server.faults.hangs()
            && let Some(at) = self.next_step().filter(|at| *at <= now)
        {
            self.step(at, out);
            self.run_waiting(at, out);
        }
        self.run_waiting(now, out);
        if self.server.faults.hangs() {
            return;
        }
        if std::mem::take(&mut self.has_hung) {
            // A timer that ran out many times while the process stood still fires once.
            self.next_round = self.next_round.max(now);
            self.next_collection = self.next_collection.max(now);
        }
        self.server.tick(now);
        self.collect(now);
        for raised in self.server.take_raised() {
            self.deliver(raised, out);
        }
        if self.server.takes_its_leave() {
            self.terminate(now);
        }
    }

    /// When an answer is due, or a thread is free.
    fn next_step(&self) -> Option<Time> {
        let done = self.done.first_key_value().map(|((at, _), _)| *at);
        [done, self.threads.next_free()].into_iter().flatten().min()
    }

    /// Sends the answer that is due `at`; if none is, frees a thread.
    fn step(&mut self, at: Time, out: &mut Vec<KmsOutput>) {
        match self.done.first_entry().filter(|entry| entry.key().0 <= at) {
            Some(entry) => {
                let done = entry.remove();
                self.finish(at, done, out);
            }
            None => self.threads.free(),
        }
    }

    fn collect(&mut self, now: Time) {
        let period = self.server.settings.gc_period;
        while self.next_round <= now || self.next_collection <= now {
            if self.next_round <= self.next_collection {
                self.next_round = self.next_round + (period / 4).max(Duration::from_micros(1));
                for session in self.ties.keys() {
                    self.server.objects.keep_alive(session);
                }
            } else {
                self.next_collection = self.next_collection + period.max(Duration::from_micros(1));
                let dead = self.server.objects.collect();
                self.server.bury(&dead);
            }
        }
    }

    fn run_waiting(&mut self, now: Time, out: &mut Vec<KmsOutput>) {
        while self.can_run() {
            let is_free = |(conn, _): &(ConnId, String)| {
                self.conns.get(conn).is_none_or(|known| !known.is_busy)
            };
            let Some(at) = self.waiting.iter().position(is_free) else {
                return;
            };
            if let Some((conn, text)) = self.waiting.remove(at) {
                self.run(now, conn, &text, out);
            }
        }
    }

    /// Whether an I/O thread is free to run a request. If not, nothing at all is answered.
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.threads.held() < self.server.settings.io_threads
            && !self.server.faults.hangs()
            && self.life == Life::Runs
    }

    fn run(&mut self, now: Time, conn: ConnId, text: &str, out: &mut Vec<KmsOutput>) {
        let Some(known) = self.conns.get(&conn).filter(|known| !known.is_ghost) else {
            return;
        };
        let read = wire::read(text).and_then(|request| ties::name_session(request, known));
        let Some(mut request) = read else {
            return self.cut(conn, out);
        };
        self.server.now = now;
        let (answer, key) = self.answer(now, &mut request);
        if self.server.is_dead {
            return out.push(KmsOutput::Die);
        }
        let holds = std::mem::take(&mut self.server.takes) + self.server.take_work();
        let raised = self.server.take_raised();
        let done = Done { conn, answer, key, raised };
        let far = timing::times(self.server.settings.latency, self.server.faults.slowness());
        let wait = holds.saturating_add(far);
        if wait.is_zero() {
            self.finish(now, done, out);
        } else {
            if !holds.is_zero() {
                self.threads.hold(now + holds);
            }
            self.conns.entry(conn).or_default().is_busy = true;
            self.done_count += 1;
            self.done.insert((now + wait, self.done_count), done);
        }
        if self.server.takes_its_leave() {
            self.terminate(now);
        }
    }

    /// Answers `request`: the answer, and the key to keep it under.
    fn answer(&mut self, now: Time, request: &mut Value) -> (Option<Value>, Option<cache::Key>) {
        let method = match envelope::method_of(request) {
            Ok(method) => method,
            Err(fault) => return (Some(envelope::answer(&Value::Null, Err(fault))), None),
        };
        if Server::has_method(&method) && self.server.settings.keeps_answers {
            let kept = cache::key_of(request).and_then(|key| self.answers.get(now, &key));
            if kept.is_some() {
                return (kept, None);
            }
        }
        let outcome = match request {
            Value::Object(members) => {
                let params = members.entry("params").or_insert(Value::Null);
                self.server.call(&method, params)
            }
            _ => Err(Fault::invalid_request()),
        };
        let id = request.get("id").cloned().unwrap_or_default();
        if id.is_null() {
            let answer = envelope::answer_to_notification(outcome);
            return ((!answer.is_null()).then_some(answer), None);
        }
        (Some(envelope::answer(&id, outcome)), cache::key_of(request))
    }

    /// Ties the connection, keeps the answer, and sends it before or after its events.
    fn finish(&mut self, now: Time, done: Done, out: &mut Vec<KmsOutput>) {
        self.server.faults.on_answer();
        let Done { conn, answer, key, raised } = done;
        let mut raised = self.without_lost(raised);
        if let Some(known) = self.conns.get_mut(&conn) {
            known.is_busy = false;
            let session = answer.as_ref().and_then(|a| a.pointer("/result/sessionId"));
            // The session with the empty name is one, but no connection is tied to it.
            if let Some(session) = session.and_then(Value::as_str).filter(|s| !s.is_empty()) {
                self.tie(conn, session.into());
            }
        }
        let text = answer.as_ref().map(wire::write).unwrap_or_default();
        if let (Some(key), Some(answer), true) = (key, answer, self.server.settings.keeps_answers) {
            self.answers.keep(now, key, answer);
            self.server.answers_peak = self.server.answers_peak.max(self.answers.len());
        }
        let late = raised.split_off(self.early_of(raised.len()));
        raised.into_iter().for_each(|raised| self.deliver(raised, out));
        if self.conns.contains_key(&conn) {
            out.push(KmsOutput::Answer { conn, text });
        }
        late.into_iter().for_each(|raised| self.deliver(raised, out));
    }

    /// `raised` without the events of sessions that no connection is tied to yet and that were
    /// therefore lost. Source: 10 of 90 observed.
    fn without_lost(&mut self, mut raised: Vec<Raised>) -> Vec<Raised> {
        let percent = self.server.settings.first_events_lost_percent;
        let draws = &mut self.server.draws;
        raised.retain(|r| self.ties.contains_key(&r.session) || draws.below(100) >= percent);
        raised
    }

    /// How many of the `count` events of a call leave before its answer: mostly all, else any number.
    fn early_of(&mut self, count: usize) -> usize {
        let draws = &mut self.server.draws;
        if draws.below(100) < EARLY_PERCENT { count } else { draws.below(count + 1) }
    }
}

#[cfg(test)]
mod tests;
