//! Events: what they look like and who gets them.

use serde_json::{Value, json};

use super::objects::{MANAGER_ID, MediaObject};
use super::wire::{Object, to_ascii};
use super::{Kms, KmsOutput};

impl Kms {
    /// Sends an event of `object` to each session that subscribed to it and has a connection.
    ///
    /// `data` holds the members that are the event's own. For a session without a connection the
    /// event is lost.
    pub(super) fn emit(&mut self, object: &str, kind: &str, data: Value) {
        let listeners = self.sessions.listeners(&(object.to_owned(), kind.to_owned()));
        if listeners.is_empty() {
            return;
        }
        let mut members = match data {
            Value::Object(members) => members,
            _ => Object::new(),
        };
        members.insert("source".into(), json!(object));
        members.insert("tags".into(), self.objects.find(object).map_or(json!([]), event_tags));
        members.insert("timestampMillis".into(), json!(self.unix_ms().to_string()));
        if object != MANAGER_ID {
            members.insert("type".into(), json!(kind));
        }
        let value = json!({"data": members, "object": object, "type": kind});
        let event = json!({"jsonrpc": "2.0", "method": "onEvent", "params": {"value": value}});
        let text = to_ascii(&event);
        let outputs =
            listeners.into_iter().map(|conn| KmsOutput::Text { conn, text: text.clone() });
        self.outbox.extend(outputs);
    }
}

/// The tags of an object as Kurento's `Tag` values.
pub(super) fn tags(object: &MediaObject) -> Value {
    let tags = object.tags.iter().map(
        |(key, value)| json!({"__module__": "kurento", "__type__": "Tag", "key": key, "value": value}),
    );
    tags.collect()
}

fn event_tags(object: &MediaObject) -> Value {
    if object.sends_tags { tags(object) } else { json!([]) }
}
