//! A backend that notes what it gets on links and answers as the message itself says.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use pinfold::runtime::Tasks;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// What came on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A text message.
    Text(String),
    /// A pong frame.
    Pong,
    /// A close frame with this code.
    Close(Option<u16>),
    /// The end without a close frame.
    Cut,
}

/// A running double. Its tasks end with the test.
#[derive(Clone, Debug)]
pub(super) struct Double {
    pub(super) url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    says: Arc<Mutex<Vec<u8>>>,
}

impl Double {
    pub(super) async fn start(tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/kurento", listener.local_addr().unwrap());
        let double = Self { url, heard: Arc::default(), says: Arc::default() };
        let (accepting, tasks_of_links) = (double.clone(), tasks.clone());
        tasks.spawn("double", async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks_of_links.spawn("double link", accepting.clone().serve(stream));
            }
        });
        double
    }

    /// What came since the start, or since `forget`, on all links.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// What the next `invoke` of `say` makes it send.
    pub(super) fn will_say(&self, bytes: &[u8]) {
        *self.says.lock().unwrap() = bytes.to_vec();
    }

    pub(super) fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    fn note(&self, heard: Heard) {
        self.heard.lock().unwrap().push(heard);
    }

    async fn serve(self, stream: TcpStream) {
        let Ok(mut socket) = accept_async(stream).await else { return };
        let mut is_probe = false;
        let mut end = Heard::Cut;
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(text) => {
                    is_probe |= text.contains("pinfold-probe-") || text.contains("pinfold-ask-");
                    if !is_probe {
                        self.note(Heard::Text(text.to_string()));
                    }
                    if !self.answer(&mut socket, &text).await {
                        break;
                    }
                }
                Message::Pong(_) => self.note(Heard::Pong),
                Message::Close(frame) => end = Heard::Close(frame.map(|frame| frame.code.into())),
                Message::Binary(_) | Message::Ping(_) | Message::Frame(_) => {}
            }
        }
        if !is_probe {
            self.note(end);
        }
    }

    /// Answers one message; `false` if that is to hang up.
    ///
    /// `invoke` of `say` sends the bytes it was told instead, if it has not done so, of `silence` and
    /// `stopAndWait` nothing, and `hangUp` ends the connection.
    async fn answer(&self, socket: &mut WebSocketStream<TcpStream>, text: &str) -> bool {
        let request: Value = serde_json::from_str(text).unwrap();
        let operation = request["params"]["operation"].as_str();
        let value = match (request["method"].as_str().unwrap(), operation) {
            ("create", _) => json!(format!("{}_kurento.MediaPipeline", uuid())),
            ("invoke", Some("getInfo")) => json!({"version": "7.3.0"}),
            ("invoke", Some("silence" | "stopAndWait")) => return true,
            ("invoke", Some("hangUp")) => return false,
            ("invoke", Some("say")) => {
                let bytes = std::mem::take(&mut *self.says.lock().unwrap());
                if !bytes.is_empty() {
                    return socket.get_mut().write_all(&bytes).await.is_ok();
                }
                json!("said before")
            }
            _ => json!("by the double"),
        };
        let result = json!({"serverId": "double", "sessionId": "double", "value": value});
        // The edge's own questions: it has no object or session of others.
        if request["id"].as_str().is_some_and(|id| id.starts_with("pinfold-ask-")) {
            let error = json!({"code": 40101, "message": "not here"});
            let answer = json!({"id": request["id"], "jsonrpc": "2.0", "error": error});
            return socket.send(Message::text(answer.to_string())).await.is_ok();
        }
        let answer = json!({"id": request["id"], "jsonrpc": "2.0", "result": result});
        socket.send(Message::text(answer.to_string())).await.is_ok()
    }
}

fn uuid() -> String {
    pinfold::model::SessionId::from_random(pinfold::runtime::random::secret()).to_string()
}
