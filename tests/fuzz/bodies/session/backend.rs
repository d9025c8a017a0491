//! What the backends say.

use pinfold::session::{Input, LinkNo};
use serde_json::{Value, json};

use super::script::Script;
use super::world::{Frame, World};

/// A backend answers the oldest of its calls, or another one if each id can be told from the rest.
pub(super) fn answer(world: &mut World, script: &mut Script<'_>) {
    let Some(link) = script.choose(world.links_that(|wire| !wire.calls.is_empty())) else { return };
    let calls = &mut world.wire(link).calls;
    let all_plain = calls.iter().all(Frame::id_comes_back_as_sent);
    let number = if all_plain && script.pick(4) == 3 { script.pick(calls.len()) } else { 0 };
    let frame = calls.remove(number).expect("a number below their count");
    let (text, names_session) = reply(world, &frame, script);
    let wire = world.wire(link);
    wire.is_tied |= names_session;
    wire.last_answer = Some(text.clone());
    world.backend_says(link, &text);
}

/// A backend says what nobody asked for: an event, nothing, an answer once more or to nothing.
pub(super) fn say_something_else(world: &mut World, script: &mut Script<'_>) {
    let choice = script.pick(4);
    let Some(link) = script.choose(world.links_that(|_| true)) else { return };
    let event = r#"{"jsonrpc":"2.0","method":"onEvent","params":{"value":{}}}"#;
    match choice {
        0 => world.backend_says(link, event),
        1 => world.backend_says(link, ""),
        2 => repeat(world, link),
        _ if can_meet_no_call(world, link) => {
            world.backend_says(link, r#"{"id":"stray","jsonrpc":"2.0","result":{}}"#);
        }
        _ => {}
    }
}

/// Whether an answer with an id of its own is told from those that are waited for: where the oldest
/// call has an id that Kurento spells otherwise, any answer would be taken for its own. Which is the
/// oldest is not known here: the session does not wait for the call with which a link settles.
fn can_meet_no_call(world: &mut World, link: LinkNo) -> bool {
    world.wire(link).calls.iter().all(Frame::id_comes_back_as_sent)
}

/// The last answer once more, unless it could now answer another call.
fn repeat(world: &mut World, link: LinkNo) {
    let is_plain = can_meet_no_call(world, link);
    let wire = world.wire(link);
    let Some(text) = wire.last_answer.clone().filter(|_| is_plain) else { return };
    let id = serde_json::from_str::<Value>(&text).expect("made here")["id"].clone();
    if wire.calls.iter().all(|frame| frame.id != id) {
        world.handle(Input::FromBackend(link, &text));
        assert!(!world.said_anything_to_the_client(), "an answer was passed on twice");
    }
}

/// An answer, and whether it names the session.
fn reply(world: &mut World, frame: &Frame, script: &mut Script<'_>) -> (String, bool) {
    let id = &frame.id;
    let (is_error, names_session) = match script.pick(8) {
        6 => (false, false),
        7 => (true, false),
        _ => (false, true),
    };
    if is_error {
        return (json!({"id": id, "jsonrpc": "2.0", "error": {"code": 40009}}).to_string(), false);
    }
    if frame.method == "closeSession" {
        return (json!({"id": id, "jsonrpc": "2.0", "result": null}).to_string(), false);
    }
    let mut result = json!({});
    if let Some(value) = value(world, frame, script) {
        result["value"] = value;
    }
    if names_session {
        result["sessionId"] = json!(world.session_id());
    }
    (json!({"id": id, "jsonrpc": "2.0", "result": result}).to_string(), names_session)
}

fn value(world: &mut World, frame: &Frame, script: &mut Script<'_>) -> Option<Value> {
    match frame.method.as_str() {
        "create" if frame.params["type"] == "MediaPipeline" => Some(new_pipeline(world, script)),
        "transaction" => {
            let operations = frame.params["operations"].as_array().cloned().unwrap_or_default();
            let done = script.pick(4).min(operations.len());
            let failed = if done == 3 { 0 } else { operations.len() - done };
            let mut answers = Vec::new();
            for (index, operation) in operations[..operations.len() - failed].iter().enumerate() {
                let is_new = operation["params"]["type"] == "MediaPipeline";
                let value = is_new.then(|| new_pipeline(world, script));
                answers.push(json!({"id": index, "result": {"value": value}}));
            }
            Some(Value::from(answers))
        }
        "describe" => Some(json!("x")),
        _ => None,
    }
}

/// The id of a new pipeline; or of one told before, as Kurento repeats an answer to an id used twice
/// within 20 seconds; or what is none.
fn new_pipeline(world: &mut World, script: &mut Script<'_>) -> Value {
    match script.pick(8) {
        6 => json!("nosuch"),
        7 if let Some(told) = script.choose(world.told()) => json!(told.to_string()),
        _ => json!(world.make_pipeline().to_string()),
    }
}
