mod load;
mod rules;

use serde_json::json;

use super::*;

/// A server, its connections, and everything it sent, in order.
struct World {
    kms: Kms,
    now: Time,
    ids: u64,
}

impl World {
    fn new() -> Self {
        Self::with(KmsSettings::default())
    }

    fn with(settings: KmsSettings) -> Self {
        Self { kms: Kms::new(settings, Draws::seeded(1)), now: Time::ZERO, ids: 0 }
    }

    fn send(&mut self, conn: ConnId, text: &str) -> Vec<KmsOutput> {
        let mut out = Vec::new();
        self.kms.on_text(self.now, conn, text, &mut out);
        out
    }

    /// Sends a request with a fresh id; the answer, and the texts of all events.
    fn ask(&mut self, conn: ConnId, method: &str, params: &Value) -> (Value, Vec<Value>) {
        self.ids += 1;
        let request =
            json!({ "jsonrpc": "2.0", "id": self.ids, "method": method, "params": params });
        split(self.send(conn, &request.to_string()))
    }

    fn result(&mut self, conn: ConnId, method: &str, params: &Value) -> Value {
        let (answer, _) = self.ask(conn, method, params);
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    fn code(&mut self, conn: ConnId, method: &str, params: &Value) -> i64 {
        self.ask(conn, method, params).0["error"]["code"].as_i64().unwrap()
    }

    fn create(&mut self, conn: ConnId, kind: &str, pipeline: &str) -> String {
        let params = json!({ "type": kind, "constructorParams": { "mediaPipeline": pipeline } });
        self.result(conn, "create", &params)["value"].as_str().unwrap().to_owned()
    }

    /// A connection with a pipeline and two elements in it.
    fn connected(&mut self) -> (ConnId, String, String, String) {
        let conn = self.kms.open();
        let pipeline = self.create(conn, "MediaPipeline", "");
        let a = self.create(conn, "WebRtcEndpoint", &pipeline);
        let b = self.create(conn, "WebRtcEndpoint", &pipeline);
        (conn, pipeline, a, b)
    }

    fn invoke(&mut self, conn: ConnId, object: &str, operation: &str, args: &Value) -> Value {
        let params = json!({ "object": object, "operation": operation, "operationParams": args });
        self.result(conn, "invoke", &params)["value"].clone()
    }

    fn wait(&mut self, seconds: u64) -> Vec<KmsOutput> {
        let mut out = Vec::new();
        let until = self.now + Duration::from_secs(seconds);
        while self.kms.deadline() <= until {
            self.now = self.kms.deadline().max(self.now);
            self.kms.tick(self.now, &mut out);
        }
        self.now = until;
        self.kms.tick(until, &mut out);
        out
    }
}

fn split(out: Vec<KmsOutput>) -> (Value, Vec<Value>) {
    let (mut answer, mut events) = (Value::Null, Vec::new());
    for output in out {
        match output {
            KmsOutput::Answer { text, .. } => answer = serde_json::from_str(&text).unwrap(),
            KmsOutput::Event { text, .. } => events.push(serde_json::from_str(&text).unwrap()),
            KmsOutput::Cut { .. } | KmsOutput::Die => panic!("{output:?}"),
        }
    }
    (answer, events)
}

#[test]
fn a_session_is_collected_one_to_two_periods_after_its_connection_went() {
    let mut world = World::new();
    let (conn, pipeline, ..) = world.connected();
    world.wait(1_000);
    let other = world.kms.open();
    assert_eq!(
        world.result(other, "describe", &json!({ "object": pipeline }))["type"],
        "MediaPipeline"
    );
    world.result(other, "unref", &json!({ "object": pipeline }));
    world.kms.close(conn);
    world.wait(239);
    assert_eq!(world.code(other, "connect", &json!({ "sessionId": "nobody" })), 40007);
    world.wait(241);
    assert_eq!(world.code(other, "describe", &json!({ "object": pipeline })), 40101);
}

#[test]
fn a_connection_cut_for_malformed_input_keeps_its_session_for_ever() {
    let mut world = World::new();
    let (conn, pipeline, ..) = world.connected();
    assert_eq!(world.send(conn, "{oops"), [KmsOutput::Cut { conn }]);
    world.kms.close(conn);
    world.wait(2_000);
    let other = world.kms.open();
    world.result(other, "describe", &json!({ "object": pipeline }));
}

#[test]
fn a_moved_session_takes_the_events_with_it() {
    let mut world = World::new();
    let (conn, _, a, b) = world.connected();
    let subscribe = json!({ "object": a, "type": "ElementConnected" });
    let session = world.result(conn, "subscribe", &subscribe)["sessionId"].clone();
    world.result(conn, "subscribe", &subscribe);
    let other = world.kms.open();
    world.result(other, "connect", &json!({ "sessionId": session }));
    let params = json!({ "object": a, "operation": "connect", "operationParams": { "sink": b } });
    let text = json!({ "jsonrpc": "2.0", "id": 99, "method": "invoke", "params": params });
    let out = world.send(other, &text.to_string());
    let events =
        out.iter().filter(|o| matches!(o, KmsOutput::Event { conn, .. } if *conn == other));
    assert_eq!((events.count(), out.len()), (3, 4), "one for each kind of media, none twice");
    assert!(world.ask(conn, "ping", &json!({})).0["result"]["sessionId"].is_null());
}

#[test]
fn a_slow_call_holds_up_its_connection_and_ten_hold_up_everyone() {
    let mut world = World::new();
    let conns: Vec<ConnId> = (0..11).map(|_| world.kms.open()).collect();
    let slow = json!({
        "object": "manager_ServerManager",
        "operation": "getUsedCpu",
        "operationParams": { "interval": 1_000 },
    });
    for conn in &conns[..9] {
        assert!(world.ask(*conn, "invoke", &slow).0.is_null());
    }
    assert!(world.kms.is_busy(conns[0]));
    assert_eq!(world.ask(conns[10], "ping", &json!({})).0["result"]["value"], "pong");
    world.ask(conns[9], "invoke", &slow);
    assert!(world.ask(conns[10], "ping", &json!({})).0.is_null());
    let out = world.wait(1);
    let pongs =
        out.iter().filter(|o| matches!(o, KmsOutput::Answer { conn, .. } if *conn == conns[10]));
    assert_eq!((out.len(), pongs.count()), (11, 1));
    assert!(!world.kms.is_busy(conns[0]));
}

#[test]
fn two_endpoints_negotiate_and_connect() {
    let mut world = World::new();
    let (conn, _, a, b) = world.connected();
    world.result(conn, "subscribe", &json!({ "object": a, "type": "IceCandidateFound" }));
    world.result(conn, "subscribe", &json!({ "object": a, "type": "ConnectionStateChanged" }));
    let offer = world.invoke(conn, &a, "generateOffer", &json!({}));
    let answer = world.invoke(conn, &b, "processOffer", &json!({ "offer": offer }));
    world.invoke(conn, &a, "processAnswer", &json!({ "answer": answer }));
    let gather = json!({ "object": a, "operation": "gatherCandidates" });
    let (_, events) = world.ask(conn, "invoke", &gather);
    assert_eq!(events.len(), 12);
    let candidate = events[0]["params"]["value"]["data"]["candidate"].clone();
    world.invoke(conn, &a, "addIceCandidate", &json!({ "candidate": candidate }));
    assert_eq!(world.invoke(conn, &a, "getConnectionState", &json!({})), "DISCONNECTED");
    assert_eq!(world.wait(1).len(), 1);
    assert_eq!(world.invoke(conn, &a, "getConnectionState", &json!({})), "CONNECTED");
    let again =
        json!({ "object": b, "operation": "processOffer", "operationParams": { "offer": offer } });
    assert_eq!(world.code(conn, "invoke", &again), 40208);
}

#[test]
fn a_player_feeds_a_recorder_until_its_file_ends() {
    let mut world = World::new();
    let conn = world.kms.open();
    let pipeline = world.create(conn, "MediaPipeline", "");
    let mut with_uri = |kind: &str, uri: &str| {
        let args = json!({ "mediaPipeline": pipeline, "uri": uri });
        let params = json!({ "type": kind, "constructorParams": args });
        world.result(conn, "create", &params)["value"].as_str().unwrap().to_owned()
    };
    let player = with_uri("PlayerEndpoint", "http://media.example/a.webm");
    let recorder = with_uri("RecorderEndpoint", "file:///recordings/a.webm");
    world.result(conn, "subscribe", &json!({ "object": recorder, "type": "Recording" }));
    world.result(conn, "subscribe", &json!({ "object": player, "type": "EndOfStream" }));
    world.invoke(conn, &player, "connect", &json!({ "sink": recorder }));
    world.invoke(conn, &recorder, "record", &json!({}));
    world.invoke(conn, &player, "play", &json!({}));
    assert_eq!(world.wait(1).len(), 1);
    assert_eq!(world.invoke(conn, &recorder, "getState", &json!({})), "START");
    assert_eq!(world.wait(6).len(), 1);
    assert_eq!(world.invoke(conn, &player, "getState", &json!({})), "STOP");
}

#[test]
fn connecting_to_what_is_no_element_kills_the_server() {
    let mut world = World::new();
    let (conn, pipeline, a, _) = world.connected();
    let params =
        json!({ "object": a, "operation": "connect", "operationParams": { "sink": pipeline } });
    let text = json!({ "jsonrpc": "2.0", "id": 99, "method": "invoke", "params": params });
    assert_eq!(world.send(conn, &text.to_string()), [KmsOutput::Die]);
}

#[test]
fn equal_seeds_give_equal_servers() {
    let run = || {
        let mut world = World::new();
        let (conn, _, a, _) = world.connected();
        (world.kms.server_id().to_owned(), world.invoke(conn, &a, "generateOffer", &json!({})))
    };
    assert_eq!(run(), run());
}

#[test]
fn a_server_that_hangs_does_everything_when_it_goes_on() {
    let mut world = World::new();
    let conn = world.kms.open();
    world.kms.faults_mut().hang_after = Some(1);
    assert_eq!(world.ask(conn, "ping", &json!({})).0["result"]["value"], "pong");
    assert!(world.ask(conn, "ping", &json!({})).0.is_null());
    assert!(world.kms.is_busy(conn));
    assert_eq!(world.wait(1_000).len(), 0);
    world.kms.faults_mut().hang_after = None;
    let out = world.wait(0);
    assert!(matches!(&out[..], [KmsOutput::Answer { text, .. }] if text.contains("pong")));
    assert!(!world.kms.is_busy(conn));
}

#[test]
fn a_server_that_stood_still_collects_once_when_it_goes_on() {
    let mut world = World::new();
    let (conn, pipeline, ..) = world.connected();
    world.kms.close(conn);
    world.kms.faults_mut().hang_after = Some(0);
    world.wait(10_000);
    world.kms.faults_mut().hang_after = None;
    world.wait(0);
    let other = world.kms.open();
    world.result(other, "describe", &json!({ "object": pipeline }));
}

#[test]
fn a_full_server_creates_nothing_and_does_the_rest() {
    let mut world = World::new();
    let (conn, pipeline, ..) = world.connected();
    world.kms.faults_mut().is_full = true;
    assert_eq!(world.code(conn, "create", &json!({ "type": "MediaPipeline" })), 40009);
    world.result(conn, "describe", &json!({ "object": pipeline }));
    world.kms.faults_mut().is_full = false;
    world.create(conn, "MediaPipeline", "");
}
