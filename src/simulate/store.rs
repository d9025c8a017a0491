//! The pin store as an edge reaches it: slow, sometimes away, and there again after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::Bug;
use super::time::VirtualClock;
use crate::fleet::{BackendView, Drains, FleetHandle};
use crate::model::{BackendId, Draws, Incarnation, MeetingName, PipelineId, Time};
use crate::pins::{Claim, Leavable, MemoryStore, Origin, Pin, PinError, PinStore};
use crate::policy::health::Health;
use crate::runtime::Timer;
use crate::settings::WhenAway;

/// Microseconds that the store takes to do something, at most.
const LATENCY_MAX_MICROS: usize = 3_000;

/// Microseconds that a pin takes to settle, at most: longer than most round trips.
const SETTLE_MAX_MICROS: usize = 60_000;

/// What an edge that crashed has left to the next.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) pins: Vec<(MeetingName, Pin)>,
    /// Where pipelines come from whose pins are there.
    pub(super) pipelines: Vec<Origin>,
    /// Pipelines on processes that were given up.
    pub(super) remnants: Vec<PipelineId>,
    pub(super) losses: BTreeMap<BackendId, u32>,
    /// Orders to drain backends.
    pub(super) drains: Arc<Drains>,
    last_epoch: u64,
}

/// A [`MemoryStore`] behind a slow connection, and what of it is on disk.
pub(super) struct SlowStore {
    pub(super) pins: Arc<MemoryStore>,
    clock: VirtualClock,
    fleet: FleetHandle,
    bug: Option<Bug>,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    draws: Draws,
    away_until: Time,
    complaint: Option<String>,
    /// Claims for backends that get no new meetings, or should not, since somebody looked.
    drained: Vec<Drained>,
    /// Backends that an operator has drained: they are to get no new meetings.
    closed: BTreeSet<BackendId>,
    /// The epoch of the last claim.
    last_epoch: u64,
    /// The highest epoch that somebody asked for, and those that are not settled.
    last_asked: u64,
    unsettled: BTreeSet<u64>,
    /// Meetings by the epoch of their claim, until that is settled.
    claimed: BTreeMap<u64, MeetingName>,
    /// Pipelines that are noted, for the next process to find.
    noted: BTreeMap<PipelineId, Origin>,
    /// What was noted of remnants before.
    before: BTreeMap<PipelineId, Origin>,
    disk: Disk,
}

/// A claim for a backend that gets no new meetings.
pub(super) struct Drained {
    pub(super) meeting: MeetingName,
    pub(super) backend: BackendId,
    /// The name of its process.
    pub(super) server: Option<Arc<str>>,
}

/// What outlives the edge.
#[derive(Default)]
struct Disk {
    pins: BTreeMap<MeetingName, Pin>,
    losses: BTreeMap<BackendId, u32>,
    last_epoch: u64,
}

impl SlowStore {
    pub(super) fn new(
        (pins_max, left): (usize, Left),
        clock: VirtualClock,
        fleet: FleetHandle,
        (bug, draws): (Option<Bug>, Draws),
    ) -> Self {
        let Left { pins: found, pipelines, remnants, losses, last_epoch, drains: _ } = left;
        let pins = Arc::new(MemoryStore::new(pins_max));
        for (meeting, pin) in &found {
            pins.restore(meeting.clone(), pin);
        }
        let disk = Disk { pins: found.into_iter().collect(), losses, last_epoch };
        let inner = Inner {
            draws,
            away_until: Time::ZERO,
            complaint: None,
            drained: Vec::new(),
            closed: BTreeSet::new(),
            last_epoch,
            last_asked: last_epoch,
            unsettled: BTreeSet::new(),
            claimed: BTreeMap::new(),
            noted: pipelines
                .into_iter()
                .chain(remnants.into_iter().map(Origin::remnant))
                .map(|origin| (origin.pipeline, origin))
                .collect(),
            before: BTreeMap::new(),
            disk,
        };
        let inner = Arc::new(Mutex::new(inner));
        Self { pins, clock, fleet, bug, inner }
    }

    /// The edge has crashed: what is on disk. What was changed a moment ago may be there or not.
    pub(super) fn crash(&self) -> Left {
        let mut inner = self.lock();
        let Inner { draws, disk, claimed, .. } = &mut *inner;
        let mut pins = std::mem::take(&mut disk.pins);
        for meeting in claimed.values() {
            if let Some(pin) = self.pins.find(meeting)
                && draws.below(2) == 0
            {
                disk.last_epoch = disk.last_epoch.max(pin.epoch);
                pins.insert(meeting.clone(), pin);
            }
        }
        pins.retain(|meeting, pin| {
            self.pins.find(meeting).as_ref() == Some(pin) || draws.below(2) == 0
        });
        if self.bug == Some(Bug::LostClaim) {
            pins.pop_first();
        }
        let pins: Vec<_> = pins.into_iter().collect();
        let (pipelines, remnants) = inner.notes_on_disk(&pins, self.bug);
        let Disk { losses, last_epoch, .. } = std::mem::take(&mut inner.disk);
        Left { pins, pipelines, remnants, losses, drains: Arc::default(), last_epoch }
    }

    /// What another process finds when this one has released the pins, and may have them back.
    pub(super) fn left(&self) -> Left {
        let inner = self.lock();
        let pins: Vec<_> = inner.disk.pins.clone().into_iter().collect();
        let has_pin = |origin: &&Origin| pins.iter().any(|(_, pin)| pin.epoch == origin.epoch);
        let (mut pipelines, remnants): (Vec<_>, Vec<_>) = inner.noted.values().partition(has_pin);
        pipelines.sort_unstable();
        let mut remnants: Vec<_> =
            remnants.into_iter().map(|origin: Origin| origin.pipeline).collect();
        if self.bug == Some(Bug::ForgottenRemnants) {
            remnants.clear();
        }
        let Disk { losses, last_epoch, .. } = &inner.disk;
        let (losses, last_epoch) = (losses.clone(), *last_epoch);
        Left { pins, pipelines, remnants, losses, drains: Arc::default(), last_epoch }
    }

    /// Notes how often processes of `backend` were given up for lost.
    pub(super) fn note_losses(&self, backend: &BackendId, losses: u32) {
        self.lock().disk.losses.insert(backend.clone(), losses);
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
        self.lock().noted.contains_key(&pipeline)
    }

    /// How many pipelines the next process would find in their meetings, of those that `counts` says
    /// yes to. Remnants stay noted, because nobody knows what has become of them.
    pub(super) fn noted_count(&self, counts: impl Fn(PipelineId) -> bool) -> usize {
        let inner = self.lock();
        let own = inner.noted.values().filter(|origin| !origin.is_remnant());
        own.filter(|origin| counts(origin.pipeline)).count()
    }

    /// What was asked of it that must not be asked.
    pub(super) fn complaint(&self) -> Option<String> {
        self.lock().complaint.take()
    }

    /// The same backends are drained as for the process that had `before`.
    pub(super) fn keep_closed(&self, before: &Self) {
        self.lock().closed.clone_from(&before.lock().closed);
    }

    /// Notes whether a backend is drained.
    pub(super) fn note_closed(&self, backend: &BackendId, is_closed: bool) {
        let mut inner = self.lock();
        if is_closed {
            inner.closed.insert(backend.clone());
        } else {
            inner.closed.remove(backend);
        }
    }

    /// Whether a backend is drained.
    pub(super) fn is_closed(&self, backend: &BackendId) -> bool {
        self.lock().closed.contains(backend)
    }

    /// Meetings that were pinned where no new ones go, since this was last asked.
    pub(super) fn take_drained(&self) -> Vec<Drained> {
        std::mem::take(&mut self.lock().drained)
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

    /// A pin is made only on a process that the fleet has not given up. Whether it takes new meetings is
    /// checked where one is chosen: one that does not may be pinned for a pipeline that is there already.
    fn check(&self, meeting: &MeetingName, backend: &BackendId, incarnation: Incarnation) {
        let fleet = self.fleet.snapshot();
        let is_eligible = |view: &Arc<BackendView>| {
            view.health != Health::Unknown && view.incarnation == Some(incarnation)
        };
        let mut inner = self.lock();
        let view = fleet.backend(backend);
        let takes_pins = view.is_some_and(|view| view.takes_pins());
        if !takes_pins || inner.closed.contains(backend) {
            let server = view.and_then(|view| view.server_id.clone());
            let (meeting, backend) = (meeting.clone(), backend.clone());
            inner.drained.push(Drained { meeting, backend, server });
        }
        drop(inner);
        if !fleet.backend(backend).is_some_and(is_eligible) {
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
        let next_epoch = || {
            let mut inner = self.lock();
            inner.last_epoch += 1;
            let epoch = inner.last_epoch;
            inner.claimed.insert(epoch, meeting.clone());
            Ok(epoch)
        };
        let claim = self.pins.claim_with(meeting, (backend, incarnation), next_epoch);
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
        if removed == Ok(true) {
            self.lock().unpinned(meeting, epoch);
        }
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

impl Leavable for SlowStore {
    /// Everything is on the disk as it is in memory, and what was not settled is.
    fn release(&self) -> BoxFuture<'_, Result<(), PinError>> {
        let release = async move {
            self.reach().await?;
            let mut inner = self.lock();
            let claimed: Vec<u64> = inner.claimed.keys().copied().collect();
            claimed.into_iter().for_each(|epoch| inner.write(epoch, &self.pins));
            inner.unsettled.clear();
            inner.before.clear();
            let is_there =
                |meeting: &MeetingName, pin: &Pin| self.pins.find(meeting).as_ref() == Some(pin);
            inner.disk.pins.retain(|meeting, pin| is_there(meeting, pin));
            Ok(())
        };
        release.boxed()
    }

    fn resume(&self) {}
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
        if wait.is_zero() {
            self.lock().write(epoch, &self.pins);
        }
        if self.bug == Some(Bug::EarlyAnswer) || wait.is_zero() {
            return ready(Ok(())).boxed();
        }
        let (inner, clock, pins) = (self.inner.clone(), self.clock.clone(), self.pins.clone());
        let settling = async move {
            clock.sleep(wait).await;
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            if !inner.unsettled.contains(&epoch) {
                return Ok(());
            }
            if inner.away_until > clock.now() {
                return Err(PinError::Away);
            }
            inner.unsettled.remove(&epoch);
            inner.write(epoch, &pins);
            Ok(())
        };
        settling.boxed()
    }

    fn set_bounds(&self, pins_max: usize, when_away: WhenAway) {
        self.pins.set_bounds(pins_max, when_away);
    }

    fn note_pipeline(&self, origin: Origin) {
        let mut inner = self.lock();
        let known = inner.noted.get(&origin.pipeline).copied();
        if known.is_some_and(|known| known.is_remnant()) {
            return;
        }
        inner.noted.insert(origin.pipeline, origin);
        if let (Some(known), true) = (known, origin.is_remnant()) {
            inner.before.insert(origin.pipeline, known);
        }
    }

    fn forget_pipeline(&self, pipeline: PipelineId) {
        let mut inner = self.lock();
        inner.noted.remove(&pipeline);
        inner.before.remove(&pipeline);
    }
}

impl Inner {
    /// What the next process finds noted of pipelines, and which are remnants, when it finds `pins`. A
    /// note is written after the pin it names and before that is removed, so the last change of one
    /// whose pin is there may be missing.
    fn notes_on_disk(
        &mut self,
        pins: &[(MeetingName, Pin)],
        bug: Option<Bug>,
    ) -> (Vec<Origin>, Vec<PipelineId>) {
        let has_pin = |origin: &Origin| pins.iter().any(|(_, pin)| pin.epoch == origin.epoch);
        let (mut pipelines, mut remnants) = (Vec::new(), Vec::new());
        for (pipeline, origin) in std::mem::take(&mut self.noted) {
            let before = self.before.remove(&pipeline).filter(has_pin);
            let before = before.filter(|_| self.draws.below(2) == 0);
            let origin = before.unwrap_or(origin);
            if has_pin(&origin) {
                pipelines.push(origin);
            } else if !self.claimed.contains_key(&origin.epoch) {
                remnants.push(pipeline);
            }
        }
        if bug == Some(Bug::ForgottenRemnants) {
            remnants.clear();
        }
        pipelines.sort_unstable();
        (pipelines, remnants)
    }

    /// Brings the pin of `epoch` to the disk, as it is by now.
    fn write(&mut self, epoch: u64, pins: &MemoryStore) {
        let Some(meeting) = self.claimed.remove(&epoch) else { return };
        let disk = &mut self.disk;
        disk.last_epoch = disk.last_epoch.max(epoch);
        match pins.find(&meeting) {
            Some(pin) => drop(disk.pins.insert(meeting, pin)),
            None => drop(disk.pins.remove(&meeting)),
        }
    }

    /// A pin is removed in memory; the disk follows at once, or when the meeting is pinned again.
    fn unpinned(&mut self, meeting: &MeetingName, epoch: u64) {
        self.claimed.remove(&epoch);
        if self.draws.below(2) == 0 {
            self.disk.pins.remove(meeting);
        }
    }

    /// How long the pin of `epoch` takes to settle from now: none if it has.
    fn settling(&mut self, epoch: u64) -> Duration {
        let is_new = epoch > self.last_asked;
        self.last_asked = self.last_asked.max(epoch);
        if is_new && self.draws.below(2) == 0 {
            self.unsettled.insert(epoch);
        }
        if !self.unsettled.contains(&epoch) {
            return Duration::ZERO;
        }
        Duration::from_micros(1 + self.draws.below(SETTLE_MAX_MICROS) as u64)
    }
}
