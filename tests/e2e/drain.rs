//! Backends that are emptied: what their meetings, their clients and the operator see.

use std::time::Duration;

use futures_util::future::join_all;
use pinfold::load::Client;
use serde_json::{Value, json};

use crate::e2e::harness::{Edge, KmsSim, TempDir, wait_for, within_bound};

/// Fast moves, so that a test need not wait for the pace.
const FAST: &str = "[drain]\nmoves_per_second = 50.0\n";

/// Runs `pinfold` with `arguments` against the edge; returns whether it succeeded, and what it said.
async fn operate(edge: &Edge, arguments: &[&str]) -> (bool, String) {
    let admin = format!("http://{}", edge.admin_addr());
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pinfold"));
    let output = command.args(arguments).args(["--admin", &admin]).output();
    let output = within_bound("an order", output).await.unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

async fn order(edge: &Edge, arguments: &[&str]) -> String {
    let (is_success, output) = operate(edge, arguments).await;
    assert!(is_success, "{arguments:?}: {output}");
    output
}

async fn row(edge: &Edge, id: &str) -> Option<Value> {
    edge.backends().await.into_iter().find(|one| one["id"] == id)
}

/// Creates meetings, which go where least is, until one of them is on `backend`; returns its name and pipeline.
async fn meet_on(edge: &Edge, client: &Client, backend: &str, tag: &str) -> (String, String) {
    for number in 0..64 {
        let name = format!("{tag}-{number}");
        let pipeline = client.create_pipeline(Some(&name)).await.unwrap();
        if edge.backend_of(&name).await == backend {
            return (name, pipeline);
        }
    }
    panic!("no meeting came to {backend}");
}

async fn is_gone(client: &Client, pipeline: &str) -> bool {
    match client.invoke(pipeline, "getName", json!({})).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.code(), Some(40101), "{error}");
            true
        }
    }
}

#[tokio::test]
async fn a_drained_backend_keeps_its_meetings_and_gets_no_new_ones_until_it_is_undrained() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let (name, pipeline) = meet_on(&edge, &client, "a", "old").await;
    let told = order(&edge, &["drain", "a", "--deadline", "1h"]).await;
    assert!(told.starts_with("a: meetings 1, people 1, expected time left "), "{told}");
    for number in 0..8 {
        let new = format!("new-{number}");
        client.create_pipeline(Some(&new)).await.unwrap();
        assert_eq!(edge.backend_of(&new).await, "b");
    }
    let (other, _events) = edge.connect().await;
    let joined = other.create_pipeline(Some(&name)).await.unwrap();
    assert_eq!(edge.backend_of(&name).await, "a", "an old meeting can be joined");
    assert!(sims[0].has(&joined).await && !is_gone(&client, &pipeline).await);
    let status = order(&edge, &["status"]).await;
    assert!(status.contains("healthy, draining") && status.contains("a: meetings 1, people 2"));
    let drain = row(&edge, "a").await.unwrap()["drain"].clone();
    assert_eq!((&drain["meetings"], &drain["people"]), (&json!(1), &json!(2)), "{drain}");
    order(&edge, &["undrain", "a"]).await;
    assert_eq!(row(&edge, "a").await.unwrap()["takes_pins"], true);
    meet_on(&edge, &client, "a", "after").await;
    assert!(!is_gone(&client, &pipeline).await);
}

#[tokio::test]
async fn at_the_deadline_meetings_move_smallest_first_and_none_is_split() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge =
        Edge::start_with(&sims, "[drain]\nmoves_per_second = 2.0\n", TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let mut meetings = Vec::new();
    for size in [3, 1, 2] {
        let (name, first) = meet_on(&edge, &client, "a", &format!("size{size}")).await;
        let mut people = vec![(edge.connect().await, first.clone())];
        for _ in 0..size {
            let one = edge.connect().await;
            let pipeline = one.0.create_pipeline(Some(&name)).await.unwrap();
            people.push((one, pipeline));
        }
        meetings.push((size, name, people));
    }
    order(&edge, &["drain", "a", "--deadline", "0s", "--then", "remove"]).await;
    let went = std::sync::Mutex::new(Vec::new());
    let rebuild = meetings.iter().map(|(size, name, people)| {
        let went = &went;
        async move {
            let mut rebuilt = Vec::new();
            for ((client, _), pipeline) in people {
                wait_for("its pipeline is gone", || async {
                    is_gone(client, pipeline).await.then_some(())
                })
                .await;
            }
            went.lock().unwrap().push(*size);
            // All at once: whoever is first decides where.
            let created = people.iter().map(|((client, _), _)| client.create_pipeline(Some(name)));
            for created in join_all(created).await {
                rebuilt.push(created.unwrap());
            }
            rebuilt
        }
    });
    let rebuilt: Vec<String> = join_all(rebuild).await.concat();
    assert_eq!(*went.lock().unwrap(), [1, 2, 3]);
    for pipeline in &rebuilt {
        assert!(sims[1].has(pipeline).await, "{pipeline}");
    }
    wait_for("a is removed", || async { row(&edge, "a").await.is_none().then_some(()) }).await;
    assert!(sims[0].pipelines().await.is_empty());
    let (_, metrics) = edge.admin("/metrics").await;
    assert!(metrics.contains("pinfold_meetings_moved_total 3"));
}

#[tokio::test]
async fn meetings_without_a_name_go_too_and_their_clients_hear_of_it() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_with(&sims, FAST, TempDir::create()).await;
    let (client, mut events) = edge.connect().await;
    let kind = json!({"object": "manager_ServerManager", "type": "ObjectDestroyed"});
    client.call("subscribe", kind).await.unwrap();
    let pipeline = client.create_pipeline(None).await.unwrap();
    order(&edge, &["drain", "a", "--deadline", "0s", "--wait"]).await;
    let event = events.find("manager_ServerManager", "ObjectDestroyed").await.unwrap();
    assert_eq!(event.object, "manager_ServerManager");
    assert!(is_gone(&client, &pipeline).await);
    client.ping().await.unwrap();
    assert!(sims[0].pipelines().await.is_empty());
}

#[tokio::test]
async fn an_order_to_drain_survives_a_kill_of_the_edge() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let mut edge = Edge::start_with(&sims, FAST, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let (name, pipeline) = meet_on(&edge, &client, "a", "old").await;
    // With the pin of the next the pipeline of the first is on disk.
    client.create_pipeline(Some("next")).await.unwrap();
    order(&edge, &["drain", "a", "--deadline", "2s"]).await;
    edge.kill().await;
    let edge = edge.start_again().await;
    let drained = || async {
        let row = row(&edge, "a").await?;
        (row["stay"] == "draining" && row["health"] == "healthy").then_some(())
    };
    wait_for("a is drained again", drained).await;
    // What the process before had is let go by this one.
    let gone = || async { (!sims[0].has(&pipeline).await).then_some(()) };
    wait_for("its meeting is let go", gone).await;
    let (client, _events) = edge.connect().await;
    let again = client.create_pipeline(Some(&name)).await.unwrap();
    assert!(sims[1].has(&again).await);
    order(&edge, &["undrain", "a"]).await;
}

#[tokio::test]
async fn a_drain_of_the_config_is_not_taken_back_by_an_order() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let urls = [format!("{}\"\ndrain = true\n# \"", sims[0].url), sims[1].url.clone()];
    let named: Vec<_> = sims.iter().zip(&urls).map(|(one, url)| (&*one.id, url.as_str())).collect();
    let edge = Edge::start_unready(&named, "", TempDir::create()).await;
    let ready = || async { (edge.admin("/readyz").await.0 == 200).then_some(()) };
    wait_for("readiness", ready).await;
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("m")).await.unwrap();
    assert_eq!(edge.backend_of("m").await, "b");
    let (is_success, _) = operate(&edge, &["undrain", "a"]).await;
    assert!(!is_success);
    let row = row(&edge, "a").await.unwrap();
    assert_eq!((&row["stay"], &row["drain"]["by"]), (&json!("draining"), &json!("config")));
    assert!(!operate(&edge, &["drain", "nobody"]).await.0);
}

#[tokio::test]
async fn a_drain_that_is_taken_back_moves_nobody_else() {
    let sims = KmsSim::start_all(["a"]).await;
    let slow = "[drain]\nmoves_per_second = 0.05\n";
    let edge = Edge::start_with(&sims, slow, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let mut pipelines = Vec::new();
    for number in 0..3 {
        pipelines.push(client.create_pipeline(Some(&format!("m{number}"))).await.unwrap());
    }
    order(&edge, &["drain", "a", "--deadline", "0s"]).await;
    let left = || async { (sims[0].pipelines().await.len() == 2).then_some(()) };
    wait_for("one is let go", left).await;
    order(&edge, &["undrain", "a"]).await;
    assert_eq!(row(&edge, "a").await.unwrap()["takes_pins"], true);
    let mut gone = 0;
    for pipeline in &pipelines {
        gone += usize::from(is_gone(&client, pipeline).await);
    }
    assert_eq!(gone, 1);
    tokio::time::timeout(Duration::from_secs(5), client.create_pipeline(Some("m0")))
        .await
        .expect("nobody waits")
        .unwrap();
}
