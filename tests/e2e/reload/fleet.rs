//! Backends that come, change and go by the config.

use serde_json::Value;

use super::{BY_HAND, rewrite_among, start};
use crate::e2e::harness::{Edge, KmsSim, wait_for};

/// Gives the edge those backends with more keys each.
async fn turn_to(edge: &Edge, backends: &[(&KmsSim, &str)]) -> Vec<String> {
    rewrite_among(edge, backends, "");
    edge.reload().await.unwrap()
}

async fn row(edge: &Edge, id: &str) -> Option<Value> {
    edge.backends().await.into_iter().find(|row| row["id"] == id)
}

#[tokio::test]
async fn what_the_config_says_of_a_backend_holds_at_once_and_its_meetings_stay() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("standup")).await.unwrap();
    let server_id = row(&edge, "a").await.unwrap()["server_id"].clone();

    let keys = "capacity = 77\nlabels = [\"region=eu\"]\nweight = 9";
    let changes = turn_to(&edge, &[(&sims[0], keys)]).await;
    assert_eq!(changes, ["backends[a].capacity", "backends[a].weight", "backends[a].labels"]);
    let after = row(&edge, "a").await.unwrap();
    assert_eq!((&after["capacity_legs"], &after["meetings"]), (&77.into(), &1.into()));
    assert_eq!((&after["server_id"], &after["health"]), (&server_id, &"healthy".into()));
    let scene = edge.api("state").await;
    let shown = scene.to_string();
    assert!(shown.contains("region"), "{shown}");

    turn_to(&edge, &[(&sims[0], "drain = true")]).await;
    let refused = client.create_pipeline(Some("other")).await.unwrap_err();
    assert_eq!(refused.code(), Some(40009));
    client.create_pipeline(Some("standup")).await.unwrap();
    turn_to(&edge, &[(&sims[0], "")]).await;
    client.create_pipeline(Some("other")).await.unwrap();
}

#[tokio::test]
async fn a_backend_that_is_added_takes_meetings_and_one_that_is_removed_keeps_its_own() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = start(&sims[..1], "").await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(Some("old")).await.unwrap();

    let changes = turn_to(&edge, &[(&sims[0], "drain = true"), (&sims[1], "")]).await;
    assert_eq!(changes, ["backends[a].drain", "backends[b]"]);
    let taken = || async { client.create_pipeline(Some("new")).await.ok().map(drop) };
    wait_for("the new backend takes a meeting", taken).await;
    assert_eq!(edge.backend_of("new").await, "b");

    assert_eq!(turn_to(&edge, &[(&sims[1], "")]).await, ["backends[a]"]);
    assert_eq!(row(&edge, "a").await.unwrap()["stay"], "leaving");
    let (joiner, _events) = edge.connect().await;
    joiner.create_pipeline(Some("old")).await.unwrap();
    assert_eq!(edge.backend_of("old").await, "a");
    client.invoke(&pipeline, "getName", serde_json::json!({})).await.unwrap();

    for client in [&client, &joiner] {
        assert!(client.ping().await.is_ok());
    }
    // With no grace it is over when its last pipeline goes.
    edge.rewrite(&[("b", &sims[1].url)], &format!("[pins]\ngrace_ms = 0\n{BY_HAND}"));
    edge.reload().await.unwrap();
    client.close().await;
    joiner.close().await;
    let gone = || async { row(&edge, "a").await.is_none().then_some(()) };
    wait_for("it goes with its last meeting", gone).await;
}
