//! What goes wrong.

use std::time::Duration;

use super::network::{ConnNo, Down, LinkId, RelayNo, Up};
use super::world::{Happening, LinkPhase, LinkSim, World};
use crate::model::Time;
use crate::session::LinkFailure;

/// Milliseconds between two faults, at most.
const FAULT_PAUSE_MAX_MILLIS: usize = 3_000;

impl World {
    pub(super) fn fault(&mut self) {
        if self.is_leaving {
            return;
        }
        let wait = self.draws.below(FAULT_PAUSE_MAX_MILLIS) as u64;
        self.after(Duration::from_millis(wait), Happening::Fault);
        let backend = self.draws.below(self.backends.len());
        let span = Duration::from_millis(100 + self.draws.below(15_000) as u64);
        match self.draws.below(26) {
            0..3 => {
                self.kill(backend);
                self.after(span, Happening::Starts(backend));
            }
            3..6 if self.backends[backend].process.is_some() => {
                self.note(|| format!("   backend {backend} freezes"));
                self.backends[backend].is_frozen = true;
                self.after(span, Happening::Thaws(backend));
            }
            6..12 => self.cut_some_link(),
            12..15 => {
                let until = self.now() + span.min(Duration::from_secs(3));
                let edge = self.some_edge();
                self.note(|| format!("   the pins of edge {edge} are away until {until:?}"));
                self.edges[edge].store.go_away(until);
            }
            15..17 => {
                let mut site = self.draws.below(self.sites.len());
                // What a process has given up and may be asked for is worth a restart.
                if self.some_remnant(self.edge_at(site)).is_none() {
                    site = self.draws.below(self.sites.len());
                }
                if self.edges[self.edge_at(site)].is_up() {
                    self.crash_site(site);
                    self.after(span / 2, Happening::EdgeStarts(site));
                }
            }
            17..21 => self.some_decision(backend, span),
            21..23 => {
                let edge = self.some_edge();
                self.reload(edge);
            }
            23..25 => {
                let site = self.draws.below(self.sites.len());
                self.begin_takeover(site);
            }
            _ => {
                self.slowness = 1 + u32::try_from(self.draws.below(40)).expect("less than 40");
                self.after(span, Happening::NetworkHeals);
            }
        }
    }

    /// A process that decides.
    fn some_edge(&mut self) -> usize {
        let site = self.draws.below(self.sites.len());
        self.edge_at(site)
    }

    /// Cuts a link, mostly one that something is under way on.
    fn cut_some_link(&mut self) {
        let is_busy = |link: &LinkSim| link.up.len() + link.down.len() > 0;
        let any = self.draws.below(4) == 0;
        let links = self.links.iter().filter(|(_, link)| any || is_busy(link));
        let links: Vec<LinkId> = links.map(|(id, _)| *id).collect();
        if let Some(id) = links.get(self.draws.below(links.len())) {
            self.note(|| format!("   {id:?} is cut"));
            self.cut_link(*id);
        }
    }

    fn kill(&mut self, backend: usize) {
        self.note(|| format!("   backend {backend} is killed"));
        for id in self.backends[backend].kill() {
            self.cut_link(id);
        }
        for edge in 0..self.edges.len() {
            let probe = &self.edges[edge].probes[backend];
            if self.edges[edge].is_up() && probe.control.is_some() && !probe.is_running {
                let delay = self.delay();
                let prober = self.prober(edge, backend);
                self.probe_at(prober, delay);
            }
        }
    }

    /// Both ends of a link learn that it is cut. What was on its way to the backend is lost, and so is
    /// some of what was on its way to the edge.
    pub(super) fn cut_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some((number, far)) = link.far.take()
            && let Some(process) = &mut self.backends[link.backend].process
            && process.number == number
        {
            process.kms.close(far);
            process.conns.remove(&far);
        }
        match link.phase {
            LinkPhase::Dialling => self.dial_fails(id, LinkFailure::Unreachable),
            LinkPhase::Open => {
                let kept = self.draws.below(link.down.len() + 1);
                link.down.truncate(kept);
                self.push_down(id, Down::Cut);
            }
            LinkPhase::Closed => drop(self.links.remove(&id)),
        }
    }

    /// An edge is killed: its sockets and its memory are gone, all at once.
    pub(super) fn crash_edge(&mut self, edge: usize) {
        self.note(|| format!("   edge {edge} is killed"));
        self.tally.crashes += 1;
        self.edges[edge].crash();
        for backend in 0..self.backends.len() {
            let prober = self.prober(edge, backend);
            self.close_line(prober);
        }
        let site = self.edges[edge].site;
        for fact in self.pipelines.values_mut().filter(|fact| fact.site == site) {
            let relay = fact.holder.and_then(|relay| self.relays.get(&relay));
            let is_in_use = relay.is_some();
            // Until the edge is there again, and can lose it.
            fact.kept_until = match is_in_use && fact.is_told {
                true => Time::from_micros(u64::MAX),
                false => Time::ZERO,
            };
            fact.holder = None;
        }
        let is_its = |link: &LinkSim| link.edge == edge;
        let links = self.links.iter().filter(|(_, link)| is_its(link));
        let links: Vec<LinkId> = links.map(|(id, _)| *id).collect();
        for id in links {
            self.crash_link(id);
        }
        let relays = self.relays.iter().filter(|(_, relay)| relay.edge == edge);
        let relays: Vec<RelayNo> = relays.map(|(relay, _)| *relay).collect();
        for relay in relays {
            self.relays.remove(&relay);
        }
        for conn in self.dropped.take() {
            self.crash_conn(conn);
        }
    }

    /// What the edge had sent over a link may arrive, the first of it.
    fn crash_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match link.phase {
            LinkPhase::Dialling => drop(self.links.remove(&id)),
            LinkPhase::Open => {
                link.phase = LinkPhase::Closed;
                let kept = self.draws.below(link.up.len() + 1);
                link.up.truncate(kept);
                match link.far {
                    Some(_) => self.push_up(id, Up::Close),
                    None => drop(self.links.remove(&id)),
                }
            }
            LinkPhase::Closed => {}
        }
    }

    fn crash_conn(&mut self, conn: ConnNo) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let kept = self.draws.below(known.down.len() + 1);
        known.down.truncate(kept);
        self.cut_conn(conn);
    }

    /// An edge that was killed starts again, with what it left on disk.
    pub(super) fn start_edge(&mut self, site: usize) {
        let edge = self.edge_at(site);
        if self.edges[edge].is_up() {
            return;
        }
        self.note(|| format!("   edge {edge} starts again"));
        self.edges[edge].restart(&self.shape, &self.clock, &mut self.draws);
        let found = self.edges[edge].found.clone();
        self.note(|| format!("   it finds {found:?}"));
        let until = self.now() + self.shape.grace;
        for fact in self.pipelines.values_mut().filter(|fact| fact.site == site) {
            fact.kept_until = fact.kept_until.min(until);
        }
        self.begin_edge(edge);
    }
}
