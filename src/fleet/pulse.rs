//! What clients meet on a backend, counted where they meet it.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::policy::health::{CallClass, Heard};

/// How the calls of clients end that make something on one backend: shared by all snapshots, written
/// by whoever carries such a call, read and emptied by the fleet task with each probe.
///
/// A lock, for such calls are few beside what else a server does for them, and it is held for a sum.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    felt: Felt,
    /// By class: the longest time that is not slow.
    limits: [Option<Duration>; CallClass::ALL.len()],
}

/// What was counted since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Felt {
    /// Calls refused for want of resources.
    pub(super) refusals: u32,
    /// Answers, by class.
    pub(super) heard: [Heard; CallClass::ALL.len()],
}

impl Pulse {
    /// A call was answered within this time.
    pub(super) fn on_made(&self, class: CallClass, took: Duration) {
        let mut inner = self.lock();
        let limit = inner.limits[class.index()];
        inner.felt.heard[class.index()].add(took, limit);
    }

    /// A call was refused for want of resources; whether it is the first since that was asked.
    pub(super) fn on_refused(&self) -> bool {
        let refusals = &mut self.lock().felt.refusals;
        *refusals = refusals.saturating_add(1);
        *refusals == 1
    }

    /// What was counted since the last time.
    pub(super) fn take(&self) -> Felt {
        std::mem::take(&mut self.lock().felt)
    }

    /// From now on longer answers are slow.
    pub(super) fn set_limits(&self, limits: [Option<Duration>; CallClass::ALL.len()]) {
        self.lock().limits = limits;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_taken_once() {
        let pulse = Pulse::default();
        pulse.set_limits([None, Some(Duration::from_millis(5))]);
        assert!(pulse.on_refused());
        assert!(!pulse.on_refused());
        pulse.on_made(CallClass::Pipeline, Duration::from_secs(1));
        pulse.on_made(CallClass::Element, Duration::from_secs(1));
        let felt = pulse.take();
        assert_eq!((felt.refusals, felt.heard.map(|heard| heard.slow)), (2, [0, 1]));
        assert_eq!(pulse.take(), Felt::default());
        assert!(pulse.on_refused(), "the first since");
    }
}
