//! Everything there is, and the queue of what happens next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::backend::BackendSim;
use super::check;
use super::client::ClientSim;
use super::edge::{self, EdgeSim};
use super::losses::{NewsSim, Owed};
use super::network::{
    ConnNo, Down, Dropped, EventTag, FromClient, LinkId, Pipe, Plug, RelayNo, ToClient, Up,
};
use super::shape::Shape;
use super::takeover::Site;
use super::time::VirtualClock;
use super::turnover::Decision;
use super::{Bug, Run, Tally};
use crate::fleet::{BackendView, Report};
use crate::model::{Draws, Incarnation, PipelineId, SessionId, Time};
use crate::proxy::{Driver, Edge, Missed, Seat, Visit};
use crate::runtime::Timer;
use crate::session::{Bounds, LinkNo};
use crate::sim::kms::{ConnId, KmsSettings};

/// Steps without end mean that the world does not come to rest.
const REST_STEPS_MAX: u64 = 200_000;

/// The whole world.
pub(super) struct World {
    pub(super) clock: VirtualClock,
    pub(super) draws: Draws,
    pub(super) shape: Shape,
    /// The edges as clients know them.
    pub(super) sites: Vec<Site>,
    /// Every process of an edge there ever was, but that one which crashed starts again as the same.
    pub(super) edges: Vec<EdgeSim>,
    pub(super) backends: Vec<BackendSim>,
    pub(super) clients: Vec<ClientSim>,
    /// All client connections there ever were that are not forgotten yet.
    pub(super) conns: BTreeMap<ConnNo, ConnSim>,
    pub(super) links: BTreeMap<LinkId, LinkSim>,
    /// All sessions at work.
    pub(super) relays: BTreeMap<RelayNo, RelaySim>,
    pub(super) dropped: Dropped,
    /// What is known of each pipeline that was made, by its id as text.
    pub(super) pipelines: BTreeMap<String, PipelineFact>,
    /// Whether a pipeline was made that was not looked at yet.
    pub(super) is_learned: bool,
    /// What must follow from losses.
    pub(super) owed: Vec<Owed>,
    /// Slows the network.
    pub(super) slowness: u32,
    /// When it was slow last.
    pub(super) slow_until: Time,
    pub(super) gc_period: Duration,
    pub(super) bug: Option<Bug>,
    pub(super) is_leaving: bool,
    pub(super) tally: Tally,
    pub(super) trace: Vec<String>,
    /// The first thing that must not happen and did.
    pub(super) broken: Option<String>,
    is_traced: bool,
    queue: BTreeMap<(Time, u64), Happening>,
    queued: u64,
    conn_count: usize,
    link_count: usize,
    relay_count: usize,
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Happening {
    ClientActs(usize),
    Fault,
    EdgeReads(ConnNo),
    ClientReads(ConnNo),
    /// What a session waits for in this phase takes too long.
    PhaseEnds(RelayNo, u32),
    /// A session has waited long enough for something.
    Deadline(RelayNo),
    DialArrives(LinkId),
    DialTimesOut(LinkId),
    BackendReads(LinkId),
    EdgeReadsLink(LinkId),
    KmsTick(usize, u32),
    ProbeStarts(Prober, Time),
    ProbeArrives(Prober),
    ProbeEnds(Prober, Report),
    LineArrives(Prober, u64),
    LineAnswers(Prober, u64, String),
    LineTimesOut(Prober, u64),
    LineIsIdle(Prober, u64),
    Sweep(usize, u32),
    SourceSpeaks(usize, u32),
    Starts(usize),
    /// The process of a site starts again.
    EdgeStarts(usize),
    /// The process that was to take over at a site dies.
    TakeoverFails(usize, usize),
    /// All must be known that a process knew which was replaced.
    CheckPassedOn(usize, Vec<PipelineId>),
    /// A client of a process that was replaced is to be closed.
    Closes(RelayNo),
    Thaws(usize),
    /// The operator of an edge decides about a backend.
    Decides(usize, usize, Decision),
    NetworkHeals,
    /// A client is told bad news.
    NewsDue(RelayNo),
}

/// One process of an edge, in what it has to do with one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prober {
    pub(super) edge: usize,
    /// Which process of the edge.
    pub(super) run: u32,
    pub(super) backend: usize,
    /// Its number in the fleet of that process; none if it is not there.
    pub(super) number: Option<usize>,
}

/// A client connection, until both ends are done with it.
pub(super) struct ConnSim {
    pub(super) client: usize,
    pub(super) edge: usize,
    /// Who reads from it; none while it goes from one to another.
    pub(super) relay: Option<RelayNo>,
    /// Whether the client is still there.
    pub(super) is_open: bool,
    /// Whether the edge has read that it is not.
    pub(super) is_ended: bool,
    /// Whether the edge has closed it, or is no more.
    pub(super) is_cut: bool,
    pub(super) up: Pipe<FromClient>,
    pub(super) down: Pipe<ToClient>,
}

/// What an edge has of one session at work, as `proxy::relay` has it.
pub(super) struct RelaySim {
    /// Whose session it is.
    pub(super) client: usize,
    pub(super) edge: usize,
    pub(super) driver: Driver,
    pub(super) seat: Seat<Plug>,
    pub(super) visit: Option<Box<Visit<Plug>>>,
    pub(super) missed: Missed,
    /// Those of the events in `missed`.
    pub(super) missed_tags: VecDeque<EventTag>,
    pub(super) phase: RelayPhase,
    /// Counts the phases.
    pub(super) phase_count: u32,
    /// By link number; the last link that was dialled.
    pub(super) links: Vec<Option<LinkId>>,
    /// What its edge was like when it began.
    pub(super) terms: Arc<Edge>,
    pub(super) bounds: Bounds,
    pub(super) news: NewsSim,
    /// Its client is to be closed once it waits for nothing, or by then.
    pub(super) leaving: Option<Time>,
    /// Whether its deadline is awaited.
    pub(super) is_timed: bool,
    /// A connection that its events go to, though its client has another.
    pub(super) misled_to: Option<ConnNo>,
}

/// What a relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayPhase {
    Serving,
    /// The client has gone, and some of its messages wait.
    Draining {
        took_leave: bool,
    },
    /// The client is away, and its links are held open.
    Holding,
    /// The client is given away, and another connection may come for it.
    Swapping,
}

/// A link, from the first dial on.
pub(super) struct LinkSim {
    pub(super) relay: RelayNo,
    pub(super) number: LinkNo,
    pub(super) edge: usize,
    pub(super) backend: usize,
    pub(super) view: Arc<BackendView>,
    pub(super) phase: LinkPhase,
    /// The process at the other end, and its name for this link.
    pub(super) far: Option<(u32, ConnId)>,
    pub(super) up: Pipe<Up>,
    pub(super) down: Pipe<Down>,
    pub(super) events_sent: u64,
    pub(super) events_read: u64,
}

/// How the edge sees a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkPhase {
    Dialling,
    Open,
    /// Closed by the edge, or broken.
    Closed,
}

/// What is known of a pipeline.
#[derive(Clone, Debug)]
pub(super) struct PipelineFact {
    /// Which of all that were made.
    pub(super) number: u64,
    pub(super) id: PipelineId,
    pub(super) site: usize,
    pub(super) meeting: Option<String>,
    pub(super) backend: usize,
    /// The process of that backend as the edge knew it.
    pub(super) incarnation: Option<Incarnation>,
    /// The name of that process.
    pub(super) server: Option<Arc<str>>,
    /// The process that really holds it.
    pub(super) process: Option<u32>,
    /// Who made it, and in which of its sessions.
    pub(super) client: usize,
    pub(super) life: u64,
    pub(super) session: SessionId,
    /// Who has that session at work, with this pipeline in its meeting.
    pub(super) holder: Option<RelayNo>,
    /// Its edge has crashed and must keep it in its meeting until then.
    pub(super) kept_until: Time,
    /// Somebody has asked for its end.
    pub(super) is_released: bool,
    /// Its client has been sent its id.
    pub(super) is_told: bool,
    /// Its meeting was let go, and it went with it.
    pub(super) is_let_go: bool,
    /// Processes of edges that had it in a meeting and gave its backend up.
    pub(super) lost_by: BTreeSet<usize>,
    pub(super) elements: Vec<String>,
}

impl World {
    /// A world before its first step.
    pub(super) fn new(run: &Run) -> Self {
        let mut draws = Draws::seeded(run.seed);
        let clock = VirtualClock::default();
        let shape = Shape::draw(run, &mut draws);
        let edge_count = 1 + draws.below(3);
        let edges = (0..edge_count).map(|site| EdgeSim::new(site, (&shape, &clock), &mut draws));
        let edges = edges.collect();
        let backends = shape.backends.iter().cloned().map(BackendSim::new).collect();
        let clients = (0..4 + draws.below(8)).map(|n| ClientSim::new(n, draws.next())).collect();
        let mut world = Self {
            clock,
            gc_period: Duration::from_secs(8 + draws.below(60) as u64),
            draws,
            shape,
            sites: (0..edge_count).map(Site::of).collect(),
            edges,
            backends,
            clients,
            conns: BTreeMap::new(),
            links: BTreeMap::new(),
            relays: BTreeMap::new(),
            dropped: Dropped::default(),
            pipelines: BTreeMap::new(),
            is_learned: false,
            owed: Vec::new(),
            slowness: 1,
            slow_until: Time::ZERO,
            bug: run.bug,
            is_leaving: false,
            tally: Tally::default(),
            trace: Vec::new(),
            broken: None,
            is_traced: run.is_traced,
            queue: BTreeMap::new(),
            queued: 0,
            conn_count: 0,
            link_count: 0,
            relay_count: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for backend in 0..self.backends.len() {
            self.start_backend(backend);
        }
        for edge in 0..self.edges.len() {
            self.begin_edge(edge);
        }
        for client in 0..self.clients.len() {
            let wait = self.draws.below(2_000_000) as u64;
            self.after(Duration::from_micros(wait), Happening::ClientActs(client));
        }
        self.after(Duration::from_secs(3), Happening::Fault);
    }

    /// A process of an edge begins to look after its backends and meetings.
    pub(super) fn begin_edge(&mut self, edge: usize) {
        for backend in 0..self.backends.len() {
            let prober = self.prober(edge, backend);
            self.probe_at(prober, Duration::ZERO);
        }
        let run = self.edges[edge].run;
        self.after(Duration::from_secs(1), Happening::Sweep(edge, run));
        self.after(Duration::from_secs(2), Happening::SourceSpeaks(edge, run));
    }

    pub(super) fn prober(&self, edge: usize, backend: usize) -> Prober {
        let number = self.edges[edge].numbers[backend];
        Prober { edge, run: self.edges[edge].run, backend, number }
    }

    /// Makes `steps` steps, has everybody leave, and looks at what is left.
    pub(super) fn run(&mut self, steps: u64) -> Result<(), String> {
        while self.tally.steps < steps {
            self.step()?;
        }
        self.leave();
        let rest = self.tally.steps + REST_STEPS_MAX;
        let last_call = self.now() + Duration::from_secs(60);
        while self.now() < last_call && self.tally.steps < rest {
            self.step()?;
        }
        check::all_answered(self)?;
        self.hang_up_all();
        let mut long_after =
            self.now() + self.shape.grace * 3 + edge::KEEP + Duration::from_secs(10);
        if self.tally.crashes + self.tally.takeovers > 0 {
            // Backends collect what nobody uses, and are asked for what was found once a minute.
            long_after = long_after + self.gc_period * 2 + Duration::from_secs(65);
        }
        while self.now() < long_after && self.tally.steps < rest {
            self.step()?;
        }
        check::nothing_left(self)
    }

    /// Starts a process on a backend, if none runs there.
    pub(super) fn start_backend(&mut self, backend: usize) {
        let settings = KmsSettings {
            gc_period: self.gc_period,
            keeps_answers: self.bug != Some(Bug::ForgottenAnswers),
            ..KmsSettings::default()
        };
        let seed = self.draws.next();
        self.backends[backend].start(settings, seed);
    }

    fn step(&mut self) -> Result<(), String> {
        let first = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wake = self.clock.next_wake();
        let at = [first, wake].into_iter().flatten().min().ok_or("nothing happens any more")?;
        self.clock.advance(at);
        self.tally.steps += 1;
        if first == Some(at) {
            let (_, happening) = self.queue.pop_first().ok_or("the queue is empty")?;
            self.note(|| format!("{happening:?}"));
            self.happen(happening);
        }
        self.settle();
        check::after_step(self);
        self.broken.take().map_or(Ok(()), Err)
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Has something happen after `wait`.
    pub(super) fn after(&mut self, wait: Duration, happening: Happening) {
        let at = self.now() + wait;
        self.at(at, happening);
    }

    /// Has something happen at `at`.
    pub(super) fn at(&mut self, at: Time, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), happening);
    }

    /// A delay of the network.
    pub(super) fn delay(&mut self) -> Duration {
        let micros = 100 + self.draws.below(20_000) as u64;
        Duration::from_micros(micros) * self.slowness
    }

    pub(super) fn next_conn(&mut self) -> ConnNo {
        self.conn_count += 1;
        ConnNo(self.conn_count)
    }

    pub(super) fn next_link(&mut self) -> LinkId {
        self.link_count += 1;
        LinkId(self.link_count)
    }

    pub(super) fn next_relay(&mut self) -> RelayNo {
        self.relay_count += 1;
        RelayNo(self.relay_count)
    }

    /// Adds a line to the trace.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.is_traced {
            let seconds = self.now().as_micros() as f64 / 1e6;
            self.trace.push(format!("{:>6} {seconds:>11.6}  {}", self.tally.steps, line()));
        }
    }

    /// Something must not happen and did; the first counts.
    pub(super) fn complain(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            let what = what();
            self.note(|| format!("BROKEN: {what}"));
            self.broken = Some(what);
        }
    }

    /// Every pipeline of this edge's meeting of which somebody in it may still make use.
    pub(super) fn live<'a>(
        &'a self,
        site: usize,
        meeting: &'a str,
    ) -> impl Iterator<Item = &'a PipelineFact> {
        self.pipelines.values().filter(move |fact| {
            fact.site == site && fact.meeting.as_deref() == Some(meeting) && self.is_live(fact)
        })
    }

    /// Whether a pipeline exists, and its edge must know it in its meeting.
    pub(super) fn is_live(&self, fact: &PipelineFact) -> bool {
        let edge = &self.edges[self.edge_at(fact.site)];
        !fact.is_released
            && fact.process == self.backends[fact.backend].running()
            && !edge.has_lost(fact.backend, fact.incarnation)
            && (self.is_in_use(fact)
                || self.now() < fact.kept_until && !edge.given_up.contains(&fact.backend))
    }

    /// Whether a session at work in the process that decides has a pipeline.
    fn is_in_use(&self, fact: &PipelineFact) -> bool {
        let relay = fact.holder.and_then(|relay| self.relays.get(&relay));
        relay.is_some_and(|relay| relay.edge == self.edge_at(fact.site))
    }
}

/// Meetings that anybody may be in.
pub(super) const MEETINGS: [&str; 3] = ["standup", "choir", "lesson"];
