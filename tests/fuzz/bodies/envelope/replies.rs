//! Answers of backends: `peek` and `parse_reply`.
//!
//! A text in Kurento's own spelling is trusted: `peek` reads its beginning only. So the two are
//! compared where nothing behind the beginning contradicts it.

use pinfold::protocol::reply::{FromBackend, parse_reply, peek};

use super::members::{Members, depth, has_huge_number, is_json, is_same};
use super::transactions;

/// Nesting up to which `serde_json` reads.
const DEPTH_MAX: usize = 127;

pub(super) fn check(text: &str) {
    let peeked = peek(text);
    let ours = parse_reply(text);
    if depth(text) > DEPTH_MAX || has_huge_number(text) {
        return;
    }
    let members = Members::of(text).filter(|_| is_json(text)).unwrap_or_default();
    let id = members.last("id");
    assert_eq!(ours.id, id.unwrap_or("null"), "{text}");
    assert!(id.is_none() || is_same(Some(ours.id), id), "{text}");
    let raw_result = members.last("result");
    assert_eq!(ours.is_success, raw_result.is_some(), "{text}");
    let result = raw_result.and_then(Members::of).unwrap_or_default();
    assert_eq!(ours.names_session, result.last("sessionId").is_some(), "{text}");
    assert!(is_same(ours.value, result.last("value")), "{text}");
    if let Some(value) = ours.value {
        transactions::check_done(value);
    }
    let is_event = members.last("method").is_some();
    let contradicts_itself = id.is_some() && is_event || members.repeats(&["id"]);
    if is_json(text) && !contradicts_itself {
        let expected = if is_event { FromBackend::Event } else { FromBackend::Reply(ours.id) };
        assert_eq!(peeked, expected, "{text}");
    }
}
