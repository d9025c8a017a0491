//! Which session a connection is tied to. Source: Kurento protocol notes, section 3.3.

use serde_json::{Map, Value};

use super::objects::Id;
use super::server::Raised;
use super::wire;
use super::{Conn, ConnId, Kms, KmsOutput};

impl Kms {
    /// The session that `conn` is tied to.
    #[must_use]
    pub fn session_of(&self, conn: ConnId) -> Option<&str> {
        self.conns.get(&conn)?.session.as_deref()
    }

    /// The connection that is tied to `session`, where its events go.
    #[must_use]
    pub fn conn_of(&self, session: &str) -> Option<ConnId> {
        self.ties.get(session).copied()
    }

    /// Whether `session` lives here.
    #[must_use]
    pub fn has_session(&self, session: &str) -> bool {
        self.server.objects.has_session(session)
    }

    /// Whether `object` lives here.
    #[must_use]
    pub fn has_object(&self, object: &str) -> bool {
        self.server.objects.get(object).is_some()
    }

    /// Whether `session` has subscribed to anything here that still lives.
    #[must_use]
    pub fn has_subscribed(&self, session: &str) -> bool {
        self.server.objects.has_subscribed(session)
    }

    /// Sends an event to the connection of its session; without one it is lost.
    pub(super) fn deliver(&self, raised: Raised, out: &mut Vec<KmsOutput>) {
        let Some(conn) = self.ties.get(&raised.session) else {
            return;
        };
        if self.conns.get(conn).is_some_and(|known| !known.is_ghost) {
            out.push(KmsOutput::Event { conn: *conn, text: raised.text });
        }
    }

    pub(super) fn tie(&mut self, conn: ConnId, session: Id) {
        if self.ties.get(&session) == Some(&conn) {
            return;
        }
        self.untie(conn);
        self.server.objects.keep_alive(&session);
        if let Some(other) = self.ties.insert(session.clone(), conn) {
            let is_ghost = self.conns.get_mut(&other).is_some_and(|other| {
                other.session = None;
                other.is_ghost
            });
            if is_ghost {
                self.forget(other);
            }
        }
        if let Some(known) = self.conns.get_mut(&conn) {
            known.session = Some(session);
        }
    }

    pub(super) fn untie(&mut self, conn: ConnId) {
        let session = self.conns.get_mut(&conn).and_then(|known| known.session.take());
        if let Some(session) = session.filter(|session| self.ties.get(session) == Some(&conn)) {
            self.ties.remove(&session);
        }
    }

    /// Cuts a connection that sent what cannot be read. A session it has stays tied to what is
    /// left of it, and so is never collected. Source: section 3.6.
    pub(super) fn cut(&mut self, conn: ConnId, out: &mut Vec<KmsOutput>) {
        self.waiting.retain(|(of, _)| *of != conn);
        match self.conns.get_mut(&conn) {
            Some(known) if known.session.is_some() => {
                known.is_ghost = true;
                self.server.conn_count -= 1;
            }
            Some(_) | None => self.forget(conn),
        }
        out.push(KmsOutput::Cut { conn });
    }

    /// Takes `conn` out of the table.
    pub(super) fn forget(&mut self, conn: ConnId) {
        if self.conns.remove(&conn).is_some_and(|known| !known.is_ghost) {
            self.server.conn_count -= 1;
        }
    }
}

/// Puts the session of its connection into a request that names none; `None` if the request has no
/// place for it, at which KMS drops the connection.
pub(super) fn name_session(mut request: Value, conn: &Conn) -> Option<Value> {
    let Some(session) = &conn.session else {
        return Some(request);
    };
    let members = match &mut request {
        Value::Object(members) => members,
        Value::Null => return Some(request),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
    };
    let params = members.entry("params").or_insert(Value::Null);
    if params.is_null() {
        *params = Value::Object(Map::new());
    }
    let params = params.as_object_mut()?;
    if params.get("sessionId").and_then(wire::as_text).is_none() {
        params.insert("sessionId".to_owned(), (&**session).into());
    }
    Some(request)
}
