//! Files that list backends.

use super::*;

const TABLES: &str = "[[discovery.files]]\npath = \"list.json\"\n";

fn json(backends: &[&KmsSim]) -> String {
    let entry = |sim: &&KmsSim| format!(r#"{{"id": "{}", "url": "{}"}}"#, sim.id, sim.url);
    let entries: Vec<String> = backends.iter().map(entry).collect();
    format!("{{\"backends\": [{}]}}", entries.join(",\n"))
}

#[tokio::test]
async fn a_list_may_be_rewritten_and_a_bad_one_changes_nothing() {
    let [a, b] = KmsSim::start_all(["a", "b"]).await;
    let edge = edge_with(TABLES, TempDir::create()).await;
    logs(&edge, "list.json: cannot be read").await;
    edge.dir().write("list.json", &json(&[&a]));
    fleet_becomes(&edge, &["a"]).await;
    let source = row(&edge, "a").await.unwrap()["source"].as_str().unwrap().to_owned();
    assert!(source.starts_with("file ") && source.ends_with("list.json"), "{source}");
    let both = json(&[&a, &b]);
    edge.dir().write("list.json", &both[..both.len() - 20]);
    logs(&edge, "list.json:2:").await;
    edge.dir().write("list.json", &both.replace("\"id\": \"b\"", "\"id\": 5"));
    logs(&edge, "list.json:2:8: backends[1].id: found 5").await;
    assert_eq!(edge.backends().await.len(), 1, "nothing has changed");
    edge.dir().write("list.json", &both);
    fleet_becomes(&edge, &["a", "b"]).await;
    edge.dir().write("list.json", &json(&[&b]));
    fleet_becomes(&edge, &["b"]).await;
}
