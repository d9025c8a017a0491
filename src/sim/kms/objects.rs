//! The objects of a server: their tree, their owners, what feeds what.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::types::{Kind, MANAGER};

/// The id of the one manager, the same on every server.
pub(super) const MANAGER_ID: &str = "manager_ServerManager";

/// One object.
#[derive(Debug)]
pub(super) struct MediaObject {
    pub(super) kind: &'static Kind,
    pub(super) parent: Option<String>,
    pub(super) children: BTreeSet<String>,
    pub(super) name: String,
    pub(super) tags: BTreeMap<String, String>,
    /// Whether its events carry its tags.
    pub(super) sends_tags: bool,
    /// Seconds since 1970.
    pub(super) created_s: u64,
    /// What setters have stored and what the element keeps for itself.
    pub(super) properties: BTreeMap<String, Value>,
    owners: BTreeSet<String>,
}

/// Which source feeds a sink with one kind of media (`AUDIO`, `VIDEO` or `DATA`).
pub(super) type Links = BTreeMap<(String, &'static str), String>;

/// All objects, the manager among them.
#[derive(Debug)]
pub(super) struct Objects {
    by_id: BTreeMap<String, MediaObject>,
    /// By sink, which has at most one source for each kind of media.
    pub(super) links: Links,
}

impl Objects {
    /// Only the manager.
    pub(super) fn new() -> Self {
        let mut objects = Self { by_id: BTreeMap::new(), links: Links::new() };
        objects.insert(MANAGER_ID.to_owned(), &MANAGER, None, 0);
        objects
    }

    /// Adds an object, which belongs to all who own its parent.
    pub(super) fn insert(
        &mut self,
        id: String,
        kind: &'static Kind,
        parent: Option<String>,
        created_s: u64,
    ) {
        let mut owners = BTreeSet::new();
        if let Some(parent) = parent.as_deref().and_then(|parent| self.by_id.get_mut(parent)) {
            parent.children.insert(id.clone());
            owners.clone_from(&parent.owners);
        }
        let object = MediaObject {
            kind,
            parent,
            children: BTreeSet::new(),
            name: id.clone(),
            tags: BTreeMap::new(),
            sends_tags: false,
            created_s,
            properties: BTreeMap::new(),
            owners,
        };
        self.by_id.insert(id, object);
    }

    pub(super) fn find(&self, id: &str) -> Option<&MediaObject> {
        self.by_id.get(id)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut MediaObject> {
        self.by_id.get_mut(id)
    }

    /// The ids of all pipelines in order.
    pub(super) fn pipelines(&self) -> Vec<String> {
        let pipelines = self.by_id.iter().filter(|(_, object)| object.kind.name == "MediaPipeline");
        pipelines.map(|(id, _)| id.clone()).collect()
    }

    /// The ids of all objects but the manager.
    pub(super) fn ids(&self) -> Vec<String> {
        self.by_id.keys().filter(|id| *id != MANAGER_ID).cloned().collect()
    }

    /// Makes a session a co-owner of an object and of all above it.
    pub(super) fn own(&mut self, session: &str, id: &str) {
        let mut next = Some(id.to_owned());
        while let Some(object) = next.and_then(|id| self.by_id.get_mut(&id)) {
            object.owners.insert(session.to_owned());
            next = object.parent.clone();
        }
    }

    /// The objects a session co-owns.
    pub(super) fn owned_by(&self, session: &str) -> Vec<String> {
        let owned = self.by_id.iter().filter(|(_, object)| object.owners.contains(session));
        owned.map(|(id, _)| id.clone()).filter(|id| id != MANAGER_ID).collect()
    }

    /// An object and all below it, children before parents. Empty if there is none.
    pub(super) fn subtree(&self, id: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![id.to_owned()];
        while let Some(id) = open.pop() {
            if let Some(object) = self.by_id.get(&id) {
                open.extend(object.children.iter().cloned());
                found.push(id);
            }
        }
        found.reverse();
        found
    }

    /// Ends a session's share in an object and all below it; returns those that nobody owns any
    /// more, children before parents.
    pub(super) fn disown(&mut self, session: &str, id: &str) -> Vec<String> {
        let mut orphans = Vec::new();
        for id in self.subtree(id) {
            let Some(object) = self.by_id.get_mut(&id) else { continue };
            object.owners.remove(session);
            if object.owners.is_empty() && id != MANAGER_ID {
                orphans.push(id);
            }
        }
        orphans
    }

    /// Removes one object, which must have no children, and its links.
    pub(super) fn remove(&mut self, id: &str) {
        let Some(object) = self.by_id.remove(id) else { return };
        if let Some(parent) = object.parent.and_then(|parent| self.by_id.get_mut(&parent)) {
            parent.children.remove(id);
        }
        self.links.retain(|(sink, _), source| sink != id && source != id);
    }
}

/// The id of the pipeline that an object belongs to.
pub(super) fn pipeline_of(id: &str) -> &str {
    id.split('/').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::kms::types::creatable;

    fn tree() -> Objects {
        let mut objects = Objects::new();
        let kind = |name| creatable(name).expect("known");
        objects.insert("p".into(), kind("MediaPipeline"), None, 0);
        objects.own("a", "p");
        objects.insert("p/e".into(), kind("PassThrough"), Some("p".into()), 0);
        objects
    }

    #[test]
    fn an_element_belongs_to_all_who_own_its_pipeline() {
        let mut objects = tree();
        objects.own("b", "p/e");
        assert_eq!(objects.owned_by("a"), ["p", "p/e"]);
        assert_eq!(objects.owned_by("b"), ["p", "p/e"]);
        assert!(objects.disown("a", "p").is_empty());
        assert_eq!(objects.disown("b", "p"), ["p/e", "p"]);
    }

    #[test]
    fn removing_an_element_ends_its_links() {
        let mut objects = tree();
        objects.links.insert(("p/e".into(), "AUDIO"), "p/f".into());
        objects.remove("p/e");
        assert!(objects.links.is_empty());
        assert_eq!(objects.subtree("p"), ["p"]);
    }
}
