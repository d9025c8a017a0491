//! Costly calls go to a backend at its pace, fairly, and nobody waits without a bound.

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use pinfold::load::{CallError, Client, OFFER_SDP};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::e2e::harness::{
    Edge, KmsSim, Process, RawSocket, TempDir, raw_socket, send_text, wait_for, within_bound,
};

/// Cameras that one client publishes at once.
const CAMERAS: usize = 60;

/// Clients that publish one camera each, all at once.
const PUBLISHERS: usize = 20;

/// Makes a camera's endpoint and negotiates for it: two costly calls.
async fn publish(client: &Client, pipeline: &str) -> Result<(), CallError> {
    let endpoint = client.create_endpoint(pipeline).await?;
    client.process_offer(&endpoint, OFFER_SDP).await.map(drop)
}

/// Value of the metric of that name.
async fn metric(edge: &Edge, name: &str) -> u64 {
    let (_, metrics) = edge.admin("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn a_client_with_many_cameras_lets_others_in_between() {
    let sims = KmsSim::start_all(["a"]).await;
    let pace = "[pacing]\ncalls_per_second = 5\nburst = 1\nwait_max_ms = 60000";
    let edge = Edge::start_with(&sims, pace, TempDir::create()).await;
    let (greedy, _events) = edge.connect().await;
    let pipeline = greedy.create_pipeline(None).await.unwrap();
    let mut cameras: FuturesUnordered<_> =
        (0..CAMERAS).map(|_| publish(&greedy, &pipeline)).collect();
    // The first is published when all endpoints are made, after twelve seconds.
    tokio::select! {
        published = cameras.next() => panic!("before the other's turn: {published:?}"),
        () = publish_beside(&edge) => {}
    }
    assert_eq!(metric(&edge, "pinfold_pacing_refused_total").await, 0);
}

/// Another client, while the first waits for its turns.
async fn publish_beside(edge: &Edge) {
    let waits = || async { (metric(edge, "pinfold_pacing_waits_total").await > 0).then_some(()) };
    wait_for("the first client waits", waits).await;
    let (client, mut events) = edge.connect().await;

    // What is not costly waits for nobody, be it answers or events.
    let pipeline = client.create_pipeline(None).await.unwrap();
    let other = client.create_pipeline(None).await.unwrap();
    let manager = "manager_ServerManager";
    let subscribe = json!({"object": manager, "type": "ObjectDestroyed"});
    client.call("subscribe", subscribe).await.unwrap();
    client.call("release", json!({"object": other})).await.unwrap();
    within_bound("the event", events.find(manager, "ObjectDestroyed")).await.unwrap();

    // What is costly has its turn after one of the first client's calls.
    publish(&client, &pipeline).await.unwrap();
}

/// A request for an endpoint.
fn create(id: u32, pipeline: &Value) -> String {
    let params =
        json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": pipeline}});
    json!({"jsonrpc": "2.0", "id": id, "method": "create", "params": params}).to_string()
}

async fn new_pipeline(socket: &mut RawSocket) -> Value {
    let create = json!({"jsonrpc": "2.0", "id": 0, "method": "create",
        "params": {"type": "MediaPipeline"}});
    send_text(socket, &create.to_string()).await["result"]["value"].take()
}

#[tokio::test]
async fn a_call_that_would_wait_for_too_long_is_told_when_to_try_again() {
    let sims = KmsSim::start_all(["a"]).await;
    let pace = "[pacing]\ncalls_per_second = 1\nburst = 2\nwait_max_ms = 0";
    let edge = Edge::start_with(&sims, pace, TempDir::create()).await;
    let mut socket = raw_socket(&edge.url).await;
    let pipeline = new_pipeline(&mut socket).await;
    let mut id = 0;
    let refused = loop {
        id += 1;
        let answer = send_text(&mut socket, &create(id, &pipeline)).await;
        assert_eq!(answer["id"], id);
        if answer.get("error").is_some() {
            break answer;
        }
        assert!(id < 1_000, "never refused");
    };
    assert!(id > 2, "the burst goes");
    let error = &refused["error"];
    assert_eq!(error["code"], 40009);
    assert_eq!(error["data"]["type"], "NOT_ENOUGH_RESOURCES");
    let retry_after_ms = error["data"]["retryAfterMs"].as_u64().unwrap();
    assert!((1..=1_000).contains(&retry_after_ms), "{refused}");

    // What is not costly goes on, and so does this in its time.
    let describe = json!({"jsonrpc": "2.0", "id": "d", "method": "describe",
        "params": {"object": pipeline}});
    assert_eq!(send_text(&mut socket, &describe.to_string()).await["id"], "d");
    loop {
        id += 1;
        let answer = send_text(&mut socket, &create(id, &pipeline)).await;
        if answer.get("result").is_some() {
            break;
        }
        assert_eq!(answer["error"]["code"], 40009, "{answer}");
        tokio::task::yield_now().await;
    }
    assert!(metric(&edge, "pinfold_pacing_refused_total").await > 0);
}

#[tokio::test]
async fn the_defaults_do_not_hold_up_a_room_that_fills() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(None).await.unwrap();
    for published in join_all((0..20).map(|_| publish(&client, &pipeline))).await {
        published.unwrap();
    }
    assert_eq!(metric(&edge, "pinfold_pacing_waits_total").await, 0);
}

/// A server of two threads on which an endpoint takes 67 ms and an offer 403 ms: as a full one.
async fn busy_sim() -> (KmsSim, String) {
    let arguments = ["kms-sim", "--name", "a", "--timed", "false", "--io-threads", "2"];
    let control = ["--control", "127.0.0.1:0"];
    let mut process = Process::pinfold("a", &[&arguments[..], &control].concat());
    let url = process.line_after("listening on ").await;
    let control = process.line_after("kms-sim control on http://").await;
    (KmsSim { id: "a".to_owned(), url, process }, control)
}

/// Has the server take eighty times as long for everything.
async fn slow_down(control: &str) {
    let mut socket = TcpStream::connect(control).await.unwrap();
    let head = format!("POST /servers/a/slow?factor=80 HTTP/1.1\r\nHost: {control}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within_bound("an answer", socket.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// Has many clients publish at once on a busy server; gives how many could not, and how many calls
/// took too long.
async fn publish_all(pace: &str) -> (usize, u64) {
    let (sim, control) = busy_sim().await;
    let more = format!("[limits]\ncall_timeout_ms = 2000\n[pacing]\n{pace}");
    let sims = [sim];
    let edge = Edge::start_with(&sims, &more, TempDir::create()).await;
    let publishers = join_all((0..PUBLISHERS).map(|_| async {
        let (client, events) = edge.connect().await;
        let pipeline = client.create_pipeline(None).await.unwrap();
        (client, events, pipeline)
    }));
    let publishers = publishers.await;
    // The first endpoint of a server takes longer than others.
    publish(&publishers[0].0, &publishers[0].2).await.unwrap();
    slow_down(&control).await;
    let publishing = publishers.iter().map(|(client, _, pipeline)| publish(client, pipeline));
    let published = within_bound("all have tried", join_all(publishing)).await;
    let failed_count = published.iter().filter(|published| published.is_err()).count();
    (failed_count, metric(&edge, "pinfold_calls_timed_out_total").await)
}

/// Twenty offers keep two threads busy for four seconds, and a call may take two.
#[tokio::test]
async fn a_busy_server_that_times_out_on_a_burst_does_not_at_its_pace() {
    let (as_they_come, paced) = tokio::join!(
        publish_all("calls_per_second = 0"),
        publish_all("calls_per_second = 5\nburst = 4\nwait_max_ms = 60000"),
    );
    assert!(as_they_come.0 > 0 && as_they_come.1 > 0, "{as_they_come:?}");
    assert_eq!(paced, (0, 0));
}
