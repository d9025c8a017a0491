//! The demo, as a newcomer sees it when its output is no terminal.

use pinfold::load::Client;

use crate::e2e::harness::Process;

#[tokio::test]
async fn the_demo_fills_a_healthy_fleet_and_ends_cleanly() {
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut demo = Process::pinfold("demo", &arguments);
    let url = demo.line_after("clients connect to ").await;
    loop {
        let line = demo.next_line().await;
        let is_healthy = line.matches(" healthy ").count() == 3;
        let is_busy = line.contains("failed 0") && !line.contains("participants served 0");
        if is_healthy && is_busy {
            break;
        }
    }
    let (client, _events) = Client::connect(&url).await.unwrap();
    client.create_pipeline(Some("a meeting of one's own")).await.unwrap();
    demo.signal("INT");
    while demo.next_line().await != "ended" {}
    assert!(demo.exited().await.success());
}
