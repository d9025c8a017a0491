//! The pin store as an edge reaches it: slow, sometimes away.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::Bug;
use super::time::VirtualClock;
use crate::fleet::FleetHandle;
use crate::model::{BackendId, Draws, Incarnation, MeetingName, PipelineId, Time};
use crate::pins::{Claim, MemoryStore, Origin, Pin, PinError, PinStore};
use crate::runtime::Timer;

/// Microseconds that the store takes to do something, at most.
const LATENCY_MAX_MICROS: usize = 3_000;

/// Microseconds that a pin takes to settle, at most: longer than most round trips.
const SETTLE_MAX_MICROS: usize = 60_000;

/// A [`MemoryStore`] behind a slow connection.
pub(super) struct SlowStore {
    pub(super) pins: MemoryStore,
    clock: VirtualClock,
    fleet: FleetHandle,
    bug: Option<Bug>,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    draws: Draws,
    away_until: Time,
    complaint: Option<String>,
    /// The highest epoch that somebody asked for, and those that are not settled.
    last_epoch: u64,
    unsettled: BTreeSet<u64>,
    /// Pipelines that the next process would find.
    noted: BTreeSet<PipelineId>,
}

impl SlowStore {
    pub(super) fn new(
        pins_max: usize,
        clock: VirtualClock,
        fleet: FleetHandle,
        (bug, draws): (Option<Bug>, Draws),
    ) -> Self {
        let inner = Inner {
            draws,
            away_until: Time::ZERO,
            complaint: None,
            last_epoch: 0,
            unsettled: BTreeSet::new(),
            noted: BTreeSet::new(),
        };
        let inner = Arc::new(Mutex::new(inner));
        Self { pins: MemoryStore::new(pins_max), clock, fleet, bug, inner }
    }

    /// Does not answer until `until`.
    pub(super) fn go_away(&self, until: Time) {
        self.lock().away_until = until;
    }

    /// Whether the pin of `epoch` outlives the edge.
    pub(super) fn is_settled(&self, epoch: u64) -> bool {
        !self.lock().unsettled.contains(&epoch)
    }

    /// Whether the next process would find that pipeline.
    pub(super) fn is_noted(&self, pipeline: PipelineId) -> bool {
        self.lock().noted.contains(&pipeline)
    }

    /// How many pipelines the next process would find.
    pub(super) fn noted_count(&self) -> usize {
        self.lock().noted.len()
    }

    /// What was asked of it that must not be asked.
    pub(super) fn complaint(&self) -> Option<String> {
        self.lock().complaint.take()
    }

    /// Takes its time, then works or fails; the work is done or not done, at either end of the wait.
    async fn reach(&self) -> Result<(), PinError> {
        let pause = {
            let draws = &mut self.lock().draws;
            Duration::from_micros(draws.below(LATENCY_MAX_MICROS) as u64)
        };
        self.clock.sleep(pause).await;
        if self.lock().away_until > self.clock.now() { Err(PinError::Away) } else { Ok(()) }
    }

    /// A pin is made only on a process that the fleet calls healthy at that moment.
    fn check(&self, meeting: &MeetingName, backend: &BackendId, incarnation: Incarnation) {
        let fleet = self.fleet.snapshot();
        let is_eligible =
            |b: &crate::fleet::BackendView| b.takes_pins() && b.incarnation == Some(incarnation);
        if !fleet.backend(backend).is_some_and(|b| is_eligible(b)) {
            let complaint = format!("{meeting} is pinned to {backend}, which takes no pins");
            self.lock().complaint.get_or_insert(complaint);
        }
    }

    async fn do_claim(
        &self,
        meeting: &MeetingName,
        backend: &BackendId,
        incarnation: Incarnation,
    ) -> Result<Claim, PinError> {
        self.check(meeting, backend, incarnation);
        self.reach().await?;
        if self.bug == Some(Bug::GetThenSet) {
            if let Some(pin) = self.pins.lookup(meeting).await? {
                return Ok(Claim::Held(pin));
            }
            self.reach().await?;
            if let Some(pin) = self.pins.lookup(meeting).await? {
                self.pins.unpin(meeting, pin.epoch).await?;
            }
        }
        let claim = self.pins.claim(meeting, backend, incarnation).await;
        self.reach().await?;
        claim
    }

    async fn do_lookup(&self, meeting: &MeetingName) -> Result<Option<Pin>, PinError> {
        self.reach().await?;
        let mut found = self.pins.lookup(meeting).await?;
        if let (Some(Bug::KeptPin), Some(pin)) = (self.bug, &mut found) {
            let now = self.fleet.snapshot().backend(&pin.backend).and_then(|b| b.incarnation);
            pin.incarnation = now.unwrap_or(pin.incarnation);
        }
        Ok(found)
    }

    async fn do_unpin(&self, meeting: &MeetingName, epoch: u64) -> Result<bool, PinError> {
        self.reach().await?;
        let found = self.pins.lookup(meeting).await?;
        let epoch = match (self.bug, found) {
            (Some(Bug::UnconditionalUnpin), Some(pin)) => pin.epoch,
            (Some(Bug::KeptPin), Some(pin)) if self.is_of_another_process(&pin) => {
                return Ok(false);
            }
            _ => epoch,
        };
        let removed = self.pins.unpin(meeting, epoch).await;
        self.reach().await?;
        removed
    }

    fn is_of_another_process(&self, pin: &Pin) -> bool {
        let fleet = self.fleet.snapshot();
        fleet.backend(&pin.backend).is_some_and(|b| b.incarnation != Some(pin.incarnation))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PinStore for SlowStore {
    fn claim<'a>(
        &'a self,
        meeting: &'a MeetingName,
        backend: &'a BackendId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<Claim, PinError>> {
        self.do_claim(meeting, backend, incarnation).boxed()
    }

    fn lookup<'a>(
        &'a self,
        meeting: &'a MeetingName,
    ) -> BoxFuture<'a, Result<Option<Pin>, PinError>> {
        self.do_lookup(meeting).boxed()
    }

    fn unpin<'a>(
        &'a self,
        meeting: &'a MeetingName,
        epoch: u64,
    ) -> BoxFuture<'a, Result<bool, PinError>> {
        self.do_unpin(meeting, epoch).boxed()
    }

    /// Some pins settle at once, others later or, while the store is away, not at all.
    fn settled(&self, epoch: u64) -> BoxFuture<'static, Result<(), PinError>> {
        let wait = self.lock().settling(epoch);
        if self.bug == Some(Bug::EarlyAnswer) || wait.is_zero() {
            return ready(Ok(())).boxed();
        }
        let (inner, clock) = (self.inner.clone(), self.clock.clone());
        let settling = async move {
            clock.sleep(wait).await;
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.away_until > clock.now() {
                return Err(PinError::Away);
            }
            inner.unsettled.remove(&epoch);
            Ok(())
        };
        settling.boxed()
    }

    fn note_pipeline(&self, origin: Origin) {
        self.lock().noted.insert(origin.pipeline);
    }

    fn forget_pipeline(&self, pipeline: PipelineId) {
        self.lock().noted.remove(&pipeline);
    }
}

impl Inner {
    /// How long the pin of `epoch` takes to settle from now: none if it has.
    fn settling(&mut self, epoch: u64) -> Duration {
        let is_new = epoch > self.last_epoch;
        self.last_epoch = self.last_epoch.max(epoch);
        if is_new && self.draws.below(2) == 0 {
            self.unsettled.insert(epoch);
        }
        if !self.unsettled.contains(&epoch) {
            return Duration::ZERO;
        }
        Duration::from_micros(1 + self.draws.below(SETTLE_MAX_MICROS) as u64)
    }
}
