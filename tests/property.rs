//! Laws that must hold for any input, on inputs that are made up.
//!
//! The laws are the bodies of the fuzz targets in `tests/fuzz`: there `cargo fuzz` looks for inputs,
//! here proptest makes them and shrinks those that fail. What fuzzing has found is in
//! `tests/fuzz/corpus` and is run here too.

use proptest::test_runner::Config as ProptestConfig;

mod corpus;
mod envelope;
mod frame;
mod handshake;
mod mutation;
mod session;

/// The bodies of the fuzz targets: each takes bytes and panics where a law is broken.
#[path = "fuzz/bodies"]
mod bodies {
    pub(super) mod envelope;
    pub(super) mod frame;
    pub(super) mod handshake;
    pub(super) mod session;
}

/// So many cases. A failing one is printed, not kept in a file of proptest's: it belongs in the corpus.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}
