//! Fuzz target: the edge's JSON reader against `serde_json`. The body is in `bodies/envelope.rs`.

#![no_main]

#[path = "../bodies"]
mod bodies {
    pub(super) mod envelope;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::envelope::run(data));
