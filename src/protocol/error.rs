//! What a client is told when a call fails.

use std::borrow::Cow;

use super::json::quote;

/// A JSON-RPC error, worded and coded as Kurento would where Kurento has a word for it.
///
/// Source of codes and texts: JSON-RPC 2.0 section 5.1, and `KurentoException.hpp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// JSON-RPC or Kurento error code.
    pub code: i32,
    /// Kurento's name of the error, its `data.type`; JSON-RPC's own errors have none.
    pub kind: Option<&'static str>,
    /// Says what is wrong and who must act.
    pub message: Cow<'static, str>,
    /// When to try again, in milliseconds; told as `data.retryAfterMs`.
    pub retry_after_ms: Option<u32>,
    /// Where its sender stood among those who wait for room, if it waited or would have to.
    pub queue: Option<QueueSpot>,
}

/// A place among those who wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSpot {
    /// From 1, who is placed next; told as `data.position`.
    pub position: u32,
    /// How long that takes as things went so far, in milliseconds; told as `data.expectedWaitMs`.
    /// `None` while nobody was placed who had waited.
    pub expected_wait_ms: Option<u32>,
}

impl Failure {
    const fn new(code: i32, kind: Option<&'static str>, message: Cow<'static, str>) -> Self {
        Self { code, kind, message, retry_after_ms: None, queue: None }
    }

    /// -32700: the text is not JSON.
    #[must_use]
    pub fn malformed(why: &str) -> Self {
        Self::new(-32700, None, format!("Parse error: {why}").into())
    }

    /// -32600: JSON, but no request.
    #[must_use]
    pub fn invalid_request(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32600, None, why.into())
    }

    /// -32601: no such method.
    #[must_use]
    pub const fn method_not_found() -> Self {
        Self::new(-32601, None, Cow::Borrowed("Method not found."))
    }

    /// -32602: `params` is missing or of the wrong kind.
    #[must_use]
    pub const fn invalid_params(message: &'static str) -> Self {
        Self::new(-32602, Some("INVALID_PARAMS"), Cow::Borrowed(message))
    }

    /// -32000: a parameter is missing or of the wrong kind.
    #[must_use]
    pub fn bad_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32000, None, message.into())
    }

    /// 40001: a parameter of an operation is missing or of the wrong kind.
    #[must_use]
    pub fn bad_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(40001, Some("MARSHALL_ERROR"), message.into())
    }

    /// 40003: something broke on the way, and whether the call ran is not known.
    #[must_use]
    pub fn unexpected(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(40003, Some("UNEXPECTED_ERROR"), message.into())
    }

    /// 40007: no such session.
    #[must_use]
    pub const fn invalid_session() -> Self {
        Self::new(40007, Some("INVALID_SESSION"), Cow::Borrowed("Invalid session"))
    }

    /// 40008: the transaction cannot be carried out as one.
    #[must_use]
    pub fn malformed_transaction(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(40008, Some("MALFORMED_TRANSACTION"), message.into())
    }

    /// 40009: no room; `message` names what is full and who must act.
    #[must_use]
    pub fn not_enough_resources(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(40009, Some("NOT_ENOUGH_RESOURCES"), message.into())
    }

    /// 40009 for what has room again soon: the client may try again after so many milliseconds.
    #[must_use]
    pub fn busy(message: impl Into<Cow<'static, str>>, retry_after_ms: u32) -> Self {
        let retry_after_ms = Some(retry_after_ms);
        Self { retry_after_ms, ..Self::not_enough_resources(message) }
    }

    /// 40009 for who waited for room in vain, or finds too many waiting, and stands there.
    #[must_use]
    pub fn queued(message: impl Into<Cow<'static, str>>, queue: QueueSpot) -> Self {
        Self { queue: Some(queue), ..Self::not_enough_resources(message) }
    }

    /// 40111: the policy of the listener does not allow `what`, a call in words.
    #[must_use]
    pub fn not_allowed(what: &str) -> Self {
        let message = format!("the policy of this listener does not allow {what}");
        Self::new(40111, Some("MEDIA_OBJECT_OPERATION_NOT_SUPPORTED"), message.into())
    }

    /// 40101: the object does not exist, or no longer.
    #[must_use]
    pub fn object_not_found(object: &str) -> Self {
        let message = format!("Object '{object}' not found");
        Self::new(40101, Some("MEDIA_OBJECT_NOT_FOUND"), message.into())
    }

    /// 40101 for a call that was waiting when its backend went, and its objects with it.
    #[must_use]
    pub const fn object_lost() -> Self {
        let message = "Object not found: the media server that held it is gone";
        Self::new(40101, Some("MEDIA_OBJECT_NOT_FOUND"), Cow::Borrowed(message))
    }

    /// 40106: the object has no event of that name.
    #[must_use]
    pub fn event_not_supported(event: &str) -> Self {
        let message = format!("Event '{event}' not supported");
        Self::new(40106, Some("MEDIA_OBJECT_EVENT_NOT_SUPPORTED"), message.into())
    }

    /// 40110: the object has no tag of that key.
    #[must_use]
    pub const fn tag_not_found() -> Self {
        let message = Cow::Borrowed("Tag key not found");
        Self::new(40110, Some("MEDIA_OBJECT_TAG_KEY_NOT_FOUND"), message)
    }

    /// The whole message that answers the request `id` (raw JSON, `null` if there is none), its
    /// members in Kurento's order.
    #[must_use]
    pub fn to_text(&self, id: &str) -> String {
        let retry = self.retry_after_ms.map(|ms| format!("\"retryAfterMs\":{ms},"));
        let retry = retry.unwrap_or_default();
        let queue = self.queue.map(QueueSpot::to_members).unwrap_or_default();
        let data = self.kind.map(|kind| format!("\"data\":{{{queue}{retry}\"type\":\"{kind}\"}},"));
        let data = data.unwrap_or_default();
        let message = quote(&self.message);
        let code = self.code;
        format!(
            r#"{{"error":{{"code":{code},{data}"message":{message}}},"id":{id},"jsonrpc":"2.0"}}"#
        )
    }
}

impl QueueSpot {
    /// Members of `data`, a comma behind each.
    fn to_members(self) -> String {
        let wait = self.expected_wait_ms.map(|ms| format!("\"expectedWaitMs\":{ms},"));
        format!("{}\"position\":{},", wait.unwrap_or_default(), self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_kurento_writes_them() {
        assert_eq!(
            Failure::object_not_found("nosuch").to_text("90"),
            concat!(
                r#"{"error":{"code":40101,"data":{"type":"MEDIA_OBJECT_NOT_FOUND"},"#,
                r#""message":"Object 'nosuch' not found"},"id":90,"jsonrpc":"2.0"}"#
            )
        );
        assert_eq!(
            Failure::method_not_found().to_text("\"a\""),
            r#"{"error":{"code":-32601,"message":"Method not found."},"id":"a","jsonrpc":"2.0"}"#
        );
    }

    #[test]
    fn a_hint_when_to_try_again_stands_in_data() {
        let value: serde_json::Value =
            serde_json::from_str(&Failure::busy("full", 500).to_text("1")).unwrap();
        let data = serde_json::json!({"retryAfterMs": 500, "type": "NOT_ENOUGH_RESOURCES"});
        assert_eq!((&value["error"]["code"], &value["error"]["data"]), (&40009.into(), &data));
    }

    #[test]
    fn where_one_stood_in_the_queue_stands_in_data() {
        for (expected_wait_ms, data) in [
            (None, r#""data":{"position":3,"type":"NOT_ENOUGH_RESOURCES"}"#),
            (
                Some(700),
                r#""data":{"expectedWaitMs":700,"position":3,"type":"NOT_ENOUGH_RESOURCES"}"#,
            ),
        ] {
            let failure = Failure::queued("full", QueueSpot { position: 3, expected_wait_ms });
            assert!(failure.to_text("1").contains(data), "{}", failure.to_text("1"));
        }
    }

    #[test]
    fn what_a_client_wrote_cannot_break_out_of_the_message() {
        let text = Failure::object_not_found("\"},\"x\":{\"\n").to_text("1");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["error"]["message"], "Object '\"},\"x\":{\"\n' not found");
    }
}
