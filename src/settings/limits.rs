//! `[limits]`: the bounds of everything that clients and backends can fill.

use std::time::Duration;

use super::declare::{Keys, Section};

const MIB: usize = 1024 * 1024;

/// The bounds of connections, messages, buffers and waits: `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// Longest message of a client; a longer one is answered with an error.
    pub message_max_bytes: usize,
    /// Longest message of a backend; a longer one fails the link.
    pub backend_message_max_bytes: usize,
    /// Deepest nesting of JSON in a client's message.
    pub depth_max: usize,
    /// Bytes that wait to be written to one socket; beyond it the other side is not read.
    pub write_buffer_max_bytes: usize,
    /// Bytes of one client's frames that wait for a place or a link.
    pub held_max_bytes: usize,
    /// Calls unanswered on one link.
    pub calls_max: usize,
    /// Pipelines that one session may know.
    pub pipelines_max: usize,
    /// Subscriptions of one session to events of objects.
    pub subscriptions_max: usize,
    /// Calls on one backend, of all clients, that each block one of its threads.
    pub blocking_calls_max: usize,
    /// Bytes of unanswered calls of one link that are kept to be sent again if it breaks.
    pub resend_max_bytes: usize,
    /// Time a backend may take to answer a call.
    pub call_timeout: Duration,
    /// Time a client may take for TLS and the WebSocket handshake.
    pub handshake_timeout: Duration,
    /// Time dialling a backend may take, WebSocket handshake included.
    pub dial_timeout: Duration,
    /// Time one write may make no progress before the socket is closed.
    pub write_timeout: Duration,
}

impl Section for Limits {
    fn example() -> Self {
        Self {
            connections_max: 50_000,
            message_max_bytes: MIB,
            backend_message_max_bytes: 8 * MIB,
            depth_max: 128,
            write_buffer_max_bytes: MIB / 4,
            held_max_bytes: MIB,
            calls_max: 4_096,
            pipelines_max: 10_000,
            subscriptions_max: 10_000,
            blocking_calls_max: 4,
            resend_max_bytes: MIB / 4,
            call_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(30),
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        self.message_keys(keys);
        self.session_keys(keys);
        self.timeout_keys(keys);
    }
}

impl Limits {
    fn message_keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "connections_max",
            &mut self.connections_max,
            ("connections", 1..=10_000_000),
            "Client connections at once. Further ones wait in the backlog of the system.",
        );
        keys.integer(
            "message_max_bytes",
            &mut self.message_max_bytes,
            ("bytes", 1_024..=32_000_000),
            "Longest message of a client. A longer one is answered with a JSON-RPC error and goes \
             nowhere.",
        );
        keys.integer(
            "backend_message_max_bytes",
            &mut self.backend_message_max_bytes,
            ("bytes", 65_536..=32_000_000),
            "Longest message of a backend. A longer one closes the link.",
        );
        keys.integer(
            "depth_max",
            &mut self.depth_max,
            ("levels", 8..=900),
            "Deepest nesting of objects and arrays in a client's message. A deeper one is answered \
             with an error.",
        );
    }

    fn session_keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "write_buffer_max_bytes",
            &mut self.write_buffer_max_bytes,
            ("bytes", 16_384..=67_108_864),
            "Bytes that wait to be written to one socket. At the bound the other side is no longer \
             read.",
        );
        keys.integer(
            "held_max_bytes",
            &mut self.held_max_bytes,
            ("bytes", 1_024..=67_108_864),
            "Frames of one client that wait for a place or a link. Beyond it each is answered with \
             an error.",
        );
        keys.integer(
            "calls_max",
            &mut self.calls_max,
            ("calls", 1..=1_000_000),
            "Calls unanswered on one link. Beyond it each is answered with an error.",
        );
        keys.integer(
            "pipelines_max",
            &mut self.pipelines_max,
            ("pipelines", 1..=1_000_000),
            "Pipelines known to one session. Beyond it a create is answered with an error.",
        );
        keys.integer(
            "subscriptions_max",
            &mut self.subscriptions_max,
            ("subscriptions", 1..=1_000_000),
            "Subscriptions of one session to events of objects. Beyond it each is answered with an \
             error.",
        );
        keys.integer(
            "blocking_calls_max",
            &mut self.blocking_calls_max,
            ("calls", 1..=1_000),
            "Calls under way on one backend that each block one of its ten threads, like \
             stopAndWait. Beyond it each is answered with an error.",
        );
        keys.integer(
            "resend_max_bytes",
            &mut self.resend_max_bytes,
            ("bytes", 0..=16_777_216),
            "Unanswered calls of one link that are kept, to be sent again if it breaks while its \
             backend lives. Calls beyond it are answered with an error then; with 0 all are.",
        );
    }

    fn timeout_keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "handshake_timeout_ms",
            &mut self.handshake_timeout,
            ("ms", 10..=600_000),
            "Time a client may take for TLS and the WebSocket handshake. Then it is disconnected.",
        );
        keys.integer(
            "dial_timeout_ms",
            &mut self.dial_timeout,
            ("ms", 10..=60_000),
            "Time that dialling a backend may take, WebSocket handshake included.",
        );
        keys.integer(
            "call_timeout_ms",
            &mut self.call_timeout,
            ("ms", 100..=3_600_000),
            "Time a backend may take to answer a call. Then the call is answered with an error, and \
             the backend is probed and gets no new meetings before it has answered.",
        );
        keys.integer(
            "write_timeout_ms",
            &mut self.write_timeout,
            ("ms", 10..=600_000),
            "Time a write may make no progress. Then the socket is closed.",
        );
    }
}
