//! Links, and the backends at their ends.

use std::time::Duration;

use super::Bug;
use super::network::{Down, EventTag, LinkId, Pipe, RelayNo, Up};
use super::world::{Happening, LinkPhase, LinkSim, World};
use crate::model::BackendId;
use crate::proxy::LinkEvent;
use crate::runtime::Timer;
use crate::session::{LinkFailure, LinkNo};
use crate::sim::kms::{ConnId, KmsOutput};

/// How long something that may not be read yet waits to be looked at again.
pub(super) const KEPT_PAUSE: Duration = Duration::from_millis(1);

impl World {
    pub(super) fn send_to_backend(&mut self, relay: RelayNo, number: LinkNo, text: String) {
        let link = self.relays[&relay].links.get(number.0).copied().flatten();
        // One that is lost may be gone before its session is told.
        let is_open = |id: &LinkId| self.links.get(id).is_some_and(|l| l.phase == LinkPhase::Open);
        let Some(id) = link.filter(is_open) else { return };
        if text.contains("pinfold-withdraw") {
            self.tally.withdrawn += 1;
            self.on_destroyed(&text);
        }
        self.note(|| format!("   over {id:?}: {text}"));
        self.push_up(id, Up::Text(text));
    }

    pub(super) fn push_up(&mut self, id: LinkId, up: Up) {
        let (now, delay) = (self.now(), self.delay());
        let Some(link) = self.links.get_mut(&id) else { return };
        let at = link.up.push(now, delay, up);
        self.at(at, Happening::BackendReads(id));
    }

    pub(super) fn push_down(&mut self, id: LinkId, down: Down) {
        let (now, delay) = (self.now(), self.delay());
        let Some(link) = self.links.get_mut(&id) else { return };
        let at = link.down.push(now, delay, down);
        self.at(at, Happening::EdgeReadsLink(id));
    }

    pub(super) fn open_link(&mut self, relay: RelayNo, number: LinkNo, backend: &BackendId) {
        let known = &self.relays[&relay];
        let edge = known.edge;
        let Some(view) = self.edges[edge].edge.backend(backend) else {
            return self.tell_link(relay, number, LinkEvent::Failed(LinkFailure::Lost));
        };
        let backend = self.backends.iter().position(|b| b.id == *backend).expect("one of them");
        let id = self.next_link();
        let link = LinkSim {
            relay,
            number,
            edge,
            backend,
            view,
            phase: LinkPhase::Dialling,
            far: None,
            up: Pipe::default(),
            down: Pipe::default(),
            events_sent: 0,
            events_read: 0,
        };
        self.note(|| format!("   {id:?} is dialled to backend {backend}"));
        self.links.insert(id, link);
        let known = self.relays.get_mut(&relay).expect("it was there");
        known.links.resize(known.links.len().max(number.0 + 1), None);
        known.links[number.0] = Some(id);
        let delay = self.delay();
        self.after(delay, Happening::DialArrives(id));
    }

    pub(super) fn dial_arrives(&mut self, id: LinkId) {
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
        let (relay, number) = (link.relay, link.number);
        let far = (process.number, far);
        let link = self.links.get_mut(&id).expect("it was there");
        (link.far, link.phase) = (Some(far), LinkPhase::Open);
        self.tell_link(relay, number, LinkEvent::Opened);
    }

    pub(super) fn dial_fails(&mut self, id: LinkId, failure: LinkFailure) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.phase != LinkPhase::Dialling {
            return;
        }
        let (relay, number) = (link.relay, link.number);
        let (edge, view) = (link.edge, link.view.clone());
        self.links.remove(&id);
        self.edges[edge].edge.fleet.report_dial_failure(&view.id, view.incarnation);
        self.tell_link(relay, number, LinkEvent::Failed(failure));
    }

    pub(super) fn tell_link(&mut self, relay: RelayNo, number: LinkNo, event: LinkEvent) {
        self.note(|| format!("   link {number:?} of {relay:?}: {event:?}"));
        let Some(known) = self.relays.get_mut(&relay) else { return };
        known.is_timed = false; // as the relay, which asks for the deadline again
        known.driver.on_link(number, event);
    }

    /// The edge closes a link, if it has not yet.
    pub(super) fn close_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match std::mem::replace(&mut link.phase, LinkPhase::Closed) {
            LinkPhase::Dialling => drop(self.links.remove(&id)),
            LinkPhase::Open => self.push_up(id, Up::Close),
            LinkPhase::Closed => {}
        }
    }

    pub(super) fn backend_reads(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let backend = &mut self.backends[link.backend];
        if backend.is_frozen {
            return backend.held.push(id);
        }
        let (number, relay, now) = (link.backend, link.relay, self.clock.now());
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
                self.check_arrival(relay, (id, number), &text);
                self.carry_out(number, outputs);
            }
            Up::Close => {
                process.kms.close(far);
                process.conns.remove(&far);
                self.links.remove(&id);
            }
        }
    }

    pub(super) fn kms_ticks(&mut self, backend: usize, number: u32) {
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
    pub(super) fn carry_out(&mut self, backend: usize, outputs: Vec<KmsOutput>) {
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
        if let Some(prober) = process.and_then(|process| process.lines.get(&conn)).copied() {
            return self.send_down_line(prober, text);
        }
        let session = process.and_then(|process| process.kms.session_of(conn));
        let session = session.unwrap_or_default().to_owned();
        let id = process.and_then(|process| process.conns.get(&conn)).copied();
        let Some(link) = id.and_then(|id| self.links.get_mut(&id)) else { return };
        let down = match text {
            Ok(answer) => Down::Answer(answer),
            Err(event) => {
                link.events_sent += 1;
                let link_id = id.expect("its link was found");
                let tag = EventTag { link: link_id, number: link.events_sent, session };
                Down::Event(tag, event)
            }
        };
        self.push_down(id.expect("its link was found"), down);
    }

    pub(super) fn edge_reads_link(&mut self, id: LinkId) {
        let Some(relay) = self.links.get(&id).map(|link| link.relay) else { return };
        if self.waits(relay, || Happening::EdgeReadsLink(id)) {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(down) = link.down.pop() else { return };
        let (relay, number, is_open) = (link.relay, link.number, link.phase == LinkPhase::Open);
        if !is_open {
            match down {
                Down::Answer(text) if self.bug == Some(Bug::LateAnswer) => {
                    self.send_to_client(relay, text, None);
                }
                Down::Answer(_) | Down::Event(..) => {}
                Down::Cut => drop(self.links.remove(&id)),
            }
            return;
        }
        match down {
            Down::Answer(text) => {
                if !self.is_refused(relay, &text) {
                    self.learn(id, &text);
                } else if self.bug == Some(Bug::LateAnswer) {
                    self.send_to_client(relay, text.clone(), None);
                }
                self.drive(relay, None, |driver, out| {
                    driver.on_backend(number, &text, out);
                });
                self.check_learned();
            }
            Down::Event(tag, text) => {
                link.events_read = tag.number;
                let is_waiting = || {
                    let known = self.relays.get(&relay);
                    known.is_some_and(|known| known.driver.session().sizes().calls > 0)
                };
                if self.bug == Some(Bug::DroppedEvent) && is_waiting() {
                    return;
                }
                self.drive(relay, Some(&tag), |driver, out| {
                    driver.on_backend(number, &text, out);
                });
            }
            Down::Cut => {
                let Some(link) = self.links.remove(&id) else { return };
                let (edge, backend) = (link.edge, link.view.id.clone());
                self.edges[edge].edge.fleet.report_cut(&backend);
                self.tell_link(relay, number, LinkEvent::Failed(LinkFailure::Cut));
            }
        }
    }

    pub(super) fn thaw(&mut self, backend: usize) {
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
}
