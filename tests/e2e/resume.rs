//! Clients that come back: nothing they had is gone, and nobody else can have it.

use std::pin::pin;

use futures_util::future::{Either, join_all, select};
use pinfold::load::Client;
use serde_json::json;

use crate::e2e::harness::{Edge, KmsSim, Party, TempDir, wait_for, within_bound};

/// Two meetings of one client on different backends.
async fn apart(edge: &Edge, client: &Client) -> (Party, Party) {
    let one = Party::new(client, "one").await;
    for number in 0.. {
        let name = format!("two-{number}");
        let two = Party::new(client, &name).await;
        if edge.backend_of("one").await != edge.backend_of(&name).await {
            return (one, two);
        }
    }
    unreachable!("the numbers do not end")
}

const BRIEF: &str = "[sessions]\nhold_ms = 0\n";

#[tokio::test]
async fn a_blip_costs_nothing() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let party = Party::new(&client, "standup").await;
    drop(client);
    // While it is away, something happens.
    let (other, _) = edge.connect().await;
    other.invoke(&party.from, "connect", json!({"sink": party.to})).await.unwrap();
    let (client, mut events) = party.resume(&edge).await;
    within_bound("missed", events.find(&party.from, "ElementConnected")).await.unwrap();
    client.invoke(&party.from, "disconnect", json!({"sink": party.to})).await.unwrap();
    party.is_whole(&client, &mut events).await;
    let meeting = edge.api("meetings/standup").await;
    assert_eq!(meeting["participants"], 2, "its client's and the other's: {meeting}");
}

#[tokio::test]
async fn after_the_hold_the_links_are_opened_again() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start_with(&sims, BRIEF, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let (one, two) = apart(&edge, &client).await;
    drop(client);
    let closed = || async {
        let backends = edge.backends().await;
        backends.iter().all(|backend| backend["links"] == 0).then_some(())
    };
    wait_for("all links are closed", closed).await;
    let (client, mut events) = one.resume(&edge).await;
    one.is_whole(&client, &mut events).await;
    two.is_whole(&client, &mut events).await;
    // Whoever names the meeting lands with the others.
    let before = edge.backend_of("one").await;
    client.create_pipeline(Some("one")).await.unwrap();
    assert_eq!(edge.backend_of("one").await, before);
}

#[tokio::test]
async fn a_client_that_comes_back_before_its_old_connection_is_dead_has_the_session() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let (old, _old_events) = edge.connect().await;
    let party = Party::new(&old, "standup").await;
    let (client, mut events) = party.resume(&edge).await;
    party.is_whole(&client, &mut events).await;
    // As with Kurento, the old connection lives on, in a session of its own.
    let pipeline = old.create_pipeline(None).await.unwrap();
    let answer = old.call("describe", json!({"object": pipeline})).await.unwrap();
    assert_ne!(answer["sessionId"], party.session.as_str());
    party.is_whole(&client, &mut events).await;
}

#[tokio::test]
async fn any_frame_that_names_the_session_goes_on_with_it() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_with(&sims, BRIEF, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let party = Party::new(&client, "standup").await;
    drop(client);
    let (client, mut events) = edge.connect().await;
    let params = json!({"object": party.pipeline, "sessionId": party.session});
    let answer = client.call("describe", params).await.unwrap();
    assert_eq!(answer["sessionId"], party.session.as_str());
    party.is_whole(&client, &mut events).await;
}

#[tokio::test]
async fn a_session_that_nobody_knows_is_refused_and_the_connection_lives_on() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    for session in ["00000000-0000-4000-8000-000000000000", "forged", ""] {
        let connect = client.call("connect", json!({"sessionId": session})).await;
        assert_eq!(connect.unwrap_err().code(), Some(40007), "{session}");
    }
    client.create_pipeline(None).await.unwrap();
    // One that the client has closed itself is none either.
    let party = Party::new(&client, "standup").await;
    client.call("closeSession", json!({"sessionId": party.session})).await.unwrap();
    drop(client);
    let (client, _events) = edge.connect().await;
    let connect = client.call("connect", json!({"sessionId": party.session})).await;
    assert_eq!(connect.unwrap_err().code(), Some(40007));
}

#[tokio::test]
async fn after_the_edge_was_killed_its_clients_go_on_at_another() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let (one, two) = apart(&edge, &client).await;
    edge.process.signal("KILL");
    let edge = Edge::start(&sims).await;
    let (client, mut events) = one.resume(&edge).await;
    one.is_whole(&client, &mut events).await;
    two.is_whole(&client, &mut events).await;
}

/// Nobody knows what it has when its client is back for the first time.
#[tokio::test]
async fn what_a_silent_backend_has_is_there_when_the_client_is_back_again() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let more = format!("{BRIEF}[placement]\nwait_ms = 300\n[probe]\ntimeout_ms = 8000\n");
    let mut edge = Edge::start_with(&sims, &more, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let (one, two) = apart(&edge, &client).await;
    let silent = if sims[0].has(&two.pipeline).await { &sims[0] } else { &sims[1] };
    edge.kill().await;
    silent.process.freeze().await;
    let edge = edge.start_again().await;
    let (client, mut events) = one.resume(&edge).await;
    one.is_whole(&client, &mut events).await;
    drop(client);
    let closed = || async {
        let backends = edge.backends().await;
        backends.iter().all(|backend| backend["links"] == 0).then_some(())
    };
    wait_for("all links are closed", closed).await;
    silent.process.signal("CONT");
    edge.becomes_ready().await;
    let (_client, mut events) = one.resume(&edge).await;
    let (other, _events) = edge.connect().await;
    other.invoke(&two.from, "connect", json!({"sink": two.to})).await.unwrap();
    within_bound("an event", events.find(&two.from, "ElementConnected")).await.unwrap();
}

#[tokio::test]
async fn a_session_whose_backends_are_all_lost_is_unknown() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start_with(&sims, BRIEF, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let party = Party::new(&client, "standup").await;
    drop(client);
    let home = edge.backend_of("standup").await;
    let lost = sims.iter().find(|sim| sim.id == home).unwrap();
    lost.process.signal("KILL");
    let ejected = || async {
        let backends = edge.backends().await;
        let lost = backends.iter().find(|backend| backend["id"] == home.as_str()).unwrap();
        (lost["health"] == "ejected").then_some(())
    };
    wait_for("the loss is known", ejected).await;
    let (client, _events) = edge.connect().await;
    let connect = client.call("connect", json!({"sessionId": party.session})).await;
    assert_eq!(connect.unwrap_err().code(), Some(40007));
    client.create_pipeline(Some("standup")).await.unwrap();
}

async fn code(client: &Client, method: &str, params: serde_json::Value) -> i64 {
    client.call(method, params).await.map_or_else(|error| error.code().unwrap_or(-1), |_| 0)
}

#[tokio::test]
async fn before_the_first_probe_nothing_is_denied_and_nothing_is_dropped() {
    let sims = KmsSim::start_all(["a"]).await;
    // The backend stays unknown, and whoever asks for it waits for a moment.
    let more = "[placement]\nwait_ms = 300\n[probe]\ntimeout_ms = 8000\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let party = Party::new(&client, "standup").await;
    edge.kill().await;
    sims[0].process.stop().await;
    let edge = edge.start_again().await;
    let (client, _events) = edge.connect().await;
    assert_eq!(code(&client, "connect", json!({"sessionId": party.session})).await, 40009);
    for method in ["describe", "release"] {
        let in_session = json!({"object": party.pipeline, "sessionId": party.session});
        assert_eq!(code(&client, method, in_session).await, 40009, "{method}");
    }
    sims[0].process.signal("CONT");
    edge.becomes_ready().await;
    assert!(sims[0].has(&party.pipeline).await, "it is not dropped");
    assert_eq!(code(&client, "connect", json!({"sessionId": party.session})).await, 0);
    assert_eq!(code(&client, "release", json!({"object": party.pipeline})).await, 0);
    assert!(!sims[0].has(&party.pipeline).await);
}

#[tokio::test]
async fn who_comes_back_before_the_first_probe_waits_for_it() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[probe]\ntimeout_ms = 8000\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let party = Party::new(&client, "standup").await;
    edge.kill().await;
    sims[0].process.stop().await;
    let edge = edge.start_again().await;
    let goes_on = async {
        let waiting = || async {
            let backends = edge.backends().await;
            (backends[0]["health"] == "unknown").then_some(())
        };
        wait_for("the backend is unknown", waiting).await;
        sims[0].process.signal("CONT");
    };
    let ((client, mut events), ()) = futures_util::join!(party.resume(&edge), goes_on);
    party.is_whole(&client, &mut events).await;
}

#[tokio::test]
async fn strangers_who_make_up_sessions_keep_nobody_from_coming_back() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[sessions]\nquestions_per_second = 50\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let mut parties = Vec::new();
    for number in 0..5 {
        let (client, _events) = edge.connect().await;
        parties.push(Party::new(&client, &format!("meeting-{number}")).await);
    }
    // One that the pin store has no note of: its meeting has no name.
    let (client, _events) = edge.connect().await;
    let unnamed = client.create_pipeline(None).await.unwrap();
    let session = client.call("describe", json!({"object": unnamed})).await.unwrap();
    edge.kill().await;
    let edge = edge.start_again().await;
    edge.becomes_ready().await;

    let mut strangers = Vec::new();
    for stranger in 0..4 {
        let (client, _events) = edge.connect().await;
        let first = json!({"sessionId": format!("{stranger:08x}-0000-4000-8000-000000000000")});
        assert_eq!(code(&client, "connect", first).await, 40007, "nobody has it");
        strangers.push(async move {
            for number in 1..100_000 {
                let session = format!("{stranger:08x}-0000-4000-8000-{number:012x}");
                let _ = client.call("connect", json!({"sessionId": session})).await;
            }
        });
    }
    let come_back = async {
        for party in &parties {
            let (client, mut events) = party.resume(&edge).await;
            party.is_whole(&client, &mut events).await;
        }
        let (client, _events) = edge.connect().await;
        let back = json!({"sessionId": session["sessionId"]});
        assert_eq!(code(&client, "connect", back).await, 0, "it waits for its turn");
    };
    let come_back = pin!(come_back);
    let is_back = matches!(select(come_back, join_all(strangers)).await, Either::Left(_));
    assert!(is_back, "strangers have been at it all the time");
}
