//! A client: what it does, and what it expects for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::network::{ConnNo, EventTag, LinkId};
use crate::model::{Draws, Time};

/// What a client subscribed to: object and event.
pub(super) type Subscriptions = BTreeSet<(String, &'static str)>;

/// A client and its present connection.
pub(super) struct ClientSim {
    pub(super) draws: Draws,
    pub(super) conn: Option<ConnNo>,
    /// All calls it ever made, by request id.
    pub(super) calls: BTreeMap<String, Asked>,
    pub(super) ledger: Ledger,
    /// While it has no connection: it wants its session back, from then on.
    pub(super) back_at: Option<Time>,
    /// The edge it was connected to last.
    pub(super) site: usize,
    number: usize,
}

/// What a client has in its present session, and been told.
#[derive(Default)]
pub(super) struct Ledger {
    /// Which of the client's sessions.
    pub(super) life: u64,
    /// The number of the last call made before it last closed its session.
    pub(super) closed_after: u64,
    /// Messages without an id that can be echoed, each to be answered with a null id.
    pub(super) nameless: u64,
    /// The same of connections that are gone: they may still be answered.
    pub(super) nameless_before: u64,
    pub(super) session: Option<String>,
    /// The meeting that the URL names.
    pub(super) url_meeting: Option<String>,
    /// Number of the last call about each pipeline that reached its backend, for each connection, not
    /// counting those that were sent again.
    pub(super) arrived: BTreeMap<(ConnNo, String), u64>,
    /// The same for each link, with those that were sent again.
    pub(super) arrived_by: BTreeMap<(LinkId, String), u64>,
    pub(super) subscriptions: Subscriptions,
    /// Number of the last event of each link, on this connection.
    pub(super) events: BTreeMap<LinkId, u64>,
    /// The number that the first event of a link has on this connection, or a lower one; 1 if none is
    /// noted. The links were there before the connection.
    pub(super) first: BTreeMap<LinkId, u64>,
    /// The processes of edges it was at, in order.
    pub(super) edges: Vec<usize>,
    /// Whether it lost a connection before it was told whether its session is there. The edge may still
    /// read from that one, and give it the session when a later one has it, as Kurento would.
    pub(super) is_contested: bool,
    /// Since it is back, a call of an earlier connection has reached a backend: another edge has sent it,
    /// perhaps where the session was not before.
    pub(super) is_followed: bool,
    /// The calls by which it asks for its session; nothing else is asked before the last is answered.
    pub(super) resuming: Vec<String>,
}

/// A call.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) conn: ConnNo,
    pub(super) life: u64,
    /// The session it was made in, as far as its client knew.
    pub(super) session: Option<String>,
    pub(super) what: What,
    pub(super) is_answered: bool,
    /// Whether its connection went before its answer came: then there may be none.
    pub(super) is_abandoned: bool,
    /// Whether the edge has answered it with an error: what its backend may still say is for nobody.
    pub(super) is_refused: bool,
    /// Whether it has reached a backend.
    pub(super) has_arrived: bool,
    /// Over which link it did so last.
    pub(super) link: Option<LinkId>,
    /// Whether it is about a pipeline that was let go before the edge heard of the call.
    pub(super) is_of_gone: bool,
}

/// What a call is about, as far as the world must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A new pipeline in this meeting, if any.
    Create(Option<String>),
    /// A transaction that makes one, first of its operations.
    CreateInTransaction(Option<String>),
    /// A new element in this pipeline.
    Element(String),
    /// Something about this pipeline, or what is in it.
    About(String),
    Other,
}

impl What {
    /// The pipeline it is about.
    pub(super) fn pipeline(&self) -> Option<&str> {
        match self {
            Self::Element(pipeline) | Self::About(pipeline) => Some(pipeline),
            Self::Create(_) | Self::CreateInTransaction(_) | Self::Other => None,
        }
    }
}

/// What an answer means for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Success,
    Error(i64),
}

impl ClientSim {
    pub(super) fn new(number: usize, seed: u64) -> Self {
        Self {
            draws: Draws::seeded(seed),
            conn: None,
            calls: BTreeMap::new(),
            ledger: Ledger::default(),
            back_at: None,
            site: 0,
            number,
        }
    }

    /// Has nothing of its session any more.
    pub(super) fn start_over(&mut self) {
        let old = std::mem::take(&mut self.ledger);
        self.back_at = None;
        self.ledger = Ledger {
            life: old.life + 1,
            nameless: old.nameless,
            nameless_before: old.nameless_before,
            url_meeting: old.url_meeting,
            arrived: old.arrived,
            arrived_by: old.arrived_by,
            ..Ledger::default()
        };
    }

    /// Notes a call and returns its id, which no other has.
    pub(super) fn ask(&mut self, conn: ConnNo, what: What) -> String {
        let number = self.calls.len() as u64 + 1;
        let id = format!("{}-{number}", self.number);
        let asked = Asked {
            number,
            conn,
            life: self.ledger.life,
            session: self.ledger.session.clone(),
            what,
            is_answered: false,
            is_abandoned: false,
            is_refused: false,
            has_arrived: false,
            link: None,
            is_of_gone: false,
        };
        self.calls.insert(id.clone(), asked);
        id
    }

    /// Its connection is gone: what was under way may never be answered.
    pub(super) fn on_disconnected(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let under_way = self.calls.values_mut().filter(|asked| asked.conn == conn);
        under_way.filter(|asked| !asked.is_answered).for_each(|asked| asked.is_abandoned = true);
        let ledger = &mut self.ledger;
        ledger.nameless_before += std::mem::take(&mut ledger.nameless);
        ledger.is_contested |= !ledger.resuming.is_empty();
        ledger.resuming.clear();
        ledger.events.clear();
        ledger.first.clear();
    }

    /// Takes in an answer that came by `conn`, which is in that session if it still is in one.
    ///
    /// # Errors
    /// It is none, or not this client's, or not the first.
    pub(super) fn on_answer(
        &mut self,
        (conn, session): (ConnNo, Option<String>),
        answer: &Value,
    ) -> Result<Answered, String> {
        let code = answer.pointer("/error/code").and_then(Value::as_i64);
        let outcome = match (answer.get("error"), code) {
            (None, _) => Answered::Success,
            (Some(_), code) => Answered::Error(code.unwrap_or_default()),
        };
        let ledger = &mut self.ledger;
        let id = match answer.get("id") {
            Some(Value::String(id)) => id,
            Some(Value::Null) if outcome != Answered::Success => {
                let counts = [&mut ledger.nameless, &mut ledger.nameless_before];
                let count = counts.into_iter().find(|count| **count > 0);
                let count = count.ok_or_else(|| format!("an answer to nothing: {answer}"))?;
                *count -= 1;
                return Ok(outcome);
            }
            _ => return Err(format!("an answer to nothing: {answer}")),
        };
        let asked = self.calls.get_mut(id);
        let asked = asked.ok_or_else(|| format!("an answer to somebody else's call: {answer}"))?;
        if std::mem::replace(&mut asked.is_answered, true) {
            return Err(format!("call {id} is answered twice"));
        }
        if asked.is_of_gone && outcome == Answered::Success {
            return Err(format!("call {id} succeeds for what was let go: {answer}"));
        }
        // One that has lost everything is told that its session is not known. It goes on under the name.
        let is_of_session = session.is_none() || asked.session == session;
        if asked.life != ledger.life && asked.conn != conn && !is_of_session {
            return Err(format!("call {id} is answered in another session: {answer}"));
        }
        let told = answer.pointer("/result/sessionId").and_then(Value::as_str);
        match (&ledger.session, told) {
            // What its edge has sent on after another had the session is done in one of its own.
            (Some(known), Some(told)) if known != told && ledger.has_roamed() => Ok(outcome),
            (Some(known), Some(told)) if known != told && !ledger.is_contested => {
                Err(format!("call {id} is answered in session {told}, not {known}"))
            }
            (_, Some(told)) => {
                ledger.session = Some(told.to_owned());
                Ok(outcome)
            }
            (_, None) => Ok(outcome),
        }
    }

    /// The call that `text` answers, if any.
    pub(super) fn answered_by(&self, text: &str) -> Option<&Asked> {
        let answer: Value = serde_json::from_str(text).ok()?;
        self.calls.get(answer.get("id")?.as_str()?)
    }

    /// The calls on its present connection that are still to be answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (&String, &Asked)> {
        let is_open = |asked: &Asked| !asked.is_answered && Some(asked.conn) == self.conn;
        self.calls.iter().filter(move |(_, asked)| is_open(asked))
    }
}

impl Ledger {
    /// Takes in an event.
    ///
    /// # Errors
    /// It is for another session, was not subscribed to, or the one before it is missing.
    pub(super) fn on_event(&mut self, event: &Value, tag: &EventTag) -> Result<(), String> {
        let text = |path| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (object, kind) = (text("/params/value/object"), text("/params/value/type"));
        if self.session.as_ref().is_some_and(|session| *session != tag.session) {
            return Err(format!("{kind} of {object} is for the session {}", tag.session));
        }
        if !self.subscriptions.iter().any(|(o, k)| o == object && *k == kind) {
            return Err(format!("{kind} of {object} reaches a client that never subscribed to it"));
        }
        let EventTag { link, number, .. } = tag;
        let first = self.first.get(link).copied().unwrap_or(1);
        let is_next = match self.events.insert(*link, *number) {
            Some(last) => *number == last + 1,
            None => *number <= first,
        };
        if is_next {
            return Ok(());
        }
        Err(format!("event {number} of {link:?} comes where one from {first} on is missing"))
    }

    /// Whether it was at the edge where it is now before, and at another since. What the first
    /// remembers of the session is not all of it then.
    pub(super) fn has_roamed(&self) -> bool {
        let [before @ .., now] = &self.edges[..] else { return false };
        before.contains(now) && before.iter().any(|edge| edge != now)
    }

    /// How many events of `link` it has had, those before its connection counted.
    pub(super) fn seen(&self, link: LinkId) -> u64 {
        let before = self.first.get(&link).map_or(0, |first| first - 1);
        self.events.get(&link).copied().unwrap_or(before)
    }
}
