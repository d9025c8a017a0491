//! Why a KMS refuses a call, as it tells the client.

use serde_json::{Map, Value, json};

/// An error answer: code, message and, for Kurento's own codes, the code's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: i32,
    kind: Option<&'static str>,
    message: String,
}

impl Fault {
    /// One of Kurento's own errors; `kind` is what stands in `data.type`.
    pub(super) fn kurento(code: i32, kind: &'static str, message: impl Into<String>) -> Self {
        Self { code, kind: Some(kind), message: message.into() }
    }

    fn plain(code: i32, message: impl Into<String>) -> Self {
        Self { code, kind: None, message: message.into() }
    }

    /// Not a JSON-RPC request.
    pub(super) fn invalid_request() -> Self {
        Self::plain(-32600, "Invalid JSON-RPC request.")
    }

    /// None of the 13 methods.
    pub(super) fn unknown_method() -> Self {
        Self::plain(-32601, "Method not found.")
    }

    /// `params` is absent or null and the method needs it.
    pub(super) fn no_params() -> Self {
        Self::kurento(-32602, "INVALID_PARAMS", "'params' is required")
    }

    /// An exception that nothing in KMS expects; `what` is its text.
    pub(super) fn unexpected(what: &str) -> Self {
        Self::plain(-32603, format!("Unexpected error while processing method: {what}"))
    }

    /// A parameter that must be there and is not.
    pub(super) fn missing(name: &str) -> Self {
        Self::plain(-32000, format!("'{name}' parameter is required"))
    }

    /// A parameter of the wrong kind; `what` is the right one, with its article.
    pub(super) fn wrong_kind(name: &str, what: &str) -> Self {
        Self::plain(-32000, format!("'{name}' parameter should be {what}"))
    }

    /// Constructor or operation parameters that cannot be read.
    pub(super) fn marshal(message: impl Into<String>) -> Self {
        Self::kurento(40001, "MARSHALL_ERROR", message)
    }

    /// The result of a request that had no id; it goes into `data`.
    pub(super) fn ignored() -> Self {
        Self::plain(-32000, "Ignoring response because of a notification request")
    }

    /// A session nobody has used, or no longer.
    pub(super) fn invalid_session() -> Self {
        Self::kurento(40007, "INVALID_SESSION", "Invalid session")
    }

    /// A transaction out of form, and an unknown operation.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::kurento(40008, "MALFORMED_TRANSACTION", message)
    }

    /// No more objects: the process has as much of `what` as it may.
    pub(super) fn no_resources(what: &str, limit: usize) -> Self {
        let message = format!("Reached KMS {what} limit: {limit}");
        Self::kurento(40009, "NOT_ENOUGH_RESOURCES", message)
    }

    /// The object `id` is not there.
    pub(super) fn no_object(id: &str) -> Self {
        if id.starts_with("newref:") {
            return Self::kurento(
                40109,
                "MEDIA_OBJECT_NOT_FOUND_TRANSACTION_NO_COMMIT",
                format!(
                    "Object '{id}' not found. Possibly using a transactional object without \
                     committing the transaction."
                ),
            );
        }
        Self::kurento(40101, "MEDIA_OBJECT_NOT_FOUND", format!("Object '{id}' not found"))
    }

    /// A wrong-kind object where another was wanted: what its null pointer becomes.
    pub(super) fn bad_object() -> Self {
        Self::unexpected("bad_weak_ptr")
    }

    /// The `error` member of an answer.
    pub(super) fn to_value(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".into(), self.code.into());
        if let Some(kind) = self.kind {
            error.insert("data".into(), json!({ "type": kind }));
        }
        error.insert("message".into(), self.message.as_str().into());
        Value::Object(error)
    }
}
