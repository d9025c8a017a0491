//! What is left on a drained backend goes at its deadline, and never to two places.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::fleet::AfterDrain;
use crate::fleet::stub::{StubFleet, id};
use crate::model::{Legs, MeetingName, SessionId};
use crate::pins::{Begun, Charge, Claim, MemoryStore, Origin, Pin, Registry};
use crate::policy::promise::Promise;
use crate::runtime::Clock;

/// Backends that release pipelines, unless they are silent.
#[derive(Clone, Default)]
struct Backends {
    released: Arc<Mutex<BTreeSet<PipelineId>>>,
    are_silent: Arc<AtomicBool>,
}

impl Releaser for Backends {
    async fn release(&self, _: &BackendId, pipeline: PipelineId) -> bool {
        let releases = !self.are_silent.load(Ordering::Relaxed);
        if releases {
            self.released.lock().unwrap().insert(pipeline);
        }
        releases
    }
}

struct World {
    fleet: StubFleet,
    keeper: Arc<Keeper>,
    backends: Backends,
    drains: Arc<Drains>,
    clock: Clock,
    stop: CancellationToken,
}

fn name(text: &str) -> MeetingName {
    MeetingName::parse(text).unwrap()
}

impl World {
    async fn start() -> Self {
        let fleet = StubFleet::start(2, Legs(400));
        fleet.answer(0, 10, Health::Healthy).await;
        fleet.answer(1, 11, Health::Healthy).await;
        let registry = Arc::new(Registry::new(Duration::from_secs(60), 100));
        let keeper = Arc::new(Keeper::new(Arc::new(MemoryStore::new(100)), registry));
        let (backends, drains) = (Backends::default(), Arc::default());
        let (clock, stop) = (Clock::start(), CancellationToken::new());
        let world = Self { fleet, keeper, backends, drains, clock, stop };
        let drainage = Drainage {
            fleet: world.fleet.handle.clone(),
            keeper: world.keeper.clone(),
            drains: world.drains.clone(),
            releaser: world.backends.clone(),
            pace: Arc::new(Latest::new(100.0)),
            timer: Arc::new(clock),
            metrics: Metrics::new(),
        };
        let plan = Plan::new(100.0, Draws::seeded(1));
        #[expect(clippy::disallowed_methods, reason = "a test that stops it")]
        tokio::spawn(drainage.run(plan, world.stop.clone()));
        world
    }

    /// A meeting on `kms-0` with one pipeline that so many people use.
    async fn meet(&self, meeting: &str, pipeline: u128, people: u32) -> Pin {
        let pin = self.claim(meeting, 0).await;
        let load = self.fleet.handle.snapshot().backends[0].load.clone();
        let promise = Promise { legs: Legs(4), made: self.clock.now() };
        let charge = Charge::new(load, promise, Duration::from_secs(60));
        assert_eq!(self.keeper.registry.begin(&name(meeting), &pin, charge), Begun::Adopted);
        self.keeper.registry.confirm(&name(meeting), pin.epoch);
        let pipeline = PipelineId::from_u128(pipeline);
        let session = SessionId::from_random(9);
        assert!(
            self.keeper.created(&name(meeting), Origin { epoch: pin.epoch, pipeline, session })
        );
        for _ in 1..people {
            let all = crate::policy::access::Access::All;
            self.keeper.registry.hold(pipeline, &all).unwrap();
        }
        pin
    }

    async fn claim(&self, meeting: &str, index: usize) -> Pin {
        let incarnation = self.fleet.handle.snapshot().backends[index].incarnation.unwrap();
        let claim = self.keeper.pins.claim(&name(meeting), &id(index), incarnation).await;
        let Ok(Claim::Made(pin)) = claim else { panic!("{claim:?}") };
        pin
    }

    async fn drain(&self, deadline: Option<Duration>, then: AfterDrain) {
        let how = (deadline, then);
        self.drains.drain(&self.fleet.handle, id(0), how, &self.clock).await.unwrap();
    }

    async fn pinned(&self, meeting: &str) -> Option<Pin> {
        self.keeper.pins.lookup(&name(meeting)).await.unwrap()
    }

    fn released(&self) -> usize {
        self.backends.released.lock().unwrap().len()
    }

    fn progress(&self) -> Option<Progress> {
        let view = self.fleet.handle.snapshot().backend(&id(0))?.clone();
        progress(&self.keeper, &view, (self.clock.now(), 2.0)).map(|(_, progress)| progress)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until `holds`.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let holding = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), holding).await.expect(what);
}

#[tokio::test]
async fn at_the_deadline_meetings_go_and_can_begin_elsewhere() {
    let world = World::start().await;
    let old = world.meet("m", 1, 3).await;
    world.meet("n", 2, 1).await;
    world.drain(None, AfterDrain::Stay).await;
    let progress = world.progress().unwrap();
    assert_eq!((progress.meetings, progress.people, progress.left), (2, 4, None));
    assert_eq!((world.released(), world.pinned("m").await), (0, Some(old.clone())));
    world.drain(Some(Duration::ZERO), AfterDrain::Stay).await;
    until("both pins are gone", async || {
        world.pinned("m").await.is_none() && world.pinned("n").await.is_none()
    })
    .await;
    assert_eq!(world.released(), 2);
    until("the registry is empty", async || world.keeper.registry.len() == (0, 0)).await;
    assert!(world.claim("m", 1).await.epoch > old.epoch);
    assert_eq!(world.progress().map(|progress| progress.left), Some(Some(Duration::ZERO)));
}

#[tokio::test]
async fn a_pin_stays_until_its_backend_has_released_everything() {
    let world = World::start().await;
    let pin = world.meet("m", 1, 1).await;
    world.backends.are_silent.store(true, Ordering::Relaxed);
    world.drain(Some(Duration::ZERO), AfterDrain::Stay).await;
    let ending = |world: &World| world.keeper.registry.pin(&name("m")).is_none();
    until("it is ending", async || ending(&world)).await;
    assert_eq!(world.pinned("m").await, Some(pin), "somebody may still be on it");
    world.backends.are_silent.store(false, Ordering::Relaxed);
    until("it goes", async || world.pinned("m").await.is_none()).await;
    assert_eq!(world.released(), 1);
}

#[tokio::test]
async fn a_loss_ends_what_waits_for_its_backend() {
    let mut world = World::start().await;
    let pin = world.meet("m", 1, 1).await;
    world.backends.are_silent.store(true, Ordering::Relaxed);
    world.drain(Some(Duration::ZERO), AfterDrain::Stay).await;
    until("it is ending", async || world.keeper.registry.pin(&name("m")).is_none()).await;
    for health in [Health::Suspect, Health::Suspect, Health::Ejected] {
        world.fleet.fail(0, health).await;
    }
    let loss = world.fleet.losses.recv().await.unwrap();
    world.keeper.on_loss(&loss.backend, loss.incarnation).await;
    assert!(world.claim("m", 1).await.epoch > pin.epoch);
    let pinned = world.pinned("m").await;
    // The letting go looks again once more and finds nothing of its own.
    world.backends.are_silent.store(false, Ordering::Relaxed);
    until("it has looked", async || world.released() == 1).await;
    assert_eq!(world.pinned("m").await, pinned, "the new pin is none of its business");
}

#[tokio::test]
async fn an_undrained_backend_keeps_what_was_not_let_go() {
    let world = World::start().await;
    let pin = world.meet("m", 1, 1).await;
    world.drain(Some(Duration::from_secs(3_600)), AfterDrain::Stay).await;
    world.drains.undrain(&world.fleet.handle, id(0)).await.unwrap();
    assert_eq!(world.progress(), None);
    assert!(world.fleet.handle.snapshot().backends[0].takes_pins());
    assert_eq!(world.pinned("m").await, Some(pin));
}

#[tokio::test]
async fn an_emptied_backend_is_removed_if_that_is_wanted() {
    let world = World::start().await;
    world.meet("m", 1, 1).await;
    world.drain(Some(Duration::ZERO), AfterDrain::Remove).await;
    until("it is removed", async || world.fleet.handle.snapshot().backend(&id(0)).is_none()).await;
    assert_eq!((world.pinned("m").await, world.released()), (None, 1));
}
