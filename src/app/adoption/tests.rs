//! What a restart makes of the pins and losses of the process before.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::fleet::stub::{StubFleet, id};
use crate::model::{Legs, SessionId, Time};
use crate::pins::{Claim, DiskStore, Opened, PinStore, Registry, StateDir};
use crate::policy::access::Access;
use crate::policy::health::Health;
use crate::policy::promise::Promise;
use crate::runtime::Clock;
use crate::settings::WhenAway;

use super::*;

const GRACE: Duration = Duration::from_secs(60);

const PROMISES: PromiseRules =
    PromiseRules { default: Legs(4), most: Legs(400), half_life: Duration::from_secs(86_400) };

/// A state directory of one test, removed at its end.
struct State(PathBuf);

impl State {
    fn create(test: &str) -> Self {
        let name = format!("adoption-{}-{test}", std::process::id());
        Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp").join(name))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One process of an edge, without its sockets.
struct Process {
    fleet: StubFleet,
    store: Arc<DiskStore>,
    keeper: Arc<Keeper>,
    found: Vec<(MeetingName, Pin)>,
    pipelines: Vec<Origin>,
    witness: Backends,
    clock: Clock,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts on what the one before has left, with backends that are not yet heard from.
    fn start(state: &State) -> Self {
        let dir = StateDir::open(&state.0).unwrap();
        let Opened { store, pins: found, pipelines, remnants, losses, writer, .. } =
            DiskStore::open(dir, 1_000, WhenAway::Refuse).unwrap();
        let writer = Some(std::thread::spawn(move || writer.run()));
        let fleet = StubFleet::start_remembering((2, Legs(400)), &losses, store.clone());
        let registry = Arc::new(Registry::new(GRACE, 1_000));
        let keeper = Arc::new(Keeper::new(store.clone(), registry));
        keeper.found.fill(&found, &pipelines);
        keeper.leave_behind(&remnants);
        let witness = Backends::default();
        Self { fleet, store, keeper, found, pipelines, witness, clock: Clock::start(), writer }
    }

    /// Pins `meeting` to the present process of `kms-{index}` and waits until that is on disk.
    async fn pin(&self, meeting: &str, index: usize) -> Pin {
        let incarnation = self.fleet.handle.snapshot().backends[index].incarnation.unwrap();
        let claim = self.store.claim(&name(meeting), &id(index), incarnation).await.unwrap();
        let Claim::Made(pin) = claim else { panic!("{claim:?}") };
        self.store.settled(pin.epoch).await.unwrap();
        pin
    }

    /// Makes a pipeline under `pin`, and waits until that is on disk.
    async fn create(&self, meeting: &str, pin: &Pin, pipeline: u128) {
        let charge = {
            let promise = Promise { legs: Legs(4), made: self.clock.now() };
            Charge::new(Arc::default(), promise, PROMISES.half_life)
        };
        self.keeper.registry.begin(&name(meeting), pin, charge);
        let (pipeline, session) = (PipelineId::from_u128(pipeline), SessionId::from_random(9));
        let origin = Origin { epoch: pin.epoch, pipeline, session };
        assert!(self.keeper.created(&name(meeting), origin));
        // A later claim takes it along.
        let claim = self.store.claim(&name("last"), &id(0), pin.incarnation).await.unwrap();
        let (Claim::Made(last) | Claim::Held(last)) = claim;
        self.store.unpin(&name("last"), last.epoch).await.unwrap();
        self.store.settled(last.epoch).await.unwrap();
    }

    /// Three probes of `kms-{index}` fail; returns when its loss can be acted on.
    async fn lose(&mut self, index: usize) {
        self.fleet.fail(index, Health::Suspect).await;
        self.fleet.fail(index, Health::Suspect).await;
        self.fleet.fail(index, Health::Ejected).await;
        self.fleet.losses.recv().await.unwrap();
    }

    /// Starts to judge the pins that were found.
    fn adopt(&mut self) -> tokio::task::JoinHandle<()> {
        self.adopt_from(None)
    }

    /// The same, while the process before still tells `news`.
    fn adopt_from(&mut self, news: Option<mpsc::Receiver<News>>) -> tokio::task::JoinHandle<()> {
        let (fleet, keeper) = (self.fleet.handle.clone(), self.keeper.clone());
        let (clock, witness) = (Arc::new(self.clock), self.witness.clone());
        let adoption = Adoption { fleet, keeper, clock, witness, promises: PROMISES };
        let pins = std::mem::take(&mut self.found);
        let pipelines = std::mem::take(&mut self.pipelines);
        let found = Left { pins, pipelines, news, ..Left::default() };
        #[expect(clippy::disallowed_methods, reason = "a test that awaits it")]
        tokio::spawn(adoption.run(found, CancellationToken::new()))
    }

    async fn lookup(&self, meeting: &str) -> Option<Pin> {
        self.store.lookup(&name(meeting)).await.unwrap()
    }

    /// Ends, with nothing removed that was not before.
    fn end(mut self) {
        self.store.close();
        self.writer.take().unwrap().join().unwrap();
    }

    fn after(&self, wait: Duration) -> Time {
        self.clock.now() + wait
    }
}

/// What the backends say that they have.
#[derive(Clone, Default)]
struct Backends(Arc<Mutex<BTreeMap<BackendId, BTreeSet<PipelineId>>>>);

impl Backends {
    fn have(&self, index: usize, pipelines: &[u128]) {
        let pipelines = pipelines.iter().map(|number| PipelineId::from_u128(*number)).collect();
        self.0.lock().unwrap().insert(id(index), pipelines);
    }
}

impl Witness for Backends {
    async fn pipelines_of(&self, backend: &BackendId) -> Option<BTreeSet<PipelineId>> {
        self.0.lock().unwrap().get(backend).cloned()
    }

    async fn has_pipeline(&self, backend: &BackendId, pipeline: PipelineId) -> Option<bool> {
        self.0.lock().unwrap().get(backend).map(|all| all.contains(&pipeline))
    }
}

fn name(text: &str) -> MeetingName {
    MeetingName::parse(text).unwrap()
}

/// The promise that a restart neither splits a meeting nor brings back a lost one, with a backend that
/// was given up and came back as the same process.
#[tokio::test]
async fn a_restart_neither_splits_a_live_meeting_nor_revives_a_lost_one() {
    let state = State::create("losses");
    let mut process = Process::start(&state);
    process.fleet.answer(0, 7, Health::Healthy).await;
    let lost = process.pin("lost", 0).await;
    process.lose(0).await;
    process.fleet.answer(0, 7, Health::Trial).await;
    process.fleet.answer(0, 7, Health::Healthy).await;
    let live = process.pin("live", 0).await;
    assert_ne!(live.incarnation, lost.incarnation, "what came back counts as another");
    // It ends before anybody has removed the lost pin.
    process.end();

    let mut process = Process::start(&state);
    assert_eq!(process.found, [(name("live"), live.clone()), (name("lost"), lost)]);
    let judging = process.adopt();
    process.fleet.answer(0, 7, Health::Healthy).await;
    judging.await.unwrap();
    assert_eq!(process.lookup("live").await, Some(live));
    assert_eq!(process.lookup("lost").await, None);
    process.end();
}

#[tokio::test]
async fn a_loss_is_on_disk_before_it_is_acted_on() {
    let state = State::create("order");
    let mut process = Process::start(&state);
    process.fleet.answer(0, 7, Health::Healthy).await;
    process.lose(0).await;
    // Right then, with the store still at work.
    let copy = State::create("order-copy");
    std::fs::create_dir_all(&copy.0).unwrap();
    std::fs::copy(state.0.join("pins.redb"), copy.0.join("pins.redb")).unwrap();
    let opened = DiskStore::open(StateDir::open(&copy.0).unwrap(), 10, WhenAway::Refuse).unwrap();
    assert_eq!(opened.losses, [(id(0), 1)].into());
    process.end();
}

#[tokio::test]
async fn meetings_that_nobody_comes_back_for_end_a_grace_after_their_backend_is_heard_from() {
    let state = State::create("grace");
    let process = Process::start(&state);
    process.fleet.answer(0, 7, Health::Healthy).await;
    process.fleet.answer(1, 8, Health::Healthy).await;
    process.pin("quiet", 0).await;
    process.pin("unheard", 1).await;
    process.end();

    let mut process = Process::start(&state);
    let judging = process.adopt();
    process.fleet.answer(0, 7, Health::Healthy).await;
    while process.keeper.registry.len().0 == 0 {
        tokio::task::yield_now().await;
    }
    process.keeper.sweep(process.after(GRACE / 2)).await;
    assert!(process.lookup("quiet").await.is_some());
    process.keeper.sweep(process.after(2 * GRACE)).await;
    assert_eq!(process.lookup("quiet").await, None);
    assert!(process.lookup("unheard").await.is_some(), "its backend may only be slow");
    assert!(!judging.is_finished());

    process.fleet.answer(1, 8, Health::Healthy).await;
    judging.await.unwrap();
    process.keeper.sweep(process.after(2 * GRACE)).await;
    assert_eq!(process.lookup("unheard").await, None);
    assert_eq!(process.keeper.registry.len(), (0, 0));
    process.end();
    assert_eq!(Process::start(&state).found, [], "nor is anything left on disk");
}

#[tokio::test]
async fn pins_on_a_backend_that_restarted_died_or_was_taken_away_do_not_hold() {
    let state = State::create("gone");
    let process = Process::start(&state);
    process.fleet.answer(0, 7, Health::Healthy).await;
    process.fleet.answer(1, 8, Health::Healthy).await;
    process.pin("restarted", 0).await;
    process.pin("dead", 1).await;
    let elsewhere = crate::model::BackendId::parse("taken-away").unwrap();
    let claim = process.store.claim(&name("away"), &elsewhere, Incarnation(9)).await.unwrap();
    let Claim::Made(pin) = claim else { panic!("{claim:?}") };
    process.store.settled(pin.epoch).await.unwrap();
    process.end();

    let mut process = Process::start(&state);
    assert_eq!(process.found.len(), 3);
    let judging = process.adopt();
    process.fleet.answer(0, 70, Health::Healthy).await;
    process.fleet.fail(1, Health::Unknown).await;
    process.fleet.fail(1, Health::Unknown).await;
    process.fleet.fail(1, Health::Ejected).await;
    judging.await.unwrap();
    for meeting in ["restarted", "dead", "away"] {
        assert_eq!(process.lookup(meeting).await, None, "{meeting}");
    }
    process.end();
}

/// A meeting whose clients are silent lives for as long as its pipelines do, and a backend that has
/// lost one is believed.
#[tokio::test]
async fn a_meeting_lives_as_long_as_the_pipelines_of_the_process_before() {
    let state = State::create("pipelines");
    let process = Process::start(&state);
    process.fleet.answer(0, 7, Health::Healthy).await;
    let live = process.pin("live", 0).await;
    let gone = process.pin("gone", 0).await;
    process.create("live", &live, 1).await;
    process.create("gone", &gone, 2).await;
    process.end();

    let mut process = Process::start(&state);
    process.witness.have(0, &[1, 77]);
    assert_eq!(process.keeper.found.meeting_of(PipelineId::from_u128(2)), Some(name("gone")));
    let judging = process.adopt();
    process.fleet.answer(0, 7, Health::Healthy).await;
    while process.keeper.registry.len().1 == 0 || process.keeper.registry.len().0 < 2 {
        tokio::task::yield_now().await;
    }
    let one = PipelineId::from_u128(1);
    assert_eq!(process.keeper.registry.meeting_of(one), Some(name("live")));
    process.keeper.sweep(process.after(2 * GRACE)).await;
    process.keeper.sweep(process.after(9 * GRACE)).await;
    assert_eq!(process.lookup("live").await, Some(live));
    assert_eq!(process.lookup("gone").await, None);
    let load = process.fleet.handle.snapshot().backends[0].load.clone();
    assert_eq!(load.legs(), Legs(4), "it reserves what a meeting of unknown size does");
    // Somebody uses it and leaves again: others may use it still.
    assert!(process.keeper.registry.hold(one, &Access::All).is_some());
    process.keeper.registry.unhold(one, process.clock.now());
    process.keeper.sweep(process.after(9 * GRACE)).await;
    assert!(process.lookup("live").await.is_some());

    process.keeper.released(one, process.clock.now());
    process.keeper.sweep(process.after(2 * GRACE)).await;
    assert_eq!(process.lookup("live").await, None);
    judging.abort();
    process.end();
    let process = Process::start(&state);
    assert_eq!((process.found.len(), process.pipelines.len()), (0, 0), "nothing is left on disk");
}

/// It has let go of the pins, and its last clients still make and release pipelines under them.
#[tokio::test]
async fn what_the_process_before_makes_at_last_counts_and_no_meeting_ends_before_it() {
    let state = State::create("late");
    let process = Process::start(&state);
    process.fleet.answer(0, 7, Health::Healthy).await;
    let made = process.pin("made", 0).await;
    let idle = process.pin("idle", 0).await;
    process.end();

    let mut process = Process::start(&state);
    let (tell, news) = mpsc::channel(8);
    let judging = process.adopt_from(Some(news));
    let session = SessionId::from_random(9);
    let origin = |number, pin: &Pin| {
        let pipeline = PipelineId::from_u128(number);
        News::Created(Origin { epoch: pin.epoch, pipeline, session })
    };
    // Before the backend was heard from, so that its meeting is not adopted yet.
    for news in [origin(1, &made), origin(2, &idle), News::Gone(PipelineId::from_u128(2))] {
        tell.send(news).await.unwrap();
    }
    while process.keeper.found.made_by(session).len() < 2 {
        tokio::task::yield_now().await;
    }
    process.fleet.answer(0, 7, Health::Healthy).await;
    while process.keeper.registry.len() != (2, 1) {
        tokio::task::yield_now().await;
    }
    assert_eq!(process.keeper.registry.meeting_of(PipelineId::from_u128(1)), Some(name("made")));
    // Somebody may have a socket in it there.
    process.keeper.sweep(process.after(9 * GRACE)).await;
    assert_eq!(process.lookup("idle").await, Some(idle));

    drop(tell);
    while process.lookup("idle").await.is_some() {
        process.keeper.sweep(process.after(9 * GRACE)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(process.lookup("made").await, Some(made));
    judging.abort();
    process.end();
    let process = Process::start(&state);
    assert_eq!(
        process.pipelines,
        [Origin { epoch: 1, pipeline: PipelineId::from_u128(1), session }]
    );
    process.end();
}

/// The process may go on after all, and must not be found to have the meeting: it is elsewhere.
#[tokio::test]
async fn what_a_backend_was_given_up_with_is_forbidden_to_the_next_process_too() {
    let [told, untold] = [1, 2].map(PipelineId::from_u128);
    for (test, is_told) in [("lost", true), ("lost-and-killed", false)] {
        let state = State::create(test);
        let mut process = Process::start(&state);
        process.fleet.answer(0, 7, Health::Healthy).await;
        let incarnation = process.fleet.handle.snapshot().backends[0].incarnation.unwrap();
        let pin = process.pin("m", 0).await;
        process.create("m", &pin, 1).await;
        process.create("m", &pin, 2).await;
        process.lose(0).await;
        if is_told {
            let gone = process.keeper.on_loss(&id(0), incarnation).await;
            assert_eq!(gone, [told, untold]);
            assert!(process.keeper.registry.is_forbidden(told));
            process.keeper.released(told, process.clock.now());
        }
        process.end();

        let mut process = Process::start(&state);
        process.witness.have(0, &[1, 2]);
        let judging = process.adopt();
        process.fleet.answer(0, 7, Health::Healthy).await;
        judging.await.unwrap();
        let registry = &process.keeper.registry;
        assert!([told, untold].iter().all(|one| registry.is_forbidden(*one)), "{test}");
        assert_eq!((registry.len(), process.lookup("m").await), ((0, 0), None));
        process.end();
        let process = Process::start(&state);
        assert!(process.keeper.registry.is_forbidden(untold), "{test}: for ever");
        process.end();
    }
}

/// As the time of the watch is real, what it does when it is due is called here.
#[tokio::test]
async fn a_pipeline_that_nobody_uses_is_asked_for_until_it_is_gone() {
    let state = State::create("watch");
    let process = Process::start(&state);
    process.fleet.answer(0, 7, Health::Healthy).await;
    let pin = process.pin("m", 0).await;
    process.create("m", &pin, 1).await;
    process.end();

    let mut process = Process::start(&state);
    process.witness.have(0, &[1]);
    process.fleet.answer(0, 7, Health::Healthy).await;
    let adoption = Adoption {
        fleet: process.fleet.handle.clone(),
        keeper: process.keeper.clone(),
        clock: Arc::new(process.clock),
        witness: process.witness.clone(),
        promises: PROMISES,
    };
    let view = process.fleet.handle.snapshot().backends[0].clone();
    let pins = std::mem::take(&mut process.found);
    let [watched] = adoption.adopt(pins, &process.pipelines, view).await.try_into().unwrap();
    let [watched] = adoption.check(watched).await.try_into().unwrap();
    let one = PipelineId::from_u128(1);
    process.witness.have(0, &[]);
    assert!(process.keeper.registry.hold(one, &Access::All).is_some());
    let [watched] = adoption.check(watched).await.try_into().unwrap();
    process.keeper.registry.unhold(one, process.clock.now());
    assert_eq!(adoption.check(watched.clone()).await, []);
    assert!(!process.keeper.registry.knows(one));
    assert_eq!(adoption.check(watched).await, [], "nor is it asked for any more");
    process.end();
}
