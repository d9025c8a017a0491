//! What a backend carries, counted by whoever puts it there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::model::Legs;
use crate::policy::charge::{Weights, charge};
use crate::policy::tally::Counts;
use crate::protocol::media::ElementKind;

/// Counters of one backend that all snapshots of the fleet share.
///
/// Only gauges: nothing is ordered by them, so they need no stronger ordering than `Relaxed`.
#[derive(Debug, Default)]
pub struct BackendLoad {
    /// Sums of many meetings, so wider than what is shown of them.
    charged: AtomicU64,
    measured: AtomicU64,
    elements: [AtomicU32; ElementKind::COUNT],
    publishing: AtomicU32,
    receiving: AtomicU32,
    meetings: AtomicU32,
    participants: AtomicU32,
    links: AtomicU32,
}

impl BackendLoad {
    /// Legs that its meetings are charged.
    #[must_use]
    pub fn legs(&self) -> Legs {
        legs(&self.charged)
    }

    /// Legs that its meetings cost now, as far as is seen.
    #[must_use]
    pub fn measured(&self) -> Legs {
        legs(&self.measured)
    }

    /// What its meetings consist of, as far as is seen.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        Counts {
            elements: self.elements.each_ref().map(count),
            publishing: count(&self.publishing),
            receiving: count(&self.receiving),
        }
    }

    /// Meetings it has.
    #[must_use]
    pub fn meetings(&self) -> u32 {
        self.meetings.load(Ordering::Relaxed)
    }

    /// Uses of its pipelines by client connections.
    #[must_use]
    pub fn participants(&self) -> u32 {
        self.participants.load(Ordering::Relaxed)
    }

    /// Links open to it.
    #[must_use]
    pub fn links(&self) -> u32 {
        self.links.load(Ordering::Relaxed)
    }

    /// Counts one open link until the guard is dropped.
    #[must_use]
    pub fn open_link(self: &Arc<Self>) -> LinkCount {
        self.links.fetch_add(1, Ordering::Relaxed);
        LinkCount(self.clone())
    }

    /// `count` more client connections use a pipeline of it.
    pub fn join(&self, count: u32) {
        self.participants.fetch_add(count, Ordering::Relaxed);
    }

    /// `count` uses of a pipeline have ended.
    pub fn leave(&self, count: u32) {
        self.participants.fetch_sub(count, Ordering::Relaxed);
    }
}

/// One open link.
#[derive(Debug)]
pub struct LinkCount(Arc<BackendLoad>);

impl Drop for LinkCount {
    fn drop(&mut self) {
        self.0.links.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A meeting's share of a backend's load. Given back when dropped, so that it is given back once.
#[derive(Debug)]
pub struct Charge {
    load: Arc<BackendLoad>,
    reserve: Legs,
    share: Share,
}

/// What is added to the counters of a backend.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    charged: Legs,
    measured: Legs,
    counts: Counts,
}

impl Charge {
    /// Charges one meeting with `reserve` to `load`.
    #[must_use]
    pub fn new(load: Arc<BackendLoad>, reserve: Legs) -> Self {
        load.meetings.fetch_add(1, Ordering::Relaxed);
        let mut charge = Self { load, reserve, share: Share::default() };
        charge.set(Share { charged: reserve, ..Share::default() });
        charge
    }

    /// The legs promised.
    #[must_use]
    pub const fn reserve(&self) -> Legs {
        self.reserve
    }

    /// The legs charged: what was promised, or what the meeting costs if that is more.
    #[must_use]
    pub const fn legs(&self) -> Legs {
        self.share.charged
    }

    /// The legs that the meeting costs now.
    #[must_use]
    pub const fn measured(&self) -> Legs {
        self.share.measured
    }

    /// What the meeting consists of.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.share.counts
    }

    /// What it is charged to.
    #[must_use]
    pub const fn load(&self) -> &Arc<BackendLoad> {
        &self.load
    }

    /// A part of the meeting has `after` where it had `before`.
    pub fn measure(&mut self, before: &Counts, after: &Counts, weights: &Weights) {
        let mut counts = self.share.counts;
        counts.replace(before, after);
        let measured = weights.legs(&counts);
        self.set(Share { charged: charge(measured, self.reserve), measured, counts });
    }

    /// Puts `share` in the place of what is added now.
    fn set(&mut self, share: Share) {
        let before = std::mem::replace(&mut self.share, share);
        let load = &self.load;
        change_legs(&load.charged, before.charged, share.charged);
        change_legs(&load.measured, before.measured, share.measured);
        let (old, new) = (before.counts, share.counts);
        for (counter, (old, new)) in load.elements.iter().zip(old.elements.iter().zip(new.elements))
        {
            change(counter, *old, new);
        }
        change(&load.publishing, old.publishing, new.publishing);
        change(&load.receiving, old.receiving, new.receiving);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(Share::default());
        self.load.meetings.fetch_sub(1, Ordering::Relaxed);
    }
}

fn legs(counter: &AtomicU64) -> Legs {
    Legs(u32::try_from(counter.load(Ordering::Relaxed)).unwrap_or(u32::MAX))
}

fn change_legs(counter: &AtomicU64, before: Legs, after: Legs) {
    if before != after {
        // Adding wraps, so the difference may be negative.
        let difference = u64::from(after.0).wrapping_sub(before.0.into());
        counter.fetch_add(difference, Ordering::Relaxed);
    }
}

fn change(counter: &AtomicU32, before: u32, after: u32) {
    if before != after {
        counter.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_charge_is_given_back() {
        let load = Arc::new(BackendLoad::default());
        let charge = Charge::new(load.clone(), Legs(4));
        assert_eq!((load.legs(), load.meetings()), (Legs(4), 1));
        drop(charge);
        assert_eq!((load.legs(), load.meetings()), (Legs(0), 0));
    }

    #[test]
    fn a_meeting_is_charged_what_it_costs_when_that_is_more_than_its_reserve() {
        let load = Arc::new(BackendLoad::default());
        let other = Charge::new(load.clone(), Legs(10));
        let mut charge = Charge::new(load.clone(), Legs(4));
        let weights = Weights::default();
        let with = |receiving| Counts { receiving, ..Counts::default() };
        for (before, after, charged) in [(0, 3, 14), (3, 9, 19), (9, 5, 15), (5, 4, 14)] {
            charge.measure(&with(before), &with(after), &weights);
            assert_eq!((load.legs(), load.measured()), (Legs(charged), Legs(after)));
            assert_eq!((charge.measured(), load.counts()), (Legs(after), with(after)));
        }
        drop(charge);
        assert_eq!((load.legs(), load.measured()), (Legs(10), Legs(0)));
        assert_eq!(load.counts(), Counts::default());
        drop(other);
        assert_eq!(load.legs(), Legs(0));
    }

    #[test]
    fn more_legs_than_can_be_shown_are_given_back_all_the_same() {
        let load = Arc::new(BackendLoad::default());
        let charges = [u32::MAX, u32::MAX, 7].map(|legs| Charge::new(load.clone(), Legs(legs)));
        assert_eq!(load.legs(), Legs(u32::MAX));
        let [first, second, third] = charges;
        drop((first, second));
        assert_eq!(load.legs(), Legs(7));
        drop(third);
        assert_eq!(load.legs(), Legs(0));
    }
}
