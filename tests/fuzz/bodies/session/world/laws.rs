//! What the session says is done, and checked.

use std::collections::{BTreeMap, VecDeque};

use pinfold::model::{BackendId, PipelineId, SessionId};
use pinfold::policy::pacing::Ask;
use pinfold::session::{Bounds, LinkNo, Output, Ticket};
use serde_json::Value;

use super::{Frame, Sent, State, Wire, World};

impl World {
    /// All that waited has come to its end.
    pub(in super::super) fn check_settled(&self) {
        let unanswered: Vec<_> = self.asked.iter().filter(|(_, count)| **count > 0).collect();
        assert!(unanswered.is_empty(), "never answered: {unanswered:?}");
        assert!(!self.session.is_waiting());
        let sizes = self.session.sizes();
        assert_eq!((sizes.held_bytes, sizes.paced_bytes), (0, 0));
        assert!(self.claims.is_empty(), "neither used nor given back: {:?}", self.claims);
        assert!(self.turns.is_empty(), "still waited for: {:?}", self.turns);
    }

    /// Does what the session says. `at_hand` is the message just handed in, and whether the client
    /// sent it.
    pub(super) fn act(&mut self, output: &Output, at_hand: Option<(&str, bool)>) {
        match (output, at_hand) {
            (Output::Relay(link), Some((text, true))) => self.send(*link, text),
            (Output::ToBackend(link, text) | Output::Again(link, text), _) => {
                self.send(*link, text);
            }
            (Output::Pace(ticket, backend, ask), _) => self.asks_for_turn(*ticket, backend, *ask),
            (Output::Unpace(ticket), _) => self.gives_up_turn(*ticket),
            (Output::SendBlocking(link, _, ticket, text), at_hand) => {
                let at_hand = at_hand.filter(|(_, is_client_s)| *is_client_s).map(|(text, _)| text);
                let text = text.as_deref().or(at_hand).expect("nothing is at hand");
                assert!(self.blocking.insert(*ticket), "{ticket:?} is used twice");
                self.send(*link, text);
            }
            (Output::Unblocked(ticket, is_answered), _) => self.unblocked(*ticket, *is_answered),
            (Output::RelayToClient, Some((text, false))) => self.relayed(text),
            (Output::Relay(_) | Output::RelayToClient, _) => panic!("nothing is at hand"),
            (Output::Answer(_, text), _) => {
                let answer: Value = serde_json::from_str(text).expect("answers are JSON");
                self.answered(&answer["id"].to_string());
            }
            (Output::Refuse(id, failure), _) => {
                let text = failure.to_text(id);
                serde_json::from_str::<Value>(&text).expect("errors are JSON");
                self.answered(&canonical(id));
            }
            (Output::Manager(id, _), _) => self.answered(&canonical(id)),
            (Output::Listen(answer), _) => {
                let answer: Value = serde_json::from_str(answer).expect("answers are JSON");
                self.answered(&answer["id"].to_string());
            }
            (Output::Place(ticket, wish), _) => {
                assert!(self.tickets_seen.insert(*ticket), "{ticket:?} is used twice");
                self.places.insert(*ticket, wish.clone());
            }
            (Output::Locate(pipeline), _) => {
                assert!(!self.locates.contains(pipeline), "asked for twice");
                self.locates.push(*pipeline);
            }
            (Output::Resume(id), _) => self.wishes(*id),
            (Output::OpenLink(link, backend), _) => self.opening(*link, backend),
            (Output::Created(ticket, pipeline), _) => {
                self.unclaimed(*ticket);
                *self.holds.entry(*pipeline).or_default() += 1;
            }
            (Output::NotCreated(ticket), _) => self.unclaimed(*ticket),
            (Output::Released(pipeline), _) => drop(self.holds.remove(pipeline)),
            (Output::Unheld(pipeline), _) => self.unheld(*pipeline),
            (
                Output::Prune | Output::StopListening | Output::Event(_) | Output::EventsLost(_),
                _,
            ) => {}
            (Output::Tried(..) | Output::MediaChanged(..), at_hand)
            | (Output::Stray | Output::Late, at_hand) => {
                assert!(matches!(at_hand, Some((_, false))));
            }
            (Output::TimedOut(_, count), _) => assert!(*count > 0),
            (Output::Bereft, _) => assert!(self.holds.is_empty() && self.claims.is_empty()),
        }
    }

    fn gives_up_turn(&mut self, ticket: Ticket) {
        assert!(self.turns.remove(&ticket).is_some(), "{ticket:?} is not waited for");
    }

    fn unclaimed(&mut self, ticket: Ticket) {
        assert!(self.claims.remove(&ticket), "{ticket:?} is not held");
    }

    /// A call that blocks has ended. One that was never sent can be given up too.
    fn unblocked(&mut self, ticket: Ticket, is_answered: bool) {
        let was_sent = self.blocking.remove(&ticket);
        assert!(was_sent || !is_answered, "{ticket:?} is not under way");
    }

    fn wishes(&mut self, id: SessionId) {
        assert!(self.holds.is_empty() && self.claims.is_empty(), "it holds something");
        assert_eq!(self.wish.replace(id), None, "asked for twice");
    }

    fn asks_for_turn(&mut self, ticket: Ticket, backend: &BackendId, ask: Ask) {
        assert!(self.tickets_seen.insert(ticket), "{ticket:?} is used twice");
        assert!(ask.cost > 0 && ask.since <= self.now, "{ask:?}");
        let is_another = self.turns.values().all(|other| other != backend);
        assert!(is_another, "two turns are waited for at {backend}");
        self.turns.insert(ticket, backend.clone());
    }

    fn opening(&mut self, link: LinkNo, backend: &BackendId) {
        let wire = self.wires.entry(link).or_insert_with(|| Wire {
            backend: backend.clone(),
            state: State::Closed,
            is_tied: false,
            calls: VecDeque::new(),
            last_answer: None,
            last_known: 0,
            last_of: BTreeMap::new(),
        });
        assert!(wire.state == State::Closed, "{link:?} is opened twice");
        assert_eq!(wire.backend, *backend, "{link:?} is another backend's");
        wire.state = State::Opening;
        let to_it = self.links_that(|wire| wire.backend == *backend);
        assert_eq!(to_it, [link], "a backend has one link");
    }

    fn unheld(&mut self, pipeline: PipelineId) {
        let count = self.holds.get_mut(&pipeline).expect("given back what was not in use");
        *count -= 1;
        if *count == 0 {
            self.holds.remove(&pipeline);
        }
    }

    /// A message of a backend reaches the client.
    fn relayed(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).expect("made by a backend here");
        if message.get("method").is_none() {
            self.answered(&message["id"].to_string());
        }
    }

    fn answered(&mut self, id: &str) {
        let count = self.asked.get_mut(id).unwrap_or_else(|| panic!("nobody asked {id}"));
        *count = count.checked_sub(1).unwrap_or_else(|| panic!("{id} is answered twice"));
    }

    /// A message reaches a backend.
    fn send(&mut self, link: LinkNo, text: &str) {
        let message: Value = serde_json::from_str(text).expect("only JSON reaches a backend");
        let session = self.session_id();
        let wire = self.wires.get_mut(&link).expect("a link that was opened");
        assert!(wire.state == State::Open, "{link:?} is not open");
        let names_session = message["params"]["sessionId"] == session;
        assert!(wire.is_tied || names_session, "the session is missing: {text}");
        if let Some(number) = message["params"]["number"].as_u64() {
            let sent = &self.sent[&number];
            let named = format!("\"sessionId\":\"{session}\"");
            let is_same = text == sent.text
                || text.replacen(&format!("{named},"), "", 1) == sent.text
                || text.replacen(&named, "", 1) == sent.text;
            assert!(is_same, "{text} is not {}", sent.text);
            wire.check_order(number, sent);
        }
        let [id, method, params] = ["id", "method", "params"].map(|key| message[key].clone());
        let method = method.as_str().expect("a method").to_owned();
        wire.calls.push_back(Frame { id, method, params });
    }

    pub(super) fn check_bounds(&self) {
        let Bounds { calls_max, pipelines_max, .. } = self.bounds;
        let sizes = self.session.sizes();
        assert!(sizes.are_within(&self.bounds), "{sizes:?}");
        let is_waiting = self.session.is_waiting();
        let waiting_bytes = sizes.held_bytes + sizes.paced_bytes;
        assert!(waiting_bytes == 0 || is_waiting, "{sizes:?}, and nothing waits");
        for wire in self.wires.values() {
            let is_own = |frame: &&Frame| frame.id.to_string().starts_with("\"pinfold-");
            let count = wire.calls.len() - wire.calls.iter().filter(is_own).count();
            assert!(count <= calls_max, "{count} calls on a link");
        }
        let known: Vec<_> = self.session.pipelines().map(|pipeline| (pipeline, 1)).collect();
        let held: Vec<_> = self.holds.iter().map(|(pipeline, count)| (*pipeline, *count)).collect();
        assert_eq!(known, held, "known, and said to be in use");
        assert!(known.len() <= pipelines_max, "{} pipelines", known.len());
    }
}

impl Wire {
    /// Requests that wait for no place keep their order, and so do those about one pipeline.
    fn check_order(&mut self, number: u64, sent: &Sent) {
        if sent.was_known {
            assert!(number > self.last_known, "{number} is overtaken by {}", self.last_known);
            self.last_known = number;
        }
        if let Some(pipeline) = sent.pipeline {
            let last = self.last_of.insert(pipeline, number).unwrap_or_default();
            assert!(number > last, "{number} is overtaken by {last}");
        }
    }
}

/// An id in one spelling for equal ids.
pub(super) fn canonical(id: &str) -> String {
    serde_json::from_str::<Value>(id).expect("ids are JSON").to_string()
}
