//! Every odd input of `docs/PROTOCOL.md`, "Odd input": a test for each row, named after it.
//!
//! A row's first cell in lower case, words joined by `_`, is the name of its test; its other cells
//! say what the test checks. The edge runs in this process; the backend is a double that notes all
//! it gets.

mod backends;
mod calls;
mod double;
mod frames;
mod guard;
mod handshake;
mod requests;
mod row;
mod transactions;
mod world;

use std::path::Path;

use row::Row;

/// Makes a test of each row, and a list of them all.
macro_rules! rows {
    ($($name:ident => $row:expr;)*) => {
        /// Every row of this file, with its name.
        pub(super) fn rows() -> Vec<(&'static str, crate::e2e::bad_input::row::Row)> {
            vec![$((stringify!($name), $row)),*]
        }

        $(
            #[tokio::test]
            async fn $name() {
                crate::e2e::bad_input::world::check($row).await;
            }
        )*
    };
}
use rows;

/// A row as the document has it: name, what the client gets, what the backend gets.
type Told = (String, String, String);

fn tested() -> Vec<Told> {
    let files = [
        handshake::rows(),
        frames::rows(),
        requests::rows(),
        calls::rows(),
        transactions::rows(),
        guard::rows(),
        backends::rows(),
    ];
    let told = |(name, row): (&str, Row)| {
        (name.to_owned(), row.client.to_string(), row.backend.to_string())
    };
    files.into_iter().flatten().map(told).collect()
}

/// The rows of every table whose columns are those of odd input.
fn documented(text: &str) -> Vec<Told> {
    let mut told = Vec::new();
    let mut is_ours = false;
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", "Input", _, "The client gets", "The backend gets", _, ""] => is_ours = true,
            ["", input, _, client, backend, _, ""] if is_ours && !input.starts_with("---") => {
                told.push((name(input), plain(client), plain(backend)));
            }
            ["", _, .., ""] => {}
            _ => is_ours = false,
        }
    }
    told
}

/// The name of the test of the row that begins with `input`.
fn name(input: &str) -> String {
    let lower = input.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

fn plain(cell: &str) -> String {
    cell.replace('`', "")
}

#[test]
fn the_document_and_the_tests_have_the_same_rows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROTOCOL.md");
    let documented = documented(&std::fs::read_to_string(path).unwrap());
    let tested = tested();
    let missing: Vec<_> = tested.iter().filter(|row| !documented.contains(row)).collect();
    assert!(missing.is_empty(), "tested, but not in the document: {missing:#?}");
    let untested: Vec<_> = documented.iter().filter(|row| !tested.contains(row)).collect();
    assert!(untested.is_empty(), "in the document, but not tested so: {untested:#?}");
    assert_eq!(documented.len(), tested.len(), "a row stands twice");
}
