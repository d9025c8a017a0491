//! What the control API does to a server, seen by its clients. Source: Kurento protocol notes,
//! sections 1 and 10.

use futures_util::{SinkExt, StreamExt};
use pinfold::load::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::e2e::harness::{Process, raw_socket, wait_for, within_bound};

use super::sim::{KILLING, PING, PONG, Sim, ask, exchange, is_cut, next_text};

/// Calls answered by a sound server while nothing must come from the one that is not.
const ROUNDS: usize = 50;

/// Awaits `silent` while the second server of `sim` answers call after call; panics if it is done.
pub(super) async fn nothing_comes<T>(sim: &Sim, silent: impl Future<Output = T>) {
    let url = format!("ws://{}/kurento", sim.addrs[1]);
    let (client, _events) = Client::connect(&url).await.unwrap();
    let sound = async {
        for _ in 0..ROUNDS {
            client.ping().await.unwrap();
        }
    };
    tokio::select! {
        _ = silent => panic!("something came"),
        () = sound => {}
    }
}

async fn client(sim: &Sim) -> Client {
    within_bound("a connection", Client::connect(&sim.url())).await.unwrap().0
}

#[tokio::test]
async fn crash_cuts_and_refuses_and_restart_begins_anew() {
    let sim = Sim::start_controlled(&[]).await;
    let mut socket = sim.connect().await;
    let before = client(&sim).await;
    let pipeline = before.create_pipeline(None).await.unwrap();
    let (_, list) = sim.control("GET", "/servers").await;
    let server_id = list["servers"][0]["process"]["server_id"].clone();

    let row = sim.suffer("crash").await;
    assert_eq!((&row["state"], &row["process"]), (&json!("down"), &Value::Null));
    assert!(is_cut(&mut socket).await && sim.is_refused().await);
    for fault in ["crash", "freeze", "thaw", "slow?factor=2", "full", "hang?after=1", "cut-links"] {
        let (status, told) = sim.control("POST", &format!("/servers/t/{fault}")).await;
        assert_eq!((status, told), (409, json!({"error": "the server is down"})), "{fault}");
    }

    let row = sim.suffer("restart").await;
    assert_eq!((&row["state"], &row["starts"]), (&json!("runs"), &json!(2)));
    assert_ne!(row["process"]["server_id"], server_id);
    let after = client(&sim).await;
    let told = after.call("connect", json!({})).await.unwrap();
    assert_eq!(told["serverId"], row["process"]["server_id"]);
    let gone = after.call("describe", json!({"object": pipeline})).await.unwrap_err();
    assert_eq!(gone.code(), Some(40101));
}

#[tokio::test]
async fn restart_needs_no_crash_before() {
    let sim = Sim::start_controlled(&["--seed", "1"]).await;
    let mut socket = sim.connect().await;
    let ids = [sim.suffer("restart").await, sim.suffer("restart").await];
    assert_ne!(ids[0]["process"]["server_id"], ids[1]["process"]["server_id"]);
    assert!(is_cut(&mut socket).await);
    assert_eq!(ask(&mut sim.connect().await, PING).await, PONG);
}

#[tokio::test]
async fn a_frozen_server_takes_connections_and_answers_all_when_it_thaws() {
    let sim = Sim::start_many(2, true, &[]).await;
    let mut socket = sim.connect().await;
    assert_eq!(sim.suffer("freeze").await["state"], "hangs");
    socket.send(Message::Ping("frozen".into())).await.unwrap();
    socket.send(Message::text(PING)).await.unwrap();
    let mut late = TcpStream::connect(sim.addr()).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    nothing_comes(&sim, socket.next()).await;
    nothing_comes(&sim, late.read_u8()).await;

    assert_eq!(sim.suffer("thaw").await["state"], "runs");
    let mut came = [Message::text(""), Message::text("")];
    for message in &mut came {
        *message = within_bound("an answer", socket.next()).await.unwrap().unwrap();
    }
    assert!(came.contains(&Message::text(PONG)), "{came:?}");
    assert!(came.contains(&Message::Pong("frozen".into())), "{came:?}");
    let mut answer = String::new();
    within_bound("a handshake", late.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

#[tokio::test]
async fn a_frozen_server_ignores_sigterm_until_it_thaws() {
    let mut sim = Sim::start_many(2, true, &[]).await;
    let (mut socket, other) = (sim.connect().await, format!("ws://{}/kurento", sim.addrs[1]));
    let mut sound = raw_socket(&other).await;
    sim.suffer("freeze").await;
    sim.process.signal("TERM");
    assert!(is_cut(&mut sound).await);
    // Still there: the kernel takes connections for it, and the control API answers.
    TcpStream::connect(sim.addr()).await.unwrap();
    sim.suffer("thaw").await;
    assert!(is_cut(&mut socket).await);
    assert!(sim.process.exited().await.success());
}

#[tokio::test]
async fn a_slow_server_takes_its_time() {
    let sim = Sim::start_many(2, true, &[]).await;
    let mut socket = sim.connect().await;
    assert_eq!(sim.suffer("slow?factor=1000000").await["process"]["slow"], 1e6);
    socket.send(Message::text(PING)).await.unwrap();
    nothing_comes(&sim, socket.next()).await;
    assert_eq!(sim.suffer("slow?factor=1").await["process"]["slow"], 1.0);
    assert_eq!(ask(&mut sim.connect().await, PING).await, PONG);
}

#[tokio::test]
async fn a_full_server_creates_nothing_and_does_the_rest() {
    let sim = Sim::start_controlled(&[]).await;
    let client = client(&sim).await;
    let pipeline = client.create_pipeline(None).await.unwrap();
    sim.suffer("full").await;
    assert_eq!(client.create_endpoint(&pipeline).await.unwrap_err().code(), Some(40009));
    client.call("describe", json!({"object": pipeline})).await.unwrap();
    sim.suffer("full?on=false").await;
    client.create_endpoint(&pipeline).await.unwrap();
}

#[tokio::test]
async fn a_server_hangs_when_it_has_answered_so_many_requests() {
    let sim = Sim::start_many(2, true, &[]).await;
    let mut socket = sim.connect().await;
    assert_eq!(sim.suffer("hang?after=3").await["process"]["hang_after"], 3);
    for _ in 0..3 {
        assert_eq!(ask(&mut socket, PING).await, PONG);
    }
    socket.send(Message::text(PING)).await.unwrap();
    nothing_comes(&sim, socket.next()).await;
    assert_eq!(sim.control("GET", "/servers").await.1["servers"][0]["state"], "hangs");
    sim.suffer("thaw").await;
    assert_eq!(next_text(&mut socket).await, PONG);
}

#[tokio::test]
async fn cut_links_leaves_sessions_and_objects() {
    let sim = Sim::start_controlled(&[]).await;
    let (mut socket, before) = (sim.connect().await, client(&sim).await);
    let told = before.call("create", json!({"type": "MediaPipeline"})).await.unwrap();
    let row = sim.suffer("cut-links").await;
    assert_eq!((&row["state"], &row["starts"]), (&json!("runs"), &json!(1)));
    assert!(is_cut(&mut socket).await);
    let after = client(&sim).await;
    after.ping().await.unwrap(); // takes id 1, whose answer in that session is still kept
    let again = after.call("connect", json!({"sessionId": told["sessionId"]})).await.unwrap();
    assert_eq!(again["serverId"], row["process"]["server_id"]);
    after.call("describe", json!({"object": told["value"]})).await.unwrap();
}

#[tokio::test]
async fn refused_handshakes_leave_open_connections_alone() {
    let sim = Sim::start_controlled(&[]).await;
    let mut socket = sim.connect().await;
    sim.suffer("refuse-handshakes").await;
    let upgrade = "GET /kurento HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = exchange(sim.addr(), upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert_eq!(ask(&mut socket, PING).await, PONG);
    sim.suffer("refuse-handshakes?on=false").await;
    assert_eq!(ask(&mut sim.connect().await, PING).await, PONG);
}

#[tokio::test]
async fn faults_from_the_start_come_back_with_every_restart() {
    let args = ["--slow", "2.5", "--full", "--hang-after", "9", "--refuse-handshakes"];
    let sim = Sim::start_controlled(&args).await;
    let (_, list) = sim.control("GET", "/servers").await;
    let mut first = list["servers"][0]["process"].clone();
    let id = first["server_id"].take();
    let expected = json!({"server_id": null, "connections": 0, "slow": 2.5, "full": true,
        "hang_after": 9, "refuses_handshakes": true});
    assert_eq!(first, expected);
    sim.suffer("full?on=false").await;
    let mut second = sim.suffer("restart").await["process"].clone();
    assert_ne!(second["server_id"].take(), id);
    assert_eq!(second, expected);
}

#[tokio::test]
async fn one_that_is_killed_among_many_is_down_alone() {
    let sim = Sim::start_many(2, true, &[]).await;
    let mut socket = sim.connect().await;
    socket.send(Message::text(KILLING)).await.unwrap();
    assert!(is_cut(&mut socket).await);
    let is_down = || async { sim.is_refused().await.then_some(()) };
    wait_for("refused connections", is_down).await;
    let mut other = raw_socket(&format!("ws://{}/kurento", sim.addrs[1])).await;
    assert_eq!(ask(&mut other, PING).await, PONG);
    sim.suffer("restart").await;
    assert_eq!(ask(&mut sim.connect().await, PING).await, PONG);
}

#[tokio::test]
async fn the_control_api_says_what_it_does_not_do() {
    let sim = Sim::start_controlled(&[]).await;
    for (method, target, status, reason) in [
        ("GET", "/", 404, "GET /servers"),
        ("GET", "/servers/t/crash", 404, "GET /servers"),
        ("POST", "/servers", 404, "GET /servers"),
        ("POST", "/servers/u/crash", 404, "no such server"),
        ("POST", "/servers/t/explode", 404, "no such fault"),
        ("POST", "/servers/t/slow", 400, "factor=F"),
        ("POST", "/servers/t/full?on=perhaps", 400, "on=true or on=false"),
    ] {
        let (got, told) = sim.control(method, target).await;
        assert_eq!(got, status, "{method} {target}: {told}");
        assert!(told["error"].as_str().unwrap().contains(reason), "{told}");
    }
    let page = "Origin: http://evil.example\r\n";
    assert_eq!(sim.control_with("POST", "/servers/t/crash", page).await.0, 403);
    assert_eq!(ask(&mut sim.connect().await, PING).await, PONG);
}

#[tokio::test]
async fn the_control_api_is_for_loopback_unless_said_otherwise() {
    let mut refused = Process::pinfold("refused", &["kms-sim", "--control", "0.0.0.0:0"]);
    assert_eq!(refused.exited().await.code(), Some(1));
    let args = ["kms-sim", "--control", "0.0.0.0:0", "--control-allow-public"];
    let mut allowed = Process::pinfold("allowed", &args);
    allowed.line_after("kms-sim control on http://0.0.0.0:").await;
}
