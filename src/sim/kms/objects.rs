//! The objects of one KMS and the sessions that own them.
//!
//! An object belongs to every session that used it, and so do its parents. It dies when its last
//! owner lets go of it, or when anyone releases it. Source: Kurento protocol notes, sections 3.5
//! and 5.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::Time;

use super::fault::Fault;
use super::media::Media;
use super::types::{Class, TYPES};

/// Id of an object or a session.
pub(super) type Id = Arc<str>;

/// The one object that every server has, under the same id.
pub(super) const MANAGER: &str = "manager_ServerManager";

/// One media object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) class: &'static Class,
    pub(super) parent: Option<Id>,
    pub(super) children: BTreeSet<Id>,
    owners: BTreeSet<Id>,
    /// Subscription id -> session and event.
    subscriptions: BTreeMap<String, (Id, String)>,
    /// `None` until it is set: the name is then the id.
    pub(super) name: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) sends_tags: bool,
    pub(super) created: Time,
    /// Properties that differ from their initial value.
    pub(super) values: Map<String, Value>,
    pub(super) media: Media,
}

impl Object {
    fn new(class: &'static Class, parent: Option<Id>, created: Time) -> Self {
        Self {
            class,
            parent,
            children: BTreeSet::new(),
            owners: BTreeSet::new(),
            subscriptions: BTreeMap::new(),
            name: None,
            tags: BTreeMap::new(),
            sends_tags: false,
            created,
            values: Map::new(),
            media: Media::default(),
        }
    }

    /// Whether the object is of the class `name` or of one that descends from it.
    pub(super) fn is_a(&self, name: &str) -> bool {
        TYPES.is_a(self.class, name)
    }

    /// Whether an endpoint with a URI is in this state.
    pub(super) fn is_in_state(&self, state: &str) -> bool {
        self.values.get("state").is_some_and(|known| known == state)
    }

    /// The sessions that get `event`, each once however often it subscribed.
    pub(super) fn subscribers(&self, event: &str) -> BTreeSet<Id> {
        let wanted = self.subscriptions.values().filter(|(_, of)| of == event);
        wanted.map(|(session, _)| session.clone()).collect()
    }
}

/// A session that is known to the server.
#[derive(Debug, Default)]
struct Session {
    objects: BTreeSet<Id>,
    /// Whether it showed a sign of life since the last collection.
    is_used: bool,
}

/// Objects that died, children before their parents.
pub(super) type Dead = Vec<(Id, Object)>;

/// All objects and sessions.
#[derive(Debug)]
pub(super) struct Objects {
    objects: BTreeMap<Id, Object>,
    sessions: BTreeMap<Id, Session>,
}

impl Objects {
    /// The manager alone.
    pub(super) fn new(now: Time) -> Self {
        let class = TYPES.class("ServerManager").expect("the table has the manager");
        let manager = (MANAGER.into(), Object::new(class, None, now));
        Self { objects: BTreeMap::from([manager]), sessions: BTreeMap::new() }
    }

    /// Every object with its id, in the order of the ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Id, &Object)> {
        self.objects.iter()
    }

    /// Whether nothing is there but the manager.
    pub(super) fn is_empty(&self) -> bool {
        self.objects.len() == 1
    }

    /// The object `root` and everything under it.
    pub(super) fn in_pipeline(&self, root: &str) -> impl Iterator<Item = (&Id, &Object)> {
        let from = (Bound::Included(root), Bound::Unbounded);
        self.objects.range::<str, _>(from).take_while(move |(id, _)| id.starts_with(root))
    }

    /// The object `id`, if it is there; nobody comes to own it.
    pub(super) fn get(&self, id: &str) -> Option<&Object> {
        self.objects.get(id)
    }

    /// As `get`, to change it.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Object> {
        self.objects.get_mut(id)
    }

    /// The object `id` for `session`, which comes to own it.
    ///
    /// # Errors
    /// 40101, and 40109 for a reference outside its transaction.
    pub(super) fn take(&mut self, session: &Id, id: &str) -> Result<Id, Fault> {
        let Some((id, _)) = self.objects.get_key_value(id) else {
            return Err(Fault::no_object(id));
        };
        let id = id.clone();
        self.refer(session, &id);
        Ok(id)
    }

    /// Adds an object, owned by `session` and by all that own its parent.
    pub(super) fn insert(
        &mut self,
        session: &Id,
        id: &Id,
        (class, parent): (&'static Class, Option<Id>),
        now: Time,
    ) {
        let mut owners = BTreeSet::from([session.clone()]);
        if let Some(parent) = parent.as_ref().and_then(|parent| self.objects.get_mut(parent)) {
            parent.children.insert(id.clone());
            owners.extend(parent.owners.iter().cloned());
        }
        self.objects.insert(id.clone(), Object::new(class, parent, now));
        for owner in &owners {
            self.own(owner, id);
        }
        self.refer(session, id);
    }

    /// Makes `session` an owner of `id` and of its parents; a sign of life.
    pub(super) fn refer(&mut self, session: &Id, id: &Id) {
        self.sessions.entry(session.clone()).or_default().is_used = true;
        let mut next = Some(id.clone());
        while let Some(id) = next {
            self.own(session, &id);
            next = self.objects.get(&id).and_then(|object| object.parent.clone());
        }
    }

    fn own(&mut self, session: &Id, id: &Id) {
        if let Some(object) = self.objects.get_mut(id) {
            object.owners.insert(session.clone());
            self.sessions.entry(session.clone()).or_default().objects.insert(id.clone());
        }
    }

    /// Makes the session with the empty name an owner of everything, as listing pipelines does.
    pub(super) fn refer_all_to_nobody(&mut self) {
        let nobody: Id = "".into();
        let ids: Vec<Id> = self.objects.keys().cloned().collect();
        for id in &ids {
            self.refer(&nobody, id);
        }
    }

    pub(super) fn has_session(&self, session: &str) -> bool {
        self.sessions.contains_key(session)
    }

    /// Whether `session` has a subscription to any object.
    pub(super) fn has_subscribed(&self, session: &str) -> bool {
        let is_its = |(of, _): &(Id, String)| &**of == session;
        self.objects.values().any(|object| object.subscriptions.values().any(is_its))
    }

    /// Adds a subscription of `session` to `event` of `object`.
    pub(super) fn subscribe(&mut self, session: &Id, object: &Id, event: &str, id: String) {
        if let Some(object) = self.objects.get_mut(object) {
            object.subscriptions.insert(id, (session.clone(), event.to_owned()));
        }
    }

    /// Ends a subscription of `session`; nothing happens if there is none.
    pub(super) fn unsubscribe(&mut self, session: &str, object: &str, id: &str) {
        let Some(object) = self.objects.get_mut(object) else {
            return;
        };
        if object.subscriptions.get(id).is_some_and(|(of, _)| &**of == session) {
            object.subscriptions.remove(id);
        }
    }

    /// `session` lets go of `id` and its children.
    pub(super) fn unref(&mut self, session: &str, id: &str) -> Dead {
        let mut dead = Dead::new();
        for id in self.with_children(id) {
            if let Some(known) = self.sessions.get_mut(session) {
                known.objects.remove(&id);
            }
            let Some(object) = self.objects.get_mut(&id) else {
                continue;
            };
            object.owners.remove(session);
            object.subscriptions.retain(|_, (of, _)| &**of != session);
            if object.owners.is_empty() && &*id != MANAGER {
                dead.extend(self.remove(&id));
            }
        }
        dead
    }

    /// Ends `id` and its children for every session; the manager loses only its subscriptions.
    pub(super) fn release(&mut self, id: &str) -> Dead {
        let mut dead = Dead::new();
        for id in self.with_children(id) {
            if &*id != MANAGER {
                dead.extend(self.remove(&id));
                continue;
            }
            let Some(manager) = self.objects.get_mut(&id) else {
                continue;
            };
            manager.subscriptions.clear();
            for owner in std::mem::take(&mut manager.owners) {
                if let Some(session) = self.sessions.get_mut(&owner) {
                    session.objects.remove(&id);
                }
            }
        }
        dead
    }

    /// Forgets `session`, which lets go of everything or, with `releases`, ends it for everyone.
    pub(super) fn close(&mut self, session: &str, releases: bool) -> Dead {
        let Some(known) = self.sessions.remove(session) else {
            return Dead::new();
        };
        let mut dead = Dead::new();
        for id in &known.objects {
            dead.extend(if releases { self.release(id) } else { self.unref(session, id) });
        }
        dead
    }

    /// Marks `session` as alive; whether it is known.
    pub(super) fn keep_alive(&mut self, session: &str) -> bool {
        let known = self.sessions.get_mut(session);
        known.map(|session| session.is_used = true).is_some()
    }

    /// One collection: closes the sessions without a sign of life since the last.
    pub(super) fn collect(&mut self) -> Dead {
        let idle = self.sessions.iter().filter(|(_, session)| !session.is_used);
        let idle: Vec<Id> = idle.map(|(id, _)| id.clone()).collect();
        let mut dead = Dead::new();
        for id in &idle {
            dead.extend(self.close(id, false));
        }
        self.sessions.values_mut().for_each(|session| session.is_used = false);
        dead
    }

    /// The ids of the known sessions, in their order.
    pub(super) fn sessions(&self) -> impl ExactSizeIterator<Item = &Id> {
        self.sessions.keys()
    }

    /// `id` after all that hangs on it.
    fn with_children(&self, id: &str) -> Vec<Id> {
        let Some((id, object)) = self.objects.get_key_value(id) else {
            return Vec::new();
        };
        let mut ids: Vec<Id> = object.children.iter().flat_map(|c| self.with_children(c)).collect();
        ids.push(id.clone());
        ids
    }

    /// Takes out one object without children; nothing refers to it afterwards.
    fn remove(&mut self, id: &Id) -> Option<(Id, Object)> {
        let object = self.objects.remove(id)?;
        if let Some(parent) = object.parent.as_ref().and_then(|p| self.objects.get_mut(p)) {
            parent.children.remove(id);
        }
        for owner in &object.owners {
            if let Some(session) = self.sessions.get_mut(owner) {
                session.objects.remove(id);
            }
        }
        Some((id.clone(), object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dead: &Dead) -> Vec<&str> {
        dead.iter().map(|(id, _)| &**id).collect()
    }

    fn with_a_pipeline_of(session: &Id) -> Objects {
        let mut objects = Objects::new(Time::ZERO);
        let pipeline = TYPES.class("MediaPipeline").unwrap();
        let element = TYPES.class("PassThrough").unwrap();
        objects.insert(session, &"p".into(), (pipeline, None), Time::ZERO);
        objects.insert(session, &"p/e".into(), (element, Some("p".into())), Time::ZERO);
        objects
    }

    #[test]
    fn an_object_dies_with_its_last_owner() {
        let (ana, ben): (Id, Id) = ("ana".into(), "ben".into());
        let mut objects = with_a_pipeline_of(&ana);
        objects.take(&ben, "p").unwrap();
        assert_eq!(names(&objects.close("ana", false)), ["p/e"]);
        assert!(objects.get("p").is_some());
        assert_eq!(names(&objects.unref("ben", "p")), ["p"]);
    }

    #[test]
    fn who_owns_the_parent_owns_what_is_created_under_it() {
        let (ana, ben): (Id, Id) = ("ana".into(), "ben".into());
        let mut objects = with_a_pipeline_of(&ana);
        objects.take(&ben, "p").unwrap();
        let element = TYPES.class("PassThrough").unwrap();
        objects.insert(&ana, &"p/f".into(), (element, Some("p".into())), Time::ZERO);
        assert_eq!(names(&objects.close("ana", false)), ["p/e"]);
        assert_eq!(names(&objects.release("p")), ["p/f", "p"]);
    }

    #[test]
    fn a_silent_session_is_collected_in_the_second_round() {
        let ana: Id = "ana".into();
        let mut objects = with_a_pipeline_of(&ana);
        assert!(objects.collect().is_empty());
        assert!(objects.keep_alive("ana"));
        assert!(objects.collect().is_empty());
        assert_eq!(names(&objects.collect()), ["p/e", "p"]);
        assert!(!objects.keep_alive("ana"));
    }

    #[test]
    fn releasing_the_manager_ends_its_subscriptions_only() {
        let ana: Id = "ana".into();
        let mut objects = with_a_pipeline_of(&ana);
        let manager = objects.take(&ana, MANAGER).unwrap();
        objects.subscribe(&ana, &manager, "ObjectCreated", "s".into());
        assert_eq!(objects.get(MANAGER).unwrap().subscribers("ObjectCreated").len(), 1);
        assert!(objects.release(MANAGER).is_empty());
        assert!(objects.get(MANAGER).unwrap().subscribers("ObjectCreated").is_empty());
    }
}
