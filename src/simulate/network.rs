//! What is under way between two ends: in order, each message with its own delay.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Time;

/// One direction of a connection. Nothing overtakes.
#[derive(Debug)]
pub(super) struct Pipe<T> {
    waiting: VecDeque<T>,
    last: Time,
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), last: Time::ZERO }
    }
}

impl<T> Pipe<T> {
    /// Puts `item` in; returns when it comes out.
    pub(super) fn push(&mut self, now: Time, delay: Duration, item: T) -> Time {
        self.waiting.push_back(item);
        self.last = self.last.max(now + delay);
        self.last
    }

    /// Loses all but the first `kept` of what is under way. Those come out when others were to.
    pub(super) fn truncate(&mut self, kept: usize) {
        self.waiting.truncate(kept);
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What comes out next.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.waiting.pop_front()
    }
}

/// What an edge sends over a link.
#[derive(Debug)]
pub(super) enum Up {
    Text(String),
    Close,
}

/// What a backend sends over a link. Events are numbered by link, from 1.
#[derive(Debug)]
pub(super) enum Down {
    Answer(String),
    Event(u64, String),
    Cut,
}

/// What a client sends.
#[derive(Debug)]
pub(super) enum FromClient {
    Text(String),
    /// Closes, or is gone.
    End,
}

/// What a client gets. `event` is the link an event came by, with its number there.
#[derive(Debug)]
pub(super) struct ToClient {
    pub(super) text: String,
    pub(super) event: Option<(LinkId, u64)>,
}

/// One socket between an edge and a backend, of all there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) usize);

/// One client connection, of all there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnNo(pub(super) usize);
