//! An edge without its sockets, its probes of each backend, and what it asks them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Bug;
use super::asking::LineSim;
use super::network::Plug;
use super::store::{Left, SlowStore};
use super::time::VirtualClock;
use crate::app::{self, Adoption};
use crate::fleet::{Asker, AskerBounds, Fleet, FleetHandle, FleetOwner, Loss, Report};
use crate::model::{BackendId, Draws, Incarnation, Legs, MeetingName, PipelineId, SessionId, Time};
use crate::pins::{Keeper, Origin, Pin, Registry};
use crate::policy::health::Health;
use crate::policy::pacing::Pace;
use crate::proxy::{
    BlockingCalls, Choices, DecisionLog, Edge, Manager, Pacer, People, Placement, PlacementConfig,
    Sessions,
};
use crate::runtime::{Clock, Latest, Timer};
use crate::session::Bounds;
use crate::settings::{BackendSettings, BackendUrl, Limits, PlacementSettings, ProbeSettings};
use crate::telemetry::Metrics;

/// How long what is not known of a backend is waited for.
const PLACEMENT_WAIT: Duration = Duration::from_secs(5);

/// After that time nothing is left of what was lost, however long the store was away.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15);

/// How long a session is remembered whose client is away.
pub(super) const KEEP: Duration = Duration::from_secs(20);

/// Sessions remembered whose client is away. More than a world has.
const AWAY_MAX: usize = 1_000;

/// What all edges of a world have in common.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) backends: Vec<BackendId>,
    pub(super) grace: Duration,
    pub(super) pins_max: usize,
    pub(super) bounds: Bounds,
    pub(super) pace: Pace,
    pub(super) dial_timeout: Duration,
    pub(super) probe: ProbeSettings,
    /// How long the links of a client that vanished stay open.
    pub(super) hold: Duration,
    pub(super) questions_per_second: u32,
    pub(super) bug: Option<Bug>,
}

/// One edge.
pub(super) struct EdgeSim {
    pub(super) edge: Arc<Edge>,
    pub(super) store: Arc<SlowStore>,
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
    keeper: Arc<Keeper>,
    adoption: Option<BoxFuture<'static, ()>>,
    job: Option<BoxFuture<'static, ()>>,
    jobs: VecDeque<Job>,
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
    pub(super) fn new(shape: &Shape, clock: &VirtualClock, draws: &mut Draws) -> Self {
        Self::starting(shape, clock, draws, Left::default())
    }

    /// Its process is no more.
    pub(super) fn crash(&mut self) {
        self.up_since = None;
    }

    /// A process starts with what that before has left on disk.
    pub(super) fn restart(&mut self, shape: &Shape, clock: &VirtualClock, draws: &mut Draws) {
        let left = self.store.crash();
        let next = Self::starting(shape, clock, draws, left);
        let old = std::mem::replace(self, next);
        self.run = old.run + 1;
        // What it finds of them is judged when it has heard of their backends, whenever that is.
        let never = Time::from_micros(u64::MAX);
        self.lost = old.lost.into_keys().map(|process| (process, never)).collect();
    }

    fn starting(shape: &Shape, clock: &VirtualClock, draws: &mut Draws, left: Left) -> Self {
        let backends: Vec<_> = shape.backends.iter().map(backend).collect();
        let metrics = Metrics::new();
        let mut fleet = Fleet::new(&backends, &shape.probe, Clock::start(), draws.next());
        let (handle, asked) = (fleet.handle.clone(), fleet.take_lines());
        let (found, losses) = (left.pins.clone(), left.losses.clone());
        let (noted, remnants) = (left.pipelines.clone(), left.remnants.clone());
        let of_store = (shape.bug, Draws::seeded(draws.next()));
        let kept = (shape.pins_max, left);
        let store = Arc::new(SlowStore::new(kept, clock.clone(), handle.clone(), of_store));
        let fleet = fleet.remembering(&losses, store.clone());
        let (owner, reports) = fleet.into_parts(&metrics);
        let keeper = keeper(shape, &store, (&found, &noted, &remnants));
        let asks_as = SessionId::from_random(secret(draws));
        let timer: Arc<dyn Timer> = Arc::new(clock.clone());
        let asker = Asker::asking_as(asks_as, handle.clone(), timer, asker_bounds(shape));
        let adoption = adoption((&handle, &keeper), clock, &asker);
        // Nobody asks the backends which of the pipelines live, so that the end need not wait for that.
        let before = app::Left { pins: found.clone(), ..app::Left::default() };
        let edge = edge_of((shape, clock), (handle, keeper.clone(), asker), metrics, draws);
        Self {
            edge: Arc::new(edge),
            store,
            owner,
            reports,
            numbers: (0..shape.backends.len()).map(Some).collect(),
            probes: shape.backends.iter().map(|_| ProbeSim::default()).collect(),
            lines: asked.into_iter().map(LineSim::new).collect(),
            sessions: Arc::new(Sessions::new(KEEP, AWAY_MAX)),
            run: 0,
            up_since: Some(clock.now()),
            found,
            given_up: BTreeSet::new(),
            returned: BTreeSet::new(),
            lost: BTreeMap::new(),
            unpinned: BTreeMap::new(),
            keeper,
            adoption: Some(adoption.run(before, CancellationToken::new()).boxed()),
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
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut is_busy = false;
        if let Some(adoption) = &mut self.adoption
            && adoption.as_mut().poll(&mut context).is_ready()
        {
            self.adoption = None;
            is_busy = true;
        }
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

    /// Whether the keeper has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.job.is_none() && self.jobs.is_empty() && self.adoption.is_none()
    }

    /// Whether it has given up that process.
    pub(super) fn has_lost(&self, backend: usize, incarnation: Option<Incarnation>) -> bool {
        incarnation.is_some_and(|process| self.lost.contains_key(&(backend, process.0)))
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
        limits: limits(shape),
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
        loss_spread: Duration::ZERO,
        moved: CancellationToken::new(),
        draws: Mutex::new(Draws::seeded(draws.next())),
    }
}

/// The keeper of a process that finds those pins, pipelines and remnants.
fn keeper(
    shape: &Shape,
    store: &Arc<SlowStore>,
    (found, noted, remnants): (&[(MeetingName, Pin)], &[Origin], &[PipelineId]),
) -> Arc<Keeper> {
    let registry = Arc::new(Registry::new(shape.grace, shape.pins_max));
    let keeper = Arc::new(Keeper::new(store.clone(), registry));
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

pub(super) fn backend(id: &BackendId) -> BackendSettings {
    let url = BackendUrl { host: id.to_string(), port: 8888, path: "/kurento".to_owned() };
    BackendSettings::new(id.clone(), url, Legs(400))
}

const fn asker_bounds(shape: &Shape) -> AskerBounds {
    AskerBounds { per_second: shape.questions_per_second, wait: PLACEMENT_WAIT }
}

/// Those that sockets have never count here.
fn limits(shape: &Shape) -> Limits {
    Limits {
        connections_max: usize::MAX,
        message_max_bytes: 1 << 20,
        backend_message_max_bytes: 8 << 20,
        depth_max: shape.bounds.depth_max,
        write_buffer_max_bytes: 1 << 20,
        held_max_bytes: shape.bounds.held_max_bytes,
        calls_max: shape.bounds.calls_max,
        pipelines_max: shape.bounds.pipelines_max,
        subscriptions_max: shape.bounds.subscriptions_max,
        blocking_calls_max: usize::MAX,
        resend_max_bytes: shape.bounds.resend_max_bytes,
        call_timeout: shape.bounds.call_timeout,
        handshake_timeout: Duration::from_secs(10),
        dial_timeout: shape.dial_timeout,
        write_timeout: Duration::from_secs(30),
    }
}
