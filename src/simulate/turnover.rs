//! Backends that are drained, taken out of a fleet and put back while edges run.

use std::time::Duration;

use super::Bug;
use super::asking::LineSim;
use super::edge::backend;
use super::network::{LinkId, RelayNo};
use super::world::{Happening, LinkPhase, LinkSim, PipelineFact, World};
use crate::fleet::{AfterDrain, Stay, Turnover};
use crate::model::{MeetingName, Time};
use crate::proxy::LinkEvent;
use crate::session::{LinkFailure, LinkNo};

/// What the operator of an edge decides about a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It gets no new meetings, and may be removed when it has none.
    Drain(AfterDrain),
    /// It gets meetings again.
    Undrain,
    /// The config names it no longer.
    Drop,
    /// The config names all backends.
    NameAll,
}

impl World {
    /// Some operator decides something, and the contrary after `span`.
    pub(super) fn some_decision(&mut self, backend: usize, span: Duration) {
        let edge = self.draws.below(self.edges.len());
        let (decision, contrary) = match self.draws.below(3) {
            0 => (Decision::Drain(AfterDrain::Stay), Decision::Undrain),
            1 => (Decision::Drain(AfterDrain::Remove), Decision::Undrain),
            _ => (Decision::Drop, Decision::NameAll),
        };
        self.decide(edge, backend, decision);
        self.after(span, Happening::Decides(edge, backend, contrary));
    }

    pub(super) fn decide(&mut self, edge: usize, number: usize, decision: Decision) {
        if !self.edges[edge].is_up() {
            return;
        }
        self.note(|| format!("   the operator of edge {edge} decides: {decision:?} {number}"));
        self.tally.decisions += 1;
        let now = self.now();
        let id = self.shape.backends[number].clone();
        if self.bug == Some(Bug::DeafToDrain) {
            self.edges[edge].store.note_closed(&id, matches!(decision, Decision::Drain(_)));
            return;
        }
        let all = self.shape.backends.iter().map(backend);
        let turnover = match decision {
            Decision::Drain(then) => {
                self.edges[edge].owner.drain(&id, (None, then), now).unwrap_or_default()
            }
            Decision::Undrain => self.edges[edge].owner.undrain(&id, now).unwrap_or_default(),
            Decision::Drop => {
                let rest = all.filter(|one| one.id != id).collect();
                self.edges[edge].owner.want(rest, now)
            }
            Decision::NameAll => {
                let all = all.collect();
                self.edges[edge].owner.want(all, now)
            }
        };
        self.turn_over(edge, turnover);
        for view in &self.edges[edge].edge.fleet.snapshot().backends {
            self.edges[edge].store.note_closed(&view.id, view.stay != Stay::Open);
        }
    }

    /// Looks after who has come, and no longer after who has gone.
    pub(super) fn turn_over(&mut self, edge: usize, turnover: Turnover) {
        if turnover.change.is_news() {
            self.note(|| format!("   the fleet of edge {edge}: {:?}", turnover.change));
        }
        for gone in turnover.gone {
            let at = self.edges[edge].numbers.iter().position(|number| *number == Some(gone));
            let Some(backend) = at else { continue };
            self.tally.removed += 1;
            let prober = self.prober(edge, backend);
            self.close_line(prober);
            self.edges[edge].numbers[backend] = None;
            self.edges[edge].probes[backend] = Default::default();
            // Whatever it knew of before a crash is not found again.
            let is_there = |f: &&mut PipelineFact| (f.edge, f.backend) == (edge, backend);
            self.pipelines.values_mut().filter(is_there).for_each(|f| f.kept_until = Time::ZERO);
        }
        for (loss, losses) in turnover.losses {
            let at = self.shape.backends.iter().position(|id| *id == loss.backend);
            let Some(backend) = at else { continue };
            let now = self.now();
            self.edges[edge].on_removed(backend, loss, losses, now);
        }
        for recruit in turnover.recruits {
            let at = self.shape.backends.iter().position(|id| *id == recruit.settings.id);
            let Some(backend) = at else { continue };
            self.edges[edge].numbers[backend] = Some(recruit.number);
            self.edges[edge].returned.insert(backend);
            self.edges[edge].store.note_closed(&recruit.settings.id, false);
            self.edges[edge].lines[backend] = LineSim::new(recruit.asked);
            let prober = self.prober(edge, backend);
            self.probe_at(prober, Duration::ZERO);
        }
        self.drop_lost_links(edge);
    }

    /// Closes the links to what was given up.
    pub(super) fn drop_lost_links(&mut self, edge: usize) {
        let is_lost = |link: &LinkSim| {
            link.edge == edge && link.phase != LinkPhase::Closed && link.view.lost.is_cancelled()
        };
        let links = self.links.iter().filter(|(_, link)| is_lost(link));
        let lost: Vec<(LinkId, RelayNo, LinkNo)> =
            links.map(|(id, link)| (*id, link.relay, link.number)).collect();
        for (id, relay, number) in lost {
            self.close_link(id);
            self.tell_link(relay, number, LinkEvent::Failed(LinkFailure::Lost));
        }
    }

    /// A meeting was pinned to a backend that gets no new ones, because it is drained or in trouble: it must have been there before.
    pub(super) fn check_drained_pins(&mut self) {
        for edge in 0..self.edges.len() {
            for (meeting, backend) in self.edges[edge].store.take_drained() {
                let name = |fact: &PipelineFact| {
                    fact.meeting
                        .as_deref()
                        .map(|name| MeetingName::parse(name).expect("a good name"))
                };
                let was_there = self.pipelines.values().any(|fact| {
                    self.shape.backends[fact.backend] == backend
                        && name(fact).as_ref() == Some(&meeting)
                });
                if !was_there {
                    let what =
                        format!("{meeting} is pinned to {backend}, which gets no new meetings");
                    self.complain(|| what);
                }
            }
        }
    }
}
