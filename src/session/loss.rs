//! What becomes of calls when their link fails: each is answered once, or tried elsewhere.

use std::time::Duration;

use super::calls::{Call, CallId, Calls, Learn};
use super::held::Budget;
use super::{Held, Link, LinkFailure, LinkNo, Output, Phase, Session, Waiting, complete};
use crate::model::{PipelineId, Time};
use crate::protocol::loss::{self as words, OnLoss};
use crate::protocol::request::{MANAGER, Method, parse_request};

/// Time from a break to sending calls again. What the backend was still at is done then, and found in
/// its answer cache; run side by side, a call would be run twice, and the link that broke would take
/// the session from the new one with its last answer. Most calls take a millisecond, `processOffer` on
/// a full server a third of a second. Source: Kurento protocol notes, sections 3.3, 8 and 13.
pub(super) const SETTLE: Duration = Duration::from_millis(500);

/// Pauses before a link that nobody waits for is opened again; each is twice as long as the last.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// When a link is opened again.
#[derive(Debug)]
pub(super) struct Retry {
    at: Time,
    /// How long before that it failed.
    pause: Duration,
}

impl Link {
    /// When it is to be opened again although no message wants it.
    pub(super) fn retry_at(&self) -> Option<Time> {
        let is_closed = matches!(self.phase, Phase::Closed);
        self.retry.as_ref().filter(|_| is_closed).map(|retry| retry.at)
    }
}

impl Session {
    pub(super) fn on_link_failed(
        &mut self,
        link: LinkNo,
        failure: LinkFailure,
        out: &mut Vec<Output>,
    ) {
        if failure == LinkFailure::Lost {
            self.forget_pipelines_of(link, out);
            self.links[link.0].is_resumed = false;
        }
        let failed = &mut self.links[link.0];
        failed.had_earlier |= matches!(failed.phase, Phase::Open { .. });
        // The edge's own call was under way then.
        let was_settling = std::mem::take(&mut failed.is_settling);
        if was_settling {
            failed.again_at = self.now + SETTLE;
        }
        match std::mem::replace(&mut failed.phase, Phase::Closed) {
            Phase::Closed => {}
            Phase::Opening(held) => self.on_not_opened(link, (was_settling, held), failure, out),
            Phase::Open { is_tied, calls, queue } => {
                let held = queue.map(|queue| queue.give_up(out)).unwrap_or_default();
                self.on_broken(link, (is_tied, calls, held.into()), failure, out);
            }
        }
        // One that is opened again is tied then.
        if matches!(self.links[link.0].phase, Phase::Closed) {
            self.retry_later(link);
            self.on_tied(link, out);
        }
    }

    /// Nothing has brought the link back. If the session has something there it is tried again from
    /// time to time: without a link no events come, and after some minutes Kurento collects the
    /// session. Source: Kurento protocol notes, section 3.5.
    fn retry_later(&mut self, link: LinkNo) {
        let is_wanted = self.has_something_at(link);
        let failed = &mut self.links[link.0];
        let pause = failed.retry.take().map_or(RETRY_FIRST, |last| last.pause * 2).min(RETRY_MAX);
        failed.retry = is_wanted.then(|| Retry { at: self.now + pause, pause });
    }

    /// Opens those links again for which it is time.
    pub(super) fn retry(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        let Some(at) = self.links[link.0].retry_at() else { return };
        if !self.has_something_at(link) {
            self.links[link.0].retry = None;
        } else if at <= self.now {
            self.tie(link, out);
        }
    }

    /// An open link broke. If its backend may live it is opened again: for the calls that are then sent
    /// again, for what waited for its turn, or for what the session has there, because an open link keeps
    /// it alive and events come by it. Without calls only a link that was once tied is reopened, or for
    /// which a client that comes back waits, so that a backend which cuts every link is not dialled
    /// without end.
    fn on_broken(
        &mut self,
        link: LinkNo,
        (is_tied, mut calls, held): (bool, Calls, Vec<Held>),
        failure: LinkFailure,
        out: &mut Vec<Output>,
    ) {
        if failure == LinkFailure::Lost {
            calls.drain().for_each(|call| self.on_call_failed(&call, failure, out));
            return self.on_all_held_failed(link, held, failure, out);
        }
        if !calls.is_empty() {
            self.links[link.0].again_at = self.now + SETTLE;
        }
        let (given_up, why) = match failure {
            LinkFailure::TooLong => (calls.drain().collect(), failure),
            LinkFailure::Cut | LinkFailure::Unreachable | LinkFailure::Lost => {
                (calls.give_up_stale(self.now), LinkFailure::Cut)
            }
        };
        for call in given_up {
            self.on_call_failed(&call, why, out);
        }
        if is_tied {
            self.links[link.0].retry = None;
        }
        let is_wanted = is_tied && self.has_something_at(link) || self.is_tying(link);
        let (staying, moving) = part(held);
        if !calls.is_empty() || !staying.is_empty() || is_wanted {
            self.links[link.0].again = calls;
            self.reopen(link, staying, out);
        }
        self.on_all_held_failed(link, moving, failure, out);
    }

    /// A link could not be opened, or broke again before anything but the edge's own call went over it.
    /// That is tried again as long as calls wait that were sent already, and with those what came behind
    /// them; three times for each.
    fn on_not_opened(
        &mut self,
        link: LinkNo,
        (was_settling, held): (bool, Vec<Held>),
        failure: LinkFailure,
        out: &mut Vec<Output>,
    ) {
        let mut again = std::mem::take(&mut self.links[link.0].again);
        let given_up = match failure {
            LinkFailure::Lost => again.drain().map(|call| (call, failure)).collect(),
            // They were sent, on the link that broke.
            LinkFailure::Cut | LinkFailure::TooLong | LinkFailure::Unreachable => {
                let stale = again.give_up_stale(self.now).into_iter();
                stale.map(|call| (call, LinkFailure::Cut)).collect::<Vec<_>>()
            }
        };
        for (call, failure) in given_up {
            self.on_call_failed(&call, failure, out);
        }
        let mut moving = held;
        if !again.is_empty() || was_settling && failure != LinkFailure::Lost {
            let staying;
            (staying, moving) = part(moving);
            if !again.is_empty() || !staying.is_empty() {
                self.links[link.0].again = again;
                self.reopen(link, staying, out);
            }
        }
        self.on_all_held_failed(link, moving, failure, out);
    }

    /// Opens a link with a call of the edge's own that ties it to the session.
    pub(super) fn tie(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        self.reopen(link, Vec::new(), out);
    }

    /// Opens a link again, with a call of the edge's own that ties it to the session before `held` and
    /// what is sent again go over it.
    fn reopen(&mut self, link: LinkNo, held: Vec<Held>, out: &mut Vec<Output>) {
        let own = self.own_call();
        let to = &mut self.links[link.0];
        to.again.count_attempt();
        to.phase = Phase::Opening(std::iter::once(own).chain(held).collect());
        out.push(Output::OpenLink(link, to.backend.clone()));
    }

    pub(super) fn own_call(&mut self) -> Held {
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
        Held { waiting, opening: None, call, budget: Budget::Free, cost: 0, since: self.now }
    }

    /// The link is open again, too early for the calls that are to be sent again; whether that is so.
    /// What follows them waits too; events do not.
    pub(super) fn settles(&mut self, link: LinkNo, out: &mut Vec<Output>) -> bool {
        let to = &mut self.links[link.0];
        to.is_settling = self.now < to.again_at;
        if !to.is_settling {
            return false;
        }
        let own = self.own_call();
        out.push(Output::ToBackend(link, own.waiting.text));
        true
    }

    /// The link is open again: the calls that were under way go over it once more, with the same ids
    /// and texts, so that those which were answered already are not run again.
    pub(super) fn send_again(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        let mut again = std::mem::take(&mut self.links[link.0].again);
        for call in again.give_up_late(self.now) {
            self.on_call_failed(&call, LinkFailure::Cut, out);
        }
        out.extend(again.texts().map(|text| Output::Again(link, self.naming_session(text))));
        if let Phase::Open { calls, .. } = &mut self.links[link.0].phase {
            calls.take_over(again);
        }
    }

    /// `text`, a call that was sent before, with the session in it. Kurento puts it in where it is
    /// missing, so for its answer cache that is the same call.
    fn naming_session(&self, text: String) -> String {
        match parse_request(&text, self.bounds.depth_max) {
            Ok(request) if request.params.session_id.is_none() => {
                complete(&text, request.params.opening, &self.id)
            }
            Ok(_) | Err(_) => text,
        }
    }

    /// The objects of a lost backend exist no more.
    fn forget_pipelines_of(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        let Self { pipelines, manager, bounds, .. } = self;
        pipelines.retain(|pipeline, at| {
            if *at == link {
                manager.on_lost(*pipeline, bounds.pipelines_max);
                out.push(Output::Unheld(*pipeline));
            }
            *at != link
        });
    }

    /// These pipelines are gone from their backends, which live: their meetings were let go.
    pub fn on_let_go(&mut self, gone: &[PipelineId], out: &mut Vec<Output>) {
        let had_something = self.has_something();
        self.pipelines.retain(|pipeline, _| !gone.contains(pipeline));
        self.on_less(had_something, out);
    }

    /// Whether it has anything on any backend.
    pub(super) fn has_something(&self) -> bool {
        !self.pipelines.is_empty() || self.links.iter().any(|link| link.is_resumed)
    }

    /// Whether it has nothing on any backend, and nothing is under way that it may have there soon.
    #[must_use]
    pub fn has_nothing_left(&self) -> bool {
        !self.has_something() && self.making == 0 && !self.is_placing()
    }

    /// Whether a message waits for a place.
    #[must_use]
    pub fn is_placing(&self) -> bool {
        !self.placing.is_empty() || !self.parked.is_empty() || self.resuming.is_some()
    }

    /// It may have lost the last of what it had. Then its session is one that a restarted server does
    /// not know, until it has something again.
    pub(super) fn on_less(&mut self, had_something: bool, out: &mut Vec<Output>) {
        if !had_something || !self.has_nothing_left() {
            return;
        }
        self.is_bereft = true;
        match self.rules.on_loss {
            OnLoss::Errors => {}
            OnLoss::Close => out.push(Output::Bereft),
        }
    }

    /// Whether its client is closed when it has lost everything.
    #[must_use]
    pub fn closes_on_loss(&self) -> bool {
        self.rules.on_loss == OnLoss::Close
    }

    fn on_all_held_failed(
        &mut self,
        link: LinkNo,
        held: Vec<Held>,
        failure: LinkFailure,
        out: &mut Vec<Output>,
    ) {
        for held in held {
            self.let_go(&held);
            self.on_held_failed(link, held, failure, out);
        }
    }

    /// A message that never left can go elsewhere, unless it is about something that lives there.
    fn on_held_failed(
        &mut self,
        link: LinkNo,
        held: Held,
        failure: LinkFailure,
        out: &mut Vec<Output>,
    ) {
        let may_move = held.may_move();
        let Held { mut waiting, call, .. } = held;
        if may_move {
            call.learn.abandon(out);
            waiting.attempts += 1;
            waiting.avoid = Some(self.links[link.0].backend.clone());
            self.route_again(&waiting, out);
        } else {
            let failure = match failure {
                // It broke before this was sent.
                LinkFailure::Cut | LinkFailure::TooLong | LinkFailure::Unreachable => {
                    LinkFailure::Unreachable
                }
                LinkFailure::Lost => LinkFailure::Lost,
            };
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
            | Learn::Media(_)
            | Learn::Transaction(_)
            | Learn::Subscribed(_)
            | Learn::Blocking(_) => {}
        }
        let answer = match failure {
            LinkFailure::Cut => words::cut(),
            LinkFailure::TooLong => words::too_long(),
            LinkFailure::Unreachable => words::unreachable(),
            LinkFailure::Lost if call.learn.creates() => words::lost_creating(),
            LinkFailure::Lost => return self.answer_lost(call, out),
        };
        out.push(Output::Refuse(call.id.as_str().to_owned(), answer));
    }

    fn answer_lost(&self, call: &Call, out: &mut Vec<Output>) {
        if call.goes_anywhere || call.method == Method::Transaction {
            return out.push(Output::Refuse(call.id.as_str().to_owned(), words::lost_answer()));
        }
        self.answer_gone(call, &words::lost_object(), out);
    }
}

/// Parts those that wait until their link is tried once more from the others.
fn part(mut held: Vec<Held>) -> (Vec<Held>, Vec<Held>) {
    let mut staying: Vec<Held> = held.extract_if(.., |held| held.may_stay()).collect();
    staying.iter_mut().for_each(|held| held.waiting.attempts += 1);
    (staying, held)
}
