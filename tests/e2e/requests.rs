//! What is no WebSocket for the listener's path, and messages that must not reach a backend.

use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::e2e::harness::{
    Edge, KmsSim, RawSocket, TempDir, get, raw_socket, send_text, wait_for, within_bound,
};

#[tokio::test]
async fn another_path_is_not_found_and_a_plain_get_is_told_to_upgrade() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let addr = edge.addr();
    for path in ["/", "/Kurento", "/kurentox", "/other/kurento"] {
        let refused = tokio_tungstenite::connect_async(format!("ws://{addr}{path}")).await;
        let Err(Error::Http(response)) = refused else { panic!("{path}: {refused:?}") };
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(get(addr, "/other").await.0, 404);
    for path in ["/kurento", "/kurento/standup", "/kurento?meeting=standup"] {
        assert_eq!(get(addr, path).await.0, 426, "{path}");
        raw_socket(&format!("ws://{addr}{path}")).await;
    }
}

/// Messages that are refused, and the code each is refused with.
fn refused_messages() -> Vec<(&'static str, String, i64)> {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let create =
        |params: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"create","params":{params}}}"#);
    let padding = "x".repeat(1_048_576);
    vec![
        ("malformed", r#"{"jsonrpc":"2.0","id":1,"#.to_owned(), -32700),
        ("empty", String::new(), -32700),
        ("batch", format!("[{ping},{ping}]"), -32600),
        ("no object", "5".to_owned(), -32600),
        ("array for params", create(r#"["MediaPipeline"]"#), -32602),
        ("string for params", create(r#""MediaPipeline""#), -32602),
        ("too long", create(&format!(r#"{{"type":"{padding}"}}"#)), -32600),
        ("too deep", create(&format!("{}{}", "[".repeat(2_000), "]".repeat(2_000))), -32600),
    ]
}

#[tokio::test]
async fn what_would_hurt_a_backend_is_answered_and_the_connection_stays() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let mut socket = raw_socket(&edge.url).await;
    // A link is open, so that anything let through would reach the backend.
    let create = r#"{"jsonrpc":"2.0","id":0,"method":"create","params":{"type":"MediaPipeline"}}"#;
    let pipeline = send_text(&mut socket, create).await["result"]["value"].clone();
    for (what, text, code) in refused_messages() {
        let answer = send_text(&mut socket, &text).await;
        assert_eq!(answer["jsonrpc"], "2.0", "{what}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
        assert!(answer["error"]["message"].is_string(), "{what}: {answer}");
        let is_alive = get_name(&mut socket, &pipeline).await;
        assert_eq!(is_alive["result"]["value"], pipeline, "after {what}");
    }
}

async fn get_name(socket: &mut RawSocket, object: &Value) -> Value {
    let params = json!({"object": object, "operation": "getName"});
    let request = json!({"jsonrpc": "2.0", "id": "name", "method": "invoke", "params": params});
    let answer = send_text(socket, &request.to_string()).await;
    assert_eq!(answer["id"], "name");
    answer
}

#[tokio::test]
async fn without_an_eligible_backend_a_create_fails_at_once_and_the_rest_works() {
    // Port 1 of loopback: nobody listens there.
    let nobody = [("a", "ws://127.0.0.1:1/kurento")];
    let edge = Edge::start_unready(&nobody, "", TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    client.ping().await.unwrap();
    for meeting in [None, Some("standup")] {
        let refused = client.create_pipeline(meeting).await.unwrap_err();
        assert_eq!(refused.code(), Some(40009), "{refused}");
    }
    client.ping().await.unwrap();
    assert_eq!(edge.backends().await[0]["takes_pins"], false);
    assert_eq!(edge.admin("/healthz").await.0, 200);
}

#[tokio::test]
async fn a_client_that_cuts_without_a_word_is_forgotten() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let mut socket = raw_socket(&edge.url).await;
    let params = json!({"type": "MediaPipeline", "properties": {"meeting": "standup"}});
    let create = json!({"jsonrpc": "2.0", "id": 1, "method": "create", "params": params});
    send_text(&mut socket, &create.to_string()).await;
    assert_eq!(edge.backends().await[0]["links"], 1);
    drop(socket);
    let links_gone = || async { (edge.backends().await[0]["links"] == 0).then_some(()) };
    wait_for("the link closes with its client", links_gone).await;
}

#[tokio::test]
async fn a_backend_met_in_a_refused_transaction_is_reached_later() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let mut on = [None, None];
    while on.iter().any(Option::is_none) {
        let pipeline = client.create_pipeline(None).await.unwrap();
        let is_on_a = sims[0].has(&pipeline).await;
        on[usize::from(!is_on_a)] = Some(pipeline);
    }
    let mut socket = raw_socket(&edge.url).await;
    let describe = |object| json!({"method": "describe", "params": {"object": object}});
    let operations: Vec<Value> = on.iter().map(describe).collect();
    let transaction = json!({"jsonrpc": "2.0", "id": 1, "method": "transaction",
        "params": {"operations": operations}});
    let answer = send_text(&mut socket, &transaction.to_string()).await;
    assert_eq!(answer["error"]["code"], 40008, "both backends are known now, and no link is open");
    for pipeline in on.iter().rev() {
        let name = get_name(&mut socket, &json!(pipeline)).await;
        assert_eq!(name["result"]["value"], json!(pipeline));
    }
}

#[tokio::test]
async fn binary_frames_with_json_are_understood_as_a_real_server_does() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let mut socket = raw_socket(&edge.url).await;
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    socket.send(Message::binary(ping.as_slice())).await.unwrap();
    let message = within_bound("pong", socket.next()).await.unwrap().unwrap();
    assert!(message.is_text(), "answers are always text");
}
