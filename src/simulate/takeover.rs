//! Edges whose process is replaced by another while it serves, as `app::takeover` does it.
//!
//! What the two say to each other is made up: here they are told at once what the other has come to.
//! What follows from it is decided by the very pins, keepers, adoption and drivers of the edge.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::Bug;
use super::edge::EdgeSim;
use super::network::RelayNo;
use super::turnover::Decision;
use super::world::{Happening, PipelineFact, RelayPhase, World};
use crate::fleet::AfterDrain;
use crate::model::{MeetingName, PipelineId, Time};
use crate::pins::{News, PinError};
use crate::policy::health::Health;
use crate::runtime::{Closed, Gate, Timer};

/// How long backends that were never heard from are waited for. As the process that takes over does.
const FLEET_MAX: Duration = Duration::from_secs(3);

/// Milliseconds over which a process that was replaced closes its clients, at most.
const CLOSE_WINDOW_MAX_MILLIS: usize = 6_000;

/// How long a client that is to be closed may wait for answers. As the relay has it.
const ANSWERS_MAX: Duration = Duration::from_secs(5);

/// How long a backend is drained meanwhile.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Time within which all that was told to the other process has arrived, and nothing of it is over.
const PASSING_MAX: Duration = Duration::from_millis(900);

/// An edge as its clients know it: one process, or two while one takes over from the other.
pub(super) struct Site {
    /// Its process, which decides about the pins.
    pub(super) edge: usize,
    takeover: Option<TakeoverSim>,
}

/// Another process wants to take over.
struct TakeoverSim {
    /// How the release of the pins has ended: with what keeps operators out since then, or not.
    released: Arc<Mutex<Option<Result<Closed, PinError>>>>,
    /// The other process, once it runs.
    next: Option<usize>,
    /// It waits for its backends no longer than that.
    until: Time,
    /// It dies before it is ready.
    fails: bool,
}

impl Site {
    pub(super) const fn of(edge: usize) -> Self {
        Self { edge, takeover: None }
    }
}

impl World {
    /// The process that decides for a site.
    pub(super) fn edge_at(&self, site: usize) -> usize {
        self.sites[site].edge
    }

    /// Whether a process decides for its site: not one that waits to take over, or was replaced.
    pub(super) fn decides(&self, edge: usize) -> bool {
        self.edge_at(self.edges[edge].site) == edge
    }

    /// Another process is started for a site, and asks the one that runs to make way.
    pub(super) fn begin_takeover(&mut self, site: usize) {
        let edge = self.edge_at(site);
        if self.sites[site].takeover.is_some() || !self.edges[edge].is_up() {
            return;
        }
        self.note(|| format!("   another process is to take over from edge {edge}"));
        let released = Arc::new(Mutex::new(None));
        let fails = self.draws.below(4) == 0;
        let takeover =
            TakeoverSim { released: released.clone(), next: None, until: Time::ZERO, fails };
        self.sites[site].takeover = Some(takeover);
        let known = &mut self.edges[edge];
        let (gate, pins, bug) = (known.reign.gate.clone(), known.pins.clone(), self.bug);
        known.tasks.spawn(async move {
            let closed = match bug {
                Some(Bug::OpenGate) => Gate::default().close().await,
                _ => gate.close().await,
            };
            let outcome = match bug {
                Some(Bug::KeptPins) => Ok(closed),
                _ => pins.release().await.map(|()| closed),
            };
            *released.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        });
    }

    /// Goes on with the takeover of a site, if there is one; says whether it did.
    pub(super) fn heed_takeover(&mut self, site: usize) -> bool {
        let Some(takeover) = &self.sites[site].takeover else { return false };
        let Some(next) = takeover.next else {
            let released = takeover.released.lock().unwrap_or_else(PoisonError::into_inner);
            let is_released = released.as_ref().map(Result::is_ok);
            drop(released);
            match is_released {
                None => return false,
                Some(true) => self.next_starts(site),
                Some(false) => self.sites[site].takeover = None,
            }
            return true;
        };
        let fleet = self.edges[next].edge.fleet.snapshot();
        let has_heard = fleet.backends.iter().all(|one| one.health != Health::Unknown);
        if takeover.fails || !has_heard && self.now() < takeover.until {
            return false;
        }
        self.take_over(site);
        true
    }

    /// The other process starts with what the one that runs has left, and decides nothing yet.
    fn next_starts(&mut self, site: usize) {
        let edge = self.edge_at(site);
        let next = self.edges.len();
        self.note(|| format!("   edge {next} is to take over from edge {edge}"));
        let (shape, clock) = (&self.shape, &self.clock);
        let successor = self.edges[edge].successor((shape, clock), &mut self.draws);
        self.edges.push(successor);
        // What the other gives up after this it cannot have noted, and no pin has moved for it.
        let lost = self.pipelines.values_mut().filter(|fact| fact.lost_by.contains(&edge));
        lost.for_each(|fact| fact.lost_by.extend([next]));
        let until = self.now() + FLEET_MAX;
        let fails_in = Duration::from_millis(self.draws.below(4_000) as u64);
        if let Some(takeover) = &mut self.sites[site].takeover {
            (takeover.next, takeover.until) = (Some(next), until);
            if takeover.fails {
                self.after(fails_in, Happening::TakeoverFails(site, next));
            }
        }
        self.begin_edge(next);
        if self.draws.below(2) == 0 {
            let wait = Duration::from_millis(self.draws.below(30) as u64);
            let backend = self.draws.below(self.backends.len());
            let drain = Decision::Drain(None, AfterDrain::Stay);
            self.after(wait, Happening::Decides(site, backend, drain));
            self.after(DRAIN_MAX, Happening::Decides(site, backend, Decision::Undrain));
        }
    }

    /// The other process dies before it has taken over: all is as it was.
    pub(super) fn takeover_fails(&mut self, site: usize, next: usize) {
        if self.sites[site].takeover.as_ref().is_none_or(|takeover| takeover.next != Some(next)) {
            return;
        }
        self.end_takeover(site);
        let known = &mut self.edges[self.sites[site].edge];
        known.pins.take_back();
        // They were for the one that is gone.
        while known.news.try_recv().is_ok() {}
    }

    /// Whoever was to take over is no more. The gate is open again.
    fn end_takeover(&mut self, site: usize) {
        let Some(takeover) = self.sites[site].takeover.take() else { return };
        if let Some(next) = takeover.next {
            self.note(|| format!("   edge {next} dies before it has taken over"));
            self.stop_edge(next);
        }
    }

    /// From now on the other process decides; that which runs closes its clients.
    fn take_over(&mut self, site: usize) {
        let Some(TakeoverSim { released, next: Some(next), .. }) = self.sites[site].takeover.take()
        else {
            return;
        };
        let edge = std::mem::replace(&mut self.sites[site].edge, next);
        self.note(|| format!("   edge {next} takes over from edge {edge}"));
        self.tally.takeovers += 1;
        let old = &mut self.edges[edge];
        if self.bug != Some(Bug::KeptPins) {
            old.pins.give_away();
        }
        old.edge.moved.cancel();
        old.reign.ours.cancel();
        // What operators want is for the other process.
        let released = released.lock().unwrap_or_else(PoisonError::into_inner).take();
        old.reign.closed = released.and_then(Result::ok);
        self.pass_news_on(edge, next);
        let (there, before) = (&self.edges[next].store, &self.edges[edge].store);
        there.keep_closed(before);
        self.keep_what_is_used(site, edge);
        if self.draws.below(2) == 0 {
            self.slowness = 1 + u32::try_from(self.draws.below(40)).expect("less than 40");
            self.after(FLEET_MAX, Happening::NetworkHeals);
        }
        let relays = self.relays.iter().filter(|(_, relay)| relay.edge == edge);
        let relays: Vec<RelayNo> = relays.map(|(relay, _)| *relay).collect();
        for relay in relays {
            let wait = Duration::from_millis(self.draws.below(CLOSE_WINDOW_MAX_MILLIS) as u64);
            self.after(wait, Happening::Closes(relay));
        }
    }

    /// The process that takes over hears what the other still tells, unless that is killed.
    fn pass_news_on(&mut self, edge: usize, next: usize) {
        let (mut told, delay) = (self.edges[edge].take_news(), self.delay());
        let known = &self.edges[edge];
        let (is_over, is_killed) = (known.reign.is_over.clone(), known.reign.is_killed.clone());
        let (clock, is_deaf) = (self.clock.clone(), self.bug == Some(Bug::DeafToNews));
        let news = self.edges[next].go();
        self.edges[next].tasks.spawn(async move {
            let pass_on = async {
                loop {
                    let one = match is_over.run_until_cancelled(told.recv()).await {
                        Some(one) => one,
                        None => told.try_recv().ok(),
                    };
                    let Some(one) = one else { return };
                    is_over.run_until_cancelled(clock.sleep(delay)).await;
                    if is_deaf || news.send(one).await.is_err() {
                        return;
                    }
                }
            };
            is_killed.run_until_cancelled(pass_on).await;
        });
    }

    /// The process that takes over must keep what clients of the other have, as long as that runs.
    fn keep_what_is_used(&mut self, site: usize, edge: usize) {
        for fact in self.pipelines.values_mut().filter(|fact| fact.site == site) {
            let relay = fact.holder.and_then(|relay| self.relays.get(&relay));
            if relay.is_some_and(|relay| relay.edge == edge) && fact.is_told {
                fact.kept_until = Time::from_micros(u64::MAX);
            }
        }
    }

    /// A client of a process that was replaced is to be closed, as soon as it waits for nothing.
    pub(super) fn closes(&mut self, relay: RelayNo) {
        let limit = self.now() + ANSWERS_MAX;
        let Some(known) = self.relays.get_mut(&relay) else { return };
        if known.leaving.is_some() {
            return;
        }
        known.leaving = Some(limit);
        let phase = known.phase;
        self.note(|| format!("   {relay:?} is to close"));
        self.at(limit, Happening::Closes(relay));
        if phase == RelayPhase::Holding {
            self.leave_seat(relay);
        }
    }

    /// Closes a client that is to be closed, if it waits for nothing any more, or has for too long.
    pub(super) fn check_leaving(&mut self, relay: RelayNo) -> bool {
        let now = self.now();
        let Some(known) = self.relays.get(&relay) else { return false };
        if known.leaving.is_none() && known.driver.is_stranded() {
            self.closes(relay);
        }
        let Some(known) = self.relays.get(&relay) else { return false };
        let is_over = known.leaving.is_some_and(|limit| limit <= now);
        let may_go = known.leaving.is_some() && (is_over || known.driver.is_quiet());
        if known.phase != RelayPhase::Serving || !may_go {
            return false;
        }
        let conn = known.visit.as_ref().map(|visit| visit.connection.conn);
        self.note(|| format!("   {conn:?} is closed: it goes on at another process"));
        if let Some(known) = conn.and_then(|conn| self.conns.get_mut(&conn)) {
            known.is_cut = true; // nothing more is read from it
        }
        self.leave_seat(relay);
        true
    }

    /// A process that was replaced, and whose clients have all gone, ends.
    pub(super) fn end_replaced(&mut self, edge: usize) -> bool {
        let known = &self.edges[edge];
        // It passes on what one before it still tells.
        let is_alone = known.keeper.is_alone().now_or_never().is_some();
        if !known.reign.ours.is_cancelled()
            || !is_alone
            || self.relays.values().any(|relay| relay.edge == edge)
        {
            return false;
        }
        self.note(|| format!("   edge {edge} ends"));
        let known = self.known_to(edge);
        self.stop_edge(edge);
        self.after(PASSING_MAX, Happening::CheckPassedOn(edge, known));
        let (site, until) = (self.edges[edge].site, self.now() + self.shape.grace);
        for fact in self.pipelines.values_mut().filter(|fact| fact.site == site) {
            fact.kept_until = fact.kept_until.min(until);
        }
        true
    }

    /// Pipelines of named meetings that a process knows in these.
    fn known_to(&self, edge: usize) -> Vec<PipelineId> {
        let known = &self.edges[edge];
        let of_site = self.pipelines.values().filter(|fact| fact.site == known.site);
        let named = of_site.filter(|fact| fact.is_told && fact.meeting.is_some());
        let is_known = |fact: &&PipelineFact| {
            let meeting = known.edge.registry().meeting_of(fact.id);
            meeting.as_ref().map(MeetingName::as_str) == fact.meeting.as_deref()
        };
        named.filter(is_known).map(|fact| fact.id).collect()
    }

    /// What a process knew at its end, the one that took over knows, if it is still there.
    pub(super) fn check_passed_on(&mut self, edge: usize, known: &[PipelineId]) {
        let next = &self.edges[self.edge_at(self.edges[edge].site)];
        if !next.is_up() || next.run > 0 {
            return;
        }
        let is_there = |fact: &&PipelineFact| {
            let process = self.backends[fact.backend].process.as_ref();
            process.is_some_and(|process| process.kms.has_object(&fact.id.to_string()))
                && !next.has_lost(fact.backend, fact.incarnation)
                && !next.given_up.contains(&fact.backend)
                && !next.edge.registry().was_let_go(fact.id)
        };
        let facts = known.iter().filter_map(|id| self.pipelines.get(&id.to_string()));
        let mut kept = facts.filter(|fact| !fact.is_released && !fact.is_let_go).filter(is_there);
        if let Some(id) = kept.find(|fact| !next.knows_meeting_of(fact)).map(|fact| fact.id) {
            self.complain(|| format!("what edge {edge} knew of {id} is not passed on"));
        }
    }

    /// A process without clients is no more.
    fn stop_edge(&mut self, edge: usize) {
        for backend in 0..self.backends.len() {
            let prober = self.prober(edge, backend);
            self.close_line(prober);
        }
        self.edges[edge].end();
    }

    /// The machine of a site goes down, with all its processes.
    pub(super) fn crash_site(&mut self, site: usize) {
        self.end_takeover(site);
        for edge in 0..self.edges.len() {
            let known = &self.edges[edge];
            if known.site == site && known.is_up() {
                self.crash_edge(edge);
            }
        }
    }
}

impl EdgeSim {
    /// What this process is told by the one it took over from goes where this returns; it decides from
    /// now on.
    fn go(&mut self) -> mpsc::Sender<News> {
        self.reign.closed = None;
        self.reign.go.cancel();
        self.reign.before.take().expect("it was to take over")
    }

    /// Whether this process knows of which meeting a pipeline is.
    fn knows_meeting_of(&self, fact: &PipelineFact) -> bool {
        let found = self.keeper.found.meeting_of(fact.id);
        let known = found.or_else(|| self.edge.registry().meeting_of(fact.id));
        known.as_ref().map(MeetingName::as_str) == fact.meeting.as_deref()
    }

    /// Whether this process may be told what sources say, and carries out orders.
    pub(super) fn is_open(&self) -> bool {
        self.reign.gate.try_enter().is_some()
    }
}
