//! What a backend carries, counted by whoever puts it there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::Legs;

/// Counters of one backend that all snapshots of the fleet share.
///
/// Only gauges: nothing is ordered by them, so they need no stronger ordering than `Relaxed`.
#[derive(Debug, Default)]
pub struct BackendLoad {
    legs: AtomicU32,
    meetings: AtomicU32,
    participants: AtomicU32,
    links: AtomicU32,
}

impl BackendLoad {
    /// Legs reserved by its meetings.
    #[must_use]
    pub fn legs(&self) -> Legs {
        Legs(self.legs.load(Ordering::Relaxed))
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
}

impl Charge {
    /// Charges one meeting with `reserve` to `load`.
    #[must_use]
    pub fn new(load: Arc<BackendLoad>, reserve: Legs) -> Self {
        load.legs.fetch_add(reserve.0, Ordering::Relaxed);
        load.meetings.fetch_add(1, Ordering::Relaxed);
        Self { load, reserve }
    }

    /// The legs charged.
    #[must_use]
    pub const fn reserve(&self) -> Legs {
        self.reserve
    }

    /// What it is charged to.
    #[must_use]
    pub const fn load(&self) -> &Arc<BackendLoad> {
        &self.load
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.load.legs.fetch_sub(self.reserve.0, Ordering::Relaxed);
        self.load.meetings.fetch_sub(1, Ordering::Relaxed);
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
}
