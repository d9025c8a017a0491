//! Transactions: several requests in one, later ones using results of earlier ones.

use serde_json::{Value, json};

use super::Kms;
use super::methods::Outcome;
use super::wire::{Fault, Frame, Object, Request, answer};

impl Kms {
    /// The method `transaction`: stops at the first operation that fails and undoes nothing.
    ///
    /// # Errors
    /// -32000 without a list of operations; 40008 as soon as an id is not its operation's place or
    /// a reference has no result. What ran before stays.
    pub(super) fn transaction(&mut self, params: &Object, session: &str) -> Outcome {
        let operations = match params.get("operations") {
            None => return Err(Fault::parameter("'operations' parameter is required")),
            Some(Value::Array(operations)) => operations,
            Some(_) => return Err(Fault::parameter("'operations' parameter should be an array")),
        };
        let mut answers: Vec<Value> = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            let answer = self.operation_of_transaction(at, operation, session, &answers)?;
            let has_failed = answer.get("error").is_some();
            answers.push(answer);
            if has_failed {
                break;
            }
        }
        Ok(json!({"value": answers}))
    }

    fn operation_of_transaction(
        &mut self,
        at: usize,
        operation: &Value,
        session: &str,
        earlier: &[Value],
    ) -> Result<Value, Fault> {
        let id = json!(at);
        if operation.get("id") != Some(&id) {
            return Err(Fault::transaction(format!("Id of request '{at}' should be '{at}'")));
        }
        let mut operation = operation.clone();
        if let Some(params) = operation.get_mut("params") {
            resolve(params, earlier)?;
            if let Value::Object(params) = params {
                params.insert("sessionId".into(), json!(session));
            }
        }
        let request = match as_frame(operation) {
            Frame::Object(object) => Request::from_object(object),
            Frame::Other | Frame::Broken => Err(Fault::invalid_request()),
        };
        Ok(match request {
            Ok(request) => answer(&id, &self.call(&request)),
            Err(fault) => answer(&id, &Err(fault)),
        })
    }
}

fn as_frame(value: Value) -> Frame {
    match value {
        Value::Object(object) => Frame::Object(object),
        _ => Frame::Other,
    }
}

/// Replaces each `newref:k` at any depth by the result of operation k.
fn resolve(value: &mut Value, earlier: &[Value]) -> Result<(), Fault> {
    match value {
        Value::String(text) => {
            let Some(index) = text.strip_prefix("newref:") else { return Ok(()) };
            *value = referred(index, earlier)?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, earlier)),
        Value::Object(members) => members.values_mut().try_for_each(|item| resolve(item, earlier)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn referred(index: &str, earlier: &[Value]) -> Result<Value, Fault> {
    let Ok(at) = index.parse::<usize>() else {
        return Err(Fault::transaction(format!("Invalid index of newref '{index}'")));
    };
    let found = earlier.get(at).and_then(|answer| answer.get("result")?.get("value"));
    found.cloned().ok_or_else(|| Fault::transaction(format!("Result not found on request {at}")))
}
