//! What is known of the pipelines that backends have made.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use serde_json::Value;

use super::check;
use super::client::What;
use super::network::{LinkId, RelayNo};
use super::world::{PipelineFact, World};
use crate::model::{PipelineId, SessionId, Time};

impl World {
    /// Notes what a backend's answer tells of pipelines, as the edge reads it.
    pub(super) fn learn(&mut self, id: LinkId, text: &str) {
        let link = &self.links[&id];
        let Some(known) = self.relays.get(&link.relay) else { return };
        let Ok(answer) = serde_json::from_str::<Value>(text) else { return };
        let client = &self.clients[known.client];
        let call = answer.get("id").and_then(Value::as_str).and_then(|id| client.calls.get(id));
        let Some(call) = call else { return };
        let made = |path| answer.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let (meeting, made) = match &call.what {
            What::Create(meeting) => (meeting.clone(), made("/result/value")),
            What::CreateInTransaction(meeting) => {
                (meeting.clone(), made("/result/value/0/result/value"))
            }
            What::Element(pipeline) => {
                let element = made("/result/value");
                let pipeline = pipeline.clone();
                if let (Some(element), Some(fact)) = (element, self.pipelines.get_mut(&pipeline)) {
                    fact.elements.push(element);
                }
                return;
            }
            What::About(_) | What::Other => return,
        };
        let Some(object) = made else { return };
        let Some(pipeline) = PipelineId::parse(&object) else { return };
        self.tally.pipelines += 1;
        let fact = PipelineFact {
            number: self.tally.pipelines,
            id: pipeline,
            site: self.edges[link.edge].site,
            meeting,
            backend: link.backend,
            incarnation: link.view.incarnation,
            server: link.view.server_id.clone(),
            process: link.far.map(|(process, _)| process),
            client: known.client,
            life: call.life,
            session: *known.driver.session().id(),
            holder: Some(link.relay),
            kept_until: if self.decides(link.edge) {
                Time::ZERO
            } else {
                Time::from_micros(u64::MAX)
            },
            is_released: call.life == client.ledger.life
                && call.number <= client.ledger.closed_after,
            is_told: false,
            is_let_go: false,
            lost_by: BTreeSet::new(),
            elements: Vec::new(),
        };
        // Kurento repeats its answer to a call that is sent again.
        if let Entry::Vacant(new) = self.pipelines.entry(object) {
            new.insert(fact);
            self.is_learned = true;
        }
    }

    /// An edge has read that a pipeline was made, and has not taken it back at once: its meeting, which
    /// may have been let go meanwhile, has no other backend. If its answer is kept, it may still be taken
    /// back; then this is looked at when it is told.
    pub(super) fn check_learned(&mut self) {
        if std::mem::take(&mut self.is_learned)
            && let Some(fact) = self.pipelines.values().max_by_key(|fact| fact.number).cloned()
            && !fact.is_released
            && !self.is_keeping(&fact)
        {
            check::one_backend(self, &fact);
        }
    }

    fn is_keeping(&self, fact: &PipelineFact) -> bool {
        let relay = fact.holder.and_then(|relay| self.relays.get(&relay));
        relay.is_some_and(|relay| relay.driver.is_keeping())
    }

    /// An edge destroys a pipeline: its client never heard of it, or its meeting was let go.
    pub(super) fn on_destroyed(&mut self, text: &str) {
        if let Some((_, fact)) =
            self.pipelines.iter_mut().find(|(id, _)| text.contains(id.as_str()))
        {
            fact.is_released = true;
        }
    }

    /// An edge gives up a process of `backend`: it must remember for ever what it had there.
    pub(super) fn on_given_up(&mut self, edge: usize, backend: usize) {
        let keeper = &self.edges[edge].edge.placement.keeper;
        for fact in self.pipelines.values_mut().filter(|fact| fact.backend == backend) {
            if keeper.registry.knows(fact.id) || keeper.found.meeting_of(fact.id).is_some() {
                fact.lost_by.insert(edge);
            }
        }
    }

    /// `relay` has another session than `before`, perhaps: its pipelines are in use again, those that
    /// are still in their meetings as before.
    pub(super) fn on_followed(&mut self, relay: RelayNo, before: SessionId) {
        let Some(known) = self.relays.get(&relay) else { return };
        let session = *known.driver.session().id();
        if session == before {
            return;
        }
        let (registry, site) =
            (self.edges[known.edge].edge.registry(), self.edges[known.edge].site);
        let is_its = |fact: &&mut PipelineFact| (fact.site, fact.session) == (site, session);
        for fact in self.pipelines.values_mut().filter(is_its) {
            let meeting = registry.meeting_of(fact.id).map(|name| name.as_str().to_owned());
            if meeting.is_some() && meeting == fact.meeting {
                fact.holder = Some(relay);
            }
        }
    }
}
