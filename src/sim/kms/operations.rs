//! Operations that `invoke` runs on an object.

mod element;
mod endpoint;
mod manager;
mod properties;

use serde_json::{Value, json};

use super::Kms;
use super::events::tags;
use super::methods::Outcome;
use super::objects::{MANAGER_ID, MediaObject, pipeline_of};
use super::types::Kind;
use super::wire::{Fault, Object, text_param, to_text};

/// One operation on an object that exists.
struct Op<'a> {
    id: &'a str,
    kind: &'static Kind,
    name: &'a str,
    args: Option<&'a Object>,
}

impl Op<'_> {
    fn arg(&self, name: &str) -> Option<&Value> {
        self.args.and_then(|args| args.get(name))
    }

    /// An argument as text.
    ///
    /// # Errors
    /// 40001 if it is missing or has no text.
    fn text(&self, name: &str) -> Result<String, Fault> {
        if self.args.is_none() {
            return Err(Fault::marshal("'operationParams' is required"));
        }
        let value = self
            .arg(name)
            .ok_or_else(|| Fault::marshal(format!("'{name}' parameter is required")))?;
        to_text(value)
            .ok_or_else(|| Fault::marshal(format!("'{name}' parameter should be a string")))
    }
}

/// Each family of operations answers those it has; none stands for "not mine".
type Family = fn(&mut Kms, &Op<'_>) -> Option<Outcome>;

const FAMILIES: &[Family] = &[
    Kms::manager_operation,
    Kms::object_operation,
    Kms::element_operation,
    Kms::endpoint_operation,
    Kms::property_operation,
];

impl Kms {
    /// The method `invoke`.
    pub(super) fn invoke(&mut self, params: &Object, session: &str) -> Outcome {
        let name = text_param(params, "operation")?;
        let id = text_param(params, "object")?;
        let args = match params.get("operationParams") {
            Some(Value::Object(args)) => Some(args),
            _ => None,
        };
        let kind = self.enter(session, &id)?;
        let op = Op { id: &id, kind, name: &name, args };
        let outcome = FAMILIES.iter().find_map(|family| family(self, &op));
        let unknown = || Err(Fault::operation(&name, args.map_or(0, Object::len)));
        outcome.unwrap_or_else(unknown).map(|value| json!({"value": value}))
    }

    /// What every object can do.
    fn object_operation(&mut self, op: &Op<'_>) -> Option<Outcome> {
        let object = self.objects.find_mut(op.id)?;
        let value = match op.name {
            "getId" => json!(op.id),
            "getName" => json!(object.name),
            "setName" => return Some(op.text("name").map(|name| set(&mut object.name, name))),
            "getChildren" | "getChilds" => json!(object.children),
            "getParent" => json!(object.parent),
            "getMediaPipeline" if op.id == MANAGER_ID => Value::Null,
            "getMediaPipeline" => json!(pipeline_of(op.id)),
            "getGstreamerDot" if op.id != MANAGER_ID => return Some(gstreamer_dot(op)),
            "getCreationTime" => json!(object.created_s),
            "getSendTagsInEvents" => json!(object.sends_tags),
            "setSendTagsInEvents" => return Some(set_sends_tags(object, op)),
            "getTags" => tags(object),
            "addTag" => return Some(add_tag(object, op)),
            "getTag" => return Some(tag(object, op)),
            "removeTag" => return Some(remove_tag(object, op)),
            _ => return None,
        };
        Some(Ok(value))
    }
}

/// The drawing of a graph without nodes: there is no media.
fn gstreamer_dot(op: &Op<'_>) -> Outcome {
    const DETAILS: &[&str] = &[
        "SHOW_MEDIA_TYPE",
        "SHOW_CAPS_DETAILS",
        "SHOW_NON_DEFAULT_PARAMS",
        "SHOW_STATES",
        "SHOW_FULL_PARAMS",
        "SHOW_ALL",
        "SHOW_VERBOSE",
    ];
    let details = op.arg("details").map(|details| details.as_str().unwrap_or_default());
    if details.is_some_and(|details| !DETAILS.contains(&details)) {
        return Err(Fault::marshal("Invalid value for 'GstreamerDotDetails'"));
    }
    Ok(json!("digraph pipeline {\n}\n"))
}

fn set(name: &mut String, to: String) -> Value {
    *name = to;
    Value::Null
}

fn set_sends_tags(object: &mut MediaObject, op: &Op<'_>) -> Outcome {
    let Some(value) = op.arg("sendTagsInEvents").and_then(Value::as_bool) else {
        return Err(Fault::marshal("'sendTagsInEvents' parameter should be a boolean"));
    };
    object.sends_tags = value;
    Ok(Value::Null)
}

fn add_tag(object: &mut MediaObject, op: &Op<'_>) -> Outcome {
    let (key, value) = (op.text("key")?, op.text("value")?);
    object.tags.insert(key, value);
    Ok(Value::Null)
}

fn tag(object: &MediaObject, op: &Op<'_>) -> Outcome {
    object.tags.get(&op.text("key")?).map(|value| json!(value)).ok_or_else(no_tag)
}

fn remove_tag(object: &mut MediaObject, op: &Op<'_>) -> Outcome {
    object.tags.remove(&op.text("key")?).map(|_| Value::Null).ok_or_else(no_tag)
}

fn no_tag() -> Fault {
    Fault::kurento(40110, "MEDIA_OBJECT_TAG_KEY_NOT_FOUND", "Tag key not found")
}
