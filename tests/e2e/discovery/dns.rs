//! Names that are looked up.

use std::net::Ipv4Addr;

use super::name_server::{NameServer, Zone};
use super::*;

fn lookups(kind: &str, name_server: &NameServer, port: u16) -> String {
    format!(
        "[[discovery.dns]]\nname = \"media.example\"\nkind = \"{kind}\"\nport = {port}\n\
         server = \"{}\"\ninterval_ms = 100\n",
        name_server.addr
    )
}

fn services(sims: &[&KmsSim]) -> Zone {
    Zone::Services(sims.iter().map(|sim| ("localhost", port(sim))).collect())
}

#[tokio::test]
async fn an_address_record_is_a_backend() {
    let [sim] = KmsSim::start_all(["a"]).await;
    let server = NameServer::start(Zone::Addresses(vec![Ipv4Addr::LOCALHOST])).await;
    let edge = edge_with(&lookups("address", &server, port(&sim)), TempDir::create()).await;
    let (_, id) = addr_and_id(&sim);
    fleet_becomes(&edge, &[&id]).await;
    assert_eq!(row(&edge, &id).await.unwrap()["source"], "dns address media.example");
    server.set(Zone::Failure);
    logs(&edge, "look-up of backends failed").await;
    server.set(Zone::Addresses(vec![Ipv4Addr::LOCALHOST]));
    logs(&edge, "look-up of backends works again").await;
    fleet_becomes(&edge, &[&id]).await;
}

#[tokio::test]
async fn services_come_and_go_but_an_empty_answer_empties_nothing() {
    let [a, b] = KmsSim::start_all(["a", "b"]).await;
    let server = NameServer::start(services(&[&a, &b])).await;
    let rule = "[[discovery.rules]]\nname = \"local*\"\nlabels = [\"found=yes\"]\n";
    let tables = format!("{}{rule}", lookups("srv", &server, 1));
    let edge = edge_with(&tables, TempDir::create()).await;
    let (a_id, b_id) = (format!("localhost-{}", port(&a)), format!("localhost-{}", port(&b)));
    fleet_becomes(&edge, &[&a_id, &b_id]).await;
    // Nobody is named any more; who answers probes stays, who does not goes.
    server.set(Zone::NoName);
    drop(b);
    fleet_becomes(&edge, &[&a_id]).await;
    // Another is named, and a is not: now it goes, although it answers.
    let [c] = KmsSim::start_all(["c"]).await;
    server.set(services(&[&c]));
    fleet_becomes(&edge, &[&format!("localhost-{}", port(&c))]).await;
}

#[tokio::test]
async fn an_edge_that_starts_again_knows_what_it_found_and_where_its_meetings_are() {
    let [a, b] = KmsSim::start_all(["a", "b"]).await;
    let server = NameServer::start(services(&[&a, &b])).await;
    let tables = lookups("srv", &server, 1);
    let mut edge = edge_with(&tables, TempDir::create()).await;
    let ids = [&a, &b].map(|sim| format!("localhost-{}", port(sim)));
    fleet_becomes(&edge, &[&ids[0], &ids[1]]).await;
    let (client, _events) = edge.connect().await;
    let mut homes = Vec::new();
    for meeting in ["red", "green", "blue", "grey"] {
        client.create_pipeline(Some(meeting)).await.unwrap();
        homes.push((meeting, edge.backend_of(meeting).await));
    }
    edge.kill().await;
    // Nobody can tell the next one where backends are.
    server.set(Zone::Failure);
    let edge = edge_with(&tables, edge.into_dir()).await;
    fleet_becomes(&edge, &[&ids[0], &ids[1]]).await;
    let (client, _events) = edge.connect().await;
    for (meeting, home) in homes {
        client.create_pipeline(Some(meeting)).await.unwrap();
        assert_eq!(edge.backend_of(meeting).await, home, "{meeting}");
    }
}
