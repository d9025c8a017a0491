//! What `serde_json` reads in a text, without losing order, equal keys and places.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The members of an object in the order of the text: keys with their escapes undone, values as they
/// stand there.
#[derive(Default)]
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    /// The members of `raw`; `None` if it is no object.
    pub(super) fn of(raw: &'a str) -> Option<Self> {
        serde_json::from_str(raw).ok()
    }

    /// The value of the last member `key`.
    pub(super) fn last(&self, key: &str) -> Option<&'a str> {
        self.0.iter().rfind(|(found, _)| found == key).map(|(_, raw)| *raw)
    }

    /// Whether one of `keys` occurs twice.
    pub(super) fn repeats(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.0.iter().filter(|(found, _)| found == key).count() > 1)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    members.0.push((key, value.get()));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The items of `raw`; `None` if it is no array.
pub(super) fn items(raw: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// The string that `raw` is.
pub(super) fn string(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// Whether `text` is JSON.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok()
}

/// How deep arrays and objects nest in `text`, which is JSON.
pub(super) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut is_in_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            _ if is_in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether `text` may hold a number about whose overflow two readers may differ.
pub(super) fn has_huge_number(text: &str) -> bool {
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    text.split(|c| !is_of_number(c))
        .any(|number| number.parse::<f64>().is_ok_and(|value| value.abs() >= 1.7e308))
}

/// Whether both are nothing, or the same slice of one text at the same place.
pub(super) fn is_same(ours: Option<&str>, theirs: Option<&str>) -> bool {
    match (ours, theirs) {
        (None, None) => true,
        (Some(ours), Some(theirs)) => std::ptr::eq(ours, theirs),
        (Some(_), None) | (None, Some(_)) => false,
    }
}
