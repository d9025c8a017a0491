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
            let params = params_of(&mut operation)?;
            params.insert("sessionId".into(), (&*session).into());
            if operation.get("id").map_or(Some(0), index_of) != u64::try_from(at).ok() {
                return Err(Fault::malformed(format!("Id of request '{at}' should be '{at}'")));
            }
            resolve(&mut operation["params"], &answers)?;
            let outcome = envelope::method_of(&operation)
                .and_then(|method| self.call(&method, &mut operation["params"]));
            let has_failed = outcome.is_err();
            answers.push(envelope::answer(&at.into(), outcome));
            if has_failed {
                break;
            }
        }
        Ok(json!({ "sessionId": &*session, "value": answers }))
    }
}

/// The parameters of `operation`, which are made if they, or the operation itself, are null.
fn params_of(operation: &mut Value) -> Result<&mut Params, Fault> {
    let not_object =
        || Fault::unexpected("in Json::Value::resolveReference(key, end): requires objectValue");
    let members = object_in(operation).ok_or_else(not_object)?;
    object_in(members.entry("params").or_insert(Value::Null)).ok_or_else(not_object)
}

fn object_in(value: &mut Value) -> Option<&mut Params> {
    if value.is_null() {
        *value = Value::Object(Params::new());
    }
    value.as_object_mut()
}

/// An id as the index that jsoncpp makes of it: null, booleans and fractions count too.
fn index_of(id: &Value) -> Option<u64> {
    match id {
        Value::Null => Some(0),
        Value::Bool(flag) => Some(u64::from(*flag)),
        Value::Number(number) if number.is_u64() => number.as_u64(),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|n| *n >= 0.0)?.trunc();
            format!("{whole:.0}").parse().ok()
        }
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Replaces every `newref:k` in `value` by the result of operation k.
fn resolve(value: &mut Value, answers: &[Value]) -> Result<(), Fault> {
    match value {
        Value::String(text) => {
            if let Some(index) = text.strip_prefix("newref:").filter(|rest| !rest.is_empty()) {
                *value = result_of(index, answers)?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, answers)),
        Value::Object(members) => members.values_mut().try_for_each(|v| resolve(v, answers)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The result of the operation that `index` names: the number it begins with, as C reads one. Null
/// if the operation has no value.
fn result_of(index: &str, answers: &[Value]) -> Result<Value, Fault> {
    let digits = index.trim_start();
    let (is_negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    if len == 0 {
        return Err(Fault::malformed(format!("Invalid index of newref '{index}'")));
    }
    let Ok(at) = digits[..len].parse::<u32>() else {
        return Err(Fault::unexpected("stoi"));
    };
    if is_negative && at > 0 {
        let what = "in Json::Value::operator[](int index): index cannot be negative";
        return Err(Fault::unexpected(what));
    }
    let answer = usize::try_from(at).ok().and_then(|at| answers.get(at));
    let result = answer.and_then(|answer| answer.get("result"));
    let result =
        result.ok_or_else(|| Fault::malformed(format!("Result not found on request {at}")))?;
    Ok(result.get("value").cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_c_reads_a_number() {
        let answers = [json!({ "result": { "value": "a" } }), json!({ "result": {} })];
        for (index, expected) in [("0", json!("a")), (" +0x", json!("a")), ("-0", json!("a"))] {
            assert_eq!(result_of(index, &answers), Ok(expected), "{index}");
        }
        assert_eq!(result_of("1", &answers), Ok(Value::Null), "done, but without a value");
        for (index, code) in [("2", 40008), ("x", 40008), ("-1", -32603), ("9999999999", -32603)] {
            let fault = result_of(index, &answers).unwrap_err();
            assert_eq!(fault.to_value()["code"], code, "{index}");
        }
        let mut alone = json!(["newref:", "newref:0"]);
        resolve(&mut alone, &answers).unwrap();
        assert_eq!(alone, json!(["newref:", "a"]));
    }

    #[test]
    fn an_id_counts_as_the_index_it_converts_to() {
        let cases = [
            (json!(null), Some(0)),
            (json!(true), Some(1)),
            (json!(3), Some(3)),
            (json!(2.0), Some(2)),
            (json!(2.9), Some(2)),
            (json!(-1), None),
            (json!("0"), None),
            (json!({}), None),
        ];
        for (id, expected) in cases {
            assert_eq!(index_of(&id), expected, "{id}");
        }
    }
}
