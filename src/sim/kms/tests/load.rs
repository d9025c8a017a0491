//! What a server costs, when it is full, how long its calls take.

use super::*;
use crate::sim::kms::{CpuWeights, Limits, LoadModel, MemoryWeights};

fn timed() -> KmsSettings {
    KmsSettings {
        load: LoadModel { is_timed: true, ..LoadModel::default() },
        ..KmsSettings::default()
    }
}

/// Time from `text` to its answer.
fn time_of(world: &mut World, conn: ConnId, text: &str) -> Duration {
    let from = world.now;
    let mut out = world.send(conn, text);
    while !out.iter().any(|o| matches!(o, KmsOutput::Answer { conn: to, .. } if *to == conn)) {
        world.now = world.kms.deadline();
        world.kms.tick(world.now, &mut out);
    }
    world.now.since(from)
}

fn request(id: usize, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn used(world: &mut World, conn: ConnId, operation: &str) -> f64 {
    let args = json!({ "interval": 0 });
    world.invoke(conn, "manager_ServerManager", operation, &args).as_f64().unwrap()
}

fn negotiate(world: &mut World, conn: ConnId, endpoint: &str, codec: &str) {
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
         a=mid:0\r\na=rtpmap:96 {codec}/90000\r\n"
    );
    world.invoke(conn, endpoint, "processOffer", &json!({ "offer": offer }));
}

#[test]
fn the_processors_and_the_memory_follow_what_is_on_the_server() {
    let load = LoadModel {
        cpu: CpuWeights { leg: 4.0, recorder: 2.0, mixer_port: 10.0, ..CpuWeights::default() },
        ..LoadModel::default()
    };
    let mut world = World::with(KmsSettings { load, cpu_count: 1, ..KmsSettings::default() });
    let (conn, pipeline, a, b) = world.connected();
    let weights = MemoryWeights::default();
    let before = used(&mut world, conn, "getUsedMemory");
    assert!(before >= weights.idle_kb as f64);
    assert!(used(&mut world, conn, "getUsedCpu").abs() < 1e-9);
    negotiate(&mut world, conn, &a, "VP8");
    negotiate(&mut world, conn, &b, "VP8");
    assert!((used(&mut world, conn, "getUsedCpu") - 8.0).abs() < 1e-9);
    let more = used(&mut world, conn, "getUsedMemory") - before;
    assert!(more >= (2 * weights.negotiated_kb) as f64, "{more}");

    let composite = world.create(conn, "Composite", &pipeline);
    let params = json!({ "type": "HubPort", "constructorParams": { "hub": composite } });
    let port = world.result(conn, "create", &params)["value"].as_str().unwrap().to_owned();
    assert!((used(&mut world, conn, "getUsedCpu") - 8.0).abs() < 1e-9, "an idle port is free");
    world.invoke(conn, &a, "connect", &json!({ "sink": port }));
    assert!((used(&mut world, conn, "getUsedCpu") - 18.0).abs() < 1e-9);
    world.result(conn, "release", &json!({ "object": pipeline }));
    assert!(used(&mut world, conn, "getUsedCpu").abs() < 1e-9);
}

#[test]
fn two_endpoints_of_different_codecs_make_the_server_transcode() {
    for (codec, percent) in [("VP8", 2.0), ("H264", 32.0)] {
        let mut world = World::with(KmsSettings { cpu_count: 1, ..KmsSettings::default() });
        let (conn, _, a, b) = world.connected();
        negotiate(&mut world, conn, &a, "VP8");
        negotiate(&mut world, conn, &b, codec);
        world.invoke(conn, &a, "connect", &json!({ "sink": b }));
        assert!((used(&mut world, conn, "getUsedCpu") - percent).abs() < 1e-9, "{codec}");
        let video = json!({ "mediaType": "VIDEO" });
        assert_eq!(world.invoke(conn, &b, "isMediaTranscoding", &video), codec != "VP8");
    }
}

#[test]
fn calls_take_longer_on_a_busy_server() {
    let median = |world: &mut World, conn: ConnId| {
        let mut times: Vec<Duration> = (0..101)
            .map(|n| time_of(world, conn, &request(100_000 + n, "ping", &json!({}))))
            .collect();
        world.now = world.now + Duration::from_secs(30);
        times.sort();
        times[50]
    };
    let idle = World::with(timed());
    let load = LoadModel { cpu: CpuWeights { leg: 45.0, ..CpuWeights::default() }, ..timed().load };
    let busy = World::with(KmsSettings { load, cpu_count: 1, ..KmsSettings::default() });
    let mut medians = Vec::new();
    for (mut world, legs) in [(idle, 0), (busy, 2)] {
        let conn = world.kms.open();
        let mut id = 0;
        let mut value = |world: &mut World, method: &str, params: &Value| {
            id += 1;
            let mut out = world.send(conn, &request(id, method, params));
            while out.is_empty() {
                world.now = world.kms.deadline();
                world.kms.tick(world.now, &mut out);
            }
            split(out).0["result"]["value"].clone()
        };
        let pipeline = value(&mut world, "create", &json!({ "type": "MediaPipeline" }));
        for _ in 0..legs {
            let args = json!({ "mediaPipeline": pipeline });
            let params = json!({ "type": "RtpEndpoint", "constructorParams": args });
            let endpoint = value(&mut world, "create", &params);
            let offer = "v=0\r\nm=audio 9 RTP/AVP 0\r\n";
            let params = json!({ "object": endpoint, "operation": "processOffer",
                "operationParams": { "offer": offer } });
            assert!(value(&mut world, "invoke", &params).is_string());
        }
        world.now = world.now + Duration::from_secs(1);
        medians.push(median(&mut world, conn));
    }
    let micros = medians[0].as_micros();
    assert!((60..110).contains(&micros), "measured 80 us: {micros}");
    let ratio = medians[1].as_secs_f64() / medians[0].as_secs_f64();
    assert!((7.0..14.0).contains(&ratio), "90 % busy, so 10 times as long: {ratio}");
}

#[test]
fn the_first_endpoint_of_a_process_takes_long() {
    let mut world = World::with(timed());
    let conn = world.kms.open();
    let (_, pipeline) = {
        let mut out = world.send(conn, &request(1, "create", &json!({ "type": "MediaPipeline" })));
        world.now = world.now + Duration::from_secs(1);
        world.kms.tick(world.now, &mut out);
        (0, split(out).0["result"]["value"].clone())
    };
    let args = json!({ "mediaPipeline": pipeline });
    let create = json!({ "type": "WebRtcEndpoint", "constructorParams": args });
    let first = time_of(&mut world, conn, &request(2, "create", &create));
    let second = time_of(&mut world, conn, &request(3, "create", &create));
    assert!(first > Duration::from_millis(80), "{first:?}");
    assert!(second < Duration::from_millis(30), "{second:?}");
}

#[test]
fn a_slow_server_takes_its_time_even_where_none_is_modelled() {
    let mut world = World::new();
    let conn = world.kms.open();
    assert_eq!(time_of(&mut world, conn, &request(1, "ping", &json!({}))), Duration::ZERO);
    world.kms.faults_mut().slow = 1_000.0;
    let slow = time_of(&mut world, conn, &request(2, "ping", &json!({})));
    assert_eq!(slow, Duration::from_millis(80));
    world.kms.faults_mut().slow = 1.0;
    assert_eq!(time_of(&mut world, conn, &request(3, "ping", &json!({}))), Duration::ZERO);
}

#[test]
fn a_way_to_the_server_delays_and_holds_no_thread() {
    let latency = Duration::from_millis(7);
    let settings = KmsSettings { latency, io_threads: 1, ..KmsSettings::default() };
    let mut world = World::with(settings);
    let (a, b) = (world.kms.open(), world.kms.open());
    assert!(world.ask(a, "ping", &json!({})).0.is_null());
    assert_eq!(time_of(&mut world, b, &request(9, "ping", &json!({}))), latency);
}

#[test]
fn a_thread_is_free_when_its_call_is_done_though_the_answer_is_still_on_its_way() {
    let latency = Duration::from_secs(5);
    let settings = KmsSettings { latency, io_threads: 1, ..timed() };
    let mut world = World::with(settings);
    let conns: Vec<ConnId> = (0..20).map(|_| world.kms.open()).collect();
    for conn in &conns {
        assert!(world.ask(*conn, "ping", &json!({})).0.is_null());
    }
    assert!(!world.kms.takes_connections(), "they wait for the one thread");
    assert_eq!(world.wait(4), []);
    assert!(world.kms.takes_connections());
    assert_eq!(world.wait(2).len(), 20);
}

#[test]
fn each_limit_stops_creation_and_nothing_else() {
    let cases = [
        (Limits { endpoints_max: Some(2), ..Limits::default() }, "threads limit: 2"),
        (Limits { threads_max: Some(20), ..Limits::default() }, "threads limit: 16"),
        (Limits { files_max: Some(32), ..Limits::default() }, "files limit: 25"),
    ];
    for (limits, expected) in cases {
        let mut world = World::with(KmsSettings { limits, ..KmsSettings::default() });
        let conn = world.kms.open();
        let mut pipelines = Vec::new();
        let refused = loop {
            assert!(pipelines.len() < 10, "{expected}");
            let (answer, _) = world.ask(conn, "create", &json!({ "type": "MediaPipeline" }));
            let Some(pipeline) = answer["result"]["value"].as_str() else { break answer };
            let args = json!({ "mediaPipeline": pipeline });
            let params = json!({ "type": "WebRtcEndpoint", "constructorParams": args });
            world.ask(conn, "create", &params);
            pipelines.push(pipeline.to_owned());
        };
        assert_eq!(refused["error"]["code"], 40009);
        assert_eq!(refused["error"]["message"], format!("Reached KMS {expected}"));
        let unknown = json!({ "type": "NoSuchThing" });
        assert_eq!(world.code(conn, "create", &unknown), 40108, "the type is looked up first");
        let incomplete = json!({ "type": "WebRtcEndpoint" });
        assert_eq!(world.code(conn, "create", &incomplete), 40009, "the rest is not");
        if let Some(pipeline) = pipelines.first() {
            world.result(conn, "describe", &json!({ "object": pipeline }));
        }
        for pipeline in &pipelines {
            world.result(conn, "release", &json!({ "object": pipeline }));
        }
        if expected.starts_with("threads limit: 2") {
            world.create(conn, "MediaPipeline", "");
        }
    }
}

#[test]
fn an_emptied_server_above_its_kill_limit_ends() {
    for (percent, ends) in [(80, false), (50, true)] {
        let limits =
            Limits { files_max: Some(40), kill_percent: Some(percent), ..Limits::default() };
        let mut world = World::with(KmsSettings { limits, ..KmsSettings::default() });
        let conn = world.kms.open();
        let pipeline = world.create(conn, "MediaPipeline", "");
        assert_eq!(world.kms.gone_at(), None);
        world.result(conn, "release", &json!({ "object": pipeline }));
        assert_eq!(world.kms.gone_at().is_some(), ends);
        assert_eq!(world.wait(1) == [KmsOutput::Cut { conn }], ends);
    }
}

#[test]
fn no_connection_is_taken_without_a_descriptor_or_a_thread() {
    let limits = Limits { files_max: Some(26), ..Limits::default() };
    let settings = KmsSettings { limits, io_threads: 1, ..KmsSettings::default() };
    let mut world = World::with(settings);
    let conn = world.kms.open();
    assert!(world.kms.takes_connections());
    let other = world.kms.open();
    assert!(!world.kms.takes_connections(), "the hard limit, not 80 % of it");
    world.kms.close(other);
    let slow = json!({ "object": "manager_ServerManager", "operation": "getUsedCpu",
        "operationParams": { "interval": 500 } });
    world.ask(conn, "invoke", &slow);
    assert!(!world.kms.takes_connections());
    world.wait(1);
    assert!(world.kms.takes_connections());
}

#[test]
fn kept_answers_take_memory_that_is_not_given_back() {
    let mut world = World::new();
    let conn = world.kms.open();
    world.result(conn, "describe", &json!({ "object": "manager_ServerManager" }));
    let before = used(&mut world, conn, "getUsedMemory");
    for _ in 0..1_000 {
        world.ask(conn, "ping", &json!({}));
    }
    world.wait(60);
    let more = used(&mut world, conn, "getUsedMemory") - before;
    assert!((8_000.0..8_100.0).contains(&more), "{more}");
}
