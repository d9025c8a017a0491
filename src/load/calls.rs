//! The calls of one client that wait for their answer, and what an incoming message means to them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Code of the close frame received; `None` if the connection was cut without one, or without
    /// a code in it.
    pub code: Option<u16>,
    /// Reason in the close frame, or the error that cut the connection.
    pub reason: String,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "closed with {code} {:?}", self.reason),
            None => write!(f, "cut: {}", self.reason),
        }
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server answered with an error.
    #[error("answered {code}: {message}")]
    Answered {
        /// JSON-RPC or Kurento error code.
        code: i64,
        /// Its text.
        message: String,
    },
    /// The answer has no such member, or of the wrong kind.
    #[error("answer has no usable {0}")]
    Form(&'static str),
    /// Longer than [`REQUEST_MAX_LEN`](super::REQUEST_MAX_LEN). Carries the length, in bytes.
    #[error("request is too long: {0} bytes")]
    TooLong(usize),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection ended before the answer.
    #[error("connection {0}")]
    Ended(Ending),
}

impl CallError {
    /// The code the server answered with, if it answered.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Answered { code, .. } => Some(*code),
            Self::Form(_) | Self::TooLong(_) | Self::Timeout(_) | Self::Ended(_) => None,
        }
    }
}

/// One `onEvent` notification.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// Id of the object it is about.
    pub object: String,
    /// Its name, such as `IceCandidateFound`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its content.
    #[serde(default)]
    pub data: Value,
}

/// A message as it comes from the server.
#[derive(Deserialize)]
struct Incoming {
    id: Option<Value>,
    #[serde(default)]
    result: Value,
    error: Option<ErrorBody>,
    params: Option<EventParams>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct EventParams {
    value: Event,
}

type Answer = Result<Value, CallError>;

/// Waiting calls by their id. Bounded by the client's permits, one for each call.
#[derive(Debug)]
pub(super) struct Calls {
    /// `None` once the connection has ended: no call may start to wait then.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>,
    ending: watch::Sender<Option<Ending>>,
    strays: AtomicU64,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::new(Some(HashMap::new())),
            ending: watch::Sender::new(None),
            strays: AtomicU64::new(0),
        }
    }

    /// Starts to wait for the answer to `id`, until the returned value is dropped.
    pub(super) fn wait_for(&self, id: u64) -> Result<Waiting<'_>, CallError> {
        let (tx, rx) = oneshot::channel();
        match self.lock().as_mut() {
            Some(waiting) => waiting.insert(id, tx),
            None => return Err(self.ended_error()),
        };
        Ok(Waiting { calls: self, id, rx })
    }

    /// Takes in one message: an answer goes to its call, an event is handed back.
    ///
    /// An answer that nobody waits for, and what is neither, is counted as a stray.
    pub(super) fn on_message(&self, text: &str) -> Option<Event> {
        let Ok(message) = serde_json::from_str::<Incoming>(text) else {
            self.strays.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if let (None, Some(params)) = (&message.id, message.params) {
            return Some(params.value);
        }
        let answer = match message.error {
            Some(error) => Err(CallError::Answered { code: error.code, message: error.message }),
            None => Ok(message.result),
        };
        let id = message.id.as_ref().and_then(Value::as_u64);
        let waiting = id.and_then(|id| self.lock().as_mut()?.remove(&id));
        if waiting.and_then(|tx| tx.send(answer).ok()).is_none() {
            self.strays.fetch_add(1, Ordering::Relaxed);
        }
        None
    }

    /// Fails every waiting call and all that come.
    pub(super) fn end(&self, ending: Ending) {
        self.ending.send_replace(Some(ending));
        *self.lock() = None;
    }

    /// Waits until the connection has ended, and tells how.
    pub(super) async fn ended(&self) -> Ending {
        let mut ending = self.ending.subscribe();
        match ending.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(ending)) => ending.clone(),
            Ok(None) | Err(_) => unreachable!("the sender lives in self"),
        }
    }

    /// Messages that were neither an event nor the answer to a waiting call.
    pub(super) fn stray_count(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    pub(super) fn ended_error(&self) -> CallError {
        let ending = self.ending.borrow().clone();
        let unknown = || Ending { code: None, reason: "client was dropped".to_owned() };
        CallError::Ended(ending.unwrap_or_else(unknown))
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Answer>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that waits; dropping it forgets the call.
pub(super) struct Waiting<'a> {
    calls: &'a Calls,
    id: u64,
    rx: oneshot::Receiver<Answer>,
}

impl Waiting<'_> {
    /// The answer, or the connection's end.
    pub(super) async fn answer(mut self) -> Answer {
        match (&mut self.rx).await {
            Ok(answer) => answer,
            Err(_) => Err(self.calls.ended_error()),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.calls.lock().as_mut() {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_reach_their_calls_in_any_order() {
        let calls = Calls::new();
        let (first, second) = (calls.wait_for(1).unwrap(), calls.wait_for(2).unwrap());
        assert_eq!(calls.on_message(r#"{"id":2,"result":{"value":"b"}}"#), None);
        assert_eq!(calls.on_message(r#"{"id":1,"error":{"code":40101,"message":"gone"}}"#), None);
        assert_eq!(second.answer().await.unwrap()["value"], "b");
        assert_eq!(first.answer().await.unwrap_err().code(), Some(40101));
        assert_eq!(calls.stray_count(), 0);
    }

    #[tokio::test]
    async fn an_event_is_handed_back_and_a_second_answer_is_a_stray() {
        let calls = Calls::new();
        let text = r#"{"method":"onEvent","params":{"value":{"object":"o","type":"T","data":{}}}}"#;
        assert_eq!(calls.on_message(text).unwrap().kind, "T");
        let waiting = calls.wait_for(7).unwrap();
        for _ in 0..2 {
            assert_eq!(calls.on_message(r#"{"id":7,"result":null}"#), None);
        }
        assert_eq!(waiting.answer().await, Ok(Value::Null));
        assert_eq!(calls.on_message("not JSON"), None);
        assert_eq!(calls.on_message(r#"{"id":"7","result":null}"#), None);
        assert_eq!(calls.stray_count(), 3);
    }

    #[tokio::test]
    async fn the_end_fails_calls_that_wait_and_calls_that_come() {
        let calls = Calls::new();
        let waiting = calls.wait_for(1).unwrap();
        let ending = Ending { code: Some(1001), reason: "bye".to_owned() };
        calls.end(ending.clone());
        assert_eq!(waiting.answer().await, Err(CallError::Ended(ending.clone())));
        assert!(calls.wait_for(2).is_err());
        assert_eq!(calls.ended().await, ending);
    }
}
