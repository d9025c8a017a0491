//! Calls whose link breaks, and calls that take too long.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join_all, try_join_all};
use futures_util::{SinkExt, StreamExt};
use pinfold::load::{CallError, Client};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::e2e::harness::{
    Cutter, Edge, KmsSim, RawSocket, TempDir, raw_socket, send_text, wait_for, within_bound,
};

/// Clients that call while links are cut.
const CLIENTS: usize = 4;

/// Callers of one client, each with one call under way.
const CALLERS: usize = 3;

/// Elements that each caller makes.
const ELEMENTS: usize = 100;

/// Answers between two cuts.
const ANSWERS_A_CUT: usize = 200;

/// Makes elements, one after the other.
async fn make_elements(
    client: &Client,
    pipeline: &str,
    answered: &AtomicUsize,
) -> Result<Vec<String>, CallError> {
    let mut made = Vec::new();
    for _ in 0..ELEMENTS {
        let pipeline = json!({"mediaPipeline": pipeline});
        let params = json!({"type": "PassThrough", "constructorParams": pipeline});
        let result = client.call("create", params).await?;
        made.push(result["value"].as_str().unwrap().to_owned());
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(made)
}

/// Value of the metric of that name.
async fn metric(edge: &Edge, name: &str) -> u64 {
    let (_, metrics) = edge.admin("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn clients_do_not_notice_that_their_links_are_cut() {
    let sim = KmsSim::start("a").await;
    let way = Cutter::before(&sim.url).await;
    let edge = Edge::start_unready(&[("a", &way.url)], "", TempDir::create()).await;
    edge.becomes_ready().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (client, events) = edge.connect().await;
        let pipeline = client.create_pipeline(None).await.unwrap();
        clients.push((client, events, pipeline));
    }
    let (answered, total) = (AtomicUsize::new(0), CLIENTS * CALLERS * ELEMENTS);
    let calling = try_join_all(clients.iter().map(|(client, _, pipeline)| {
        try_join_all((0..CALLERS).map(|_| make_elements(client, pipeline, &answered)))
    }));
    let cutting = async {
        for so_many in (0..total).step_by(ANSWERS_A_CUT) {
            wait_for("more answers", || async {
                (answered.load(Ordering::Relaxed) >= so_many).then_some(())
            })
            .await;
            way.cut();
        }
    };
    let (made, ()) = within_bound("all answers", async { tokio::join!(calling, cutting) }).await;
    let made = made.expect("no call failed");
    for ((client, _, pipeline), made) in clients.iter().zip(made) {
        let mut told = made.concat();
        let there = client.invoke(pipeline, "getChildren", json!({})).await.unwrap();
        let mut there: Vec<String> = serde_json::from_value(there).unwrap();
        told.sort_unstable();
        there.sort_unstable();
        assert_eq!(there.len(), CALLERS * ELEMENTS, "each was made once");
        assert!(told == there, "and its maker was told of it");
        assert_eq!(client.stray_count(), 0, "nothing was answered twice");
    }
    assert!(metric(&edge, "pinfold_calls_resent_total ").await > 0, "calls were under way");
}

#[tokio::test]
async fn with_nothing_kept_a_cut_is_told() {
    let sim = KmsSim::start("a").await;
    let way = Cutter::before(&sim.url).await;
    let more = "[limits]\nresend_max_bytes = 0\n";
    let edge = Edge::start_unready(&[("a", &way.url)], more, TempDir::create()).await;
    edge.becomes_ready().await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(None).await.unwrap();
    sim.process.stop().await;
    let calls = (0..10).map(|_| client.invoke(&pipeline, "getName", json!({})));
    let frames = || async { (metric(&edge, FRAMES_TO_BACKEND).await >= 11).then_some(()) };
    let cutting = async {
        wait_for("the calls are under way", frames).await;
        way.cut();
        sim.process.signal("CONT");
    };
    let (answers, ()) =
        within_bound("an error each", async { tokio::join!(join_all(calls), cutting) }).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.code(), Some(40003), "{error}");
        assert!(error.to_string().contains("broke"), "{error}");
    }
    assert_eq!(client.invoke(&pipeline, "getName", json!({})).await.unwrap(), json!(pipeline));
}

/// Messages sent to backends.
const FRAMES_TO_BACKEND: &str = "pinfold_frames_total{direction=\"backend_out\"} ";

/// A call of `getName`.
fn get_name(id: u32, object: &Value) -> String {
    let params = json!({"object": object, "operation": "getName"});
    json!({"jsonrpc": "2.0", "id": id, "method": "invoke", "params": params}).to_string()
}

#[tokio::test]
async fn a_backend_that_does_not_answer_in_time_is_suspect_and_its_late_answer_goes_nowhere() {
    let sims = KmsSim::start_all(["a"]).await;
    // Probes wait for longer than the test has the backend stand still: it must not be given up.
    let more = "[limits]\ncall_timeout_ms = 300\n[probe]\ntimeout_ms = 60000\n";
    let edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let mut client = raw_socket(&edge.url).await;
    let create = r#"{"jsonrpc":"2.0","id":1,"method":"create","params":{"type":"MediaPipeline"}}"#;
    let pipeline = send_text(&mut client, create).await["result"]["value"].clone();

    sims[0].process.stop().await;
    for id in [2, 3] {
        client.send(Message::text(get_name(id, &pipeline))).await.unwrap();
    }
    for id in [2, 3] {
        let told = next_json(&mut client).await;
        assert_eq!((&told["id"], &told["error"]["code"]), (&json!(id), &json!(40003)), "{told}");
        assert!(told["error"]["message"].as_str().unwrap().contains("in time"), "{told}");
    }
    let suspect = || async { (edge.backends().await[0]["health"] == "suspect").then_some(()) };
    wait_for("the backend is suspect", suspect).await;
    assert_eq!(edge.backends().await[0]["takes_pins"], false);

    sims[0].process.signal("CONT");
    let late = || async { (metric(&edge, "pinfold_late_answers_total ").await == 2).then_some(()) };
    wait_for("both answers, late", late).await;
    assert_eq!(metric(&edge, "pinfold_calls_timed_out_total ").await, 2);
    edge.becomes_ready().await;
    let answer = send_text(&mut client, &get_name(4, &pipeline)).await;
    assert_eq!(answer["id"], 4, "nothing came between");
    assert_eq!(answer["result"]["value"], pipeline, "{answer}");
}

async fn next_json(socket: &mut RawSocket) -> Value {
    let message = within_bound("a message", socket.next()).await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}
