//! A client that comes back names the session it had; this connection goes on with it.
//!
//! Only a connection that holds nothing yet can become another session. A session id is a secret of
//! 128 random bits, so whoever knows it is its client, as it is for a Kurento server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::subscriptions::ObjectSubscriptions;
use super::{LinkNo, Output, Phase, Remains, Session, Subscriptions, Waiting};
use crate::model::{BackendId, Finding, MeetingName, PipelineId, SessionId, Time};
use crate::policy::access::Meetings;
use crate::policy::guard::Rules;
use crate::protocol::error::Failure;
use crate::protocol::request::{Hints, Method, parse_request};

/// How long a client that is back waits for backends that do not answer. It is told that it is back
/// then all the same; its events from there flow when they do.
const TIE_MAX: Duration = Duration::from_secs(2);

/// A client is back, and is told so when its events flow again: a backend sends them to the
/// connection that named the session last. Source: Kurento protocol notes, section 3.3.
#[derive(Debug)]
pub(super) struct Tying {
    /// Links that are still to be tied to the session.
    links: Vec<LinkNo>,
    /// When it is waited for them no longer.
    pub(super) until: Time,
}

impl Session {
    /// Whether nothing would be lost if this connection became another session.
    pub(super) fn is_bare(&self) -> bool {
        self.pipelines.is_empty()
            && self.parked.is_empty()
            && self.placing.is_empty()
            && self.closings.is_empty()
            && self.making == 0
            && self.links.iter().all(|link| matches!(link.phase, Phase::Closed))
    }

    /// Asks what `other` holds; `text` waits, and all that follows.
    pub(super) fn resume(
        &mut self,
        other: SessionId,
        text: &str,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        self.hold(text)?;
        self.resuming = Some(VecDeque::from([text.to_owned()]));
        out.push(Output::Resume(other));
        Ok(())
    }

    /// Keeps a message behind those that wait for a session; `false` if none do.
    pub(super) fn wait_behind(&mut self, text: &str, out: &mut Vec<Output>) -> bool {
        if self.resuming.is_none() {
            return false;
        }
        let held = self.hold(text);
        match (&mut self.resuming, held) {
            (Some(waiting), Ok(())) => waiting.push_back(text.to_owned()),
            (_, Err(failure)) => {
                let id = parse_request(text, self.bounds.depth_max)
                    .map_or_else(|refused| refused.id.to_owned(), |request| request.id.to_owned());
                out.push(Output::Refuse(id, failure));
            }
            (None, Ok(())) => {}
        }
        true
    }

    /// The messages that wait for a session, for whoever has it at work.
    pub fn take_waiting(&mut self) -> Vec<String> {
        let waiting = self.resuming.take().unwrap_or_default();
        for text in &waiting {
            self.unhold(text);
        }
        waiting.into()
    }

    /// The client is on another connection, whose URL says this of every pipeline created there, and
    /// whose listener has these rules. What it uses it goes on using.
    pub fn on_moved(&mut self, url: Hints, rules: Arc<Rules>) {
        self.manager.set_scope(rules.isolation.into());
        self.rules = rules;
        self.take_part(&url);
        self.url = url;
    }

    /// Takes back what [`Self::take_waiting`] has given.
    pub fn wait_again(&mut self, waiting: Vec<String>) {
        self.held_bytes.place += waiting.iter().map(String::len).sum::<usize>();
        self.resuming = Some(waiting.into());
    }

    pub(super) fn on_resumed(&mut self, finding: Finding<Remains>, out: &mut Vec<Output>) {
        let retry_after_ms = match finding {
            Finding::Known(remains) => {
                self.become_(remains, out);
                return self.go_on_resumed(out);
            }
            Finding::Unknown => None,
            Finding::NotSure(retry_after_ms) => Some(retry_after_ms),
        };
        let mut waiting = self.take_waiting().into_iter();
        if let Some(first) = waiting.next() {
            match retry_after_ms {
                None => self.refuse_foreign(&first, out),
                Some(after_ms) => self.refuse_for_now(&first, after_ms, out),
            }
        }
        for text in waiting {
            self.on_waited(text, out);
        }
    }

    /// The client of this session is back. Somebody else may have named the session meanwhile, on
    /// another edge, so every link takes it again.
    pub(super) fn on_returned(&mut self, waiting: Vec<String>, out: &mut Vec<Output>) {
        self.resuming.get_or_insert_default();
        self.has_moved = true;
        self.links.iter_mut().for_each(|link| link.had_earlier = true);
        let mut links = Vec::new();
        for number in (0..self.links.len()).map(LinkNo) {
            let own = self.own_call();
            let kept_max = self.bounds.resend_max_bytes;
            match &mut self.links[number.0].phase {
                Phase::Closed => {}
                Phase::Opening(_) => links.push(number),
                // One with as many calls as it may have is tied by their answers.
                Phase::Open { calls, .. } if calls.len() >= self.bounds.calls_max => {}
                Phase::Open { calls, .. } => {
                    calls.push(own.call, &own.waiting.text, self.now, kept_max);
                    out.push(Output::ToBackend(number, own.waiting.text));
                    links.push(number);
                }
            }
        }
        self.await_ties(links);
        for text in waiting {
            self.wait_behind(&text, out);
        }
        self.go_on_resumed(out);
    }

    fn await_ties(&mut self, links: Vec<LinkNo>) {
        self.tying = Some(Tying { links, until: self.now + TIE_MAX });
    }

    /// Whether the client waits until `link` is tied.
    pub(super) fn is_tying(&self, link: LinkNo) -> bool {
        self.tying.as_ref().is_some_and(|tying| tying.links.contains(&link))
    }

    /// `link` is tied to the session, or will not be soon.
    pub(super) fn on_tied(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        if let Some(tying) = &mut self.tying {
            tying.links.retain(|waiting| *waiting != link);
            self.go_on_resumed(out);
        }
    }

    /// Does what the client wants, if it has waited for that long enough.
    pub(super) fn go_on_resumed(&mut self, out: &mut Vec<Output>) {
        let is_over = |tying: &Tying| tying.links.is_empty() || tying.until <= self.now;
        if !self.tying.as_ref().is_some_and(is_over) {
            return;
        }
        self.tying = None;
        for text in self.take_waiting() {
            self.on_waited(text, out);
        }
    }

    /// A message that had to wait for what came before it.
    fn on_waited(&mut self, text: String, out: &mut Vec<Output>) {
        if self.wait_behind(&text, out) {
            return;
        }
        match parse_request(&text, self.bounds.depth_max) {
            Ok(_) => {
                let waiting = Waiting { text, attempts: 0, avoid: None, absent: Vec::new() };
                self.route_again(&waiting, out);
            }
            Err(refused) => out.push(Output::Refuse(refused.id.to_owned(), refused.failure)),
        }
    }

    /// Goes on with another session: its links are opened again, so that its events flow.
    fn become_(&mut self, remains: Remains, out: &mut Vec<Output>) {
        let Remains { id, backends, pipelines, subscriptions, .. } = remains;
        self.meetings.add_all(&remains.meetings, self.bounds.pipelines_max);
        self.subscriptions = remains.object_subscriptions;
        (self.is_found, self.is_whole) = (remains.is_found, remains.is_whole);
        self.own = remains.own;
        self.id = id;
        self.is_told = true;
        self.has_moved = true;
        (self.is_closed, self.is_bereft) = (false, false);
        self.links.clear();
        self.manager.become_(subscriptions);
        for (pipeline, backend) in pipelines {
            let link = self.link_to(&backend);
            self.know(pipeline, link, out);
        }
        let mut tying = Vec::new();
        for backend in backends {
            let link = self.link_to(&backend);
            self.links[link.0].is_resumed = true;
            if matches!(self.links[link.0].phase, Phase::Closed) {
                self.tie(link, out);
                tying.push(link);
            }
        }
        self.await_ties(tying);
    }

    /// What a later connection needs to go on with this session; `None` if there is nothing to go on
    /// with: the client was never told of it, or has closed it, or all that it had was lost.
    #[must_use]
    pub fn remains(&self) -> Option<Remains> {
        if !self.is_told || self.is_closed || self.is_bereft {
            return None;
        }
        let is_used = |index: &usize| {
            let is_open = !matches!(self.links[*index].phase, Phase::Closed);
            is_open || self.has_something_at(LinkNo(*index))
        };
        let used = (0..self.links.len()).filter(is_used);
        let place = |link: usize| self.links[link].backend.clone();
        Some(Remains {
            id: self.id,
            backends: used.map(place).collect(),
            is_whole: self.is_whole,
            pipelines: self.pipelines.iter().map(|(id, link)| (*id, place(link.0))).collect(),
            subscriptions: self.manager.subscriptions(),
            object_subscriptions: self.subscriptions.clone(),
            meetings: self.meetings.clone(),
            is_found: self.is_found,
            own: self.own.clone(),
        })
    }
}

impl Remains {
    /// A session that nobody here knows, found on these backends, which are all if `is_whole`. `made`
    /// are pipelines that are noted as its own: it takes part in their meetings.
    #[must_use]
    pub fn found(
        id: SessionId,
        (backends, is_whole): (Vec<BackendId>, bool),
        made: &[(PipelineId, MeetingName)],
    ) -> Self {
        let mut meetings = Meetings::default();
        made.iter().for_each(|(_, meeting)| meetings.add(meeting, made.len()));
        Self {
            id,
            backends,
            is_whole,
            pipelines: Vec::new(),
            subscriptions: Subscriptions::default(),
            object_subscriptions: ObjectSubscriptions::default(),
            meetings,
            is_found: true,
            own: made.iter().map(|(pipeline, _)| *pipeline).collect(),
        }
    }
}

/// Whether `method` may go on with another session. `closeSession` and `ping` succeed for any.
pub(super) const fn asks_for_session(method: Method) -> bool {
    !matches!(method, Method::Ping)
}
