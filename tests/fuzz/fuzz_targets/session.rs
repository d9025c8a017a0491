//! Fuzz target: one client connection under any order of events. The body is in `bodies/session.rs`.

#![no_main]

#[path = "../bodies"]
mod bodies {
    pub(super) mod session;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::session::run(data));
