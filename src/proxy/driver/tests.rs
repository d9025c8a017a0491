//! A driver among others on one edge, with a fleet that tells what the test says.

use std::sync::Mutex;
use std::task::Waker;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fleet::stub::StubFleet;
use crate::fleet::{Answered, Asker, AskerBounds, Quota};
use crate::model::{Draws, Incarnation, Legs, MeetingName, SessionId};
use crate::pins::{Claim, Keeper, MemoryStore, Pin, PinStore, Registry};
use crate::policy::access::Isolation;
use crate::policy::health::Health;
use crate::protocol::event::{Change, ObjectEvent};
use crate::protocol::request::{Hints, MANAGER};
use crate::proxy::{
    BlockingCalls, DecisionLog, Manager, Pacer, People, Placement, PlacementConfig,
};
use crate::runtime::{Clock, Latest};
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

    fn report_tried(&mut self, _link: LinkNo, _tried: Tried) {
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
        people: People::nowhere(metrics.clone()),
        config: Latest::new(PlacementConfig::first(settings.placement)),
        decisions: DecisionLog::new(0),
        timer: Arc::new(Clock::start()),
        metrics: metrics.clone(),
        choices: Mutex::new(crate::proxy::Choices::seeded(0)),
        queue: Arc::default(),
    };
    Arc::new(Edge {
        server_id: "edge".to_owned(),
        limits: settings.limits,
        clock: Clock::start(),
        metrics,
        fleet: fleet.handle.clone(),
        blocking: Arc::new(BlockingCalls::new(4)),
        pacer: Arc::new(Pacer::new(None, Arc::new(Clock::start()))),
        placement: Arc::new(placement),
        asker: None,
        hold: Duration::ZERO,
        manager: Arc::new(Manager::new(0)),
        closing: CancellationToken::new(),
        close_window: Arc::default(),
        loss_spread: Duration::ZERO,
        moved: CancellationToken::new(),
        draws: Mutex::new(Draws::seeded(0)),
    })
}

fn driver(edge: &Arc<Edge>, session: u128) -> Driver {
    let bounds = Bounds {
        depth_max: 64,
        held_max_bytes: 1_000,
        paced_max_bytes: 1_000,
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
    let mut fleet = StubFleet::start(1, Legs(1));
    fleet.answer(0, 1, Health::Healthy).await;
    let mut edge = Arc::into_inner(edge(&fleet)).unwrap();
    edge.asker = Some(Asker::new(fleet.handle.clone(), Arc::new(Clock::start()), BOUNDS));

    let id = SessionId::from_random(2);
    let of = |backend: &str| vec![BackendId::parse(backend).unwrap()];
    let remains = Remains::found(id, (of("kms-0"), true), &[]);
    let before = Incarnation(99);
    let away = Away::new(remains.clone(), vec![Some(before)], Vec::new(), Time::ZERO);
    let quota = Quota::default();
    let told = async {
        fleet.lines[0].recv().await.unwrap().answer.send(Answered::Value(String::new())).is_ok()
    };
    let (found, told) = tokio::join!(edge.remains(id, Some(away), &quota), told);
    assert_eq!((found, told), (Finding::Known(remains), true));
}

/// Pins count in memory and never reach the disk.
struct NeverSettled(MemoryStore);

impl PinStore for NeverSettled {
    fn claim<'a>(
        &'a self,
        meeting: &'a MeetingName,
        backend: &'a BackendId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<Claim, PinError>> {
        self.0.claim(meeting, backend, incarnation)
    }

    fn lookup<'a>(
        &'a self,
        meeting: &'a MeetingName,
    ) -> BoxFuture<'a, Result<Option<Pin>, PinError>> {
        self.0.lookup(meeting)
    }

    fn unpin<'a>(
        &'a self,
        meeting: &'a MeetingName,
        epoch: u64,
    ) -> BoxFuture<'a, Result<bool, PinError>> {
        self.0.unpin(meeting, epoch)
    }

    fn settled(&self, _epoch: u64) -> BoxFuture<'static, Result<(), PinError>> {
        ready(Err(PinError::Away)).boxed()
    }
}

/// Takes what the client and what backends are sent; every link can be opened.
#[derive(Default)]
struct Both {
    client: Vec<Value>,
    backends: Vec<Value>,
}

impl Wires for Both {
    fn send_to_client(&mut self, text: &str) {
        self.client.push(serde_json::from_str(text).unwrap());
    }

    fn send_to_backend(&mut self, _link: LinkNo, text: &str) {
        self.backends.push(serde_json::from_str(text).unwrap());
    }

    fn open_link(&mut self, _link: LinkNo, _backend: &BackendId) -> Result<(), LinkFailure> {
        Ok(())
    }

    fn report_timeout(&mut self, _link: LinkNo) {}

    fn report_tried(&mut self, _link: LinkNo, _tried: Tried) {}
}

impl Both {
    fn ask(&mut self, driver: &mut Driver, id: u32, method: &str, params: &Value) {
        let text = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        driver.on_client(Input::FromClient(&text.to_string()), self);
    }

    /// Lets the driver go on until it has found a place.
    async fn settle(&mut self, driver: &mut Driver) {
        let mut context = Context::from_waker(Waker::noop());
        while driver.session().is_waiting() && !driver.has_events() {
            driver.poll_places(&mut context);
            tokio::task::yield_now().await;
        }
        driver.run_events(self);
    }

    fn hear(&mut self, driver: &mut Driver) {
        driver.poll_hearing(&mut Context::from_waker(Waker::noop()), self, |_| true);
    }
}

#[tokio::test]
async fn a_pipeline_that_is_taken_back_is_told_as_the_error_of_its_call_whatever_came_before() {
    let fleet = StubFleet::start(1, Legs(100));
    fleet.answer(0, 1, Health::Healthy).await;
    let mut edge = Arc::into_inner(edge(&fleet)).unwrap();
    let registry = Arc::clone(&edge.placement.keeper.registry);
    let store = Arc::new(NeverSettled(MemoryStore::new(10)));
    let placement = Arc::get_mut(&mut edge.placement).unwrap();
    placement.keeper = Arc::new(Keeper::new(store, registry));
    let mut driver = driver(&Arc::new(edge), 1);
    let rules = Rules { isolation: Isolation::Meeting, ..Rules::default() };
    let mut wires = Both::default();
    driver.welcome((Hints::default(), Arc::new(rules)), Vec::new(), &mut wires);
    for (id, event) in [(1, "ObjectCreated"), (2, "ObjectDestroyed")] {
        wires.ask(&mut driver, id, "subscribe", &json!({"object": MANAGER, "type": event}));
    }
    wires.hear(&mut driver);
    let params = json!({"type": "MediaPipeline", "properties": {"meeting": "m"}});
    wires.ask(&mut driver, 3, "create", &params);
    wires.settle(&mut driver).await;
    driver.on_link(LinkNo(0), LinkEvent::Opened);
    driver.run_events(&mut wires);
    assert_eq!(wires.backends.len(), 1, "the call has gone: {:?}", wires.backends);

    // Most often the event comes before the answer.
    let pipeline = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";
    let event = |change| ObjectEvent::new(change, pipeline.to_owned(), "1".to_owned());
    fleet.publish(event(Change::Created));
    wires.hear(&mut driver);
    wires.client.clear();
    let session = driver.session().id().to_string();
    let result = json!({"sessionId": session, "value": pipeline});
    let answer = json!({"id": 3, "jsonrpc": "2.0", "result": result}).to_string();
    driver.on_backend(LinkNo(0), &answer, &mut wires);
    assert!(driver.is_keeping());
    assert!(driver.poll_settled(&mut Context::from_waker(Waker::noop()), &mut wires));
    let released = &wires.backends.last().unwrap()["params"]["object"];
    assert_eq!(released, pipeline, "it is taken back");
    fleet.publish(event(Change::Destroyed));
    wires.hear(&mut driver);

    let told = |sent: &Value| match sent["params"]["value"]["type"].as_str() {
        Some(event) => event.to_owned(),
        None => format!("{} for {}", sent["error"]["code"], sent["id"]),
    };
    let told: Vec<_> = wires.client.iter().map(told).collect();
    assert_eq!(told, ["40009 for 3", "ObjectCreated", "ObjectDestroyed"]);
}
