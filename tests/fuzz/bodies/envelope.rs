//! Body of the fuzz target `envelope`: the edge's JSON reader against `serde_json`.
//!
//! A text is read as a client's request and as a backend's answer. What the edge finds in it must be
//! what `serde_json` finds there, slices of the same text at the same place; what it refuses, either
//! `serde_json` refuses too, or one of these stricter rules does:
//! - nesting beyond the bound;
//! - a text that is no object, an array (batch) among them;
//! - a member that routing reads occurs twice;
//! - no `jsonrpc` of "2.0", no `method` that is a string and one of Kurento's, `params` that are no
//!   object;
//! - an id that is missing, null, an object, an array or longer than its bound.
//!
//! One point is left open: a number next to the largest double, about whose rounding two readers may
//! differ.

mod members;
mod replies;
mod requests;
mod transactions;

/// Checks what the edge reads in `data`.
///
/// # Panics
/// Where it differs from `serde_json` in more than the declared rules.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    requests::check(text);
    replies::check(text);
}
