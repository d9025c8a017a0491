//! Backends that operators add, by the admin API and by the command.

use std::process::Command;

use serde_json::json;

use super::*;

async fn add(edge: &Edge, backend: &Value) -> (u16, Value) {
    edge.order(("POST", "/api/v1/backends"), backend.to_string()).await
}

async fn remove(edge: &Edge, id: &str) -> (u16, Value) {
    edge.order(("DELETE", &format!("/api/v1/backends/{id}")), String::new()).await
}

#[tokio::test]
async fn a_backend_is_added_and_removed_and_outlives_a_restart() {
    let [a, b] = KmsSim::start_all(["a", "b"]).await;
    let configured = [("a", a.url.as_str())];
    let mut edge = Edge::start_unready(&configured, QUICK, TempDir::create()).await;
    let (status, told) = add(&edge, &json!({"id": "b", "url": b.url, "capacity": 90})).await;
    assert_eq!((status, &told["backend"]["source"]), (200, &json!("api")), "{told}");
    fleet_becomes(&edge, &["a", "b"]).await;
    let (status, told) = add(&edge, &json!({"id": "b", "url": b.url, "capacity": 50})).await;
    assert_eq!((status, &told["backend"]["capacity_legs"]), (200, &json!(50)), "{told}");
    edge.kill().await;
    let edge = Edge::start_unready(&configured, QUICK, edge.into_dir()).await;
    fleet_becomes(&edge, &["a", "b"]).await;
    assert_eq!(row(&edge, "b").await.unwrap()["capacity_legs"], 50);
    assert_eq!(remove(&edge, "b").await.0, 200);
    fleet_becomes(&edge, &["a"]).await;
    for (answer, expected, told) in [
        (remove(&edge, "b").await, 404, "no such backend"),
        (remove(&edge, "a").await, 409, "named by config"),
        (add(&edge, &json!({"id": "a", "url": b.url})).await, 409, "a, named by config"),
        (add(&edge, &json!({"id": "c", "url": a.url})).await, 409, "a, named by config"),
        (add(&edge, &json!({"id": "c"})).await, 400, "url: found nothing"),
        (edge.order(("POST", "/api/v1/backends"), "[".to_owned()).await, 400, "<backend>:1:"),
    ] {
        let (status, body) = answer;
        assert_eq!(status, expected, "{body}");
        assert!(body["error"].as_str().unwrap().contains(told), "{body}");
    }
}

#[tokio::test]
async fn the_command_adds_and_removes() {
    let [a, b] = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start_unready(&[("a", &a.url)], QUICK, TempDir::create()).await;
    let admin = format!("http://{}", edge.admin_addr());
    let told = |arguments: &[&str]| {
        let arguments = [&["backend"], arguments, &["--admin", &admin]].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinfold"));
        let output = command.args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (is_done, table) = told(&["add", "b", &b.url, "--capacity", "90"]);
    assert!(is_done && table.contains("0/90"), "{table}");
    fleet_becomes(&edge, &["a", "b"]).await;
    let (is_done, text) = told(&["remove", "a"]);
    assert!(!is_done && text.contains("it is named by config"), "{text}");
    assert!(told(&["remove", "b"]).0);
    fleet_becomes(&edge, &["a"]).await;
}

#[tokio::test]
async fn a_damaged_note_of_what_was_found_is_set_aside() {
    let dir = TempDir::create();
    std::fs::create_dir(dir.path().join("pinfold-state")).unwrap();
    dir.write("pinfold-state/backends.json", "{\"backends\": [{\"id\":");
    let [a] = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_unready(&[("a", &a.url)], QUICK, dir).await;
    fleet_becomes(&edge, &["a"]).await;
    logs(&edge, "that file is set aside").await;
}
