//! What happens, and what follows from it.

use std::task::{Context, Waker};
use std::time::Duration;

use super::check;
use super::network::RelayNo;
use super::world::{Happening, RelayPhase, World};
use crate::session::LinkFailure;

impl World {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ClientActs(client) => self.client_acts(client),
            Happening::Fault => self.fault(),
            Happening::EdgeReads(conn) => self.edge_reads(conn),
            Happening::ClientReads(conn) => self.client_reads(conn),
            Happening::PhaseEnds(relay, phase) => self.phase_ends(relay, phase),
            Happening::Deadline(relay) => self.deadline(relay),
            Happening::DialArrives(link) => self.dial_arrives(link),
            Happening::DialTimesOut(link) => self.dial_fails(link, LinkFailure::Unreachable),
            Happening::BackendReads(link) => self.backend_reads(link),
            Happening::EdgeReadsLink(link) => self.edge_reads_link(link),
            Happening::KmsTick(backend, process) => self.kms_ticks(backend, process),
            Happening::ProbeStarts(prober, at) => self.probe_starts(prober, at),
            Happening::ProbeArrives(prober) => self.probe_arrives(prober),
            Happening::ProbeEnds(prober, report) => self.probe_ends(prober, report),
            Happening::LineArrives(prober, question) => self.line_arrives(prober, question),
            Happening::LineAnswers(prober, question, text) => {
                self.line_answers(prober, question, &text);
            }
            Happening::LineTimesOut(prober, question) => self.line_fails(prober, question),
            Happening::LineIsIdle(prober, question) => self.line_is_idle(prober, question),
            Happening::Sweep(edge, run) => self.sweep(edge, run),
            Happening::SourceSpeaks(edge, run) => self.source_speaks(edge, run),
            Happening::Starts(backend) => self.start_backend(backend),
            Happening::Thaws(backend) => self.thaw(backend),
            Happening::Decides(site, backend, decision) => self.decide(site, backend, decision),
            Happening::NewsDue(relay) => self.news_due(relay),
            Happening::EdgeStarts(site) => self.start_edge(site),
            Happening::TakeoverFails(site, next) => self.takeover_fails(site, next),
            Happening::CheckPassedOn(edge, known) => self.check_passed_on(edge, &known),
            Happening::Closes(relay) => self.closes(relay),
            Happening::NetworkHeals => {
                self.slowness = 1;
                self.slow_until = self.now();
            }
        }
    }

    fn sweep(&mut self, edge: usize, run: u32) {
        if self.edges[edge].run != run || !self.edges[edge].is_up() {
            return;
        }
        let now = self.now();
        self.edges[edge].sweep(now);
        self.heed_sources(edge);
        let turnover = self.edges[edge].owner.settle(now);
        self.turn_over(edge, turnover);
        if self.decides(edge) {
            self.check_let_go(edge);
            check::no_pin_on_the_lost(self, edge);
            check::no_meeting_without_pin(self, edge);
        }
        self.after(Duration::from_secs(1), Happening::Sweep(edge, run));
    }

    /// Lets everything go on that can go on now.
    pub(super) fn settle(&mut self) {
        loop {
            let mut is_busy = false;
            for edge in 0..self.edges.len() {
                is_busy |= self.edges[edge].is_up() && self.settle_edge(edge);
            }
            for site in 0..self.sites.len() {
                is_busy |= self.heed_takeover(site);
            }
            let relays: Vec<RelayNo> = self.relays.keys().copied().collect();
            for relay in relays {
                is_busy |= self.settle_relay(relay);
            }
            for conn in self.dropped.take() {
                self.cut_conn(conn);
                is_busy = true;
            }
            if !is_busy {
                return;
            }
        }
    }

    fn settle_edge(&mut self, edge: usize) -> bool {
        let mut is_busy = false;
        while let Ok((number, report)) = self.edges[edge].reports.try_recv() {
            let is_it = |known: &Option<usize>| *known == Some(number);
            if let Some(backend) = self.edges[edge].numbers.iter().position(is_it) {
                self.report(edge, backend, report);
            }
            is_busy = true;
        }
        let now = self.now();
        is_busy |= self.edges[edge].tasks.poll();
        is_busy |= self.obey(edge);
        is_busy |= self.edges[edge].poll_jobs(now);
        is_busy |= self.end_replaced(edge);
        self.heed_moves(edge);
        self.heed_kicks(edge);
        for backend in 0..self.backends.len() {
            self.heed_question(self.prober(edge, backend));
        }
        is_busy
    }

    /// A turn of a relay, but for what comes from its sockets.
    fn settle_relay(&mut self, relay: RelayNo) -> bool {
        let mut is_busy = self.poll_seat(relay);
        let mut context = Context::from_waker(Waker::noop());
        let Some(known) = self.relays.get_mut(&relay) else { return is_busy };
        if known.phase == RelayPhase::Swapping {
            return is_busy;
        }
        if known.driver.is_keeping() {
            is_busy |= self.settles(relay);
        }
        let Some(known) = self.relays.get_mut(&relay) else { return is_busy };
        let edge = known.edge;
        let has_news = known.driver.poll_places(&mut context);
        self.check_choices(edge);
        let Some(known) = self.relays.get_mut(&relay) else { return is_busy };
        if has_news || known.driver.has_events() {
            self.drive(relay, None, |driver, out| {
                driver.run_events(out);
            });
            is_busy = true;
        }
        is_busy || self.check_leaving(relay)
    }
}
