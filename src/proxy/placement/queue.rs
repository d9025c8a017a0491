//! Who waits for room: `when_full = "queue"`.
//!
//! Those who require the same labels stand in one line, in the order they came, and only the first of
//! a line is placed: a large meeting is not overtaken by small ones for ever, and nobody waits behind
//! those who need another kind of backend. Somebody new stands behind, even if there is room again by
//! then. Room comes from meetings that end or shrink, from promises that go, from backends that come
//! back: many places, so the first looks again at short intervals and nothing has to be told.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select;
use tokio::sync::Notify;

use super::{PlaceError, Placed, Placement, Wanted, Where};
use crate::model::{Labels, Time};
use crate::protocol::error::QueueSpot;
use crate::telemetry::ChoiceReason;

/// How long the first of a line waits before it looks for room again.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What the time since the placing before counts against all before it, in the wait to be expected.
const NEWEST_SHARE: f64 = 0.3;

/// Who waits for room.
#[derive(Debug, Default)]
pub struct Queue {
    lines: Mutex<Lines>,
    /// Wakes all who wait when somebody has left.
    moved: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    /// Labels that each requires, by number.
    waiting: BTreeMap<u64, Labels>,
    last_number: u64,
    /// When somebody was placed last while others waited, or began to wait as the first.
    placed: Time,
    /// Decaying mean of the time from one placing to the next.
    pace: Option<Duration>,
}

/// A place in the queue. Dropped, it is left.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    number: u64,
}

impl Queue {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether somebody waits who goes before the one with that number, or before anybody new.
    pub(super) fn is_ahead_of(&self, number: Option<u64>, require: &Labels) -> bool {
        self.lock().ahead_of(number, require) > 0
    }

    /// Stands in line; `None` if `max` wait already.
    fn enter(self: &Arc<Self>, require: &Labels, max: usize, now: Time) -> Option<Turn> {
        let mut lines = self.lock();
        if lines.waiting.len() >= max {
            return None;
        }
        if lines.waiting.is_empty() {
            lines.placed = now;
        }
        lines.last_number += 1;
        let number = lines.last_number;
        lines.waiting.insert(number, require.clone());
        Some(Turn { queue: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing that can panic is done while it is held.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn ahead_of(&self, number: Option<u64>, require: &Labels) -> usize {
        let before = self.waiting.range(..number.unwrap_or(u64::MAX));
        before.filter(|(_, other)| *other == require).count()
    }
}

impl Turn {
    /// Its number.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// It was placed.
    fn placed(&self, now: Time) {
        let mut lines = self.queue.lock();
        let took = now.since(lines.placed);
        lines.pace =
            Some(lines.pace.map_or(took, |pace| {
                pace.mul_f64(1.0 - NEWEST_SHARE) + took.mul_f64(NEWEST_SHARE)
            }));
        lines.placed = now;
    }

    /// Where it stands in its line.
    fn spot(&self, require: &Labels) -> QueueSpot {
        self.queue.lock().spot(Some(self.number), require)
    }
}

impl Lines {
    /// Where somebody stands, or would stand, in line: the first at 1.
    fn spot(&self, number: Option<u64>, require: &Labels) -> QueueSpot {
        let millis = |wait: Duration| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let position = u32::try_from(self.ahead_of(number, require) + 1).unwrap_or(u32::MAX);
        let wait = self.pace.map(|pace| millis(pace.saturating_mul(position)));
        QueueSpot { position, expected_wait_ms: wait }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.lock().waiting.remove(&self.number);
        self.queue.moved.notify_waiters();
    }
}

impl Placement {
    /// Waits for room in the order of those who came, and takes it.
    pub(super) async fn place_in_turn(
        &self,
        mut wanted: Wanted,
        at: &Where,
    ) -> Result<(Placed, ChoiceReason), PlaceError> {
        let bounds = self.config.get().settings.queue;
        let Some(turn) = self.queue.enter(&wanted.require, bounds.max, self.timer.now()) else {
            return Err(PlaceError::QueueFull(self.queue.lock().spot(None, &wanted.require)));
        };
        wanted.number = Some(turn.number());
        let waiting = self.wait_for_room(&wanted, at);
        let Some(found) = self.within(bounds.wait, waiting).await else {
            return Err(PlaceError::QueuedTooLong(turn.spot(&wanted.require)));
        };
        let (placed, _) = found?;
        turn.placed(self.timer.now());
        Ok((placed, ChoiceReason::Queued))
    }

    async fn wait_for_room(
        &self,
        wanted: &Wanted,
        at: &Where,
    ) -> Result<(Placed, ChoiceReason), PlaceError> {
        loop {
            let mut moved = pin!(self.queue.moved.notified());
            // From here on nobody leaves unnoticed.
            moved.as_mut().enable();
            if !self.queue.is_ahead_of(wanted.number, &wanted.require) {
                match self.find(wanted, at).await {
                    Err(PlaceError::NoRoomYet) => {}
                    found => return found,
                }
            }
            select(moved, self.timer.sleep(LOOK_INTERVAL)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn labels(text: &str) -> Labels {
        Labels::parse(&[text]).unwrap()
    }

    #[test]
    fn each_stands_behind_those_who_require_the_same() {
        let queue = Arc::new(Queue::default());
        let (eu, us) = (labels("region=eu"), labels("region=us"));
        let first = queue.enter(&eu, 3, at(0)).unwrap();
        let other = queue.enter(&us, 3, at(0)).unwrap();
        let second = queue.enter(&eu, 3, at(0)).unwrap();
        assert!(queue.enter(&eu, 3, at(0)).is_none(), "it is full");
        let is_behind = |turn: &Turn, labels| queue.is_ahead_of(Some(turn.number()), labels);
        assert!(!is_behind(&first, &eu) && !is_behind(&other, &us) && is_behind(&second, &eu));
        assert!(queue.is_ahead_of(None, &us) && !queue.is_ahead_of(None, &Labels::default()));
        drop(first);
        assert!(!is_behind(&second, &eu));
        drop((other, second));
        assert!(queue.is_empty());
    }

    #[test]
    fn the_wait_to_be_expected_follows_how_fast_others_were_placed() {
        let queue = Arc::new(Queue::default());
        let eu = labels("region=eu");
        let turns: Vec<_> = (0..4).map(|_| queue.enter(&eu, 9, at(10)).unwrap()).collect();
        assert_eq!(turns[1].spot(&eu), QueueSpot { position: 2, expected_wait_ms: None });
        let [first, second, third, fourth] = turns.try_into().unwrap();
        first.placed(at(12));
        drop(first);
        assert_eq!(third.spot(&eu), QueueSpot { position: 2, expected_wait_ms: Some(4_000) });
        second.placed(at(22));
        drop(second);
        assert_eq!(fourth.spot(&eu), QueueSpot { position: 2, expected_wait_ms: Some(8_800) });
    }
}
