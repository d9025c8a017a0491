//! What a client of the simulated server can see.

use serde_json::{Value, json};

use super::*;

struct World {
    kms: Kms,
    now: Time,
    next_id: u64,
    events: Vec<(ConnId, Value)>,
}

impl World {
    fn new() -> Self {
        let kms = Kms::new("server".into(), Draws::seeded(1));
        Self { kms, now: Time::ZERO, next_id: 1_000, events: Vec::new() }
    }

    fn raw(&mut self, conn: ConnId, text: &str) -> Vec<KmsOutput> {
        let mut out = Vec::new();
        self.kms.on_text(self.now, conn, text, &mut out);
        out
    }

    /// Sends one request and gives its answer; events go to `events`.
    fn ask(&mut self, conn: ConnId, request: &Value) -> Value {
        let mut answer = Value::Null;
        for output in self.raw(conn, &request.to_string()) {
            let KmsOutput::Text { conn: to, text } = output else { panic!("cut") };
            let value: Value = serde_json::from_str(&text).unwrap();
            match value.get("method") {
                Some(_) => self.events.push((to, value)),
                None => answer = value,
            }
        }
        answer
    }

    fn call(&mut self, conn: ConnId, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let mut request = json!({"jsonrpc": "2.0", "id": self.next_id, "method": method});
        request["params"] = params;
        self.ask(conn, &request)
    }

    fn value(&mut self, conn: ConnId, method: &str, params: Value) -> String {
        let answer = self.call(conn, method, params);
        answer["result"]["value"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn pipeline(&mut self, conn: ConnId) -> String {
        self.value(conn, "create", json!({"type": "MediaPipeline"}))
    }

    fn element(&mut self, conn: ConnId, kind: &str, pipeline: &str) -> String {
        let constructor = json!({"mediaPipeline": pipeline});
        self.value(conn, "create", json!({"type": kind, "constructorParams": constructor}))
    }

    fn invoke(&mut self, conn: ConnId, object: &str, operation: &str, args: Value) -> Value {
        let mut params = json!({"object": object, "operation": operation});
        params["operationParams"] = args;
        self.call(conn, "invoke", params)
    }

    fn code(&mut self, conn: ConnId, method: &str, params: Value) -> i64 {
        self.call(conn, method, params)["error"]["code"].as_i64().unwrap_or(0)
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let mut out = Vec::new();
        self.kms.tick(self.now, &mut out);
    }

    fn event_kinds(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut self.events);
        let kind = |event: &Value| event["params"]["value"]["type"].as_str().unwrap().to_owned();
        events.iter().map(|(_, event)| kind(event)).collect()
    }
}

#[test]
fn the_first_request_that_needs_a_session_ties_one() {
    let mut world = World::new();
    let conn = world.kms.open();
    let pong = world.call(conn, "ping", json!({"interval": 5000}));
    assert_eq!(pong["result"], json!({"value": "pong"}));
    let described = world.call(conn, "describe", json!({"object": "manager_ServerManager"}));
    assert_eq!(described["result"]["hierarchy"], json!(["kurento.MediaObject"]));
    let pong = world.call(conn, "ping", json!({}));
    assert_eq!(pong["result"]["sessionId"], described["result"]["sessionId"]);
}

#[test]
fn connect_wants_a_session_that_was_used_and_create_takes_any() {
    let mut world = World::new();
    let conn = world.kms.open();
    assert_eq!(world.call(conn, "connect", json!({}))["result"]["serverId"], "server");
    assert_eq!(world.code(conn, "connect", json!({})), 40007);
    assert_eq!(world.code(conn, "keepAlive", json!({})), 40007);
    let params = json!({"type": "MediaPipeline", "sessionId": "forged"});
    assert_eq!(world.call(conn, "create", params)["result"]["sessionId"], "forged");
    let other = world.kms.open();
    assert_eq!(world.code(other, "connect", json!({"sessionId": "forged"})), 0);
}

#[test]
fn envelopes_are_refused_as_kms_does() {
    let mut world = World::new();
    let conn = world.kms.open();
    let refusal = world.ask(conn, &json!({"id": 1, "method": "ping"}));
    assert_eq!((&refusal["error"]["code"], &refusal["id"]), (&json!(-32600), &Value::Null));
    assert_eq!(world.code(conn, "frobnicate", json!({})), -32601);
    let no_params = world.ask(conn, &json!({"jsonrpc": "2.0", "id": 1, "method": "create"}));
    assert_eq!(no_params["error"]["code"], -32602);
    assert_eq!(world.code(conn, "create", json!({})), -32000);
    assert_eq!(world.code(conn, "unref", json!({"object": "x"})), -32000);
    assert_eq!(world.code(conn, "create", json!({"type": "MediaElement"})), 40108);
}

#[test]
fn a_batch_is_refused_without_a_session_and_cuts_with_one() {
    let mut world = World::new();
    let conn = world.kms.open();
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    assert!(matches!(world.raw(conn, batch)[0], KmsOutput::Text { .. }));
    world.pipeline(conn);
    assert_eq!(world.raw(conn, batch), [KmsOutput::Cut { conn }]);
    let other = world.kms.open();
    assert_eq!(world.raw(other, "{broken"), [KmsOutput::Cut { conn: other }]);
}

#[test]
fn a_cut_for_broken_text_keeps_its_session_for_ever() {
    let mut world = World::new();
    let (broken, proper) = (world.kms.open(), world.kms.open());
    let (kept, gone) = (world.pipeline(broken), world.pipeline(proper));
    world.raw(broken, "{");
    world.kms.close(broken);
    world.kms.close(proper);
    for _ in 0..4 {
        world.pass(COLLECT_EVERY);
    }
    assert!(world.kms.objects.find(&kept).is_some() && world.kms.objects.find(&gone).is_none());
}

#[test]
fn an_object_lives_until_its_last_owner_leaves() {
    let mut world = World::new();
    let (a, b) = (world.kms.open(), world.kms.open());
    let pipeline = world.pipeline(a);
    let element = world.element(a, "PassThrough", &pipeline);
    world.call(b, "describe", json!({"object": element}));
    assert_eq!(world.call(a, "closeSession", json!({}))["result"], Value::Null);
    assert_eq!(world.code(b, "describe", json!({"object": element})), 0);
    world.call(b, "unref", json!({"object": pipeline}));
    assert_eq!(world.code(b, "describe", json!({"object": element})), 40101);
    assert_eq!(world.code(b, "release", json!({"object": element})), 0);
}

#[test]
fn anyone_may_release_what_others_own() {
    let mut world = World::new();
    let (a, b) = (world.kms.open(), world.kms.open());
    let pipeline = world.pipeline(a);
    let element = world.element(a, "WebRtcEndpoint", &pipeline);
    assert!(element.starts_with(&format!("{pipeline}/")));
    world.call(b, "release", json!({"object": pipeline}));
    assert_eq!(world.code(a, "describe", json!({"object": element})), 40101);
}

#[test]
fn events_go_once_to_each_session_that_subscribed() {
    let mut world = World::new();
    let (a, b, silent) = (world.kms.open(), world.kms.open(), world.kms.open());
    let topic = json!({"object": "manager_ServerManager", "type": "ObjectCreated"});
    for conn in [a, a, b] {
        world.call(conn, "subscribe", topic.clone());
    }
    let pipeline = world.pipeline(silent);
    let to: Vec<ConnId> = world.events.iter().map(|(conn, _)| *conn).collect();
    assert!(to.len() == 2 && to.contains(&a) && to.contains(&b));
    let value = &world.events[0].1["params"]["value"];
    assert_eq!(value["data"]["object"], json!(pipeline));
    assert_eq!(value["data"]["source"], value["object"]);
    let wrong = json!({"object": pipeline, "type": "ObjectCreated"});
    assert_eq!(world.code(a, "subscribe", wrong), 40106);
}

#[test]
fn connecting_replaces_the_source_and_tells_it() {
    let mut world = World::new();
    let conn = world.kms.open();
    let pipeline = world.pipeline(conn);
    let [a, b, sink] = [(); 3].map(|()| world.element(conn, "PassThrough", &pipeline));
    for event in ["ElementConnected", "ElementDisconnected"] {
        world.call(conn, "subscribe", json!({"object": a, "type": event}));
    }
    world.invoke(conn, &a, "connect", json!({"sink": sink, "mediaType": "AUDIO"}));
    world.invoke(conn, &b, "connect", json!({"sink": sink}));
    assert_eq!(world.event_kinds(), ["ElementConnected", "ElementDisconnected"]);
    let found = world.invoke(conn, &sink, "getSourceConnections", json!({}));
    assert_eq!(found["result"]["value"].as_array().map(Vec::len), Some(3));
    let other = world.pipeline(conn);
    let foreign = world.element(conn, "PassThrough", &other);
    let refused = world.invoke(conn, &a, "connect", json!({"sink": foreign}));
    assert_eq!(refused["error"]["code"], 40004);
}

#[test]
fn negotiation_gathers_and_connects_with_events() {
    let mut world = World::new();
    let conn = world.kms.open();
    let pipeline = world.pipeline(conn);
    let [a, b] = [(); 2].map(|()| world.element(conn, "WebRtcEndpoint", &pipeline));
    for event in ["IceCandidateFound", "IceGatheringDone", "ConnectionStateChanged"] {
        world.call(conn, "subscribe", json!({"object": b, "type": event}));
    }
    let offer = world.invoke(conn, &a, "generateOffer", json!({}))["result"]["value"].clone();
    let early = world.invoke(conn, &b, "gatherCandidates", json!({}));
    assert_eq!(early["result"]["value"], Value::Null);
    assert!(world.event_kinds().is_empty());
    let answer = world.invoke(conn, &b, "processOffer", json!({"offer": offer}));
    world.invoke(conn, &a, "processAnswer", json!({"answer": answer["result"]["value"]}));
    world.invoke(conn, &b, "gatherCandidates", json!({}));
    world.invoke(conn, &b, "addIceCandidate", json!({"candidate": {"candidate": "x"}}));
    let expected =
        ["IceCandidateFound", "IceCandidateFound", "IceGatheringDone", "ConnectionStateChanged"];
    assert_eq!(world.event_kinds(), expected);
    let again = world.invoke(conn, &b, "processOffer", json!({"offer": offer}));
    assert_eq!(again["error"]["code"], 40208);
}

#[test]
fn a_transaction_refers_to_earlier_results_and_stops_at_a_failure() {
    let mut world = World::new();
    let conn = world.kms.open();
    let op = |id: usize, method: &str, params: Value| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let operations = json!([
        op(0, "create", json!({"type": "MediaPipeline"})),
        op(
            1,
            "create",
            json!({"type": "PassThrough", "constructorParams": {"mediaPipeline": "newref:0"}})
        ),
        op(2, "describe", json!({"object": "nosuch"})),
        op(3, "ping", json!({})),
    ]);
    let answer = world.call(conn, "transaction", json!({"operations": operations}));
    let answers = answer["result"]["value"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    let pipeline = answers[0]["result"]["value"].as_str().unwrap();
    assert!(answers[1]["result"]["value"].as_str().unwrap().starts_with(pipeline));
    assert_eq!(answers[2]["error"]["code"], 40101);
}

#[test]
fn a_malformed_transaction_fails_as_a_whole_but_what_ran_stays() {
    let mut world = World::new();
    let conn = world.kms.open();
    let create = json!({"jsonrpc": "2.0", "id": 0, "method": "create",
                        "params": {"type": "MediaPipeline"}});
    let mut text_id = create.clone();
    text_id["id"] = json!("1");
    let code = world.code(conn, "transaction", json!({"operations": [create, text_id]}));
    assert_eq!((code, world.kms.objects.pipelines().len()), (40008, 1));
    let ahead = json!({"jsonrpc": "2.0", "id": 0, "method": "describe",
                       "params": {"object": "newref:1"}});
    assert_eq!(world.code(conn, "transaction", json!({"operations": [ahead]})), 40008);
    assert_eq!(world.code(conn, "describe", json!({"object": "newref:0"})), 40109);
}

#[test]
fn a_repeated_id_gets_the_old_answer_for_a_while() {
    let mut world = World::new();
    let conn = world.kms.open();
    let create = json!({"jsonrpc": "2.0", "id": 1, "method": "create",
                        "params": {"type": "MediaPipeline", "sessionId": "s"}});
    let first = world.ask(conn, &create);
    let as_text = json!({"jsonrpc": "2.0", "id": "1", "method": "ping"});
    assert_eq!(world.ask(conn, &as_text), first);
    world.now = world.now + Duration::from_secs(20);
    assert_ne!(world.ask(conn, &create), first);
}

#[test]
fn listing_pipelines_keeps_them_while_it_is_repeated() {
    let mut world = World::new();
    let (owner, monitor) = (world.kms.open(), world.kms.open());
    let pipeline = world.pipeline(owner);
    world.kms.close(owner);
    for _ in 0..4 {
        world.invoke(monitor, "manager_ServerManager", "getPipelines", json!({}));
        world.pass(COLLECT_EVERY);
    }
    assert!(world.kms.objects.find(&pipeline).is_some());
    world.pass(COLLECT_EVERY);
    assert!(world.kms.objects.find(&pipeline).is_none());
}

#[test]
fn a_request_without_an_id_runs_but_ties_nothing() {
    let mut world = World::new();
    let conn = world.kms.open();
    let create = json!({"jsonrpc": "2.0", "method": "create", "params": {"type": "MediaPipeline"}});
    assert_eq!(world.ask(conn, &create)["error"]["code"], -32000);
    assert_eq!(world.kms.objects.pipelines().len(), 1);
    assert_eq!(world.kms.sessions.of_conn(conn), None);
}
