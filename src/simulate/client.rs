//! A client: what it does, and what it expects for it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::network::{ConnNo, LinkId};
use super::world::Subscriptions;
use crate::model::Draws;

/// A client and its present connection.
pub(super) struct ClientSim {
    pub(super) draws: Draws,
    pub(super) conn: Option<ConnNo>,
    pub(super) ledger: Ledger,
}

/// What a client has asked on its connection, and been told.
#[derive(Default)]
pub(super) struct Ledger {
    /// By request id.
    pub(super) calls: BTreeMap<String, Asked>,
    pub(super) call_count: u64,
    /// Calls made before it last closed its session.
    pub(super) closed_after: u64,
    /// Messages without an id that can be echoed, each to be answered with a null id.
    pub(super) nameless: u64,
    pub(super) session: Option<String>,
    /// The meeting that the URL names.
    pub(super) url_meeting: Option<String>,
    /// Number of the last call about each pipeline that reached its backend, not counting those that
    /// were sent again.
    pub(super) arrived: BTreeMap<String, u64>,
    /// The same for each link, with those that were sent again.
    pub(super) arrived_by: BTreeMap<(LinkId, String), u64>,
    pub(super) subscriptions: Subscriptions,
    /// Number of the last event of each link.
    pub(super) events: BTreeMap<LinkId, u64>,
}

/// A call.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) what: What,
    pub(super) is_answered: bool,
    /// Whether the edge has answered it with an error: what its backend may still say is for nobody.
    pub(super) is_refused: bool,
    /// Whether it has reached a backend.
    pub(super) has_arrived: bool,
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

impl ClientSim {
    pub(super) fn new(seed: u64) -> Self {
        Self { draws: Draws::seeded(seed), conn: None, ledger: Ledger::default() }
    }

    /// Notes a call and returns its id.
    pub(super) fn ask(&mut self, conn: ConnNo, what: What) -> String {
        let ledger = &mut self.ledger;
        ledger.call_count += 1;
        let id = format!("{}-{}", conn.0, ledger.call_count);
        let asked = Asked {
            number: ledger.call_count,
            what,
            is_answered: false,
            is_refused: false,
            has_arrived: false,
        };
        ledger.calls.insert(id.clone(), asked);
        id
    }
}

impl Ledger {
    /// Takes in an answer.
    ///
    /// # Errors
    /// It is none, or not this client's, or not the first.
    pub(super) fn on_answer(&mut self, answer: &Value) -> Result<bool, String> {
        let is_error = answer.get("error").is_some();
        let id = match answer.get("id") {
            Some(Value::String(id)) => id,
            Some(Value::Null) if is_error && self.nameless > 0 => {
                self.nameless -= 1;
                return Ok(true);
            }
            _ => return Err(format!("an answer to nothing: {answer}")),
        };
        let asked = self.calls.get_mut(id);
        let asked = asked.ok_or_else(|| format!("an answer to somebody else's call: {answer}"))?;
        if std::mem::replace(&mut asked.is_answered, true) {
            return Err(format!("call {id} is answered twice"));
        }
        let told = answer.pointer("/result/sessionId").and_then(Value::as_str);
        match (&self.session, told) {
            (Some(known), Some(told)) if known != told => {
                Err(format!("call {id} is answered in session {told}, not {known}"))
            }
            (_, Some(told)) => {
                self.session = Some(told.to_owned());
                Ok(is_error)
            }
            (_, None) => Ok(is_error),
        }
    }

    /// Takes in an event that came by `link` with that number.
    ///
    /// # Errors
    /// It was not subscribed to, or the one before it is missing.
    pub(super) fn on_event(
        &mut self,
        event: &Value,
        (link, n): (LinkId, u64),
    ) -> Result<(), String> {
        let text = |path| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (object, kind) = (text("/params/value/object"), text("/params/value/type"));
        if !self.subscriptions.iter().any(|(o, k)| o == object && *k == kind) {
            return Err(format!("{kind} of {object} reaches a client that never subscribed to it"));
        }
        let last = self.events.insert(link, n).unwrap_or_default();
        if n != last + 1 {
            return Err(format!("event {n} of {link:?} comes after event {last}"));
        }
        Ok(())
    }

    /// The calls that are still to be answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &String> {
        self.calls.iter().filter(|(_, asked)| !asked.is_answered).map(|(id, _)| id)
    }
}
