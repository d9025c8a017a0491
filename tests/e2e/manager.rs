//! The server manager as one object for the whole fleet, seen by clients that check each answer.

use pinfold::load::{Client, Events};
use serde_json::{Value, json};

use crate::e2e::harness::{
    Edge, KmsSim, StubBackend, TempDir, raw_socket, send_text, wait_for, within_bound,
};

const MANAGER: &str = "manager_ServerManager";

async fn invoke(client: &Client, operation: &str) -> Value {
    let params = json!({"object": MANAGER, "operation": operation});
    client.call("invoke", params).await.unwrap()["value"].clone()
}

async fn subscribe(client: &Client, event: &str) {
    client.call("subscribe", json!({"object": MANAGER, "type": event})).await.unwrap();
}

/// Waits for the event of the manager about `object`.
async fn hears(events: &mut Events, kind: &str, object: &str) {
    let member = if kind == "ObjectCreated" { "object" } else { "objectId" };
    let heard = async {
        while let Some(event) = events.find(MANAGER, kind).await {
            if event.data[member] == object {
                return;
            }
        }
        panic!("the connection ended");
    };
    within_bound(kind, heard).await;
}

#[tokio::test]
async fn a_backend_that_joins_later_is_heard_too() {
    let mut sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (listener, mut events) = edge.connect().await;
    subscribe(&listener, "ObjectCreated").await;
    sims[1].process.signal("KILL");
    sims[1].process.exited().await;
    let address = sims[1].url.strip_prefix("ws://").unwrap().split('/').next().unwrap().to_owned();
    let gone = || async { (edge.backends().await[1]["health"] == "ejected").then_some(()) };
    wait_for("the ejection", gone).await;
    sims[1] = KmsSim::start_at("b", &address, &[]).await;
    edge.becomes_ready().await;

    let (maker, _events) = edge.connect().await;
    let mut on_b = None;
    for number in 0..16 {
        let pipeline = maker.create_pipeline(Some(&format!("room-{number}"))).await.unwrap();
        hears(&mut events, "ObjectCreated", &pipeline).await;
        if sims[1].has(&pipeline).await {
            on_b = Some(pipeline);
            break;
        }
    }
    assert!(on_b.is_some(), "none of 16 meetings was placed on the new backend");
}

#[tokio::test]
async fn no_link_and_no_backend_is_needed_for_what_the_edge_knows() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    subscribe(&client, "ObjectCreated").await;
    subscribe(&client, "ObjectDestroyed").await;
    for operation in ["getInfo", "getPipelines", "getSessions", "getCpuCount", "getName"] {
        invoke(&client, operation).await;
    }
    for backend in edge.backends().await {
        assert_eq!(backend["links"], 0, "{backend}");
    }
}

/// What KMS does by `getPipelines`, which refers every object into the session without a name and
/// so stops its garbage collection, and by a long `getUsedCpu`, which blocks one of its threads.
#[tokio::test]
async fn lists_and_measurements_do_not_reach_a_backend() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(None).await.unwrap();
    assert_eq!(invoke(&client, "getPipelines").await, json!([pipeline]));
    // As long as an hour, were it asked.
    let params = json!({"object": MANAGER, "operation": "getUsedCpu",
        "operationParams": {"interval": 3_600_000}});
    let answer = within_bound("a measurement", client.call("invoke", params)).await.unwrap();
    assert!(answer["value"].is_number(), "{answer}");
    let (direct, _events) = Client::connect(&sims[0].url).await.unwrap();
    let sessions = invoke(&direct, "getSessions").await;
    let nameless = sessions.as_array().unwrap().iter().filter(|one| **one == json!("")).count();
    let named = sessions.as_array().unwrap().len() - nameless;
    assert_eq!(nameless, named, "an empty place for each, and no session without a name");
}

#[tokio::test]
async fn name_and_tags_are_one_for_all_clients_and_go_into_events() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let mut one = raw_socket(&edge.url).await;
    let (two, mut events) = edge.connect().await;
    for (operation, arguments) in [
        ("setName", json!({"name": "front \"desk\""})),
        ("addTag", json!({"key": "owner", "value": "ops"})),
        ("setSendTagsInEvents", json!({"sendTagsInEvents": true})),
    ] {
        let params = json!({"object": MANAGER, "operation": operation,
            "operationParams": arguments});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "invoke", "params": params});
        let answer = send_text(&mut one, &call.to_string()).await;
        assert_eq!(answer["result"]["value"], Value::Null, "{answer}");
        assert!(answer["result"]["sessionId"].is_string(), "{answer}");
    }
    assert_eq!(invoke(&two, "getName").await, "front \"desk\"");
    let tag = json!({"__module__": "kurento", "__type__": "Tag", "key": "owner", "value": "ops"});
    assert_eq!(invoke(&two, "getTags").await, json!([tag]));
    subscribe(&two, "ObjectCreated").await;
    let pipeline = two.create_pipeline(None).await.unwrap();
    let event = within_bound("the event", events.find(MANAGER, "ObjectCreated")).await.unwrap();
    assert_eq!(event.data["object"], pipeline);
    assert_eq!((&event.data["tags"][0], &event.data["source"]), (&tag, &json!(MANAGER)));
}

#[tokio::test]
async fn a_fleet_is_told_by_what_all_its_backends_have() {
    let [sim] = KmsSim::start_all(["a"]).await;
    let stub = StubBackend::start().await;
    let backends = [("a", sim.url.as_str()), ("stub", stub.url.as_str())];
    let edge = Edge::start_unready(&backends, "", TempDir::create()).await;
    edge.becomes_ready().await;
    let (client, _events) = edge.connect().await;
    // The stub has no module at all, so neither has the fleet.
    assert_eq!(invoke(&client, "getInfo").await["modules"], json!([]));
}

#[tokio::test]
async fn a_transaction_may_hold_what_every_backend_answers_alike_and_nothing_else() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let operation = |method: &str, operation: &str| {
        let params = json!({"object": MANAGER, "operation": operation, "type": "ObjectCreated"});
        json!({"operations": [{"jsonrpc": "2.0", "id": 0, "method": method, "params": params}]})
    };
    let answer = client.call("transaction", operation("describe", "")).await.unwrap();
    assert_eq!(answer["value"][0]["result"]["type"], "ServerManager", "{answer}");
    for (method, name) in [("invoke", "getPipelines"), ("subscribe", ""), ("invoke", "getName")] {
        let refused = client.call("transaction", operation(method, name)).await.unwrap_err();
        assert_eq!(refused.code(), Some(40008), "{method} {name}: {refused}");
    }
}

/// A Kurento server carries out the calls of a connection in their order, so what is made after
/// `subscribe` is heard of, even if both were sent at once.
#[tokio::test]
async fn what_is_made_right_behind_a_subscription_is_heard() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (client, mut events) = edge.connect().await;
    let subscribing = subscribe(&client, "ObjectCreated");
    let ((), pipeline) =
        futures_util::future::join(subscribing, client.create_pipeline(None)).await;
    hears(&mut events, "ObjectCreated", &pipeline.unwrap()).await;
}

/// The session that `client` has.
async fn session_of(client: &Client) -> String {
    let answer = client.call("describe", json!({"object": MANAGER})).await.unwrap();
    answer["sessionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_that_comes_back_hears_the_manager_again() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    for more in ["", "[sessions]\nhold_ms = 0\n"] {
        let edge = Edge::start_with(&sims, more, TempDir::create()).await;
        let (client, _events) = edge.connect().await;
        subscribe(&client, "ObjectCreated").await;
        // With a link, so that the session is held where that is the setting.
        client.create_pipeline(Some("standup")).await.unwrap();
        let session = session_of(&client).await;
        drop(client);
        if !more.is_empty() {
            let closed = || async {
                let backends = edge.backends().await;
                backends.iter().all(|backend| backend["links"] == 0).then_some(())
            };
            wait_for("its links are closed", closed).await;
        }

        let (client, mut events) = edge.connect().await;
        client.call("connect", json!({"sessionId": session})).await.unwrap();
        let (maker, _events) = edge.connect().await;
        let pipeline = maker.create_pipeline(None).await.unwrap();
        hears(&mut events, "ObjectCreated", &pipeline).await;
        assert_eq!(session_of(&client).await, session);
    }
}
