//! Whether two messages of a KMS say the same, if ids, times, ports and secrets may differ.

use std::collections::BTreeMap;

use serde_json::Value;

const UUID_LEN: usize = 36;

/// Ids of the recording -> ids of this run.
#[derive(Debug, Default)]
pub(super) struct Ids {
    ours: BTreeMap<String, String>,
}

impl Ids {
    /// `text` of the recording with the ids of this run.
    pub(super) fn translate(&self, text: &str) -> String {
        self.map_uuids(text, |uuid| self.ours.get(uuid).map_or(uuid, String::as_str).to_owned())
    }

    fn map_uuids(&self, text: &str, mut replace: impl FnMut(&str) -> String) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('-') {
            let uuid = at.checked_sub(8).and_then(|from| rest.get(from..from + UUID_LEN));
            match uuid.filter(|uuid| is_uuid(uuid)) {
                Some(uuid) => {
                    result.push_str(&rest[..at - 8]);
                    result.push_str(&replace(uuid));
                    rest = &rest[at - 8 + UUID_LEN..];
                }
                None => {
                    result.push_str(&rest[..=at]);
                    rest = &rest[at + 1..];
                }
            }
        }
        result + rest
    }

    /// Whether `ours` says what `recorded` does; learns the ids that are new in both.
    pub(super) fn are_same(&mut self, recorded: &Value, ours: &Value) -> bool {
        match (recorded, ours) {
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(name, a)| match b.get(name) {
                        Some(_) if name == "timestampMillis" => true,
                        Some(b) => self.are_same(a, b),
                        None => false,
                    })
            }
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && self.are_same_in_any_order(a, b)
            }
            (Value::String(a), Value::String(b)) => self.are_same_texts(a, b),
            _ => recorded == ours,
        }
    }

    /// Lists of ids are sorted by id, so the same list has another order in each run.
    fn are_same_in_any_order(&mut self, recorded: &[Value], ours: &[Value]) -> bool {
        if !recorded.iter().all(Value::is_string) {
            return recorded.iter().zip(ours).all(|(a, b)| self.are_same(a, b));
        }
        let mut left: Vec<&Value> = ours.iter().collect();
        recorded.iter().all(|a| {
            let at = left.iter().position(|b| self.are_same(a, b));
            at.map(|at| left.remove(at)).is_some()
        })
    }

    fn are_same_texts(&mut self, recorded: &str, ours: &str) -> bool {
        let (recorded, ours) = (plain(recorded), plain(ours));
        let (mut theirs, mut own) = (Vec::new(), Vec::new());
        let keep = |list: &mut Vec<String>, uuid: &str| {
            list.push(uuid.to_owned());
            "<uuid>".to_owned()
        };
        let a = self.map_uuids(&recorded, |uuid| keep(&mut theirs, uuid));
        let b = self.map_uuids(&ours, |uuid| keep(&mut own, uuid));
        if a != b {
            return false;
        }
        let fits = theirs.iter().zip(&own).all(|(theirs, own)| match self.ours.get(theirs) {
            Some(known) => known == own,
            None => theirs == own || !self.ours.values().any(|known| known == own),
        });
        if fits {
            self.ours.extend(theirs.into_iter().zip(own));
        }
        fits
    }
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    })
}

/// `text` without what is drawn anew in each run: ports of candidates, secrets of descriptions.
fn plain(text: &str) -> String {
    if text.starts_with("candidate:") {
        let mut words: Vec<&str> = text.split(' ').collect();
        if let Some(port) = words.get_mut(5).filter(|port| **port != "9") {
            *port = "<port>";
        }
        return words.join(" ");
    }
    if !text.starts_with("v=0\r\n") {
        return text.to_owned();
    }
    let drawn = ["o=", "a=ssrc:", "a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 "];
    let line = |line: &str| {
        let known = drawn.iter().find(|start| line.starts_with(**start));
        known.map_or_else(|| line.to_owned(), |start| format!("{start}<drawn>"))
    };
    text.split("\r\n").map(line).collect::<Vec<String>>().join("\r\n")
}
