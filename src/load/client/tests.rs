//! The client against a scripted server, over a pipe in memory.

use futures_util::future::join;
use tokio::io::DuplexStream;

use super::*;

type Server = WebSocketStream<DuplexStream>;

/// A client and the server it is connected to.
async fn connected() -> (Client, Events, Server) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let opening = Client::on_stream("ws://kms/kurento", near);
    let (client, server) = join(opening, tokio_tungstenite::accept_async(far)).await;
    let (client, events) = client.unwrap();
    (client, events, server.unwrap())
}

/// The id of the next request.
async fn next_id(server: &mut Server) -> Value {
    let text = server.next().await.unwrap().unwrap().into_text().unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["id"].clone()
}

async fn answer(server: &mut Server, id: &Value, value: &str) {
    let text = json!({"id": id, "jsonrpc": "2.0", "result": {"value": value}}).to_string();
    server.send(Message::text(text)).await.unwrap();
}

#[tokio::test]
async fn calls_at_once_get_their_own_answers() {
    let (client, _events, mut server) = connected().await;
    let serving = async {
        let (first, second) = (next_id(&mut server).await, next_id(&mut server).await);
        answer(&mut server, &second, "second").await;
        answer(&mut server, &first, "first").await;
    };
    let calls = join(client.call("ping", json!({})), client.call("ping", json!({})));
    let ((first, second), ()) = join(calls, serving).await;
    assert_eq!(first.unwrap()["value"], "first");
    assert_eq!(second.unwrap()["value"], "second");
    assert_eq!(client.stray_count(), 0);
}

#[tokio::test]
async fn too_many_events_are_dropped_and_answers_still_come() {
    let (client, mut events, mut server) = connected().await;
    let serving = async {
        let id = next_id(&mut server).await;
        for number in 0..EVENTS_MAX + 3 {
            let value = json!({"object": "o", "type": "T", "data": number});
            let event = json!({"method": "onEvent", "params": {"value": value}}).to_string();
            server.send(Message::text(event)).await.unwrap();
        }
        answer(&mut server, &id, "pong").await;
    };
    let (reply, ()) = join(client.call("ping", json!({})), serving).await;
    assert_eq!(reply.unwrap()["value"], "pong");
    assert_eq!(client.events_dropped_count(), 3);
    assert_eq!(events.find("o", "T").await.unwrap().data, 0, "the oldest are kept");
}

#[tokio::test(start_paused = true)]
async fn the_close_code_reaches_whoever_waits() {
    let (client, _events, mut server) = connected().await;
    let serving = async {
        next_id(&mut server).await;
        let frame = CloseFrame { code: CloseCode::Away, reason: "restart".into() };
        server.close(Some(frame)).await.unwrap();
        while server.next().await.is_some() {}
    };
    let (reply, ()) = join(client.call("ping", json!({})), serving).await;
    let ending = Ending { code: Some(1001), reason: "restart".to_owned() };
    assert_eq!(reply, Err(CallError::Ended(ending.clone())));
    assert_eq!(client.ended().await, ending);
    assert!(client.call("ping", json!({})).await.is_err());
}

#[tokio::test]
async fn closing_says_1000_and_dropping_cuts() {
    let (client, _events, mut server) = connected().await;
    let serving = async {
        let message = server.next().await.unwrap().unwrap();
        assert!(matches!(message, Message::Close(Some(frame)) if frame.code == CloseCode::Normal));
        while server.next().await.is_some() {}
    };
    join(client.close(), serving).await;

    let (client, _events, mut server) = connected().await;
    drop(client);
    assert!(server.next().await.unwrap().is_err(), "cut without a close frame");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_answer_ends_in_time_and_its_late_answer_is_a_stray() {
    let (client, _events, mut server) = connected().await;
    let reply = client.call("ping", json!({})).await;
    assert_eq!(reply, Err(CallError::Timeout(CALL_TIMEOUT)));
    let id = next_id(&mut server).await;
    answer(&mut server, &id, "late").await;
    let serving = async {
        let id = next_id(&mut server).await;
        answer(&mut server, &id, "in time").await;
    };
    let (reply, ()) = join(client.call("ping", json!({})), serving).await;
    assert_eq!(reply.unwrap()["value"], "in time");
    assert_eq!(client.stray_count(), 1);
}

#[tokio::test]
async fn a_request_over_the_bound_is_not_sent() {
    let (client, _events, _server) = connected().await;
    let params = json!({"value": "x".repeat(REQUEST_MAX_LEN)});
    let reply = client.call("invoke", params).await;
    assert!(matches!(reply, Err(CallError::TooLong(len)) if len > REQUEST_MAX_LEN));
}

#[test]
fn only_plain_urls_have_a_tcp_address() {
    assert_eq!(tcp_addr("ws://127.0.0.1:8888/kurento").unwrap(), "127.0.0.1:8888");
    assert_eq!(tcp_addr("ws://[::1]:8888/kurento").unwrap(), "[::1]:8888");
    assert_eq!(tcp_addr("ws://kms/kurento").unwrap(), "kms:80");
    for bad in ["wss://kms/kurento", "kms", "", "ws:///kurento"] {
        assert!(tcp_addr(bad).is_err(), "{bad}");
    }
}
