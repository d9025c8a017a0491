//! Several requests in one. Source: Kurento protocol notes, section 7.

use serde_json::{Value, json};

use super::envelope;
use super::fault::Fault;
use super::methods::Params;
use super::server::Server;

impl Server {
    /// Runs `operations` one after the other until one fails; those done stay done.
    pub(super) fn transaction(&mut self, params: &mut Params) -> Result<Value, Fault> {
        let operations = match params.get_mut("operations") {
            None => return Err(Fault::missing("operations")),
            Some(Value::Array(operations)) => std::mem::take(operations),
            Some(_) => return Err(Fault::wrong_kind("operations", "an array")),
        };
        let session = self.session_of(params);
        let mut answers: Vec<Value> = Vec::with_capacity(operations.len());
        for (at, mut operation) in operations.into_iter().enumerate() {
            if operation.get("id").and_then(Value::as_u64) != u64::try_from(at).ok() {
                return Err(Fault::malformed(format!("Id of request '{at}' should be '{at}'")));
            }
            if let Some(params) = operation.get_mut("params") {
                resolve(params, &answers)?;
            }
            let outcome = self.operation(&mut operation, &session);
            let has_failed = outcome.is_err();
            answers.push(envelope::answer(&at.into(), outcome));
            if has_failed {
                break;
            }
        }
        Ok(json!({ "sessionId": &*session, "value": answers }))
    }

    fn operation(&mut self, operation: &mut Value, session: &str) -> Result<Value, Fault> {
        let method = envelope::method_of(operation)?;
        let Value::Object(operation) = operation else {
            return Err(Fault::invalid_request());
        };
        let params = operation.entry("params").or_insert(Value::Null);
        if params.is_null() {
            *params = Value::Object(Params::new());
        }
        if let Value::Object(params) = params {
            params.insert("sessionId".into(), session.into());
        }
        self.call(&method, params)
    }
}

/// Replaces every `newref:k` in `value` by the result of operation k.
fn resolve(value: &mut Value, answers: &[Value]) -> Result<(), Fault> {
    match value {
        Value::String(text) => {
            if let Some(index) = text.strip_prefix("newref:") {
                *value = result_of(index, answers)?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, answers)),
        Value::Object(members) => members.values_mut().try_for_each(|v| resolve(v, answers)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn result_of(index: &str, answers: &[Value]) -> Result<Value, Fault> {
    let Ok(at) = index.parse::<usize>() else {
        return Err(Fault::malformed(format!("Invalid index of newref '{index}'")));
    };
    let value = answers.get(at).and_then(|answer| answer.pointer("/result/value"));
    value.cloned().ok_or_else(|| Fault::malformed(format!("Result not found on request {at}")))
}
