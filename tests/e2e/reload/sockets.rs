//! Addresses and certificates that come and go.

use pinfold::load::{Client, ConnectError, Events};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;

use super::{BY_HAND, reload, start};
use crate::e2e::harness::{Edge, KmsSim, TempDir, get, wait_for, within_bound};
use crate::e2e::tls::{certify, trusting};

/// An address that nobody has at the moment.
fn free() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_listener_is_added_and_removed_under_live_sessions() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let (first, _events) = edge.connect().await;
    let pipeline = first.create_pipeline(Some("standup")).await.unwrap();

    let addr = free();
    let second = format!("[[listeners]]\naddr = \"{addr}\"\npath = \"/two\"\n");
    let key = format!("listeners[{addr}]");
    assert_eq!(reload(&edge, &sims, &second).await.unwrap(), [&*key]);
    let url = format!("ws://{addr}/two");
    let (other, _events) = Client::connect(&url).await.unwrap();
    other.create_pipeline(Some("standup")).await.unwrap();

    assert_eq!(reload(&edge, &sims, "").await.unwrap(), [key]);
    let gone = || async { Client::connect(&url).await.is_err().then_some(()) };
    wait_for("nobody listens there", gone).await;
    for client in [&first, &other] {
        client.invoke(&pipeline, "getName", serde_json::json!({})).await.unwrap();
    }
    edge.connect().await.0.ping().await.unwrap();
    // The address is free for others.
    std::net::TcpListener::bind(&addr).unwrap();
}

#[tokio::test]
async fn the_admin_api_moves_and_answers_the_order_that_moved_it() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let addr = free();
    let path = edge.dir().path().join("pinfold.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let admin = "[admin]\naddr = \"127.0.0.1:0\"";
    assert!(config.contains(admin));
    std::fs::write(&path, config.replace(admin, &format!("[admin]\naddr = \"{addr}\""))).unwrap();
    assert_eq!(edge.reload().await.unwrap(), ["admin.addr"]);
    let (status, _) = within_bound("an answer at the new address", get(&addr, "/healthz")).await;
    assert_eq!(status, 200);
    let old = edge.admin_addr();
    let gone = || async { TcpStream::connect(old).await.is_err().then_some(()) };
    wait_for("nobody listens at the old address", gone).await;
    edge.connect().await.0.ping().await.unwrap();
}

async fn connect(
    edge: &Edge,
    certificate: &CertificateDer<'static>,
) -> Result<(Client, Events), ConnectError> {
    let stream = TcpStream::connect(edge.addr()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = trusting(certificate.clone()).connect(name, stream).await?;
    Client::on_stream(&edge.url.replacen("wss://", "ws://", 1), stream).await
}

#[tokio::test]
async fn a_certificate_in_the_same_file_is_taken_up_for_new_handshakes() {
    let sims = KmsSim::start_all(["a"]).await;
    let dir = TempDir::create();
    let old = certify(&dir);
    let tls = format!("tls = {{ cert = \"cert.pem\", key = \"key.pem\" }}\n{BY_HAND}");
    let edge = Edge::start_with(&sims, &tls, dir).await;
    let (client, _events) = connect(&edge, &old).await.unwrap();
    client.create_pipeline(None).await.unwrap();

    let new = certify(edge.dir());
    assert!(connect(&edge, &old).await.is_ok(), "nobody has told it yet");
    assert_eq!(edge.reload().await.unwrap(), ["listeners[127.0.0.1:0].tls.cert"]);
    assert_eq!(edge.reload().await.unwrap(), [""; 0], "that is the one in use");
    assert!(connect(&edge, &old).await.is_err(), "it is shown no more");
    connect(&edge, &new).await.unwrap().0.ping().await.unwrap();
    client.create_pipeline(None).await.unwrap();
}

/// Nobody says that the files are others.
#[tokio::test]
async fn a_certificate_that_was_renewed_is_noticed() {
    let sims = KmsSim::start_all(["a"]).await;
    let dir = TempDir::create();
    certify(&dir);
    let tls = "tls = { cert = \"cert.pem\", key = \"key.pem\" }\n[reload]\nwatch_ms = 20\n";
    let edge = Edge::start_with(&sims, tls, dir).await;
    let new = certify(edge.dir());
    let shown = || async { connect(&edge, &new).await.is_ok().then_some(()) };
    wait_for("the new certificate is shown", shown).await;
}
