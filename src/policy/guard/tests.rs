//! What the guard lets through and what not, told in calls.

use serde_json::{Value, json};

use super::*;
use crate::protocol::request::parse_request;

const PIPELINE: &str = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";
const OTHER: &str = "57be609d-a2f1-4e64-ba1b-51a0012a1bb4_kurento.MediaPipeline";
const MANAGER: &str = "manager_ServerManager";

fn inside(kind: &str) -> String {
    format!("{PIPELINE}/1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_{kind}")
}

fn element() -> String {
    inside("kurento.WebRtcEndpoint")
}

fn under(isolation: Isolation) -> Rules {
    Rules { isolation, ..Rules::default() }
}

fn text(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

/// The code a call is refused with; 0 for one that may go on.
fn code(method: &str, params: &Value) -> i32 {
    let text = text(method, params);
    let judged = under(Isolation::Open).judge(&parse_request(&text, 64).unwrap()).map(drop);
    judged.err().map_or(0, |failure| failure.code)
}

fn invoke(object: &str, operation: &str, params: &Value) -> Value {
    json!({"object": object, "operation": operation, "operationParams": params})
}

fn operation(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": params})
}

fn transaction(operations: &[Value]) -> i32 {
    code("transaction", &json!({"operations": operations}))
}

fn create(kind: &str) -> Value {
    operation("create", &json!({"type": kind, "constructorParams": {"mediaPipeline": PIPELINE}}))
}

/// A client stores `what` in a tag and gets it back as the result of operation 1.
fn stored(what: &str) -> [Value; 2] {
    let tag = json!({"key": "k", "value": what});
    [
        operation("invoke", &invoke(&element(), "addTag", &tag)),
        operation("invoke", &invoke(&element(), "getTag", &json!({"key": "k"}))),
    ]
}

#[test]
fn only_elements_are_connected() {
    let connect = |object: &str, sink: &Value| {
        ["connect", "disconnect"]
            .map(|op| code("invoke", &invoke(object, op, &json!({"sink": sink}))))
    };
    for sink in [PIPELINE, OTHER, MANAGER, &inside("kurento.Composite"), &inside("kurento.Mixer")] {
        assert_eq!(connect(&element(), &json!(sink)), [40001; 2], "{sink}");
    }
    let buried = json!([{"x": PIPELINE}]);
    assert_eq!(connect(&element(), &buried), [40001; 2], "wherever it stands");
    for sink in [&element(), &inside("chroma.ChromaFilter"), &inside("kurento.HubPort")] {
        assert_eq!(connect(&element(), &json!(sink)), [0; 2], "{sink}");
    }
    for sink in [json!("nosuch"), json!(5), json!("newref:0"), json!("DEFAULT")] {
        assert_eq!(connect(&element(), &sink), [0; 2], "{sink}: the server says what it is");
    }
}

#[test]
fn a_sink_in_escapes_or_given_twice_is_seen() {
    let escaped = PIPELINE.replace('_', "\\u005f");
    for params in [
        format!(r#"{{"sink":"{escaped}"}}"#),
        format!(r#"{{"sink":"{PIPELINE}","sink":"{}"}}"#, element()),
        format!(r#"{{"sink":"{}","s\u0069nk":"{PIPELINE}"}}"#, element()),
    ] {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"invoke","params":{{"object":"{}","operation":"conn\u0065ct","operationParams":{params}}}}}"#,
            element()
        );
        let failure = Rules::default().judge(&parse_request(&text, 64).unwrap()).unwrap_err();
        assert_eq!(failure.code, 40001, "{text}");
    }
}

#[test]
fn hubs_take_their_ports_only() {
    let dispatcher = inside("kurento.Dispatcher");
    let port = inside("kurento.HubPort");
    let connect = |source: &str, sink: &str| {
        code("invoke", &invoke(&dispatcher, "connect", &json!({"source": source, "sink": sink})))
    };
    assert_eq!(connect(&port, &port), 0);
    assert_eq!(connect(&port, &element()), 40001);
    assert_eq!(connect(PIPELINE, &port), 40001);
    let one_to_many = inside("kurento.DispatcherOneToMany");
    let source = json!({"source": MANAGER});
    assert_eq!(code("invoke", &invoke(&one_to_many, "setSource", &source)), 40001);
}

#[test]
fn a_new_object_is_judged_by_its_type() {
    let connect = |kind: &str, sink: &str| {
        let connect = invoke("newref:0", "connect", &json!({"sink": sink}));
        transaction(&[create("WebRtcEndpoint"), create(kind), operation("invoke", &connect)])
    };
    assert_eq!(connect("PassThrough", "newref:1"), 0);
    assert_eq!(connect("kurento.PassThrough", "newref: 1"), 0);
    for kind in ["MediaPipeline", "kurento.MediaPipeline", "Composite"] {
        assert_eq!(connect(kind, "newref:1"), 40001, "{kind}");
    }
    assert_eq!(connect("PassThrough", PIPELINE), 40001);
    assert_eq!(connect("PassThrough", "newref:9"), 0, "the server refuses what is not there yet");
}

#[test]
fn the_result_of_anything_else_chooses_no_object_type_or_operation() {
    let object = element();
    for (what, params) in [
        (PIPELINE, invoke(&object, "connect", &json!({"sink": "newref:1"}))),
        ("connect", invoke(&object, "newref:1", &json!({"sink": PIPELINE}))),
        (MANAGER, invoke("newref:1", "getName", &json!({}))),
        (OTHER, invoke(&object, "anything", &json!({"deep": ["newref:+1"]}))),
    ] {
        let [add, get] = stored(what);
        assert_eq!(transaction(&[add, get, operation("invoke", &params)]), 40008, "{params}");
    }
    for (method, params) in [
        ("release", json!({"object": "newref:1"})),
        ("create", json!({"type": "newref:1"})),
        ("create", json!({"type": "PlayerEndpoint", "constructorParams": {"uri": "newref:1"}})),
        ("subscribe", json!({"object": object, "type": "newref:1"})),
    ] {
        let [add, get] = stored("x");
        assert_eq!(transaction(&[add, get, operation(method, &params)]), 40008, "{params}");
    }
    let [add, get] = stored("x");
    let text = invoke(&object, "addTag", &json!({"key": "a", "value": "newref:1"}));
    assert_eq!(transaction(&[add, get, operation("invoke", &text)]), 0, "text may be any text");
}

#[test]
fn the_policy_holds_in_transactions() {
    assert_eq!(code("create", &json!({"type": "GStreamerFilter"})), 40111);
    assert_eq!(transaction(&[create("MediaPipeline"), create("GStreamerFilter")]), 40111);
    let dump = invoke(PIPELINE, "dumpGstreamerDot", &json!({}));
    assert_eq!(code("invoke", &dump), 40111);
    let dump = invoke("newref:0", "dumpGstreamerDot", &json!({}));
    assert_eq!(transaction(&[create("PassThrough"), operation("invoke", &dump)]), 40111);
    let text =
        text("transaction", &json!({"operations": [create("A"), create("GStreamerFilter")]}));
    let failure = Rules::default().judge(&parse_request(&text, 64).unwrap()).unwrap_err();
    assert_eq!(
        failure.message,
        "operation 1: the policy of this listener does not allow create GStreamerFilter"
    );
}

#[test]
fn a_row_about_an_operation_of_most_traffic_holds() {
    let policy = Policy::parse(&["deny invoke RtpEndpoint processOffer".to_owned()]).unwrap();
    let rules = Rules { policy, ..Rules::default() };
    let is_allowed = |kind: &str| {
        let text = text("invoke", &invoke(&inside(kind), "processOffer", &json!({"offer": ""})));
        rules.judge(&parse_request(&text, 64).unwrap()).is_ok()
    };
    assert!(is_allowed("kurento.WebRtcEndpoint") && !is_allowed("kurento.RtpEndpoint"));
}

#[test]
fn what_sleeps_on_a_server_does_not_hide_in_a_transaction() {
    let sleep = invoke(MANAGER, "getUsedCpu", &json!({"interval": 1_000_000}));
    assert_eq!(transaction(&[operation("invoke", &sleep)]), 40008);
}

/// What `judge` notes of a call under `isolation`.
fn noted<'a>(isolation: Isolation, text: &'a str) -> (Vec<String>, bool, Vec<Subscription<'a>>) {
    let verdict = under(isolation).judge(&parse_request(text, 64).unwrap()).unwrap();
    (
        verdict.references.into_iter().map(|(_, object)| object.into_owned()).collect(),
        verdict.blocks,
        verdict.subscriptions,
    )
}

#[test]
fn objects_in_parameters_are_found_where_connections_are_kept_apart() {
    let port = format!("{OTHER}/1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_kurento.HubPort");
    let connect = text("invoke", &invoke(&element(), "connect", &json!({"sink": port})));
    assert_eq!(noted(Isolation::Meeting, &connect).0, [port.as_str()]);
    assert_eq!(noted(Isolation::Open, &connect).0, [""; 0]);
    let deep = json!({"type": "x.Y", "constructorParams": {"mediaPipeline": PIPELINE, "a": [{"b": port}]}});
    assert_eq!(noted(Isolation::Session, &text("create", &deep)).0, [&port, PIPELINE]);
    let tag = invoke(&element(), "addTag", &json!({"key": "k", "value": OTHER}));
    assert_eq!(noted(Isolation::Meeting, &text("invoke", &tag)).0, [""; 0], "a tag is text");
    let operations = json!({"operations": [
        operation("release", &json!({"object": OTHER})),
        operation("invoke", &invoke(&element(), "connect", &json!({"sink": port}))),
    ]});
    let transaction = text("transaction", &operations);
    assert_eq!(
        noted(Isolation::Meeting, &transaction).0,
        [OTHER, &element()],
        "each pipeline once"
    );
}

#[test]
fn calls_that_block_and_subscriptions_are_noted() {
    let recorder = inside("kurento.RecorderEndpoint");
    let stop = invoke(&recorder, "stopAndWait", &json!({}));
    assert!(noted(Isolation::Open, &text("invoke", &stop)).1);
    let stop = operation("invoke", &stop);
    let subscribe = operation("subscribe", &json!({"object": "newref:0", "type": "Error"}));
    let operations = json!({"operations": [create("PassThrough"), subscribe, stop]});
    let transaction = text("transaction", &operations);
    let (_, blocks, subscriptions) = noted(Isolation::Open, &transaction);
    assert!(blocks);
    assert_eq!(subscriptions, [Subscription::Made(1, "newref:0".into())]);
    let object = || recorder.as_str().into();
    let params = json!({"object": recorder, "type": "Error", "subscription": "s"});
    for (method, expected) in [
        ("subscribe", Subscription::Made(0, object())),
        ("unsubscribe", Subscription::Ended(object(), "s".into())),
        ("release", Subscription::Released(object())),
    ] {
        assert_eq!(noted(Isolation::Open, &text(method, &params)).2, [expected]);
    }
}
