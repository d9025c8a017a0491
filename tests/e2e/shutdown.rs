//! The end of the edge.

use futures_util::future::join_all;
use pinfold::load::Client;

use crate::e2e::harness::{Edge, KmsSim, TempDir, within_bound};

#[tokio::test]
async fn sigterm_closes_every_client_with_1001_and_ends_with_success() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let more = "[shutdown]\nclose_window_ms = 200\n";
    let mut edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let clients: Vec<_> = join_all((0..20).map(|_| edge.connect())).await;
    for (number, (client, _)) in clients.iter().enumerate() {
        // Half of them never said a word.
        if number % 2 == 0 {
            client.create_pipeline(Some(&format!("meeting-{number}"))).await.unwrap();
        }
    }
    edge.process.signal("TERM");
    for (client, _) in &clients {
        let ending = within_bound("the close frame", client.ended()).await;
        assert_eq!(ending.code, Some(1001), "{ending}");
    }
    assert!(edge.process.exited().await.success());
    assert!(Client::connect(&edge.url).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn an_idle_edge_and_an_idle_backend_end_at_once() {
    let mut sims = KmsSim::start_all(["a"]).await;
    let mut edge = Edge::start(&sims).await;
    edge.process.signal("TERM");
    assert!(edge.process.exited().await.success());
    sims[0].process.signal("TERM");
    assert!(sims[0].process.exited().await.success());
}
