//! The cache of answers: a repeated id in a session gets the old answer for a while.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::model::Time;

/// How long an answer is repeated.
const KEPT_FOR: Duration = Duration::from_secs(20);
/// Most answers kept; beyond it the oldest go early. KMS itself has no bound.
const KEPT_MAX: usize = 100_000;

/// Session name and request id as text: `1` and `"1"` are one id.
type Key = (String, String);

/// Answers of the last 20 s.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_key: BTreeMap<Key, Value>,
    oldest: VecDeque<(Time, Key)>,
}

impl Answers {
    /// The answer this id had.
    pub(super) fn find(&self, session: &str, id: &str) -> Option<&Value> {
        self.by_key.get(&(session.to_owned(), id.to_owned()))
    }

    /// Keeps an answer, unless there is one already.
    pub(super) fn keep(&mut self, now: Time, session: &str, id: String, answer: &Value) {
        let key = (session.to_owned(), id);
        if self.by_key.contains_key(&key) {
            return;
        }
        self.by_key.insert(key.clone(), answer.clone());
        self.oldest.push_back((now, key));
        if self.oldest.len() > KEPT_MAX {
            self.drop_oldest();
        }
    }

    /// Forgets the answers that are over 20 s old.
    pub(super) fn expire(&mut self, now: Time) {
        while self.oldest.front().is_some_and(|(at, _)| now.since(*at) >= KEPT_FOR) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.oldest.pop_front() {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_repeated_for_twenty_seconds() {
        let mut answers = Answers::default();
        answers.keep(Time::ZERO, "s", "1".into(), &Value::Bool(true));
        answers.keep(Time::ZERO, "s", "1".into(), &Value::Bool(false));
        answers.expire(Time::ZERO + Duration::from_millis(19_999));
        assert_eq!(answers.find("s", "1"), Some(&Value::Bool(true)));
        assert_eq!(answers.find("t", "1"), None);
        answers.expire(Time::ZERO + KEPT_FOR);
        assert_eq!(answers.find("s", "1"), None);
    }
}
