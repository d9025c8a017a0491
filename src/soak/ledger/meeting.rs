//! Pipelines of meetings: where each is, and when it was certainly served there.
//!
//! A pipeline was served from the answer to its `create` to the moment when the last call was sent that
//! succeeded: what happened within those bounds is certain, whatever the order on the way. A meeting is
//! split when two of its pipelines are in different processes of backends and were served at the same
//! time. What a client still believes in but gets no more than errors for, like the remnants on a
//! backend that was stopped and given up, is no split; if it is served again, it is one.

use super::process::ProcessNumber;
use super::trail::Trail;
use super::violation::Kind;
use super::{Ledger, STRANGERS_MAX};
use crate::model::Time;

/// Pipelines of one meeting that are remembered; the oldest are forgotten.
const PIPELINES_MAX: usize = 64;

/// What is known of a meeting.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    pipelines: Vec<Pipeline>,
    pub(super) trail: Trail,
}

#[derive(Debug)]
struct Pipeline {
    id: String,
    home: Option<ProcessNumber>,
    /// When its `create` was answered.
    born: Time,
    /// When the last call was sent that succeeded.
    served: Time,
    /// A client has released it, or is about to.
    is_released: bool,
    /// A client was told that it is gone.
    is_lost: bool,
    /// It was reported already.
    is_reported: bool,
}

impl Pipeline {
    /// Whether both were certainly served at the same time, in different processes.
    fn splits(&self, other: &Self) -> bool {
        let (Some(home), Some(other_home)) = (self.home, other.home) else { return false };
        home != other_home && self.born.max(other.born) <= self.served.min(other.served)
    }
}

impl Ledger {
    /// A client was told of a new pipeline in `meeting`, asked for and answered at the given times.
    pub(in crate::soak) fn created(
        &mut self,
        meeting: &str,
        pipeline: &str,
        (sent, answered): (Time, Time),
    ) {
        self.counts.pipelines += 1;
        let home = self.strangers.remove(pipeline).map(|(home, _)| home);
        if home.is_none() {
            self.homeless.insert(pipeline.to_owned(), meeting.to_owned());
        }
        let pipelines = &mut self.meeting(meeting).pipelines;
        if pipelines.len() == PIPELINES_MAX {
            pipelines.remove(0);
        }
        pipelines.push(Pipeline {
            id: pipeline.to_owned(),
            home,
            born: answered,
            served: sent,
            is_released: false,
            is_lost: false,
            is_reported: false,
        });
    }

    /// A backend has shown that it has `pipeline`.
    pub(in crate::soak) fn placed(&mut self, pipeline: &str, home: ProcessNumber, now: Time) {
        let Some(meeting) = self.homeless.remove(pipeline) else {
            if self.strangers.len() < STRANGERS_MAX {
                self.strangers.insert(pipeline.to_owned(), (home, now));
            }
            return;
        };
        if let Some(found) = self.meeting(&meeting).find(pipeline) {
            found.home = Some(home);
        }
        self.check_split(&meeting, pipeline, now);
    }

    /// A call about `pipeline` succeeded, sent and answered at the given times.
    pub(super) fn served(&mut self, meeting: &str, pipeline: &str, (sent, now): (Time, Time)) {
        let overdue = self.answer_within;
        let Some(found) = self.meeting(meeting).find(pipeline) else { return };
        found.served = found.served.max(sent);
        let is_homeless = found.home.is_none() && found.served.since(found.born) > overdue;
        if is_homeless && !found.is_reported {
            found.is_reported = true;
            self.violate(Kind::Homeless, meeting, format!("no backend has {pipeline}"), now);
        }
        self.check_split(meeting, pipeline, now);
    }

    /// A client is about to release `pipeline`: that it is gone for others is no loss then.
    pub(in crate::soak) fn releasing(&mut self, meeting: &str, pipeline: &str) {
        if let Some(found) = self.meeting(meeting).find(pipeline) {
            found.is_released = true;
        }
    }

    /// A client was told, by `code`, that `pipeline` is gone. Says whether it was a loss: it is none if
    /// another client has released it.
    pub(in crate::soak) fn lost(
        &mut self,
        (meeting, pipeline): (&str, &str),
        (client, code): (u32, i64),
        now: Time,
    ) -> bool {
        let Some(found) = self.meeting(meeting).find(pipeline) else { return true };
        if found.is_released {
            return false;
        }
        let (home, born) = (found.home, found.born);
        self.counts.losses += 1;
        match home {
            None => self.counts.losses_unplaced += 1,
            Some(home) if self.is_explained(home, born, now) => {
                self.count_move(meeting, pipeline, home);
            }
            Some(home) => {
                let home = self.story(home);
                let what = format!(
                    "client {client} was told {code} about {pipeline} on {home}, without a cause"
                );
                self.violate(Kind::WrongLoss, meeting, what, now);
            }
        }
        true
    }

    /// Counts a meeting of which something is lost at `home`, if a drain did that: once for each home.
    fn count_move(&mut self, meeting: &str, pipeline: &str, home: ProcessNumber) {
        let is_let_go = self.is_let_go(home);
        let pipelines = &mut self.meeting(meeting).pipelines;
        let at_home = || pipelines.iter().filter(|one| one.home == Some(home));
        if is_let_go && !at_home().any(|one| one.is_lost) {
            self.counts.moved += 1;
        }
        if let Some(found) = self.meeting(meeting).find(pipeline) {
            found.is_lost = true;
        }
    }

    /// Everybody has left `meeting`, and nobody will come again.
    pub(in crate::soak) fn over(&mut self, meeting: &str) {
        self.counts.meetings += 1;
        if let Some(meeting) = self.meetings.remove(meeting) {
            for pipeline in meeting.pipelines {
                self.homeless.remove(&pipeline.id);
            }
        }
    }

    fn check_split(&mut self, meeting: &str, pipeline: &str, now: Time) {
        let Some((one, other)) = self.meeting(meeting).splits_with(pipeline) else { return };
        let told = |(id, home): (String, Option<ProcessNumber>)| {
            let home = home.map_or_else(|| "?".to_owned(), |home| self.story(home));
            format!("{id} on {home}")
        };
        let what = format!("served at the same time: {} and {}", told(one), told(other));
        self.violate(Kind::Split, meeting, what, now);
    }

    /// Where `pipeline` is, in words.
    pub(super) fn home_name(&self, meeting: &str, pipeline: &str) -> String {
        let found = self.meetings.get(meeting);
        let found = found.and_then(|one| one.pipelines.iter().find(|one| one.id == pipeline));
        match found.and_then(|one| one.home) {
            Some(home) => format!("of {pipeline} on {}", self.story(home)),
            None => format!("of {pipeline}"),
        }
    }
}

/// A pipeline's id and home.
type Whereabouts = (String, Option<ProcessNumber>);

impl Meeting {
    fn find(&mut self, pipeline: &str) -> Option<&mut Pipeline> {
        self.pipelines.iter_mut().find(|one| one.id == pipeline)
    }

    /// `pipeline` and the one that it splits the meeting with, once for each pair.
    fn splits_with(&mut self, pipeline: &str) -> Option<(Whereabouts, Whereabouts)> {
        let at = self.pipelines.iter().position(|one| one.id == pipeline)?;
        let one = &self.pipelines[at];
        let other = self.pipelines.iter().position(|other| other.splits(one))?;
        if self.pipelines[at].is_reported && self.pipelines[other].is_reported {
            return None;
        }
        let mut report = |at: usize| {
            self.pipelines[at].is_reported = true;
            (self.pipelines[at].id.clone(), self.pipelines[at].home)
        };
        Some((report(at), report(other)))
    }
}
