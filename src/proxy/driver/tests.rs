//! A driver among others on one edge, with a fleet that tells what the test says.

use std::sync::Mutex;
use std::task::Waker;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fleet::stub::StubFleet;
use crate::fleet::{Answered, Asker, AskerBounds, Quota};
use crate::model::{Draws, Incarnation, Legs, SessionId};
use crate::pins::{Keeper, MemoryStore, Registry};
use crate::policy::health::Health;
use crate::protocol::event::{Change, ObjectEvent};
use crate::protocol::request::{Hints, MANAGER};
use crate::proxy::{BlockingCalls, Manager, Placement};
use crate::runtime::{Clock, Timer};
use crate::session::Bounds;
use crate::telemetry::Metrics;

const CONFIG: &str = r#"
[[listeners]]
addr = "127.0.0.1:0"

[[backends]]
id = "kms-0"
url = "ws://127.0.0.1:9001/kurento"
"#;

const BOUNDS: AskerBounds = AskerBounds { per_second: 10, wait: Duration::from_secs(10) };

/// Takes what the client is sent.
#[derive(Default)]
struct Client(Vec<Value>);

impl Wires for Client {
    fn send_to_client(&mut self, text: &str) {
        self.0.push(serde_json::from_str(text).unwrap());
    }

    fn send_to_backend(&mut self, _link: LinkNo, _text: &str) {
        panic!("no backend is asked");
    }

    fn open_link(&mut self, _link: LinkNo, _backend: &BackendId) -> Result<(), LinkFailure> {
        panic!("no backend is needed");
    }

    fn report_timeout(&mut self, _link: LinkNo) {
        panic!("no backend is asked");
    }
}

fn edge(fleet: &StubFleet) -> Arc<Edge> {
    let settings = crate::settings::parse(CONFIG).unwrap();
    let metrics = Metrics::new();
    let registry = Arc::new(Registry::new(Duration::ZERO, 10));
    let placement = Placement {
        fleet: fleet.handle.clone(),
        keeper: Arc::new(Keeper::new(Arc::new(MemoryStore::new(10)), registry)),
        settings: settings.placement,
        timer: Arc::new(Clock::start()),
        metrics: metrics.clone(),
        draws: Mutex::new(Draws::seeded(0)),
    };
    Arc::new(Edge {
        server_id: "edge".to_owned(),
        limits: settings.limits,
        clock: Clock::start(),
        metrics,
        fleet: fleet.handle.clone(),
        blocking: BlockingCalls::new(4),
        pacer: None,
        placement,
        asker: None,
        hold: Duration::ZERO,
        manager: Manager::new(0),
        closing: CancellationToken::new(),
        close_window: Duration::ZERO,
        draws: Mutex::new(Draws::seeded(0)),
    })
}

fn driver(edge: &Arc<Edge>, session: u128) -> Driver {
    let bounds = Bounds {
        depth_max: 64,
        held_max_bytes: 1_000,
        calls_max: 8,
        pipelines_max: 10,
        subscriptions_max: 10,
        resend_max_bytes: 1_000,
        call_timeout: Duration::from_secs(60),
    };
    let id = SessionId::from_random(session);
    Driver::new(Arc::clone(edge), Session::new(id, "edge", Hints::default(), bounds))
}

fn call(driver: &mut Driver, client: &mut Client, method: &str, mut params: Value) {
    params["object"] = MANAGER.into();
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    driver.on_client(Input::FromClient(&text.to_string()), client);
}

fn hear(driver: &mut Driver, client: &mut Client, has_room: bool) {
    let mut context = Context::from_waker(Waker::noop());
    driver.poll_hearing(&mut context, client, |_| has_room);
}

fn made(number: u64) -> ObjectEvent {
    ObjectEvent::new(Change::Created, number.to_string(), "1".to_owned())
}

#[tokio::test]
async fn a_client_that_takes_too_little_is_told_what_it_lost_and_counted() {
    let fleet = StubFleet::start(1, Legs(1));
    let edge = edge(&fleet);
    let (mut driver, mut client) = (driver(&edge, 1), Client::default());
    for event in ["ObjectCreated", "Error"] {
        call(&mut driver, &mut client, "subscribe", json!({"type": event}));
    }
    assert!(driver.is_subscribing(), "what it sends now waits");
    hear(&mut driver, &mut client, true);
    assert_eq!((client.0.len(), driver.is_subscribing()), (2, false), "both are answered");

    // The bound is the ring's, 1,024.
    (0..1_030).for_each(|number| fleet.publish(made(number)));
    client.0.clear();
    hear(&mut driver, &mut client, false);
    assert!(client.0.is_empty(), "it has no room");
    while client.0.len() < 1_025 {
        hear(&mut driver, &mut client, true);
        // A task gets so much at a time, and no more before it has given way.
        tokio::task::yield_now().await;
    }
    let values: Vec<_> = client.0.iter().map(|event| &event["params"]["value"]).collect();
    assert_eq!(
        (&values[0]["type"], &values[0]["data"]["errorCode"]),
        (&json!("Error"), &json!(40009))
    );
    assert!(values[0]["data"]["description"].as_str().unwrap().starts_with("6 events"));
    assert_eq!((values.len(), &values[1]["data"]["object"]), (1_025, &json!("6")));
    assert!(edge.metrics.encode().contains("pinfold_manager_events_dropped_total 6\n"));
}

#[tokio::test]
async fn nobody_is_told_the_session_of_another() {
    let fleet = StubFleet::start(1, Legs(1));
    let edge = edge(&fleet);
    let (mut one, _two) = (driver(&edge, 1), driver(&edge, 2));
    let mut client = Client::default();
    call(&mut one, &mut client, "invoke", json!({"operation": "getSessions"}));
    assert_eq!(client.0[0]["result"]["value"], json!([one.session().id().as_str()]));
}

#[tokio::test]
async fn a_tag_that_is_not_there_is_refused_as_a_real_server_does() {
    let fleet = StubFleet::start(1, Legs(1));
    let (mut driver, mut client) = (driver(&edge(&fleet), 1), Client::default());
    for operation in ["getTag", "removeTag"] {
        let params = json!({"operation": operation, "operationParams": {"key": "nope"}});
        call(&mut driver, &mut client, "invoke", params);
    }
    let error = json!({"code": 40110, "data": {"type": "MEDIA_OBJECT_TAG_KEY_NOT_FOUND"},
        "message": "Tag key not found"});
    assert!(client.0.iter().all(|answer| answer["error"] == error), "{:?}", client.0);
}

/// A client may have gone on at another edge, so what is remembered here is not all of its session.
#[tokio::test]
async fn a_session_whose_remembered_backends_are_lost_is_still_looked_for() {
    let fleet = StubFleet::start(1, Legs(1));
    fleet.answer(0, 1, Health::Healthy).await;
    let mut edge = Arc::into_inner(edge(&fleet)).unwrap();
    let backends = crate::settings::parse(CONFIG).unwrap().backends;
    let shared = (fleet.handle.clone(), Arc::new(Clock::start()) as Arc<dyn Timer>);
    let (asker, mut lines) = Asker::unwired(&backends, shared, BOUNDS, SessionId::from_random(1));
    edge.asker = Some(asker);

    let id = SessionId::from_random(2);
    let of = |backend: &str| vec![BackendId::parse(backend).unwrap()];
    let remains = Remains::found(id, of("kms-0"), &[]);
    let before = Incarnation(99);
    let away = Away::new(remains.clone(), vec![Some(before)], Vec::new(), Time::ZERO);
    let quota = Quota::default();
    let told = async {
        lines[0].recv().await.unwrap().answer.send(Answered::Value(String::new())).is_ok()
    };
    let (found, told) = tokio::join!(edge.remains(id, Some(away), &quota), told);
    assert_eq!((found, told), (Finding::Known(remains), true));
}
