//! Costly calls wait for their turn at an open link, and what comes behind them waits too.
//!
//! A session asks for one turn at a time on each link. So those who share a backend take turns, and
//! the order of a client's messages to it is kept. A call that was sent is never asked for again: when
//! its link breaks it goes once more without.

use std::collections::VecDeque;

use super::admit::send;
use super::{Held, LinkNo, Output, Phase, Session, Ticket, complete};
use crate::policy::pacing::{Ask, cost};
use crate::protocol::error::Failure;
use crate::protocol::request::Request;

/// Why what waits for its turn is always at an open link.
const NOT_OPEN: &str = "when a link breaks, what waits at it is taken away";

/// What waits at an open link: a call whose turn was asked for, and all that came behind it.
#[derive(Debug)]
pub(super) struct Queue {
    ticket: Ticket,
    /// Never empty.
    held: VecDeque<Held>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn push(&mut self, held: Held) {
        self.held.push_back(held);
    }

    /// Ends the waiting; what waited is for the caller.
    pub(super) fn give_up(self, out: &mut Vec<Output>) -> VecDeque<Held> {
        out.push(Output::Unpace(self.ticket));
        self.held
    }
}

/// The answer to [`Output::Pace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paced {
    /// It is the call's turn.
    Go,
    /// Too many wait, or for too long; the client may try again after so many milliseconds.
    Refused(u32),
    /// It never can: the call is a transaction with more in it than may go at one time.
    TooLarge,
}

impl Session {
    /// The same session, whose costly calls ask for their turn; without, all go at once.
    #[must_use]
    pub const fn paced(mut self) -> Self {
        self.is_paced = true;
        self
    }

    /// Tokens that a request needs before it may go.
    pub(super) fn cost_of(&self, request: &Request<'_>) -> u32 {
        if self.is_paced { cost(request) } else { 0 }
    }

    /// Sends what waits for nothing else at an open link, up to a call that must ask for its turn.
    pub(super) fn send_in_turn(
        &mut self,
        link: LinkNo,
        mut held: VecDeque<Held>,
        out: &mut Vec<Output>,
    ) {
        while let Some(first) = held.pop_front() {
            if first.cost == 0 {
                self.send_held(link, first, out);
                continue;
            }
            let ticket = self.next_ticket();
            let ask = Ask { cost: first.cost, since: first.since };
            held.push_front(first);
            let to = &mut self.links[link.0];
            out.push(Output::Pace(ticket, to.backend.clone(), ask));
            let Phase::Open { queue, .. } = &mut to.phase else { unreachable!("{NOT_OPEN}") };
            *queue = Some(Box::new(Queue { ticket, held }));
            return;
        }
    }

    /// Sends what had to wait.
    fn send_held(&mut self, link: LinkNo, held: Held, out: &mut Vec<Output>) {
        self.let_go(&held);
        let Held { waiting, opening, call, .. } = held;
        let to = &mut self.links[link.0];
        let Phase::Open { is_tied, calls, .. } = &mut to.phase else { unreachable!("{NOT_OPEN}") };
        let lacks_session = opening.is_some() && (to.had_earlier || !*is_tied);
        let text = match lacks_session {
            true => complete(&waiting.text, opening, &self.id),
            false => waiting.text,
        };
        let blocks = call.learn.blocks();
        calls.push(call, &text, self.now, self.bounds.resend_max_bytes);
        out.push(send(link, &to.backend, blocks, Some(text)));
    }

    pub(super) fn on_paced(&mut self, ticket: Ticket, paced: Paced, out: &mut Vec<Output>) {
        let has_asked = |queue: &mut Box<Queue>| queue.ticket == ticket;
        let mut links = self.links.iter_mut().enumerate();
        let found = links.find_map(|(number, link)| {
            let queue = link.queue_mut()?.take_if(has_asked)?;
            Some((LinkNo(number), queue.held))
        });
        // The link broke since, or the client went.
        let Some((link, mut held)) = found else { return };
        if let Some(first) = held.pop_front() {
            match paced {
                Paced::Go => self.send_held(link, first, out),
                Paced::Refused(retry_after_ms) => {
                    let failure = Failure::busy(
                        "too many endpoints are being made and negotiated on this media server; \
                         try again",
                        retry_after_ms,
                    );
                    self.refuse_held(&first, failure, out);
                }
                Paced::TooLarge => {
                    let failure = Failure::malformed_transaction(
                        "it makes and negotiates more endpoints than may go to a media server at \
                         one time; send it in parts",
                    );
                    self.refuse_held(&first, failure, out);
                }
            }
        }
        self.send_in_turn(link, held, out);
    }

    fn refuse_held(&mut self, held: &Held, failure: Failure, out: &mut Vec<Output>) {
        self.let_go(held);
        held.call.learn.abandon(out);
        out.push(Output::Refuse(held.call.id.as_str().to_owned(), failure));
    }
}
