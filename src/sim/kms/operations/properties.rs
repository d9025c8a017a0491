//! Properties that are only stored: `getX`, `setX`.

use serde_json::{Value, json};

use super::Op;
use crate::sim::kms::Kms;
use crate::sim::kms::methods::Outcome;
use crate::sim::kms::wire::Fault;

/// How a property starts and what may be stored in it.
#[derive(Clone, Copy)]
enum Start {
    /// Text.
    Text(&'static str),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Text that only the element itself changes.
    Fixed(&'static str),
}

/// Type that has it, property, start. Source: the module descriptions of Kurento 7.3.
const PROPERTIES: &[(&str, &str, Start)] = &[
    ("MediaPipeline", "latencyStats", Start::Flag(false)),
    ("MediaElement", "minOutputBitrate", Start::Number(0)),
    ("MediaElement", "maxOutputBitrate", Start::Number(0)),
    ("MediaElement", "minOuputBitrate", Start::Number(0)),
    ("MediaElement", "maxOuputBitrate", Start::Number(0)),
    ("SdpEndpoint", "maxAudioRecvBandwidth", Start::Number(0)),
    ("SdpEndpoint", "maxVideoRecvBandwidth", Start::Number(0)),
    ("BaseRtpEndpoint", "minVideoRecvBandwidth", Start::Number(0)),
    ("BaseRtpEndpoint", "minVideoSendBandwidth", Start::Number(100)),
    ("BaseRtpEndpoint", "maxVideoSendBandwidth", Start::Number(500)),
    ("BaseRtpEndpoint", "mtu", Start::Number(1200)),
    ("BaseRtpEndpoint", "connectionState", Start::Fixed("DISCONNECTED")),
    ("BaseRtpEndpoint", "mediaState", Start::Fixed("DISCONNECTED")),
    ("WebRtcEndpoint", "networkInterfaces", Start::Text("")),
    ("WebRtcEndpoint", "iceTcp", Start::Flag(true)),
    ("WebRtcEndpoint", "stunServerAddress", Start::Text("")),
    ("WebRtcEndpoint", "stunServerPort", Start::Number(3478)),
    ("WebRtcEndpoint", "turnUrl", Start::Text("")),
    ("WebRtcEndpoint", "externalIPv4", Start::Text("")),
    ("WebRtcEndpoint", "externalIPv6", Start::Text("")),
    ("UriEndpoint", "uri", Start::Fixed("")),
    ("UriEndpoint", "state", Start::Fixed("STOP")),
    ("PlayerEndpoint", "position", Start::Number(0)),
    ("GStreamerFilter", "command", Start::Fixed("")),
];

impl Kms {
    /// Gets or sets a stored property of the object's type; none if the type has no such property.
    pub(super) fn property_operation(&mut self, op: &Op<'_>) -> Option<Outcome> {
        let (verb, rest) = op.name.split_at_checked(3)?;
        let mut letters = rest.chars();
        let name = letters.next()?.to_ascii_lowercase().to_string() + letters.as_str();
        let found = PROPERTIES.iter().find(|(kind, of, _)| *of == name && op.kind.is(kind));
        let (_, name, start) = found?;
        match verb {
            "get" => Some(Ok(self.property(op.id, name).cloned().unwrap_or_else(|| start.value()))),
            "set" if !matches!(start, Start::Fixed(_)) => Some(self.set_property(op, name, *start)),
            _ => None,
        }
    }

    fn set_property(&mut self, op: &Op<'_>, name: &str, start: Start) -> Outcome {
        let Some(args) = op.args else {
            return Err(Fault::marshal("'operationParams' is required"));
        };
        let value = args.get(name).unwrap_or(&Value::Null);
        let (is_right, what) = match start {
            Start::Text(_) | Start::Fixed(_) => (value.is_string(), "string"),
            Start::Number(_) => (value.is_i64(), "integer"),
            Start::Flag(_) => (value.is_boolean(), "boolean"),
        };
        if !is_right {
            return Err(Fault::marshal(format!("'{name}' parameter should be a {what}")));
        }
        self.keep(op.id, name, value.clone());
        Ok(Value::Null)
    }
}

impl Start {
    fn value(self) -> Value {
        match self {
            Self::Text(text) | Self::Fixed(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Flag(flag) => json!(flag),
        }
    }
}
