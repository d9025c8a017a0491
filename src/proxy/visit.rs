//! A client's connection, as one session hands it to another.

use std::sync::Arc;

use super::arrivals::Arrival;
use super::sessions::Desk;
use super::slots::Slot;
use super::socket::Socket;
use crate::policy::guard::Rules;
use crate::protocol::request::Hints;
use crate::telemetry::OpenCount;

/// A client that is connected by `C`: a [`Connection`], or what a simulation has for one.
pub(crate) struct Visit<C> {
    pub(crate) connection: C,
    /// What its URL says of every pipeline created here.
    pub(crate) hints: Hints,
    /// What holds for the clients of its listener.
    pub(crate) rules: Arc<Rules>,
    /// Messages that were read from it and wait for the session they name.
    pub(super) waiting: Vec<String>,
    /// Who takes the connection that this one displaces; told even if there is none.
    pub(super) swap: Option<Arc<Desk<C>>>,
    /// When the message was read with which it wants to go on with another session, in nanoseconds.
    pub(super) since_nanos: Option<u64>,
}

/// A client's socket, and what counts it.
pub struct Connection {
    pub(super) socket: Socket,
    /// Held for as long as the connection is open.
    pub(super) _counts: (OpenCount, Slot),
    /// Its client among the people of the meeting that its URL names.
    pub(super) _arrival: Option<Arrival>,
}

impl<C> Visit<C> {
    pub(crate) const fn new(connection: C, hints: Hints, rules: Arc<Rules>) -> Self {
        Self { connection, hints, rules, waiting: Vec::new(), swap: None, since_nanos: None }
    }

    /// Takes out what was read from it, and who wants the connection that it displaces.
    pub(crate) fn unpack(&mut self) -> (Vec<String>, Option<Arc<Desk<C>>>) {
        (std::mem::take(&mut self.waiting), self.swap.take())
    }
}

impl<C> std::fmt::Debug for Visit<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
