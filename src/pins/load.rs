//! What a backend carries, counted by whoever puts it there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::model::{Legs, Time};
use crate::policy::charge::Weights;
use crate::policy::promise::Promise;
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
    promise: Promise,
    half_life: Duration,
    share: Share,
    peak: Legs,
}

/// What is added to the counters of a backend.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    charged: Legs,
    measured: Legs,
    counts: Counts,
}

impl Charge {
    /// Charges one meeting with all of `promise` to `load`. Half of it goes in each `half_life`.
    #[must_use]
    pub fn new(load: Arc<BackendLoad>, promise: Promise, half_life: Duration) -> Self {
        load.meetings.fetch_add(1, Ordering::Relaxed);
        let (share, peak) = (Share::default(), Legs(0));
        let charged = promise.legs;
        let mut charge = Self { load, promise, half_life, share, peak };
        charge.set(Share { charged, ..Share::default() });
        charge
    }

    /// What was promised, and when.
    #[must_use]
    pub const fn promise(&self) -> Promise {
        self.promise
    }

    /// The legs charged: what the meeting costs, or what was left of its promise when it was last
    /// looked at if that is more.
    #[must_use]
    pub const fn legs(&self) -> Legs {
        self.share.charged
    }

    /// The legs that the meeting costs now.
    #[must_use]
    pub const fn measured(&self) -> Legs {
        self.share.measured
    }

    /// Most legs that it has cost at once.
    #[must_use]
    pub const fn peak(&self) -> Legs {
        self.peak
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

    /// A part of the meeting has `after` where it had `before`, from `now` on.
    pub fn measure(&mut self, (before, after): (&Counts, &Counts), weights: &Weights, now: Time) {
        let mut counts = self.share.counts;
        counts.replace(before, after);
        let measured = weights.legs(&counts);
        self.peak = self.peak.max(measured);
        let charged = self.promise.charge(measured, now, self.half_life);
        self.set(Share { charged, measured, counts });
    }

    /// What the meeting consists of costs that much from `now` on.
    pub fn weigh(&mut self, weights: &Weights, now: Time) {
        let none = Counts::default();
        self.measure((&none, &none), weights, now);
    }

    /// Gives back what has gone of the promise by `now`; says whether anything of it is left.
    pub fn wane(&mut self, now: Time) -> bool {
        let charged = self.promise.charge(self.share.measured, now, self.half_life);
        self.set(Share { charged, ..self.share });
        self.promise.remaining(now, self.half_life) > Legs(0)
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

    const HALF: Duration = Duration::from_secs(600);

    fn charge(load: &Arc<BackendLoad>, legs: u32) -> Charge {
        Charge::new(load.clone(), Promise { legs: Legs(legs), made: Time::ZERO }, HALF)
    }

    #[test]
    fn a_dropped_charge_is_given_back() {
        let load = Arc::new(BackendLoad::default());
        let charge = charge(&load, 4);
        assert_eq!((load.legs(), load.meetings()), (Legs(4), 1));
        drop(charge);
        assert_eq!((load.legs(), load.meetings()), (Legs(0), 0));
    }

    #[test]
    fn a_meeting_is_charged_what_it_costs_when_that_is_more_than_its_reserve() {
        let load = Arc::new(BackendLoad::default());
        let other = charge(&load, 10);
        let mut charge = charge(&load, 4);
        let weights = Weights::default();
        let with = |receiving| Counts { receiving, ..Counts::default() };
        for (before, after, charged) in [(0, 3, 14), (3, 9, 19), (9, 5, 15), (5, 4, 14)] {
            charge.measure((&with(before), &with(after)), &weights, Time::ZERO);
            assert_eq!((load.legs(), load.measured()), (Legs(charged), Legs(after)));
            assert_eq!((charge.measured(), load.counts()), (Legs(after), with(after)));
        }
        assert_eq!(charge.peak(), Legs(9));
        drop(charge);
        assert_eq!((load.legs(), load.measured()), (Legs(10), Legs(0)));
        assert_eq!(load.counts(), Counts::default());
        drop(other);
        assert_eq!(load.legs(), Legs(0));
    }

    #[test]
    fn a_promise_goes_with_time_and_what_is_there_stays() {
        let load = Arc::new(BackendLoad::default());
        let mut charge = charge(&load, 100);
        let with = |receiving| Counts { receiving, ..Counts::default() };
        for (halves, charged, is_left) in [(0, 100, true), (1, 50, true), (2, 25, true)] {
            let now = Time::ZERO + HALF * halves;
            assert_eq!((charge.wane(now), load.legs()), (is_left, Legs(charged)));
        }
        let now = Time::ZERO + HALF * 2;
        charge.measure((&with(0), &with(40)), &Weights::default(), now);
        assert_eq!(load.legs(), Legs(40));
        charge.measure((&with(40), &with(3)), &Weights::default(), now);
        assert_eq!(load.legs(), Legs(25), "what is left of the promise");
        assert!(!charge.wane(Time::ZERO + HALF * 20));
        assert_eq!((load.legs(), load.measured()), (Legs(3), Legs(3)));
        drop(charge);
        assert_eq!((load.legs(), load.measured()), (Legs(0), Legs(0)));
    }

    #[test]
    fn more_legs_than_can_be_shown_are_given_back_all_the_same() {
        let load = Arc::new(BackendLoad::default());
        let charges = [u32::MAX, u32::MAX, 7].map(|legs| charge(&load, legs));
        assert_eq!(load.legs(), Legs(u32::MAX));
        let [first, second, third] = charges;
        drop((first, second));
        assert_eq!(load.legs(), Legs(7));
        drop(third);
        assert_eq!(load.legs(), Legs(0));
    }
}
