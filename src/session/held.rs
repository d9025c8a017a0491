//! Room for messages that wait, in two budgets.
//!
//! What waits for a place or a link has one, what waits behind a costly call's turn the other. So a
//! client that has many calls to make at a server's pace still finds places and links. A message counts
//! where it began to wait until it goes, so that neither bound is ever crossed.

use super::{Held, LinkNo, Phase, Session};
use crate::protocol::error::Failure;

/// When a client may send more of what waits for its turn, in milliseconds: some turns later.
const TURNS_RETRY_MS: u32 = 1_000;

/// What a message that waits counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    /// Nothing: the edge's own calls, and the call whose turn is asked for. Of both a link has one at
    /// most.
    Free,
    /// [`Bounds::held_max_bytes`](super::Bounds::held_max_bytes).
    Place,
    /// [`Bounds::paced_max_bytes`](super::Bounds::paced_max_bytes).
    Turn,
}

/// Bytes that wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeldBytes {
    /// For a place or a link.
    pub(super) place: usize,
    /// Behind a call whose turn was asked for.
    pub(super) turn: usize,
}

impl Session {
    /// What a message that cannot go over `link` now would count against.
    pub(super) fn budget_at(&self, link: LinkNo) -> Budget {
        match &self.links[link.0].phase {
            Phase::Closed | Phase::Opening(_) => Budget::Place,
            Phase::Open { queue: Some(_), .. } => Budget::Turn,
            Phase::Open { queue: None, .. } => Budget::Free,
        }
    }

    /// Keeps `text` waiting for a place, if there is room for it.
    pub(super) fn hold(&mut self, text: &str) -> Result<(), Failure> {
        self.hold_in(Budget::Place, text)
    }

    /// Keeps `text` waiting, if there is room for it.
    pub(super) fn hold_in(&mut self, budget: Budget, text: &str) -> Result<(), Failure> {
        self.check_held(budget, text.len())?;
        self.count(budget, text.len());
        Ok(())
    }

    fn count(&mut self, budget: Budget, len: usize) {
        match budget {
            Budget::Free => {}
            Budget::Place => self.held_bytes.place += len,
            Budget::Turn => self.held_bytes.turn += len,
        }
    }

    /// Whether there is room for so many more bytes that wait.
    pub(super) fn check_held(&self, budget: Budget, more: usize) -> Result<(), Failure> {
        match budget {
            Budget::Place if self.held_bytes.place + more > self.bounds.held_max_bytes => {
                Err(Failure::not_enough_resources(
                    "too much of this client waits for a media server; send less at once",
                ))
            }
            Budget::Turn if self.held_bytes.turn + more > self.bounds.paced_max_bytes => {
                Err(Failure::busy(
                    "too much of this client waits for its turn on a media server; try again",
                    TURNS_RETRY_MS,
                ))
            }
            Budget::Free | Budget::Place | Budget::Turn => Ok(()),
        }
    }

    /// The link is open: what waited for it waits for its turn now, as far as there is room.
    pub(super) fn count_as_paced<'a>(&mut self, held: impl Iterator<Item = &'a mut Held>) {
        for held in held.filter(|held| held.budget == Budget::Place) {
            let len = held.waiting.text.len();
            if self.check_held(Budget::Turn, len).is_ok() {
                self.let_go(held);
                held.budget = Budget::Turn;
                self.count(Budget::Turn, len);
            }
        }
    }

    /// A held message waits no longer.
    pub(super) fn let_go(&mut self, held: &Held) {
        let len = held.waiting.text.len();
        match held.budget {
            Budget::Free => {}
            Budget::Place => self.held_bytes.place -= len,
            Budget::Turn => self.held_bytes.turn -= len,
        }
    }

    /// A text that waited for a place waits no longer.
    pub(super) fn unhold(&mut self, text: &str) {
        self.held_bytes.place -= text.len();
    }
}
