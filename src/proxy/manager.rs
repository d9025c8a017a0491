//! Answers calls of the server manager from what all sessions share.
//!
//! The manager is one object for the whole process: its name and tags are everybody's, as they are on
//! a Kurento server. They are kept here and bounded, and forgotten with the process.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};

use super::edge::Edge;
use crate::protocol::error::Failure;
use crate::protocol::event::{ObjectEvent, events_lost};
use crate::protocol::request::MANAGER;
use crate::runtime::Clock;
use crate::session::{ManagerCall, ManagerScope, Session};

/// Tags of the manager. A further one is refused with 40009.
const TAGS_MAX: usize = 64;

/// Bytes of the manager's name, and of a tag's key and value together. More are refused with 40009.
const TEXT_MAX: usize = 4_096;

/// Pipelines in one answer. If there are more, the answer is 40009: a list that is not
/// whole would make its reader believe that the rest is gone.
const LIST_MAX: usize = 16_384;

/// What is kept of the manager.
#[derive(Debug)]
pub struct Manager {
    /// Seconds since 1970.
    created: u64,
    kept: Mutex<Kept>,
    /// Beside `kept`, because every event of every listener looks at it.
    sends_tags: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    name: Option<String>,
    tags: BTreeMap<String, String>,
}

impl Manager {
    /// The manager of a process that was started so many seconds after 1970.
    #[must_use]
    pub fn new(created: u64) -> Self {
        Self { created, kept: Mutex::default(), sends_tags: AtomicBool::new(false) }
    }

    /// An event as clients are to see it.
    pub(super) fn event_text<'a>(&self, event: &'a ObjectEvent) -> Cow<'a, str> {
        match self.sends_tags() {
            true => event.text_with(&self.kept().tags_json()).into(),
            false => event.text.as_str().into(),
        }
    }

    /// What a client is told that did not take `count` events in time.
    pub(super) fn loss_text(&self, count: u64) -> String {
        let tags = if self.sends_tags() { self.kept().tags_json() } else { "[]".to_owned() };
        events_lost(count, &tags, Clock::unix_millis())
    }

    fn sends_tags(&self) -> bool {
        self.sends_tags.load(Ordering::Relaxed)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while holding it")
    }
}

impl Kept {
    fn set_name(&mut self, name: String) -> Result<(), Failure> {
        if name.len() > TEXT_MAX {
            return Err(Failure::not_enough_resources("the name is longer than 4096 bytes"));
        }
        self.name = Some(name);
        Ok(())
    }

    fn add_tag(&mut self, key: String, value: String) -> Result<(), Failure> {
        if key.len() + value.len() > TEXT_MAX {
            return Err(Failure::not_enough_resources("the tag is longer than 4096 bytes"));
        }
        if self.tags.len() == TAGS_MAX && !self.tags.contains_key(&key) {
            return Err(Failure::not_enough_resources(
                "the server manager has 64 tags and takes no more; remove some",
            ));
        }
        self.tags.insert(key, value);
        Ok(())
    }

    fn tags_json(&self) -> String {
        let tag = |(key, value): (&String, &String)| json!({"__module__": "kurento", "__type__": "Tag", "key": key, "value": value});
        self.tags.iter().map(tag).collect::<Value>().to_string()
    }
}

fn too_many(what: &str) -> Failure {
    Failure::not_enough_resources(format!(
        "there are more than {LIST_MAX} {what}, too many for one answer; operator: see the admin API"
    ))
}

/// The value, JSON, that `call` of `session` gives.
///
/// # Errors
/// What the client is to be told instead.
pub(super) fn answer(edge: &Edge, session: &Session, call: ManagerCall) -> Result<String, Failure> {
    let manager = &edge.manager;
    let usage = || edge.fleet.snapshot().usage();
    Ok(match call {
        ManagerCall::GetInfo => edge.server_info().to_string(),
        ManagerCall::GetCpuCount => usage().cpu_count.unwrap_or(0).to_string(),
        ManagerCall::GetUsedMemory => usage().memory_kb.unwrap_or(0).to_string(),
        ManagerCall::GetUsedCpu => percent(usage().cpu_percent.unwrap_or(0.0)),
        ManagerCall::GetPipelines(scope) => pipelines(edge, session, scope)?,
        // Whoever knows a session's id may go on with it, so nobody is told another's.
        ManagerCall::GetSessions => json!([session.id().as_str()]).to_string(),
        ManagerCall::GetCreationTime => manager.created.to_string(),
        ManagerCall::GetName => {
            json!(manager.kept().name.as_deref().unwrap_or(MANAGER)).to_string()
        }
        ManagerCall::SetName(name) => done(manager.kept().set_name(name)?),
        ManagerCall::GetSendTagsInEvents => manager.sends_tags().to_string(),
        ManagerCall::SetSendTagsInEvents(sends) => {
            manager.sends_tags.store(sends, Ordering::Relaxed);
            done(())
        }
        ManagerCall::GetTags => manager.kept().tags_json(),
        ManagerCall::GetTag(key) => match manager.kept().tags.get(&key) {
            Some(value) => json!(value).to_string(),
            None => return Err(Failure::tag_not_found()),
        },
        ManagerCall::AddTag(key, value) => done(manager.kept().add_tag(key, value)?),
        ManagerCall::RemoveTag(key) => match manager.kept().tags.remove(&key) {
            Some(_) => done(()),
            None => return Err(Failure::tag_not_found()),
        },
    })
}

/// The value of an operation that gives none.
fn done((): ()) -> String {
    "null".to_owned()
}

/// With two digits at most, as a Kurento server does.
fn percent(value: f64) -> String {
    json!((value * 100.0).round() / 100.0).to_string()
}

fn pipelines(edge: &Edge, session: &Session, scope: ManagerScope) -> Result<String, Failure> {
    let registry = edge.registry();
    let found = match scope {
        ManagerScope::All => registry.pipelines(LIST_MAX),
        ManagerScope::Own => {
            let own: Vec<_> = session.pipelines().filter(|one| registry.knows(*one)).collect();
            (own.len() <= LIST_MAX).then_some(own)
        }
    };
    let found = found.ok_or_else(|| too_many("pipelines"))?;
    Ok(found.iter().map(|one| Value::from(one.to_string())).collect::<Value>().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_the_name_are_bounded_and_a_tag_can_be_changed_at_the_bound() {
        let mut kept = Kept::default();
        for number in 0..TAGS_MAX {
            kept.add_tag(number.to_string(), "x".to_owned()).unwrap();
        }
        assert_eq!(kept.add_tag("new".to_owned(), String::new()).unwrap_err().code, 40009);
        kept.add_tag("0".to_owned(), "y".to_owned()).unwrap();
        assert_eq!((kept.tags["0"].as_str(), kept.tags.len()), ("y", TAGS_MAX));
        let long = "x".repeat(TEXT_MAX);
        kept.set_name(long.clone()).unwrap();
        assert_eq!(kept.set_name(format!("{long}x")).unwrap_err().code, 40009);
        assert_eq!(kept.name, Some(long.clone()), "it keeps the name it had");
        assert_eq!(kept.add_tag("0".to_owned(), long).unwrap_err().code, 40009);
    }

    #[test]
    fn tags_are_listed_and_sent_as_kurento_writes_them() {
        let manager = Manager::new(0);
        manager.kept().add_tag("role".to_owned(), "caller".to_owned()).unwrap();
        let tags = r#"[{"__module__":"kurento","__type__":"Tag","key":"role","value":"caller"}]"#;
        assert_eq!(manager.kept().tags_json(), tags);
        let event = ObjectEvent::new(
            crate::protocol::event::Change::Created,
            "x".to_owned(),
            "1".to_owned(),
        );
        assert_eq!(manager.event_text(&event), event.text);
        manager.sends_tags.store(true, Ordering::Relaxed);
        assert_eq!(manager.event_text(&event), event.text_with(tags));
        assert!(manager.loss_text(3).contains(tags));
    }

    #[test]
    fn percents_have_two_digits_at_most() {
        for (value, text) in [(0.0, "0.0"), (10.0, "10.0"), (33.333_333, "33.33")] {
            assert_eq!(percent(value), text);
        }
    }
}
