//! What a session does with the guard's verdict: whom it may touch, what is bounded.

use std::borrow::Cow;
use std::sync::Arc;

use super::calls::{Learn, TransactionLearn};
use super::route::Going;
use super::{LinkNo, Output, Session, Ticket};
use crate::model::{BackendId, MeetingName, PipelineId};
use crate::policy::access::{Access, Isolation};
use crate::policy::guard::{Rules, Subscription, Verdict};
use crate::protocol::error::Failure;
use crate::protocol::request::Hints;
use crate::protocol::transaction::Transaction;

/// When a call that blocks may be tried again, in milliseconds: what a recorder takes to end its file.
const BLOCKING_RETRY_MS: u32 = 1_000;

impl Session {
    /// The same session under `rules`; without any, it is open and has the policy's built-in rows.
    #[must_use]
    pub fn under(mut self, rules: Arc<Rules>) -> Self {
        self.on_moved(self.url.clone(), rules);
        self
    }

    /// What it may touch of what others made.
    #[must_use]
    pub fn access(&self) -> Access<'_> {
        match self.rules.isolation {
            Isolation::Open => Access::All,
            Isolation::Meeting => {
                Access::Meetings(Cow::Borrowed(&self.meetings), Cow::Borrowed(&self.own))
            }
            Isolation::Session => Access::Own(Cow::Borrowed(&self.own)),
        }
    }

    /// As what it may use a `pipeline` that this process does not know, but for the meeting that is
    /// `noted` of it: one of that meeting, or of none; `None` if not at all. What is kept apart from
    /// others could otherwise be had before its owner is back; but of what is not noted, a session from
    /// before this process may be the maker.
    #[must_use]
    pub fn may_find(
        &self,
        pipeline: PipelineId,
        noted: Option<MeetingName>,
    ) -> Option<Option<MeetingName>> {
        let Some(meeting) = noted else {
            return match self.rules.isolation {
                Isolation::Open => Some(None),
                Isolation::Meeting => self.is_found.then(|| self.url.meeting.clone()),
                Isolation::Session => self.is_found.then_some(None),
            };
        };
        let may = match self.rules.isolation {
            Isolation::Open => true,
            Isolation::Meeting => self.meetings.contains(&meeting) || self.own.contains(&pipeline),
            Isolation::Session => self.own.contains(&pipeline),
        };
        may.then_some(Some(meeting))
    }

    /// Lets a call that the guard let pass go on; `false` if it was parked, because it refers to a
    /// pipeline met for the first time.
    pub(super) fn admit(
        &mut self,
        going: &Going<'_>,
        verdict: &Verdict<'_>,
        out: &mut Vec<Output>,
    ) -> Result<bool, Failure> {
        for (pipeline, object) in &verdict.references {
            if self.pipelines.contains_key(pipeline) {
                continue;
            }
            if going.absent.contains(pipeline) {
                return Err(Failure::object_not_found(object));
            }
            self.park(going, *pipeline, out)?;
            return Ok(false);
        }
        if !verdict.subscriptions.is_empty() {
            self.note_subscriptions(&verdict.subscriptions)?;
        }
        Ok(true)
    }

    fn note_subscriptions(&mut self, all: &[Subscription<'_>]) -> Result<(), Failure> {
        let is_made = |one: &&Subscription<'_>| matches!(one, Subscription::Made(..));
        let more = all.iter().filter(is_made).count();
        if more > 0 {
            self.check_subscriptions(more)?;
        }
        for one in all {
            match one {
                Subscription::Made(..) => {}
                Subscription::Ended(object, id) => self.subscriptions.on_ended(id, object),
                Subscription::Released(object) => self.subscriptions.on_released(object),
            }
        }
        Ok(())
    }

    /// Whether there is room for so many more subscriptions.
    fn check_subscriptions(&mut self, more: usize) -> Result<(), Failure> {
        let max = self.bounds.subscriptions_max;
        if self.subscriptions.len() + more > max {
            self.subscriptions.forget_unused(|pipeline| self.pipelines.contains_key(&pipeline));
        }
        if self.subscriptions.len() + more <= max {
            return Ok(());
        }
        Err(Failure::not_enough_resources(
            "this connection has too many subscriptions; end some, or open another connection",
        ))
    }

    /// Notes that this connection takes part in the meeting that `hints` name.
    pub(super) fn take_part(&mut self, hints: &Hints) {
        if self.rules.isolation == Isolation::Meeting
            && let Some(meeting) = &hints.meeting
        {
            self.meetings.add(meeting, self.bounds.pipelines_max);
        }
    }

    /// What is to be learned from the answer to a transaction; `creates` has the tickets of its places.
    pub(super) fn transaction_learn(
        &mut self,
        verdict: &Verdict<'_>,
        creates: Vec<(usize, Ticket)>,
        Transaction { releases, media, .. }: Transaction,
    ) -> Learn {
        let subscribes = verdict.subscriptions.iter().filter_map(|one| match one {
            Subscription::Made(index, object) => Some((*index, object.as_ref().into())),
            Subscription::Ended(..) | Subscription::Released(_) => None,
        });
        let subscribes = subscribes.collect();
        let blocks = verdict.blocks.then(|| self.next_ticket());
        TransactionLearn { creates, releases, media, subscribes, blocks }.into_learn()
    }

    /// A call that blocks was not sent, because its backend has enough of them.
    pub(super) fn on_not_sent(&mut self, link: LinkNo, ticket: Ticket, out: &mut Vec<Output>) {
        let Some(call) = self.links[link.0].sent_mut().withdraw(ticket) else { return };
        call.learn.abandon(out);
        let failure = Failure::busy(
            "too many calls that block are under way on this media server; try again",
            BLOCKING_RETRY_MS,
        );
        out.push(Output::Refuse(call.id.as_str().to_owned(), failure));
    }
}

/// Sends a message over an open link: `text`, or without one that at hand.
pub(super) fn send(
    link: LinkNo,
    backend: &BackendId,
    blocks: Option<Ticket>,
    text: Option<String>,
) -> Output {
    match (blocks, text) {
        (Some(ticket), text) => Output::SendBlocking(link, backend.clone(), ticket, text),
        (None, Some(text)) => Output::ToBackend(link, text),
        (None, None) => Output::Relay(link),
    }
}
