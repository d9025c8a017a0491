//! A placement with everything around it: a fleet that is told how it does, a far store.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::fleet::stub::{StubFleet, backend};
use crate::model::{Draws, Incarnation};
use crate::pins::{MemoryStore, PinStore, Registry};
use crate::policy::health::Health;
use crate::runtime::{Clock, Latest};
use crate::settings::BackendSettings;

/// How long a meeting that nobody uses lives on.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// How long a frame may wait for a place.
pub(super) const WAIT: Duration = Duration::from_secs(10);

/// Legs that a meeting reserves.
pub(super) const RESERVE: Legs = Legs(4);

/// Most times that an operation of [`FarStore`] gives way to other tasks before it happens.
pub(super) const YIELDS_MAX: usize = 4;

/// A store that is not at hand: each operation gives way to other tasks before it happens. It can be
/// away, and another edge can be faster than we are.
pub(super) struct FarStore {
    pub(super) memory: MemoryStore,
    pub(super) is_away: AtomicBool,
    /// Who claims the next meeting a moment before us.
    pub(super) rival: Mutex<Option<Home>>,
    draws: Mutex<Draws>,
}

impl FarStore {
    async fn arrive(&self) -> Result<(), PinError> {
        let yields = self.draws.lock().unwrap().below(YIELDS_MAX);
        for _ in 0..=yields {
            tokio::task::yield_now().await;
        }
        if self.is_away.load(Ordering::Relaxed) { Err(PinError::Away) } else { Ok(()) }
    }
}

impl PinStore for FarStore {
    fn claim<'a>(
        &'a self,
        meeting: &'a MeetingName,
        backend: &'a BackendId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<Claim, PinError>> {
        let claiming = async move {
            self.arrive().await?;
            let rival = self.rival.lock().unwrap().take();
            if let Some(Home { backend, incarnation }) = rival {
                self.memory.claim(meeting, &backend, incarnation).await?;
            }
            self.memory.claim(meeting, backend, incarnation).await
        };
        claiming.boxed()
    }

    fn lookup<'a>(
        &'a self,
        meeting: &'a MeetingName,
    ) -> BoxFuture<'a, Result<Option<Pin>, PinError>> {
        let looking = async move {
            self.arrive().await?;
            self.memory.lookup(meeting).await
        };
        looking.boxed()
    }

    fn unpin<'a>(
        &'a self,
        meeting: &'a MeetingName,
        epoch: u64,
    ) -> BoxFuture<'a, Result<bool, PinError>> {
        let unpinning = async move {
            self.arrive().await?;
            self.memory.unpin(meeting, epoch).await
        };
        unpinning.boxed()
    }
}

/// A placement and what it works on.
pub(super) struct World {
    pub(super) fleet: StubFleet,
    pub(super) store: Arc<FarStore>,
    pub(super) placement: Arc<Placement>,
    timer: Ahead,
}

/// A clock that can be put ahead. Clones share it.
#[derive(Clone, Debug)]
struct Ahead {
    clock: Clock,
    by: Arc<Mutex<Duration>>,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { clock: Clock::start(), by: Arc::default() }
    }
}

impl Timer for Ahead {
    fn now(&self) -> Time {
        self.clock.now() + *self.by.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }

    fn unix_millis(&self) -> u64 {
        self.now().as_micros() / 1_000
    }
}

impl World {
    /// `count` equal backends, all healthy; `kms-{i}` is process `i`.
    pub(super) async fn seeded(count: usize, seed: u64) -> Self {
        let backends: Vec<_> = (0..count).map(|index| backend(index, Legs(400))).collect();
        let settings = PlacementSettings { wait: WAIT, ..PlacementSettings::default() };
        Self::of(&backends, settings, seed).await
    }

    /// Those backends, all healthy.
    pub(super) async fn of(
        backends: &[BackendSettings],
        settings: PlacementSettings,
        seed: u64,
    ) -> Self {
        let fleet = StubFleet::start_of(backends);
        for index in 0..backends.len() {
            fleet.answer(index, index as u64, Health::Healthy).await;
        }
        let store = Arc::new(FarStore {
            memory: MemoryStore::new(1_000),
            is_away: AtomicBool::new(false),
            rival: Mutex::default(),
            draws: Mutex::new(Draws::seeded(seed)),
        });
        let timer = Ahead::default();
        let placement = Placement {
            fleet: fleet.handle.clone(),
            keeper: Arc::new(Keeper::new(store.clone(), Arc::new(Registry::new(GRACE, 1_000)))),
            people: People::nowhere(Metrics::new()),
            config: Latest::new(PlacementConfig::first(settings)),
            decisions: DecisionLog::new(100),
            timer: Arc::new(timer.clone()),
            metrics: Metrics::new(),
            choices: Mutex::new(Choices::seeded(seed)),
            queue: Arc::default(),
        };
        Self { fleet, store, placement: Arc::new(placement), timer }
    }

    /// Lets time pass for placement; what is reported afterwards is as old as that.
    pub(super) fn pass(&self, time: Duration) {
        *self.timer.by.lock().unwrap() += time;
    }

    /// Places a pipeline of `meeting`.
    pub(super) async fn place(&self, meeting: &str) -> Result<Placed, PlaceError> {
        self.place_at(meeting, Where::default()).await
    }

    pub(super) async fn place_at(&self, meeting: &str, at: Where) -> Result<Placed, PlaceError> {
        self.placement.place(hints(meeting), at).await
    }

    /// Backends that carry something: index, legs, meetings.
    pub(super) fn charged(&self) -> Vec<(usize, Legs, u32)> {
        let snapshot = self.fleet.handle.snapshot();
        let loads = snapshot.backends.iter().map(|backend| &backend.load).enumerate();
        let charged = loads.map(|(index, load)| (index, load.legs(), load.meetings()));
        charged.filter(|(_, legs, meetings)| (*legs, *meetings) != (Legs(0), 0)).collect()
    }

    /// Does once what upkeep does when time passes, `GRACE` from now.
    pub(super) async fn sweep(&self) {
        let now = self.placement.timer.now() + GRACE;
        self.placement.keeper.sweep(now).await;
    }

    /// Does what upkeep does at a loss, which must come.
    pub(super) async fn lose_backend(&mut self) {
        let loss = self.fleet.losses.recv().await.unwrap();
        self.placement.keeper.on_loss(&loss.backend, loss.incarnation).await;
    }
}

pub(super) fn name(meeting: &str) -> MeetingName {
    MeetingName::parse(meeting).unwrap()
}

pub(super) fn hints(meeting: &str) -> Hints {
    Hints { meeting: Some(name(meeting)), ..Hints::default() }
}
