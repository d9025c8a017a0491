//! The 13 methods.

use serde_json::{Value, json};

use super::Kms;
use super::objects::MANAGER_ID;
use super::types::{Kind, Under, creatable};
use super::wire::{Fault, Object, Request, text_param, to_text};

/// What a method answers.
pub(super) type Outcome = Result<Value, Fault>;

/// Methods that run without a session named by the client: KMS makes one up.
const OPENING: &[&str] =
    &["connect", "create", "describe", "invoke", "release", "subscribe", "transaction"];
/// Methods that need the session in the request, besides `ping`, which needs none.
const WITHIN: &[&str] = &["closeSession", "keepAlive", "ref", "unref", "unsubscribe"];

/// Whether the server has this method.
pub(super) fn is_known(method: &str) -> bool {
    method == "ping" || OPENING.contains(&method) || WITHIN.contains(&method)
}

impl Kms {
    /// Runs one request.
    pub(super) fn call(&mut self, request: &Request) -> Outcome {
        if !is_known(&request.method) {
            return Err(Fault::unknown_method());
        }
        let empty = Object::new();
        let params = match (&request.params, request.method.as_str()) {
            (Some(params), _) => params,
            (None, "ping" | "connect") => &empty,
            (None, _) => return Err(Fault::no_params()),
        };
        let named = params.get("sessionId").and_then(to_text);
        if request.method == "ping" {
            return Ok(pong(named));
        }
        let session = match named.clone() {
            Some(session) => session,
            None if WITHIN.contains(&request.method.as_str()) => {
                return Err(Fault::parameter("'sessionId' parameter is required"));
            }
            None => self.new_uuid(),
        };
        let result = self.dispatch(&request.method, params, &session, named.is_some())?;
        Ok(with_session(result, session))
    }

    fn dispatch(&mut self, method: &str, params: &Object, session: &str, named: bool) -> Outcome {
        match method {
            "connect" if named && !self.sessions.keep_alive(session) => Err(Fault::session()),
            "connect" => Ok(json!({"serverId": self.server_id})),
            "keepAlive" if !self.sessions.keep_alive(session) => Err(Fault::session()),
            "keepAlive" => Ok(json!({})),
            "closeSession" => self.close_session(params, session),
            "create" => self.create(params, session),
            "describe" => self.describe(params, session),
            "invoke" => self.invoke(params, session),
            "subscribe" => self.subscribe(params, session),
            "unsubscribe" => self.unsubscribe(params, session),
            "ref" => self.add_ref(params, session),
            "unref" => self.remove_ref(params, session),
            "release" => self.release(params),
            "transaction" => self.transaction(params, session),
            _ => Err(Fault::unknown_method()),
        }
    }

    /// Makes the session a co-owner of an object, which is a sign of life.
    ///
    /// # Errors
    /// 40101 or 40109 if there is no such object.
    pub(super) fn enter(&mut self, session: &str, id: &str) -> Result<&'static Kind, Fault> {
        let kind =
            self.objects.find(id).map(|object| object.kind).ok_or_else(|| Fault::object(id))?;
        self.sessions.touch(session);
        self.objects.own(session, id);
        Ok(kind)
    }

    fn create(&mut self, params: &Object, session: &str) -> Outcome {
        let name = text_param(params, "type")?;
        let kind = creatable(&name).ok_or_else(|| {
            let message = format!("Factory '{name}' not found");
            Fault::kurento(40108, "MEDIA_OBJECT_NOT_AVAILABLE", message)
        })?;
        let parent = self.parent_of_new(kind, params.get("constructorParams"))?;
        let uuid = self.new_uuid();
        let id = match &parent {
            Some(parent) => format!("{parent}/{uuid}_kurento.{}", kind.name),
            None => format!("{uuid}_kurento.{}", kind.name),
        };
        self.objects.insert(id.clone(), kind, parent, self.unix_ms() / 1_000);
        if let Some(Value::Object(given)) = params.get("constructorParams")
            && let Some(object) = self.objects.find_mut(&id)
        {
            let kept =
                given.iter().filter(|(name, _)| !matches!(name.as_str(), "mediaPipeline" | "hub"));
            object.properties.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
        }
        self.enter(session, &id)?;
        self.emit(MANAGER_ID, "ObjectCreated", json!({"object": id}));
        Ok(json!({"value": id}))
    }

    /// Checks the constructor parameters of a type and gives the parent they name.
    fn parent_of_new(&self, kind: &Kind, given: Option<&Value>) -> Result<Option<String>, Fault> {
        let (member, base) = match kind.under {
            Under::Nothing => return Ok(None),
            Under::Pipeline => ("mediaPipeline", "MediaPipeline"),
            Under::Hub => ("hub", "Hub"),
        };
        let Some(Value::Object(given)) = given else {
            return Err(Fault::marshal("'constructorParams' is required"));
        };
        let text = |member: &str| {
            let text = given.get(member).and_then(to_text);
            text.ok_or_else(|| Fault::marshal(format!("'{member}' parameter should be a string")))
        };
        let parent = text(member)?;
        let found = self.objects.find(&parent).ok_or_else(|| Fault::object(&parent))?;
        if !found.kind.is(base) {
            return Err(Fault::unexpected("bad_weak_ptr"));
        }
        for needed in kind.needs {
            text(needed)?;
        }
        Ok(Some(parent))
    }

    fn describe(&mut self, params: &Object, session: &str) -> Outcome {
        let kind = self.enter(session, &text_param(params, "object")?)?;
        let hierarchy: Vec<String> =
            kind.bases.iter().map(|base| format!("kurento.{base}")).collect();
        let qualified = format!("kurento.{}", kind.name);
        Ok(json!({"hierarchy": hierarchy, "qualifiedType": qualified, "type": kind.name}))
    }

    fn subscribe(&mut self, params: &Object, session: &str) -> Outcome {
        let event = text_param(params, "type")?;
        let object = text_param(params, "object")?;
        let kind = self.enter(session, &object)?;
        if !kind.has_event(&event) {
            let message = format!("Event '{event}' not supported");
            return Err(Fault::kurento(40106, "MEDIA_OBJECT_EVENT_NOT_SUPPORTED", message));
        }
        let id = self.new_uuid();
        self.sessions.subscribe(session, (object, event), id.clone());
        Ok(json!({"value": id}))
    }

    fn unsubscribe(&mut self, params: &Object, session: &str) -> Outcome {
        let subscription = text_param(params, "subscription")?;
        self.sessions.unsubscribe(session, &text_param(params, "object")?, &subscription);
        Ok(json!({}))
    }

    fn add_ref(&mut self, params: &Object, session: &str) -> Outcome {
        self.enter(session, &text_param(params, "object")?)?;
        Ok(json!({}))
    }

    fn remove_ref(&mut self, params: &Object, session: &str) -> Outcome {
        self.disown(session, &text_param(params, "object")?);
        Ok(json!({}))
    }

    fn release(&mut self, params: &Object) -> Outcome {
        self.destroy_tree(&text_param(params, "object")?);
        Ok(json!({}))
    }

    fn close_session(&mut self, params: &Object, session: &str) -> Outcome {
        if params.get("release").and_then(Value::as_bool) == Some(true) {
            for id in self.objects.owned_by(session) {
                self.destroy_tree(&id);
            }
        }
        self.end_session(session);
        Ok(Value::Null)
    }

    /// Removes a session and its share in all objects.
    pub(super) fn end_session(&mut self, session: &str) {
        for id in self.objects.owned_by(session) {
            self.disown(session, &id);
        }
        self.sessions.remove(session);
    }

    fn disown(&mut self, session: &str, id: &str) {
        for below in self.objects.subtree(id) {
            self.sessions.forget_object(&below, Some(session));
        }
        for orphan in self.objects.disown(session, id) {
            self.destroy(&orphan);
        }
    }

    /// Destroys an object and all below it. Of the manager only the subscriptions end.
    fn destroy_tree(&mut self, id: &str) {
        if id == MANAGER_ID {
            self.sessions.forget_object(MANAGER_ID, None);
            return;
        }
        for id in self.objects.subtree(id) {
            self.destroy(&id);
        }
    }

    fn destroy(&mut self, id: &str) {
        self.objects.remove(id);
        self.sessions.forget_object(id, None);
        self.emit(MANAGER_ID, "ObjectDestroyed", json!({"objectId": id}));
    }
}

fn pong(session: Option<String>) -> Value {
    match session {
        Some(session) => json!({"sessionId": session, "value": "pong"}),
        None => json!({"value": "pong"}),
    }
}

/// Adds the session to a result; `null` stays null.
fn with_session(mut result: Value, session: String) -> Value {
    if let Value::Object(members) = &mut result {
        members.insert("sessionId".into(), Value::String(session));
    }
    result
}
