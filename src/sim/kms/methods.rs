//! The 13 methods. Source: Kurento protocol notes, section 4.

use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::objects::{Id, MANAGER};
use super::server::{Server, map};
use super::types::{Class, Param, TYPES};
use super::wire;

/// Parameters of a request.
pub(super) type Params = Map<String, Value>;

impl Server {
    /// Whether there is a method of this name.
    pub(super) fn has_method(name: &str) -> bool {
        matches!(
            name,
            "connect"
                | "ping"
                | "create"
                | "invoke"
                | "describe"
                | "subscribe"
                | "unsubscribe"
                | "release"
                | "ref"
                | "unref"
                | "keepAlive"
                | "closeSession"
                | "transaction"
        )
    }

    /// Runs `method`; puts the session it drew into `params`.
    ///
    /// # Errors
    /// What the client is told instead of a result.
    pub(super) fn call(&mut self, method: &str, params: &mut Value) -> Result<Value, Fault> {
        if !Self::has_method(method) {
            return Err(Fault::unknown_method());
        }
        if params.is_null() {
            if !matches!(method, "connect" | "ping") {
                return Err(Fault::no_params());
            }
            *params = Value::Object(Params::new());
        }
        let Value::Object(params) = params else {
            return Err(Fault::unexpected(
                "in Json::Value::find(begin, end): requires objectValue or nullValue",
            ));
        };
        self.note_work(method, params);
        match method {
            "connect" => self.connect(params),
            "ping" => Ok(ping(params)),
            "create" => self.create(params),
            "invoke" => self.invoke(params),
            "describe" => self.describe(params),
            "subscribe" => self.subscribe(params),
            "unsubscribe" => self.unsubscribe(params),
            "release" => self.release(params),
            "ref" => self.refer(params),
            "unref" => self.unref(params),
            "keepAlive" => self.keep_alive(params),
            "closeSession" => self.close_session(params),
            _ => self.transaction(params),
        }
    }

    fn connect(&mut self, params: &mut Params) -> Result<Value, Fault> {
        let session = match params.get("sessionId").and_then(wire::as_text) {
            Some(session) if self.objects.keep_alive(&session) => session,
            Some(_) => return Err(Fault::invalid_session()),
            None => self.draw_uuid(),
        };
        params.insert("sessionId".into(), session.as_str().into());
        Ok(json!({ "serverId": self.id, "sessionId": session }))
    }

    fn create(&mut self, params: &mut Params) -> Result<Value, Fault> {
        let name = text(params, "type")?;
        let class = TYPES.class(&name);
        let Some((class, constructor)) = class.and_then(|c| Some((c, c.constructor.as_ref()?)))
        else {
            let message = format!("Factory '{name}' not found");
            return Err(Fault::kurento(40108, "MEDIA_OBJECT_NOT_AVAILABLE", message));
        };
        self.check_room()?;
        let session = self.session_of(params);
        let given = params.get("constructorParams");
        let args = TYPES.check(constructor, given, "constructorParams")?;
        self.take_args(&session, constructor, &args)?;
        let parent = self.parent_in(constructor, &args)?;
        let id = self.id_of_new(class, parent.as_deref());
        self.objects.insert(&session, &id, (class, parent), self.now);
        self.object_mut(&id)?.values = args;
        self.raise(MANAGER, "ObjectCreated", map("object", &*id));
        Ok(json!({ "sessionId": &*session, "value": &*id }))
    }

    /// The object under which one made with `args` stands.
    fn parent_in(&self, constructor: &[Param], args: &Params) -> Result<Option<Id>, Fault> {
        let Some(param) = constructor.iter().find(|p| matches!(p.kind, "MediaPipeline" | "Hub"))
        else {
            return Ok(None);
        };
        let id = args.get(param.name).and_then(wire::as_text).unwrap_or_default();
        if !self.object(&id)?.is_a(param.kind) {
            return Err(Fault::bad_object());
        }
        Ok(Some(id.into()))
    }

    fn id_of_new(&mut self, class: &Class, parent: Option<&str>) -> Id {
        let own = format!("{}_kurento.{}", self.draw_uuid(), class.name);
        parent.map_or_else(|| own.as_str().into(), |parent| format!("{parent}/{own}").into())
    }

    fn describe(&mut self, params: &mut Params) -> Result<Value, Fault> {
        let id = text(params, "object")?;
        let session = self.session_of(params);
        let id = self.objects.take(&session, &id)?;
        let mut line = TYPES.line(self.object(&id)?.class).map(|class| class.name);
        let name = line.next().unwrap_or_default();
        let hierarchy: Vec<String> = line.map(|name| format!("kurento.{name}")).collect();
        let qualified = format!("kurento.{name}");
        Ok(json!({
            "hierarchy": hierarchy,
            "qualifiedType": qualified,
            "sessionId": &*session,
            "type": name,
        }))
    }

    fn subscribe(&mut self, params: &mut Params) -> Result<Value, Fault> {
        let event = text(params, "type")?;
        let id = text(params, "object")?;
        let session = self.session_of(params);
        let id = self.objects.take(&session, &id)?;
        if !TYPES.has_event(self.object(&id)?.class, &event) {
            let message = format!("Event '{event}' not supported");
            return Err(Fault::kurento(40106, "MEDIA_OBJECT_EVENT_NOT_SUPPORTED", message));
        }
        let subscription = self.draw_uuid();
        self.objects.subscribe(&session, &id, &event, subscription.clone());
        Ok(json!({ "sessionId": &*session, "value": subscription }))
    }

    fn unsubscribe(&mut self, params: &Params) -> Result<Value, Fault> {
        let id = text(params, "object")?;
        let subscription = text(params, "subscription")?;
        let session = text(params, "sessionId")?;
        self.objects.unsubscribe(&session, &id, &subscription);
        Ok(json!({ "sessionId": session }))
    }

    fn release(&mut self, params: &mut Params) -> Result<Value, Fault> {
        let id = text(params, "object")?;
        let session = self.session_of(params);
        let dead = self.objects.release(&id);
        self.bury(&dead);
        Ok(json!({ "sessionId": &*session }))
    }

    fn refer(&mut self, params: &Params) -> Result<Value, Fault> {
        let id = text(params, "object")?;
        let session: Id = text(params, "sessionId")?.into();
        self.objects.take(&session, &id)?;
        Ok(json!({ "sessionId": &*session }))
    }

    fn unref(&mut self, params: &Params) -> Result<Value, Fault> {
        let id = text(params, "object")?;
        let session = text(params, "sessionId")?;
        let dead = self.objects.unref(&session, &id);
        self.bury(&dead);
        Ok(json!({ "sessionId": session }))
    }

    fn keep_alive(&mut self, params: &Params) -> Result<Value, Fault> {
        let session = text(params, "sessionId")?;
        if !self.objects.keep_alive(&session) {
            return Err(Fault::invalid_session());
        }
        Ok(json!({ "sessionId": session }))
    }

    fn close_session(&mut self, params: &Params) -> Result<Value, Fault> {
        let session = text(params, "sessionId")?;
        let releases = params.get("release").and_then(Value::as_bool).unwrap_or(false);
        let dead = self.objects.close(&session, releases);
        self.bury(&dead);
        Ok(Value::Null)
    }

    /// The session the request names, else a new one that is put into it.
    pub(super) fn session_of(&mut self, params: &mut Params) -> Id {
        let named = params.get("sessionId").and_then(wire::as_text);
        let session = named.unwrap_or_else(|| self.draw_uuid());
        params.insert("sessionId".into(), session.as_str().into());
        session.into()
    }

    /// Makes `session` an owner of every object among `args`.
    pub(super) fn take_args(
        &mut self,
        session: &Id,
        params: &[Param],
        args: &Params,
    ) -> Result<(), Fault> {
        for param in params.iter().filter(|param| TYPES.class(param.kind).is_some()) {
            if let Some(id) = args.get(param.name).and_then(wire::as_text) {
                self.objects.take(session, &id)?;
            }
        }
        Ok(())
    }
}

fn ping(params: &Params) -> Value {
    let mut result = map("value", "pong");
    if let Some(session) = params.get("sessionId").and_then(wire::as_text) {
        result.insert("sessionId".into(), session.into());
    }
    Value::Object(result)
}

/// The parameter `name` as text.
///
/// # Errors
/// -32000 if it is missing, or an array or object.
pub(super) fn text(params: &Params, name: &str) -> Result<String, Fault> {
    let value = params.get(name).ok_or_else(|| Fault::missing(name))?;
    wire::as_text(value).ok_or_else(|| Fault::wrong_kind(name, "a string"))
}
