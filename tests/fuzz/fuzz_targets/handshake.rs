//! Fuzz target: any bytes where a client's HTTP request is expected. The body is in `bodies/handshake.rs`.

#![no_main]

#[path = "../bodies"]
mod bodies {
    pub(super) mod handshake;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::handshake::run(data));
