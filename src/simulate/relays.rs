//! Sessions at work, and the client connections they serve. As `proxy::relay` has them, with made-up
//! sockets: what is decided is decided by the driver, the seat and what they lead to.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Bug;
use super::check;
use super::edge::secret;
use super::links::KEPT_PAUSE;
use super::losses::NewsSim;
use super::network::{ConnNo, EventTag, FromClient, LinkId, Pipe, Plug, RelayNo, ToClient};
use super::world::{ConnSim, Happening, RelayPhase, RelaySim, World};
use crate::model::{BackendId, SessionId};
use crate::policy::guard::Rules;
use crate::protocol::request::Hints;
use crate::proxy::{Driver, Edge, Missed, Seat, Visit, Wires};
use crate::session::{Bounds, Input, LinkFailure, LinkNo, Session, Tried};

/// How long an edge waits for what a client that has gone has asked. As the relay does.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How long the session that takes a connection over may take for it. As the relay has it.
const SWAP_MAX: Duration = Duration::from_secs(5);

/// Bytes of events that wait for a client that is away.
const MISSED_MAX_BYTES: usize = 1 << 20;

/// What a driver sent, in order.
#[derive(Default)]
pub(super) struct Outbox(Vec<Sent>);

enum Sent {
    Client(String),
    Backend(LinkNo, String),
    Open(LinkNo, BackendId),
    TimedOut(LinkNo),
    Tried(LinkNo, Tried),
}

impl Wires for Outbox {
    fn send_to_client(&mut self, text: &str) {
        self.0.push(Sent::Client(text.to_owned()));
    }

    fn send_to_backend(&mut self, link: LinkNo, text: &str) {
        self.0.push(Sent::Backend(link, text.to_owned()));
    }

    fn open_link(&mut self, link: LinkNo, backend: &BackendId) -> Result<(), LinkFailure> {
        self.0.push(Sent::Open(link, backend.clone()));
        Ok(())
    }

    fn report_timeout(&mut self, link: LinkNo) {
        self.0.push(Sent::TimedOut(link));
    }

    fn report_tried(&mut self, link: LinkNo, tried: Tried) {
        self.0.push(Sent::Tried(link, tried));
    }
}

impl World {
    /// A client connection opens, in a session of its own.
    pub(super) fn open_conn(&mut self, client: usize, edge: usize, hints: Hints) -> ConnNo {
        let (conn, relay) = (self.next_conn(), self.next_relay());
        let of_edge = (self.edges[edge].edge.clone(), self.edges[edge].bounds);
        let driver = self.new_driver(of_edge, hints.clone());
        let plug = Plug::new(conn, self.dropped.clone());
        let known = &self.edges[edge];
        let relay_sim = RelaySim {
            client,
            edge,
            seat: Seat::take(known.sessions.clone(), *driver.session().id()),
            driver,
            visit: Some(Box::new(Visit::new(plug, hints, self.rules()))),
            terms: known.edge.clone(),
            bounds: known.bounds,
            news: NewsSim::default(),
            leaving: None,
            missed: Missed::new(MISSED_MAX_BYTES),
            missed_tags: std::collections::VecDeque::new(),
            phase: RelayPhase::Serving,
            phase_count: 0,
            links: Vec::new(),
            is_timed: false,
            misled_to: None,
        };
        self.relays.insert(relay, relay_sim);
        let known = ConnSim {
            client,
            edge,
            relay: Some(relay),
            is_open: true,
            is_ended: false,
            is_cut: false,
            up: Pipe::default(),
            down: Pipe::default(),
        };
        self.conns.insert(conn, known);
        conn
    }

    /// The rules of every listener.
    fn rules(&self) -> Arc<Rules> {
        Arc::new(Rules { on_loss: self.shape.on_loss, ..Rules::default() })
    }

    fn new_driver(&mut self, (shared, bounds): (Arc<Edge>, Bounds), hints: Hints) -> Driver {
        let id = SessionId::from_random(secret(&mut self.draws));
        let session = Session::new(id, &shared.server_id, hints, bounds);
        let session = session.under(self.rules()).paced();
        Driver::new(shared, session)
    }

    /// Has a driver do something, and sends what it says. `event` is the one at hand, if any.
    pub(super) fn drive(
        &mut self,
        relay: RelayNo,
        event: Option<&EventTag>,
        work: impl FnOnce(&mut Driver, &mut Outbox),
    ) {
        let mut out = Outbox::default();
        let Some(known) = self.relays.get_mut(&relay) else { return };
        work(&mut known.driver, &mut out);
        for sent in out.0 {
            match sent {
                Sent::Client(text) => self.send_to_client(relay, text, event.cloned()),
                Sent::Backend(number, text) => self.send_to_backend(relay, number, text),
                Sent::Open(number, backend) => self.open_link(relay, number, &backend),
                Sent::TimedOut(number) => self.report_timeout(relay, number),
                Sent::Tried(number, tried) => self.report_tried(relay, number, tried),
            }
        }
        self.await_deadline(relay);
        self.end_turn(relay);
    }

    /// What follows from what a driver was told last.
    fn end_turn(&mut self, relay: RelayNo) {
        let now = self.now();
        let Some(known) = self.relays.get_mut(&relay) else { return };
        match known.phase {
            RelayPhase::Serving => {
                let conn = known.visit.as_ref().map(|visit| visit.connection.conn);
                let before = *known.driver.session().id();
                if known.seat.heed(&mut known.driver, &mut known.visit, now) {
                    if let Some(conn) = conn.and_then(|conn| self.conns.get_mut(&conn)) {
                        conn.relay = None;
                    }
                    self.note(|| format!("   {relay:?} gives {conn:?} to another session"));
                    self.begin_phase(relay, RelayPhase::Swapping, SWAP_MAX);
                }
                self.on_followed(relay, before);
                self.check_bereft(relay);
            }
            RelayPhase::Draining { .. } => {
                if !known.driver.session().is_waiting() && !known.driver.has_events() {
                    self.hold(relay);
                }
            }
            RelayPhase::Holding | RelayPhase::Swapping => {}
        }
    }

    pub(super) fn begin_phase(&mut self, relay: RelayNo, phase: RelayPhase, limit: Duration) {
        let Some(known) = self.relays.get_mut(&relay) else { return };
        known.phase = phase;
        known.phase_count += 1;
        let count = known.phase_count;
        self.note(|| format!("   {relay:?} is {phase:?}"));
        if phase != RelayPhase::Serving {
            self.after(limit, Happening::PhaseEnds(relay, count));
        }
    }

    pub(super) fn phase_ends(&mut self, relay: RelayNo, count: u32) {
        let Some(known) = self.relays.get(&relay).filter(|r| r.phase_count == count) else {
            return;
        };
        match known.phase {
            RelayPhase::Serving => {}
            RelayPhase::Draining { .. } => self.hold(relay),
            RelayPhase::Holding => self.leave_seat(relay),
            RelayPhase::Swapping => self.swap(relay, None),
        }
    }

    /// The client is gone, and none of its messages waits any more.
    fn hold(&mut self, relay: RelayNo) {
        let Some(known) = self.relays.get_mut(&relay) else { return };
        let hold = known.terms.hold;
        let before = *known.driver.session().id();
        known.seat.follow(before);
        let took_leave = matches!(known.phase, RelayPhase::Draining { took_leave: true });
        let has_links = known.links.iter().flatten().any(|id| self.links.contains_key(id));
        let has_something = has_links && known.driver.session().remains().is_some();
        if took_leave || hold.is_zero() || !has_something || known.leaving.is_some() {
            return self.leave_seat(relay);
        }
        known.visit = None;
        self.begin_phase(relay, RelayPhase::Holding, hold);
    }

    /// A session ends, unless its client comes back at that very moment.
    pub(super) fn leave_seat(&mut self, relay: RelayNo) {
        let Some(known) = self.relays.get(&relay) else { return };
        let left = self.edges[known.edge].edge.away(known.driver.session());
        match known.seat.leave(left) {
            Some(visit) => self.welcome(relay, visit),
            None => self.end_relay(relay),
        }
    }

    /// A relay closes all it has.
    fn end_relay(&mut self, relay: RelayNo) {
        let Some(known) = self.relays.remove(&relay) else { return };
        self.note(|| format!("   {relay:?} ends"));
        for id in known.links.into_iter().flatten() {
            self.close_link(id);
        }
    }

    /// Looks whether a connection has come to a session.
    pub(super) fn poll_seat(&mut self, relay: RelayNo) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let Some(known) = self.relays.get(&relay) else { return false };
        match known.phase {
            RelayPhase::Serving | RelayPhase::Holding => match known.seat.poll(&mut context) {
                Poll::Ready(visit) => self.welcome(relay, visit),
                Poll::Pending => return false,
            },
            RelayPhase::Draining { .. } => return false,
            RelayPhase::Swapping => match known.seat.poll_swap(&mut context) {
                Poll::Ready(visit) => self.swap(relay, visit),
                Poll::Pending => return false,
            },
        }
        true
    }

    /// A session goes on with another connection of its client.
    fn welcome(&mut self, relay: RelayNo, mut visit: Box<Visit<Plug>>) {
        let (conn, hints) = (visit.connection.conn, visit.hints.clone());
        let (waiting, swap) = visit.unpack();
        let Some(known) = self.relays.get_mut(&relay) else { return };
        let old = known.visit.replace(visit);
        let old_conn = old.as_ref().map(|old| old.connection.conn);
        let missed = known.missed.take();
        let tags = std::mem::take(&mut known.missed_tags);
        if self.bug == Some(Bug::OldConnection) {
            known.misled_to = old_conn;
        }
        known.is_timed = false; // as the relay, which asks for the deadline again
        self.note(|| format!("   {relay:?} goes on with {conn:?}, no more with {old_conn:?}"));
        self.begin_phase(relay, RelayPhase::Serving, Duration::ZERO);
        self.attach(conn, relay);
        if let Some(old) = old_conn.and_then(|old| self.conns.get_mut(&old)) {
            old.relay = None;
        }
        if let Some(swap) = swap {
            swap.give_back(old);
        }
        for (text, tag) in missed.into_iter().zip(tags) {
            self.send_to_client(relay, text, Some(tag));
        }
        self.tally.resumed_here += 1;
        let rules = self.rules();
        self.drive(relay, None, |driver, out| {
            driver.welcome((hints, rules), waiting, out);
        });
    }

    /// `conn` is read by `relay` from now on. Its client misses no event from here on.
    fn attach(&mut self, conn: ConnNo, relay: RelayNo) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.relay = Some(relay);
        let (client, of_relay) = (known.client, &self.relays[&relay]);
        let ledger = &mut self.clients[client].ledger;
        for id in of_relay.links.iter().flatten() {
            if let Some(link) = self.links.get(id) {
                ledger.first.insert(*id, link.events_read + 1);
            }
        }
    }

    /// The client went to another session: `back` is what came in exchange.
    fn swap(&mut self, relay: RelayNo, back: Option<Box<Visit<Plug>>>) {
        let Some(known) = self.relays.get(&relay) else { return };
        let mut back = back;
        while let Some(late) = known.seat.leave(None) {
            back = Some(late);
        }
        let Some(visit) = back else { return self.end_relay(relay) };
        let (of_edge, conn) = ((known.terms.clone(), known.bounds), visit.connection.conn);
        let driver = self.new_driver(of_edge, visit.hints.clone());
        let Some(known) = self.relays.get_mut(&relay) else { return };
        known.seat.begin(*driver.session().id());
        (known.driver, known.visit) = (driver, Some(visit));
        let links = std::mem::take(&mut known.links);
        links.into_iter().flatten().for_each(|id| self.close_link(id));
        self.begin_phase(relay, RelayPhase::Serving, Duration::ZERO);
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.relay = Some(relay);
        if known.is_ended {
            self.begin_phase(relay, RelayPhase::Draining { took_leave: false }, DRAIN_MAX);
            self.drive(relay, None, |_, _| {});
        }
    }

    pub(super) fn edge_reads(&mut self, conn: ConnNo) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        if known.is_cut {
            return drop(known.up.pop());
        }
        let Some(relay) = known.relay else {
            return self.after(KEPT_PAUSE, Happening::EdgeReads(conn));
        };
        if self.waits(relay, || Happening::EdgeReads(conn)) {
            return;
        }
        if self.is_leaving(relay) {
            return self.after(KEPT_PAUSE, Happening::EdgeReads(conn));
        }
        self.tell_before_hearing(relay);
        let Some(known) = self.conns.get_mut(&conn) else { return };
        if known.is_cut {
            return drop(known.up.pop());
        }
        match known.up.pop() {
            None => {}
            Some(FromClient::Text(text)) => {
                self.note_gone(conn, &text);
                self.drive(relay, None, |driver, out| {
                    driver.on_client(Input::FromClient(&text), out);
                });
            }
            Some(FromClient::End { took_leave }) => {
                known.is_ended = true;
                self.begin_phase(relay, RelayPhase::Draining { took_leave }, DRAIN_MAX);
                self.drive(relay, None, |_, _| {});
            }
        }
    }

    /// The edge's end of a connection is gone.
    pub(super) fn cut_conn(&mut self, conn: ConnNo) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        (known.is_cut, known.relay) = (true, None);
        if !known.is_open {
            return drop(self.conns.remove(&conn));
        }
        let (now, delay) = (self.now(), self.delay());
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let at = known.down.push(now, delay, ToClient::Cut);
        self.at(at, Happening::ClientReads(conn));
    }

    /// Sends a message to the client of a session, or keeps it for one that is away.
    pub(super) fn send_to_client(&mut self, relay: RelayNo, text: String, tag: Option<EventTag>) {
        self.tally.paced += u64::from(text.contains("retryAfterMs"));
        self.note_refusal(relay, &text);
        check::only_settled_is_told(self, relay, &text);
        let Some(known) = self.relays.get_mut(&relay) else { return };
        let Some(visit) = &known.visit else {
            if known.missed.keep(&text) {
                known.missed_tags.extend(tag);
            }
            return;
        };
        let mut conn = visit.connection.conn;
        if let (Some(old), true) = (known.misled_to, tag.is_some()) {
            conn = old;
        }
        self.note(|| format!("   to client of {conn:?}: {text}"));
        self.check_resume(relay, &text);
        let (now, delay) = (self.now(), self.delay());
        let Some(known) = self.conns.get_mut(&conn).filter(|known| known.is_open) else { return };
        let at = known.down.push(now, delay, ToClient::Text(text, tag));
        self.at(at, Happening::ClientReads(conn));
    }

    /// Sends what a driver has kept, if it may be sent now; says whether it may.
    pub(super) fn settles(&mut self, relay: RelayNo) -> bool {
        let mut has_settled = false;
        self.drive(relay, None, |driver, out| {
            let mut context = Context::from_waker(Waker::noop());
            has_settled = driver.poll_settled(&mut context, out);
        });
        has_settled
    }

    /// Whether nothing is read from the client of `relay` any more.
    fn is_leaving(&self, relay: RelayNo) -> bool {
        let known = self.relays.get(&relay);
        known.is_some_and(|known| known.leaving.is_some() && known.phase == RelayPhase::Serving)
    }

    /// Has something wait if a driver keeps what it has for its client; says whether it does.
    pub(super) fn waits(&mut self, relay: RelayNo, happening: impl FnOnce() -> Happening) -> bool {
        let is_keeping = self.relays.get(&relay).is_some_and(|known| known.driver.is_keeping());
        if is_keeping {
            self.after(KEPT_PAUSE, happening());
        }
        is_keeping
    }

    /// As the relay does: one timer, which is not moved while it runs.
    fn await_deadline(&mut self, relay: RelayNo) {
        let Some(known) = self.relays.get_mut(&relay) else { return };
        if let (false, Some(at)) = (known.is_timed, known.driver.session().deadline()) {
            known.is_timed = true;
            self.at(at, Happening::Deadline(relay));
        }
    }

    pub(super) fn deadline(&mut self, relay: RelayNo) {
        let Some(known) = self.relays.get_mut(&relay) else { return };
        known.is_timed = false;
        self.drive(relay, None, Driver::on_tick);
    }

    fn report_timeout(&mut self, relay: RelayNo, number: LinkNo) {
        let link = self.relays[&relay].links.get(number.0).copied().flatten();
        let Some(link) = link.and_then(|id: LinkId| self.links.get(&id)) else { return };
        let (edge, view) = (link.edge, link.view.clone());
        self.tally.timeouts += 1;
        self.edges[edge].edge.fleet.report_timeout(&view.id, view.incarnation);
    }

    fn report_tried(&self, relay: RelayNo, number: LinkNo, tried: Tried) {
        let link = self.relays[&relay].links.get(number.0).copied().flatten();
        let Some(link) = link.and_then(|id: LinkId| self.links.get(&id)) else { return };
        self.edges[link.edge].edge.fleet.report_tried(&link.view, tried);
    }
}
