//! What becomes of calls when their link fails: each is answered once, or tried elsewhere.

use super::calls::{Call, CallId, Learn};
use super::{Held, LinkFailure, LinkNo, Output, Phase, Session, Waiting};
use crate::protocol::error::Failure;
use crate::protocol::request::{MANAGER, Method};

impl Session {
    pub(super) fn on_link_failed(
        &mut self,
        link: LinkNo,
        failure: LinkFailure,
        out: &mut Vec<Output>,
    ) {
        if failure == LinkFailure::Lost {
            self.forget_pipelines_of(link, out);
        }
        let phase = std::mem::replace(&mut self.links[link.0].phase, Phase::Closed);
        self.links[link.0].had_earlier |= matches!(phase, Phase::Open { .. });
        if failure == LinkFailure::Cut && matches!(phase, Phase::Open { is_tied: true, .. }) {
            self.reopen(link, out);
        }
        match phase {
            Phase::Closed => {}
            Phase::Opening(held) => {
                for held in held {
                    self.let_go(&held);
                    self.on_held_failed(link, held, failure, out);
                }
            }
            Phase::Open { mut calls, .. } => {
                for call in calls.drain() {
                    self.on_call_failed(&call, failure, out);
                }
            }
        }
    }

    /// Opens a link again that broke although its backend may live, if the session has something
    /// there: an open link keeps it alive, and events come by it. Only a link that was once tied is
    /// reopened, so that a backend which cuts every link is not dialled without end.
    fn reopen(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        if self.pipelines.values().any(|at| *at == link) {
            self.tie(link, out);
        }
    }

    /// Opens a link with a call of the edge's own that ties it to the session.
    pub(super) fn tie(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        let ticket = self.next_ticket();
        let id = format!("\"pinfold-tie-{}\"", ticket.0);
        let session = &self.id;
        let text = format!(
            r#"{{"id":{id},"jsonrpc":"2.0","method":"describe","params":{{"object":"{MANAGER}","sessionId":"{session}"}}}}"#
        );
        let call = Call {
            id: CallId::new(&id),
            method: Method::Describe,
            goes_anywhere: false,
            learn: Learn::Own,
        };
        let waiting = Waiting { text, attempts: 0, avoid: None, absent: Vec::new() };
        let backend = self.links[link.0].backend.clone();
        self.links[link.0].phase = Phase::Opening(vec![Held { waiting, opening: None, call }]);
        out.push(Output::OpenLink(link, backend));
    }

    /// The objects of a lost backend exist no more.
    fn forget_pipelines_of(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        self.pipelines.retain(|pipeline, at| {
            if *at == link {
                out.push(Output::Unheld(*pipeline));
            }
            *at != link
        });
    }

    /// A message that never left can go elsewhere, unless it is about something that lives there.
    fn on_held_failed(
        &mut self,
        link: LinkNo,
        held: Held,
        failure: LinkFailure,
        out: &mut Vec<Output>,
    ) {
        let Held { mut waiting, call, .. } = held;
        if call.learn.creates() || call.goes_anywhere {
            call.learn.abandon(out);
            waiting.attempts += 1;
            waiting.avoid = Some(self.links[link.0].backend.clone());
            self.route_again(&waiting, out);
        } else {
            self.on_call_failed(&call, failure, out);
        }
    }

    fn on_call_failed(&mut self, call: &Call, failure: LinkFailure, out: &mut Vec<Output>) {
        call.learn.abandon(out);
        match call.learn {
            Learn::Own => return,
            Learn::Closed(key, link) => return self.on_closed(key, link, out),
            Learn::Nothing
            | Learn::Created(_)
            | Learn::Released(_)
            | Learn::Transaction(_)
            | Learn::Subscribed(_)
            | Learn::Blocking(_) => {}
        }
        let answer = match failure {
            LinkFailure::Cut => Failure::unexpected(
                "the connection to the media server broke before it answered; the call may have run",
            ),
            LinkFailure::Unreachable => Failure::unexpected(
                "the media server that holds this object cannot be reached; try again",
            ),
            LinkFailure::Lost if call.learn.creates() => Failure::not_enough_resources(
                "the media server was lost before it answered; create the pipeline again",
            ),
            LinkFailure::Lost => return self.answer_lost(call, out),
        };
        out.push(Output::Refuse(call.id.as_str().to_owned(), answer));
    }

    fn answer_lost(&self, call: &Call, out: &mut Vec<Output>) {
        if call.goes_anywhere || call.method == Method::Transaction {
            let failure = Failure::unexpected("the media server was lost before it answered");
            return out.push(Output::Refuse(call.id.as_str().to_owned(), failure));
        }
        self.answer_gone(call, &Failure::object_lost(), out);
    }
}
