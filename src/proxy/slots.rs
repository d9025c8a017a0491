//! How many client connections there may be at once.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Slots for connections. Their number can change while they are taken; a semaphore cannot take back
/// what it has given.
#[derive(Debug)]
pub struct Slots {
    counts: Mutex<Counts>,
    /// Wakes who waits for a slot: one for each that is free again, all when there are more.
    freed: Notify,
}

#[derive(Debug)]
struct Counts {
    taken: usize,
    max: usize,
}

/// One that is taken. Free again when it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

impl Slots {
    /// So many, all free.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::new(Counts { taken: 0, max }), freed: Notify::new() })
    }

    /// So many from now on. If more are taken, they stay so until they are dropped; one of them by each
    /// listener, for whom it accepts next.
    pub fn set_max(&self, max: usize) {
        self.lock().max = max;
        self.freed.notify_waiters();
    }

    /// Takes one, if one is free.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Slot> {
        let mut counts = self.lock();
        let is_free = counts.taken < counts.max;
        counts.taken += usize::from(is_free);
        is_free.then(|| Slot(self.clone()))
    }

    /// Waits for one that is free, and takes it.
    pub(super) async fn take(self: &Arc<Self>) -> Slot {
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on no slot becomes free unnoticed.
            freed.as_mut().enable();
            if let Some(slot) = self.try_take() {
                return slot;
            }
            freed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing that can panic is done while it is held.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.lock().taken -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_waits_gets_the_next_that_is_free() {
        let slots = Slots::new(1);
        let first = slots.try_take().unwrap();
        let mut second = Box::pin(slots.take());
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert!(slots.try_take().is_some(), "it is not taken before its waiter looks");
        assert!(second.now_or_never().is_some());
    }

    #[test]
    fn more_are_there_at_once_and_fewer_when_enough_are_free() {
        let slots = Slots::new(1);
        let first = slots.try_take().unwrap();
        let mut waiting = Box::pin(slots.take());
        assert!((&mut waiting).now_or_never().is_none());
        slots.set_max(2);
        let second = waiting.now_or_never().unwrap();
        slots.set_max(1);
        drop(second);
        assert!(slots.try_take().is_none(), "the first is the only one now");
        drop(first);
        assert!(slots.try_take().is_some());
    }
}
