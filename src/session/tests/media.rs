//! What a session learns of elements and what connects them.

use super::*;
use crate::policy::tally::Change;
use crate::protocol::media::{Element, ElementKind, Media};

const CAMERA: &str = "1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_kurento.WebRtcEndpoint";
const VIEWER: &str = "2cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d22_kurento.WebRtcEndpoint";
const PORT: &str = "4cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d44_kurento.HubPort";
const HUB: &str = "3cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d33_kurento.Dispatcher";

fn inside(kind: &str) -> String {
    format!("{A}/{kind}")
}

fn element(object: &str) -> Element {
    Element::parse(object).unwrap().1
}

fn create(kind: &str, pipeline: &str) -> Value {
    json!({"type": kind, "constructorParams": {"mediaPipeline": pipeline}})
}

fn invoke(object: &str, operation: &str, params: &Value) -> Value {
    json!({"object": object, "operation": operation, "operationParams": params})
}

/// What is learned of media from the `answer` to a call; all else must be as for any call.
fn learned(case: &mut Case, (method, params): (&str, &Value), answer: &Value) -> Vec<Change> {
    let text = request(7, method, params);
    assert_eq!(case.handle(Input::FromClient(&text)), [Output::Relay(LinkNo(0))]);
    let mut answer = answer.clone();
    answer["id"] = json!(7);
    let out = case.handle(Input::FromBackend(LinkNo(0), &answer.to_string()));
    let (last, changes) = out.split_last().unwrap();
    assert_eq!(*last, Output::RelayToClient, "told when it is counted");
    let changes = changes.iter().map(|output| match output {
        Output::MediaChanged(of, change) if *of == pipeline(A) => **change,
        other => panic!("{other:?}"),
    });
    changes.collect()
}

fn with_pipeline() -> Case {
    let mut case = case();
    case.create(1, A, "a");
    case
}

fn value(value: &Value) -> Value {
    json!({"jsonrpc": "2.0", "result": {"sessionId": "x", "value": value}})
}

fn failure() -> Value {
    json!({"jsonrpc": "2.0", "error": {"code": 40101, "message": "no"}})
}

#[test]
fn what_is_made_connected_and_released_is_told_when_it_has_succeeded() {
    let (camera, viewer) = (inside(CAMERA), inside(VIEWER));
    let audio = json!({"sink": viewer, "mediaType": "AUDIO"});
    let (from, to) = (element(&camera), element(&viewer));
    for (method, params, answer, change) in [
        ("create", create("WebRtcEndpoint", A), json!(camera), Change::Created(from)),
        (
            "invoke",
            invoke(&camera, "connect", &json!({"sink": viewer})),
            Value::Null,
            Change::Connected(from, to, Media::All),
        ),
        (
            "invoke",
            invoke(&camera, "disconnect", &audio),
            Value::Null,
            Change::Disconnected(from, to, Media::Audio),
        ),
        ("release", json!({"object": camera}), Value::Null, Change::Released(from)),
    ] {
        let mut case = with_pipeline();
        assert_eq!(learned(&mut case, (method, &params), &failure()), [], "{params}");
        assert_eq!(learned(&mut case, (method, &params), &value(&answer)), [change]);
    }
}

#[test]
fn of_all_other_calls_nothing_is_learned() {
    let (camera, hub) = (inside(CAMERA), inside(HUB));
    let port = format!("{hub}/{PORT}");
    let mut case = with_pipeline();
    for (method, params) in [
        ("invoke", invoke(&camera, "processOffer", &json!({"offer": "v=0"}))),
        ("invoke", invoke(&camera, "getSinkConnections", &json!({}))),
        // What a hub connects inside costs nothing by itself.
        ("invoke", invoke(&hub, "connect", &json!({"source": port, "sink": port}))),
        ("describe", json!({"object": camera})),
        ("unref", json!({"object": camera})),
        ("create", create("Composite", A)),
    ] {
        assert_eq!(learned(&mut case, (method, &params), &value(&json!("v"))), [], "{params}");
    }
}

#[test]
fn a_transaction_is_learned_operation_by_operation_up_to_the_first_that_failed() {
    let (camera, viewer) = (inside(CAMERA), inside(VIEWER));
    let operation = |method: &str, params: Value| json!({"method": method, "params": params});
    let operations = json!([
        operation("create", create("WebRtcEndpoint", A)),
        operation("create", create("WebRtcEndpoint", A)),
        operation("invoke", invoke("newref:0", "connect", &json!({"sink": "newref:1"}))),
        operation("release", json!({"object": "newref:1"})),
        operation("release", json!({"object": camera})),
    ]);
    let done = |index: usize, value: Value| json!({"id": index, "result": {"value": value}});
    let answers = json!([
        done(0, json!(camera)),
        done(1, json!(viewer)),
        done(2, Value::Null),
        done(3, Value::Null),
        {"id": 4, "error": {"code": 40101}},
    ]);
    let mut case = with_pipeline();
    let params = json!({"operations": operations});
    let (from, to) = (element(&camera), element(&viewer));
    assert_eq!(
        learned(&mut case, ("transaction", &params), &value(&answers)),
        [
            Change::Created(from),
            Change::Created(to),
            Change::Connected(from, to, Media::All),
            Change::Released(to),
        ]
    );
    assert_eq!(from.kind, ElementKind::WebRtc);
}

#[test]
fn a_transaction_that_makes_a_pipeline_tells_of_it_before_what_is_in_it() {
    let mut case = with_pipeline();
    let operation = |method: &str, params: Value| json!({"method": method, "params": params});
    let operations = json!([
        operation("create", json!({"type": "MediaPipeline"})),
        operation("create", create("WebRtcEndpoint", "newref:0")),
        operation("release", json!({"object": "newref:0"})),
    ]);
    let text = request(2, "transaction", &json!({"operations": operations}));
    let ticket = match case.handle(Input::FromClient(&text)) {
        [Output::Place(ticket, _)] => *ticket,
        other => panic!("{other:?}"),
    };
    case.handle(Input::Placed(ticket, Ok(backend("a"))));
    let made = format!("{B}/{CAMERA}");
    let answers = json!([
        {"id": 0, "result": {"value": B}},
        {"id": 1, "result": {"value": made}},
        {"id": 2, "result": {}},
    ]);
    let change = Box::new(Change::Created(element(&made)));
    assert_eq!(
        case.handle(Input::FromBackend(LinkNo(0), &success(2, &answers))),
        [
            Output::Created(ticket, pipeline(B)),
            Output::MediaChanged(pipeline(B), change),
            Output::Released(pipeline(B)),
            Output::RelayToClient,
        ]
    );
}

#[test]
fn an_answer_that_comes_late_counts_all_the_same() {
    let mut case = with_pipeline();
    let text = request(7, "create", &create("WebRtcEndpoint", A));
    case.handle(Input::FromClient(&text));
    case.now = case.now + bounds().call_timeout;
    case.handle(Input::Tick);
    let camera = inside(CAMERA);
    let change = Box::new(Change::Created(element(&camera)));
    assert_eq!(
        case.handle(Input::FromBackend(LinkNo(0), &success(7, &json!(camera)))),
        [Output::MediaChanged(pipeline(A), change), Output::Late]
    );
}
