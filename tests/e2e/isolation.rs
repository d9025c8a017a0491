//! Listeners that keep their clients apart, and clients of these that come back.

use pinfold::load::{Client, Events};
use serde_json::{Value, json};

use crate::e2e::harness::{Edge, KmsSim, TempDir};

const MANAGER: &str = "manager_ServerManager";

/// Sessions are found away as soon as their client has gone.
fn config(isolation: &str) -> String {
    format!("isolation = \"{isolation}\"\n[sessions]\nhold_ms = 0\n")
}

async fn pipeline(client: &Client, meeting: &str) -> String {
    client.create_pipeline(Some(meeting)).await.unwrap()
}

async fn session(client: &Client) -> String {
    let connected = client.call("connect", json!({})).await.unwrap();
    connected["sessionId"].as_str().unwrap().to_owned()
}

/// The code that a call is refused with; 0 for a success.
async fn code(client: &Client, method: &str, params: Value) -> i64 {
    client.call(method, params).await.map_or_else(|error| error.code().unwrap(), |_| 0)
}

async fn touches(client: &Client, object: &str) -> bool {
    match code(client, "describe", json!({"object": object})).await {
        0 => true,
        40101 => false,
        other => panic!("{other}"),
    }
}

async fn listed(client: &Client) -> Value {
    client.invoke(MANAGER, "getPipelines", json!({})).await.unwrap()
}

/// Comes back over another connection, whose URL ends in `path`.
async fn resume(edge: &Edge, path: &str, session: &str) -> (Client, Events) {
    let (client, events) = Client::connect(&format!("{}{path}", edge.url)).await.unwrap();
    client.call("connect", json!({"sessionId": session})).await.unwrap();
    (client, events)
}

#[tokio::test]
async fn a_meeting_is_seen_by_those_who_take_part_in_it() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start_with(&sims, &config("meeting"), TempDir::create()).await;
    let (ana, _events) = edge.connect().await;
    let standup = pipeline(&ana, "standup").await;
    let (ben, _events) = Client::connect(&format!("{}/standup", edge.url)).await.unwrap();
    let (eve, _events) = edge.connect().await;
    let other = pipeline(&eve, "other").await;
    assert!(touches(&ben, &standup).await, "his URL names the meeting");
    assert!(!touches(&eve, &standup).await && !touches(&ben, &other).await);
    assert_eq!(listed(&eve).await, json!([other]));
    let missing = "aaaaaaaa-0000-4000-8000-000000000001_kurento.MediaPipeline";
    let refusal = |object: String| {
        let eve = &eve;
        async move {
            let refused = eve.call("describe", json!({"object": object})).await.unwrap_err();
            refused.to_string().replace(&object, "X")
        }
    };
    let [there, missing] = [refusal(standup.clone()).await, refusal(missing.to_owned()).await];
    assert_eq!(there, missing, "nothing tells that it exists");
}

#[tokio::test]
async fn a_client_that_comes_back_touches_what_it_did_and_no_more() {
    for (isolation, sees_ben_s) in [("meeting", true), ("session", false)] {
        let sims = KmsSim::start_all(["a", "b"]).await;
        let edge = Edge::start_with(&sims, &config(isolation), TempDir::create()).await;
        let (ana, _events) = edge.connect().await;
        let (own, id) = (pipeline(&ana, "standup").await, session(&ana).await);
        let (ben, _events) = edge.connect().await;
        let (theirs, foreign) = (pipeline(&ben, "standup").await, pipeline(&ben, "other").await);
        drop(ana);
        let (ana, _events) = resume(&edge, "", &id).await;
        assert!(touches(&ana, &own).await, "{isolation}");
        assert_eq!(touches(&ana, &theirs).await, sees_ben_s, "{isolation}");
        assert!(!touches(&ana, &foreign).await, "{isolation}");
        assert_eq!(touches(&ben, &own).await, sees_ben_s, "{isolation}");
    }
}

#[tokio::test]
async fn after_a_restart_a_pipeline_is_for_those_who_had_a_session_before() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_with(&sims, &config("meeting"), TempDir::create()).await;
    let (ana, _events) = edge.connect().await;
    let (own, anas) = (pipeline(&ana, "standup").await, session(&ana).await);
    let (ben, _events) = Client::connect(&format!("{}/standup", edge.url)).await.unwrap();
    assert!(touches(&ben, &own).await);
    let bens = session(&ben).await;
    edge.process.signal("KILL");

    let edge = Edge::start_with(&sims, &config("meeting"), TempDir::create()).await;
    let (eve, _events) = edge.connect().await;
    pipeline(&eve, "other").await;
    assert!(!touches(&eve, &own).await, "nobody is back yet");
    let (ana, _events) = resume(&edge, "/standup", &anas).await;
    assert!(touches(&ana, &own).await);
    let (ben, _events) = resume(&edge, "/standup", &bens).await;
    assert!(touches(&ben, &own).await, "the same meeting");
    assert!(!touches(&eve, &own).await);
    assert_eq!(listed(&ben).await, json!([own]));
}

#[tokio::test]
async fn after_a_restart_a_meeting_is_of_those_who_take_part_in_it() {
    let sims = KmsSim::start_all(["a"]).await;
    let mut edge = Edge::start_with(&sims, &config("meeting"), TempDir::create()).await;
    let (ana, _events) = edge.connect().await;
    let (standup, anas) = (pipeline(&ana, "standup").await, session(&ana).await);
    let (cleo, _events) = edge.connect().await;
    let (cleos_own, cleos) = (pipeline(&cleo, "standup").await, session(&cleo).await);
    let (eve, _events) = edge.connect().await;
    pipeline(&eve, "other").await;
    let eves = session(&eve).await;
    edge.process.signal("KILL");
    edge.process.exited().await;

    let edge = Edge::start_with(&sims, &config("meeting"), edge.into_dir()).await;
    let (eve, _events) = resume(&edge, "", &eves).await;
    assert!(!touches(&eve, &standup).await, "what is on disk says whose it is");
    let (ben, _events) = Client::connect(&format!("{}/standup", edge.url)).await.unwrap();
    assert!(touches(&ben, &standup).await, "before anybody of the meeting is back");
    for (who, own, others) in [(&anas, &standup, &cleos_own), (&cleos, &cleos_own, &standup)] {
        let (client, _events) = resume(&edge, "", who).await;
        assert!(touches(&client, own).await, "it has made that");
        assert!(touches(&client, others).await, "so it takes part in the meeting");
    }
}

#[tokio::test]
async fn after_a_restart_each_session_has_what_it_made() {
    let sims = KmsSim::start_all(["a"]).await;
    let mut edge = Edge::start_with(&sims, &config("session"), TempDir::create()).await;
    let (ana, _events) = edge.connect().await;
    let (own, anas) = (pipeline(&ana, "standup").await, session(&ana).await);
    let (ben, _events) = edge.connect().await;
    let (other, bens) = (pipeline(&ben, "standup").await, session(&ben).await);
    // What was made before is on disk with the next claim.
    pipeline(&ben, "later").await;
    edge.process.signal("KILL");
    edge.process.exited().await;

    let edge = Edge::start_with(&sims, &config("session"), edge.into_dir()).await;
    let (ben, _events) = resume(&edge, "/standup", &bens).await;
    assert!(!touches(&ben, &own).await && touches(&ben, &other).await);
    let (ana, _events) = resume(&edge, "", &anas).await;
    assert!(touches(&ana, &own).await && !touches(&ana, &other).await);
}

#[tokio::test]
async fn a_made_up_or_stolen_session_gives_nothing() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_with(&sims, &config("meeting"), TempDir::create()).await;
    let (ana, _events) = edge.connect().await;
    let (own, id) = (pipeline(&ana, "standup").await, session(&ana).await);
    let (eve, _events) = edge.connect().await;
    // The next id but one digit.
    let near = format!("{}{}", &id[..35], if id.ends_with('0') { '1' } else { '0' });
    for method in ["connect", "describe", "create", "invoke", "release", "transaction"] {
        let params = json!({"sessionId": near, "object": own, "operation": "getName",
            "type": "MediaPipeline", "operations": []});
        assert_eq!(code(&eve, method, params).await, 40007, "{method}");
    }
    // With something of its own a connection becomes no other session, whatever it knows.
    pipeline(&eve, "other").await;
    for method in ["connect", "describe", "release", "keepAlive"] {
        let params = json!({"sessionId": id, "object": own});
        assert_eq!(code(&eve, method, params).await, 40007, "{method}");
    }
    let inner = json!({"id": 0, "method": "describe", "jsonrpc": "2.0",
        "params": {"object": own, "sessionId": id}});
    assert_eq!(code(&eve, "transaction", json!({"operations": [inner]})).await, 40101);
    let closed = eve.call("closeSession", json!({"sessionId": id, "release": true})).await;
    assert!(closed.is_ok(), "as for any session");
    assert!(touches(&ana, &own).await, "nothing was closed");
}
