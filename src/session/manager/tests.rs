//! What a client is told of the manager, and what is asked of the shell for it.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::model::{BackendId, Finding, SessionId, Time};
use crate::policy::guard::Rules;
use crate::protocol::event::Change;
use crate::protocol::request::Hints;
use crate::session::{Bounds, Input, LinkNo, Ticket, Wish};

const A: &str = "aaaaaaaa-0000-4000-8000-000000000001_kurento.MediaPipeline";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000002_kurento.MediaPipeline";

fn session(scope: ManagerScope) -> Session {
    let bounds = Bounds {
        depth_max: 64,
        held_max_bytes: 10_000,
        paced_max_bytes: 10_000,
        calls_max: 8,
        pipelines_max: 100,
        subscriptions_max: 100,
        resend_max_bytes: 10_000,
        call_timeout: Duration::from_secs(60),
    };
    let isolation = match scope {
        ManagerScope::All => Isolation::Open,
        ManagerScope::Own => Isolation::Session,
    };
    let rules = Rules { isolation, ..Rules::default() };
    let id = SessionId::from_random(7);
    Session::new(id, "edge", Hints::default(), bounds).under(Arc::new(rules))
}

fn handle(session: &mut Session, input: Input<'_>) -> Vec<Output> {
    let mut out = Vec::new();
    session.handle(Time::ZERO, input, &mut out);
    out
}

fn call(session: &mut Session, method: &str, mut params: Value) -> Vec<Output> {
    params["object"] = MANAGER.into();
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    handle(session, Input::FromClient(&text.to_string()))
}

fn invoke(operation: &str, arguments: Value) -> Vec<Output> {
    let params = match arguments {
        Value::Null => json!({"operation": operation}),
        arguments => json!({"operation": operation, "operationParams": arguments}),
    };
    call(&mut session(ManagerScope::All), "invoke", params)
}

fn shared(operation: &str, arguments: Value) -> ManagerCall {
    match invoke(operation, arguments).as_slice() {
        [Output::Manager(id, call)] if id == "1" => call.clone(),
        other => panic!("{operation}: {other:?}"),
    }
}

/// Code and text of the error that is the only output.
fn refused(out: &[Output]) -> (i32, String) {
    match out {
        [Output::Refuse(_, failure)] => (failure.code, failure.message.to_string()),
        other => panic!("{other:?}"),
    }
}

fn answered(out: &[Output]) -> Value {
    match out {
        [Output::Answer(_, text), ..] | [Output::Listen(text), ..] => {
            serde_json::from_str(text).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn subscribe(session: &mut Session, event: &str) -> String {
    let answer = answered(&call(session, "subscribe", json!({"type": event})));
    answer["result"]["value"].as_str().unwrap().to_owned()
}

fn unsubscribe(session: &mut Session, subscription: &str) -> Vec<Output> {
    call(session, "unsubscribe", json!({"subscription": subscription}))
}

fn event(change: Change, object: &str) -> Arc<ObjectEvent> {
    Arc::new(ObjectEvent::new(change, object.to_owned(), "1".to_owned()))
}

fn created(object: &str) -> Arc<ObjectEvent> {
    event(Change::Created, object)
}

/// Begins to create a pipeline; the answer is due.
fn begin(session: &mut Session) -> Ticket {
    let text = r#"{"jsonrpc":"2.0","id":9,"method":"create","params":{"type":"MediaPipeline"}}"#;
    let ticket = match handle(session, Input::FromClient(text)).as_slice() {
        [Output::Place(ticket, Wish::Pipeline { .. })] => *ticket,
        other => panic!("{other:?}"),
    };
    let backend = BackendId::parse("kms-a").unwrap();
    match handle(session, Input::Placed(ticket, Ok(backend))).as_slice() {
        [Output::OpenLink(link, _)] => drop(handle(session, Input::LinkOpened(*link))),
        other => assert!(matches!(other, [Output::ToBackend(..)]), "{other:?}"),
    }
    ticket
}

fn answer_create(session: &mut Session, object: &str) -> Vec<Output> {
    let text =
        format!(r#"{{"id":9,"jsonrpc":"2.0","result":{{"sessionId":"s","value":"{object}"}}}}"#);
    handle(session, Input::FromBackend(LinkNo(0), &text))
}

#[test]
fn what_the_edge_knows_is_asked_of_no_backend() {
    for (operation, call) in [
        ("getInfo", ManagerCall::GetInfo),
        ("getCpuCount", ManagerCall::GetCpuCount),
        ("getUsedMemory", ManagerCall::GetUsedMemory),
        ("getPipelines", ManagerCall::GetPipelines(ManagerScope::All)),
        ("getSessions", ManagerCall::GetSessions),
        ("getName", ManagerCall::GetName),
        ("getTags", ManagerCall::GetTags),
        ("getCreationTime", ManagerCall::GetCreationTime),
    ] {
        assert_eq!(shared(operation, Value::Null), call);
    }
    for (operation, value) in [
        ("getId", json!(MANAGER)),
        ("getChildren", json!([])),
        ("getParent", Value::Null),
        ("getMediaPipeline", Value::Null),
    ] {
        assert_eq!(answered(&invoke(operation, Value::Null))["result"]["value"], value);
    }
    for (operation, arguments) in
        [("getKmd", json!({"moduleName": "core"})), ("getMetadata", Value::Null)]
    {
        let out = invoke(operation, arguments);
        assert!(matches!(out[..], [Output::Place(_, Wish::Anywhere { .. })]), "{out:?}");
    }
}

#[test]
fn parameters_are_read_as_kurento_reads_them() {
    let text = |text: &str| text.to_owned();
    assert_eq!(shared("setName", json!({"name": 5})), ManagerCall::SetName(text("5")));
    assert_eq!(shared("setName", json!({"name": null})), ManagerCall::SetName(text("")));
    let tag = ManagerCall::AddTag(text("a\"é"), text("true"));
    assert_eq!(shared("addTag", json!({"key": "a\"é", "value": true})), tag);
    for (value, sends) in [(json!(true), true), (json!(0), false), (json!(2.5), true)] {
        let call = ManagerCall::SetSendTagsInEvents(sends);
        assert_eq!(shared("setSendTagsInEvents", json!({"sendTagsInEvents": value})), call);
    }
    for interval in [json!(500), json!(-1), json!(1e3), json!(null), json!(false)] {
        assert_eq!(shared("getUsedCpu", json!({"interval": interval})), ManagerCall::GetUsedCpu);
    }
}

/// Codes and texts as a real server wrote them.
#[test]
fn bad_calls_get_the_errors_of_a_real_server() {
    let all = || session(ManagerScope::All);
    let told = || {
        let mut session = all();
        call(&mut session, "describe", json!({}));
        session
    };
    for (out, code, message) in [
        (invoke("getUsedCpu", Value::Null), 40001, "'operationParams' is required"),
        (invoke("getUsedCpu", json!([1])), 40001, "'operationParams' is required"),
        (
            invoke("getUsedCpu", json!({"interval": "x"})),
            40001,
            "'interval' parameter should be a integer",
        ),
        (invoke("setName", json!({"name": {}})), 40001, "'name' parameter should be a string"),
        (
            invoke("setSendTagsInEvents", json!({"sendTagsInEvents": "x"})),
            40001,
            "'sendTagsInEvents' parameter should be a boolean",
        ),
        (invoke("nope", json!({"a": 1})), 40008, "Method 'nope' with 1 parameters not found"),
        (invoke("release", Value::Null), 40008, "Method 'release' with 0 parameters not found"),
        (invoke("x", json!([1, 2])), 40008, "Method 'x' with 2 parameters not found"),
        (call(&mut all(), "invoke", json!({})), -32000, "'operation' parameter is required"),
        (
            call(&mut all(), "subscribe", json!({"type": "Nope"})),
            40106,
            "Event 'Nope' not supported",
        ),
        (call(&mut all(), "subscribe", json!({})), -32000, "'type' parameter is required"),
        (call(&mut all(), "unref", json!({})), -32000, "'sessionId' parameter is required"),
        (
            call(&mut told(), "unsubscribe", json!({"subscription": []})),
            -32000,
            "'subscription' parameter should be a string",
        ),
    ] {
        assert_eq!(refused(&out), (code, message.to_owned()));
    }
    assert_eq!(refused(&call(&mut all(), "release", json!({}))).0, 40003);
}

#[test]
fn two_subscriptions_bring_one_event_until_both_have_ended() {
    let mut session = session(ManagerScope::All);
    let (made, gone) = (created(A), event(Change::Destroyed, A));
    assert_eq!(handle(&mut session, Input::Event(&made)), []);
    let (one, two) =
        (subscribe(&mut session, "ObjectCreated"), subscribe(&mut session, "ObjectCreated"));
    assert_ne!(one, two);
    assert_eq!(handle(&mut session, Input::Event(&made)), [Output::Event(Arc::clone(&made))]);
    assert_eq!(handle(&mut session, Input::Event(&gone)), [], "of another kind");
    for (subscription, ends) in [(&one, false), (&one, false), (&two, true)] {
        let out = unsubscribe(&mut session, subscription);
        assert_eq!(out.contains(&Output::StopListening), ends, "{out:?}");
        let told = handle(&mut session, Input::Event(&made));
        assert_eq!(told.is_empty(), ends);
    }
}

#[test]
fn subscriptions_end_with_the_session_or_its_use_of_the_manager() {
    for (method, params) in [("unref", json!({})), ("closeSession", json!({}))] {
        let mut session = session(ManagerScope::All);
        subscribe(&mut session, "ObjectDestroyed");
        let out = call(&mut session, method, params);
        assert!(out.contains(&Output::StopListening), "{method}: {out:?}");
        assert_eq!(handle(&mut session, Input::Event(&event(Change::Destroyed, A))), []);
    }
}

#[test]
fn subscriptions_are_bounded() {
    let mut session = session(ManagerScope::All);
    for _ in 0..SUBSCRIPTIONS_MAX {
        subscribe(&mut session, "ObjectCreated");
    }
    let out = call(&mut session, "subscribe", json!({"type": "Error"}));
    assert_eq!(refused(&out).0, 40009);
}

#[test]
fn who_subscribed_to_errors_is_told_of_lost_events() {
    let mut session = session(ManagerScope::All);
    assert_eq!(handle(&mut session, Input::EventsLost(3)), []);
    let out = call(&mut session, "subscribe", json!({"type": "Error"}));
    assert!(matches!(out[..], [Output::Answer(Method::Subscribe, _)]), "nothing to listen to");
    assert_eq!(handle(&mut session, Input::EventsLost(3)), [Output::EventsLost(3)]);
}

#[test]
fn with_its_own_scope_a_session_hears_of_its_own_pipelines_whenever_the_event_comes() {
    let mut session = session(ManagerScope::Own);
    subscribe(&mut session, "ObjectCreated");
    subscribe(&mut session, "ObjectDestroyed");
    let (own, other) = (created(A), created(B));
    begin(&mut session);
    for early in [&own, &other] {
        assert_eq!(handle(&mut session, Input::Event(early)), [], "nobody knows whose it is");
    }
    let out = answer_create(&mut session, A);
    let told: Vec<_> = out.iter().filter(|output| matches!(output, Output::Event(_))).collect();
    assert_eq!(told, [&Output::Event(Arc::clone(&own))]);

    let child = created(&format!("{A}/cccccccc-0000-4000-8000-000000000003_kurento.PassThrough"));
    assert_eq!(handle(&mut session, Input::Event(&child)), [Output::Event(child.clone())]);
    for foreign in [&other, &created("nothing")] {
        assert_eq!(handle(&mut session, Input::Event(foreign)), []);
    }
    begin(&mut session);
    let out = answer_create(&mut session, B);
    assert!(!out.iter().any(|o| matches!(o, Output::Event(_))), "that event was of another");

    let release =
        format!(r#"{{"jsonrpc":"2.0","id":9,"method":"release","params":{{"object":"{A}"}}}}"#);
    handle(&mut session, Input::FromClient(&release));
    let done = r#"{"id":9,"jsonrpc":"2.0","result":{"sessionId":"s"}}"#;
    handle(&mut session, Input::FromBackend(LinkNo(0), done));
    let gone = event(Change::Destroyed, A);
    assert_eq!(handle(&mut session, Input::Event(&gone)), [Output::Event(gone.clone())]);
}

#[test]
fn what_came_early_is_bounded() {
    let mut session = session(ManagerScope::Own);
    subscribe(&mut session, "ObjectCreated");
    begin(&mut session);
    for _ in 0..=EARLY_MAX {
        handle(&mut session, Input::Event(&created(B)));
    }
    assert_eq!(session.manager.early.len(), EARLY_MAX);
}

#[test]
fn its_own_scope_is_told_to_whoever_lists() {
    let mut session = session(ManagerScope::Own);
    for (operation, expected) in [
        ("getPipelines", ManagerCall::GetPipelines(ManagerScope::Own)),
        ("getSessions", ManagerCall::GetSessions),
    ] {
        let out = call(&mut session, "invoke", json!({"operation": operation}));
        assert_eq!(out, [Output::Manager("1".to_owned(), expected)]);
    }
}

#[test]
fn who_sees_its_own_only_changes_nothing_that_others_see() {
    for (operation, params) in [
        ("setName", json!({"name": "mine"})),
        ("addTag", json!({"key": "k", "value": "v"})),
        ("removeTag", json!({"key": "k"})),
        ("setSendTagsInEvents", json!({"sendTagsInEvents": true})),
    ] {
        let params = json!({"operation": operation, "operationParams": params});
        let code = |scope| match &call(&mut session(scope), "invoke", params.clone())[..] {
            [Output::Refuse(_, failure)] => failure.code,
            [Output::Manager(..)] => 0,
            other => panic!("{other:?}"),
        };
        assert_eq!((code(ManagerScope::Own), code(ManagerScope::All)), (40111, 0), "{operation}");
    }
    let read = json!({"operation": "getTags"});
    let out = call(&mut session(ManagerScope::Own), "invoke", read);
    assert_eq!(out, [Output::Manager("1".to_owned(), ManagerCall::GetTags)]);
}

#[test]
fn a_session_that_is_gone_on_with_has_its_subscriptions() {
    let mut before = session(ManagerScope::All);
    let subscribe = json!({"type": "ObjectCreated"});
    let first = answered(&call(&mut before, "subscribe", subscribe.clone()));
    let remains = before.remains().unwrap();
    assert!(remains.subscriptions.hear_objects());

    let new = SessionId::from_random(8);
    let mut after = Session::new(new, "edge", Hints::default(), before.bounds);
    let connect = json!({"jsonrpc": "2.0", "id": 2, "method": "connect",
        "params": {"sessionId": before.id().as_str()}});
    let asked = handle(&mut after, Input::FromClient(&connect.to_string()));
    assert_eq!(asked, [Output::Resume(*before.id())]);
    handle(&mut after, Input::Resumed(Finding::Known(remains)));
    let event = Arc::new(ObjectEvent::new(Change::Created, "x".to_owned(), "1".to_owned()));
    assert_eq!(handle(&mut after, Input::Event(&event)), [Output::Event(event.clone())]);

    let second = answered(&call(&mut after, "subscribe", subscribe));
    let id = |answer: &Value| answer["result"]["value"].as_str().unwrap().to_owned();
    assert_ne!(id(&first), id(&second), "no id is given twice");
    call(&mut after, "unsubscribe", json!({"subscription": id(&second)}));
    let ended = call(&mut after, "unsubscribe", json!({"subscription": id(&first)}));
    assert!(ended.contains(&Output::StopListening), "{ended:?}");
}
