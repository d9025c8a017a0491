//! The end of the edge.

use futures_util::future::join_all;
use pinfold::load::Client;
use serde_json::json;

use crate::e2e::harness::{Edge, KmsSim, TempDir, wait_for, within_bound};

#[tokio::test]
async fn sigterm_closes_every_client_with_1001_and_ends_with_success() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let more = "[shutdown]\nclose_window_ms = 200\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let clients: Vec<_> = join_all((0..20).map(|_| edge.connect())).await;
    for (number, (client, _)) in clients.iter().enumerate() {
        // Half of them never said a word.
        if number % 2 == 0 {
            client.create_pipeline(Some(&format!("meeting-{number}"))).await.unwrap();
        }
    }
    edge.process.signal("TERM");
    for (client, _) in &clients {
        let ending = within_bound("the close frame", client.ended()).await;
        assert_eq!(ending.code, Some(1001), "{ending}");
    }
    assert!(edge.process.exited().await.success());
    assert!(Client::connect(&edge.url).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn an_idle_edge_and_an_idle_backend_end_at_once() {
    let mut sims = KmsSim::start_all(["a"]).await;
    let mut edge = Edge::start(&sims).await;
    edge.process.signal("TERM");
    assert!(edge.process.exited().await.success());
    sims[0].process.signal("TERM");
    assert!(sims[0].process.exited().await.success());
}

/// Waits until the log of `edge` has that line.
async fn logs(edge: &Edge, line: &str) {
    let told = || async { edge.process.stderr().contains(line).then_some(()) };
    wait_for(line, told).await;
}

#[tokio::test]
async fn load_balancers_see_it_before_connections_are_refused() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[shutdown]\naccept_ms = 600000\nclose_window_ms = 0\ndeadline_ms = 600000\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let (before, _events) = edge.connect().await;
    edge.process.signal("TERM");
    logs(&edge, "stopping: not ready, still accepting accept_ms=600000").await;
    assert_eq!(edge.admin("/readyz").await, (503, "shutting down\n".to_owned()));
    let (late, _events) = edge.connect().await;
    late.create_pipeline(Some("standup")).await.unwrap();
    before.call("ping", json!({})).await.unwrap();
    assert!(edge.process.is_running());
    edge.process.signal("TERM");
    assert_eq!(edge.process.exited().await.code(), Some(1), "forced by the second");
}

#[tokio::test]
async fn it_goes_through_its_stages_and_tells_them() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[shutdown]\naccept_ms = 1\nclose_window_ms = 100\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let clients = join_all((0..5).map(|_| edge.connect())).await;
    edge.process.signal("TERM");
    assert!(edge.process.exited().await.success());
    drop(clients);
    logs(&edge, " stopped").await;
    let log = edge.process.stderr();
    let at = |line: &str| log.find(line).unwrap_or_else(|| panic!("{line:?} is not in {log}"));
    let stages = [
        at("stopping: not ready, still accepting accept_ms=1"),
        at("accepting no more"),
        at("closing clients clients="),
        at(" stopped"),
    ];
    assert!(stages.is_sorted(), "{log}");
}

#[tokio::test]
async fn it_tells_how_many_clients_are_left_and_a_second_signal_ends_it_then_too() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[shutdown]\nclose_window_ms = 60000\ndeadline_ms = 600000\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let clients = join_all((0..100).map(|_| edge.connect())).await;
    edge.process.signal("TERM");
    logs(&edge, "clients left clients=").await;
    assert!(edge.process.is_running());
    edge.process.signal("TERM");
    assert_eq!(edge.process.exited().await.code(), Some(1), "forced by the second");
    drop(clients);
}

#[tokio::test]
async fn what_is_open_at_the_deadline_is_cut() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[shutdown]\nclose_window_ms = 0\ndeadline_ms = 1\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(None).await.unwrap();
    sims[0].process.freeze().await;
    let call = client.invoke(&pipeline, "getName", json!({}));
    let cut = async {
        // The call, which is read by then, keeps its connection open for longer than the deadline.
        client.call("ping", json!({})).await.unwrap();
        edge.process.signal("TERM");
        edge.process.exited().await
    };
    let (answer, status) = tokio::join!(call, cut);
    assert!(answer.is_err() && status.success());
    logs(&edge, "deadline reached, cutting what is left").await;
}

#[tokio::test]
async fn a_call_under_way_is_answered_before_its_connection_is_closed() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[shutdown]\nclose_window_ms = 0\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(Some("standup")).await.unwrap();
    sims[0].process.freeze().await;
    let call = client.invoke(&pipeline, "getName", json!({}));
    let stop = async {
        // Read by then: this client is answered by the edge itself, behind the call.
        client.call("ping", json!({})).await.unwrap();
        edge.process.signal("TERM");
        logs(&edge, "closing clients").await;
        // What comes now is answered until its moment is there, and then not read.
        let last = async { while client.call("ping", json!({})).await.is_ok() {} };
        let thaw = async { sims[0].process.signal("CONT") };
        tokio::join!(last, thaw);
    };
    let (answer, ()) = within_bound("both ends", async { tokio::join!(call, stop) }).await;
    assert_eq!(answer.unwrap(), pipeline);
    assert_eq!(client.ended().await.code, Some(1001));
    assert!(edge.process.exited().await.success());
}
