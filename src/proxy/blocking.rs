//! Calls that block a thread of their backend: so many may be under way on each.
//!
//! A media server answers everybody on ten threads, and an operation like `stopAndWait` holds one until
//! it is done. Ten of them stop the server. Source: Kurento protocol notes, section 9.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::model::{BackendId, Time};

/// How long a call counts whose answer will not be seen: its client has gone, the backend goes on.
const ABANDONED_FOR: Duration = Duration::from_secs(30);

/// What is under way on all backends. At most `max` on each; a further call is refused.
#[derive(Debug)]
pub struct BlockingCalls {
    max: AtomicUsize,
    backends: Mutex<BTreeMap<BackendId, UnderWay>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    /// Calls that will be answered.
    waiting: usize,
    /// Until when the others count, first those that end first.
    abandoned: Vec<Time>,
}

impl BlockingCalls {
    /// No call, and room for `max` on each backend.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max: AtomicUsize::new(max), backends: Mutex::new(BTreeMap::new()) }
    }

    /// Room for `max` on each backend from now on; those that are under way go on.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Takes one more call in, if there is room.
    pub(super) fn try_begin(&self, backend: &BackendId, now: Time) -> bool {
        self.with(backend, |under_way| {
            under_way.abandoned.retain(|until| *until > now);
            let has_room =
                under_way.waiting + under_way.abandoned.len() < self.max.load(Ordering::Relaxed);
            under_way.waiting += usize::from(has_room);
            has_room
        })
    }

    /// A call is answered.
    pub(super) fn end(&self, backend: &BackendId) {
        self.with(backend, |under_way| under_way.waiting -= 1);
    }

    /// The answer of a call will not be seen.
    pub(super) fn abandon(&self, backend: &BackendId, now: Time) {
        self.with(backend, |under_way| {
            under_way.waiting -= 1;
            under_way.abandoned.push(now + ABANDONED_FOR);
        });
    }

    fn with<T>(&self, backend: &BackendId, act: impl FnOnce(&mut UnderWay) -> T) -> T {
        let mut backends = self.backends.lock().expect("nothing panics while holding it");
        act(backends.entry(backend.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_bears_so_many_and_those_left_behind_count_for_a_while() {
        let calls = BlockingCalls::new(2);
        let [a, b] = ["a", "b"].map(|id| BackendId::parse(id).unwrap());
        let now = Time::ZERO;
        assert!(calls.try_begin(&a, now) && calls.try_begin(&a, now));
        assert!(!calls.try_begin(&a, now), "full");
        assert!(calls.try_begin(&b, now), "another backend has its own");
        calls.end(&a);
        assert!(calls.try_begin(&a, now));
        calls.abandon(&a, now);
        assert!(!calls.try_begin(&a, now), "it still blocks there");
        assert!(calls.try_begin(&a, now + ABANDONED_FOR));
    }
}
