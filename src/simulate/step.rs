//! What happens, and what follows from it.

use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;

use super::Bug;
use super::check;
use super::network::{ConnNo, Down, FromClient, LinkId, Pipe, ToClient, Up};
use super::world::{ConnSim, Happening, LinkPhase, LinkSim, World};
use crate::fleet::{Report, ServerFacts, pause_after};
use crate::model::{BackendId, Incarnation, Time};
use crate::policy::health::ProbeFailure;
use crate::proxy::{Driver, LinkEvent, Wires};
use crate::runtime::Timer;
use crate::session::{Input, LinkFailure, LinkNo};
use crate::sim::kms::{ConnId, KmsOutput};

/// How long an edge waits for what a client that has gone has asked. As the relay does.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How long something that may not be read yet waits to be looked at again.
const KEPT_PAUSE: Duration = Duration::from_millis(1);

/// What a driver sent, in order.
#[derive(Default)]
struct Outbox(Vec<Sent>);

enum Sent {
    Client(String),
    Backend(LinkNo, String),
    Open(LinkNo, BackendId),
    TimedOut(LinkNo),
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
}

impl World {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ClientActs(client) => self.client_acts(client),
            Happening::Fault => self.fault(),
            Happening::EdgeReads(conn) => self.edge_reads(conn),
            Happening::ClientReads(conn) => self.client_reads(conn),
            Happening::DrainEnds(conn) => self.end_conn(conn),
            Happening::Deadline(conn) => self.deadline(conn),
            Happening::DialArrives(link) => self.dial_arrives(link),
            Happening::DialTimesOut(link) => self.dial_fails(link, LinkFailure::Unreachable),
            Happening::BackendReads(link) => self.backend_reads(link),
            Happening::EdgeReadsLink(link) => self.edge_reads_link(link),
            Happening::KmsTick(backend, process) => self.kms_ticks(backend, process),
            Happening::ProbeStarts(edge, backend, at) => self.probe_starts(edge, backend, at),
            Happening::ProbeArrives(edge, backend) => self.probe_arrives(edge, backend),
            Happening::ProbeEnds(edge, backend, report) => {
                self.probe_ends(edge, backend, report);
            }
            Happening::Sweep(edge) => {
                self.edges[edge].sweep();
                check::no_pin_on_the_lost(self, edge);
                check::no_meeting_without_pin(self, edge);
                self.after(Duration::from_secs(1), Happening::Sweep(edge));
            }
            Happening::Starts(backend) => self.start_backend(backend),
            Happening::Thaws(backend) => self.thaw(backend),
            Happening::NetworkHeals => self.slowness = 1,
        }
    }

    /// Lets everything go on that can go on now.
    pub(super) fn settle(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let mut is_busy = false;
            for edge in 0..self.edges.len() {
                while let Ok((backend, report)) = self.edges[edge].reports.try_recv() {
                    self.report(edge, backend, report);
                    is_busy = true;
                }
                let now = self.now();
                is_busy |= self.edges[edge].poll_jobs(now);
                self.heed_kicks(edge);
            }
            let waiting: Vec<ConnNo> = self.conns.keys().copied().collect();
            for conn in waiting {
                let Some(driver) = self.conns.get_mut(&conn).and_then(|c| c.driver.as_mut()) else {
                    continue;
                };
                let has_settled = driver.is_keeping() && self.settles(conn);
                let Some(driver) = self.conns.get_mut(&conn).and_then(|c| c.driver.as_mut()) else {
                    continue;
                };
                if driver.poll_places(&mut context) || driver.has_events() {
                    self.drive(conn, None, |driver, out| {
                        driver.run_events(out);
                    });
                    is_busy = true;
                }
                is_busy |= has_settled;
            }
            if !is_busy {
                return;
            }
        }
    }

    /// Sends what a driver has kept, if it may be sent now; says whether it may.
    fn settles(&mut self, conn: ConnNo) -> bool {
        let mut has_settled = false;
        self.drive(conn, None, |driver, out| {
            let mut context = Context::from_waker(Waker::noop());
            has_settled = driver.poll_settled(&mut context, out);
        });
        has_settled
    }

    /// Has something wait if a driver keeps what it has for its client; says whether it does.
    fn waits(&mut self, conn: ConnNo, happening: Happening) -> bool {
        let driver = self.conns.get(&conn).and_then(|known| known.driver.as_ref());
        let is_keeping = driver.is_some_and(Driver::is_keeping);
        if is_keeping {
            self.after(KEPT_PAUSE, happening);
        }
        is_keeping
    }

    /// Has a driver do something, and sends what it says. `event` is the one at hand, if any.
    fn drive(
        &mut self,
        conn: ConnNo,
        event: Option<(LinkId, u64)>,
        work: impl FnOnce(&mut Driver, &mut Outbox),
    ) {
        let mut out = Outbox::default();
        let Some(driver) = self.conns.get_mut(&conn).and_then(|c| c.driver.as_mut()) else {
            return;
        };
        work(driver, &mut out);
        for sent in out.0 {
            match sent {
                Sent::Client(text) => {
                    self.note_refusal(conn, &text);
                    self.send_to_client(conn, ToClient { text, event });
                }
                Sent::Backend(number, text) => self.send_to_backend(conn, number, text),
                Sent::Open(number, backend) => self.open_link(conn, number, &backend),
                Sent::TimedOut(number) => self.report_timeout(conn, number),
            }
        }
        self.await_deadline(conn);
        let known = &self.conns[&conn];
        let is_done = known.is_draining
            && known.driver.as_ref().is_some_and(|d| !d.session().is_waiting() && !d.has_events());
        if is_done {
            self.end_conn(conn);
        }
    }

    /// As the relay does: one timer, which is not moved while it runs.
    fn await_deadline(&mut self, conn: ConnNo) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let deadline = known.driver.as_ref().and_then(|driver| driver.session().deadline());
        if let (false, Some(at)) = (known.is_timed, deadline) {
            known.is_timed = true;
            self.at(at, Happening::Deadline(conn));
        }
    }

    fn deadline(&mut self, conn: ConnNo) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.is_timed = false;
        self.drive(conn, None, Driver::on_tick);
    }

    fn report_timeout(&mut self, conn: ConnNo, number: LinkNo) {
        let link = self.conns[&conn].links.get(number.0).copied().flatten();
        let Some(link) = link.and_then(|id| self.links.get(&id)) else { return };
        let (edge, view) = (link.edge, link.view.clone());
        self.tally.timeouts += 1;
        self.edges[edge].edge.fleet.report_timeout(&view.id, view.incarnation);
    }

    fn send_to_client(&mut self, conn: ConnNo, message: ToClient) {
        self.note(|| format!("   to client of {conn:?}: {}", message.text));
        self.tally.paced += u64::from(message.text.contains("retryAfterMs"));
        check::only_settled_is_told(self, conn, &message.text);
        let (now, delay) = (self.now(), self.delay());
        let Some(known) = self.conns.get_mut(&conn).filter(|known| known.is_open) else { return };
        let at = known.down.push(now, delay, message);
        self.at(at, Happening::ClientReads(conn));
    }

    fn send_to_backend(&mut self, conn: ConnNo, number: LinkNo, text: String) {
        let link = self.conns[&conn].links.get(number.0).copied().flatten();
        let Some(id) = link.filter(|id| self.links[id].phase == LinkPhase::Open) else { return };
        if text.contains("pinfold-withdraw") {
            self.tally.withdrawn += 1;
            self.on_withdrawn(&text);
        }
        self.note(|| format!("   over {id:?}: {text}"));
        self.push_up(id, Up::Text(text));
    }

    /// An edge destroys a pipeline that its client never heard of.
    fn on_withdrawn(&mut self, text: &str) {
        if let Some((_, fact)) =
            self.pipelines.iter_mut().find(|(id, _)| text.contains(id.as_str()))
        {
            fact.is_released = true;
        }
    }

    fn push_up(&mut self, id: LinkId, up: Up) {
        let (now, delay) = (self.now(), self.delay());
        let Some(link) = self.links.get_mut(&id) else { return };
        let at = link.up.push(now, delay, up);
        self.at(at, Happening::BackendReads(id));
    }

    fn push_down(&mut self, id: LinkId, down: Down) {
        let (now, delay) = (self.now(), self.delay());
        let Some(link) = self.links.get_mut(&id) else { return };
        let at = link.down.push(now, delay, down);
        self.at(at, Happening::EdgeReadsLink(id));
    }

    fn open_link(&mut self, conn: ConnNo, number: LinkNo, backend: &BackendId) {
        let known = &self.conns[&conn];
        let edge = known.edge;
        let view = self.edges[edge].edge.backend(backend).expect("the fleet keeps its backends");
        let backend = self.backends.iter().position(|b| b.id == *backend).expect("one of them");
        let id = self.next_link();
        let link = LinkSim {
            conn,
            number,
            edge,
            backend,
            view,
            phase: LinkPhase::Dialling,
            far: None,
            up: Pipe::default(),
            down: Pipe::default(),
            events_sent: 0,
        };
        self.note(|| format!("   {id:?} is dialled to backend {backend}"));
        self.links.insert(id, link);
        let known = self.conns.get_mut(&conn).expect("it was there");
        known.links.resize(known.links.len().max(number.0 + 1), None);
        known.links[number.0] = Some(id);
        let delay = self.delay();
        self.after(delay, Happening::DialArrives(id));
    }

    fn dial_arrives(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        if link.phase != LinkPhase::Dialling {
            return;
        }
        let backend = link.backend;
        if self.backends[backend].is_frozen {
            let wait = self.shape.dial_timeout;
            return self.after(wait, Happening::DialTimesOut(id));
        }
        let Some(process) = &mut self.backends[backend].process else {
            return self.dial_fails(id, LinkFailure::Lost);
        };
        let far = process.kms.open();
        process.conns.insert(far, id);
        let (conn, number) = (link.conn, link.number);
        let far = (process.number, far);
        let link = self.links.get_mut(&id).expect("it was there");
        (link.far, link.phase) = (Some(far), LinkPhase::Open);
        self.tell_link(conn, number, LinkEvent::Opened);
    }

    fn dial_fails(&mut self, id: LinkId, failure: LinkFailure) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.phase != LinkPhase::Dialling {
            return;
        }
        let (conn, number) = (link.conn, link.number);
        let (edge, view) = (link.edge, link.view.clone());
        self.links.remove(&id);
        self.edges[edge].edge.fleet.report_dial_failure(&view.id, view.incarnation);
        self.tell_link(conn, number, LinkEvent::Failed(failure));
    }

    fn tell_link(&mut self, conn: ConnNo, number: LinkNo, event: LinkEvent) {
        self.note(|| format!("   link {number:?} of {conn:?}: {event:?}"));
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.is_timed = false; // as the relay, which asks for the deadline again
        if let Some(driver) = &mut known.driver {
            driver.on_link(number, event);
        }
    }

    fn edge_reads(&mut self, conn: ConnNo) {
        if self.waits(conn, Happening::EdgeReads(conn)) {
            return;
        }
        let Some(known) = self.conns.get_mut(&conn) else { return };
        match known.up.pop() {
            None => {}
            Some(FromClient::Text(text)) => self.drive(conn, None, |driver, out| {
                driver.on_client(Input::FromClient(&text), out);
            }),
            Some(FromClient::End) => {
                known.is_draining = true;
                self.after(DRAIN_MAX, Happening::DrainEnds(conn));
                self.drive(conn, None, |_, _| {});
            }
        }
    }

    /// The edge is done with a connection.
    fn end_conn(&mut self, conn: ConnNo) {
        let Some(known) = self.conns.remove(&conn) else { return };
        drop(known.driver);
        for id in known.links.into_iter().flatten() {
            self.close_link(id);
        }
    }

    /// The edge closes a link, if it has not yet.
    fn close_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match std::mem::replace(&mut link.phase, LinkPhase::Closed) {
            LinkPhase::Dialling => drop(self.links.remove(&id)),
            LinkPhase::Open => self.push_up(id, Up::Close),
            LinkPhase::Closed => {}
        }
    }

    fn backend_reads(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let backend = &mut self.backends[link.backend];
        if backend.is_frozen {
            return backend.held.push(id);
        }
        let (number, conn, now) = (link.backend, link.conn, self.clock.now());
        let Some(up) = link.up.pop() else { return };
        let Some((process, far)) = link.far else { return };
        if backend.running() != Some(process) {
            return;
        }
        if let Up::Text(text) = &up {
            self.check_repeat(number, text);
        }
        let Some(process) = &mut self.backends[number].process else { return };
        match up {
            Up::Text(text) => {
                let mut outputs = Vec::new();
                process.kms.on_text(now, far, &text, &mut outputs);
                self.check_arrival(conn, (id, number), &text);
                self.carry_out(number, outputs);
            }
            Up::Close => {
                process.kms.close(far);
                process.conns.remove(&far);
                self.links.remove(&id);
            }
        }
    }

    fn kms_ticks(&mut self, backend: usize, number: u32) {
        let now = self.now();
        let frozen = self.backends[backend].is_frozen;
        let process = self.backends[backend].process.as_mut();
        let Some(process) = process.filter(|process| process.number == number) else { return };
        process.tick_at = None;
        if frozen {
            return;
        }
        let mut outputs = Vec::new();
        process.kms.tick(now, &mut outputs);
        self.carry_out(backend, outputs);
    }

    /// Sends what a backend says, and looks after it when it wants that.
    fn carry_out(&mut self, backend: usize, outputs: Vec<KmsOutput>) {
        for output in outputs {
            let (conn, text) = match output {
                KmsOutput::Answer { conn, text } => {
                    self.check_answer(backend, &text);
                    (conn, Ok(text))
                }
                KmsOutput::Event { conn, text } => (conn, Err(text)),
                KmsOutput::Cut { conn } => {
                    self.complain(|| format!("backend {backend} cut {conn:?} for what it sent"));
                    continue;
                }
                KmsOutput::Die => {
                    self.complain(|| format!("a frame has killed backend {backend}"));
                    continue;
                }
            };
            self.send_down(backend, conn, text);
        }
        let now = self.now();
        let Some(process) = &mut self.backends[backend].process else { return };
        let due = process.kms.deadline().max(now);
        if process.tick_at.is_none_or(|at| at > due) {
            process.tick_at = Some(due);
            let number = process.number;
            self.at(due, Happening::KmsTick(backend, number));
        }
    }

    fn send_down(&mut self, backend: usize, conn: ConnId, text: Result<String, String>) {
        let process = self.backends[backend].process.as_ref();
        let id = process.and_then(|process| process.conns.get(&conn)).copied();
        let Some(link) = id.and_then(|id| self.links.get_mut(&id)) else { return };
        let down = match text {
            Ok(answer) => Down::Answer(answer),
            Err(event) => {
                link.events_sent += 1;
                Down::Event(link.events_sent, event)
            }
        };
        self.push_down(id.expect("its link was found"), down);
    }

    fn edge_reads_link(&mut self, id: LinkId) {
        let Some(conn) = self.links.get(&id).map(|link| link.conn) else { return };
        if self.waits(conn, Happening::EdgeReadsLink(id)) {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(down) = link.down.pop() else { return };
        let (conn, number, is_open) = (link.conn, link.number, link.phase == LinkPhase::Open);
        if !is_open {
            match down {
                Down::Answer(text) if self.bug == Some(Bug::LateAnswer) => {
                    self.send_to_client(conn, ToClient { text, event: None });
                }
                Down::Answer(_) | Down::Event(..) => {}
                Down::Cut => drop(self.links.remove(&id)),
            }
            return;
        }
        match down {
            Down::Answer(text) => {
                if !self.is_refused(conn, &text) {
                    self.learn(id, &text);
                } else if self.bug == Some(Bug::LateAnswer) {
                    self.send_to_client(conn, ToClient { text: text.clone(), event: None });
                }
                self.drive(conn, None, |driver, out| driver.on_backend(number, &text, out));
            }
            Down::Event(n, text) => {
                let is_waiting = || {
                    let driver = self.conns.get(&conn).and_then(|known| known.driver.as_ref());
                    driver.is_some_and(|driver| driver.session().sizes().calls > 0)
                };
                if self.bug == Some(Bug::DroppedEvent) && is_waiting() {
                    return;
                }
                self.drive(conn, Some((id, n)), |driver, out| {
                    driver.on_backend(number, &text, out);
                });
            }
            Down::Cut => {
                let Some(link) = self.links.remove(&id) else { return };
                let (edge, backend) = (link.edge, link.view.id.clone());
                self.edges[edge].edge.fleet.report_cut(&backend);
                self.tell_link(conn, number, LinkEvent::Failed(LinkFailure::Cut));
            }
        }
    }

    /// Both ends of a link learn that it is cut. What was on its way to the backend is lost, and so is
    /// some of what was on its way to the edge.
    pub(super) fn cut_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some((number, far)) = link.far.take()
            && let Some(process) = &mut self.backends[link.backend].process
            && process.number == number
        {
            process.kms.close(far);
            process.conns.remove(&far);
        }
        match link.phase {
            LinkPhase::Dialling => self.dial_fails(id, LinkFailure::Unreachable),
            LinkPhase::Open => {
                let kept = self.draws.below(link.down.len() + 1);
                link.down.truncate(kept);
                self.push_down(id, Down::Cut);
            }
            LinkPhase::Closed => drop(self.links.remove(&id)),
        }
    }

    fn report(&mut self, edge: usize, backend: usize, report: Report) {
        self.note(|| format!("   edge {edge} hears of backend {backend}: {report:?}"));
        let now = self.now();
        if !self.edges[edge].report(backend, report, now) {
            return;
        }
        self.tally.losses += 1;
        let is_lost = |link: &LinkSim| {
            link.edge == edge && link.phase != LinkPhase::Closed && link.view.lost.is_cancelled()
        };
        let lost: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| is_lost(link))
            .map(|(id, link)| (*id, link.conn, link.number))
            .collect();
        for (id, conn, number) in lost {
            self.close_link(id);
            self.tell_link(conn, number, LinkEvent::Failed(LinkFailure::Lost));
        }
    }

    /// Has a probe start after `wait`, and no other before.
    pub(super) fn probe_at(&mut self, edge: usize, backend: usize, wait: Duration) {
        let at = self.now() + wait;
        self.edges[edge].probes[backend].next = at;
        self.at(at, Happening::ProbeStarts(edge, backend, at));
    }

    fn heed_kicks(&mut self, edge: usize) {
        for backend in 0..self.backends.len() {
            let known = &self.edges[edge];
            if known.probes[backend].is_running {
                continue;
            }
            if known.edge.fleet.kicked(backend).now_or_never().is_some() {
                let soonest = known.probes[backend].ended + self.shape.probe.retry;
                let wait = soonest.since(self.now());
                self.probe_at(edge, backend, wait);
            }
        }
    }

    fn probe_starts(&mut self, edge: usize, backend: usize, at: Time) {
        let probe = &mut self.edges[edge].probes[backend];
        if probe.is_running || probe.next != at {
            return;
        }
        probe.is_running = true;
        let delay = self.delay();
        self.after(delay, Happening::ProbeArrives(edge, backend));
    }

    fn probe_arrives(&mut self, edge: usize, backend: usize) {
        let timeout = self.shape.probe.timeout;
        let probe = &mut self.edges[edge].probes[backend];
        let known = &self.backends[backend];
        let control = std::mem::take(&mut probe.control);
        let (report, wait) = match (&known.process, control) {
            (Some(_), _) if known.is_frozen => (Report::Failed(ProbeFailure::Timeout), timeout),
            (Some(process), None) => {
                let server_id = process.kms.server_id();
                let facts =
                    ServerFacts { server_id: server_id.into(), version: None, info: "{}".into() };
                probe.control = Some(process.number);
                let incarnation = Incarnation::of(server_id);
                let answered =
                    Report::Answered { incarnation, facts: Some(facts), took: Duration::ZERO };
                (answered, self.delay())
            }
            (Some(process), Some(number)) if process.number == number => {
                probe.control = Some(number);
                let incarnation = Incarnation::of(process.kms.server_id());
                (Report::Answered { incarnation, facts: None, took: Duration::ZERO }, self.delay())
            }
            (_, Some(_)) => (Report::Failed(ProbeFailure::Cut), self.delay()),
            (None, None) => (Report::Failed(ProbeFailure::Refused), self.delay()),
        };
        self.after(wait, Happening::ProbeEnds(edge, backend, report));
    }

    fn probe_ends(&mut self, edge: usize, backend: usize, report: Report) {
        let pause = pause_after(&report, &self.shape.probe, &mut self.draws);
        let now = self.now();
        let probe = &mut self.edges[edge].probes[backend];
        (probe.is_running, probe.ended) = (false, now);
        self.report(edge, backend, report);
        self.probe_at(edge, backend, pause);
    }

    fn thaw(&mut self, backend: usize) {
        let known = &mut self.backends[backend];
        known.is_frozen = false;
        known.thawed = self.clock.now();
        let held = std::mem::take(&mut known.held);
        for id in held {
            self.backend_reads(id);
        }
        if let Some(number) = self.backends[backend].running() {
            self.kms_ticks(backend, number);
        }
    }

    /// A client connection opens.
    pub(super) fn open_conn(&mut self, client: usize, edge: usize, driver: Driver) -> ConnNo {
        let conn = self.next_conn();
        let known = ConnSim {
            client,
            edge,
            driver: Some(driver),
            links: Vec::new(),
            is_open: true,
            is_draining: false,
            is_timed: false,
            up: Pipe::default(),
            down: Pipe::default(),
        };
        self.conns.insert(conn, known);
        conn
    }
}
