//! The answers of the last 20 seconds, given again to whoever asks with the same session and id.
//!
//! Source: Kurento protocol notes, section 8.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::model::Time;

use super::wire;

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(20);

/// Most answers kept. Beyond it the oldest is forgotten early; KMS itself has no bound.
const ANSWERS_MAX: usize = 65_536;

/// Session and id of a request.
pub(super) type Key = (String, String);

/// The key of `request`; `None` if it has no id or no session, and so is never kept.
pub(super) fn key_of(request: &Value) -> Option<Key> {
    let id = request.get("id").filter(|id| !id.is_null())?;
    let session = request.get("params")?.get("sessionId")?;
    Some((wire::as_text(session)?, wire::as_text(id)?))
}

/// Answers by key.
#[derive(Debug, Default)]
pub(super) struct Answers {
    kept: BTreeMap<Key, Value>,
    order: VecDeque<(Time, Key)>,
}

impl Answers {
    /// The answer kept for `key`.
    pub(super) fn get(&mut self, now: Time, key: &Key) -> Option<Value> {
        self.forget(now);
        self.kept.get(key).cloned()
    }

    /// Keeps `answer` for 20 s. Of two requests with one key that ran at the same time, the answer
    /// that came first is kept.
    pub(super) fn keep(&mut self, now: Time, key: Key, answer: Value) {
        self.forget(now);
        if let Entry::Vacant(place) = self.kept.entry(key.clone()) {
            place.insert(answer);
            self.order.push_back((now + KEPT_FOR, key));
        }
    }

    /// How many answers are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    fn forget(&mut self, now: Time) {
        while let Some((until, key)) = self.order.front() {
            if *until > now && self.order.len() <= ANSWERS_MAX {
                return;
            }
            self.kept.remove(key);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_lives_twenty_seconds_whatever_the_type_of_the_id() {
        let request = |id: Value| json!({ "id": id, "params": { "sessionId": "s" } });
        let mut answers = Answers::default();
        let key = key_of(&request(json!(1))).unwrap();
        answers.keep(Time::ZERO, key.clone(), json!("first"));
        answers.keep(Time::ZERO, key, json!("second"));
        let same = key_of(&request(json!("1"))).unwrap();
        let later = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert_eq!(answers.get(later(19), &same), Some(json!("first")));
        assert_eq!(answers.get(later(20), &same), None);
        assert_eq!(key_of(&request(Value::Null)), None);
        assert_eq!(key_of(&json!({ "id": 1, "params": {} })), None);
    }

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many() {
        let mut answers = Answers::default();
        for n in 0..ANSWERS_MAX + 10 {
            answers.keep(Time::ZERO, ("s".into(), n.to_string()), Value::Null);
        }
        assert!(answers.kept.len() <= ANSWERS_MAX + 1);
        assert_eq!(answers.get(Time::ZERO, &("s".into(), "0".into())), None);
    }
}
