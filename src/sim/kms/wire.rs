//! Requests, answers and faults as JSON text.

use serde_json::{Map, Value, json};

/// A JSON object with its members in alphabetical order, as KMS writes them.
pub(super) type Object = Map<String, Value>;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The code of JSON-RPC or of Kurento.
    pub(super) code: i64,
    /// `data.type`; absent for most errors of JSON-RPC itself.
    pub(super) kind: Option<&'static str>,
    /// The text for people.
    pub(super) message: String,
}

impl Fault {
    fn plain(code: i64, message: impl Into<String>) -> Self {
        Self { code, kind: None, message: message.into() }
    }

    /// A fault of Kurento's own, which carries its name in `data.type`.
    pub(super) fn kurento(code: i64, kind: &'static str, message: impl Into<String>) -> Self {
        Self { code, kind: Some(kind), message: message.into() }
    }

    pub(super) fn invalid_request() -> Self {
        Self::plain(-32600, "Invalid JSON-RPC request.")
    }

    pub(super) fn unknown_method() -> Self {
        Self::plain(-32601, "Method not found.")
    }

    pub(super) fn no_params() -> Self {
        Self::kurento(-32602, "INVALID_PARAMS", "'params' is required")
    }

    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::plain(-32000, message)
    }

    pub(super) fn unexpected(what: &str) -> Self {
        Self::plain(-32603, format!("Unexpected error while processing method: {what}"))
    }

    pub(super) fn marshal(message: impl Into<String>) -> Self {
        Self::kurento(40001, "MARSHALL_ERROR", message)
    }

    pub(super) fn session() -> Self {
        Self::kurento(40007, "INVALID_SESSION", "Invalid session")
    }

    pub(super) fn transaction(message: impl Into<String>) -> Self {
        Self::kurento(40008, "MALFORMED_TRANSACTION", message)
    }

    pub(super) fn operation(name: &str, params: usize) -> Self {
        Self::transaction(format!("Method '{name}' with {params} parameters not found"))
    }

    pub(super) fn object(id: &str) -> Self {
        if id.starts_with("newref:") {
            let message = format!(
                "Object '{id}' not found. Possibly using a transactional object without committing the transaction."
            );
            return Self::kurento(40109, "MEDIA_OBJECT_NOT_FOUND_TRANSACTION_NO_COMMIT", message);
        }
        Self::kurento(40101, "MEDIA_OBJECT_NOT_FOUND", format!("Object '{id}' not found"))
    }

    fn to_value(&self) -> Value {
        match self.kind {
            Some(kind) => {
                json!({"code": self.code, "data": {"type": kind}, "message": self.message})
            }
            None => json!({"code": self.code, "message": self.message}),
        }
    }
}

/// What came on a connection.
pub(super) enum Frame {
    /// A JSON object.
    Object(Object),
    /// Any other JSON value, a batch among them.
    Other,
    /// Not JSON.
    Broken,
}

/// Reads one message. Text after the first value is ignored, as KMS does.
///
/// Nesting over 127 counts as broken; KMS takes about 1000.
pub(super) fn read(text: &str) -> Frame {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(Value::Object(object))) => Frame::Object(object),
        Some(Ok(_)) => Frame::Other,
        Some(Err(_)) | None => Frame::Broken,
    }
}

/// A request whose envelope is in order.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// `Null` for what JSON-RPC calls a notification.
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Option<Object>,
}

impl Request {
    /// Checks an envelope.
    ///
    /// # Errors
    /// -32600 for a bad envelope, -32603 for `params` that are no object.
    pub(super) fn from_object(mut object: Object) -> Result<Self, Fault> {
        let id = object.remove("id").unwrap_or(Value::Null);
        let version = object.get("jsonrpc").and_then(Value::as_str);
        if id.is_object() || id.is_array() || version != Some("2.0") {
            return Err(Fault::invalid_request());
        }
        let Some(Value::String(method)) = object.remove("method") else {
            return Err(Fault::invalid_request());
        };
        let params = match object.remove("params") {
            None | Some(Value::Null) => None,
            Some(Value::Object(params)) => Some(params),
            Some(_) => {
                let what = "in Json::Value::find(begin, end): requires objectValue or nullValue";
                return Err(Fault::unexpected(what));
            }
        };
        Ok(Self { id, method, params })
    }
}

/// The answer to the request `id`.
pub(super) fn answer(id: &Value, outcome: &Result<Value, Fault>) -> Value {
    match outcome {
        Ok(result) => json!({"id": id, "jsonrpc": "2.0", "result": result}),
        Err(fault) => json!({"error": fault.to_value(), "id": id, "jsonrpc": "2.0"}),
    }
}

/// The answer to a request without `id`: never its result as such.
pub(super) fn answer_without_id(outcome: &Result<Value, Fault>) -> Option<Value> {
    let result = match outcome {
        Ok(Value::Null) => return None,
        Ok(result) => result,
        Err(_) => return Some(answer(&Value::Null, outcome)),
    };
    let message = "Ignoring response because of a notification request";
    let error = json!({"code": -32000, "data": result, "message": message});
    Some(json!({"error": error, "id": null, "jsonrpc": "2.0"}))
}

/// A value as text in ASCII only, escaping the rest as KMS does.
pub(super) fn to_ascii(value: &Value) -> String {
    use std::fmt::Write;

    let text = value.to_string();
    if text.is_ascii() {
        return text;
    }
    let mut ascii = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(ascii, "\\u{unit:04x}").expect("writing to a String cannot fail");
        }
    }
    ascii
}

/// A scalar where KMS wants a string: numbers, booleans and null are converted.
pub(super) fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => Some(String::new()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// The parameter `name` as text.
///
/// # Errors
/// -32000 if it is missing or has no text.
pub(super) fn text_param(params: &Object, name: &str) -> Result<String, Fault> {
    let value = params
        .get(name)
        .ok_or_else(|| Fault::parameter(format!("'{name}' parameter is required")))?;
    to_text(value).ok_or_else(|| Fault::parameter(format!("'{name}' parameter should be a string")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_outside_ascii_is_escaped_in_utf16() {
        assert_eq!(to_ascii(&json!({"n": "é😀/"})), r#"{"n":"\u00e9\ud83d\ude00/"}"#);
    }

    #[test]
    fn what_follows_an_object_is_ignored_and_broken_text_is_told() {
        assert!(matches!(read(r#"{"id":1} trailing"#), Frame::Object(_)));
        assert!(matches!(read("[{}]"), Frame::Other));
        assert!(matches!(read("{\"id\":"), Frame::Broken));
        assert!(matches!(read(""), Frame::Broken));
    }

    #[test]
    fn a_request_without_an_id_gets_its_result_as_an_error() {
        let text = answer_without_id(&Ok(json!({"value": "pong"}))).map(|value| value.to_string());
        assert!(text.is_some_and(|text| text.contains("-32000") && text.contains("pong")));
        assert!(answer_without_id(&Ok(Value::Null)).is_none());
    }
}
