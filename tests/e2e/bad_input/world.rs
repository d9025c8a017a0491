//! An edge in this process before a double, and the inputs of one row tried on it.

use futures_util::{SinkExt, StreamExt};
use pinfold::app::App;
use pinfold::runtime::{Clock, Tasks};
use pinfold::settings::StoreKind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::double::{Double, Heard};
use super::row::{
    AN_ANSWER, Backend, CALL, Client, FromClient, OTHER, Odd, PIPELINE, Row, SESSION, Sent, frame,
};
use crate::e2e::harness::{RawSocket, raw_socket, send_text, wait_for, within_bound};

/// What clients close with when their test is over.
const OVER: Option<u16> = Some(1000);

const CREATE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"create","params":{"type":"MediaPipeline"}}"#;

/// Tries every input of `row`, each on a connection of its own.
pub(super) async fn check(row: Row) {
    let tasks = Tasks::new();
    let world = World::start(&tasks, &row).await;
    // Connected until the end, so that nothing of its links is heard in between.
    let other = world.join_other().await;
    for input in &row.inputs {
        match input {
            Odd::Client(odd) => world.try_client(odd, &row, &other).await,
            Odd::Http(request) => world.try_http(request, row.client).await,
            Odd::Backend(bytes) => world.try_backend(bytes.as_deref(), &row).await,
        }
    }
}

/// A client that has a meeting of its own, its pipeline there, and its session.
struct Other {
    _socket: RawSocket,
    pipeline: String,
    session: String,
}

struct World {
    app: App,
    double: Double,
}

impl World {
    async fn start(tasks: &Tasks, row: &Row) -> Self {
        let Row { limits, listener, .. } = row;
        let double = Double::start(tasks).await;
        let config = format!(
            "[[listeners]]\naddr = \"127.0.0.1:0\"\n{listener}[admin]\naddr = \"127.0.0.1:0\"\n\
             [[backends]]\nid = \"a\"\nurl = \"{}\"\n[limits]\nmessage_max_bytes = 8192\n\
             backend_message_max_bytes = 65536\ndepth_max = 16\n{limits}",
            double.url
        );
        let mut settings = pinfold::settings::parse(&config).unwrap();
        settings.pins.store = StoreKind::Memory;
        let app = App::start(&settings, Clock::start()).await.unwrap();
        let takes_pins = || async { app.backends()[0].takes_pins.then_some(()) };
        wait_for("the backend takes pins", takes_pins).await;
        Self { app, double }
    }

    /// A connection with a pipeline, so that its link is open; and the pipeline.
    async fn join(&self) -> (RawSocket, String) {
        let mut socket = raw_socket(&self.app.urls[0]).await;
        let answer = send_text(&mut socket, CREATE).await;
        self.double.forget();
        (socket, answer["result"]["value"].as_str().unwrap().to_owned())
    }

    async fn join_other(&self) -> Other {
        let mut socket = raw_socket(&format!("{}/others", self.app.urls[0])).await;
        let answer = send_text(&mut socket, CREATE).await;
        let session = r#"{"jsonrpc":"2.0","id":1,"method":"connect","params":{}}"#;
        let connected = send_text(&mut socket, session).await;
        let [pipeline, session] = [&answer["result"]["value"], &connected["result"]["sessionId"]]
            .map(|id| id.as_str().unwrap().to_owned());
        Other { _socket: socket, pipeline, session }
    }

    async fn try_client(&self, odd: &FromClient, row: &Row, other: &Other) {
        let (mut socket, pipeline) = if odd.is_first {
            self.double.forget();
            (raw_socket(&self.app.urls[0]).await, String::new())
        } else {
            self.join().await
        };
        let filled = |text: &String| {
            let text = text.replace(PIPELINE, &pipeline).replace(SESSION, &other.session);
            let escaped = other.pipeline.replace('_', "\\u005f");
            text.replace(OTHER, &other.pipeline).replace("<oth\\u0065r>", &escaped)
        };
        let before: Vec<String> = odd.before.iter().map(filled).collect();
        let (bytes, text) = match &odd.sent {
            Sent::Text(text) => (frame(0x81, filled(text).as_bytes()), filled(text)),
            Sent::Bytes(bytes) => (bytes.clone(), CALL.to_owned()),
        };
        let stream = plain(&mut socket);
        for text in &before {
            stream.write_all(&frame(0x81, text.as_bytes())).await.unwrap();
        }
        stream.write_all(&bytes).await.unwrap();
        if odd.is_last {
            stream.shutdown().await.unwrap();
        }
        assert_client_gets(&mut socket, row.client, &text).await;

        let mut heard: Vec<Heard> = before.into_iter().map(Heard::Text).collect();
        let end = match row.backend {
            Backend::Close(code) => code,
            Backend::Same => {
                heard.push(Heard::Text(text));
                self.end(&mut socket, odd.is_first).await
            }
            Backend::Nothing => self.end(&mut socket, odd.is_first).await,
            Backend::PongFrame | Backend::NewLink => panic!("not by what a client sends"),
        };
        heard.push(Heard::Close(end));
        self.assert_heard(&heard).await;
    }

    /// Checks that the connection goes on, and closes it. A client that has made no link yet makes
    /// one before, because what went to the backend can only be told from its end.
    async fn end(&self, socket: &mut RawSocket, is_first: bool) -> Option<u16> {
        let ping = r#"{"jsonrpc":"2.0","id":"after","method":"ping"}"#;
        let pong = send_text(socket, ping).await;
        assert_eq!((&pong["id"], &pong["result"]["value"]), (&json!("after"), &json!("pong")));
        if is_first {
            send_text(socket, CREATE).await;
            let heard = self.double.heard();
            let is_create = |heard: &Heard| matches!(heard, Heard::Text(t) if t.contains("create"));
            assert!(heard.len() == 1 && is_create(&heard[0]), "{heard:?}");
            self.double.forget();
        }
        let frame = OVER.map(|code| CloseFrame { code: code.into(), reason: "".into() });
        socket.close(frame).await.unwrap();
        OVER
    }

    async fn try_http(&self, request: &[u8], expected: Client) {
        let url = self.app.urls[0].strip_prefix("ws://").unwrap();
        let addr = url.split('/').next().unwrap();
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
        };
        within_bound("a response", reading).await;
        let head = String::from_utf8(head).unwrap().to_lowercase();
        match expected {
            Client::Http(status) => {
                assert_eq!(head.split(' ').nth(1), Some(status.to_string().as_str()), "{head}");
                assert!(!head.contains("sec-websocket-extensions"), "{head}");
                assert!(!head.contains("sec-websocket-protocol"), "{head}");
            }
            Client::Disconnected => assert_eq!(head, ""),
            other => panic!("not by HTTP: {other}"),
        }
        // Whatever came of it would have come before the end of a client that comes later.
        let (mut other, _) = self.join().await;
        self.end(&mut other, false).await;
        self.assert_heard(&[Heard::Close(OVER)]).await;
    }

    async fn try_backend(&self, bytes: Option<&[u8]>, row: &Row) {
        let (mut socket, pipeline) = self.join().await;
        self.double.will_say(bytes.unwrap_or_default());
        let call = |id: u32, operation: &str| {
            let params = json!({"object": pipeline, "operation": operation});
            json!({"jsonrpc": "2.0", "id": id, "method": "invoke", "params": params}).to_string()
        };
        let waiting = call(1, if bytes.is_some() { "say" } else { "hangUp" });
        socket.send(Message::text(waiting.as_str())).await.unwrap();
        assert_client_gets(&mut socket, row.client, &waiting).await;
        let mut heard = vec![Heard::Text(waiting)];
        match row.backend {
            Backend::Nothing => {}
            Backend::PongFrame => heard.push(Heard::Pong),
            Backend::NewLink => {
                return self.assert_new_link(&mut socket, &call(2, "getName")).await;
            }
            Backend::Same | Backend::Close(_) => panic!("not by what a backend sends"),
        }
        // The call that came before waits for its answer; others get theirs.
        let text = call(2, "getName");
        assert_eq!(send_text(&mut socket, &text).await["result"]["serverId"], "double");
        heard.push(Heard::Text(text));
        heard.push(Heard::Close(self.end(&mut socket, false).await));
        self.assert_heard(&heard).await;
    }

    /// The old link was cut, and a new one carries on in the same session.
    async fn assert_new_link(&self, socket: &mut RawSocket, call: &str) {
        let is_tie = |heard: &Heard| matches!(heard, Heard::Text(t) if t.contains("pinfold-tie-"));
        wait_for("a cut link and a new one", || async {
            let heard = self.double.heard();
            (heard.contains(&Heard::Cut) && heard.iter().any(is_tie)).then_some(())
        })
        .await;
        assert_eq!(send_text(socket, call).await["result"]["serverId"], "double");
    }

    /// Waits until the double has heard as much as `expected`, and compares.
    async fn assert_heard(&self, expected: &[Heard]) {
        let ended = || async {
            let heard = self.double.heard();
            heard.iter().any(|one| matches!(one, Heard::Close(_) | Heard::Cut)).then_some(heard)
        };
        assert_eq!(wait_for("the end of the link", ended).await, expected);
    }
}

/// The bytes below the WebSocket.
fn plain(socket: &mut RawSocket) -> &mut TcpStream {
    match socket.get_mut() {
        MaybeTlsStream::Plain(stream) => stream,
        _ => panic!("no TLS was asked for"),
    }
}

/// Holds what comes next against `expected`; `text` is the request, if it can be read.
async fn assert_client_gets(socket: &mut RawSocket, expected: Client, text: &str) {
    if matches!(expected, Client::Nothing) {
        return;
    }
    let next = within_bound("what the client gets", socket.next()).await;
    let id = || serde_json::from_str::<Value>(text).unwrap()["id"].clone();
    let json = || -> Value {
        let message = next.as_ref().unwrap().as_ref().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    };
    match expected {
        Client::Error(code) => {
            let answer = json();
            assert_eq!(
                (&answer["error"]["code"], &answer["id"]),
                (&json!(code), &id()),
                "{answer}"
            );
        }
        Client::ErrorWithoutId(code) => {
            let (answer, null) = (json(), Value::Null);
            assert_eq!(
                (&answer["error"]["code"], &answer["id"]),
                (&json!(code), &null),
                "{answer}"
            );
        }
        Client::BackendAnswer => assert_eq!(json()["result"]["serverId"], "double", "{}", json()),
        Client::Success => {
            let answer = json();
            assert!(answer.get("result").is_some_and(|r| r["serverId"] != "double"), "{answer}");
            assert_eq!(answer["id"], id());
        }
        Client::PongWithoutSession => assert_eq!(json()["result"], json!({"value": "pong"})),
        Client::PongFrameAndAnswer => {
            assert!(matches!(next, Some(Ok(Message::Pong(_)))), "{next:?}");
            let next = within_bound("the answer", socket.next()).await.unwrap().unwrap();
            let answer: Value = serde_json::from_str(next.to_text().unwrap()).unwrap();
            assert_eq!(answer["result"]["serverId"], "double", "{answer}");
        }
        Client::AsSaid => {
            let text = next.as_ref().unwrap().as_ref().unwrap().to_text().unwrap();
            assert!(text.starts_with(AN_ANSWER), "{text}");
        }
        Client::PongFrame => assert!(matches!(next, Some(Ok(Message::Pong(_)))), "{next:?}"),
        Client::Event => assert_eq!(json()["method"], "onEvent", "{}", json()),
        Client::Close(code) => {
            let Some(Ok(Message::Close(frame))) = next else { panic!("{next:?}") };
            assert_eq!(frame.map(|frame| u16::from(frame.code)), code);
        }
        Client::Disconnected => assert!(!matches!(next, Some(Ok(_))), "{next:?}"),
        Client::Nothing | Client::Http(_) => panic!("not by a message"),
    }
}
