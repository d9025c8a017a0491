//! How fast costly calls go to a backend: which are costly, and a token bucket that gives each its turn.
//!
//! A media server that is asked to make and connect tens of endpoints at once answers everybody late,
//! though it has room for all of them. So each backend has a bucket of `burst` tokens that fills at a
//! steady rate, and such a call takes one; when none is left it waits for its turn. A transaction takes
//! one for each costly operation in it, and waits until there have been so many.
//!
//! Turns are given in the order they are asked for, and a client connection asks for one at a time at
//! each backend. So those who wait take turns, however many calls each of them has.

use std::time::Duration;

use crate::model::Time;
use crate::protocol::json::Text;
use crate::protocol::request::{Method, Params, Request};
use crate::protocol::transaction::read_operations;

/// Operations that negotiate media: they gather addresses, make keys, and start what an endpoint needs.
const NEGOTIATIONS: [&str; 2] = ["processOffer", "generateOffer"];

/// How many costly calls `request` is: one, or none; a transaction as many as its operations.
///
/// Costly is what makes an endpoint, of whatever kind, or has it negotiate. Anything else takes a
/// server well below a millisecond. Source: Kurento protocol notes, section 13.
#[must_use]
pub fn cost(request: &Request<'_>) -> u32 {
    match request.method {
        Method::Create => u32::from(makes_endpoint(&request.params)),
        Method::Invoke => u32::from(negotiates(&request.params)),
        Method::Transaction => cost_of_operations(request.params.operations),
        Method::Connect
        | Method::Ping
        | Method::Describe
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::Release
        | Method::Ref
        | Method::Unref
        | Method::KeepAlive
        | Method::CloseSession => 0,
    }
}

fn makes_endpoint(params: &Params<'_>) -> bool {
    params.kind.and_then(Text::of).is_some_and(|kind| kind.decode().ends_with("Endpoint"))
}

fn negotiates(params: &Params<'_>) -> bool {
    let operation = params.operation.and_then(Text::of);
    operation.is_some_and(|name| NEGOTIATIONS.iter().any(|costly| name.is(costly)))
}

fn cost_of_operations(operations: Option<&str>) -> u32 {
    let mut count = 0;
    let read = read_operations(operations, |_, operation| {
        let is = |name| operation.method.and_then(Text::of).is_some_and(|method| method.is(name));
        let is_costly = is("create") && makes_endpoint(&operation.params)
            || is("invoke") && negotiates(&operation.params);
        count += u32::from(is_costly);
        Ok(())
    });
    // What cannot be read goes nowhere.
    read.map_or(0, |()| count)
}

/// How fast costly calls go to each backend, and who may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time in which one token comes.
    pub interval: Duration,
    /// Tokens that a bucket holds. A call that needs more waits for the rest of them.
    pub burst: u32,
    /// Longest wait of a call, from when it came.
    pub wait_max: Duration,
    /// Turns that may be waited for at one backend: one for each client connection.
    pub waiting_max: usize,
    /// Bytes of one client connection that wait behind its turns.
    pub held_max_bytes: usize,
}

/// A call that wants its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Tokens it needs.
    pub cost: u32,
    /// When it came. What it has waited since, behind other calls of its client, counts.
    pub since: Time,
}

/// When a call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Now,
    /// At that time. Whoever waits ends that with [`Bucket::on_turn`] or [`Bucket::give_back`].
    At(Time),
    /// Not within the bounds. After that time all that is booked now will have gone.
    Refused(Duration),
    /// Never: from a full bucket it would wait for longer than the bound.
    TooLarge,
}

/// The tokens of one backend.
///
/// Kept as the moment when all would be back: the tokens that are missing are the time until then, in
/// intervals. A turn is booked when it is asked for, so nothing has to run for those who wait, and
/// whoever would wait for too long is told at once. Source: the generic cell rate algorithm, ITU-T
/// I.371, annex A.
#[derive(Debug, Default)]
pub struct Bucket {
    full_at: Time,
    waiting: usize,
}

impl Bucket {
    /// Asks for a turn at `now`.
    pub fn ask(&mut self, pace: &Pace, ask: Ask, now: Time) -> Turn {
        if pace.tokens(ask.cost) > pace.tokens(pace.burst) + pace.wait_max {
            return Turn::TooLarge;
        }
        let missing = self.full_at.since(now);
        let needed = missing + pace.tokens(ask.cost);
        let wait = needed.saturating_sub(pace.tokens(pace.burst));
        if !wait.is_zero() {
            let left = pace.wait_max.saturating_sub(now.since(ask.since));
            if wait > left || self.waiting >= pace.waiting_max {
                return Turn::Refused(wait);
            }
            self.waiting += 1;
        }
        self.full_at = now + needed;
        if wait.is_zero() { Turn::Now } else { Turn::At(now + wait) }
    }

    /// Somebody who waited has gone.
    pub fn on_turn(&mut self) {
        self.waiting -= 1;
    }

    /// Somebody who waited for a call of that cost does no longer. The turns of others stay; whoever
    /// asks next comes earlier.
    pub fn give_back(&mut self, pace: &Pace, cost: u32, now: Time) {
        self.waiting -= 1;
        self.refund(pace, cost, now);
    }

    /// A call of that cost that has gone is free after all.
    pub fn refund(&mut self, pace: &Pace, cost: u32, now: Time) {
        self.full_at = now + self.full_at.since(now).saturating_sub(pace.tokens(cost));
    }

    /// Whether it is as a new one.
    #[must_use]
    pub fn is_full(&self, now: Time) -> bool {
        self.waiting == 0 && self.full_at <= now
    }
}

impl Pace {
    /// Time in which so many tokens come.
    fn tokens(&self, count: u32) -> Duration {
        self.interval * count
    }
}

#[cfg(test)]
mod tests;
