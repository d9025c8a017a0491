//! The turns that one session has asked for.

use std::collections::{BTreeMap, VecDeque};
use std::task::Context;

use futures_util::FutureExt;

use super::edge::Edge;
use super::pacer::{Asked, Waiting};
use crate::model::BackendId;
use crate::policy::pacing::Ask;
use crate::session::{Paced, Ticket};

/// Turns by ticket: those that are waited for, one for each link at most, and answers for the session.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: BTreeMap<Ticket, Waiting>,
    answers: VecDeque<(Ticket, Paced)>,
    /// Whether a wait has begun.
    has_begun: bool,
}

impl Turns {
    /// Asks for a turn at `backend`.
    pub(super) fn ask(&mut self, edge: &Edge, ticket: Ticket, backend: &BackendId, ask: Ask) {
        let answer = match edge.pacer.ask(backend, ask) {
            Asked::Now => Paced::Go,
            Asked::Later(waiting) => {
                edge.metrics.on_pacing_wait();
                self.waiting.insert(ticket, waiting);
                self.has_begun = true;
                return;
            }
            Asked::TooLarge => {
                edge.metrics.on_pacing_refused();
                Paced::TooLarge
            }
            Asked::Refused(retry_after_ms) => {
                edge.metrics.on_pacing_refused();
                Paced::Refused(retry_after_ms)
            }
        };
        self.answers.push_back((ticket, answer));
    }

    /// Waits for that turn no longer.
    pub(super) fn give_back(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// The next answer that came at once. The session is told before anything else happens to it.
    pub(super) fn next_answer(&mut self) -> Option<(Ticket, Paced)> {
        self.answers.pop_front()
    }

    /// Whether one more is waited for since this was asked last.
    pub(super) fn take_begun(&mut self) -> bool {
        std::mem::take(&mut self.has_begun)
    }

    /// The tickets whose turn has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> impl Iterator<Item = Ticket> {
        let has_come = |_: &Ticket, waiting: &mut Waiting| waiting.poll_unpin(cx).is_ready();
        self.waiting.extract_if(.., has_come).map(|(ticket, _)| ticket)
    }
}
