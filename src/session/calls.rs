//! Calls that a backend has not answered yet.

use std::collections::VecDeque;

use super::{LinkNo, Output, Ticket};
use crate::model::PipelineId;
use crate::protocol::request::Method;

/// Bytes of an id that are kept without an allocation; longer ids take one.
const SHORT_MAX: usize = 22;

/// A request's id as it stood in the client's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallId {
    Short(u8, [u8; SHORT_MAX]),
    Long(Box<str>),
}

impl CallId {
    pub(super) fn new(raw: &str) -> Self {
        let mut bytes = [0; SHORT_MAX];
        match bytes.get_mut(..raw.len()) {
            Some(slot) => {
                slot.copy_from_slice(raw.as_bytes());
                Self::Short(u8::try_from(raw.len()).expect("22 at most"), bytes)
            }
            None => Self::Long(raw.into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short(len, bytes) => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).expect("copied from a str")
            }
            Self::Long(text) => text,
        }
    }

    /// Whether Kurento would spell this id in its answer as the client did: short integers and
    /// plain ASCII strings. Others come back rewritten (`1.8446744073709552e+19`, `\u00e9`).
    fn is_echoed(raw: &str) -> bool {
        let is_integer = raw.len() < 16 && raw != "-0" && {
            let digits = raw.strip_prefix('-').unwrap_or(raw);
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
        };
        let is_plain = || raw.starts_with('"') && raw.is_ascii() && !raw.contains(['\\', '\x7f']);
        is_integer || is_plain()
    }
}

/// What the session learns from an answer.
#[derive(Clone, Debug)]
pub(super) enum Learn {
    Nothing,
    /// A new pipeline's id.
    Created(Ticket),
    /// That this pipeline is destroyed.
    Released(PipelineId),
    /// Both, and subscriptions, by index of the operation.
    Transaction(Box<TransactionLearn>),
    /// The id of a new subscription to this object.
    Subscribed(Box<str>),
    /// That a thread of the backend is free again.
    Blocking(Ticket),
    /// That the backend of this link has closed the session.
    Closed(Ticket, LinkNo),
    /// The call is the edge's own: its answer is for nobody else.
    Own,
}

#[derive(Clone, Debug)]
pub(super) struct TransactionLearn {
    pub(super) creates: Vec<(usize, Ticket)>,
    pub(super) releases: Vec<(usize, PipelineId)>,
    /// Objects as the text has them, so perhaps as a reference to another operation.
    pub(super) subscribes: Vec<(usize, Box<str>)>,
    pub(super) blocks: Option<Ticket>,
}

impl TransactionLearn {
    /// `Nothing` if there is nothing to be learned.
    pub(super) fn into_learn(self) -> Learn {
        let Self { creates, releases, subscribes, blocks } = &self;
        if creates.is_empty() && releases.is_empty() && subscribes.is_empty() && blocks.is_none() {
            return Learn::Nothing;
        }
        Learn::Transaction(Box::new(self))
    }
}

impl Learn {
    /// Gives back the places that will not be used.
    pub(super) fn abandon(&self, out: &mut Vec<Output>) {
        match self {
            Self::Nothing
            | Self::Released(_)
            | Self::Subscribed(_)
            | Self::Closed(..)
            | Self::Own => {}
            Self::Created(ticket) => out.push(Output::NotCreated(*ticket)),
            Self::Blocking(ticket) => out.push(Output::Unblocked(*ticket, false)),
            Self::Transaction(learn) => {
                out.extend(learn.creates.iter().map(|(_, t)| Output::NotCreated(*t)));
                out.extend(learn.blocks.map(|ticket| Output::Unblocked(ticket, false)));
            }
        }
    }

    pub(super) fn creates(&self) -> bool {
        match self {
            Self::Created(_) => true,
            Self::Transaction(learn) => !learn.creates.is_empty(),
            Self::Nothing
            | Self::Released(_)
            | Self::Subscribed(_)
            | Self::Blocking(_)
            | Self::Closed(..)
            | Self::Own => false,
        }
    }

    /// The ticket of a call that blocks a thread of its backend.
    pub(super) const fn blocks(&self) -> Option<Ticket> {
        match self {
            Self::Blocking(ticket) => Some(*ticket),
            Self::Transaction(learn) => learn.blocks,
            Self::Nothing
            | Self::Created(_)
            | Self::Released(_)
            | Self::Subscribed(_)
            | Self::Closed(..)
            | Self::Own => None,
        }
    }
}

/// A request that was sent on, or is about to be.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) method: Method,
    /// Whether it was about the server as a whole, so that any other would do.
    pub(super) goes_anywhere: bool,
    pub(super) learn: Learn,
}

/// The unanswered calls of one link, oldest first.
///
/// Kurento answers the requests of one connection strictly in order, so the oldest is the expected
/// one. Ids are compared all the same, where their spelling can be trusted.
#[derive(Debug, Default)]
pub(super) struct Calls(VecDeque<Call>);

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, call: Call) {
        self.0.push_back(call);
    }

    /// Takes the call that an answer with the raw `id` belongs to; `None` if it answers none.
    pub(super) fn take(&mut self, id: &str) -> Option<Call> {
        let oldest = self.0.front()?;
        if oldest.id.as_str() == id {
            return self.0.pop_front();
        }
        if let Some(found) = self.0.iter().position(|call| call.id.as_str() == id) {
            return self.0.remove(found);
        }
        if CallId::is_echoed(oldest.id.as_str()) {
            return None;
        }
        self.0.pop_front()
    }

    /// Takes back the call of `ticket`, which blocks and was not sent.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Call> {
        let found = self.0.iter().position(|call| call.learn.blocks() == Some(ticket))?;
        self.0.remove(found)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Call> {
        std::mem::take(&mut self.0).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(ids: &[&str]) -> Calls {
        let call = |id: &&str| Call {
            id: CallId::new(id),
            method: Method::Invoke,
            goes_anywhere: false,
            learn: Learn::Nothing,
        };
        Calls(ids.iter().map(call).collect())
    }

    fn take(calls: &mut Calls, id: &str) -> Option<String> {
        calls.take(id).map(|call| call.id.as_str().to_owned())
    }

    #[test]
    fn answers_meet_their_calls() {
        let long = format!("\"{}\"", "x".repeat(40));
        let mut calls = calls(&["1", "\"1\"", &long, "2"]);
        for id in ["1", "\"1\"", &long] {
            assert_eq!(take(&mut calls, id).as_deref(), Some(id));
        }
        assert_eq!(take(&mut calls, "7"), None, "an answer nobody asked for");
        assert_eq!(calls.len(), 1);
    }

    #[test]
    fn ids_that_come_back_in_another_spelling_go_to_the_oldest_call() {
        for (sent, back) in
            [("18446744073709551616", "1.8446744073709552e+19"), ("\"é\"", "\"\\u00e9\"")]
        {
            let mut calls = calls(&[sent, "2"]);
            assert_eq!(take(&mut calls, back).as_deref(), Some(sent));
            assert_eq!(take(&mut calls, "2").as_deref(), Some("2"));
        }
    }

    #[test]
    fn an_answer_out_of_order_still_finds_its_call() {
        let mut calls = calls(&["1", "2"]);
        assert_eq!(take(&mut calls, "2").as_deref(), Some("2"));
        assert_eq!(take(&mut calls, "1").as_deref(), Some("1"));
    }
}
