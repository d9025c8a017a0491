//! The committed corpus: what the fuzz targets start from and what they have found.

use std::fs;
use std::path::PathBuf;

use super::bodies;
use super::mutation::Bytes;

/// The inputs of `target`, with their file names.
fn read(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        })
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "{}: only {} inputs", dir.display(), inputs.len());
    inputs
}

/// The inputs of `target`, for changes to begin with.
pub(super) fn inputs(target: &str) -> Vec<Bytes> {
    read(target).into_iter().map(|(_, input)| Bytes(input)).collect()
}

fn replay(target: &str, body: fn(&[u8])) {
    for (name, input) in read(target) {
        if let Err(panic) = std::panic::catch_unwind(|| body(&input)) {
            eprintln!("broken by tests/fuzz/corpus/{target}/{name}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_corpus_of_envelopes_keeps_the_laws() {
    replay("envelope", bodies::envelope::run);
}

#[test]
fn the_corpus_of_frames_keeps_the_laws() {
    replay("frame", bodies::frame::run);
}

#[test]
fn the_corpus_of_handshakes_keeps_the_laws() {
    replay("handshake", bodies::handshake::run);
}

#[test]
fn the_corpus_of_sessions_keeps_the_laws() {
    replay("session", bodies::session::run);
}
