//! Clients that come back, and what becomes of the session they name.

use std::time::Duration;

use serde_json::Value;

use super::act::invoke;
use super::client::{Answered, What};
use super::network::ConnNo;
use super::world::World;
use crate::runtime::Timer;

/// The error code of a session that nobody knows.
const INVALID_SESSION: i64 = 40007;

/// How long a client waits when the edge it wants is not there.
const NO_EDGE_PAUSE: Duration = Duration::from_millis(300);

impl World {
    /// A client comes back for its session: mostly to the edge it was at.
    pub(super) fn come_back(&mut self, client: usize) {
        let known = &mut self.clients[client];
        // One that it has closed is not worth coming back for.
        let session = known.ledger.session.clone().filter(|_| known.ledger.closed_after == 0);
        let Some(session) = session else { return known.start_over() };
        let edge = match known.draws.below(3) {
            0 => known.draws.below(self.edges.len()),
            _ => known.edge,
        };
        if !self.edges[edge].is_up() {
            known.back_at = Some(self.clock.now() + NO_EDGE_PAUSE);
            known.edge = known.draws.below(self.edges.len());
            return;
        }
        let conn = self.open(client, edge);
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
    pub(super) fn on_resume_answered(
        &mut self,
        client: usize,
        answer: &Value,
        answered: Answered,
    ) {
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
}
