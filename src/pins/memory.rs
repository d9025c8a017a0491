//! A pin store in memory: for one edge, gone when the process ends.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::store::{Claim, Pin, PinError, PinStore};
use crate::model::{BackendId, Incarnation, MeetingName};
use crate::settings::WhenAway;

/// Pins in memory, at most `pins_max`; at that bound new claims fail with `Full`.
#[derive(Debug)]
pub struct MemoryStore {
    pins_max: AtomicUsize,
    pins: DashMap<MeetingName, Slot>,
    count: AtomicUsize,
    last_epoch: AtomicU64,
    /// Every backend ever claimed, so that a pin holds four bytes of it. Grows with the fleet's
    /// config, not with meetings.
    backends: Mutex<Vec<BackendId>>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    backend: u32,
    incarnation: Incarnation,
    epoch: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(pins_max: usize) -> Self {
        Self {
            pins_max: AtomicUsize::new(pins_max),
            pins: DashMap::new(),
            count: AtomicUsize::new(0),
            last_epoch: AtomicU64::new(0),
            backends: Mutex::default(),
        }
    }

    fn pins_max(&self) -> usize {
        self.pins_max.load(Ordering::Relaxed)
    }

    /// At most so many from now on; those that are there stay.
    pub(crate) fn set_pins_max(&self, pins_max: usize) {
        self.pins_max.store(pins_max, Ordering::Relaxed);
    }

    /// How many meetings are pinned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether no meeting is pinned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pins `meeting` if it is not pinned. `next_epoch` is asked only then, while nobody else can
    /// change the pin of this meeting.
    pub(crate) fn claim_with(
        &self,
        meeting: &MeetingName,
        (backend, incarnation): (&BackendId, Incarnation),
        next_epoch: impl FnOnce() -> Result<u64, PinError>,
    ) -> Result<Claim, PinError> {
        let vacant = match self.pins.entry(meeting.clone()) {
            Entry::Occupied(held) => return Ok(Claim::Held(self.pin(*held.get()))),
            Entry::Vacant(vacant) => vacant,
        };
        let is_full = self.count.fetch_add(1, Ordering::Relaxed) >= self.pins_max();
        let epoch = if is_full { Err(PinError::Full) } else { next_epoch() };
        let epoch = epoch.inspect_err(|_| {
            self.count.fetch_sub(1, Ordering::Relaxed);
        })?;
        vacant.insert(Slot { backend: self.intern(backend), incarnation, epoch });
        Ok(Claim::Made(Pin { backend: backend.clone(), incarnation, epoch }))
    }

    /// Enters a pin as it was, whatever `pins_max` is now.
    pub(crate) fn restore(&self, meeting: MeetingName, pin: &Pin) {
        let backend = self.intern(&pin.backend);
        let slot = Slot { backend, incarnation: pin.incarnation, epoch: pin.epoch };
        if self.pins.insert(meeting, slot).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The pin of `meeting`.
    pub(crate) fn find(&self, meeting: &MeetingName) -> Option<Pin> {
        let slot = self.pins.get(meeting).map(|slot| *slot);
        slot.map(|slot| self.pin(slot))
    }

    /// Removes the pin of `meeting` if it is still the one of `epoch`; says whether it was.
    pub(super) fn remove(&self, meeting: &MeetingName, epoch: u64) -> bool {
        let removed = self.pins.remove_if(meeting, |_, slot| slot.epoch == epoch).is_some();
        if removed {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// The names of all meetings that are pinned, in no order.
    pub(super) fn names(&self) -> Vec<MeetingName> {
        self.pins.iter().map(|entry| entry.key().clone()).collect()
    }

    fn pin(&self, slot: Slot) -> Pin {
        let backends = self.backends.lock().expect("nothing panics while holding it");
        let backend = backends[slot.backend as usize].clone();
        Pin { backend, incarnation: slot.incarnation, epoch: slot.epoch }
    }

    fn intern(&self, backend: &BackendId) -> u32 {
        let mut backends = self.backends.lock().expect("nothing panics while holding it");
        let found = backends.iter().position(|known| known == backend).unwrap_or_else(|| {
            backends.push(backend.clone());
            backends.len() - 1
        });
        u32::try_from(found).expect("fewer backends than that")
    }
}

impl PinStore for MemoryStore {
    fn claim<'a>(
        &'a self,
        meeting: &'a MeetingName,
        backend: &'a BackendId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<Claim, PinError>> {
        let next_epoch = || Ok(self.last_epoch.fetch_add(1, Ordering::Relaxed) + 1);
        ready(self.claim_with(meeting, (backend, incarnation), next_epoch)).boxed()
    }

    fn lookup<'a>(
        &'a self,
        meeting: &'a MeetingName,
    ) -> BoxFuture<'a, Result<Option<Pin>, PinError>> {
        ready(Ok(self.find(meeting))).boxed()
    }

    fn unpin<'a>(
        &'a self,
        meeting: &'a MeetingName,
        epoch: u64,
    ) -> BoxFuture<'a, Result<bool, PinError>> {
        ready(Ok(self.remove(meeting, epoch))).boxed()
    }

    fn set_bounds(&self, pins_max: usize, _when_away: WhenAway) {
        self.set_pins_max(pins_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MeetingName {
        MeetingName::parse(text).unwrap()
    }

    async fn claim(store: &MemoryStore, meeting: &str, backend: &str) -> Result<Claim, PinError> {
        store.claim(&name(meeting), &BackendId::parse(backend).unwrap(), Incarnation(1)).await
    }

    #[tokio::test]
    async fn the_first_claim_wins_and_a_later_one_hears_of_it() {
        let store = MemoryStore::new(10);
        let Claim::Made(pin) = claim(&store, "m", "a").await.unwrap() else { panic!() };
        assert_eq!(claim(&store, "m", "b").await, Ok(Claim::Held(pin.clone())));
        assert_eq!(store.lookup(&name("m")).await, Ok(Some(pin)));
    }

    #[tokio::test]
    async fn only_the_pin_that_was_seen_is_removed_and_epochs_rise() {
        let store = MemoryStore::new(10);
        let Claim::Made(first) = claim(&store, "m", "a").await.unwrap() else { panic!() };
        assert_eq!(store.unpin(&name("m"), first.epoch).await, Ok(true));
        let Claim::Made(second) = claim(&store, "m", "b").await.unwrap() else { panic!() };
        assert!(second.epoch > first.epoch);
        assert_eq!(store.unpin(&name("m"), first.epoch).await, Ok(false));
        assert_eq!(store.lookup(&name("m")).await, Ok(Some(second)));
    }

    #[tokio::test]
    async fn a_full_store_refuses_new_meetings_and_keeps_the_old() {
        let store = MemoryStore::new(1);
        let Claim::Made(pin) = claim(&store, "m", "a").await.unwrap() else { panic!() };
        assert_eq!(claim(&store, "n", "a").await, Err(PinError::Full));
        assert_eq!(claim(&store, "m", "b").await, Ok(Claim::Held(pin.clone())));
        store.unpin(&name("m"), pin.epoch).await.unwrap();
        assert!(matches!(claim(&store, "n", "a").await, Ok(Claim::Made(_))));
        assert_eq!(store.len(), 1);
        store.set_bounds(2, WhenAway::Refuse);
        assert!(matches!(claim(&store, "o", "a").await, Ok(Claim::Made(_))));
        store.set_bounds(1, WhenAway::Refuse);
        assert_eq!(claim(&store, "p", "a").await, Err(PinError::Full));
        assert_eq!(store.len(), 2, "those that are there stay");
    }
}
