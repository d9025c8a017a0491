//! The query of a request.

use percent_encoding::percent_decode_str;

/// Names and values, in order, as they stand in `query`.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The text that `value` is percent-encoded, once.
pub(super) fn decode(name: &str, value: &str) -> Result<String, String> {
    let text = percent_decode_str(value).decode_utf8();
    text.map(Into::into).map_err(|_| format!("{name} is not UTF-8"))
}

/// The number of rows that are asked for, from 1 to `max`.
pub(super) fn limit(value: &str, max: usize) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| format!("limit must be from 1 to {max}"))
}
