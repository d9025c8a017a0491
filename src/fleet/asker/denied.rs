//! What every backend has denied a moment ago, so that nobody need be asked again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Question;
use crate::model::Time;

/// How long what nobody knew is not asked for again.
const DENIED_FOR: Duration = Duration::from_secs(2);

/// Things nobody knew that are remembered; the oldest is forgotten.
const DENIED_MAX: usize = 4_096;

/// Questions by when they were denied.
#[derive(Debug, Default)]
pub(super) struct Denied {
    all: BTreeSet<Question>,
    since: VecDeque<(Time, Question)>,
}

impl Denied {
    /// Whether `question` need not be asked.
    pub(super) fn has(&mut self, question: Question, now: Time) -> bool {
        while let Some((since, old)) = self.since.front().copied() {
            if since + DENIED_FOR > now && self.since.len() <= DENIED_MAX {
                break;
            }
            self.since.pop_front();
            self.all.remove(&old);
        }
        self.all.contains(&question)
    }

    pub(super) fn note(&mut self, question: Question, now: Time) {
        if self.all.insert(question) {
            self.since.push_back((now, question));
        }
    }
}
