//! The admin API over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;

use super::*;
use crate::admin::client::{FetchError, fetch_json, post_json};
use crate::admin::http::{CONNECTIONS_MAX, HEAD_MAX_BYTES};
use crate::admin::{
    BackendRow, BackendRows, DecisionRow, DecisionRows, DrainOrder, MediaRow, MeetingRow,
    MeetingRows, Order, OrderError, PlaceRow, Unavailable,
};
use crate::model::{BackendId, Labels, Legs, MeetingId, MeetingName};
use crate::policy::choose::{Profile, Request, Rules, Scene, Stand, Standing};
use crate::policy::decisions::Cause;
use crate::policy::load::Load;
use crate::policy::promise::Source;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Three meetings on one backend. The one called "lost" cannot be looked up; looking up "slow" takes
/// until the gate lets it through.
struct FixedViews {
    gate: Semaphore,
    /// Lookups of "slow": begun so far, and gone through the gate.
    slow: watch::Sender<(usize, usize)>,
}

impl FixedViews {
    fn new() -> Self {
        Self { gate: Semaphore::new(0), slow: watch::Sender::new((0, 0)) }
    }

    async fn wait_at_gate(&self) {
        self.slow.send_modify(|(begun, _)| *begun += 1);
        self.gate.acquire().await.unwrap().forget();
        self.slow.send_modify(|(_, through)| *through += 1);
    }
}

fn meeting(id: &str) -> MeetingRow {
    let (id, backend) = (id.to_owned(), "kms-a".to_owned());
    MeetingRow {
        id,
        backend,
        epoch: 1,
        pipelines: 1,
        participants: 2,
        reserve_legs: 4,
        measured_legs: 6,
        load_legs: 6,
        place: None,
        media: MediaRow { publishing_legs: 6, ..MediaRow::default() },
    }
}

impl Views for FixedViews {
    fn backends(&self) -> Vec<BackendRow> {
        vec![BackendRow {
            id: "kms-a".to_owned(),
            url: "ws://127.0.0.1:9001/kurento".to_owned(),
            source: Some("config".to_owned()),
            health: "healthy".to_owned(),
            stay: "open".to_owned(),
            drain: None,
            takes_pins: true,
            server_id: None,
            version: Some("7.3.0".to_owned()),
            capacity_legs: 400,
            load_legs: 12,
            measured_legs: 9,
            media: MediaRow { elements: [("webrtc".to_owned(), 9)].into(), ..MediaRow::default() },
            meetings: 3,
            participants: 6,
            links: 2,
            cpu_count: None,
            cpu_percent: None,
            memory_kb: None,
            last_probe_ms: Some(1.5),
            last_deep_ms: None,
            last_failure: None,
            out_cause: None,
            spared_cause: None,
        }]
    }

    async fn meetings(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<MeetingRow>, Unavailable> {
        let all = ["a/b", "réunion", "standup"].into_iter();
        Ok(all
            .filter(|id| after.is_none_or(|after| *id > after))
            .take(limit)
            .map(meeting)
            .collect())
    }

    async fn meeting(&self, id: &MeetingId) -> Result<Option<MeetingRow>, Unavailable> {
        if id.to_string() == "lost" {
            return Err(Unavailable("the store is away".to_owned()));
        }
        if id.to_string() == "slow" {
            self.wait_at_gate().await;
        }
        let all = self.meetings(None, 3).await?;
        Ok(all.into_iter().find(|row| row.id == id.to_string()))
    }

    fn decisions(&self, meeting: Option<&MeetingName>, limit: usize) -> Vec<DecisionRow> {
        let all = [decision(2, "standup"), decision(1, "a/b")].into_iter();
        let is_meant = |row: &DecisionRow| {
            meeting.is_none_or(|meeting| row.meeting.as_deref() == Some(meeting.as_str()))
        };
        all.filter(is_meant).take(limit).collect()
    }

    fn decision(&self, id: u64) -> Option<DecisionRow> {
        self.decisions(None, 2).into_iter().find(|row| row.id == id)
    }

    fn scene_of(&self, decision: u64) -> Option<Scene> {
        (decision == 2).then(|| scene(4))
    }

    fn scene(&self) -> Scene {
        scene(7)
    }
}

impl Orders for FixedViews {
    async fn order(&self, order: Order) -> Result<Value, OrderError> {
        match order {
            Order::Drain(backend, _) => Ok(json!({ "drained": backend.as_str() })),
            Order::AddBackend(backend) => Ok(json!({ "added": backend.id.as_str() })),
            Order::RemoveBackend(id) => Ok(json!({ "removed": id.as_str() })),
            Order::Undrain(_) => Err(OrderError::Refused("it is not drained".to_owned())),
            Order::Reload => Ok(json!({ "changes": [] })),
            Order::TakeOver => Err(OrderError::Refused("nobody waits".to_owned())),
        }
    }
}

/// One backend, before which a meeting of so many legs stands.
fn scene(reserve: u32) -> Scene {
    let profile = Profile::new(BackendId::parse("kms-a").unwrap());
    let load = Load::of_legs(Legs(0), Legs(400));
    let (key, demands) = (u64::MAX, Labels::default());
    let request = Request { key, place: None, reserve: Legs(reserve), demands, turn: 1 };
    let backends = vec![Stand { profile, standing: Standing::Open, load }];
    Scene { config: 1, request, rules: Rules::default(), backends }
}

fn decision(id: u64, meeting: &str) -> DecisionRow {
    DecisionRow {
        id,
        at_ms: 1_700_000_000_123,
        took_us: 12,
        meeting: Some(meeting.to_owned()),
        session: None,
        cause: Cause::New,
        epoch: Some(5),
        reserve_from: Source::Default,
        place: Some(PlaceRow { latitude: 48.9, longitude: 2.4 }),
        demands: Labels::default(),
        decision: scene(4).decide(),
    }
}

/// A server on a port of its own, stopped when dropped.
struct Running {
    addr: SocketAddr,
    admin: Arc<Admin<FixedViews>>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Running {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (readiness, metrics) = (Readiness::default(), Metrics::new());
        let admin = Arc::new(Admin { views: FixedViews::new(), readiness, metrics });
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        tasks.spawn(serve(listener, Arc::clone(&admin), stop.clone()));
        Self { addr, admin, tasks, stop }
    }

    async fn fetch<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, FetchError> {
        fetch_json(&format!("http://{}", self.addr), path).await
    }

    /// Sends `request` as it stands and returns all that comes back.
    async fn send(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.addr).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        time::timeout(PATIENCE, socket.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    async fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr)).await
    }
}

/// Asserts the status, and that the reason is told as JSON.
fn assert_refused(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(body["error"].is_string(), "{body}");
}

#[tokio::test]
async fn health_is_told_always_and_readiness_when_there_is_a_backend() {
    let running = Running::start().await;
    assert!(running.get("/healthz").await.ends_with("\r\n\r\nok\n"));
    let not_ready = running.get("/readyz").await;
    assert!(not_ready.starts_with("HTTP/1.1 503 "), "{not_ready}");
    assert!(not_ready.ends_with("no backend takes new meetings\n"));
    running.admin.readiness.set_has_backend(true);
    assert!(running.get("/readyz").await.starts_with("HTTP/1.1 200 "));
    running.admin.readiness.stop();
    assert!(running.get("/readyz").await.ends_with("shutting down\n"));
    assert!(running.get("/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn metrics_are_text_that_ends_where_it_should() {
    let running = Running::start().await;
    let _open = running.admin.metrics.on_connection();
    let answer = running.get("/metrics").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.contains("\npinfold_connections_open 1\n"), "{answer}");
    assert!(answer.ends_with("# EOF\n"));
}

#[tokio::test]
async fn backends_are_shown_as_rows() {
    let running = Running::start().await;
    let rows: BackendRows = running.fetch("/api/v1/backends").await.unwrap();
    assert_eq!(rows.backends, running.admin.views.backends());
    let raw: Value = running.fetch("/api/v1/backends").await.unwrap();
    assert_eq!(raw["backends"][0]["load_legs"], json!(12));
    assert_eq!(raw["backends"][0]["elements"], json!({"webrtc": 9}));
    assert_eq!(raw["backends"][0]["receiving_legs"], json!(0));
    assert_eq!(raw["backends"][0]["server_id"], Value::Null);
}

#[tokio::test]
async fn meetings_come_in_pages() {
    let running = Running::start().await;
    let page: MeetingRows = running.fetch("/api/v1/meetings?limit=2").await.unwrap();
    assert_eq!(page.meetings, [meeting("a/b"), meeting("réunion")]);
    assert_eq!(page.next.as_deref(), Some("réunion"));
    let rest: MeetingRows =
        running.fetch("/api/v1/meetings?limit=2&after=r%C3%A9union").await.unwrap();
    assert_eq!(rest, MeetingRows { meetings: vec![meeting("standup")], next: None });
    let whole: MeetingRows = running.fetch("/api/v1/meetings?limit=3").await.unwrap();
    assert_eq!((whole.meetings.len(), whole.next), (3, None));
    assert_refused(&running.get("/api/v1/meetings?limit=1001").await, 400);
}

#[tokio::test]
async fn a_meeting_is_found_by_its_id_decoded_once() {
    let running = Running::start().await;
    let found: MeetingRow = running.fetch("/api/v1/meetings/a%2Fb").await.unwrap();
    assert_eq!(found, meeting("a/b"));
    for (path, status) in
        [("a%252Fb", 404), ("a/b", 404), ("%ff", 400), ("%00", 400), ("lost", 503)]
    {
        assert_refused(&running.get(&format!("/api/v1/meetings/{path}")).await, status);
    }
    let error = running.fetch::<MeetingRow>("/api/v1/meetings/none").await.unwrap_err();
    assert_eq!(error.to_string(), "refused with status 404: no such meeting");
}

#[tokio::test]
async fn decisions_are_listed_and_their_state_is_told() {
    let running = Running::start().await;
    let listed = async |query: &str| {
        let rows: DecisionRows = running.fetch(&format!("/api/v1/decisions{query}")).await.unwrap();
        rows.decisions
    };
    assert_eq!(listed("").await, [decision(2, "standup"), decision(1, "a/b")]);
    assert_eq!(listed("?limit=1").await, [decision(2, "standup")]);
    assert_eq!(listed("?meeting=a%2Fb").await, [decision(1, "a/b")]);
    assert_eq!(listed("?meeting=nobody").await, []);
    let one: DecisionRow = running.fetch("/api/v1/decisions/1").await.unwrap();
    assert_eq!(one, decision(1, "a/b"));
    let raw: Value = running.fetch("/api/v1/decisions/1").await.unwrap();
    assert_eq!((&raw["chosen"], &raw["reserve_from"]), (&json!("kms-a"), &json!("default")));
    assert_eq!(raw["place"], json!({"latitude": 48.9, "longitude": 2.4}));
    let saved: Scene = running.fetch("/api/v1/decisions/2/state").await.unwrap();
    assert_eq!(saved, scene(4));
    assert_eq!(running.fetch::<Scene>("/api/v1/state").await.unwrap(), scene(7));
    for (path, status) in [("?limit=201", 400), ("/x", 400), ("/3", 404), ("/1/state", 404)] {
        assert_refused(&running.get(&format!("/api/v1/decisions{path}")).await, status);
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_with_a_reason() {
    let running = Running::start().await;
    let cases = [
        ("GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        ("DELETE /api/v1/meetings HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405),
        ("GET /api/v1/backends/a/drain HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405),
        ("POST /api/v1/backends/a/undrain HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 409),
        ("POST /api/v1/backends/%20/undrain HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        ("POST /api/v1/backends/a/drain HTTP/1.1\r\nOrigin: http://evil\r\n\r\n", 403),
        ("POST /api/v1/backends/a/drain HTTP/1.1\r\nContent-Length: 1\r\n\r\n[", 400),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\nhi", 400),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil\r\n\r\n", 403),
    ];
    for (request, status) in cases {
        assert_refused(&running.send(request).await, status);
    }
    let too_long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_MAX_BYTES * 2));
    let answer = running.send(&too_long).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let head = running.send("HEAD /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let running = Running::start().await;
    let views = &running.admin.views;
    let mut slow = views.slow.subscribe();
    let get = b"GET /api/v1/meetings/slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let mut sockets = Vec::new();
    for _ in 0..=CONNECTIONS_MAX {
        let mut socket = TcpStream::connect(running.addr).await.unwrap();
        socket.write_all(get).await.unwrap();
        sockets.push(socket);
    }
    let full = slow.wait_for(|(begun, _)| *begun == CONNECTIONS_MAX);
    time::timeout(PATIENCE, full).await.unwrap().unwrap();
    views.gate.add_permits(1);
    let last = slow.wait_for(|(begun, _)| *begun > CONNECTIONS_MAX);
    let (_, through) = *time::timeout(PATIENCE, last).await.unwrap().unwrap();
    assert_eq!(through, 1, "the last began only when another was done");
    views.gate.add_permits(CONNECTIONS_MAX);
    for mut socket in sockets {
        let mut answer = String::new();
        time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_refused(&answer, 404);
    }
}

#[tokio::test]
async fn a_stop_cuts_idle_connections_answers_the_others_and_frees_the_port() {
    let mut running = Running::start().await;
    let mut silent = TcpStream::connect(running.addr).await.unwrap();
    let mut busy = TcpStream::connect(running.addr).await.unwrap();
    busy.write_all(b"GET /api/v1/meetings/slow HTTP/1.1\r\n\r\n").await.unwrap();
    let mut slow = running.admin.views.slow.subscribe();
    let begun = slow.wait_for(|(begun, _)| *begun == 1);
    time::timeout(PATIENCE, begun).await.unwrap().unwrap();

    running.stop.cancel();
    let ended = time::timeout(PATIENCE, silent.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "a connection left idle is cut");
    running.admin.views.gate.add_permits(1);
    let mut answer = String::new();
    time::timeout(PATIENCE, busy.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_refused(&answer, 404);

    time::timeout(PATIENCE, running.tasks.join_next()).await.unwrap().unwrap().unwrap();
    let error = running.fetch::<Value>("/api/v1/backends").await.unwrap_err();
    assert!(matches!(error, FetchError::Connect(..)), "{error}");
}

#[tokio::test]
async fn orders_are_carried_out_and_answered() {
    let running = Running::start().await;
    let base = format!("http://{}", running.addr);
    let path = "/api/v1/backends/kms-a/drain";
    let how = DrainOrder::default();
    let told: Value = post_json(&base, path, &how).await.unwrap();
    assert_eq!(told, json!({ "drained": "kms-a" }));
    let told = post_json::<Value>(&base, "/api/v1/backends/kms-a/undrain", &json!({})).await;
    assert!(matches!(told, Err(FetchError::Status(409, reason)) if reason == "it is not drained"));
}
