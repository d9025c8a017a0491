//! Instead of a proper WebSocket handshake.

use super::row::{Client, Row};
use super::rows;

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A request with these headers and a host.
fn request(line: &str, headers: &[&str]) -> String {
    format!("{line}\r\nHost: a\r\n{}\r\n", headers.concat())
}

/// A proper handshake for `path`, with `more` headers.
fn upgrade(path: &str, more: &str) -> String {
    request(&format!("GET {path} HTTP/1.1"), &[UPGRADE, VERSION, KEY, more])
}

fn http(status: u16, requests: Vec<String>) -> Row {
    Row::http(requests).client(Client::Http(status))
}

rows! {
    another_path => http(404,
        ["/", "/Kurento", "/kurento/", "/kurento2", "//kurento", "/kurento/a/b"]
        .map(|path| upgrade(path, "")).into());
    a_bad_meeting_or_participants_in_the_url => http(400, ["?meeting=", "/%00", "/%ff",
        "?participants=0", "?participants=x"]
        .map(|end| upgrade(&format!("/kurento{end}"), "")).into());
    unknown_members_of_the_query => http(101, vec![upgrade("/kurento?access_token=abc", "")]);
    http_without_an_upgrade => http(426, vec![
        request("GET /kurento HTTP/1.1", &[]),
        request("POST /kurento HTTP/1.1", &["Content-Length: 2\r\n"]) + "{}",
        request("OPTIONS /kurento HTTP/1.1", &[]),
        request("POST /kurento HTTP/1.1", &[UPGRADE, VERSION, KEY]),
    ]);
    another_websocket_version => http(426, vec![
        request("GET /kurento HTTP/1.1", &[UPGRADE, "Sec-WebSocket-Version: 8\r\n", KEY]),
        request("GET /kurento HTTP/1.1", &[UPGRADE, KEY]),
    ]);
    a_missing_or_malformed_sec_websocket_key => http(400, ["", "Sec-WebSocket-Key: short\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n",
        "Sec-WebSocket-Key: ????????????????????????\r\n"]
        .map(|key| request("GET /kurento HTTP/1.1", &[UPGRADE, VERSION, key])).into());
    no_host => http(400, vec![
        format!("GET /kurento HTTP/1.1\r\n{UPGRADE}{VERSION}{KEY}\r\n"),
    ]);
    a_body => http(400, vec![upgrade("/kurento", "Content-Length: 5\r\n") + "hello"]);
    a_fragment_in_the_url => http(101, vec![upgrade("/kurento#x", "")]);
    http_1_0 => http(426, vec![request("GET /kurento HTTP/1.0", &[UPGRADE, VERSION, KEY])]);
    bytes_that_are_no_http => http(400, vec!["\u{16}\u{3}\u{1}hello\r\n\r\n".to_owned()]);
    a_head_over_16_kib => http(431, vec![
        upgrade("/kurento", &format!("X-Pad: {}\r\n", "x".repeat(17 * 1024))),
    ]);
    a_sub_protocol_extensions_an_origin => http(101, ["Sec-WebSocket-Protocol: chat\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate\r\n", "Origin: http://elsewhere\r\n"]
        .map(|more| upgrade("/kurento", more)).into());
    silence => Row::http(["", "GET /kurento HTTP/1.1\r\nHost: a\r\n"])
        .client(Client::Disconnected).limits("handshake_timeout_ms = 50\n");
}
