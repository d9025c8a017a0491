//! What clients are told when all that they had went with a backend, and when.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pinfold::load::{Client, Events};
use serde_json::json;

use crate::e2e::harness::{Edge, KmsSim, TempDir, wait_for, within_bound};

const CLOSE: &str = "on_backend_loss = \"close\"\n";

/// A client that has one pipeline, which is on `backend`; returns it.
async fn client_on(edge: &Edge, sim: &KmsSim) -> (Client, Events, String) {
    let (client, events) = edge.connect().await;
    for _ in 0..64 {
        let pipeline = client.create_pipeline(None).await.unwrap();
        if sim.has(&pipeline).await {
            return (client, events, pipeline);
        }
        client.call("release", json!({"object": pipeline})).await.unwrap();
    }
    panic!("nothing came to {}", sim.id);
}

async fn wait_for_ejection(edge: &Edge, id: &str) {
    let ejected = || async {
        let backends = edge.backends().await;
        let row = backends.iter().find(|one| one["id"] == id).unwrap();
        (row["health"] == "ejected").then_some(())
    };
    wait_for("it is ejected", ejected).await;
}

#[tokio::test]
async fn a_client_that_has_lost_everything_is_closed_if_the_listener_says_so() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start_with(&sims, CLOSE, TempDir::create()).await;
    let (lost, _events, _) = client_on(&edge, &sims[0]).await;
    let (kept, _events, on_b) = client_on(&edge, &sims[1]).await;
    let (idle, _events) = edge.connect().await;
    idle.ping().await.unwrap();
    sims[0].process.signal("KILL");
    let ending = within_bound("a close", lost.ended()).await;
    assert_eq!(ending.code, Some(1012), "{ending}");
    assert_eq!(kept.invoke(&on_b, "getName", json!({})).await.unwrap(), json!(on_b));
    wait_for_ejection(&edge, "a").await;
    sims[1].process.signal("KILL");
    let ending = within_bound("a close", kept.ended()).await;
    // Whether the fleet knows by then that the last one is gone too is a matter of milliseconds.
    assert!(matches!(ending.code, Some(1012 | 1013)), "{ending}");
    idle.ping().await.unwrap();
    let (_, metrics) = edge.admin("/metrics").await;
    assert!(metrics.contains("pinfold_loss_seconds_count"), "{metrics}");
}

#[tokio::test]
async fn a_client_closed_while_no_backend_is_left_is_told_to_come_later() {
    let mut sims = KmsSim::start_all(["a"]).await;
    let more = format!("{CLOSE}[loss]\nspread_ms = 60000\n[probe]\ninterval_ms = 100\n");
    let edge = Edge::start_with(&sims, &more, TempDir::create()).await;
    let clients = join_all((0..8).map(|_| client_on(&edge, &sims[0]))).await;
    sims[0].process.signal("KILL");
    sims[0].process.exited().await;
    wait_for_ejection(&edge, "a").await;
    let mut answered = 0;
    for (client, ..) in &clients {
        // It asks, so it is told at once; it has an answer too, if its moment has not come before.
        answered += usize::from(client.ping().await.is_ok());
        let ending = within_bound("a close", client.ended()).await;
        assert_eq!(ending.code, Some(1013), "{ending}");
    }
    // Half a second of sixty is over: that of four of them comes before once in 10^8 times.
    assert!(answered > 4, "{answered} of 8 were answered");
}

#[tokio::test]
async fn a_client_that_stays_sees_what_a_restarted_server_shows() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start_with(&sims, "[loss]\nspread_ms = 60000\n", TempDir::create()).await;
    let (client, mut events, pipeline) = client_on(&edge, &sims[0]).await;
    let session = client.call("ping", json!({})).await.unwrap()["sessionId"].clone();
    let kind = json!({"object": "manager_ServerManager", "type": "ObjectDestroyed"});
    client.call("subscribe", kind).await.unwrap();
    let create = json!({"type": "PassThrough", "constructorParams": {"mediaPipeline": pipeline}});
    let element = client.call("create", create).await.unwrap()["value"].clone();
    sims[0].process.signal("KILL");
    let mut destroyed = Vec::new();
    while destroyed.len() < 2 {
        let event = events.find("manager_ServerManager", "ObjectDestroyed");
        let event = within_bound("an event", event).await.unwrap();
        destroyed.push(event.data["objectId"].clone());
    }
    assert_eq!(destroyed, [element, json!(pipeline)]);
    wait_for_ejection(&edge, "a").await;
    let asked = client.invoke(&pipeline, "getName", json!({})).await;
    assert_eq!(asked.unwrap_err().code(), Some(40101), "long before the spread is over");
    let unknown = client.call("connect", json!({"sessionId": session})).await.unwrap_err();
    assert_eq!(unknown.code(), Some(40007));
    let again = client.call("connect", json!({})).await.unwrap();
    let rebuilt = client.create_pipeline(None).await.unwrap();
    assert!(sims[1].has(&rebuilt).await);
    client.call("connect", json!({"sessionId": again["sessionId"]})).await.unwrap();
}

#[tokio::test]
async fn the_clients_of_a_lost_backend_are_told_one_after_another() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = format!("{CLOSE}[loss]\nspread_ms = 2000\n");
    let edge = Edge::start_with(&sims, &more, TempDir::create()).await;
    let clients = join_all((0..32).map(|_| client_on(&edge, &sims[0]))).await;
    sims[0].process.signal("KILL");
    #[expect(clippy::disallowed_methods, reason = "a test measures when it is told")]
    let ends = join_all(clients.iter().map(|(client, ..)| async {
        within_bound("a close", client.ended()).await;
        Instant::now()
    }))
    .await;
    let spread = *ends.iter().max().unwrap() - *ends.iter().min().unwrap();
    // 32 moments drawn of two seconds lie closer together than this once in 10^20 times.
    assert!(spread > Duration::from_millis(500), "{spread:?}");
}
