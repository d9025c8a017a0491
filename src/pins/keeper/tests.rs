//! What becomes of pins while the store does not answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::*;
use crate::model::Legs;
use crate::pins::{Begun, Claim, MemoryStore};
use crate::policy::promise::Promise;

const GRACE: Duration = Duration::from_secs(60);

/// A store that is away while the test says so.
struct Shaky {
    pins: MemoryStore,
    is_away: AtomicBool,
}

fn meeting() -> MeetingName {
    MeetingName::parse("standup").unwrap()
}

impl Shaky {
    fn new() -> Arc<Self> {
        Arc::new(Self { pins: MemoryStore::new(10), is_away: AtomicBool::new(false) })
    }

    /// The pin of a meeting that has none yet.
    async fn pin(&self, meeting: &MeetingName) -> Pin {
        let backend = BackendId::parse("kms-0").unwrap();
        match self.claim(meeting, &backend, Incarnation(1)).await.unwrap() {
            Claim::Made(pin) => pin,
            Claim::Held(pin) => panic!("{pin:?}"),
        }
    }

    fn check(&self) -> Result<(), PinError> {
        if self.is_away.load(Ordering::Relaxed) { Err(PinError::Away) } else { Ok(()) }
    }
}

impl PinStore for Shaky {
    fn claim<'a>(
        &'a self,
        meeting: &'a MeetingName,
        backend: &'a BackendId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<Claim, PinError>> {
        match self.check() {
            Ok(()) => self.pins.claim(meeting, backend, incarnation),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn lookup<'a>(
        &'a self,
        meeting: &'a MeetingName,
    ) -> BoxFuture<'a, Result<Option<Pin>, PinError>> {
        match self.check() {
            Ok(()) => self.pins.lookup(meeting),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn unpin<'a>(
        &'a self,
        meeting: &'a MeetingName,
        epoch: u64,
    ) -> BoxFuture<'a, Result<bool, PinError>> {
        match self.check() {
            Ok(()) => self.pins.unpin(meeting, epoch),
            Err(error) => ready(Err(error)).boxed(),
        }
    }
}

/// Its backend was given up, and answers before the pin could be removed.
#[tokio::test]
async fn nobody_joins_by_a_pin_that_is_to_be_removed() {
    let (store, meeting) = (Shaky::new(), meeting());
    let pin = store.pin(&meeting).await;
    let keeper = Keeper::new(store.clone(), Arc::new(Registry::new(GRACE, 10)));
    let charge = || {
        let promise = Promise { legs: Legs(1), made: Time::ZERO };
        Charge::new(Arc::default(), promise, GRACE)
    };

    store.is_away.store(true, Ordering::Relaxed);
    keeper.discard(meeting.clone(), &pin).await;
    store.is_away.store(false, Ordering::Relaxed);

    assert_eq!(keeper.registry.begin(&meeting, &pin, charge()), Begun::Ending);
    keeper.sweep(Time::ZERO).await;
    assert_eq!(store.lookup(&meeting).await, Ok(None));
    let pin = store.pin(&meeting).await;
    assert_eq!(keeper.registry.begin(&meeting, &pin, charge()), Begun::Adopted);
}

/// A meeting of the process before keeps its place for the grace, even if its pin cannot be looked up
/// when its backend is heard from.
#[tokio::test]
async fn a_pin_that_was_found_is_kept_for_the_grace_though_the_store_is_away() {
    let (store, meeting) = (Shaky::new(), meeting());
    let pin = store.pin(&meeting).await;
    let keeper = Keeper::new(store.clone(), Arc::new(Registry::new(GRACE, 10)));

    store.is_away.store(true, Ordering::Relaxed);
    let at = (Arc::new(BackendLoad::default()), &CancellationToken::new());
    keeper.adopt((&meeting, &pin), at, Time::ZERO).await;
    store.is_away.store(false, Ordering::Relaxed);

    keeper.sweep(Time::ZERO + GRACE / 2).await;
    assert_eq!(store.lookup(&meeting).await, Ok(Some(pin)));
    keeper.sweep(Time::ZERO + GRACE * 2).await;
    assert_eq!(store.lookup(&meeting).await, Ok(None));
}
