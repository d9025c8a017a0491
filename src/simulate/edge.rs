//! An edge without its sockets, its probes of each backend, and what it asks them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Bug;
use super::asking::LineSim;
use super::draining::DrainsSim;
use super::network::Plug;
use super::shape::Shape;
use super::sources::SourcesSim;
use super::store::{Left, SlowStore};
use super::tasks::TasksSim;
use super::time::VirtualClock;
use crate::app::{self, Adoption};
use crate::fleet::{Asker, AskerBounds, Fleet, FleetHandle, FleetOwner, Loss, Report};
use crate::model::{Draws, Incarnation, MeetingName, PipelineId, SessionId, Time};
use crate::pins::{Handover, Keeper, News, Origin, Pin, PinStore, Registry};
use crate::policy::health::Health;
use crate::proxy::{
    BlockingCalls, Choices, DecisionLog, Edge, Manager, Pacer, People, Placement, PlacementConfig,
    Sessions,
};
use crate::runtime::{Clock, Closed, Gate, Latest, Timer};
use crate::session::Bounds;
use crate::settings::{Limits, PlacementSettings};
use crate::telemetry::Metrics;

/// How long what is not known of a backend is waited for.
const PLACEMENT_WAIT: Duration = Duration::from_secs(5);

/// After that time nothing is left of what was lost, however long the store was away.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15);

/// How long a session is remembered whose client is away.
pub(super) const KEEP: Duration = Duration::from_secs(20);

/// News of a process for the one that takes over from it. More than a world has.
const NEWS_MAX: usize = 10_000;

/// Sessions remembered whose client is away. More than a world has.
const AWAY_MAX: usize = 1_000;

/// One edge.
pub(super) struct EdgeSim {
    /// Whose process this is.
    pub(super) site: usize,
    pub(super) edge: Arc<Edge>,
    pub(super) store: Arc<SlowStore>,
    pub(super) pins: Arc<Handover<SlowStore>>,
    /// What the process that takes over from this one is to be told.
    pub(super) news: mpsc::Receiver<News>,
    pub(super) reign: Reign,
    pub(super) sources: SourcesSim,
    pub(super) owner: FleetOwner,
    pub(super) reports: mpsc::Receiver<(usize, Report)>,
    /// Of each backend, its number in the fleet; none while it is not there.
    pub(super) numbers: Vec<Option<usize>>,
    pub(super) probes: Vec<ProbeSim>,
    pub(super) lines: Vec<LineSim>,
    pub(super) sessions: Arc<Sessions<Plug>>,
    /// Its processes so far.
    pub(super) run: u32,
    /// Since when the present one runs; none while it does not.
    pub(super) up_since: Option<Time>,
    /// Pins that the process before has left.
    pub(super) found: Vec<(MeetingName, Pin)>,
    /// Backends that this process has given up once, even if it has never heard from them.
    pub(super) given_up: BTreeSet<usize>,
    /// Backends that came back into its fleet. What they have of a session that was resumed meanwhile is
    /// not known to it.
    pub(super) returned: BTreeSet<usize>,
    /// Processes it has given up for lost, and when.
    lost: BTreeMap<(usize, u64), Time>,
    /// Meetings in use without their pin, with their epochs, at the last look.
    pub(super) unpinned: BTreeMap<&'static str, u64>,
    /// Counts the configs that its present process has taken up.
    pub(super) config: u64,
    /// Of the sessions that come now.
    pub(super) bounds: Bounds,
    /// Meetings that it may have, and since when.
    pub(super) pins_max: (usize, Time),
    /// Meetings and pins that it had at the last look.
    pub(super) sizes: (usize, usize),
    /// The newest of the decisions about places that were looked at.
    pub(super) decided: u64,
    pub(super) drains: DrainsSim,
    pub(super) tasks: TasksSim,
    /// Counts meetings that were let go.
    pub(super) moves: watch::Receiver<u64>,
    pub(super) keeper: Arc<Keeper>,
    job: Option<BoxFuture<'static, ()>>,
    jobs: VecDeque<Job>,
}

/// From when to when a process decides for its edge.
#[derive(Default)]
pub(super) struct Reign {
    /// Where that is heard which the process before tells, until this one decides.
    pub(super) before: Option<mpsc::Sender<News>>,
    /// Open while operators may give orders, and what is found may be noted.
    pub(super) gate: Gate,
    /// What keeps that closed.
    pub(super) closed: Option<Closed>,
    /// Cancelled when this process decides.
    pub(super) go: CancellationToken,
    /// Cancelled when another does.
    pub(super) ours: CancellationToken,
    /// Cancelled when this one is no more.
    pub(super) is_over: CancellationToken,
    /// Cancelled when it was killed.
    pub(super) is_killed: CancellationToken,
}

impl Reign {
    /// Tasks that wait until this process decides.
    fn tasks(
        &self,
        draining: impl Future<Output = ()> + Send + 'static,
        adopting: impl Future<Output = ()> + Send + 'static,
    ) -> TasksSim {
        let mut tasks = TasksSim::default();
        tasks.spawn(app::after(&self.go, &self.ours, draining));
        tasks.spawn(app::after(&self.go, &self.is_over, adopting));
        tasks
    }
}

/// What a process starts with.
struct Start {
    site: usize,
    sources: SourcesSim,
    left: Left,
    reign: Reign,
    /// What the process before tells, if it still runs.
    news: Option<mpsc::Receiver<News>>,
}

impl Start {
    /// No other process runs.
    fn alone(site: usize, sources: SourcesSim, left: Left) -> Self {
        let reign = Reign::default();
        reign.go.cancel();
        Self { site, sources, left, reign, news: None }
    }
}

/// What the keeper is to do.
enum Job {
    Loss(Loss),
    Sweep,
}

/// The state of an edge's control connection to one backend.
#[derive(Debug, Default)]
pub(super) struct ProbeSim {
    /// The process it is connected to.
    pub(super) control: Option<u32>,
    pub(super) is_running: bool,
    /// When the next starts; an older appointment does not count.
    pub(super) next: Time,
    pub(super) ended: Time,
}

impl EdgeSim {
    pub(super) fn new(
        site: usize,
        (shape, clock): (&Shape, &VirtualClock),
        draws: &mut Draws,
    ) -> Self {
        let sources = SourcesSim::new(shape, clock.now());
        Self::starting((shape, clock), draws, Start::alone(site, sources, Left::default()))
    }

    /// Its process is no more.
    pub(super) fn crash(&mut self) {
        self.reign.is_killed.cancel();
        self.end();
    }

    /// Its process has ended.
    pub(super) fn end(&mut self) {
        self.up_since = None;
        self.reign.is_over.cancel();
        self.tasks = TasksSim::default();
        self.sessions = Arc::new(Sessions::new(KEEP, AWAY_MAX));
    }

    /// A process starts with what that before has left on disk.
    pub(super) fn restart(&mut self, shape: &Shape, clock: &VirtualClock, draws: &mut Draws) {
        let mut left = self.store.crash();
        if shape.bug != Some(Bug::ForgottenOrders) {
            left.drains = self.drains.orders.clone();
        }
        let sources = self.sources.restart(shape, clock.now());
        let mut next =
            Self::starting((shape, clock), draws, Start::alone(self.site, sources, left));
        next.run = self.run + 1;
        next.remember(self);
        *self = next;
    }

    /// A process that is to take over from this one, with what it finds on disk.
    pub(super) fn successor(
        &self,
        (shape, clock): (&Shape, &VirtualClock),
        draws: &mut Draws,
    ) -> Self {
        let sources = self.sources.restart(shape, clock.now());
        let mut left = self.store.left();
        left.drains = Arc::new(self.drains.orders.reread());
        let (before, told) = mpsc::channel(NEWS_MAX);
        let reign = Reign::default();
        let closed = reign.gate.close().now_or_never();
        let reign = Reign { before: Some(before), closed, ..reign };
        let start = Start { site: self.site, sources, left, reign, news: Some(told) };
        let mut next = Self::starting((shape, clock), draws, start);
        next.remember(self);
        next
    }

    /// What the world knows of the process before.
    fn remember(&mut self, before: &Self) {
        self.store.keep_closed(&before.store);
        // What it finds of them is judged when it has heard of their backends, whenever that is.
        let never = Time::from_micros(u64::MAX);
        self.lost = before.lost.keys().map(|process| (*process, never)).collect();
    }

    /// What the process that takes over from this one is to be told.
    pub(super) fn take_news(&mut self) -> mpsc::Receiver<News> {
        std::mem::replace(&mut self.news, mpsc::channel(1).1)
    }

    fn starting((shape, clock): (&Shape, &VirtualClock), draws: &mut Draws, start: Start) -> Self {
        let Start { site, sources, left, reign, news } = start;
        let backends = sources.wanted();
        let numbers = sources.numbers(shape);
        let metrics = Metrics::new();
        let mut fleet = Fleet::new(&backends, &shape.probe, Clock::start(), draws.next());
        let (handle, lines) = (fleet.handle.clone(), fleet.take_lines());
        let mut asked: BTreeMap<_, _> = lines.into_iter().enumerate().collect();
        let (found, losses) = (left.pins.clone(), left.losses.clone());
        let drains = DrainsSim::new(left.drains.clone(), shape);
        let (noted, remnants) = (left.pipelines.clone(), left.remnants.clone());
        let of_store = (shape.bug, Draws::seeded(draws.next()));
        let kept = (shape.pins_max, left);
        let store = Arc::new(SlowStore::new(kept, clock.clone(), handle.clone(), of_store));
        let (pins, told) = Handover::new(store.clone());
        let fleet = fleet.remembering(&losses, pins.clone());
        let (owner, reports) = fleet.into_parts(&metrics);
        let keeper = keeper(shape, pins.clone(), (&found, &noted, &remnants));
        let asker = asker((shape, clock), &handle, draws);
        let adoption = adoption((&handle, &keeper), clock, &asker);
        let before =
            app::Left { pins: found.clone(), pipelines: noted, news, ..app::Left::default() };
        let parts = (&handle, &keeper, &asker);
        let draining = drains.task(parts, (shape, clock, &metrics), (draws, reign.ours.clone()));
        let adopting = adoption.run(before, reign.is_over.clone());
        let tasks = reign.tasks(draining, adopting);
        let edge = edge_of((shape, clock), (handle, keeper.clone(), asker), metrics, draws);
        let lines = numbers.iter().map(|number| LineSim::of(*number, &mut asked)).collect();
        Self {
            site,
            edge: Arc::new(edge),
            store,
            pins,
            news: told,
            reign,
            sources,
            owner,
            reports,
            probes: shape.backends.iter().map(|_| ProbeSim::default()).collect(),
            lines,
            numbers,
            sessions: Arc::new(Sessions::new(KEEP, AWAY_MAX)),
            run: 0,
            up_since: Some(clock.now()),
            found,
            given_up: BTreeSet::new(),
            returned: BTreeSet::new(),
            lost: BTreeMap::new(),
            unpinned: BTreeMap::new(),
            config: 1,
            bounds: shape.bounds,
            pins_max: (shape.pins_max, Time::ZERO),
            sizes: (0, 0),
            decided: 0,
            drains,
            tasks,
            moves: keeper.moves(),
            keeper,
            job: None,
            jobs: VecDeque::new(),
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// Takes in a report; whether a process was lost by it.
    pub(super) fn report(&mut self, backend: usize, report: Report, now: Time) -> bool {
        let Some(number) = self.numbers[backend] else { return false };
        let loss = self.owner.apply(number, report, now);
        let fleet = self.edge.fleet.snapshot();
        let Some(view) = fleet.backends.iter().find(|view| view.number == number) else {
            return false;
        };
        self.store.note_losses(&view.id, self.owner.losses(number));
        if view.health == Health::Ejected && view.incarnation.is_none() {
            self.given_up.insert(backend);
        }
        let Some(loss) = loss else { return false };
        self.lost.insert((backend, loss.incarnation.0), now);
        self.jobs.push_back(Job::Loss(loss));
        true
    }

    /// A backend was removed from the fleet.
    pub(super) fn on_removed(&mut self, backend: usize, loss: Loss, losses: u32, now: Time) {
        self.store.note_losses(&loss.backend, losses);
        self.lost.insert((backend, loss.incarnation.0), now);
        self.jobs.push_back(Job::Loss(loss));
    }

    /// Looks for meetings that are over, and forgets sessions whose client does not come back.
    pub(super) fn sweep(&mut self, now: Time) {
        self.sessions.sweep(now);
        self.jobs.push_back(Job::Sweep);
    }

    /// Goes on with what the keeper has to do.
    pub(super) fn poll_jobs(&mut self, now: Time) -> bool {
        if !self.reign.go.is_cancelled() {
            return false;
        }
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut is_busy = false;
        loop {
            if let Some(job) = &mut self.job {
                if job.as_mut().poll(&mut context).is_pending() {
                    return is_busy;
                }
                self.job = None;
                is_busy = true;
            }
            let Some(job) = self.jobs.pop_front() else { return is_busy };
            let keeper = self.keeper.clone();
            self.job = Some(match job {
                Job::Loss(loss) => {
                    async move { drop(keeper.on_loss(&loss.backend, loss.incarnation).await) }
                        .boxed()
                }
                Job::Sweep => async move { keeper.sweep(now).await }.boxed(),
            });
        }
    }

    /// Whether the keeper has nothing to do, and nobody works but who waits for drains.
    pub(super) fn is_idle(&self) -> bool {
        self.job.is_none() && self.jobs.is_empty() && self.tasks.len() == 1
    }

    /// Whether it has given up that process.
    pub(super) fn has_lost(&self, backend: usize, incarnation: Option<Incarnation>) -> bool {
        incarnation.is_some_and(|process| self.lost.contains_key(&(backend, process.0)))
    }

    /// Whether it has given up the process of that name, which may answer again.
    pub(super) fn has_ever_lost(&self, backend: usize, server_id: &str) -> bool {
        let Some(number) = self.numbers[backend] else { return false };
        let process = Incarnation::of(server_id);
        let names = (0..self.owner.losses(number)).map(|losses| process.after_losses(losses));
        names.into_iter().any(|name| self.has_lost(backend, Some(name)))
    }

    /// Whether it has given up that process so long ago that nothing should be left of it.
    pub(super) fn lost_long_ago(
        &self,
        backend: usize,
        incarnation: Incarnation,
        now: Time,
    ) -> bool {
        let lost = self.lost.get(&(backend, incarnation.0));
        lost.is_some_and(|at| now.since(*at) > FORGOTTEN_AFTER)
    }
}

/// So many bits, for what nobody must guess.
pub(super) fn secret(draws: &mut Draws) -> u128 {
    u128::from(draws.next()) << 64 | u128::from(draws.next())
}

/// What all connections of the edge share.
fn edge_of(
    (shape, clock): (&Shape, &VirtualClock),
    (handle, keeper, asker): (FleetHandle, Arc<Keeper>, Asker),
    metrics: Metrics,
    draws: &mut Draws,
) -> Edge {
    Edge {
        server_id: "edge".to_owned(),
        limits: limits(shape, &shape.bounds),
        clock: Clock::start(),
        pacer: Arc::new(Pacer::new(Some(shape.pace), Arc::new(clock.clone()))),
        fleet: handle.clone(),
        placement: Arc::new(placement((handle, keeper), clock, &metrics, draws.next())),
        metrics,
        blocking: Arc::new(BlockingCalls::new(usize::MAX)),
        asker: Some(asker),
        hold: shape.hold,
        manager: Arc::new(Manager::new(0)),
        closing: CancellationToken::new(),
        close_window: Arc::default(),
        loss_spread: shape.loss_spread,
        moved: CancellationToken::new(),
        draws: Mutex::new(Draws::seeded(draws.next())),
    }
}

/// The keeper of a process that finds those pins, pipelines and remnants.
fn keeper(
    shape: &Shape,
    pins: Arc<dyn PinStore>,
    (found, noted, remnants): (&[(MeetingName, Pin)], &[Origin], &[PipelineId]),
) -> Arc<Keeper> {
    let registry = Arc::new(Registry::new(shape.grace, shape.pins_max));
    let keeper = Arc::new(Keeper::new(pins, registry));
    keeper.found.fill(found, noted);
    keeper.leave_behind(remnants);
    keeper
}

fn adoption(
    (fleet, keeper): (&FleetHandle, &Arc<Keeper>),
    clock: &VirtualClock,
    witness: &Asker,
) -> Adoption<Asker> {
    Adoption {
        fleet: fleet.clone(),
        keeper: keeper.clone(),
        clock: Arc::new(clock.clone()),
        witness: witness.clone(),
        promises: PlacementSettings::default().promises,
    }
}

fn asker((shape, clock): (&Shape, &VirtualClock), fleet: &FleetHandle, draws: &mut Draws) -> Asker {
    let asks_as = SessionId::from_random(secret(draws));
    let timer: Arc<dyn Timer> = Arc::new(clock.clone());
    Asker::asking_as(asks_as, fleet.clone(), timer, asker_bounds(shape, PLACEMENT_WAIT))
}

/// Decisions that an edge keeps.
const DECISIONS_MAX: usize = 100;

fn placement(
    (fleet, keeper): (FleetHandle, Arc<Keeper>),
    clock: &VirtualClock,
    metrics: &Metrics,
    seed: u64,
) -> Placement {
    let settings = PlacementSettings { wait: PLACEMENT_WAIT, ..PlacementSettings::default() };
    Placement {
        fleet,
        keeper,
        people: People::nowhere(metrics.clone()),
        config: Latest::new(PlacementConfig::first(settings)),
        decisions: DecisionLog::new(DECISIONS_MAX),
        timer: Arc::new(clock.clone()),
        metrics: metrics.clone(),
        choices: Mutex::new(Choices::seeded(seed)),
        queue: Arc::default(),
    }
}

pub(super) const fn asker_bounds(shape: &Shape, wait: Duration) -> AskerBounds {
    AskerBounds { per_second: shape.questions_per_second, wait }
}

/// Those that sockets have never count here.
pub(super) fn limits(shape: &Shape, bounds: &Bounds) -> Limits {
    Limits {
        connections_max: usize::MAX,
        message_max_bytes: 1 << 20,
        backend_message_max_bytes: 8 << 20,
        depth_max: bounds.depth_max,
        write_buffer_max_bytes: 1 << 20,
        held_max_bytes: bounds.held_max_bytes,
        calls_max: bounds.calls_max,
        pipelines_max: bounds.pipelines_max,
        subscriptions_max: bounds.subscriptions_max,
        blocking_calls_max: usize::MAX,
        resend_max_bytes: bounds.resend_max_bytes,
        call_timeout: bounds.call_timeout,
        handshake_timeout: Duration::from_secs(10),
        dial_timeout: shape.dial_timeout,
        write_timeout: Duration::from_secs(30),
    }
}
