//! Clients that come back, and what becomes of the session they name.

use std::time::Duration;

use serde_json::Value;

use super::act::invoke;
use super::client::{Answered, What};
use super::network::{ConnNo, RelayNo};
use super::world::{LinkPhase, World};
use crate::policy::health::Health;
use crate::runtime::Timer;

/// The error code of a session that nobody knows.
const INVALID_SESSION: i64 = 40007;

/// How long nothing must be wrong with a backend so that an edge must know what it has: longer than an
/// edge asks and waits.
const CALM: Duration = Duration::from_secs(8);

/// So few questions a second may be too few.
const QUESTIONS_FEW: u32 = 10;

/// How long a client waits when the edge it wants is not there.
const NO_EDGE_PAUSE: Duration = Duration::from_millis(300);

impl World {
    /// A client comes back for its session: mostly to the edge it was at.
    pub(super) fn come_back(&mut self, client: usize) {
        let known = &mut self.clients[client];
        // One that it has closed is not worth coming back for.
        let session = known.ledger.session.clone().filter(|_| known.ledger.closed_after == 0);
        let Some(session) = session else { return known.start_over() };
        let site = match known.draws.below(3) {
            0 => known.draws.below(self.sites.len()),
            _ => known.site,
        };
        if !self.edges[self.sites[site].edge].is_up() {
            known.back_at = Some(self.clock.now() + NO_EDGE_PAUSE);
            known.site = known.draws.below(self.sites.len());
            return;
        }
        let conn = self.open(client, site);
        let known = &mut self.clients[client];
        match known.draws.below(4) {
            // As the JavaScript client does, and as that for Java.
            0 => {
                let id = known.ask(conn, What::Other);
                self.send(conn, format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"ping"}}"#));
            }
            1 => {}
            _ => self.name_session(client, conn, &session),
        }
        self.ask_back(client, conn, &session);
    }

    /// Asks for the session by name.
    fn ask_back(&mut self, client: usize, conn: ConnNo, session: &str) {
        let call = format!(r#""method":"connect","params":{{"sessionId":"{session}"}}"#);
        self.call_in_session(client, conn, (What::Other, call));
    }

    /// Names the session in a call about something else.
    fn name_session(&mut self, client: usize, conn: ConnNo, session: &str) {
        let known = &mut self.clients[client];
        let (what, text) = match known.draws.below(4) {
            0 => (What::Other, r#""method":"keepAlive","params":{}"#.to_owned()),
            1 => (What::Other, invoke("manager_ServerManager", "getMetadata", "{}")),
            2 => self.create(client),
            _ => {
                let own = self.pipelines.values().filter(|fact| fact.client == client);
                let Some(fact) = own.max_by_key(|fact| fact.number) else { return };
                let pipeline = fact.id.to_string();
                let call = invoke(&pipeline, "getName", "{}");
                (What::About(pipeline), call)
            }
        };
        let named = format!(r#""params":{{"sessionId":"{session}","#);
        let text = text.replacen(r#""params":{"#, &named, 1).replace(",}", "}");
        self.call_in_session(client, conn, (what, text));
    }

    fn call_in_session(&mut self, client: usize, conn: ConnNo, (what, text): (What, String)) {
        let known = &mut self.clients[client];
        let id = known.ask(conn, what);
        known.ledger.resuming.push(id.clone());
        self.tally.calls += 1;
        self.send(conn, format!(r#"{{"jsonrpc":"2.0","id":"{id}",{text}}}"#));
    }

    /// A client that came back is told something.
    pub(super) fn on_resume_answered(&mut self, client: usize, answer: &Value, answered: Answered) {
        let known = &mut self.clients[client];
        let id = answer.get("id").and_then(Value::as_str);
        if id.is_none() || known.ledger.resuming.last().map(String::as_str) != id {
            return;
        }
        known.ledger.resuming.clear();
        let (conn, session) = (known.conn, known.ledger.session.clone());
        match (answered, conn, session) {
            (Answered::Success, ..) => self.tally.resumed += 1,
            (Answered::Error(INVALID_SESSION), ..) => {
                self.tally.forgotten += 1;
                known.start_over();
            }
            (Answered::Error(_), Some(conn), Some(session)) => {
                self.ask_back(client, conn, &session);
            }
            (Answered::Error(_), ..) => known.start_over(),
        }
    }

    /// A message goes to a client: if it tells that the session is there again, that has all its
    /// subscriptions; if it tells that nobody knows it, that is so.
    pub(super) fn check_resume(&mut self, relay: RelayNo, text: &str) {
        let Some(known) = self.relays.get(&relay) else { return };
        let client = &self.clients[known.client];
        if client.ledger.resuming.is_empty() {
            return;
        }
        let Ok(answer) = serde_json::from_str::<Value>(text) else { return };
        let id = answer.get("id").and_then(Value::as_str).map(str::to_owned);
        if !id.is_some_and(|id| client.ledger.resuming.contains(&id)) {
            return;
        }
        let Some(session) = client.ledger.session.clone() else { return };
        let code = answer.pointer("/error/code").and_then(Value::as_i64);
        let backends = 0..self.backends.len();
        let wrong = match (answer.get("error"), code) {
            (None, _) if client.ledger.has_roamed() || client.ledger.is_followed => None,
            (None, _) => backends.into_iter().find(|b| self.is_deaf(relay, *b, &session)),
            // It is at work, and has lost all that it had.
            (_, Some(INVALID_SESSION)) if known.driver.session().id().as_str() == session => None,
            (_, Some(INVALID_SESSION)) => {
                backends.into_iter().find(|b| self.is_denied(relay, *b, &session))
            }
            (Some(_), _) => None,
        };
        if let Some(backend) = wrong {
            self.complain(|| {
                format!(
                    "what backend {backend} has of a session that is resumed is left out: {text}"
                )
            });
        }
    }

    /// Whether `backend` has subscriptions of `session` and sends their events elsewhere than to
    /// `relay`, without a reason that nobody can help.
    fn is_deaf(&self, relay: RelayNo, backend: usize, session: &str) -> bool {
        let known = &self.backends[backend];
        let Some(process) = known.process.as_ref().filter(|_| self.answers(relay, backend)) else {
            return false;
        };
        let edge = &self.edges[self.relays[&relay].edge];
        if !process.kms.has_subscribed(session) || edge.returned.contains(&backend) {
            return false;
        }
        // What it has there counts as lost, though it answers again.
        if edge.has_ever_lost(backend, process.kms.server_id()) || edge.given_up.contains(&backend)
        {
            return false;
        }
        let tied = process.kms.conn_of(session).and_then(|conn| process.conns.get(&conn));
        if tied.and_then(|id| self.links.get(id)).is_some_and(|link| link.relay == relay) {
            return false;
        }
        // A link that was cut, or is opened again, is tied by itself.
        let of_relay = self.relays[&relay].links.iter().flatten();
        let mut links = of_relay.filter_map(|id| self.links.get(id));
        !links.any(|link| {
            let is_whole = link.phase == LinkPhase::Open && link.far.is_some();
            link.backend == backend && !is_whole
        })
    }

    /// Whether `backend` has `session` alive and could have told.
    fn is_denied(&self, relay: RelayNo, backend: usize, session: &str) -> bool {
        let process = self.backends[backend].process.as_ref();
        let edge = &self.edges[self.relays[&relay].edge];
        process.is_some_and(|process| process.kms.has_session(session))
            && !edge.returned.contains(&backend)
            && self.answers(relay, backend)
    }

    /// Whether `backend` has answered all that was asked for a while, and the edge of `relay` knows
    /// that it is there and may ask.
    fn answers(&self, relay: RelayNo, backend: usize) -> bool {
        let (now, edge) = (self.now(), &self.edges[self.relays[&relay].edge]);
        let known = &self.backends[backend];
        let is_calm = !known.is_frozen
            && now.since(known.thawed) > CALM
            && self.slowness == 1
            && now.since(self.slow_until) > CALM;
        let fleet = edge.edge.fleet.snapshot();
        let Some(view) = fleet.backend(&known.id) else { return false };
        let server = known.process.as_ref().map(|process| process.kms.server_id());
        is_calm
            && edge.up_since.is_some_and(|up| now.since(up) > CALM)
            && view.health == Health::Healthy
            && view.server_id.as_deref() == server
            && edge.lines[backend].has_answered(now, CALM)
            && self.shape.questions_per_second > QUESTIONS_FEW
    }
}
