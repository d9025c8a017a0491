//! Fuzz target: the edge's WebSocket decoder against tungstenite's. The body is in `bodies/frame.rs`.

#![no_main]

#[path = "../bodies"]
mod bodies {
    pub(super) mod frame;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::frame::run(data));
