//! What is under way between two ends: in order, each message with its own delay.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
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

/// What a backend sends over a link.
#[derive(Debug)]
pub(super) enum Down {
    Answer(String),
    Event(EventTag, String),
    Cut,
}

/// An event of a backend, told from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventTag {
    pub(super) link: LinkId,
    /// Its number among those of the link, from 1.
    pub(super) number: u64,
    /// The session it is for.
    pub(super) session: String,
}

/// What a client sends.
#[derive(Debug)]
pub(super) enum FromClient {
    Text(String),
    /// Closes, or is gone without a word.
    End {
        took_leave: bool,
    },
}

/// What a client gets.
#[derive(Debug)]
pub(super) enum ToClient {
    /// A message; with its tag if a backend sent it unasked.
    Text(String, Option<EventTag>),
    /// The connection is no more.
    Cut,
}

/// One socket between an edge and a backend, of all there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) usize);

/// One client connection, of all there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnNo(pub(super) usize);

/// One task of an edge that has a session at work, of all there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RelayNo(pub(super) usize);

/// Connections whose end at the edge was dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Dropped(Arc<Mutex<Vec<ConnNo>>>);

impl Dropped {
    /// Those dropped since this was asked last.
    pub(super) fn take(&self) -> Vec<ConnNo> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The edge's end of a client connection, in place of its socket. Dropped, it closes.
#[derive(Debug)]
pub(super) struct Plug {
    pub(super) conn: ConnNo,
    dropped: Dropped,
}

impl Plug {
    pub(super) const fn new(conn: ConnNo, dropped: Dropped) -> Self {
        Self { conn, dropped }
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.dropped.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.conn);
    }
}
