//! Where clients are, as the edge believes: by PROXY headers, by headers of HTTP, by what they say.
//!
//! What it thought is the `place` of a meeting. Everybody comes from 127.0.0.1.

mod databases;
mod regions;

use pinfold::load::{CallError, Client, ConnectError, Events};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use crate::e2e::harness::{Edge, KmsSim, TempDir, wait_for, within_bound};
use crate::e2e::tls::{certify, trusting};

/// Loopback is a trusted proxy; the listener is at 0° 0°.
const TRUSTED: &str = "place = { latitude = 0, longitude = 0 }\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n";

/// Networks, and how many degrees east they are.
const NETWORKS: &str = "[geoip]\noverrides = [
  { net = \"203.0.113.0/24\", latitude = 0, longitude = 10 },
  { net = \"198.51.100.0/24\", latitude = 0, longitude = 30 },
  { net = \"2001:db8::/32\", latitude = 0, longitude = 50 },
]\n";

async fn edge(sims: &[KmsSim], listener: &str) -> Edge {
    Edge::start_with(sims, &format!("{listener}\n{NETWORKS}"), TempDir::create()).await
}

/// A client behind a proxy that sends `before` ahead of the request, and adds `headers` to that.
async fn connect(
    edge: &Edge,
    path: &str,
    (before, headers): (&[u8], &[(&'static str, &str)]),
) -> Result<(Client, Events), ConnectError> {
    let mut stream = TcpStream::connect(edge.addr()).await.unwrap();
    stream.write_all(before).await.unwrap();
    let mut request = format!("{}{path}", edge.url).into_client_request().unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    within_bound("a handshake", Client::on_stream(request, stream)).await
}

/// The same, where that must succeed.
async fn join(edge: &Edge, path: &str, by: (&[u8], &[(&'static str, &str)])) -> Client {
    connect(edge, path, by).await.unwrap().0
}

async fn create(client: &Client, properties: Value) -> Result<String, CallError> {
    let params = json!({"type": "MediaPipeline", "properties": properties});
    Ok(client.call("create", params).await?["value"].as_str().unwrap().to_owned())
}

/// How far east the edge thought the people of `meeting` were.
async fn longitude(edge: &Edge, meeting: &str) -> Option<f64> {
    let meeting = edge.api(&format!("meetings/{meeting}")).await;
    let place = meeting.get("place").expect("always there");
    place.is_object().then(|| place["longitude"].as_f64().unwrap())
}

/// How far east the edge thinks somebody is who comes that way and makes `meeting`.
async fn seen_at(edge: &Edge, meeting: &str, by: (&[u8], &[(&'static str, &str)])) -> Option<f64> {
    let client = join(edge, "", by).await;
    create(&client, json!({"meeting": meeting})).await.unwrap();
    longitude(edge, meeting).await
}

async fn count(edge: &Edge, metric: &str) -> u64 {
    let (_, metrics) = edge.admin("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(metric));
    line.unwrap_or_else(|| panic!("{metric} in {metrics}")).trim().parse().unwrap()
}

fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, content].concat()
}

#[tokio::test]
async fn a_trusted_proxy_tells_by_a_proxy_header_where_the_client_is() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = edge(&sims, &format!("{TRUSTED}proxy_protocol = \"required\"")).await;
    let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 1, 2, 3, 4];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    // Something told besides, longer than what is read in one go.
    let long = [&v4[..], &[4, 3, 0], &[0; 0x300]].concat();
    for (meeting, header, expected) in [
        ("text", b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n".to_vec(), 10.0),
        ("text6", b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), 50.0),
        ("mapped", b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n".to_vec(), 10.0),
        ("unknown", b"PROXY UNKNOWN\r\n".to_vec(), 0.0),
        ("binary", v2(0x21, 0x11, &v4), 30.0),
        ("binary6", v2(0x21, 0x21, &v6), 50.0),
        ("long", v2(0x21, 0x11, &long), 30.0),
        ("local", v2(0x20, 0x11, &v4), 0.0),
    ] {
        assert_eq!(seen_at(&edge, meeting, (&header, &[])).await, Some(expected), "{meeting}");
    }
    let overridden = count(&edge, "pinfold_geoip_look_ups_total{outcome=\"override\"}").await;
    let unknown = count(&edge, "pinfold_geoip_look_ups_total{outcome=\"unknown\"}").await;
    assert_eq!((overridden, unknown), (6, 2));
}

#[tokio::test]
async fn a_connection_without_a_proxy_header_is_closed_where_each_must_have_one() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = edge(&sims, &format!("{TRUSTED}proxy_protocol = \"required\"")).await;
    let broken = [&b""[..], b"PROXY TCP4 nobody\r\n", b"\x16\x03\x01", &v2(0x21, 0x11, &[0; 11])];
    for before in broken {
        assert!(connect(&edge, "", (before, &[])).await.is_err(), "{before:?}");
    }
    assert_eq!(count(&edge, "pinfold_handshakes_rejected_total{reason=\"proxy\"}").await, 4);
    join(&edge, "", (b"PROXY UNKNOWN\r\n", &[])).await;
}

/// A header that comes in pieces, and TLS right behind it.
#[tokio::test]
async fn a_proxy_header_stands_before_tls() {
    let dir = TempDir::create();
    let certificate = certify(&dir);
    let tls = "tls = { cert = \"cert.pem\", key = \"key.pem\" }\nproxy_protocol = \"required\"";
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_with(&sims, &format!("{TRUSTED}{tls}\n{NETWORKS}"), dir).await;
    let mut stream = TcpStream::connect(edge.addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in ["P", "ROXY TCP4 203.0.113.7 10.", "0.0.1 1 2\r", "\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let name = ServerName::try_from("localhost").unwrap();
    let stream = trusting(certificate).connect(name, stream).await.unwrap();
    let url = edge.url.replacen("wss://", "ws://", 1);
    let (client, _events) = Client::on_stream(url, stream).await.unwrap();
    create(&client, json!({"meeting": "standup"})).await.unwrap();
    assert_eq!(longitude(&edge, "standup").await, Some(10.0));
}

#[tokio::test]
async fn who_is_no_trusted_proxy_is_not_believed() {
    let sims = KmsSim::start_all(["a"]).await;
    let place = "place = { latitude = 0, longitude = 70 }\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    let required = edge(&sims, &format!("{place}proxy_protocol = \"required\"")).await;
    let mut stream = TcpStream::connect(required.addr()).await.unwrap();
    stream.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n").await.unwrap();
    let mut told = Vec::new();
    // Closed with what was sent still unread, the connection may end with a reset.
    let _ = within_bound("the end", stream.read_to_end(&mut told)).await;
    assert_eq!(told, b"", "not even HTTP");
    let rejected = || async {
        let metric = "pinfold_handshakes_rejected_total{reason=\"proxy\"}";
        (count(&required, metric).await == 1).then_some(())
    };
    wait_for("the count", rejected).await;

    let by_list = edge(&sims, &format!("{place}forwarded = \"x-forwarded-for\"")).await;
    let list = (&b""[..], &[("x-forwarded-for", "203.0.113.7")][..]);
    assert_eq!(seen_at(&by_list, "list", list).await, Some(70.0));
    let said = json!({"meeting": "said", "latitude": 0, "longitude": 10});
    let client = join(&by_list, "", list).await;
    create(&client, said).await.unwrap();
    assert_eq!(longitude(&by_list, "said").await, Some(70.0));
    let wrong = json!({"meeting": "wrong", "clientAddress": 7, "latitude": "x"});
    create(&client, wrong).await.expect("not looked at");
}

#[tokio::test]
async fn a_trusted_proxy_tells_by_a_header_of_http_where_the_client_is() {
    let sims = KmsSim::start_all(["a"]).await;
    let by_list = edge(&sims, &format!("{TRUSTED}forwarded = \"x-forwarded-for\"")).await;
    for (meeting, lines, expected) in [
        ("one", &["203.0.113.7"][..], 10.0),
        ("made-up", &["198.51.100.7, 203.0.113.7, 10.0.0.9"], 10.0),
        ("lines", &["198.51.100.7", "2001:db8::7"], 50.0),
        ("hidden", &["203.0.113.7, unknown"], 0.0),
        ("none", &[], 0.0),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let seen = seen_at(&by_list, meeting, (b"", &headers)).await;
        assert_eq!(seen, Some(expected), "{meeting}");
    }
    let standard = edge(&sims, &format!("{TRUSTED}forwarded = \"forwarded\"")).await;
    for (meeting, line, expected) in [
        ("one", "for=203.0.113.7;proto=https", 10.0),
        ("made-up", "for=198.51.100.7, for=\"[2001:db8::7]:443\", for=10.0.0.9", 50.0),
        ("hidden", "for=203.0.113.7, for=_secret", 0.0),
    ] {
        let headers = [("forwarded", line), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(seen_at(&standard, meeting, (b"", &headers)).await, Some(expected), "{meeting}");
    }
}

#[tokio::test]
async fn an_application_server_that_is_trusted_says_where_people_are() {
    let sims = KmsSim::start_all(["a"]).await;
    let listener = "place = { latitude = 0, longitude = 70 }\ntrust_client_place = true";
    let edge = edge(&sims, listener).await;
    let (client, _events) = edge.connect().await;
    for (meeting, properties, expected) in [
        ("degrees", json!({"latitude": 1.04, "longitude": -20.06}), -20.1),
        ("address", json!({"clientAddress": "203.0.113.7"}), 10.0),
        ("both", json!({"clientAddress": "203.0.113.7", "latitude": 0, "longitude": 20}), 20.0),
        ("nowhere", json!({"clientAddress": "192.168.1.1"}), 70.0),
        ("nothing", json!({}), 70.0),
    ] {
        let mut properties = properties;
        properties["meeting"] = meeting.into();
        create(&client, properties).await.unwrap();
        assert_eq!(longitude(&edge, meeting).await, Some(expected), "{meeting}");
    }
    for (properties, why) in [
        (json!({"clientAddress": "example.org"}), "'clientAddress' should be"),
        (json!({"latitude": 1}), "given together"),
        (json!({"latitude": 100, "longitude": 1}), "from -90 to 90"),
    ] {
        let refused = create(&client, properties).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let operation = json!({"method": "create", "params": {"type": "MediaPipeline",
        "properties": {"meeting": "by-transaction", "latitude": 0, "longitude": 33}}});
    client.call("transaction", json!({"operations": [operation]})).await.unwrap();
    assert_eq!(longitude(&edge, "by-transaction").await, Some(33.0));
}

#[tokio::test]
async fn all_who_have_named_a_meeting_before_it_gets_its_place_count() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = edge(&sims, &format!("{TRUSTED}forwarded = \"x-forwarded-for\"")).await;
    let from = |addr| [("x-forwarded-for", addr)];
    let first = join(&edge, "/standup", (b"", &from("203.0.113.7"))).await;
    let _second = join(&edge, "/standup", (b"", &from("198.51.100.7"))).await;
    let _unknown = join(&edge, "/standup", (b"", &from("192.168.1.1"))).await;
    create(&first, json!({})).await.unwrap();
    assert_eq!(longitude(&edge, "standup").await, Some(20.0), "between 10 and 30");

    // Later ones change nothing: the meeting has its place.
    let third = join(&edge, "/standup", (b"", &from("2001:db8::7"))).await;
    create(&third, json!({})).await.unwrap();
    assert_eq!(longitude(&edge, "standup").await, Some(20.0));

    // Of a pipeline without a meeting only its creator is known.
    let alone = join(&edge, "", (b"", &from("2001:db8::7"))).await;
    let pipeline = create(&alone, json!({})).await.unwrap();
    assert_eq!(longitude(&edge, &pipeline).await, Some(50.0));
}
