//! What clients do, and what they make of the answers.

use std::time::Duration;

use serde_json::Value;

use super::client::{Answered, What};
use super::network::{ConnNo, FromClient, ToClient};
use super::world::{Happening, MEETINGS, PipelineFact, World};
use crate::model::{Draws, MeetingName};
use crate::protocol::request::Hints;
use crate::runtime::Timer;

/// Microseconds between two things a client does, at most.
const ACT_PAUSE_MAX_MICROS: usize = 700_000;

/// Milliseconds that a client stays away which comes back, at most.
const AWAY_MAX_MILLIS: usize = 30_000;

/// Milliseconds until an edge notices that a client is gone which did not tell, at most.
const HALF_DEAD_MAX_MILLIS: usize = 8_000;

/// What clients send that is no request.
const GARBAGE: [&str; 4] =
    ["{oops", "[{\"id\":1,\"method\":\"ping\"}]", "\"ping\"", r#"{"method":"ping","params":{}}"#];

impl World {
    pub(super) fn client_acts(&mut self, client: usize) {
        if self.is_leaving {
            return;
        }
        let pause = self.clients[client].draws.below(ACT_PAUSE_MAX_MICROS) as u64;
        self.after(Duration::from_micros(pause), Happening::ClientActs(client));
        let known = &mut self.clients[client];
        let does = known.draws.below(100);
        match (known.conn, known.back_at) {
            (None, Some(at)) if at <= self.clock.now() => self.come_back(client),
            (None, Some(_)) => {}
            (None, None) => self.connect(client),
            (Some(_), _) if does < 4 => self.vanish(client),
            (Some(_), _) if !known.ledger.resuming.is_empty() => {}
            (Some(conn), _) if does < 7 => self.hang_up(client, conn),
            (Some(conn), _) => {
                // Now and then several at once.
                let count = 1 + known.draws.below(8).saturating_sub(4);
                for _ in 0..count {
                    self.call(client, conn);
                }
            }
        }
    }

    fn connect(&mut self, client: usize) {
        let site = self.clients[client].draws.below(self.sites.len());
        if !self.edges[self.edge_at(site)].is_up() {
            return;
        }
        let known = &mut self.clients[client];
        known.start_over();
        known.ledger.url_meeting =
            (known.draws.below(4) == 0).then(|| meeting_of(&mut known.draws));
        self.open(client, site);
    }

    /// A client connects to an edge that is up.
    pub(super) fn open(&mut self, client: usize, site: usize) -> ConnNo {
        let edge = self.edge_at(site);
        let meeting = self.clients[client].ledger.url_meeting.clone();
        let url = Hints {
            meeting: meeting.as_deref().map(|name| MeetingName::parse(name).expect("a good name")),
            ..Hints::default()
        };
        let conn = self.open_conn(client, edge, url);
        self.note(|| format!("   client {client} is {conn:?} on edge {edge}, url {meeting:?}"));
        let known = &mut self.clients[client];
        (known.conn, known.site, known.back_at) = (Some(conn), site, None);
        known.ledger.edges.push(edge);
        known.ledger.is_followed = false;
        conn
    }

    /// A client takes leave, and has nothing of its session any more.
    pub(super) fn hang_up(&mut self, client: usize, conn: ConnNo) {
        self.clients[client].on_disconnected();
        let delay = self.delay();
        self.end(conn, delay, true);
    }

    /// A client loses its connection, and wants its session back, soon or later. Its edge may take a
    /// while to notice.
    fn vanish(&mut self, client: usize) {
        let known = &mut self.clients[client];
        let Some(conn) = known.conn else { return };
        known.on_disconnected();
        let is_half_dead = known.draws.below(3) == 0;
        let unnoticed = match is_half_dead {
            true => Duration::from_millis(known.draws.below(HALF_DEAD_MAX_MILLIS) as u64),
            false => Duration::ZERO,
        };
        self.note(|| format!("   client {client} loses {conn:?}, unnoticed for {unnoticed:?}"));
        let delay = self.delay() + unnoticed;
        self.end(conn, delay, false);
        self.plan_return(client);
    }

    /// A client decides when to come back.
    fn plan_return(&mut self, client: usize) {
        let known = &mut self.clients[client];
        let away = match known.draws.below(3) {
            0 => known.draws.below(AWAY_MAX_MILLIS),
            1 => known.draws.below(2_000),
            _ => 0,
        };
        known.back_at = Some(self.clock.now() + Duration::from_millis(away as u64));
    }

    fn end(&mut self, conn: ConnNo, delay: Duration, took_leave: bool) {
        let now = self.now();
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.is_open = false;
        if known.is_cut {
            return drop(self.conns.remove(&conn));
        }
        let at = known.up.push(now, delay, FromClient::End { took_leave });
        self.at(at, Happening::EdgeReads(conn));
    }

    /// One message of a client.
    fn call(&mut self, client: usize, conn: ConnNo) {
        let Some(edge) = self.conns.get(&conn).map(|conn| conn.edge) else { return };
        let what = self.clients[client].draws.below(100);
        let (what, text) = match what {
            0..8 => (What::Other, r#""method":"ping","params":{}"#.to_owned()),
            8..14 => (What::Other, r#""method":"connect","params":{}"#.to_owned()),
            14..17 => (What::Other, invoke("manager_ServerManager", "getInfo", "{}")),
            17..20 => (What::Other, invoke("manager_ServerManager", "getMetadata", "{}")),
            20..38 => self.create(client),
            38..42 => self.create_in_transaction(client),
            42..43 => {
                // With its session goes its use of all that it has made.
                let known = &mut self.clients[client];
                let (life, count) = (known.ledger.life, known.calls.len());
                let is_own = |fact: &&mut PipelineFact| (fact.client, fact.life) == (client, life);
                let own = self.pipelines.values_mut().filter(is_own);
                own.for_each(|fact| fact.is_released = true);
                self.clients[client].ledger.closed_after = count as u64;
                (What::Other, r#""method":"closeSession","params":{}"#.to_owned())
            }
            43..46 => {
                let garbage = GARBAGE[self.clients[client].draws.below(GARBAGE.len())];
                self.clients[client].ledger.nameless += 1;
                return self.send(conn, garbage.to_owned());
            }
            _ => match self.pick_pipeline(client, edge) {
                Some(pipeline) => self.about(client, &pipeline),
                None => return,
            },
        };
        let id = self.clients[client].ask(conn, what);
        self.tally.calls += 1;
        self.send(conn, format!(r#"{{"jsonrpc":"2.0","id":"{id}",{text}}}"#));
    }

    pub(super) fn send(&mut self, conn: ConnNo, text: String) {
        self.note(|| format!("   {conn:?} sends {text}"));
        let (now, delay) = (self.now(), self.delay());
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let at = known.up.push(now, delay, FromClient::Text(text));
        self.at(at, Happening::EdgeReads(conn));
    }

    pub(super) fn create(&mut self, client: usize) -> (What, String) {
        let known = &mut self.clients[client];
        let named = (known.draws.below(3) > 0).then(|| meeting_of(&mut known.draws));
        let properties = named
            .as_ref()
            .map(|name| format!(r#","properties":{{"meeting":"{name}"}}"#))
            .unwrap_or_default();
        let text = format!(
            r#""method":"create","params":{{"type":"MediaPipeline","constructorParams":{{}}{properties}}}"#
        );
        (What::Create(named.or_else(|| known.ledger.url_meeting.clone())), text)
    }

    fn create_in_transaction(&mut self, client: usize) -> (What, String) {
        let known = &mut self.clients[client];
        let name = meeting_of(&mut known.draws);
        let text = format!(
            r#""method":"transaction","params":{{"operations":[{{"id":0,"jsonrpc":"2.0","method":"create","params":{{"type":"MediaPipeline","constructorParams":{{}},"properties":{{"meeting":"{name}"}}}}}},{{"id":1,"jsonrpc":"2.0","method":"create","params":{{"type":"WebRtcEndpoint","constructorParams":{{"mediaPipeline":"newref:0"}}}}}}]}}"#
        );
        (What::CreateInTransaction(Some(name)), text)
    }

    /// Any pipeline of that edge, and of the client itself, dead ones too. Now and then any.
    fn pick_pipeline(&mut self, client: usize, edge: usize) -> Option<String> {
        let site = self.edges[edge].site;
        let is_any = self.clients[client].draws.below(16) == 0;
        if self.clients[client].draws.below(12) == 0
            && let Some(remnant) = self.some_remnant(edge)
        {
            return Some(remnant);
        }
        let may = |fact: &PipelineFact| is_any || fact.site == site || fact.client == client;
        let of_edge: Vec<&String> =
            self.pipelines.iter().filter(|(_, fact)| may(fact)).map(|(id, _)| id).collect();
        // Mostly the young ones, which are likely to live.
        let draws = &mut self.clients[client].draws;
        let window = if draws.below(5) > 0 { of_edge.len().min(4) } else { of_edge.len() };
        let picked = of_edge.len().checked_sub(1)?.checked_sub(draws.below(window))?;
        let mut by_age: Vec<&String> = of_edge;
        by_age.sort_by_key(|id| self.pipelines[*id].number);
        by_age.get(picked).map(|id| (*id).clone())
    }

    /// The youngest pipeline that `edge` has given up, and that lives all the same.
    pub(super) fn some_remnant(&self, edge: usize) -> Option<String> {
        let is_one = |fact: &&PipelineFact| {
            let process = self.backends[fact.backend].process.as_ref();
            fact.lost_by.contains(&edge)
                && process.is_some_and(|process| process.kms.has_object(&fact.id.to_string()))
        };
        let remnants = self.pipelines.values().filter(is_one);
        remnants.max_by_key(|fact| fact.number).map(|fact| fact.id.to_string())
    }

    /// A call about a pipeline, or something in it.
    fn about(&mut self, client: usize, pipeline: &str) -> (What, String) {
        let about = What::About(pipeline.to_owned());
        let known = &mut self.clients[client];
        let fact = self.pipelines.get_mut(pipeline).expect("it was picked from there");
        let elements = &fact.elements;
        // Mostly the first few, so that events and those who wait for them meet.
        let element = elements.get(known.draws.below(elements.len().min(3))).cloned();
        let other = elements.get(known.draws.below(elements.len())).cloned();
        match (known.draws.below(20), element, other) {
            (0..3, ..) | (3..15, None, _) => {
                // The second is paced.
                let kind = ["PassThrough", "WebRtcEndpoint"][known.draws.below(2)];
                let text = format!(
                    r#""method":"create","params":{{"type":"{kind}","constructorParams":{{"mediaPipeline":"{pipeline}"}}}}"#
                );
                (What::Element(pipeline.to_owned()), text)
            }
            (3..9, Some(element), _) => {
                known.ledger.subscriptions.insert((element.clone(), "ElementConnected"));
                let text = format!(
                    r#""method":"subscribe","params":{{"object":"{element}","type":"ElementConnected"}}"#
                );
                (about, text)
            }
            (9..15, Some(from), Some(to)) => {
                let operation = if known.draws.below(6) == 0 { "disconnect" } else { "connect" };
                (about, invoke(&from, operation, &format!(r#"{{"sink":"{to}"}}"#)))
            }
            (15, ..) => {
                fact.is_released = true;
                let text = format!(r#""method":"release","params":{{"object":"{pipeline}"}}"#);
                (about, text)
            }
            (16, Some(element), _) => {
                let text = format!(r#""method":"release","params":{{"object":"{element}"}}"#);
                (about, text)
            }
            (17, ..) => {
                let text = format!(r#""method":"describe","params":{{"object":"{pipeline}"}}"#);
                (about, text)
            }
            _ => (about, invoke(pipeline, "getName", "{}")),
        }
    }

    pub(super) fn client_reads(&mut self, conn: ConnNo) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let Some(message) = known.down.pop().filter(|_| known.is_open) else { return };
        let (client, relay) = (known.client, known.relay.and_then(|relay| self.relays.get(&relay)));
        let session = relay.map(|relay| relay.driver.session().id().to_string());
        let (text, tag) = match message {
            ToClient::Text(text, tag) => (text, tag),
            ToClient::Cut => {
                self.conns.remove(&conn);
                self.clients[client].on_disconnected();
                return self.plan_return(client);
            }
        };
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            return self.complain(|| format!("{conn:?} gets no JSON: {text}"));
        };
        let known = &mut self.clients[client];
        let taken = match tag {
            _ if value.get("method").is_none() => {
                known.on_answer((conn, session), &value).map(|answered| {
                    self.tally.errors += u64::from(answered != Answered::Success);
                    self.on_resume_answered(client, &value, answered);
                })
            }
            Some(tag) => {
                self.tally.events += 1;
                known.ledger.on_event(&value, &tag)
            }
            None => Err(format!("an event that no backend has sent: {value}")),
        };
        if let Err(what) = taken {
            self.complain(|| format!("{conn:?}: {what}"));
        }
    }

    /// Everything is mended, and nobody begins anything any more.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
        self.slowness = 1;
        for backend in 0..self.backends.len() {
            self.happen(Happening::Thaws(backend));
            self.happen(Happening::Starts(backend));
        }
        for site in 0..self.sites.len() {
            self.happen(Happening::EdgeStarts(site));
            self.name_all(self.edge_at(site));
        }
    }

    pub(super) fn hang_up_all(&mut self) {
        for client in 0..self.clients.len() {
            if let Some(conn) = self.clients[client].conn {
                self.hang_up(client, conn);
            }
        }
    }
}

fn meeting_of(draws: &mut Draws) -> String {
    MEETINGS[draws.below(MEETINGS.len())].to_owned()
}

pub(super) fn invoke(object: &str, operation: &str, params: &str) -> String {
    format!(
        r#""method":"invoke","params":{{"object":"{object}","operation":"{operation}","operationParams":{params}}}"#
    )
}
