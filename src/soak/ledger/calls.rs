//! Calls: each sent, and settled once.

use std::time::Duration;

use super::violation::Kind;
use super::{Ledger, violation};
use crate::model::Time;

/// A call: the number of its session's client, and its id there, which is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::soak) struct CallId {
    pub(in crate::soak) client: u32,
    pub(in crate::soak) id: u64,
}

/// What a call is about.
#[derive(Clone, Debug)]
pub(in crate::soak) struct CallNote {
    pub(in crate::soak) meeting: String,
    pub(in crate::soak) method: &'static str,
    /// The pipeline it is about, if it is about one that exists.
    pub(in crate::soak) pipeline: Option<String>,
}

/// An answer as it came.
#[derive(Clone, Copy, Debug)]
pub(in crate::soak) struct Answer<'a> {
    /// The code of the error, if it is one.
    pub(in crate::soak) outcome: Result<(), i64>,
    /// The frame.
    pub(in crate::soak) text: &'a str,
}

/// A call without an outcome.
#[derive(Debug)]
pub(super) struct OpenCall {
    note: CallNote,
    /// When it was last sent.
    sent: Time,
    /// Number of the connection it was last sent on; `None` since that was cut.
    connection: Option<u32>,
}

impl Ledger {
    /// A call was sent on the client's connection number `connection`, for the first time or again.
    pub(in crate::soak) fn sent(
        &mut self,
        id: CallId,
        connection: u32,
        (note, text): (&CallNote, &str),
        now: Time,
    ) {
        let line = format!("client {} connection {connection} > {text}", id.client);
        self.note(&note.meeting, now, line);
        let open = OpenCall { note: note.clone(), sent: now, connection: Some(connection) };
        if self.open.insert(id, open).is_some() {
            self.counts.resent += 1;
            self.resent.insert(id);
            return;
        }
        self.counts.calls += 1;
        let highest = self.highest.entry(id.client).or_default();
        *highest = id.id.max(*highest);
    }

    /// An answer came for `id`. Says whether the call was open, and is settled now.
    pub(in crate::soak) fn came(&mut self, id: CallId, answer: Answer<'_>, now: Time) -> bool {
        let Some(call) = self.open.remove(&id) else {
            self.came_unexpected(id, answer, now);
            return false;
        };
        let note = call.note;
        self.note(&note.meeting, now, format!("client {} < {}", id.client, answer.text));
        match answer.outcome {
            Ok(()) => {
                self.counts.answered += 1;
                if let Some(pipeline) = &note.pipeline {
                    self.served(&note.meeting, pipeline, (call.sent, now));
                }
            }
            Err(code) => *self.counts.refused.entry((note.method, code)).or_default() += 1,
        }
        true
    }

    fn came_unexpected(&mut self, id: CallId, answer: Answer<'_>, now: Time) {
        let CallId { client, id: number } = id;
        let was_sent = self.highest.get(&client).is_some_and(|highest| number <= *highest);
        if self.silent.remove(&id) {
            self.counts.late += 1;
        } else if self.resent.remove(&id) {
            self.counts.answered_each += 1;
        } else {
            let kind = if was_sent { Kind::Twice } else { Kind::Unasked };
            self.violate(kind, "", format!("client {client} id {number}: {}", answer.text), now);
        }
    }

    /// The connection of `client` ended: its open calls are cut off.
    pub(in crate::soak) fn cut(&mut self, client: u32, now: Time) {
        let of_client = CallId { client, id: 0 }..=CallId { client, id: u64::MAX };
        let mut cut = Vec::new();
        for (id, call) in self.open.range_mut(of_client) {
            if call.connection.take().is_some() {
                cut.push((id.id, call.note.meeting.clone()));
            }
        }
        self.counts.cut += cut.len() as u64;
        for (id, meeting) in cut {
            self.note(&meeting, now, format!("client {client} is cut off, id {id} open"));
        }
    }

    /// The client will not send `id` again, which was cut off.
    pub(in crate::soak) fn given_up(&mut self, id: CallId) {
        if self.open.remove(&id).is_some() {
            self.counts.given_up += 1;
        }
    }

    /// Time until the first open call of `client` is overdue; `None` if it has none.
    pub(in crate::soak) fn overdue_in(&self, client: u32, now: Time) -> Option<Duration> {
        let first = self.open_of(client).map(|(_, call)| call.sent).min()?;
        Some((first + self.answer_within).since(now))
    }

    /// Calls of `client` on its open connection that had no answer in time: they are lost, and will
    /// not be waited for.
    pub(in crate::soak) fn overdue(&mut self, client: u32, now: Time) -> Vec<u64> {
        let is_overdue = |sent: Time| now.since(sent) >= self.answer_within;
        let overdue = self.open_of(client).filter(|(_, call)| is_overdue(call.sent));
        let overdue: Vec<CallId> = overdue.map(|(id, _)| id).collect();
        for &id in &overdue {
            self.lose_silently(id, now);
        }
        overdue.into_iter().map(|id| id.id).collect()
    }

    fn open_of(&self, client: u32) -> impl Iterator<Item = (CallId, &OpenCall)> {
        let of_client = CallId { client, id: 0 }..=CallId { client, id: u64::MAX };
        let open = self.open.range(of_client);
        open.filter(|(_, call)| call.connection.is_some()).map(|(id, call)| (*id, call))
    }

    pub(super) fn lose_silently(&mut self, id: CallId, now: Time) {
        let Some(call) = self.open.remove(&id) else { return };
        self.counts.silent += 1;
        if self.silent.len() < super::KNOWN_MAX {
            self.silent.insert(id);
        }
        let waited = now.since(call.sent);
        let home = call.note.pipeline.as_deref().map(|one| self.home_name(&call.note.meeting, one));
        let what = format!(
            "client {} id {} ({}) has no answer after {waited:.1?}, {}",
            id.client,
            id.id,
            call.note.method,
            home.unwrap_or_else(|| "of no pipeline".to_owned()),
        );
        self.violate(violation::Kind::Silent, &call.note.meeting, what, now);
    }

    /// An answer that came has not the value that its call asks for.
    pub(in crate::soak) fn wrong_answer(&mut self, meeting: &str, what: String, now: Time) {
        self.violate(Kind::WrongAnswer, meeting, what, now);
    }
}
