//! Events of the server manager: read from a backend, written for clients.

use serde::Deserialize;

use super::json::quote;
use super::request::MANAGER;
use crate::model::PipelineId;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Created,
    /// It is no more.
    Destroyed,
}

impl Change {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Created, Self::Destroyed];

    /// The event's name.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Created => "ObjectCreated",
            Self::Destroyed => "ObjectDestroyed",
        }
    }

    /// The member that holds the object's id.
    const fn member(self) -> &'static str {
        match self {
            Self::Created => "object",
            Self::Destroyed => "objectId",
        }
    }
}

/// An event that can be subscribed to on the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagerEvent {
    /// `ObjectCreated` or `ObjectDestroyed`.
    Object(Change),
    /// `Error`, which every object has.
    Error,
}

impl ManagerEvent {
    /// The event of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is_named = |change: &Change| change.event() == name;
        let change = Change::ALL.into_iter().find(is_named).map(Self::Object);
        change.or_else(|| (name == "Error").then_some(Self::Error))
    }
}

/// One object was made or is gone, on whichever backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEvent {
    /// Which of the two.
    pub change: Change,
    /// The object's id.
    pub object: String,
    /// The pipeline that the object is or belongs to; `None` for an object without.
    pub pipeline: Option<PipelineId>,
    /// When, in milliseconds since 1970, as the backend wrote it.
    pub at_millis: String,
    /// The whole message, without tags of the manager.
    pub text: String,
}

#[derive(Deserialize)]
struct Message {
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    value: Event,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    name: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(alias = "objectId")]
    object: String,
    #[serde(rename = "timestampMillis")]
    at_millis: String,
}

impl ObjectEvent {
    /// Reads a backend's message; `None` if it is none of these events.
    #[must_use]
    pub fn parse(message: &str) -> Option<Self> {
        let Message { params: Params { value: Event { name, data } } } =
            serde_json::from_str(message).ok()?;
        let change = Change::ALL.into_iter().find(|change| change.event() == name)?;
        Some(Self::new(change, data.object, data.at_millis))
    }

    /// The event about `object`.
    #[must_use]
    pub fn new(change: Change, object: String, at_millis: String) -> Self {
        let pipeline = PipelineId::parse(&object);
        let mut event = Self { change, object, pipeline, at_millis, text: String::new() };
        event.text = event.text_with("[]");
        event
    }

    /// The message for clients with these tags, a JSON array, as Kurento writes it.
    #[must_use]
    pub fn text_with(&self, tags: &str) -> String {
        let (member, name) = (self.change.member(), self.change.event());
        let (object, at) = (quote(&self.object), quote(&self.at_millis));
        format!(
            concat!(
                r#"{{"jsonrpc":"2.0","method":"onEvent","params":{{"value":{{"data":{{"{}":{},"#,
                r#""source":"{}","tags":{},"timestampMillis":{}}},"object":"{}","type":"{}"}}}}}}"#
            ),
            member, object, MANAGER, tags, at, MANAGER, name
        )
    }
}

/// The `Error` event of the manager that tells of `count` events which this client did not get.
/// `at_millis` counts from 1970.
#[must_use]
pub fn events_lost(count: u64, tags: &str, at_millis: u64) -> String {
    format!(
        concat!(
            r#"{{"jsonrpc":"2.0","method":"onEvent","params":{{"value":{{"data":{{"#,
            r#""description":"{} events of the server manager were dropped: read faster","#,
            r#""errorCode":40009,"source":"{}","tags":{},"timestampMillis":"{}","#,
            r#""type":"NOT_ENOUGH_RESOURCES"}},"object":"{}","type":"Error"}}}}}}"#
        ),
        count, MANAGER, tags, at_millis, MANAGER
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = "57be609d-a2f1-4e64-ba1b-51a0012a1bb4_kurento.MediaPipeline";

    /// As a real server wrote them.
    fn recorded(change: Change, object: &str) -> String {
        let member = change.member();
        let name = change.event();
        format!(
            concat!(
                r#"{{"jsonrpc":"2.0","method":"onEvent","params":{{"value":{{"data":{{"{}":"{}","#,
                r#""source":"manager_ServerManager","tags":[],"timestampMillis":"1795235004113"}},"#,
                r#""object":"manager_ServerManager","type":"{}"}}}}}}"#
            ),
            member, object, name
        )
    }

    #[test]
    fn an_event_goes_out_as_it_came() {
        for change in Change::ALL {
            for object in [PIPELINE.to_owned(), format!("{PIPELINE}/x_kurento.PassThrough")] {
                let text = recorded(change, &object);
                let event = ObjectEvent::parse(&text).unwrap();
                assert_eq!((event.change, &event.text), (change, &text));
                assert_eq!(event.pipeline, PipelineId::parse(PIPELINE));
            }
        }
        let other = ObjectEvent::new(Change::Created, "\"odd".to_owned(), "1".to_owned());
        assert_eq!(other.pipeline, None);
        assert_eq!(ObjectEvent::parse(&other.text), Some(other));
    }

    #[test]
    fn tags_are_put_in_where_kurento_has_them() {
        let event = ObjectEvent::new(Change::Destroyed, PIPELINE.to_owned(), "12".to_owned());
        let value: serde_json::Value =
            serde_json::from_str(&event.text_with(r#"[{"key":"a","value":"b"}]"#)).unwrap();
        assert_eq!(value["params"]["value"]["data"]["tags"][0]["key"], "a");
        assert_eq!(value["params"]["value"]["data"]["objectId"], PIPELINE);
    }

    #[test]
    fn what_is_no_such_event_is_passed_over() {
        let other = recorded(Change::Created, PIPELINE).replace("ObjectCreated", "Flood");
        for text in ["", "{}", r#"{"id":"a","result":{}}"#, &other] {
            assert_eq!(ObjectEvent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_of_events_are_those_of_the_manager() {
        let created = ManagerEvent::Object(Change::Created);
        assert_eq!(ManagerEvent::parse("ObjectCreated"), Some(created));
        assert_eq!(ManagerEvent::parse("Error"), Some(ManagerEvent::Error));
        assert_eq!(ManagerEvent::parse("objectcreated"), None);
    }

    #[test]
    fn a_loss_of_events_is_told_as_an_error_of_the_manager() {
        let value: serde_json::Value =
            serde_json::from_str(&events_lost(7, "[]", 1_795_235_004_113)).unwrap();
        let value = &value["params"]["value"];
        assert_eq!((&value["object"], &value["type"]), (&MANAGER.into(), &"Error".into()));
        assert_eq!(value["data"]["errorCode"], 40009);
        assert_eq!(value["data"]["timestampMillis"], "1795235004113");
    }
}
