//! `invoke`: operations of the objects, and the getters and setters of their properties.

use serde_json::{Map, Value};

use crate::model::pipeline_of_object;

use super::fault::Fault;
use super::load;
use super::methods::{Params, text};
use super::objects::{Id, MANAGER, Object};
use super::server::{Server, map, tags_of};
use super::types::{Method, Property, TYPES, zero};
use super::wire;

impl Server {
    /// The method `invoke`.
    pub(super) fn invoke(&mut self, params: &mut Params) -> Result<Value, Fault> {
        let operation = text(params, "operation")?;
        let object = text(params, "object")?;
        let session = self.session_of(params);
        let id = self.objects.take(&session, &object)?;
        let value = self.operate(&session, &id, &operation, params.get("operationParams"))?;
        let mut result = map("sessionId", &*session);
        result.insert("value".to_owned(), value);
        Ok(Value::Object(result))
    }

    fn operate(
        &mut self,
        session: &Id,
        id: &Id,
        operation: &str,
        given: Option<&Value>,
    ) -> Result<Value, Fault> {
        let class = self.object(id)?.class;
        if let Some(method) = TYPES.method(class, operation) {
            let args = TYPES.check(&method.params, given, "operationParams")?;
            self.take_args(session, &method.params, &args)?;
            return self.run(id, method, &args);
        }
        if let Some(property) = TYPES.property(class, operation, "get") {
            return self.property(id, property);
        }
        let writable = TYPES.property(class, operation, "set").filter(|p| p.is_writable);
        if let Some(property) = writable {
            let mut args = TYPES.check(&[property.as_param()], given, "operationParams")?;
            let value = args.remove(property.name).unwrap_or_default();
            self.set_property(id, property.name, value)?;
            return Ok(Value::Null);
        }
        let count = match given {
            Some(Value::Object(members)) => members.len(),
            Some(Value::Array(items)) => items.len(),
            Some(_) | None => 0,
        };
        let message = format!("Method '{operation}' with {count} parameters not found");
        Err(Fault::malformed(message))
    }

    /// Runs an operation; one that is not modelled does nothing and returns the zero of its type.
    fn run(&mut self, id: &Id, method: &Method, args: &Params) -> Result<Value, Fault> {
        let object = self.object(id)?;
        let is_element = object.is_a("MediaElement");
        let is_player = object.is_a("PlayerEndpoint");
        let is_recorder = object.is_a("RecorderEndpoint");
        let kind = args.get("mediaType").and_then(Value::as_str).unwrap_or_default();
        match method.name {
            "addTag" | "removeTag" | "getTag" | "getTags" => self.tag(id, method.name, args),
            "getKmd" | "getCpuCount" | "getUsedCpu" | "getUsedMemory" => {
                self.manager_operation(method.name, args)
            }
            "connect" if is_element => self.connect_element(id, args),
            "disconnect" if is_element => self.disconnect_element(id, args),
            "getSourceConnections" => self.source_connections(id, args),
            "getSinkConnections" => self.sink_connections(id, args),
            "isMediaFlowingIn" => self.is_flowing(id, "in", kind),
            "isMediaFlowingOut" => self.is_flowing(id, "out", kind),
            "isMediaTranscoding" => {
                Ok((kind == "VIDEO" && load::transcodes(&self.objects, object)).into())
            }
            "generateOffer" => self.generate_offer(id, args),
            "processOffer" => self.process_offer(id, args),
            "processAnswer" => self.process_answer(id, args),
            "getLocalSessionDescriptor" => self.descriptor(id, true),
            "getRemoteSessionDescriptor" => self.descriptor(id, false),
            "gatherCandidates" => self.gather_candidates(id),
            "addIceCandidate" => self.add_candidate(id, args),
            "play" | "pause" | "stop" if is_player => self.player(id, method.name),
            "record" | "pause" | "stop" | "stopAndWait" if is_recorder => {
                self.recorder(id, method.name)
            }
            "getGstreamerDot" => Ok(self.graph(id).into()),
            "getUrl" => Ok(format!("http://{}:0/{id}", self.settings.media_address).into()),
            _ => Ok(zero(method.returns)),
        }
    }

    fn tag(&mut self, id: &Id, operation: &str, args: &Params) -> Result<Value, Fault> {
        let arg = |name: &str| args.get(name).and_then(wire::as_text).unwrap_or_default();
        let (key, value) = (arg("key"), arg("value"));
        let object = self.object_mut(id)?;
        let known = match operation {
            "addTag" => {
                object.tags.insert(key, value);
                return Ok(Value::Null);
            }
            "getTags" => return Ok(tags_of(object)),
            "removeTag" => object.tags.remove(&key).map(|_| Value::Null),
            _ => object.tags.get(&key).map(|value| value.as_str().into()),
        };
        let kind = "MEDIA_OBJECT_TAG_KEY_NOT_FOUND";
        known.ok_or_else(|| Fault::kurento(40110, kind, "Tag key not found"))
    }

    fn property(&mut self, id: &Id, property: &Property) -> Result<Value, Fault> {
        if &**id == MANAGER
            && let Some(value) = self.manager_value(property.name)
        {
            return Ok(value);
        }
        let object = self.object(id)?;
        Ok(match property.name {
            "id" => (&**id).into(),
            "name" => object.name.as_deref().unwrap_or(id).into(),
            "parent" => object.parent.as_deref().map_or(Value::Null, Value::from),
            "mediaPipeline" if &**id == MANAGER => Value::Null,
            "mediaPipeline" => pipeline_of_object(id).into(),
            "children" => object.children.iter().map(|child| Value::from(&**child)).collect(),
            "sendTagsInEvents" => object.sends_tags.into(),
            "creationTime" => (self.unix_millis(object.created) / 1_000).into(),
            "elementGstreamerDot" => self.graph(id).into(),
            "position" | "videoInfo" => self.player_value(id, property.name)?,
            name => object.values.get(name).unwrap_or(&property.initial).clone(),
        })
    }

    fn set_property(&mut self, id: &Id, name: &str, value: Value) -> Result<(), Fault> {
        let object = self.object_mut(id)?;
        match name {
            "name" => object.name = wire::as_text(&value),
            "sendTagsInEvents" => object.sends_tags = value == Value::Bool(true),
            _ => drop(object.values.insert(name.to_owned(), value)),
        }
        Ok(())
    }

    /// The graph of an object and what hangs on it, in the language of Graphviz.
    fn graph(&self, id: &Id) -> String {
        let mut graph = String::from(
            "digraph pipeline {\n  rankdir=LR;\n  fontname=\"sans\";\n  fontsize=\"10\";\n  \
             labelloc=t;\n  nodesep=.1;\n",
        );
        let line =
            |id: &Id, object: &Object| format!("  \"{id}\" [label=\"{}\"];\n", object.class.name);
        let inside = self.objects.in_pipeline(id);
        graph.extend(inside.map(|(id, object)| line(id, object)));
        graph.push_str("}\n");
        graph
    }

    /// Every object of `class`, by id.
    pub(super) fn all_of(&self, class: &str) -> Value {
        let objects = self.objects.iter().filter(|(_, object)| object.class.name == class);
        objects.map(|(id, _)| Value::from(&**id)).collect()
    }
}

/// A register of the module `kurento`.
pub(super) fn register(
    kind: &str,
    members: impl IntoIterator<Item = (&'static str, Value)>,
) -> Value {
    let mut value = Map::from_iter([
        ("__module__".to_owned(), "kurento".into()),
        ("__type__".to_owned(), kind.into()),
    ]);
    value.extend(members.into_iter().map(|(name, member)| (name.to_owned(), member)));
    Value::Object(value)
}
