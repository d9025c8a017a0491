//! Sessions of a server and the connections they are tied to.

use std::collections::{BTreeMap, BTreeSet};

use super::ConnId;

/// Object and event type that a subscription is for.
pub(super) type Topic = (String, String);

/// What the server knows of one session.
#[derive(Debug, Default)]
struct Session {
    /// Whether there was a sign of life since the last garbage collection.
    alive: bool,
    /// Ids of subscriptions by what they are for; several ids still give one event.
    subscriptions: BTreeMap<Topic, BTreeSet<String>>,
}

/// All sessions and ties. Any name makes a session.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_name: BTreeMap<String, Session>,
    session_of: BTreeMap<ConnId, String>,
    conn_of: BTreeMap<String, ConnId>,
}

impl Sessions {
    /// Notes a sign of life, making the session if there is none.
    pub(super) fn touch(&mut self, name: &str) {
        match self.by_name.get_mut(name) {
            Some(session) => session.alive = true,
            None => {
                let session = Session { alive: true, ..Session::default() };
                self.by_name.insert(name.to_owned(), session);
            }
        }
    }

    /// Notes a sign of life if the session exists; says whether it does.
    pub(super) fn keep_alive(&mut self, name: &str) -> bool {
        let session = self.by_name.get_mut(name);
        session.map(|session| session.alive = true).is_some()
    }

    /// All names in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    /// The session that a connection is tied to.
    pub(super) fn of_conn(&self, conn: ConnId) -> Option<&String> {
        self.session_of.get(&conn)
    }

    /// Ties `conn` to `name` and to nothing else, taking the session from any other connection.
    pub(super) fn tie(&mut self, conn: ConnId, name: &str) {
        if self.session_of.get(&conn).is_some_and(|old| old == name) {
            return;
        }
        self.untie(conn);
        if let Some(other) = self.conn_of.insert(name.to_owned(), conn) {
            self.session_of.remove(&other);
        }
        self.session_of.insert(conn, name.to_owned());
        self.keep_alive(name);
    }

    /// Removes the tie of a connection.
    pub(super) fn untie(&mut self, conn: ConnId) {
        if let Some(old) = self.session_of.remove(&conn) {
            self.conn_of.remove(&old);
        }
    }

    /// Removes a session and its subscriptions. Its tie stays, as in KMS.
    pub(super) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Ends one period of garbage collection: the sessions without a sign of life during it.
    pub(super) fn collect(&mut self) -> Vec<String> {
        for name in self.conn_of.keys() {
            if let Some(session) = self.by_name.get_mut(name) {
                session.alive = true;
            }
        }
        let dead = self.by_name.iter().filter(|(_, session)| !session.alive);
        let dead: Vec<String> = dead.map(|(name, _)| name.clone()).collect();
        self.by_name.values_mut().for_each(|session| session.alive = false);
        dead
    }

    /// Adds the subscription `id` of an existing session.
    pub(super) fn subscribe(&mut self, name: &str, topic: Topic, id: String) {
        if let Some(session) = self.by_name.get_mut(name) {
            session.subscriptions.entry(topic).or_default().insert(id);
        }
    }

    /// Ends the subscription `id` to `object`; nothing happens if there is none.
    pub(super) fn unsubscribe(&mut self, name: &str, object: &str, id: &str) {
        let Some(session) = self.by_name.get_mut(name) else { return };
        session.subscriptions.retain(|(of, _), ids| {
            if of == object {
                ids.remove(id);
            }
            !ids.is_empty()
        });
    }

    /// Ends all subscriptions to `object`, of one session or of all.
    pub(super) fn forget_object(&mut self, object: &str, only: Option<&str>) {
        let sessions = self.by_name.iter_mut();
        for (_, session) in sessions.filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            session.subscriptions.retain(|(of, _), _| of != object);
        }
    }

    /// The connections of the sessions that subscribed to `topic`, one for each session.
    pub(super) fn listeners(&self, topic: &Topic) -> Vec<ConnId> {
        let sessions = self.by_name.iter();
        let subscribed = sessions.filter(|(_, session)| session.subscriptions.contains_key(topic));
        subscribed.filter_map(|(name, _)| self.conn_of.get(name).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    #[test]
    fn the_last_connection_to_name_a_session_has_it() {
        let mut sessions = Sessions::default();
        sessions.touch("s");
        sessions.tie(A, "s");
        sessions.tie(B, "s");
        assert_eq!(sessions.of_conn(A), None);
        assert_eq!(sessions.of_conn(B).map(String::as_str), Some("s"));
    }

    #[test]
    fn a_session_without_a_tie_goes_after_one_to_two_periods() {
        let mut sessions = Sessions::default();
        sessions.touch("idle");
        sessions.touch("tied");
        sessions.tie(A, "tied");
        assert!(sessions.collect().is_empty());
        assert_eq!(sessions.collect(), ["idle"]);
        sessions.untie(A);
        assert_eq!(sessions.collect(), ["idle", "tied"]);
    }

    #[test]
    fn two_subscriptions_of_a_session_make_one_listener_until_both_end() {
        let mut sessions = Sessions::default();
        sessions.touch("s");
        sessions.tie(A, "s");
        let topic = ("o".to_owned(), "Error".to_owned());
        sessions.subscribe("s", topic.clone(), "1".into());
        sessions.subscribe("s", topic.clone(), "2".into());
        sessions.unsubscribe("s", "o", "1");
        assert_eq!(sessions.listeners(&topic), [A]);
        sessions.unsubscribe("s", "o", "2");
        assert!(sessions.listeners(&topic).is_empty());
    }
}
