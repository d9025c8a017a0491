//! The form of requests and answers. Source: Kurento protocol notes, section 2.

use serde_json::{Map, Value};

use super::fault::Fault;

/// The method that `request` asks for.
///
/// # Errors
/// -32600 if it is no request: no object, no `jsonrpc`, a method or an id of the wrong kind.
pub(super) fn method_of(request: &Value) -> Result<String, Fault> {
    let has_version = request.get("jsonrpc").and_then(Value::as_str) == Some("2.0");
    let has_odd_id = request.get("id").is_some_and(|id| id.is_array() || id.is_object());
    let method = request.get("method").and_then(Value::as_str);
    let method = method.filter(|_| has_version && !has_odd_id);
    method.map(str::to_owned).ok_or_else(Fault::invalid_request)
}

/// The answer to the request `id`.
pub(super) fn answer(id: &Value, outcome: Result<Value, Fault>) -> Value {
    let (name, value) = match outcome {
        Ok(result) => ("result", result),
        Err(fault) => ("error", fault.to_value()),
    };
    Value::Object(Map::from_iter([
        ("id".to_owned(), id.clone()),
        ("jsonrpc".to_owned(), "2.0".into()),
        (name.to_owned(), value),
    ]))
}

/// The answer to a request without id: its result as an error, and nothing (null) for none.
pub(super) fn answer_to_notification(outcome: Result<Value, Fault>) -> Value {
    match outcome {
        Ok(Value::Null) => Value::Null,
        Ok(result) => {
            let mut answer = answer(&Value::Null, Err(Fault::ignored()));
            answer["error"]["data"] = result;
            answer
        }
        Err(fault) => answer(&Value::Null, Err(fault)),
    }
}
