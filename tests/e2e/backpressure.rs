//! Sockets that take nothing: whoever fills them is held up, and nothing gathers in the edge.

use std::cell::Cell;
use std::collections::BTreeMap;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::e2e::harness::{
    EVENT_PADDING_BYTES, Edge, RawSocket, StubBackend, TempDir, narrow_socket, send_text,
    within_bound,
};

/// Events of a flood: more than sockets hold (64 MiB).
const EVENTS: usize = 2_048;

/// Padding of a call that nobody reads.
const CALL_PADDING_BYTES: usize = 64 * 1024;

/// Calls that nobody reads: more than sockets hold (64 MiB).
const CALLS: usize = 1_024;

/// Most memory that the edge may take for one held up connection: its buffers of 256 KiB and what an
/// allocator keeps, but not a flood.
const MEMORY_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Calls of another client that must pass for a connection to count as held up.
const CALLS_MEANWHILE: usize = 100;

/// An edge before stubs `(id, stub)`.
async fn edge_before(stubs: &[(&str, &StubBackend)], more: &str) -> Edge {
    let urls: Vec<_> = stubs.iter().map(|(id, stub)| (*id, stub.url.as_str())).collect();
    let edge = Edge::start_unready(&urls, more, TempDir::create()).await;
    edge.becomes_ready().await;
    edge
}

/// A pipeline in the meeting `name`.
async fn pipeline(socket: &mut RawSocket, name: &str) -> String {
    let params = json!({"type": "MediaPipeline", "properties": {"meeting": name}});
    let request = json!({"jsonrpc": "2.0", "id": name, "method": "create", "params": params});
    let answer = send_text(socket, &request.to_string()).await;
    answer["result"]["value"].as_str().unwrap().to_owned()
}

/// A call of `operation`.
fn invoke(id: &str, object: &str, operation: &str, params: &Value) -> String {
    let params = json!({"object": object, "operation": operation, "operationParams": params});
    json!({"jsonrpc": "2.0", "id": id, "method": "invoke", "params": params}).to_string()
}

async fn next_json(socket: &mut RawSocket) -> Value {
    let message = within_bound("a message", socket.next()).await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_its_backend_and_nobody_else() {
    let stub = StubBackend::start().await;
    let edge = edge_before(&[("a", &stub)], "").await;
    let mut idle = narrow_socket(&edge.url, edge.addr()).await;
    let object = pipeline(&mut idle, "idle").await;
    let (other, _events) = edge.connect().await;
    let others = other.create_pipeline(Some("other")).await.unwrap();
    let before = edge.process.memory_peak_bytes();

    let flood = invoke("flood", &object, "flood", &json!({"count": EVENTS}));
    idle.send(Message::text(flood)).await.unwrap();
    let held_up = async {
        loop {
            let sent = stub.events_sent();
            for _ in 0..CALLS_MEANWHILE {
                other.invoke(&others, "getName", json!({})).await.unwrap();
            }
            if sent > 0 && sent == stub.events_sent() {
                return sent;
            }
        }
    };
    let sent = within_bound("the flood stops", held_up).await;
    assert!(sent < EVENTS, "the backend is held up, not its messages kept");

    assert_eq!(next_json(&mut idle).await["result"]["value"], "flood");
    for number in 0..EVENTS {
        let event = next_json(&mut idle).await;
        let data = &event["params"]["value"]["data"];
        assert_eq!(data["number"], number);
        assert_eq!(data["padding"].as_str().unwrap().len(), EVENT_PADDING_BYTES);
    }
    let answer = send_text(&mut idle, &invoke("after", &object, "getName", &json!({}))).await;
    assert_eq!(answer["result"]["value"], "getName");
    let grown = edge.process.memory_peak_bytes() - before;
    assert!(grown < MEMORY_MAX_BYTES, "{grown} bytes more for {sent} events held up");
}

#[tokio::test]
async fn a_backend_that_does_not_read_holds_up_its_client_until_it_is_given_up() {
    let stubs = [StubBackend::start().await, StubBackend::start().await];
    let more = "[limits]\nwrite_timeout_ms = 1000\n[placement]\nband_km = 0\n";
    let edge = edge_before(&[("a", &stubs[0]), ("b", &stubs[1])], more).await;
    let mut client = narrow_socket(&edge.url, edge.addr()).await;
    let (deaf, well) = (pipeline(&mut client, "deaf").await, pipeline(&mut client, "well").await);
    assert_ne!(edge.backend_of("deaf").await, edge.backend_of("well").await);
    send_text(&mut client, &invoke("0", &deaf, "goDeaf", &json!({}))).await;
    let before = edge.process.memory_peak_bytes();

    let (sent, answers) = send_until_given_up(&mut client, &deaf).await;
    assert!(sent < CALLS, "the client is held up, not its messages kept");
    let grown = edge.process.memory_peak_bytes() - before;
    assert!(grown < MEMORY_MAX_BYTES, "{grown} bytes more for {sent} calls held up");
    let with_code = |code| answers.values().filter(move |answer| answer["error"]["code"] == code);
    assert!(with_code(40003).count() > 0);
    for answer in with_code(40003) {
        assert!(answer["error"]["message"].as_str().unwrap().contains("broke"), "{answer}");
    }
    // What came while the link was opened again had to wait, and there is a bound for that.
    let passed = answers.values().filter(|answer| answer["result"]["value"] == "getName");
    let told = with_code(40003).count() + with_code(40009).count() + passed.count();
    assert_eq!(told, answers.len(), "{answers:?}");

    for (id, object) in [("well", &well), ("deaf", &deaf)] {
        let answer = send_text(&mut client, &invoke(id, object, "getName", &json!({}))).await;
        assert_eq!(answer["result"]["value"], "getName", "{id}");
    }
    let (_, metrics) = edge.admin("/metrics").await;
    assert!(metrics.contains("pinfold_link_failures_total{reason=\"timeout\"} 1\n"), "{metrics}");
}

/// Sends calls to `object` until the first is answered. Gives how many had been sent then, and the
/// answers to all by their id, each of which must be the only one.
async fn send_until_given_up(
    client: &mut RawSocket,
    object: &str,
) -> (usize, BTreeMap<String, Value>) {
    let (mut sink, mut stream) = client.split();
    let (sent, is_done) = (Cell::new(0), Cell::new(false));
    let given_up_at = Cell::new(None);
    let padding = json!({"padding": "x".repeat(CALL_PADDING_BYTES)});
    let sending = async {
        while given_up_at.get().is_none() && sent.get() < CALLS {
            let call = invoke(&sent.get().to_string(), object, "getName", &padding);
            sink.send(Message::text(call)).await.unwrap();
            sent.set(sent.get() + 1);
        }
        is_done.set(true);
    };
    let mut answers = BTreeMap::new();
    let reading = async {
        while !is_done.get() || answers.len() < sent.get() {
            let message = stream.next().await.unwrap().unwrap();
            let answer: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            given_up_at.set(given_up_at.get().or(Some(sent.get())));
            let id = answer["id"].as_str().unwrap().to_owned();
            assert!(answers.insert(id, answer).is_none(), "answered twice");
        }
    };
    within_bound("every answer", async { tokio::join!(sending, reading) }).await;
    (given_up_at.get().unwrap(), answers)
}
