//! The media server behind the connections: it answers calls and raises events.
//!
//! Knows sessions by name only. Who is connected, in which order answers leave and which are given
//! again is the business of `Kms`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::model::{Draws, Time};

use super::fault::Fault;
use super::faults::Faults;
use super::media::Later;
use super::objects::{Dead, Id, MANAGER, Object, Objects};
use super::random;
use super::settings::KmsSettings;
use super::wire;

/// An event for one session.
#[derive(Debug)]
pub(super) struct Raised {
    pub(super) session: Id,
    pub(super) text: String,
}

/// One media server without its transport.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) settings: KmsSettings,
    /// UUID of this process, told by `connect`.
    pub(super) id: String,
    pub(super) fingerprint: String,
    pub(super) draws: Draws,
    pub(super) now: Time,
    pub(super) objects: Objects,
    pub(super) faults: Faults,
    /// How long the call under way sleeps on its thread.
    pub(super) takes: Duration,
    /// How long the call under way works, on an idle server.
    pub(super) work: Duration,
    /// Connections, told by the transport.
    pub(super) conn_count: usize,
    /// Most answers that were ever kept at once, told by the transport.
    pub(super) answers_peak: usize,
    /// Percent of the processors in use, and when that was found out.
    pub(super) busy: Option<(Time, f64)>,
    /// Whether the process has made an endpoint, and a description: the first takes long.
    pub(super) has_had_endpoint: bool,
    pub(super) has_negotiated: bool,
    /// Whether the last object went away since this was looked at.
    pub(super) is_emptied: bool,
    /// Whether the call under way killed the process.
    pub(super) is_dead: bool,
    raised: Vec<Raised>,
    later: BTreeMap<(Time, u64), Later>,
    later_count: u64,
}

impl Server {
    /// A server without sessions or objects but the manager.
    pub(super) fn new(settings: KmsSettings, mut draws: Draws) -> Self {
        Self {
            settings,
            id: random::uuid(&mut draws),
            fingerprint: random::fingerprint(&mut draws),
            draws,
            now: Time::ZERO,
            objects: Objects::new(Time::ZERO),
            faults: Faults::default(),
            takes: Duration::ZERO,
            work: Duration::ZERO,
            conn_count: 0,
            answers_peak: 0,
            busy: None,
            has_had_endpoint: false,
            has_negotiated: false,
            is_emptied: false,
            is_dead: false,
            raised: Vec::new(),
            later: BTreeMap::new(),
            later_count: 0,
        }
    }

    /// The events raised since the last call, in their order.
    pub(super) fn take_raised(&mut self) -> Vec<Raised> {
        std::mem::take(&mut self.raised)
    }

    /// When something happens by itself next.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is due at `now`.
    pub(super) fn tick(&mut self, now: Time) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.now = entry.key().0;
            let later = entry.remove();
            self.on_later(&later);
        }
        self.now = now;
    }

    /// Has `later` happen after `wait`.
    pub(super) fn do_later(&mut self, wait: Duration, later: Later) {
        self.later_count += 1;
        self.later.insert((self.now + wait, self.later_count), later);
    }

    /// Raises `event` of `source` with the members `data` for everyone who subscribed to it.
    pub(super) fn raise(&mut self, source: &str, event: &str, mut data: Map<String, Value>) {
        let Some(object) = self.objects.get(source) else {
            return;
        };
        let subscribers = object.subscribers(event);
        if subscribers.is_empty() {
            return;
        }
        let tags = if object.sends_tags { tags_of(object) } else { Value::Array(Vec::new()) };
        data.insert("tags".into(), tags);
        data.insert("source".into(), source.into());
        data.insert("timestampMillis".into(), self.unix_millis(self.now).to_string().into());
        if source != MANAGER {
            data.entry("type").or_insert_with(|| event.into());
        }
        let value = json!({ "data": data, "object": source, "type": event });
        let message =
            json!({ "jsonrpc": "2.0", "method": "onEvent", "params": { "value": value } });
        let text = wire::write(&message);
        let raised = subscribers.into_iter().map(|session| Raised { session, text: text.clone() });
        self.raised.extend(raised);
    }

    /// Tells the world that objects died, and takes their connections away.
    pub(super) fn bury(&mut self, dead: &Dead) {
        for (id, _) in dead {
            self.unplug(id);
            self.raise(MANAGER, "ObjectDestroyed", map("objectId", &**id));
        }
        self.is_emptied |= !dead.is_empty() && self.objects.is_empty();
    }

    /// `time` in milliseconds since 1970.
    pub(super) fn unix_millis(&self, time: Time) -> u64 {
        self.settings.started_unix_millis + time.as_micros() / 1_000
    }

    /// A new random session or subscription id.
    pub(super) fn draw_uuid(&mut self) -> String {
        random::uuid(&mut self.draws)
    }

    /// The object `id` as it is now.
    ///
    /// # Errors
    /// 40101 if it is gone.
    pub(super) fn object(&self, id: &str) -> Result<&Object, Fault> {
        self.objects.get(id).ok_or_else(|| Fault::no_object(id))
    }

    /// As `object`, to change it.
    pub(super) fn object_mut(&mut self, id: &str) -> Result<&mut Object, Fault> {
        self.objects.get_mut(id).ok_or_else(|| Fault::no_object(id))
    }
}

/// The tags of `object` as a list of registers.
pub(super) fn tags_of(object: &Object) -> Value {
    let tag = |(key, value)| json!({ "__module__": "kurento", "__type__": "Tag", "key": key, "value": value });
    object.tags.iter().map(tag).collect()
}

/// An object of one member.
pub(super) fn map(name: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}
