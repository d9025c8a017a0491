//! No request gets what it should not.

use proptest::prelude::*;

use super::bodies::handshake::run;
use super::mutation::mutated;
use super::{cases, corpus};

/// What mutations put in.
const DICTIONARY: &[&str] = &[
    "\r\n",
    "\n",
    "\r\n\r\n",
    "\r",
    "\0",
    " ",
    ":",
    ",",
    "/",
    "//",
    "?",
    "&",
    "=",
    "%",
    "%20",
    "%00",
    "%ff",
    "%2525",
    "+",
    "#",
    "meeting=",
    "participants=",
    "GET ",
    "POST ",
    "HTTP/1.0",
    "http://h",
    "Upgrade",
    "Connection: Upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "Host: h\r\n",
];

/// A request for a WebSocket at `target`.
fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn requests_however_broken_get_what_is_documented(
        request in mutated(corpus::inputs("handshake"), DICTIONARY),
    ) {
        run(&request.0);
    }

    #[test]
    fn a_url_is_read_or_refused(
        segment in "(/[ -~]{0,6}|/%[0-9a-f]{2}|)",
        query in r"(\?((meeting|participants|x)=[!-~]{0,6}&?){0,3}|)",
    ) {
        run(upgrade(&format!("/kurento{segment}{query}")).as_bytes());
    }
}
