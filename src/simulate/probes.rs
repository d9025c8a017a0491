//! How edges learn of their backends.

use std::time::Duration;

use futures_util::FutureExt;

use super::world::{Happening, Prober, World};
use crate::fleet::{Report, ServerFacts, pause_after};
use crate::model::{Incarnation, Time};
use crate::policy::health::{Deep, Health, ProbeFailure};

impl World {
    pub(super) fn report(&mut self, edge: usize, backend: usize, report: Report) {
        self.note(|| format!("   edge {edge} hears of backend {backend}: {report:?}"));
        let now = self.now();
        if !self.edges[edge].report(backend, report, now) {
            return;
        }
        self.tally.losses += 1;
        self.on_given_up(edge, backend);
        self.drop_lost_links(edge);
    }

    /// Has a probe start after `wait`, and no other before.
    pub(super) fn probe_at(&mut self, prober: Prober, wait: Duration) {
        let at = self.now() + wait;
        self.edges[prober.edge].probes[prober.backend].next = at;
        self.at(at, Happening::ProbeStarts(prober, at));
    }

    pub(super) fn heed_kicks(&mut self, edge: usize) {
        for backend in 0..self.backends.len() {
            let known = &self.edges[edge];
            let Some(number) = known.numbers[backend] else { continue };
            if known.probes[backend].is_running {
                continue;
            }
            if known.edge.fleet.kicked(number).now_or_never().is_some() {
                let soonest = known.probes[backend].ended + self.shape.probe.retry;
                let wait = soonest.since(self.now());
                let prober = self.prober(edge, backend);
                self.probe_at(prober, wait);
            }
        }
    }

    /// Whether that process of an edge still runs, and has that backend.
    pub(super) fn is_present(&self, prober: Prober) -> bool {
        let edge = &self.edges[prober.edge];
        let is_in_fleet = prober.number.is_some() && edge.numbers[prober.backend] == prober.number;
        edge.is_up() && edge.run == prober.run && is_in_fleet
    }

    pub(super) fn probe_starts(&mut self, prober: Prober, at: Time) {
        if !self.is_present(prober) {
            return;
        }
        let probe = &mut self.edges[prober.edge].probes[prober.backend];
        if probe.is_running || probe.next != at {
            return;
        }
        probe.is_running = true;
        let delay = self.delay();
        self.after(delay, Happening::ProbeArrives(prober));
    }

    pub(super) fn probe_arrives(&mut self, prober: Prober) {
        if !self.is_present(prober) {
            return;
        }
        let Prober { edge, backend, .. } = prober;
        let timeout = self.shape.probe.timeout;
        let probe = &mut self.edges[edge].probes[backend];
        let known = &self.backends[backend];
        let control = std::mem::take(&mut probe.control);
        let (report, wait) = match (&known.process, control) {
            (Some(_), _) if known.is_frozen => (Report::Failed(ProbeFailure::Timeout), timeout),
            (Some(process), None) => {
                let server_id = process.kms.server_id();
                let facts =
                    ServerFacts { server_id: server_id.into(), version: None, info: "{}".into() };
                probe.control = Some(process.number);
                let incarnation = Incarnation::of(server_id);
                let answered =
                    Report::Answered { incarnation, facts: Some(facts), took: Duration::ZERO };
                (answered, self.delay())
            }
            (Some(process), Some(number)) if process.number == number => {
                probe.control = Some(number);
                let incarnation = Incarnation::of(process.kms.server_id());
                (Report::Answered { incarnation, facts: None, took: Duration::ZERO }, self.delay())
            }
            (_, Some(_)) => (Report::Failed(ProbeFailure::Cut), self.delay()),
            (None, None) => (Report::Failed(ProbeFailure::Refused), self.delay()),
        };
        self.after(wait, Happening::ProbeEnds(prober, report));
    }

    pub(super) fn probe_ends(&mut self, prober: Prober, report: Report) {
        if !self.is_present(prober) {
            return;
        }
        let Prober { edge, backend, .. } = prober;
        let pause = pause_after(&report, &self.shape.probe, &mut self.draws);
        let now = self.now();
        let probe = &mut self.edges[edge].probes[backend];
        (probe.is_running, probe.ended) = (false, now);
        let is_answered = matches!(report, Report::Answered { .. });
        self.report(edge, backend, report);
        if is_answered {
            self.probe_deeply(edge, backend);
        }
        self.probe_at(prober, pause);
    }

    /// A deep probe of a backend that has answered a ping: now and then, and always on trial. While
    /// faults are made, some fail for what a ping does not show.
    fn probe_deeply(&mut self, edge: usize, backend: usize) {
        let Some(view) = self.edges[edge].edge.backend(&self.backends[backend].id) else { return };
        let Some(process) = view.incarnation else { return };
        if view.health != Health::Trial && self.draws.below(4) > 0 {
            return;
        }
        let took = Duration::from_micros(self.draws.below(20_000) as u64);
        let deep = match self.draws.below(12) {
            0 if !self.is_leaving => Deep::Refused,
            1 if !self.is_leaving => Deep::Failed,
            _ => Deep::Passed(took),
        };
        self.report(edge, backend, Report::Deep(process, deep));
    }
}
