//! The routing decision: a client's message in, "relay it to that link" out, and its answer back.
//!
//! The peers in the same run: `serde_json::Value`, which only parses the message, and a session that
//! keeps no calls to send them again, which shows what keeping them costs. A session whose costly calls
//! ask for their turn, and get it at once, shows what pacing costs: nothing for other calls. What the
//! guard takes of the decision stands beside it, under the built-in policy and under a table of 32 rows.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

use pinfold::model::{BackendId, SessionId, Time};
use pinfold::policy::access::Isolation;
use pinfold::policy::guard::{Policy, Rules};
use pinfold::protocol::request::{Hints, parse_request};
use pinfold::session::{Bounds, Input, LinkNo, Output, Paced, Session, Ticket};

/// The session asks no clock, so all happens at once.
const NOW: Time = Time::ZERO;

const PIPELINE: &str = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";

/// A session that knows `PIPELINE` and has an open link to its backend. It keeps `resend_max_bytes` of
/// calls under way.
fn session(resend_max_bytes: usize) -> Session {
    let bounds = Bounds {
        depth_max: 128,
        held_max_bytes: 1 << 20,
        paced_max_bytes: 1 << 20,
        calls_max: 4_096,
        pipelines_max: 10_000,
        subscriptions_max: 10_000,
        resend_max_bytes,
        call_timeout: Duration::from_secs(60),
    };
    let mut session = Session::new(SessionId::from_random(1), "edge", Hints::default(), bounds);
    let create = json!({"jsonrpc": "2.0", "id": 1, "method": "create",
        "params": {"type": "MediaPipeline"}})
    .to_string();
    let created = json!({"id": 1, "jsonrpc": "2.0",
        "result": {"sessionId": "s", "value": PIPELINE}})
    .to_string();
    let backend = BackendId::parse("kms-a").expect("a good id");
    let mut out = Vec::new();
    session.handle(NOW, Input::FromClient(&create), &mut out);
    session.handle(NOW, Input::Placed(Ticket(1), Ok(backend)), &mut out);
    session.handle(NOW, Input::LinkOpened(LinkNo(0)), &mut out);
    session.handle(NOW, Input::FromBackend(LinkNo(0), &created), &mut out);
    session
}

/// An `invoke` of exactly `len` bytes; `fill` grows to make it so.
fn invoke(operation: &str, len: usize) -> String {
    let element = format!("{PIPELINE}/1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_kurento.WebRtcEndpoint");
    let text = |fill: &str| {
        json!({"jsonrpc": "2.0", "id": 7, "method": "invoke", "params": {
            "object": element, "operation": operation, "operationParams": {"text": fill},
            "sessionId": SessionId::from_random(1).as_str()}})
        .to_string()
    };
    text(&"a=rtpmap:96 VP8/90000 ".repeat(len)[..len - text("").len()])
}

/// A call of the client, and its turn if it asks for one; says where it goes.
fn call(session: &mut Session, text: &str, out: &mut Vec<Output>) -> LinkNo {
    out.clear();
    session.handle(NOW, Input::FromClient(text), out);
    if let Some(Output::Pace(ticket, ..)) = out.last() {
        let ticket = *ticket;
        session.handle(NOW, Input::Paced(ticket, Paced::Go), out);
    }
    match out.last() {
        Some(Output::Relay(link) | Output::ToBackend(link, _)) => *link,
        other => panic!("{other:?}"),
    }
}

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("session/route and answer");
    for (operation, len) in [("addIceCandidate", 441), ("processOffer", 4_096)] {
        let text = invoke(operation, len);
        let answer = r#"{"id":7,"jsonrpc":"2.0","result":{"sessionId":"s","value":null}}"#;
        group.throughput(Throughput::Bytes(len as u64));
        for (name, mut session) in [
            ("pinfold", session(1 << 18)),
            ("pinfold, paced", session(1 << 18).paced()),
            ("pinfold, no re-send", session(0)),
        ] {
            let mut out = Vec::new();
            assert_eq!(call(&mut session, &text, &mut out), LinkNo(0));
            session.handle(NOW, Input::FromBackend(LinkNo(0), answer), &mut out);
            assert_eq!(out.last(), Some(&Output::RelayToClient));
            group.bench_function(BenchmarkId::new(name, format!("{len} B")), |b| {
                b.iter(|| {
                    call(&mut session, black_box(&text), &mut out);
                    session.handle(NOW, Input::FromBackend(LinkNo(0), black_box(answer)), &mut out);
                });
            });
        }
        group.bench_function(BenchmarkId::new("serde_json::Value", format!("{len} B")), |b| {
            b.iter(|| serde_json::from_str::<Value>(black_box(&text)));
        });
    }
    group.finish();
}

/// What the guard adds to a message of most traffic, and to one whose parameters it reads.
fn judge(c: &mut Criterion) {
    let rows: Vec<String> = (0..29).map(|i| format!("deny invoke Filter{i} set*")).collect();
    let long = Policy::parse(&rows).expect("rows");
    let mut group = c.benchmark_group("guard/judge");
    for operation in ["addIceCandidate", "connect"] {
        let text = invoke(operation, 441);
        let request = parse_request(&text, 128).expect("a request");
        for (name, policy) in [("built-in rows", Policy::default()), ("32 rows", long.clone())] {
            let rules = Rules { isolation: Isolation::Meeting, policy, ..Rules::default() };
            group.bench_function(BenchmarkId::new(operation, name), |b| {
                b.iter(|| rules.judge(black_box(&request)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decide, judge);
criterion_main!(benches);
