//! Backends that die, and what their clients see.

mod told;

use std::time::Duration;

use futures_util::future::join_all;
use pinfold::load::CallError;
use serde_json::json;

use crate::e2e::harness::{Edge, KmsSim, wait_for, within_bound};

#[tokio::test]
async fn a_killed_backend_fails_its_calls_and_only_them() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let mut meetings = Vec::new();
    for number in 0..6 {
        let name = format!("meeting-{number}");
        let pipeline = client.create_pipeline(Some(&name)).await.unwrap();
        let backend = edge.backend_of(&name).await;
        meetings.push((name, pipeline, backend));
    }
    let (lost, kept): (Vec<_>, Vec<_>) = meetings.iter().partition(|(.., backend)| backend == "a");
    assert!(!lost.is_empty() && !kept.is_empty(), "{meetings:?}");

    // Stopped first, so that the calls are certain to wait when it dies.
    sims[0].process.freeze().await;
    let name_of = |pipeline| client.invoke(pipeline, "getName", json!({}));
    let waiting = join_all(lost.iter().map(|(_, pipeline, _)| name_of(pipeline)));
    let killing = async {
        for (_, pipeline, _) in &kept {
            name_of(pipeline).await.unwrap();
        }
        sims[0].process.signal("KILL");
    };
    let (answers, ()) =
        within_bound("an error for each call", async { tokio::join!(waiting, killing) }).await;
    for answer in answers {
        assert!(matches!(answer, Err(CallError::Answered { .. })), "{answer:?}");
    }
    for (_, pipeline, _) in &lost {
        assert_eq!(name_of(pipeline).await.unwrap_err().code(), Some(40101));
    }
    for (_, pipeline, _) in &kept {
        assert_eq!(name_of(pipeline).await.unwrap(), json!(pipeline));
    }
    for (name, ..) in &lost {
        client.create_pipeline(Some(name)).await.unwrap();
        assert_eq!(edge.backend_of(name).await, "b");
    }
    client.create_pipeline(None).await.unwrap();
}

#[tokio::test]
async fn a_dead_backend_gets_no_new_meetings_and_comes_back_when_it_answers() {
    let mut sims = KmsSim::start_all(["a", "b"]).await;
    let more = "[probe]\ninterval_ms = 100\ntimeout_ms = 200\n";
    let edge = Edge::start_with(&sims, more, super::harness::TempDir::create()).await;
    let takes_pins = |expected: bool| {
        let edge = &edge;
        move || async move {
            let backends = edge.backends().await;
            let a = backends.iter().find(|one| one["id"] == "a").unwrap();
            (a["takes_pins"] == expected).then_some(())
        }
    };
    sims[0].process.freeze().await;
    wait_for("a is ejected", takes_pins(false)).await;
    let (client, _events) = edge.connect().await;
    for number in 0..8 {
        let name = format!("meeting-{number}");
        client.create_pipeline(Some(&name)).await.unwrap();
        assert_eq!(edge.backend_of(&name).await, "b");
    }
    sims[0].process.signal("CONT");
    wait_for("a is readmitted", takes_pins(true)).await;
    client.create_pipeline(Some("after")).await.unwrap();
    assert_eq!(edge.backend_of("after").await, "a", "the idle one");
    sims[0].process.signal("TERM");
    sims[0].process.exited().await;
}

#[tokio::test]
async fn with_every_backend_dead_the_client_is_told_at_once() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[probe]\ninterval_ms = 100\n";
    let edge = Edge::start_with(&sims, more, super::harness::TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(Some("standup")).await.unwrap();
    drop(sims);
    let gone = || async {
        let found = client.invoke(&pipeline, "getName", json!({})).await;
        (found.unwrap_err().code() == Some(40101)).then_some(())
    };
    wait_for("the objects are gone", gone).await;
    let refused = || async {
        let refused = client.create_pipeline(Some("standup")).await.unwrap_err();
        (refused.code() == Some(40009)).then_some(())
    };
    wait_for("no resources", refused).await;
    let at_once = tokio::time::timeout(Duration::from_secs(1), client.create_pipeline(None)).await;
    assert_eq!(at_once.expect("no waiting").unwrap_err().code(), Some(40009));
    client.ping().await.unwrap();
}
