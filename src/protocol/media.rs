//! Elements and what connects them: what a call says of it, and what the id of an element tells.
//!
//! Only what makes, connects, disconnects or releases elements is read here. A reference to the result
//! of another operation of a transaction is resolved when the answer is there.

use std::borrow::Cow;
use std::ops::Range;

use super::json::{JsonError, Reader, Text};
use super::object::{ObjectType, newref};
use super::request::{Method, Params};
use crate::model::PipelineId;

/// Longest id of an object that is read, in bytes. Those of a server have some 200 at most, and what is
/// read is kept until the call is answered.
const OBJECT_MAX_LEN: usize = 512;

/// The UUID of an element or a hub. Unique on a server, so also without the pipeline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementId([u8; 16]);

/// What an element costs, as far as its type tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ElementKind {
    /// `WebRtcEndpoint`.
    WebRtc,
    /// `RtpEndpoint`.
    Rtp,
    /// `PlayerEndpoint`.
    Player,
    /// `RecorderEndpoint`.
    Recorder,
    /// `HubPort`: one participant of a mixer.
    MixerPort,
    /// Any type whose name ends in `Filter`, of any module.
    Filter,
    /// `HttpPostEndpoint`, and any other HTTP endpoint.
    Http,
    /// What has mixer ports: `Composite`, `Dispatcher` and the like.
    Hub,
    /// Anything else: `PassThrough`, and types of other modules.
    Other,
}

/// An element or a hub of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Which.
    pub id: ElementId,
    /// The hub that it is a port of.
    pub hub: Option<ElementId>,
    /// What it is.
    pub kind: ElementKind,
}

/// Which media of two elements are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the protocol's word, but for the first: none is said")]
pub enum Media {
    All,
    Audio,
    Video,
    Data,
}

/// A call that changes what media a pipeline carries. Objects as the text has them, so perhaps as a
/// reference to another operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaCall {
    /// `create` of anything but a pipeline; its answer tells what came of it.
    Create,
    /// `release` of an object that is no pipeline, or not known to be one.
    Release(Box<str>),
    /// `connect` of an element to a sink.
    Connect(Box<str>, Box<str>, Media),
    /// `disconnect` of an element from a sink.
    Disconnect(Box<str>, Box<str>, Media),
}

impl ElementId {
    /// The element of this UUID.
    #[must_use]
    pub const fn from_u128(uuid: u128) -> Self {
        Self(uuid.to_be_bytes())
    }
}

impl ElementKind {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in the order of the type.
    pub const ALL: [Self; 9] = [
        Self::WebRtc,
        Self::Rtp,
        Self::Player,
        Self::Recorder,
        Self::MixerPort,
        Self::Filter,
        Self::Http,
        Self::Hub,
        Self::Other,
    ];

    /// Its name for operators.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebRtc => "webrtc",
            Self::Rtp => "rtp",
            Self::Player => "player",
            Self::Recorder => "recorder",
            Self::MixerPort => "mixer_port",
            Self::Filter => "filter",
            Self::Http => "http",
            Self::Hub => "hub",
            Self::Other => "other",
        }
    }

    /// The kind of a type.
    #[must_use]
    pub fn of(kind: &ObjectType<'_>) -> Self {
        let is = |name| kind.is_kurento(name);
        if is("WebRtcEndpoint") {
            Self::WebRtc
        } else if is("RtpEndpoint") {
            Self::Rtp
        } else if is("PlayerEndpoint") {
            Self::Player
        } else if is("RecorderEndpoint") {
            Self::Recorder
        } else if is("HubPort") {
            Self::MixerPort
        } else if kind.is_hub() {
            Self::Hub
        } else if kind.name.ends_with("Filter") {
            Self::Filter
        } else if kind.name.starts_with("Http") && kind.name.ends_with("Endpoint") {
            Self::Http
        } else {
            Self::Other
        }
    }
}

impl Element {
    /// Reads the id of an element or a hub; `None` for a pipeline, the manager and made-up objects.
    ///
    /// Each step of an id begins with a UUID, that of the object or of what it stands in. Source:
    /// Kurento protocol notes, section 5.
    #[must_use]
    pub fn parse(object: &str) -> Option<(PipelineId, Self)> {
        let (above, last) = object.rsplit_once('/')?;
        let uuid = |step: &str| PipelineId::parse(step).map(PipelineId::as_u128);
        let hub = above.rsplit_once('/').and_then(|(_, hub)| uuid(hub));
        let element = Self {
            id: ElementId::from_u128(uuid(last)?),
            hub: hub.map(ElementId::from_u128),
            kind: ElementKind::of(&ObjectType::of(object)?),
        };
        Some((PipelineId::parse(object)?, element))
    }
}

impl Media {
    /// How many kinds of media there are.
    pub const COUNT: usize = 3;

    /// The kinds that are meant, counted from 0.
    #[must_use]
    pub const fn kinds(self) -> Range<usize> {
        match self {
            Self::All => 0..Self::COUNT,
            Self::Audio => 0..1,
            Self::Video => 1..2,
            Self::Data => 2..3,
        }
    }

    /// Reads a raw `mediaType`; `None` for what a server refuses.
    fn parse(raw: &str) -> Option<Self> {
        let text = Text::of(raw)?;
        let all = [("AUDIO", Self::Audio), ("VIDEO", Self::Video), ("DATA", Self::Data)];
        all.into_iter().find(|(name, _)| text.is(name)).map(|(_, media)| media)
    }
}

impl MediaCall {
    /// What a call of `method` with `params` changes; `None` if it changes nothing, as most do.
    #[must_use]
    pub fn of(method: Method, params: &Params<'_>) -> Option<Self> {
        match method {
            Method::Create => (!params.creates_pipeline()).then_some(Self::Create),
            Method::Release => {
                let object = params.object_text().filter(|text| may_be_object(text))?;
                let is_of_interest = object.contains('/') || newref(&object).is_some();
                is_of_interest.then(|| Self::Release(object.into()))
            }
            Method::Invoke => {
                let operation = params.operation.and_then(Text::of)?;
                if operation.is("connect") {
                    ends(params).map(|(from, to, media)| Self::Connect(from, to, media))
                } else if operation.is("disconnect") {
                    ends(params).map(|(from, to, media)| Self::Disconnect(from, to, media))
                } else {
                    None
                }
            }
            Method::Connect
            | Method::Ping
            | Method::Describe
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::Ref
            | Method::Unref
            | Method::KeepAlive
            | Method::CloseSession
            | Method::Transaction => None,
        }
    }
}

/// Source, sink and media of a call that connects or disconnects. Kurento takes the last of two equal
/// members.
fn ends(params: &Params<'_>) -> Option<(Box<str>, Box<str>, Media)> {
    let source = params.object_text()?;
    let (mut sink, mut media) = (None, Some(Media::All));
    let members = params.operation_params.filter(|raw| raw.starts_with('{'))?;
    let read = Reader::new(members, usize::MAX).object(|key, reader| {
        let value = reader.value()?;
        if key.is("sink") {
            sink = Text::of(value).map(Text::decode);
        } else if key.is("mediaType") {
            media = Media::parse(value);
        }
        Ok::<_, JsonError>(())
    });
    read.ok()?;
    let sink: Cow<'_, str> = sink?;
    if !may_be_object(&source) || !may_be_object(&sink) {
        return None;
    }
    Some((source.into(), sink.into(), media?))
}

fn may_be_object(text: &str) -> bool {
    text.len() <= OBJECT_MAX_LEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::protocol::request::parse_request;

    const PIPELINE: &str = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";
    const HUB: &str = "1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_kurento.Composite";
    const OWN: &str = "2cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d22";

    fn read(method: &str, params: &serde_json::Value) -> Option<MediaCall> {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let text = text.to_string();
        let request = parse_request(&text, 64).unwrap();
        MediaCall::of(request.method, &request.params)
    }

    fn invoke(operation: &str, params: &serde_json::Value) -> Option<MediaCall> {
        let object = json!({"object": "a", "operation": operation, "operationParams": params});
        read("invoke", &object)
    }

    #[test]
    fn an_id_tells_pipeline_hub_and_kind() {
        for (kind, known) in [
            ("kurento.WebRtcEndpoint", ElementKind::WebRtc),
            ("kurento.RtpEndpoint", ElementKind::Rtp),
            ("kurento.PlayerEndpoint", ElementKind::Player),
            ("kurento.RecorderEndpoint", ElementKind::Recorder),
            ("kurento.HttpPostEndpoint", ElementKind::Http),
            ("kurento.GStreamerFilter", ElementKind::Filter),
            ("chroma.ChromaFilter", ElementKind::Filter),
            ("kurento.DispatcherOneToMany", ElementKind::Hub),
            ("kurento.PassThrough", ElementKind::Other),
            ("other.WebRtcEndpoint", ElementKind::Other),
        ] {
            let (pipeline, element) = Element::parse(&format!("{PIPELINE}/{OWN}_{kind}")).unwrap();
            assert_eq!(Some(pipeline), PipelineId::parse(PIPELINE));
            assert_eq!((element.kind, element.hub), (known, None), "{kind}");
        }
        let port = format!("{PIPELINE}/{HUB}/{OWN}_kurento.HubPort");
        let (_, port) = Element::parse(&port).unwrap();
        let (_, hub) = Element::parse(&format!("{PIPELINE}/{HUB}")).unwrap();
        assert_eq!((port.kind, port.hub), (ElementKind::MixerPort, Some(hub.id)));
        for no in [PIPELINE, "manager_ServerManager", "a/b", "", "newref:0"] {
            assert_eq!(Element::parse(no), None, "{no}");
        }
    }

    #[test]
    fn what_changes_media_is_read() {
        let connect = |media| Some(MediaCall::Connect("a".into(), "b".into(), media));
        assert_eq!(invoke("connect", &json!({"sink": "b"})), connect(Media::All));
        for (name, media) in
            [("AUDIO", Media::Audio), ("VIDEO", Media::Video), ("DATA", Media::Data)]
        {
            let params = json!({"sink": "b", "mediaType": name, "sinkMediaDescription": "x"});
            assert_eq!(invoke("connect", &params), connect(media));
            let call = MediaCall::Disconnect("a".into(), "b".into(), media);
            assert_eq!(invoke("disconnect", &params), Some(call));
        }
        assert_eq!(read("create", &json!({"type": "PassThrough"})), Some(MediaCall::Create));
        for object in ["a/b", "newref:0"] {
            let call = read("release", &json!({"object": object}));
            assert_eq!(call, Some(MediaCall::Release(object.into())));
        }
    }

    #[test]
    fn what_changes_nothing_is_passed_over() {
        for params in [json!({}), json!({"sink": 5}), json!(["b"]), json!("b")] {
            assert_eq!(invoke("connect", &params), None, "{params}");
        }
        assert_eq!(invoke("connect", &json!({"sink": "b", "mediaType": "SMELL"})), None);
        assert_eq!(invoke("addIceCandidate", &json!({"sink": "b"})), None);
        assert_eq!(read("create", &json!({"type": "kurento.MediaPipeline"})), None);
        assert_eq!(read("release", &json!({"object": PIPELINE})), None);
        assert_eq!(read("unref", &json!({"object": "a/b"})), None);
        let long = format!("a/{}", "b".repeat(OBJECT_MAX_LEN));
        assert_eq!(read("release", &json!({"object": long})), None);
        assert_eq!(invoke("connect", &json!({"sink": long})), None);
    }
}
