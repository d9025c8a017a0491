//! What the client says.

use pinfold::model::PipelineId;
use pinfold::session::Input;

use super::script::Script;
use super::world::World;

/// Ids of requests besides the running number: equal ones, ones that Kurento spells otherwise, one
/// that the edge uses itself, one kept elsewhere for its length, one over the bound.
const IDS: [&str; 5] = ["1", "\"1\"", "\"é\"", "18446744073709551616", "\"pinfold-tie-3\""];

/// Texts that are no request that goes anywhere.
const ODDITIES: [&str; 9] = [
    "",
    "{",
    "[]",
    "5",
    r#"{"jsonrpc":"2.0","id":1}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"nosuch"}"#,
    r#"{"jsonrpc":"2.0","id":2,"method":"connect"}"#,
    r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":3,"method":"create","params":[]}"#,
];

/// A session that this connection may go on with.
const OTHER: &str = "00000000-0000-4000-8000-000000000009";

/// The client sends a message.
pub(super) fn speak(world: &mut World, script: &mut Script<'_>) {
    match script.pick(16) {
        0 => world.handle(Input::TooLong),
        1 => {
            world.next_number();
            let text = script.choose(ODDITIES).expect("there are some");
            world.client_says(text, None);
        }
        _ => request(world, script),
    }
}

fn request(world: &mut World, script: &mut Script<'_>) {
    let number = world.next_number();
    let id = match script.pick(10) {
        7 => format!("\"{}\"", "x".repeat(40)),
        8 => format!("\"{}\"", "x".repeat(300)),
        9 => "null".to_owned(),
        choice => IDS.get(choice).map_or_else(|| number.to_string(), |id| (*id).to_owned()),
    };
    let (method, mut members, pipeline) = ask(world, script);
    match script.pick(8) {
        6 => members.insert(0, format!(r#""sessionId":"{}""#, world.session_id())),
        7 => {
            let session = if script.flag() { OTHER } else { "another" };
            members.push(format!(r#""sessionId":"{session}""#));
        }
        _ => {}
    }
    members.push(format!(r#""number":{number}"#));
    let params = members.join(",");
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#);
    world.client_says(&text, pipeline);
}

/// A method, the members of its params, and the pipeline if it is about one object.
fn ask(world: &World, script: &mut Script<'_>) -> (&'static str, Vec<String>, Option<PipelineId>) {
    let about = ["invoke", "describe", "release", "unref", "subscribe"];
    match script.pick(12) {
        0..=2 => ("create", vec![new_pipeline(script)], None),
        3..=6 => {
            let object = object(world, script);
            let pipeline = PipelineId::parse(&object);
            let method = about[script.pick(about.len())];
            let operation = if script.flag() { "processOffer" } else { "stopAndWait" };
            let operation = format!(r#""operation":"{operation}""#);
            (method, vec![format!(r#""object":"{object}""#), operation], pipeline)
        }
        7 => {
            let object = object(world, script);
            let pipeline = PipelineId::parse(&object);
            let constructor = format!(r#""constructorParams":{{"mediaPipeline":"{object}"}}"#);
            let kind = if script.flag() { "PassThrough" } else { "WebRtcEndpoint" };
            ("create", vec![format!(r#""type":"{kind}""#), constructor], pipeline)
        }
        8..=9 => ("transaction", vec![operations(world, script)], None),
        10 => {
            let release = if script.flag() { r#""release":true"# } else { r#""release":false"# };
            ("closeSession", vec![release.to_owned()], None)
        }
        _ => (if script.flag() { "keepAlive" } else { "ping" }, Vec::new(), None),
    }
}

fn new_pipeline(script: &mut Script<'_>) -> String {
    let properties = match script.pick(4) {
        0 => r#","properties":{"meeting":"standup"}"#,
        1 => r#","properties":{"participants":0}"#,
        _ => "",
    };
    format!(r#""type":"MediaPipeline"{properties}"#)
}

/// The id of an object: of a pipeline of this session or of others, of the manager, or of nothing.
fn object(world: &World, script: &mut Script<'_>) -> String {
    let pipeline = match script.pick(8) {
        0 => return "manager_ServerManager".to_owned(),
        1 => return "nosuch".to_owned(),
        2..=3 => PipelineId::from_u128(1 + script.pick(3) as u128),
        _ => script.choose(world.made()).unwrap_or(PipelineId::from_u128(1)),
    };
    let element = if script.flag() { "/x" } else { "" };
    format!("{pipeline}{element}")
}

fn operations(world: &World, script: &mut Script<'_>) -> String {
    let operation = |script: &mut Script<'_>| match script.pick(4) {
        0 => format!(r#"{{"method":"create","params":{{{}}}}}"#, new_pipeline(script)),
        1 => {
            let object = object(world, script);
            format!(r#"{{"method":"release","params":{{"object":"{object}"}}}}"#)
        }
        2 => {
            let object = object(world, script);
            format!(r#"{{"method":"describe","params":{{"object":"{object}"}}}}"#)
        }
        _ => r#"{"method":"closeSession"}"#.to_owned(),
    };
    let count = script.pick(4);
    let operations: Vec<String> = (0..count).map(|_| operation(script)).collect();
    format!(r#""operations":[{}]"#, operations.join(","))
}
