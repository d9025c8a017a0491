//! Frames between client and backend, both ways, over a plain WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::e2e::harness::{Edge, KmsSim, raw_socket, send_text, wait_for, within_bound};

/// Makes a pipeline in the meeting `name` and gives its id.
async fn pipeline(socket: &mut super::harness::RawSocket, name: &str) -> String {
    let params = json!({"type": "MediaPipeline", "properties": {"meeting": name}});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "create", "params": params});
    let answer = send_text(socket, &request.to_string()).await;
    answer["result"]["value"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_in_fragments_is_one_message() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let mut socket = raw_socket(&edge.url).await;
    let pipeline = pipeline(&mut socket, "standup").await;
    let params = json!({"object": pipeline, "operation": "getName"});
    let request = json!({"jsonrpc": "2.0", "id": 2, "method": "invoke", "params": params});
    let text = request.to_string();
    let (head, tail) = text.as_bytes().split_at(text.len() / 2);
    let fragments = [
        Frame::message(head.to_vec(), OpCode::Data(Data::Text), false),
        // A control frame may stand between fragments.
        Frame::ping(b"between".as_slice()),
        Frame::message(tail.to_vec(), OpCode::Data(Data::Continue), true),
    ];
    for fragment in fragments {
        socket.send(Message::Frame(fragment)).await.unwrap();
    }
    let (mut answer, mut pong) = (None, None);
    while answer.is_none() || pong.is_none() {
        match within_bound("answer and pong", socket.next()).await.unwrap().unwrap() {
            Message::Text(text) => answer = Some(text),
            Message::Pong(payload) => pong = Some(payload),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pong.unwrap().as_ref(), b"between");
    let answer: serde_json::Value = serde_json::from_str(&answer.unwrap()).unwrap();
    assert_eq!((&answer["id"], &answer["result"]["value"]), (&json!(2), &json!(pipeline)));
}

#[tokio::test]
async fn a_ping_is_answered_and_a_close_code_is_echoed() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    for code in [1000, 1001, 4321] {
        let mut socket = raw_socket(&edge.url).await;
        pipeline(&mut socket, "standup").await;
        socket.send(Message::Ping(b"still there?".as_slice().into())).await.unwrap();
        let pong = within_bound("pong", socket.next()).await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong(b"still there?".as_slice().into()));
        let frame = CloseFrame { code: code.into(), reason: "enough".into() };
        socket.close(Some(frame)).await.unwrap();
        let echo = within_bound("close", socket.next()).await.unwrap().unwrap();
        let Message::Close(Some(frame)) = echo else { panic!("{echo:?}") };
        assert_eq!(u16::from(frame.code), code);
    }
}

#[tokio::test]
async fn ids_and_text_come_back_as_they_were() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let mut socket = raw_socket(&edge.url).await;
    let pipeline = pipeline(&mut socket, "standup").await;
    let name = format!("Zoë \u{1f600} \"{pipeline}\" \\ / \u{2028}");
    for id in [json!(0), json!("text"), json!(-5), json!(9_007_199_254_740_993_u64)] {
        let params = json!({"object": pipeline, "operation": "setName",
            "operationParams": {"name": name}});
        let set = json!({"jsonrpc": "2.0", "id": id, "method": "invoke", "params": params});
        let answer = send_text(&mut socket, &set.to_string()).await;
        assert_eq!(answer["id"], id, "{answer}");
        // The same id again within 20 s would get the stored answer.
        let other_id = json!(format!("{id} again"));
        let params = json!({"object": pipeline, "operation": "getName"});
        let get = json!({"jsonrpc": "2.0", "id": other_id, "method": "invoke", "params": params});
        let answer = send_text(&mut socket, &get.to_string()).await;
        assert_eq!(answer["result"]["value"], name);
    }
}

#[tokio::test]
async fn a_session_has_one_id_over_all_backends() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let mut session_ids = Vec::new();
    for number in 0..12 {
        let properties = json!({"meeting": format!("meeting-{number}")});
        let params = json!({"type": "MediaPipeline", "properties": properties});
        let result = client.call("create", params).await.unwrap();
        session_ids.push(result["sessionId"].as_str().unwrap().to_owned());
    }
    session_ids.dedup();
    assert_eq!(session_ids.len(), 1, "{session_ids:?}");
    let links: Vec<_> = edge.backends().await.iter().map(|one| one["links"].clone()).collect();
    assert_eq!(links, [1, 1, 1], "one link to each backend");
}

#[tokio::test]
async fn events_reach_the_client_that_subscribed() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let ((ana, mut heard_by_ana), (ben, mut heard_by_ben)) =
        tokio::join!(edge.connect(), edge.connect());
    for (client, events) in [(&ana, &mut heard_by_ana), (&ben, &mut heard_by_ben)] {
        let pipeline = client.create_pipeline(Some("standup")).await.unwrap();
        let endpoint = client.create_endpoint(&pipeline).await.unwrap();
        client.subscribe(&endpoint, "IceCandidateFound").await.unwrap();
        client.process_offer(&endpoint, pinfold::load::OFFER_SDP).await.unwrap();
        client.gather_candidates(&endpoint).await.unwrap();
        let event = within_bound("a candidate", events.next()).await.unwrap();
        assert_eq!((event.object, event.kind.as_str()), (endpoint, "IceCandidateFound"));
    }
}

#[tokio::test]
async fn a_meeting_named_in_the_url_is_the_one_named_in_properties() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let urls =
        [format!("{}/weekly", edge.url), format!("{}?meeting=weekly", edge.url), edge.url.clone()];
    let mut pipelines = Vec::new();
    let mut clients = Vec::new();
    for url in urls {
        let (client, events) = pinfold::load::Client::connect(&url).await.unwrap();
        let meeting = (url == edge.url).then_some("weekly");
        pipelines.push(client.create_pipeline(meeting).await.unwrap());
        clients.push((client, events));
    }
    assert_eq!(edge.meetings().await.len(), 1);
    let backend = edge.backend_of("weekly").await;
    let sim = sims.iter().find(|sim| sim.id == backend).unwrap();
    for pipeline in &pipelines {
        assert!(sim.has(pipeline).await, "{pipeline} is on {backend}");
    }
}

#[tokio::test]
async fn a_pinned_meeting_ends_with_its_grace() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[pins]\ngrace_ms = 0\n";
    let edge = Edge::start_with(&sims, more, super::harness::TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(Some("standup")).await.unwrap();
    assert_eq!(edge.meetings().await.len(), 1);
    client.release(&pipeline).await.unwrap();
    client.close().await;
    let unpinned = || async { edge.meetings().await.is_empty().then_some(()) };
    wait_for("the pin ends", unpinned).await;
}

#[tokio::test]
async fn what_a_client_sends_right_before_it_hangs_up_still_happens() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let mut watcher = raw_socket(&edge.url).await;
    let pipeline = pipeline(&mut watcher, "standup").await;
    let mut hasty = raw_socket(&edge.url).await;
    let release = json!({"jsonrpc": "2.0", "id": 1, "method": "release", "params":
        {"object": pipeline}});
    hasty.send(Message::text(release.to_string())).await.unwrap();
    drop(hasty);
    let gone = async {
        // A repeated id would get the backend's stored answer.
        for id in 2.. {
            let describe = json!({"jsonrpc": "2.0", "id": id, "method": "describe", "params":
                {"object": pipeline}});
            let answer = send_text(&mut watcher, &describe.to_string()).await;
            if answer["error"]["code"] == 40101 {
                break;
            }
        }
    };
    within_bound("the pipeline to be gone", gone).await;
}
