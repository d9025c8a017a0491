//! `wss://`: the same over TLS, with a certificate made for the test.

use std::sync::Arc;

use pinfold::load::{Client, ConnectError, Events, OFFER_SDP};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::e2e::harness::{Edge, KmsSim, TempDir, within_bound};

/// An edge that speaks TLS, and the certificate to trust.
async fn edge_with_tls(sims: &[KmsSim]) -> (Edge, CertificateDer<'static>) {
    let dir = TempDir::create();
    let certificate = certify(&dir);
    // Relative paths start at the directory of the configuration file.
    let more = "tls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
    let edge = Edge::start_with(sims, more, dir).await;
    assert!(edge.url.starts_with("wss://"), "{}", edge.url);
    (edge, certificate)
}

/// Puts a certificate of `localhost` and its key into `dir`.
pub(super) fn certify(dir: &TempDir) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    dir.write("cert.pem", &cert.pem());
    dir.write("key.pem", &signing_key.serialize_pem());
    cert.der().clone()
}

/// Trusts `certificate` and nothing else.
pub(super) fn trusting(certificate: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A client over TLS that trusts `certificate` and nothing else.
async fn connect(
    edge: &Edge,
    certificate: CertificateDer<'static>,
    name: &'static str,
) -> Result<(Client, Events), ConnectError> {
    let stream = TcpStream::connect(edge.addr()).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    let stream = trusting(certificate).connect(name, stream).await?;
    // The URL only names host and path in the handshake; TLS is below already.
    Client::on_stream(&edge.url.replacen("wss://", "ws://", 1), stream).await
}

#[tokio::test]
async fn a_meeting_works_over_tls() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let (edge, certificate) = edge_with_tls(&sims).await;
    let (client, mut events) = connect(&edge, certificate, "localhost").await.unwrap();
    let pipeline = client.create_pipeline(Some("standup")).await.unwrap();
    let endpoint = client.create_endpoint(&pipeline).await.unwrap();
    client.subscribe(&endpoint, "IceCandidateFound").await.unwrap();
    let answer = client.process_offer(&endpoint, OFFER_SDP).await.unwrap();
    assert!(answer.starts_with("v=0"), "{answer}");
    client.gather_candidates(&endpoint).await.unwrap();
    let found = events.find(&endpoint, "IceCandidateFound");
    assert!(within_bound("a candidate", found).await.is_some());
    client.release(&pipeline).await.unwrap();
    client.close().await;
}

#[tokio::test]
async fn whoever_asks_for_another_name_gets_no_session_and_others_go_on() {
    let sims = KmsSim::start_all(["a"]).await;
    let (edge, certificate) = edge_with_tls(&sims).await;
    let refused = connect(&edge, certificate.clone(), "elsewhere").await;
    assert!(matches!(refused, Err(ConnectError::Tcp(_))), "{:?}", refused.err());
    // A listener for TLS does not take plain text, and survives it.
    let plain = edge.url.replacen("wss://", "ws://", 1);
    assert!(Client::connect(&plain).await.is_err());
    let (client, _events) = connect(&edge, certificate, "localhost").await.unwrap();
    client.ping().await.unwrap();
}

#[tokio::test]
async fn sigterm_reaches_clients_over_tls_as_1001() {
    let sims = KmsSim::start_all(["a"]).await;
    let (edge, certificate) = edge_with_tls(&sims).await;
    let (client, _events) = connect(&edge, certificate, "localhost").await.unwrap();
    client.create_pipeline(Some("standup")).await.unwrap();
    edge.process.signal("TERM");
    let ending = within_bound("the close frame", client.ended()).await;
    assert_eq!(ending.code, Some(1001), "{ending}");
}
