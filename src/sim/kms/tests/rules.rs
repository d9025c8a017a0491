//! Rules of the Kurento protocol notes that no recording shows, section by section.

use super::*;
use crate::sim::kms::Limits;

const MANAGER: &str = "manager_ServerManager";

fn manager() -> Value {
    json!({ "object": MANAGER })
}

fn answers(out: &[KmsOutput]) -> Vec<&str> {
    out.iter()
        .filter_map(|output| match output {
            KmsOutput::Answer { text, .. } => Some(text.as_str()),
            KmsOutput::Event { .. } | KmsOutput::Cut { .. } | KmsOutput::Die => None,
        })
        .collect()
}

/// Section 2.
#[test]
fn a_request_without_id_runs_and_its_result_comes_as_an_error() {
    let mut world = World::new();
    let conn = world.kms.open();
    let text = r#"{"jsonrpc":"2.0","method":"create","params":{"type":"MediaPipeline"}}"#;
    let (answer, _) = split(world.send(conn, text));
    assert_eq!(answer["error"]["code"], -32000);
    assert!(answer["id"].is_null());
    let (pipeline, session) =
        (&answer["error"]["data"]["value"], &answer["error"]["data"]["sessionId"]);
    let describe = json!({ "object": pipeline });
    let result = world.result(conn, "describe", &describe);
    assert_ne!(&result["sessionId"], session, "the connection was not tied");
    let text = json!({ "jsonrpc": "2.0", "method": "closeSession",
        "params": { "sessionId": session } });
    assert_eq!(answers(&world.send(conn, &text.to_string())), [""]);
}

/// Section 2.
#[test]
fn whatever_has_no_place_for_a_session_cuts_a_tied_connection_only() {
    for text in [
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#,
        "7",
    ] {
        let mut world = World::new();
        let conn = world.kms.open();
        let (answer, _) = split(world.send(conn, text));
        let code = answer["error"]["code"].as_i64().unwrap();
        assert!(matches!(code, -32600 | -32603), "{text}: {answer}");
        world.result(conn, "describe", &manager());
        assert_eq!(world.send(conn, text), [KmsOutput::Cut { conn }], "{text}");
    }
}

/// Section 3.3.
#[test]
fn naming_another_session_moves_the_connection_and_a_ping_moves_it_back() {
    let mut world = World::new();
    let (conn, _, a, b) = world.connected();
    let subscribe = json!({ "object": a, "type": "ElementConnected" });
    let own = world.result(conn, "subscribe", &subscribe)["sessionId"].clone();
    let elsewhere = json!({ "object": MANAGER, "sessionId": "elsewhere" });
    world.result(conn, "describe", &elsewhere);
    let connect = json!({ "object": a, "operation": "connect", "operationParams": { "sink": b } });
    assert_eq!(world.ask(conn, "invoke", &connect).1.len(), 0, "nobody is there to hear it");
    world.result(conn, "ping", &json!({ "sessionId": own }));
    let disconnect =
        json!({ "object": a, "operation": "disconnect", "operationParams": { "sink": b } });
    world.result(conn, "subscribe", &json!({ "object": a, "type": "ElementDisconnected" }));
    assert_eq!(world.ask(conn, "invoke", &disconnect).1.len(), 3);
}

/// Section 3.4.
#[test]
fn a_session_that_touched_nothing_cannot_be_resumed() {
    let mut world = World::new();
    let conn = world.kms.open();
    let session = world.result(conn, "connect", &json!({}))["sessionId"].clone();
    let named = json!({ "sessionId": session });
    assert_eq!(world.code(conn, "connect", &named), 40007);
    assert_eq!(world.code(conn, "connect", &json!({})), 40007, "its own is put in");
    assert_eq!(world.code(conn, "keepAlive", &named), 40007);
    world.result(conn, "describe", &manager());
    assert_eq!(world.result(conn, "connect", &named)["sessionId"], session);
}

/// Section 3.5.
#[test]
fn a_ping_is_no_sign_of_life_and_keep_alive_is() {
    for (method, lives) in [("ping", false), ("keepAlive", true)] {
        let mut world = World::new();
        let conn = world.kms.open();
        let params = json!({ "type": "MediaPipeline", "sessionId": "held" });
        let pipeline = world.result(conn, "create", &params)["value"].clone();
        let holder = world.kms.open();
        world.kms.close(conn);
        world.result(holder, "connect", &json!({ "sessionId": "held" }));
        world.result(holder, "describe", &json!({ "object": MANAGER, "sessionId": "other" }));
        for _ in 0..20 {
            world.wait(60);
            // A request without id ties nothing, so that only what it does itself counts.
            let text = json!({ "jsonrpc": "2.0", "method": method,
                "params": { "sessionId": "held" } });
            world.send(holder, &text.to_string());
        }
        let (answer, _) = world.ask(holder, "describe", &json!({ "object": pipeline }));
        assert_eq!(answer["error"].is_null(), lives, "{method}: {answer}");
    }
}

/// Section 3.6.
#[test]
fn listing_pipelines_stops_their_collection_and_adds_a_session_without_name() {
    let mut world = World::new();
    let (conn, pipeline, ..) = world.connected();
    world.kms.close(conn);
    let monitor = world.kms.open();
    for _ in 0..10 {
        let listed = world.invoke(monitor, MANAGER, "getPipelines", &json!({}));
        assert_eq!(listed, json!([pipeline]));
        world.wait(200);
    }
    let sessions = world.invoke(monitor, MANAGER, "getSessions", &json!({}));
    let sessions: Vec<&str> =
        sessions.as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    let real = sessions.iter().filter(|s| !s.is_empty()).count();
    assert_eq!((sessions.len(), real), (4, 1), "two empty places, the one without name, its own");
    world.result(monitor, "release", &json!({ "object": pipeline }));
    assert_eq!(world.invoke(monitor, MANAGER, "getPipelines", &json!({})), json!([]));
}

/// Section 3.6.
#[test]
fn what_is_left_of_a_cut_connection_holds_a_session_and_no_descriptor() {
    let limits = Limits { files_max: Some(25), ..Limits::default() };
    let mut world = World::with(KmsSettings { limits, ..KmsSettings::default() });
    let conn = world.kms.open();
    let named = json!({ "object": MANAGER, "sessionId": "left" });
    world.result(conn, "describe", &named);
    assert!(!world.kms.takes_connections());
    world.send(conn, "{oops");
    assert!(world.kms.takes_connections());
    world.kms.close(conn);
    world.wait(2_000);
    let other = world.kms.open();
    world.result(other, "connect", &json!({ "sessionId": "left" }));
    world.kms.close(other);
    assert!(world.kms.takes_connections());
    world.wait(2_000);
    let last = world.kms.open();
    assert_eq!(world.code(last, "connect", &json!({ "sessionId": "left" })), 40007);
}

/// Section 4.
#[test]
fn closing_a_session_with_release_ends_what_others_use() {
    let mut world = World::new();
    let (_, pipeline, ..) = world.connected();
    let other = world.kms.open();
    world.result(other, "describe", &json!({ "object": pipeline }));
    let (answer, _) = world.ask(other, "closeSession", &json!({ "release": true }));
    assert!(answer["result"].is_null() && answer["error"].is_null(), "{answer}");
    assert_eq!(world.code(other, "describe", &json!({ "object": pipeline })), 40101);
}

/// Section 6.
#[test]
fn delivery_ends_with_the_last_of_two_subscriptions() {
    let mut world = World::new();
    let (conn, _, a, b) = world.connected();
    let subscribe = json!({ "object": a, "type": "ElementConnected" });
    let first = world.result(conn, "subscribe", &subscribe)["value"].clone();
    let second = world.result(conn, "subscribe", &subscribe)["value"].clone();
    assert_ne!(first, second);
    for (subscription, heard) in [(first, 3), (second, 0)] {
        let params = json!({ "object": a, "subscription": subscription });
        world.result(conn, "unsubscribe", &params);
        let link = json!({ "sink": b });
        let connect = json!({ "object": a, "operation": "connect", "operationParams": link });
        assert_eq!(world.ask(conn, "invoke", &connect).1.len(), heard);
        world.invoke(conn, &a, "disconnect", &link);
    }
}

/// Section 6.
#[test]
fn events_fall_before_after_and_around_their_answer() {
    let mut world = World::new();
    let (conn, _, a, b) = world.connected();
    world.result(conn, "subscribe", &json!({ "object": a, "type": "ElementConnected" }));
    let mut places = [0_usize; 4];
    for id in 0..400 {
        let params =
            json!({ "object": a, "operation": "connect", "operationParams": { "sink": b } });
        let text = json!({ "jsonrpc": "2.0", "id": format!("c{id}"), "method": "invoke",
            "params": params });
        let out = world.send(conn, &text.to_string());
        let at = out.iter().position(|o| matches!(o, KmsOutput::Answer { .. })).unwrap();
        places[at] += 1;
        world.invoke(conn, &a, "disconnect", &json!({ "sink": b }));
    }
    assert!(places[3] > 300 && places.iter().all(|count| *count > 0), "{places:?}");
}

/// Section 3.4.
#[test]
fn some_events_of_a_first_request_are_lost() {
    let mut lost = 0;
    for seed in 0..200 {
        let mut kms = Kms::new(KmsSettings::default(), Draws::seeded(seed));
        let conn = kms.open();
        let operation = |id: usize, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let operations = json!([
            operation(0, "subscribe", json!({ "object": MANAGER, "type": "ObjectCreated" })),
            operation(1, "create", json!({ "type": "MediaPipeline" })),
        ]);
        let text = operation(9, "transaction", json!({ "operations": operations })).to_string();
        let mut out = Vec::new();
        kms.on_text(Time::ZERO, conn, &text, &mut out);
        lost += usize::from(!out.iter().any(|o| matches!(o, KmsOutput::Event { .. })));
    }
    assert!((8..45).contains(&lost), "about 11 in 100: {lost} of 200");
}

/// Section 7.
#[test]
fn a_transaction_keeps_what_it_did_before_it_failed() {
    let mut world = World::new();
    let conn = world.kms.open();
    world.result(conn, "subscribe", &json!({ "object": MANAGER, "type": "ObjectCreated" }));
    let create = |id: Value| {
        json!({ "jsonrpc": "2.0", "id": id, "method": "create",
            "params": { "type": "MediaPipeline", "sessionId": "not this one" } })
    };
    let operations = json!([create(json!(0)), create(json!("1"))]);
    let (answer, events) = world.ask(conn, "transaction", &json!({ "operations": operations }));
    assert_eq!((answer["error"]["code"].as_i64(), events.len()), (Some(40008), 1));
    let pipelines = world.invoke(conn, MANAGER, "getPipelines", &json!({}));
    assert_eq!(pipelines.as_array().unwrap().len(), 1);
    assert_eq!(world.code(conn, "keepAlive", &json!({ "sessionId": "not this one" })), 40007);
}

/// Section 8.
#[test]
fn an_answer_is_given_again_unless_the_cache_is_off() {
    for (keeps_answers, created) in [(true, 1), (false, 2)] {
        let mut world = World::with(KmsSettings { keeps_answers, ..KmsSettings::default() });
        let conn = world.kms.open();
        world.result(conn, "describe", &manager());
        let text =
            r#"{"jsonrpc":"2.0","id":"x","method":"create","params":{"type":"MediaPipeline"}}"#;
        let first = world.send(conn, text);
        assert_eq!(first == world.send(conn, text), keeps_answers);
        let pipelines = world.invoke(conn, MANAGER, "getPipelines", &json!({}));
        assert_eq!(pipelines.as_array().unwrap().len(), created);
    }
}

/// Section 8.
#[test]
fn a_request_that_still_runs_is_run_again() {
    let mut world = World::new();
    let (a, b) = (world.kms.open(), world.kms.open());
    let params = json!({ "object": MANAGER, "sessionId": "s", "operation": "getUsedCpu",
        "operationParams": { "interval": 1_000 } });
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "invoke", "params": params });
    for conn in [a, b] {
        assert_eq!(world.send(conn, &text.to_string()), []);
    }
    assert_eq!(answers(&world.wait(1)).len(), 2);
    assert_eq!(answers(&world.send(b, &text.to_string())).len(), 1, "kept now");
}

/// Section 10.
#[test]
fn a_server_told_to_end_waits_for_calls_and_answers_none() {
    let mut world = World::new();
    let (busy, idle) = (world.kms.open(), world.kms.open());
    let slow = json!({ "object": MANAGER, "operation": "getUsedCpu",
        "operationParams": { "interval": 3_000 } });
    world.ask(busy, "invoke", &slow);
    let gone = world.kms.terminate(world.now);
    assert!(!world.kms.takes_connections());
    assert_eq!(world.ask(idle, "ping", &json!({})).0, Value::Null);
    assert_eq!(world.wait(2), []);
    assert_eq!(world.kms.terminate(world.now), gone, "a second signal is ignored");
    let cut = [KmsOutput::Cut { conn: busy }, KmsOutput::Cut { conn: idle }];
    assert_eq!(world.wait(2), cut);
    assert!(gone.since(Time::ZERO) > Duration::from_secs(3) && gone <= world.now);
    assert_eq!(world.wait(1_000), []);
}
