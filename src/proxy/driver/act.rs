//! Carries out what a session says.

use std::sync::Arc;

use super::{Driver, Event, Found, LinkEvent, Wires};
use crate::model::{BackendId, Finding, PipelineId, remove_lean};
use crate::policy::access::Access;
use crate::protocol::answer;
use crate::protocol::request::Method;
use crate::proxy::manager;
use crate::proxy::stopwatch::Routed;
use crate::session::{LinkFailure, LinkNo, ManagerCall, Output, Ticket, Wish};
use crate::telemetry::LocalAnswer;

impl Driver {
    /// Carries out `output`; `at_hand` is the message that is being handled.
    pub(super) fn act(&mut self, output: Output, at_hand: &str, wires: &mut impl Wires) {
        self.routed = Routed::of(&output).unwrap_or(self.routed);
        self.is_stirred |= stirs(&output);
        match output {
            Output::Relay(link) => wires.send_to_backend(link, at_hand),
            Output::RelayToClient => self.send_to_client(at_hand, wires),
            Output::ToBackend(link, text) => wires.send_to_backend(link, &text),
            Output::Pace(ticket, backend, ask) => self.turns.ask(&self.edge, ticket, &backend, ask),
            Output::Unpace(ticket) => self.turns.give_back(ticket),
            Output::SendBlocking(link, to, ticket, text) => {
                self.send_blocking((link, to), ticket, text.as_deref().unwrap_or(at_hand), wires);
            }
            Output::Unblocked(ticket, is_answered) => self.on_unblocked(ticket, is_answered),
            Output::Again(link, text) => {
                self.edge.metrics.on_resent();
                wires.send_to_backend(link, &text);
            }
            Output::Answer(method, text) => {
                self.edge.metrics.on_local_answer(local_answer(method));
                self.send_to_client(&text, wires);
            }
            Output::Refuse(id, failure) => {
                self.edge.metrics.on_error_sent(failure.code);
                self.send_to_client(&failure.to_text(&id), wires);
            }
            Output::Manager(id, call) => self.answer_for_manager(&id, call, wires),
            Output::Listen(answer) => self.hearing.listen(&self.edge.fleet, answer),
            Output::StopListening => self.hearing.stop(),
            Output::Event(event) => {
                let text = self.edge.manager.event_text(&event).into_owned();
                self.send_to_client(&text, wires);
            }
            Output::EventsLost(count) => {
                self.send_to_client(&self.edge.manager.loss_text(count), wires);
            }
            Output::OpenLink(link, backend) => self.open_link(link, &backend, wires),
            Output::Place(ticket, wish) => self.place(ticket, wish),
            Output::Locate(pipeline) => self.locate(pipeline),
            Output::Resume(id) => self.wish = Some(id),
            Output::Created(ticket, pipeline) => self.on_created(ticket, pipeline),
            Output::NotCreated(ticket) => drop(remove_lean(&mut self.claims, &ticket)),
            Output::Released(pipeline) => {
                self.edge.placement.keeper.released(pipeline, self.edge.now());
            }
            Output::MediaChanged(pipeline, change) => {
                self.edge.registry().change(pipeline, &change, self.edge.now());
            }
            Output::Unheld(pipeline) => self.edge.registry().unhold(pipeline, self.edge.now()),
            Output::Prune => self.prune(),
            Output::Stray => self.edge.metrics.on_stray(),
            Output::TimedOut(link, count) => {
                self.edge.metrics.on_timed_out(count);
                wires.report_timeout(link);
            }
            Output::Late => self.edge.metrics.on_late(),
            Output::Tried(link, tried) => wires.report_tried(link, tried),
            Output::Bereft => self.is_bereft = true,
        }
    }

    fn open_link(&mut self, link: LinkNo, backend: &BackendId, wires: &mut impl Wires) {
        let now = self.edge.backend(backend).and_then(|view| view.incarnation);
        let opened = match self.processes.is_lost(link, backend, now) {
            true => Err(LinkFailure::Lost),
            false => wires.open_link(link, backend),
        };
        if let Err(failure) = opened {
            self.on_link(link, LinkEvent::Failed(failure));
        }
    }

    fn prune(&mut self) {
        let known = |pipeline: &PipelineId| self.edge.registry().knows(*pipeline);
        let gone: Vec<_> = self.session.pipelines().filter(|p| !known(p)).collect();
        self.session.forget(&gone);
    }

    /// Sends a call that blocks, if its backend can bear one more.
    fn send_blocking(
        &mut self,
        (link, backend): (LinkNo, BackendId),
        ticket: Ticket,
        text: &str,
        wires: &mut impl Wires,
    ) {
        if self.edge.blocking.try_begin(&backend, self.edge.now()) {
            self.blocking.insert(ticket, backend);
            wires.send_to_backend(link, text);
        } else {
            self.events.push_back(Event::NotSent(link, ticket));
        }
    }

    fn on_unblocked(&mut self, ticket: Ticket, is_answered: bool) {
        let Some(backend) = self.blocking.remove(&ticket) else { return };
        if is_answered {
            self.edge.blocking.end(&backend);
        } else {
            self.edge.blocking.abandon(&backend, self.edge.now());
        }
    }

    fn answer_for_manager(&mut self, id: &str, call: ManagerCall, wires: &mut impl Wires) {
        let text = match manager::answer(&self.edge, &self.session, call) {
            Ok(value) => {
                self.edge.metrics.on_local_answer(LocalAnswer::Info);
                answer::value(id, self.session.id(), &value)
            }
            Err(failure) => {
                self.edge.metrics.on_error_sent(failure.code);
                failure.to_text(id)
            }
        };
        self.send_to_client(&text, wires);
    }

    fn place(&mut self, ticket: Ticket, wish: Wish) {
        let (edge, session) = (Arc::clone(&self.edge), *self.session.id());
        self.search(async move { Found::Placed(ticket, edge.place(wish, session).await) });
    }

    /// Finds out where a pipeline lives: this process knows, or the fleet is asked. One that the
    /// session may not touch is nowhere.
    fn locate(&mut self, pipeline: PipelineId) {
        let registry = self.edge.registry();
        let access = self.session.access();
        if let Some(home) = registry.hold(pipeline, &access) {
            return self.events.push_back(Event::Located(pipeline, Finding::Known(home.backend)));
        }
        let is_others = !matches!(access, Access::All) && registry.knows(pipeline);
        let noted = self.edge.placement.keeper.found.meeting_of(pipeline);
        let Some(meeting) = self.session.may_find(pipeline, noted).filter(|_| !is_others) else {
            return self.events.push_back(Event::Located(pipeline, Finding::Unknown));
        };
        let (edge, access) = (Arc::clone(&self.edge), access.into_owned());
        let (who, quota) = (*self.session.id(), Arc::clone(&self.quota));
        self.search(async move {
            Found::Located(pipeline, edge.find(pipeline, meeting, (who, &access), &quota).await)
        });
    }
}

/// Whether carrying out `output` may begin something that goes on by itself. What every message
/// brings does not.
const fn stirs(output: &Output) -> bool {
    match output {
        Output::Relay(_)
        | Output::RelayToClient
        | Output::ToBackend(..)
        | Output::Again(..)
        | Output::Answer(..)
        | Output::Refuse(..)
        | Output::Manager(..)
        | Output::Pace(..)
        | Output::Unpace(_)
        | Output::MediaChanged(..)
        | Output::Event(_)
        | Output::EventsLost(_)
        | Output::Stray
        | Output::Late
        | Output::Tried(..) => false,
        Output::SendBlocking(..)
        | Output::Unblocked(..)
        | Output::Listen(_)
        | Output::StopListening
        | Output::OpenLink(..)
        | Output::Place(..)
        | Output::Locate(_)
        | Output::Resume(_)
        | Output::Created(..)
        | Output::NotCreated(_)
        | Output::Released(_)
        | Output::Unheld(_)
        | Output::Prune
        | Output::Bereft
        | Output::TimedOut(..) => true,
    }
}

fn local_answer(method: Method) -> LocalAnswer {
    match method {
        Method::Ping => LocalAnswer::Ping,
        Method::Connect => LocalAnswer::Connect,
        Method::Describe => LocalAnswer::Describe,
        Method::CloseSession => LocalAnswer::CloseSession,
        Method::Create
        | Method::Invoke
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::Release
        | Method::Ref
        | Method::Unref
        | Method::KeepAlive
        | Method::Transaction => LocalAnswer::Other,
    }
}
