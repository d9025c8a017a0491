//! An immutable copy of the backend table.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::asker::Asked;
use super::pulse::Pulse;
use super::samples::{Dimensions, Samples};
use super::stay::Stay;
use crate::model::{BackendId, Incarnation, Legs, Time, Usage};
use crate::pins::BackendLoad;
use crate::policy::choose::{Candidate, Profile, Standing};
use crate::policy::health::{Cause, Health, ProbeFailure};
use crate::policy::load::{Load, Measured, Outlook};
use crate::settings::BackendUrl;

/// What was known of the fleet when it was published.
#[derive(Clone, Debug)]
pub struct FleetSnapshot {
    /// Counts the publications.
    pub generation: u64,
    /// In the order in which they came: that of the config for those that it has named from the start.
    pub backends: Vec<Arc<BackendView>>,
    /// What `getInfo` of the manager gives, as JSON, made of what the backends that are not ejected
    /// say; kept when all are. `None` until one was heard from.
    pub server_info: Option<Arc<str>>,
}

/// What was known of one backend.
#[derive(Clone, Debug)]
pub struct BackendView {
    /// Its number: that of no other backend, before or after.
    pub number: usize,
    /// Its name in the config.
    pub id: BackendId,
    /// Where it listens.
    pub url: BackendUrl,
    /// What the config says of it, as far as a choice needs it.
    pub profile: Arc<Profile>,
    /// Legs it can hold.
    pub capacity: Legs,
    /// Whether it is to stay.
    pub stay: Stay,
    /// How it is doing.
    pub health: Health,
    /// Its process; `None` before it was heard from, and after it was lost until another is.
    pub incarnation: Option<Incarnation>,
    /// The `serverId` that its process told.
    pub server_id: Option<Arc<str>>,
    /// The version that it told.
    pub version: Option<Arc<str>>,
    /// Time that the last answered probe took: shared by all snapshots.
    pub last_probe: Arc<ProbeTime>,
    /// Time that it took to make a pipeline in the last deep probe passed: shared by all snapshots.
    pub last_deep: Arc<ProbeTime>,
    /// Why the last probe failed; `None` if it was answered.
    pub last_failure: Option<ProbeFailure>,
    /// Why it is out, and until when at least; `None` if it is not.
    pub out: Option<(Cause, Time)>,
    /// Why it would be out, if that left enough others in its region.
    pub spared: Option<Cause>,
    /// What clients meet there: shared by all snapshots.
    pub pulse: Arc<Pulse>,
    /// What it carries now: shared by all snapshots.
    pub load: Arc<BackendLoad>,
    /// What it last measured of itself: shared by all snapshots.
    pub usage: Arc<SharedUsage>,
    /// What it and its machine last measured, as a choice reads it: shared by all snapshots.
    pub samples: Arc<Samples>,
    /// When its process was first heard from; the start of the edge if it never was.
    pub heard: Time,
    /// When it was admitted, if it has to start slowly.
    pub admitted: Option<Time>,
    /// Cancelled when this process and all that it held is lost.
    pub lost: CancellationToken,
    /// Wakes its probe.
    pub(super) kick: Arc<Notify>,
    /// Takes questions to it.
    pub(super) questions: mpsc::Sender<Asked>,
}

impl FleetSnapshot {
    /// The backend of that id.
    #[must_use]
    pub fn backend(&self, id: &BackendId) -> Option<&Arc<BackendView>> {
        self.backends.iter().find(|backend| backend.id == *id)
    }

    /// Whether the backend of that id is there and has answered its probes.
    #[must_use]
    pub fn answers(&self, id: &BackendId) -> bool {
        self.backend(id).is_some_and(|backend| backend.incarnation.is_some())
    }
}

impl FleetSnapshot {
    /// What all backends together last measured of themselves.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage::total(self.backends.iter().map(|backend| backend.usage.last()))
    }
}

impl BackendView {
    /// Whether it may get new meetings.
    #[must_use]
    pub fn takes_pins(&self) -> bool {
        self.health == Health::Healthy && self.stay == Stay::Open
    }

    /// Whether a meeting that has nothing there had better begin elsewhere: it gets no new ones, or only
    /// because too many others do not.
    #[must_use]
    pub fn is_shunned(&self) -> bool {
        !self.takes_pins() || self.spared.is_some()
    }

    /// The backend as a choice sees it at `now`.
    #[must_use]
    pub fn candidate(&self, outlook: &Outlook, now: Time) -> Candidate<'_> {
        let standing = match (self.health, self.stay) {
            (Health::Healthy, Stay::Open) => Standing::Open,
            (Health::Healthy, Stay::Draining(_) | Stay::Leaving) => Standing::Draining,
            (Health::Unknown | Health::Suspect | Health::Ejected | Health::Trial, _) => {
                Standing::Unhealthy
            }
        };
        let load = Load::predict(&self.measured(outlook, now), outlook, now);
        Candidate { profile: &self.profile, standing, load }
    }

    fn measured(&self, outlook: &Outlook, now: Time) -> Measured {
        let (charged, carried) = (self.load.legs(), self.load.measured());
        let Dimensions { cpu, memory, network } =
            self.samples.dimensions(self.heard, outlook.fresh, now);
        // A meeting is charged what it costs, or what is left of its promise: the rest is to come.
        let promised = Legs(charged.0.saturating_sub(carried.0));
        let (capacity, admitted) = (self.capacity, self.admitted);
        Measured { capacity, carried, promised, cpu, memory, network, admitted }
    }
}

/// What a backend last measured of itself; shared and written as [`ProbeTime`] is.
#[derive(Debug, Default)]
pub struct SharedUsage(Mutex<Usage>);

impl SharedUsage {
    /// The last measurement of its present process.
    #[must_use]
    pub fn last(&self) -> Usage {
        *self.0.lock().expect("nothing panics while holding it")
    }

    pub(super) fn set(&self, usage: Usage) {
        *self.0.lock().expect("nothing panics while holding it") = usage;
    }
}

/// Time that the last answered probe of a backend took.
///
/// It changes with every probe, and most probes are no news that a snapshot is published for; so all
/// snapshots share it. The fleet task alone writes it. Only shown, hence `Relaxed`.
#[derive(Debug)]
pub struct ProbeTime(AtomicU64);

impl ProbeTime {
    /// Stands for no answer yet: no probe takes half a million years.
    const NONE: u64 = u64::MAX;

    /// The time, in whole microseconds; `None` until a probe was answered.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != Self::NONE).then(|| Duration::from_micros(micros))
    }

    pub(super) fn set(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(Self::NONE - 1);
        self.0.store(micros, Ordering::Relaxed);
    }
}

impl Default for ProbeTime {
    fn default() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }
}
