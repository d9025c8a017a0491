//! What meetings cost, as the edge counts it and the admin API shows it.

use pinfold::load::Client;
use serde_json::{Value, json};

use crate::e2e::harness::{Edge, KmsSim, TempDir, wait_for};

/// What nobody uses ends soon.
const CONFIG: &str =
    "[pins]\ngrace_ms = 50\n[sessions]\nhold_ms = 0\n[weights]\nrecorder_legs = 7\n";

async fn edge() -> (KmsSim, Edge) {
    let [sim] = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_with(std::slice::from_ref(&sim), CONFIG, TempDir::create()).await;
    (sim, edge)
}

async fn create(client: &Client, kind: &str, params: Value) -> String {
    let params = json!({"type": kind, "constructorParams": params});
    let answer = client.call("create", params).await.unwrap();
    answer["value"].as_str().unwrap().to_owned()
}

async fn webrtc(client: &Client, pipeline: &str) -> String {
    create(client, "WebRtcEndpoint", json!({"mediaPipeline": pipeline})).await
}

async fn connect(client: &Client, source: &str, sink: &str) {
    client.invoke(source, "connect", json!({"sink": sink})).await.unwrap();
}

async fn release(client: &Client, object: &str) {
    client.call("release", json!({"object": object})).await.unwrap();
}

/// Measured and charged legs, publishing and receiving ones.
fn legs(row: &Value) -> [u64; 4] {
    ["measured_legs", "load_legs", "publishing_legs", "receiving_legs"]
        .map(|key| row[key].as_u64().unwrap())
}

async fn legs_of_backend(edge: &Edge) -> [u64; 4] {
    legs(&edge.backends().await[0])
}

async fn nothing_is_left(edge: &Edge) {
    let nothing = || async {
        let row = edge.backends().await.remove(0);
        let is_empty = row["elements"].as_object().unwrap().values().all(|count| *count == 0);
        (legs(&row) == [0; 4] && is_empty).then_some(())
    };
    wait_for("nothing is counted any more", nothing).await;
}

#[tokio::test]
async fn a_meeting_costs_what_is_connected_in_it() {
    let (_sim, edge) = edge().await;
    let (ana, _events) = edge.connect().await;
    let pipeline = ana.create_pipeline(Some("standup")).await.unwrap();
    assert_eq!(legs_of_backend(&edge).await, [0, 4, 0, 0], "the reserve");
    let camera = webrtc(&ana, &pipeline).await;
    let mut viewers = Vec::new();
    for _ in 0..5 {
        let viewer = webrtc(&ana, &pipeline).await;
        connect(&ana, &camera, &viewer).await;
        connect(&ana, &camera, &viewer).await;
        viewers.push(viewer);
    }
    let recorder = create(
        &ana,
        "RecorderEndpoint",
        json!({"mediaPipeline": pipeline, "uri": "file:///tmp/a.webm"}),
    )
    .await;
    connect(&ana, &camera, &recorder).await;
    let row = edge.api("meetings/standup").await;
    assert_eq!((legs(&row), &row["reserve_legs"]), ([13, 13, 1, 5], &json!(4)), "{row}");
    assert_eq!((&row["elements"]["webrtc"], &row["elements"]["recorder"]), (&json!(6), &json!(1)));
    assert_eq!(legs_of_backend(&edge).await, [13, 13, 1, 5]);

    ana.invoke(&camera, "disconnect", json!({"sink": viewers[0]})).await.unwrap();
    release(&ana, &viewers[1]).await;
    release(&ana, &recorder).await;
    assert_eq!(legs_of_backend(&edge).await, [4, 4, 1, 3]);
    let shown = || async {
        let (_, text) = edge.admin("/metrics").await;
        let line = "pinfold_backend_connected_legs{backend=\"a\",kind=\"receiving\"} 3";
        text.lines().any(|found| found == line).then_some(())
    };
    wait_for("the metrics say so too", shown).await;

    release(&ana, &camera).await;
    assert_eq!(legs_of_backend(&edge).await, [0, 4, 0, 0], "nobody feeds anybody");
    release(&ana, &pipeline).await;
    nothing_is_left(&edge).await;
}

#[tokio::test]
async fn whoever_makes_and_releases_it_counts_for_the_same_meeting() {
    let (_sim, edge) = edge().await;
    let (ana, _events) = edge.connect().await;
    let (ben, _events) = edge.connect().await;
    let pipeline = ana.create_pipeline(Some("standup")).await.unwrap();
    let camera = webrtc(&ana, &pipeline).await;
    for _ in 0..6 {
        let viewer = webrtc(&ben, &pipeline).await;
        connect(&ben, &camera, &viewer).await;
    }
    assert_eq!(legs_of_backend(&edge).await, [7, 7, 1, 6]);
    release(&ben, &camera).await;
    assert_eq!(legs_of_backend(&edge).await, [0, 4, 0, 0]);
    release(&ben, &pipeline).await;
    nothing_is_left(&edge).await;
}

#[tokio::test]
async fn a_transaction_counts_by_its_operations() {
    let (_sim, edge) = edge().await;
    let (ana, _events) = edge.connect().await;
    let operation = |id: u32, method: &str, params: Value| json!({"id": id, "jsonrpc": "2.0", "method": method, "params": params});
    let endpoint =
        json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": "newref:0"}});
    let connect = json!({"object": "newref:1", "operation": "connect",
        "operationParams": {"sink": "newref:2"}});
    let operations = json!([
        operation(0, "create", json!({"type": "MediaPipeline"})),
        operation(1, "create", endpoint.clone()),
        operation(2, "create", endpoint),
        operation(3, "invoke", connect),
    ]);
    let answer = ana.call("transaction", json!({"operations": operations})).await.unwrap();
    assert_eq!(legs_of_backend(&edge).await, [2, 4, 1, 1], "{answer}");
    let session = json!({"sessionId": answer["sessionId"], "release": true});
    ana.call("closeSession", session).await.unwrap();
    nothing_is_left(&edge).await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_counted() {
    let (_sim, edge) = edge().await;
    let (ana, _events) = edge.connect().await;
    for meeting in [Some("standup"), None] {
        let pipeline = ana.create_pipeline(meeting).await.unwrap();
        let (camera, viewer) = (webrtc(&ana, &pipeline).await, webrtc(&ana, &pipeline).await);
        connect(&ana, &camera, &viewer).await;
    }
    assert_eq!(legs_of_backend(&edge).await, [4, 8, 2, 2]);
    drop((ana, _events));
    nothing_is_left(&edge).await;
}
