//! The turns of costly calls, for all client connections of the process.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::model::{BackendId, Time};
use crate::policy::pacing::{Ask, Bucket, Pace, Turn};
use crate::runtime::{Latest, Timer};

/// One bucket for each backend that was asked for a costly call lately: one that is full again is as
/// good as none.
#[derive(Debug)]
pub struct Pacer {
    /// `None`: all go at once.
    pace: Latest<Option<Pace>>,
    timer: Arc<dyn Timer>,
    buckets: Mutex<BTreeMap<BackendId, Bucket>>,
}

/// How an ask for a turn went.
pub(super) enum Asked {
    /// It is the call's turn.
    Now,
    /// It will be.
    Later(Waiting),
    /// Too many wait, or for too long; it may be tried again after so many milliseconds.
    Refused(u32),
    /// It never will be.
    TooLarge,
}

impl Pacer {
    /// Paces calls by what `timer` tells.
    #[must_use]
    pub fn new(pace: Option<Pace>, timer: Arc<dyn Timer>) -> Self {
        Self { pace: Latest::new(pace), timer, buckets: Mutex::default() }
    }

    /// Keeps another pace from now on. Turns that are waited for come when they were promised.
    pub fn set_pace(&self, pace: Option<Pace>) {
        self.pace.set(pace);
    }

    /// The pace; `None` if there is none to be kept.
    pub(super) fn pace(&self) -> Option<Pace> {
        *self.pace.get()
    }

    /// Asks for a turn at `backend`.
    pub(super) fn ask(self: &Arc<Self>, backend: &BackendId, ask: Ask) -> Asked {
        let Some(pace) = self.pace() else { return Asked::Now };
        let now = self.timer.now();
        match self.with(backend, now, |bucket| bucket.ask(&pace, ask, now)) {
            Turn::Now => Asked::Now,
            Turn::At(at) => Asked::Later(Waiting {
                pacer: Arc::clone(self),
                backend: backend.clone(),
                cost: ask.cost,
                pace,
                until: Some(self.timer.sleep(at.since(now))),
            }),
            Turn::TooLarge => Asked::TooLarge,
            Turn::Refused(after) => {
                Asked::Refused(u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1))
            }
        }
    }

    /// Backends that have a bucket now.
    #[cfg(test)]
    fn bucket_count(&self) -> usize {
        self.buckets.lock().expect("nothing panics while holding it").len()
    }

    fn with<T>(&self, backend: &BackendId, now: Time, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = self.buckets.lock().expect("nothing panics while holding it");
        if !buckets.contains_key(backend) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        act(buckets.entry(backend.clone()).or_default())
    }
}

/// A turn that is waited for. Dropped before it has come, it is given back.
pub(super) struct Waiting {
    pacer: Arc<Pacer>,
    backend: BackendId,
    cost: u32,
    /// By which the turn was booked.
    pace: Pace,
    /// `None` when it has come.
    until: Option<BoxFuture<'static, ()>>,
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(until) = &mut self.until {
            std::task::ready!(until.as_mut().poll(cx));
            self.until = None;
            let now = self.pacer.timer.now();
            self.pacer.with(&self.backend, now, Bucket::on_turn);
        }
        Poll::Ready(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.until.is_some() {
            let (pacer, now) = (&self.pacer, self.pacer.timer.now());
            pacer.with(&self.backend, now, |bucket| bucket.give_back(&self.pace, self.cost, now));
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("backend", &self.backend).field("cost", &self.cost).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    const PACE: Pace = Pace {
        interval: Duration::from_secs(1),
        burst: 1,
        wait_max: Duration::from_secs(60),
        waiting_max: 2,
        held_max_bytes: 1_000,
    };

    /// A clock that stands still until it is moved; who sleeps is only woken by being asked.
    #[derive(Debug, Default)]
    struct Still(Arc<Mutex<Time>>);

    impl Timer for Still {
        fn now(&self) -> Time {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let (now, until) = (Arc::clone(&self.0), self.now() + duration);
            let is_over = move || *now.lock().unwrap() >= until;
            std::future::poll_fn(move |_| if is_over() { Poll::Ready(()) } else { Poll::Pending })
                .boxed()
        }

        fn unix_millis(&self) -> u64 {
            self.now().as_micros() / 1_000
        }
    }

    fn pacer() -> (Arc<Pacer>, Arc<Mutex<Time>>) {
        let still = Still::default();
        let now = Arc::clone(&still.0);
        (Arc::new(Pacer::new(Some(PACE), Arc::new(still))), now)
    }

    fn ask(pacer: &Arc<Pacer>, backend: &str) -> Asked {
        let ask = Ask { cost: 1, since: pacer.timer.now() };
        pacer.ask(&BackendId::parse(backend).unwrap(), ask)
    }

    fn later(asked: Asked) -> Waiting {
        let Asked::Later(waiting) = asked else { panic!("not to wait") };
        waiting
    }

    #[test]
    fn each_backend_has_its_own_tokens_and_a_turn_comes_with_time() {
        let (pacer, now) = pacer();
        assert!(matches!(ask(&pacer, "a"), Asked::Now));
        assert!(matches!(ask(&pacer, "b"), Asked::Now));
        let mut waiting = later(ask(&pacer, "a"));
        assert_eq!((&mut waiting).now_or_never(), None);
        *now.lock().unwrap() = Time::ZERO + PACE.interval;
        assert_eq!(waiting.now_or_never(), Some(()));
    }

    #[test]
    fn a_turn_that_is_not_waited_for_any_more_is_anothers() {
        let (pacer, now) = pacer();
        assert!(matches!(ask(&pacer, "a"), Asked::Now));
        let waiting = [later(ask(&pacer, "a")), later(ask(&pacer, "a"))];
        assert!(matches!(ask(&pacer, "a"), Asked::Refused(3_000)), "two wait");
        drop(waiting);
        let mut waiting = later(ask(&pacer, "a"));
        *now.lock().unwrap() = Time::ZERO + PACE.interval;
        assert_eq!((&mut waiting).now_or_never(), Some(()), "the first in the queue again");
        drop(waiting);
        assert!(matches!(ask(&pacer, "a"), Asked::Later(_)), "it was used, and not given back");
    }

    #[test]
    fn another_pace_holds_for_the_tokens_that_are_left() {
        let (pacer, now) = pacer();
        assert!(matches!(ask(&pacer, "a"), Asked::Now));
        let mut waiting = later(ask(&pacer, "a"));
        pacer.set_pace(Some(Pace { burst: 3, ..PACE }));
        assert!(matches!(ask(&pacer, "a"), Asked::Now), "two were taken, and three may be");
        assert!(matches!(ask(&pacer, "a"), Asked::Later(_)), "no new bucket");
        pacer.set_pace(None);
        assert!(matches!(ask(&pacer, "a"), Asked::Now));
        assert_eq!((&mut waiting).now_or_never(), None, "its turn comes when it was promised");
        *now.lock().unwrap() = Time::ZERO + PACE.interval;
        assert_eq!(waiting.now_or_never(), Some(()));
    }

    #[test]
    fn a_bucket_that_is_full_again_goes() {
        let (pacer, now) = pacer();
        for backend in ["a", "b", "c"] {
            assert!(matches!(ask(&pacer, backend), Asked::Now));
        }
        assert_eq!(pacer.bucket_count(), 3);
        *now.lock().unwrap() = Time::ZERO + PACE.interval;
        assert!(matches!(ask(&pacer, "d"), Asked::Now));
        assert_eq!(pacer.bucket_count(), 1);
    }
}
