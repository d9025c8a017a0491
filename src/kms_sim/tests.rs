//! The simulated server through a real socket.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Generous: only a broken server gets near it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start_server(latency: Duration) -> (String, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let tasks = Tasks::new();
    let settings = KmsSimSettings { name: "test".into(), latency };
    tasks.spawn_vital("kms-sim", serve(listener, settings, tasks.clone()));
    (addr, tasks)
}

async fn connect(addr: &str, path: &str) -> Client {
    connect_async(format!("ws://{addr}{path}")).await.unwrap().0
}

async fn next(client: &mut Client) -> Option<Result<Message, Error>> {
    tokio::time::timeout(PATIENCE, client.next()).await.unwrap()
}

async fn next_text(client: &mut Client) -> String {
    next(client).await.unwrap().unwrap().into_text().unwrap().to_string()
}

#[tokio::test]
async fn answers_come_in_order_also_when_they_wait() {
    for latency in [Duration::ZERO, Duration::from_millis(2)] {
        let (addr, _tasks) = start_server(latency).await;
        let mut client = connect(&addr, "/kurento?token=x").await;
        for id in 0..5 {
            let ping = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            client.send(Message::text(ping)).await.unwrap();
        }
        for id in 0..5 {
            let pong = format!(r#"{{"id":{id},"jsonrpc":"2.0","result":{{"value":"pong"}}}}"#);
            assert_eq!(next_text(&mut client).await, pong);
        }
    }
}

#[tokio::test]
async fn events_reach_other_connections() {
    let (addr, _tasks) = start_server(Duration::ZERO).await;
    let (mut watcher, mut maker) =
        (connect(&addr, "/kurento").await, connect(&addr, "/kurento").await);
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"object":"manager_ServerManager","type":"ObjectCreated"}}"#;
    watcher.send(Message::text(subscribe)).await.unwrap();
    next_text(&mut watcher).await;
    let create = r#"{"jsonrpc":"2.0","id":1,"method":"create","params":{"type":"MediaPipeline"}}"#;
    maker.send(Message::text(create)).await.unwrap();
    assert!(next_text(&mut watcher).await.contains(r#""type":"ObjectCreated""#));
}

#[tokio::test]
async fn a_wrong_path_opens_and_is_closed() {
    let (addr, _tasks) = start_server(Duration::ZERO).await;
    let mut client = connect(&addr, "/kurento/").await;
    let Some(Ok(Message::Close(Some(frame)))) = next(&mut client).await else { panic!("no close") };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Protocol, "Invalid path"));
}

#[tokio::test]
async fn plain_http_is_told_to_upgrade() {
    let (addr, _tasks) = start_server(Duration::ZERO).await;
    let mut stream = TcpStream::connect(&addr).await.unwrap();
    stream.write_all(b"GET /kurento HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
}

#[tokio::test]
async fn broken_text_and_the_end_of_the_server_cut_without_a_close_frame() {
    let (addr, tasks) = start_server(Duration::ZERO).await;
    let (mut broken, mut proper) =
        (connect(&addr, "/kurento").await, connect(&addr, "/kurento").await);
    broken.send(Message::text("{")).await.unwrap();
    assert!(matches!(next(&mut broken).await, Some(Err(_))));
    tasks.stop();
    assert!(matches!(next(&mut proper).await, Some(Err(_))));
    assert!(tasks.join(PATIENCE).await);
}
