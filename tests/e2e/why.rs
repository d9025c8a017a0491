//! Why a meeting is where it is, and where one would go.

use std::process::{Command, Output};

use pinfold::load::Client;
use serde_json::{Value, json};

use crate::e2e::harness::{Edge, KmsSim, TempDir};

fn pinfold(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pinfold")).args(args).output().expect("the binary starts")
}

/// What it prints; it must succeed.
fn told(args: &[&str]) -> String {
    let output = pinfold(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn json_of(args: &[&str]) -> Value {
    serde_json::from_str(&told(args)).unwrap()
}

/// Whether each member of `part` is in `whole`, and the same there.
fn is_part(part: &Value, whole: &Value) -> bool {
    part.as_object().unwrap().iter().all(|(name, value)| whole[name] == *value)
}

async fn create(client: &Client, meeting: &str, participants: u32) -> Result<Value, String> {
    let properties = json!({"meeting": meeting, "participants": participants});
    let params = json!({"type": "MediaPipeline", "properties": properties});
    client.call("create", params).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_decision_is_explained_saved_and_made_again() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let admin = format!("http://{}", edge.admin_addr());
    let (client, _events) = edge.connect().await;
    create(&client, "a/b", 3).await.unwrap();
    create(&client, "standup", 5).await.unwrap();
    create(&client, "standup", 5).await.unwrap();
    let row = edge.api("meetings/standup").await;

    let why = told(&["why", "standup", "--admin", &admin]);
    let backend = row["backend"].as_str().unwrap();
    assert!(why.contains(&format!("backend   {backend}\n")), "{why}");
    assert!(why.contains(&format!("pinned    yes, epoch {}\n", row["epoch"])), "{why}");
    assert!(why.contains("reserve   25 legs, announced by the client\n"), "{why}");
    assert!(why.contains(&format!("{backend}        chosen ")), "{why}");
    assert!(!why.contains("other"), "who joined decided nothing: {why}");

    let rows = json_of(&["why", "standup", "--json", "--admin", &admin]);
    let decision = &rows["decisions"][0];
    assert_eq!(decision["chosen"], row["backend"]);
    let saved = told(&["why", "standup", "--state", "--admin", &admin]);
    let file = edge.dir().write("state.json", &saved);
    let again = json_of(&["choose", "--json", "--state", file.to_str().unwrap()]);
    assert!(is_part(&again, decision), "{again} is not in {decision}");

    let slashed = json_of(&["why", "a/b", "--json", "--admin", &admin]);
    assert_eq!(slashed["decisions"][0]["meeting"], "a/b");
    let id = decision["id"].as_u64().unwrap();
    assert_eq!(edge.api(&format!("decisions/{id}")).await["epoch"], row["epoch"]);
}

#[tokio::test]
async fn what_would_be_decided_is_what_is_decided() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let admin = format!("http://{}", edge.admin_addr());
    let (client, _events) = edge.connect().await;
    for nth in 0..8 {
        let meeting = format!("room-{nth}");
        let asked = ["choose", "--meeting", &meeting, "--json", "--admin", &admin];
        let foretold = json_of(&[&asked[..], &["--reserve-legs", "9"]].concat());
        create(&client, &meeting, 3).await.unwrap();
        assert_eq!(foretold["chosen"], edge.backend_of(&meeting).await);
    }
    let args = ["choose", "--meeting", "room-1", "--from", "48.9,2.4", "--admin", &admin];
    let text = told(&args);
    let there = edge.backend_of("room-1").await;
    assert!(text.contains(&format!("the meeting is on {there}: whoever joins")), "{text}");
    assert!(text.contains("place     48.9, 2.4\n"), "{text}");
}

#[tokio::test]
async fn a_refusal_is_explained_and_an_unknown_meeting_is_told() {
    let sims = KmsSim::start_all(["a"]).await;
    let config = "[placement]\nreserve_legs = 1000000\nreserve_max_legs = 1000000\n";
    let edge = Edge::start_with(&sims, config, TempDir::create()).await;
    let admin = format!("http://{}", edge.admin_addr());
    let (client, _events) = edge.connect().await;
    assert!(client.create_pipeline(Some("large")).await.is_err());
    let why = told(&["why", "large", "--admin", &admin]);
    assert!(why.contains("backend   none: all are full\npinned    no\n"), "{why}");
    assert!(why.contains("left out  1 without room, of 1\n"), "{why}");

    let unknown = pinfold(&["why", "nobody", "--admin", &admin]);
    assert_eq!(unknown.status.code(), Some(1));
    let told = String::from_utf8_lossy(&unknown.stderr);
    let expected = "pinfold: nothing is known of \"nobody\": no such meeting, and no decision about \
                    one is kept\n";
    assert_eq!(told, expected);
}

/// A decision tells neither who a client is, nor what would let others into its session.
#[tokio::test]
async fn no_secret_is_told() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    create(&client, "standup", 2).await.unwrap();
    let answer = client.call("connect", json!({})).await.unwrap();
    let session = answer["sessionId"].as_str().unwrap();
    let (_, listed) = edge.admin("/api/v1/decisions").await;
    let (_, state) = edge.admin("/api/v1/decisions/1/state").await;
    assert!(listed.contains(&format!("\"session\":\"{}\"", &session[..8])), "{listed}");
    for told in [listed, state] {
        assert!(!told.contains(session) && !told.contains("127.0.0.1"), "{told}");
    }
}
