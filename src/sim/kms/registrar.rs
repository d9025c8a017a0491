//! What a KMS tells a registrar, and how it keeps calling one.
//!
//! It dials the registrar's WebSocket, sends one message, ignores whatever comes back, and dials
//! again when the connection is gone. Source: Kurento protocol notes, section 10.

use std::time::Duration;

use serde_json::json;

use super::wire;

/// Wait before the second attempt, and after a connection that had opened.
pub const RETRY_MIN: Duration = Duration::from_millis(100);

/// Longest wait between two attempts.
pub const RETRY_MAX: Duration = Duration::from_secs(10);

/// Code and reason with which a KMS that ends closes its connection to the registrar.
pub const CLOSE: (u16, &str) = (1001, "terminating");

/// Address and port at which a server can be reached, as it tells a registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// `registrar.localAddress`: taken as it is, also if it is nobody's.
    pub host: String,
    /// Port of the plain listener.
    pub port: u16,
    /// Port of the TLS listener; the plain one is then not told.
    pub secure_port: Option<u16>,
    /// Path without its first `/`.
    pub path: String,
}

impl OwnAddress {
    /// The one message for a registrar, to be sent when the connection opens. It has no `id`.
    #[must_use]
    pub fn registration(&self) -> String {
        let Self { host, port, secure_port, path } = self;
        let url = secure_port.map_or_else(
            || format!("ws://{host}:{port}/{path}"),
            |port| format!("wss://{host}:{port}/{path}"),
        );
        wire::write(&json!({ "jsonrpc": "2.0", "method": "register", "params": { "ws": url } }))
    }
}

/// When the next attempt is due: 100 ms after the first, then twice as long each time, up to 10 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    next: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { next: RETRY_MIN }
    }
}

impl Retry {
    /// The connection has opened: the next wait is the shortest again.
    pub const fn on_open(&mut self) {
        self.next = RETRY_MIN;
    }

    /// The connection is gone, or could not be opened: how long to wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = if wait < RETRY_MAX / 2 { wait * 2 } else { RETRY_MAX };
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tls_address_is_told_if_there_is_one() {
        let plain = OwnAddress {
            host: "10.0.0.7".to_owned(),
            port: 8888,
            secure_port: None,
            path: "kurento".to_owned(),
        };
        let expected = "{\"jsonrpc\":\"2.0\",\"method\":\"register\",\
                        \"params\":{\"ws\":\"ws://10.0.0.7:8888/kurento\"}}";
        assert_eq!(plain.registration(), expected);
        let secure = OwnAddress { secure_port: Some(8433), ..plain };
        assert!(secure.registration().contains("\"wss://10.0.0.7:8433/kurento\""));
    }

    #[test]
    fn waits_double_up_to_ten_seconds_and_begin_anew_after_success() {
        let mut retry = Retry::default();
        let waits: Vec<u128> = (0..9).map(|_| retry.wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        retry.on_open();
        assert_eq!(retry.wait(), RETRY_MIN);
    }
}
