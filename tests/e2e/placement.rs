//! Meetings go where they may, where there is room, and where they are expected to fit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pinfold::load::{CallError, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::e2e::harness::{Edge, KmsSim, TempDir, raw_socket, send_text, wait_for};

/// Makes a pipeline with these `properties`.
async fn create(client: &Client, properties: Value) -> Result<Value, CallError> {
    client.call("create", json!({"type": "MediaPipeline", "properties": properties})).await
}

/// Value of the counter of choices with that reason.
async fn choices(edge: &Edge, reason: &str) -> u64 {
    let (_, metrics) = edge.admin("/metrics").await;
    let name = format!("pinfold_choices_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn labels_that_listener_url_and_create_require_hold_together() {
    let [eu, gold, us] = KmsSim::start_all(["eu", "gold", "us"]).await;
    let backends = [
        (&eu, "labels = [\"region=eu\"]"),
        (&gold, "labels = [\"region=eu\", \"tier=gold\"]"),
        (&us, "labels = [\"region=us\", \"tier=gold\"]"),
    ];
    let edge = Edge::start_among(&backends, "require = [\"region=eu\"]").await;
    let (client, _events) =
        Client::connect(&format!("{}?require.tier=gold", edge.url)).await.unwrap();
    for meeting in ["a", "b", "c", "d"] {
        create(&client, json!({"meeting": meeting})).await.unwrap();
        assert_eq!(edge.backend_of(meeting).await, "gold");
    }
    let (plain, _events) = edge.connect().await;
    let gold = json!({"meeting": "e", "require": {"tier": "gold"}});
    create(&plain, gold).await.unwrap();
    assert_eq!(edge.backend_of("e").await, "gold");
    for (properties, code, words) in [
        (json!({"meeting": "f", "require": {"tier": "tin"}}), 40009, "labels"),
        (json!({"meeting": "e", "require": {"tier": "tin"}}), 40009, "client: join it"),
        (json!({"meeting": "f", "require": {"region": "us"}}), -32000, "two values"),
        (json!({"meeting": "f", "require": "region=us"}), -32000, "object of strings"),
    ] {
        let refused = create(&plain, properties).await.unwrap_err();
        assert_eq!(refused.code(), Some(code), "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
    }
    assert_eq!((choices(&edge, "none_labelled").await, choices(&edge, "unlabelled").await), (1, 1));
}

#[tokio::test]
async fn who_waits_for_room_is_admitted_when_a_meeting_ends_or_told_where_it_stood() {
    let sim = KmsSim::start("a").await;
    let more = "[placement]\nwhen_full = \"queue\"\nqueue_max = 1\nqueue_wait_ms = 60000\n";
    let edge = Edge::start_among(&[(&sim, "capacity = 4")], more).await;
    let (client, _events) = edge.connect().await;
    let first = create(&client, json!({"meeting": "first"})).await.unwrap()["value"].take();
    let (patient, _events) = edge.connect().await;
    let waiting = create(&patient, json!({"meeting": "second"}));
    let others = async {
        // The queue holds one, who may have come after us: so until somebody is told that it is full.
        let told = || async {
            let mut socket = raw_socket(&edge.url).await;
            let create = json!({"jsonrpc": "2.0", "id": 1, "method": "create",
                "params": {"type": "MediaPipeline", "properties": {"meeting": "third"}}});
            let answer = send_text(&mut socket, &create.to_string()).await;
            (answer["error"]["data"]["position"] == 2).then_some(answer)
        };
        let answer = wait_for("the queue is full", told).await;
        assert_eq!(answer["error"]["code"], 40009, "{answer}");
        assert!(answer["error"]["data"].get("expectedWaitMs").is_none(), "nobody was placed yet");
        client.call("release", json!({"object": first})).await.unwrap();
    };
    let (placed, ()) = tokio::join!(waiting, others);
    placed.unwrap();
    assert_eq!((choices(&edge, "queued").await, choices(&edge, "queue_timeout").await), (1, 0));
    assert!(choices(&edge, "queue_full").await >= 1);
}

#[tokio::test]
async fn who_waits_in_vain_is_told_so() {
    let sim = KmsSim::start("a").await;
    let more = "[placement]\nwhen_full = \"queue\"\nqueue_wait_ms = 0\n";
    let edge = Edge::start_among(&[(&sim, "capacity = 4")], more).await;
    let mut socket = raw_socket(&edge.url).await;
    let create = json!({"jsonrpc": "2.0", "id": 1, "method": "create",
        "params": {"type": "MediaPipeline"}});
    assert!(send_text(&mut socket, &create.to_string()).await.get("result").is_some());
    let answer = send_text(&mut socket, &create.to_string()).await;
    assert_eq!(answer["error"]["code"], 40009, "{answer}");
    let data = json!({"position": 1, "type": "NOT_ENOUGH_RESOURCES"});
    assert_eq!(answer["error"]["data"], data);
    assert_eq!(choices(&edge, "queue_timeout").await, 1);
}

/// An agent that says how busy a machine is.
struct Agent {
    addr: SocketAddr,
    percent: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
}

impl Agent {
    async fn start(percent: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let percent = Arc::new(AtomicU32::new(percent));
        let asked = Arc::new(AtomicU32::new(0));
        let (told, counted) = (percent.clone(), asked.clone());
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0; 4_096];
                if socket.read(&mut request).await.is_err() {
                    continue;
                }
                let body = format!("{{\"network_percent\":{}}}", told.load(Ordering::SeqCst));
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { addr, percent, asked }
    }

    fn key(&self) -> String {
        format!("report_url = \"http://{}/load\"", self.addr)
    }

    /// From now on it says that; returns when it was asked twice since, so that the first is taken in.
    async fn say(&self, percent: u32) {
        self.percent.store(percent, Ordering::SeqCst);
        let before = self.asked.load(Ordering::SeqCst);
        let asked = || async { (self.asked.load(Ordering::SeqCst) >= before + 3).then_some(()) };
        wait_for("the agent is asked", asked).await;
    }
}

#[tokio::test]
async fn meetings_go_where_an_agent_says_that_there_is_room() {
    let [a, b] = KmsSim::start_all(["a", "b"]).await;
    let (busy, idle) = (Agent::start(90).await, Agent::start(10).await);
    let (at_a, at_b) = (busy.key(), idle.key());
    let more = "[probe]\nsample_ms = 100\n";
    let edge = Edge::start_among(&[(&a, &at_a), (&b, &at_b)], more).await;
    for (number, (loaded, other, home)) in
        [(&busy, &idle, "b"), (&idle, &busy, "a")].into_iter().enumerate()
    {
        loaded.say(90).await;
        other.say(10).await;
        let (client, _events) = edge.connect().await;
        for meeting in (0..6).map(|nth| format!("m-{number}-{nth}")) {
            create(&client, json!({"meeting": meeting})).await.unwrap();
            assert_eq!(edge.backend_of(&meeting).await, home);
        }
    }
}

#[tokio::test]
async fn how_large_a_meeting_was_is_remembered_over_a_restart() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[pins]\ngrace_ms = 0\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(Some("weekly-1")).await.unwrap();
    let source = client.create_endpoint(&pipeline).await.unwrap();
    for _ in 0..6 {
        let sink = client.create_endpoint(&pipeline).await.unwrap();
        client
            .call(
                "invoke",
                json!({"object": source, "operation": "connect",
            "operationParams": {"sink": sink}}),
            )
            .await
            .unwrap();
    }
    client.call("release", json!({"object": pipeline})).await.unwrap();
    let is_over = || async { edge.meetings().await.is_empty().then_some(()) };
    wait_for("the meeting is over", is_over).await;
    // It is written within a second and the length of a write; a claim takes it along.
    client.create_pipeline(Some("other")).await.unwrap();
    edge.kill().await;

    let edge = Edge::start_with(&sims, more, edge.into_dir()).await;
    let (client, _events) = edge.connect().await;
    for (meeting, legs) in [("weekly-1", 7), ("weekly-2", 7), ("new", 4)] {
        client.create_pipeline(Some(meeting)).await.unwrap();
        let meetings = edge.meetings().await;
        let row = meetings.iter().find(|row| row["id"] == meeting).unwrap();
        assert_eq!(row["reserve_legs"], legs, "{row}");
    }
}
