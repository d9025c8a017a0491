//! Backends that are drained, taken out of a fleet and put back while edges run.

use std::time::Duration;

use super::Bug;
use super::asking::LineSim;
use super::network::{LinkId, RelayNo};
use super::store::Drained;
use super::world::{Happening, LinkPhase, LinkSim, PipelineFact, World};
use crate::fleet::{AfterDrain, Turnover};
use crate::model::{MeetingName, Time};
use crate::policy::choose::Outcome;
use crate::session::LinkNo;

/// What the operator of an edge decides about a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It gets no new meetings, may let those that are left go after a while, and may be removed when
    /// it has none.
    Drain(Option<Duration>, AfterDrain),
    /// It gets meetings again.
    Undrain,
    /// The config, or who else has an operator's word, names it no longer.
    Drop,
    /// It is named again.
    Name,
}

impl World {
    /// Some operator decides something, and the contrary after `span`.
    pub(super) fn some_decision(&mut self, backend: usize, span: Duration) {
        let site = self.draws.below(self.sites.len());
        let deadline = Duration::from_millis(self.draws.below(8_000) as u64);
        let deadline = (self.draws.below(3) > 0).then_some(deadline);
        let (decision, contrary) = match self.draws.below(3) {
            0 => (Decision::Drain(deadline, AfterDrain::Stay), Decision::Undrain),
            1 => (Decision::Drain(deadline, AfterDrain::Remove), Decision::Undrain),
            _ => (Decision::Drop, Decision::Name),
        };
        self.decide(site, backend, decision);
        self.after(span, Happening::Decides(site, backend, contrary));
    }

    pub(super) fn decide(&mut self, site: usize, number: usize, decision: Decision) {
        let edge = self.edge_at(site);
        if matches!(decision, Decision::Drop | Decision::Name) {
            self.edges[edge].sources.edit(&self.shape, number, decision == Decision::Name);
        }
        if !self.edges[edge].is_up() {
            return;
        }
        let Some(entered) = self.edges[edge].reign.gate.try_enter() else {
            return self.note(|| format!("   edge {edge} takes no orders"));
        };
        self.note(|| format!("   the operator of edge {edge} decides: {decision:?} {number}"));
        self.tally.decisions += 1;
        let id = self.shape.backends[number].clone();
        if self.bug == Some(Bug::DeafToDrain) {
            self.edges[edge].store.note_closed(&id, matches!(decision, Decision::Drain(..)));
            return;
        }
        let known = &self.edges[edge];
        let (orders, store) = (known.drains.orders.clone(), known.store.clone());
        let (fleet, clock) = (known.edge.fleet.clone(), self.clock.clone());
        match decision {
            Decision::Drain(deadline, then) => {
                self.edges[edge].tasks.spawn(async move {
                    let _entered = entered;
                    // It may be leaving by now.
                    let how = (deadline, then);
                    if orders.drain(&fleet, id.clone(), how, &clock).await.is_ok() {
                        store.note_closed(&id, true);
                    }
                });
            }
            Decision::Undrain => {
                self.edges[edge].tasks.spawn(async move {
                    let _entered = entered;
                    if orders.undrain(&fleet, id.clone()).await.is_ok() {
                        store.note_closed(&id, false);
                    }
                });
            }
            Decision::Drop => self.name(edge, number, false),
            Decision::Name => self.name(edge, number, true),
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
            self.edges[edge].lines[backend] = LineSim::nowhere();
            // Whatever it knew of before a crash is not found again.
            let site = self.edges[edge].site;
            let is_there = |f: &&mut PipelineFact| (f.site, f.backend) == (site, backend);
            if !self.decides(edge) {
                continue;
            }
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
            self.hear_of_loss(id, (relay, number));
        }
    }

    /// A meeting was pinned to a backend that gets no new ones, because it is drained or in trouble: it must have been there before.
    pub(super) fn check_drained_pins(&mut self) {
        for edge in 0..self.edges.len() {
            for Drained { meeting, backend, server } in self.edges[edge].store.take_drained() {
                let name = |fact: &PipelineFact| {
                    fact.meeting
                        .as_deref()
                        .map(|name| MeetingName::parse(name).expect("a good name"))
                };
                // One that came back for what it has there, and has it still as far as its edge knows.
                let was_there = self.pipelines.values().any(|fact| {
                    fact.server == server
                        && !fact.is_let_go
                        && self.shape.backends[fact.backend] == backend
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

    /// A backend was chosen just now that gets no new meetings, named or not.
    pub(super) fn check_choices(&mut self, edge: usize) {
        let known = &mut self.edges[edge];
        let log = &known.edge.placement.decisions;
        let newest = log.last(None, 1).first().map_or(known.decided, |kept| kept.id);
        let new = known.decided + 1..=newest;
        known.decided = newest;
        let chosen = new.filter_map(|id| match log.decision(id)?.choice.outcome {
            Outcome::Placed { chosen, .. } | Outcome::Overflowed(chosen) => Some(chosen),
            Outcome::Queued | Outcome::Refused(_) => None,
        });
        let fleet = known.edge.fleet.snapshot();
        let mut views = chosen.map(|index| fleet.backends[index].clone());
        let wrong = views.find(|view| !view.takes_pins() || known.store.is_closed(&view.id));
        if let Some(view) = wrong {
            self.complain(|| format!("{} is chosen, which gets no new meetings", view.id));
        }
    }
}
