//! Time that passes only when the world says so.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::model::Time;
use crate::runtime::Timer;

/// A clock that the world moves. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct VirtualClock(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    now: Time,
    sleepers: BTreeMap<(Time, u64), Waker>,
    sleeper_count: u64,
}

impl VirtualClock {
    /// When the first sleeper wakes.
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.lock().sleepers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves on to `now` and wakes whoever has slept long enough.
    pub(super) fn advance(&self, now: Time) {
        let mut inner = self.lock();
        inner.now = inner.now.max(now);
        let mut due = Vec::new();
        while let Some(first) = inner.sleepers.first_entry() {
            if first.key().0 > now {
                break;
            }
            due.push(first.remove());
        }
        drop(inner);
        due.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for VirtualClock {
    fn now(&self) -> Time {
        self.lock().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut inner = self.lock();
        inner.sleeper_count += 1;
        let key = (inner.now + duration, inner.sleeper_count);
        Sleep { clock: self.clone(), key }.boxed()
    }

    /// The world begins in 1970.
    fn unix_millis(&self) -> u64 {
        self.now().as_micros() / 1_000
    }
}

/// Sleeps until the moment in `key`.
struct Sleep {
    clock: VirtualClock,
    key: (Time, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.clock.lock();
        if inner.now >= self.key.0 {
            return Poll::Ready(());
        }
        inner.sleepers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
    }
}
