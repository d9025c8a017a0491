//! Bad news, and that everybody is told in time whom it concerns. As `proxy::news` and the relay have it.

use std::time::Duration;

use serde_json::Value;

use super::Bug;
use super::network::{ConnNo, LinkId, RelayNo};
use super::relays::DRAIN_MAX;
use super::world::{Happening, RelayPhase, World};
use crate::model::{PipelineId, Time};
use crate::proxy::{Driver, LinkEvent};
use crate::session::{LinkFailure, LinkNo};

/// How long what a client is told may take until it is done: the way to it, slow as that may be.
const TELLING_MAX: Duration = Duration::from_secs(5);

/// What a relay has not told its client yet.
#[derive(Debug, Default)]
pub(super) struct NewsSim {
    lost: Vec<LinkNo>,
    has_moves: bool,
    due: Option<Time>,
}

/// Something that is to happen because of a loss, and when at the latest.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    due: Time,
    what: Debt,
}

#[derive(Clone, Debug)]
enum Debt {
    /// A session is to know no longer of a pipeline.
    Forget(RelayNo, PipelineId),
    /// A client is to be answered.
    Answer(usize, String),
}

impl World {
    /// A relay's link is lost: its client is told some time later, if it is there to be told.
    pub(super) fn hear_of_loss(&mut self, id: LinkId, (relay, number): (RelayNo, LinkNo)) {
        self.owe(id, relay);
        let was_open = self.links.contains_key(&id);
        let is_untold = self.bug == Some(Bug::UntoldLoss) && relay.0.is_multiple_of(3) && was_open;
        let Some(known) = self.relays.get_mut(&relay).filter(|_| !is_untold) else { return };
        if known.visit.is_none() || known.driver.session().is_placing() {
            return self.tell_link(relay, number, LinkEvent::Failed(LinkFailure::Lost));
        }
        known.news.lost.push(number);
        self.tell_later(relay);
    }

    /// A meeting of an edge was let go. Only those hear of it whose connections may be closed for it.
    pub(super) fn hear_of_moves(&mut self, edge: usize) {
        let hears: Vec<RelayNo> = self
            .relays
            .iter()
            .filter(|(_, known)| known.edge == edge && known.driver.session().closes_on_loss())
            .map(|(relay, _)| *relay)
            .collect();
        for relay in hears {
            let Some(known) = self.relays.get_mut(&relay) else { continue };
            known.news.has_moves = true;
            self.tell_later(relay);
        }
    }

    fn tell_later(&mut self, relay: RelayNo) {
        let now = self.now();
        let Some(known) = self.relays.get_mut(&relay) else { return };
        if known.news.due.is_none() {
            let due = now + known.terms.loss_delay();
            known.news.due = Some(due);
            self.at(due, Happening::NewsDue(relay));
        }
    }

    pub(super) fn news_due(&mut self, relay: RelayNo) {
        let now = self.now();
        if self.relays.get(&relay).is_some_and(|known| known.news.due.is_some_and(|at| at <= now)) {
            self.tell_news(relay);
        }
    }

    /// A client is about to be heard: it is told first.
    pub(super) fn tell_before_hearing(&mut self, relay: RelayNo) {
        if self.relays.get(&relay).is_some_and(|known| known.news.due.is_some()) {
            self.tell_news(relay);
            self.drive(relay, None, |driver, out| {
                driver.run_events(out);
            });
        }
    }

    fn tell_news(&mut self, relay: RelayNo) {
        let Some(known) = self.relays.get_mut(&relay) else { return };
        let NewsSim { lost, has_moves, due: _ } = std::mem::take(&mut known.news);
        for link in lost {
            self.tell_link(relay, link, LinkEvent::Failed(LinkFailure::Lost));
        }
        if has_moves {
            self.drive(relay, None, Driver::on_moves);
        }
    }

    /// A client that has lost everything is closed, if that is how it is told.
    pub(super) fn check_bereft(&mut self, relay: RelayNo) {
        let Some(known) = self.relays.get_mut(&relay) else { return };
        let Some(visit) = &known.visit else { return };
        if known.phase != RelayPhase::Serving || !known.driver.take_bereft() {
            return;
        }
        let conn = visit.connection.conn;
        self.tally.bereft += 1;
        self.note(|| format!("   {conn:?} has lost everything and is closed"));
        if let Some(known) = self.conns.get_mut(&conn) {
            known.is_cut = true; // nothing more is read from it
        }
        self.begin_phase(relay, RelayPhase::Draining { took_leave: true }, DRAIN_MAX);
        self.drive(relay, None, |_, _| {});
    }

    /// Notes what must follow for a client from the loss of its link.
    fn owe(&mut self, id: LinkId, relay: RelayNo) {
        let now = self.now();
        let Some((known, link)) = self.relays.get(&relay).zip(self.links.get(&id)) else { return };
        let (due, client) = (now + known.terms.loss_spread + TELLING_MAX, known.client);
        let was_there = |pipeline: &PipelineId| {
            let fact = self.pipelines.get(&pipeline.to_string());
            let process = link.far.map(|(process, _)| process);
            fact.is_some_and(|fact| (fact.backend, fact.process) == (link.backend, process))
        };
        let lost = known.driver.session().pipelines().filter(was_there);
        let forget = lost.map(|pipeline| Debt::Forget(relay, pipeline));
        let known = &self.clients[client];
        // A new pipeline may still be made elsewhere.
        let asked = known.unanswered().filter(|(_, asked)| {
            asked.link == Some(id) && asked.what.pipeline().is_some() && !asked.is_refused
        });
        let answer = asked.map(|(id, _)| Debt::Answer(client, id.clone()));
        self.owed.extend(forget.chain(answer).map(|what| Owed { due, what }));
    }

    /// Nobody is left waiting for what has gone.
    pub(super) fn check_owed(&mut self) {
        let now = self.now();
        let mut owed = std::mem::take(&mut self.owed);
        owed.retain(|one| !self.is_settled(&one.what));
        let late = owed.iter().find(|one| one.due < now).cloned();
        self.owed = owed;
        if let Some(Owed { what, .. }) = late {
            self.complain(|| format!("somebody is not told of a loss: {what:?}"));
        }
    }

    fn is_settled(&self, debt: &Debt) -> bool {
        match debt {
            Debt::Forget(relay, pipeline) => {
                let known = self.relays.get(relay);
                !known.is_some_and(|known| {
                    known.driver.session().pipelines().any(|held| held == *pipeline)
                })
            }
            Debt::Answer(client, id) => {
                let asked = &self.clients[*client].calls[id];
                asked.is_answered || asked.is_refused || asked.is_abandoned
            }
        }
    }

    /// An edge hears a call: one about what was let go cannot succeed any more.
    pub(super) fn note_gone(&mut self, conn: ConnNo, text: &str) {
        let Some(client) = self.conns.get(&conn).map(|known| known.client) else { return };
        let Ok(request) = serde_json::from_str::<Value>(text) else { return };
        let Some(id) = request.get("id").and_then(Value::as_str) else { return };
        let Some(asked) = self.clients[client].calls.get_mut(id) else { return };
        let fact = asked.what.pipeline().and_then(|pipeline| self.pipelines.get(pipeline));
        // A restarted server, too, says yes to whoever releases what it does not have.
        let releases = request.get("method").and_then(Value::as_str) == Some("release");
        asked.is_of_gone = fact.is_some_and(|fact| fact.is_let_go) && !releases;
    }
}
