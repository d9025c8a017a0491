//! A backend in the process of the test, which does on request what no healthy one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::socket::narrow_tcp;

/// Bytes of padding in each event of a flood.
pub(crate) const EVENT_PADDING_BYTES: usize = 32 * 1024;

/// A backend that answers as a KMS would, and knows two operations more, of any object:
/// - `flood {count}`: answers, then sends that many events, numbered from 0;
/// - `goDeaf`: answers, then never reads from that connection again, and does not close it.
#[derive(Debug)]
pub(crate) struct StubBackend {
    /// Its `ws://` address.
    pub(crate) url: String,
    events_sent: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl StubBackend {
    pub(crate) async fn start() -> Self {
        let socket = narrow_tcp();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let url = format!("ws://{}/kurento", listener.local_addr().unwrap());
        let events_sent = Arc::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&events_sent)));
        Self { url, events_sent, _accepting: accepting }
    }

    /// Events of floods that the system has taken from it.
    pub(crate) fn events_sent(&self) -> usize {
        self.events_sent.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, events_sent: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let events_sent = Arc::clone(&events_sent);
        connections.spawn(async move {
            if let Ok(socket) = accept_async(stream).await {
                // An end of the connection is the other side's business.
                let _ = serve(socket, &events_sent).await;
            }
        });
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn serve(
    mut socket: Socket,
    events_sent: &AtomicUsize,
) -> tokio_tungstenite::tungstenite::Result<()> {
    let mut session = Value::Null;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let call: Value = serde_json::from_str(&text).unwrap();
        let params = &call["params"];
        if session.is_null() {
            session = params["sessionId"].clone();
        }
        let result = json!({"sessionId": session, "value": value(&call), "serverId": "stub"});
        let answer = json!({"id": call["id"], "jsonrpc": "2.0", "result": result});
        socket.send(Message::text(answer.to_string())).await?;
        match params["operation"].as_str() {
            Some("flood") => {
                for number in 0..params["operationParams"]["count"].as_u64().unwrap() {
                    socket.send(event(&params["object"], number)).await?;
                    events_sent.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some("goDeaf") => std::future::pending().await,
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// What `call` gives.
fn value(call: &Value) -> Value {
    static PIPELINES: AtomicU64 = AtomicU64::new(1);
    match (call["method"].as_str().unwrap(), call["params"]["operation"].as_str()) {
        ("ping", _) => json!("pong"),
        ("create", _) => {
            let number = PIPELINES.fetch_add(1, Ordering::Relaxed);
            json!(format!("00000000-0000-4000-8000-{number:012x}_kurento.MediaPipeline"))
        }
        (_, Some("getInfo")) => json!({"version": "7.3.1", "modules": []}),
        (_, Some(operation)) => json!(operation),
        (_, None) => Value::Null,
    }
}

fn event(object: &Value, number: u64) -> Message {
    let data = json!({"number": number, "padding": "x".repeat(EVENT_PADDING_BYTES)});
    let value = json!({"object": object, "type": "Flood", "data": data});
    let event = json!({"jsonrpc": "2.0", "method": "onEvent", "params": {"value": value}});
    Message::text(event.to_string())
}
