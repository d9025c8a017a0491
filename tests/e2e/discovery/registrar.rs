//! Servers that register.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::*;
use crate::e2e::harness::{raw_socket, within_bound};

const REGISTRAR: &str = "[discovery.registrar]\naddr = \"127.0.0.1:0\"\n\
                         path = \"/registrar/a-long-secret\"\nallow = [\"127.0.0.0/8\"]\n";

/// A simulated server that registers with that edge.
async fn registering(edge: &Edge, id: &str, address: &str) -> KmsSim {
    let url = format!("{}/registrar/a-long-secret", edge.registrar.as_ref().unwrap());
    KmsSim::start_at(id, address, &["--registrar", &url]).await
}

#[tokio::test]
async fn servers_that_register_are_probed_and_used_and_go_when_they_die() {
    let rule = "[[discovery.rules]]\ncidr = \"127.0.0.0/8\"\ncapacity = 90\n";
    let edge = edge_with(&format!("{REGISTRAR}{rule}"), TempDir::create()).await;
    assert!(edge.backends().await.is_empty());
    let one = registering(&edge, "one", "127.0.0.1:0").await;
    let mut two = registering(&edge, "two", "127.0.0.1:0").await;
    let ((_, one_id), (addr, two_id)) = (addr_and_id(&one), addr_and_id(&two));
    fleet_becomes(&edge, &[&one_id, &two_id]).await;
    let found = row(&edge, &two_id).await.unwrap();
    assert_eq!((&found["source"], &found["capacity_legs"]), (&"registrar".into(), &90.into()));
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("standup")).await.unwrap();
    two.process.signal("KILL");
    two.process.exited().await;
    fleet_becomes(&edge, &[&one_id]).await;
    // Under the same address, as after a reboot.
    let _two = registering(&edge, "two", &addr).await;
    fleet_becomes(&edge, &[&one_id, &two_id]).await;
}

#[tokio::test]
async fn a_server_whose_connection_is_gone_stays_as_long_as_it_answers() {
    let edge = edge_with(REGISTRAR, TempDir::create()).await;
    let [sim] = KmsSim::start_all(["a"]).await;
    let url = format!("{}/registrar/a-long-secret", edge.registrar.as_ref().unwrap());
    let (_, id) = addr_and_id(&sim);
    let mut socket = raw_socket(&url).await;
    let claim =
        format!(r#"{{"jsonrpc":"2.0","method":"register","params":{{"ws":"{}"}}}}"#, sim.url);
    socket.send(Message::text(claim)).await.unwrap();
    fleet_becomes(&edge, &[&id]).await;
    drop(socket);
    // A name that is looked up and fails twice takes longer than the hold.
    let (client, _events) = edge.connect().await;
    for _ in 0..20 {
        let pipeline = client.create_pipeline(None).await.unwrap();
        client.call("release", serde_json::json!({"object": pipeline})).await.unwrap();
        assert!(row(&edge, &id).await.is_some());
    }
    drop(sim);
    fleet_becomes(&edge, &[]).await;
}

#[tokio::test]
async fn who_may_not_register_does_not() {
    let edge = edge_with(REGISTRAR, TempDir::create()).await;
    let registrar = edge.registrar.clone().unwrap();
    for path in ["", "/registrar", "/registrar/another-secret", "/registrar/a-long-secret/"] {
        let refused = tokio_tungstenite::connect_async(format!("{registrar}{path}"));
        match within_bound("an answer", refused).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 404, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    let nobody = "[discovery.registrar]\naddr = \"127.0.0.1:0\"\nallow = [\"10.0.0.0/8\"]\n";
    let closed = edge_with(nobody, TempDir::create()).await;
    let refused = tokio_tungstenite::connect_async(closed.registrar.clone().unwrap());
    assert!(within_bound("an end", refused).await.is_err());
    logs(&closed, "not in allow").await;
}

#[tokio::test]
async fn a_claim_that_may_not_be_is_refused_and_said_to_be() {
    let keys = "allow_backends = [\"127.0.0.0/8\"]\n";
    for (ws, reason) in [
        ("ws://10.9.9.9:8888/kurento", "10.9.9.9 is not in allow_backends"),
        ("wss://127.0.0.1:8433/kurento", "wss:// to a backend is not supported"),
        ("ws://kms.example:8888/kurento", "set registrar.localAddress to an IP address"),
        ("nonsense", "not a URL"),
    ] {
        let edge = edge_with(&format!("{REGISTRAR}{keys}"), TempDir::create()).await;
        let url = format!("{}/registrar/a-long-secret", edge.registrar.as_ref().unwrap());
        let mut socket = raw_socket(&url).await;
        let claim = format!(r#"{{"jsonrpc":"2.0","method":"register","params":{{"ws":"{ws}"}}}}"#);
        socket.send(Message::text(claim)).await.unwrap();
        logs(&edge, reason).await;
        assert!(edge.backends().await.is_empty(), "{ws}");
        assert!(!edge.process.stderr().contains("a-long-secret"), "the path is a secret");
    }
    let edge = edge_with(REGISTRAR, TempDir::create()).await;
    let url = format!("{}/registrar/a-long-secret", edge.registrar.as_ref().unwrap());
    let mut socket = raw_socket(&url).await;
    socket.send(Message::text("x".repeat(5_000))).await.unwrap();
    let end = within_bound("the end", socket.next()).await;
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}
