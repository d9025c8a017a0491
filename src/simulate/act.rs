//! What clients do, what they make of the answers, and what goes wrong meanwhile.

use std::time::Duration;

use serde_json::Value;

use super::check;
use super::client::{Ledger, What};
use super::network::{ConnNo, FromClient, LinkId};
use super::world::{Happening, LinkSim, MEETINGS, PipelineFact, World};
use crate::model::{Draws, MeetingName, PipelineId, SessionId};
use crate::protocol::request::Hints;
use crate::proxy::Driver;
use crate::session::Session;

/// Microseconds between two things a client does, at most.
const ACT_PAUSE_MAX_MICROS: usize = 700_000;

/// Milliseconds between two faults, at most.
const FAULT_PAUSE_MAX_MILLIS: usize = 3_000;

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
        let hangs_up = self.clients[client].draws.below(100) < 4;
        match self.clients[client].conn {
            None => self.connect(client),
            Some(conn) if hangs_up => self.hang_up(client, conn),
            Some(conn) => {
                // Now and then several at once.
                let count = 1 + self.clients[client].draws.below(8).saturating_sub(4);
                for _ in 0..count {
                    self.call(client, conn);
                }
            }
        }
    }

    fn connect(&mut self, client: usize) {
        let edge = self.clients[client].draws.below(self.edges.len());
        let draws = &mut self.clients[client].draws;
        let bits = u128::from(draws.next()) << 64 | u128::from(draws.next());
        let meeting = (draws.below(4) == 0).then(|| meeting_of(draws));
        let url = Hints {
            meeting: meeting.as_deref().map(|name| MeetingName::parse(name).expect("a good name")),
            participants: None,
        };
        let shared = self.edges[edge].edge.clone();
        let id = SessionId::from_random(bits);
        let session = Session::new(id, &shared.server_id, url, self.shape.bounds).paced();
        let conn = self.open_conn(client, edge, Driver::new(shared, session));
        self.note(|| format!("   client {client} is {conn:?} on edge {edge}, url {meeting:?}"));
        let known = &mut self.clients[client];
        known.conn = Some(conn);
        known.ledger = Ledger { url_meeting: meeting, ..Ledger::default() };
    }

    fn hang_up(&mut self, client: usize, conn: ConnNo) {
        self.clients[client].conn = None;
        let (now, delay) = (self.now(), self.delay());
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.is_open = false;
        let at = known.up.push(now, delay, FromClient::End);
        self.at(at, Happening::EdgeReads(conn));
    }

    /// One message of a client.
    fn call(&mut self, client: usize, conn: ConnNo) {
        let edge = self.conns[&conn].edge;
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
                let own = self.pipelines.values_mut().filter(|fact| fact.conn == conn);
                own.for_each(|fact| fact.is_released = true);
                let ledger = &mut self.clients[client].ledger;
                ledger.closed_after = ledger.call_count;
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

    fn send(&mut self, conn: ConnNo, text: String) {
        self.note(|| format!("   {conn:?} sends {text}"));
        let (now, delay) = (self.now(), self.delay());
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let at = known.up.push(now, delay, FromClient::Text(text));
        self.at(at, Happening::EdgeReads(conn));
    }

    fn create(&mut self, client: usize) -> (What, String) {
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

    /// Any pipeline of that edge, dead ones too.
    fn pick_pipeline(&mut self, client: usize, edge: usize) -> Option<String> {
        let of_edge: Vec<&String> =
            self.pipelines.iter().filter(|(_, fact)| fact.edge == edge).map(|(id, _)| id).collect();
        // Mostly the young ones, which are likely to live.
        let draws = &mut self.clients[client].draws;
        let window = if draws.below(5) > 0 { of_edge.len().min(4) } else { of_edge.len() };
        let picked = of_edge.len().checked_sub(1)?.checked_sub(draws.below(window))?;
        let mut by_age: Vec<&String> = of_edge;
        by_age.sort_by_key(|id| self.pipelines[*id].number);
        by_age.get(picked).map(|id| (*id).clone())
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
                (about, invoke(&from, "connect", &format!(r#"{{"sink":"{to}"}}"#)))
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
        let client = known.client;
        let ledger = &mut self.clients[client].ledger;
        let Ok(value) = serde_json::from_str::<Value>(&message.text) else {
            return self.complain(|| format!("{conn:?} gets no JSON: {}", message.text));
        };
        let taken = match message.event {
            _ if value.get("method").is_none() => {
                ledger.on_answer(&value).map(|is_error| self.tally.errors += u64::from(is_error))
            }
            Some(event) => {
                self.tally.events += 1;
                ledger.on_event(&value, event)
            }
            None => Err(format!("an event that no backend has sent: {value}")),
        };
        if let Err(what) = taken {
            self.complain(|| format!("{conn:?}: {what}"));
        }
    }

    /// Notes what a backend's answer tells of pipelines, as the edge reads it.
    pub(super) fn learn(&mut self, id: LinkId, text: &str) {
        let link = &self.links[&id];
        let Some(known) = self.conns.get(&link.conn) else { return };
        let Ok(answer) = serde_json::from_str::<Value>(text) else { return };
        let ledger = &self.clients[known.client].ledger;
        let call = answer.get("id").and_then(Value::as_str).and_then(|id| ledger.calls.get(id));
        let Some(call) = call.filter(|_| known.is_open) else { return };
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
            edge: link.edge,
            meeting,
            backend: link.backend,
            incarnation: link.view.incarnation,
            process: link.far.map(|(process, _)| process),
            conn: link.conn,
            is_released: call.number <= ledger.closed_after,
            is_told: false,
            elements: Vec::new(),
        };
        check::one_backend(self, &fact);
        self.pipelines.insert(object, fact);
    }

    pub(super) fn fault(&mut self) {
        if self.is_leaving {
            return;
        }
        let wait = self.draws.below(FAULT_PAUSE_MAX_MILLIS) as u64;
        self.after(Duration::from_millis(wait), Happening::Fault);
        let backend = self.draws.below(self.backends.len());
        let span = Duration::from_millis(100 + self.draws.below(15_000) as u64);
        match self.draws.below(16) {
            0..3 => {
                self.kill(backend);
                self.after(span, Happening::Starts(backend));
            }
            3..6 if self.backends[backend].process.is_some() => {
                self.note(|| format!("   backend {backend} freezes"));
                self.backends[backend].is_frozen = true;
                self.after(span, Happening::Thaws(backend));
            }
            6..12 => self.cut_some_link(),
            12..15 => {
                let until = self.now() + span.min(Duration::from_secs(3));
                let edge = self.draws.below(self.edges.len());
                self.note(|| format!("   the pins of edge {edge} are away until {until:?}"));
                self.edges[edge].store.go_away(until);
            }
            _ => {
                self.slowness = 1 + u32::try_from(self.draws.below(40)).expect("less than 40");
                self.after(span, Happening::NetworkHeals);
            }
        }
    }

    /// Cuts a link, mostly one that something is under way on.
    fn cut_some_link(&mut self) {
        let is_busy = |link: &LinkSim| link.up.len() + link.down.len() > 0;
        let any = self.draws.below(4) == 0;
        let links = self.links.iter().filter(|(_, link)| any || is_busy(link));
        let links: Vec<LinkId> = links.map(|(id, _)| *id).collect();
        if let Some(id) = links.get(self.draws.below(links.len())) {
            self.note(|| format!("   {id:?} is cut"));
            self.cut_link(*id);
        }
    }

    fn kill(&mut self, backend: usize) {
        self.note(|| format!("   backend {backend} is killed"));
        for id in self.backends[backend].kill() {
            self.cut_link(id);
        }
        for edge in 0..self.edges.len() {
            let probe = &self.edges[edge].probes[backend];
            if probe.control.is_some() && !probe.is_running {
                let delay = self.delay();
                self.probe_at(edge, backend, delay);
            }
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

fn invoke(object: &str, operation: &str, params: &str) -> String {
    format!(
        r#""method":"invoke","params":{{"object":"{object}","operation":"{operation}","operationParams":{params}}}"#
    )
}
