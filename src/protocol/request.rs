//! What a client's message asks for, read without building it.

mod whereabouts;

use std::borrow::Cow;

use super::error::Failure;
use super::json::{JsonError, Reader, Text};
use crate::model::{IdError, LabelError, Labels, MeetingName, PipelineId, SessionId};
use whereabouts::SaidParts;
pub use whereabouts::{Said, Vantage};

/// The object id of the server manager, the same on every server.
pub const MANAGER: &str = "manager_ServerManager";

/// Longest request id, in bytes of JSON. A longer one is refused: ids of unanswered calls are kept.
pub const REQUEST_ID_MAX_LEN: usize = 256;

/// The thirteen methods of a Kurento server. Source: `ServerMethods.cpp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the protocol's method of the same name")]
pub enum Method {
    Connect,
    Ping,
    Create,
    Invoke,
    Describe,
    Subscribe,
    Unsubscribe,
    Release,
    Ref,
    Unref,
    KeepAlive,
    CloseSession,
    Transaction,
}

impl Method {
    /// All of them, in the order of the type.
    pub const ALL: [Self; 13] = [
        Self::Connect,
        Self::Ping,
        Self::Create,
        Self::Invoke,
        Self::Describe,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Release,
        Self::Ref,
        Self::Unref,
        Self::KeepAlive,
        Self::CloseSession,
        Self::Transaction,
    ];

    /// The method called `name`; `None` if there is none.
    #[must_use]
    pub fn parse(name: Text<'_>) -> Option<Self> {
        Some(match name.decode().as_ref() {
            "connect" => Self::Connect,
            "ping" => Self::Ping,
            "create" => Self::Create,
            "invoke" => Self::Invoke,
            "describe" => Self::Describe,
            "subscribe" => Self::Subscribe,
            "unsubscribe" => Self::Unsubscribe,
            "release" => Self::Release,
            "ref" => Self::Ref,
            "unref" => Self::Unref,
            "keepAlive" => Self::KeepAlive,
            "closeSession" => Self::CloseSession,
            "transaction" => Self::Transaction,
            _ => return None,
        })
    }

    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Ping => "ping",
            Self::Create => "create",
            Self::Invoke => "invoke",
            Self::Describe => "describe",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Release => "release",
            Self::Ref => "ref",
            Self::Unref => "unref",
            Self::KeepAlive => "keepAlive",
            Self::CloseSession => "closeSession",
            Self::Transaction => "transaction",
        }
    }

    /// Whether it succeeds for an object that is gone, so that a client may repeat it.
    #[must_use]
    pub const fn succeeds_for_the_gone(self) -> bool {
        matches!(self, Self::Release | Self::Unref | Self::Unsubscribe)
    }
}

/// A message that asks something.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The id as it stands in the text: a JSON number, string or boolean.
    pub id: &'a str,
    /// What is asked.
    pub method: Method,
    /// The members of `params`.
    pub params: Params<'a>,
}

/// Members of `params` that routing reads, each as the raw JSON that stands in the text.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "each is the protocol's member of the same name")]
pub struct Params<'a> {
    /// Where a first member could be put in: the offset behind the `{`. `None` without `params`.
    pub opening: Option<Opening>,
    pub session_id: Option<&'a str>,
    pub object: Option<&'a str>,
    /// `type`.
    pub kind: Option<&'a str>,
    pub operation: Option<&'a str>,
    pub operation_params: Option<&'a str>,
    pub subscription: Option<&'a str>,
    pub constructor_params: Option<&'a str>,
    pub properties: Option<&'a str>,
    pub operations: Option<&'a str>,
    pub release: Option<&'a str>,
}

/// The start of the `params` object.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Byte offset behind its `{`.
    pub at: usize,
    /// Whether it has no member.
    pub is_empty: bool,
}

/// What the creator of a pipeline tells about it besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// The meeting it belongs to.
    pub meeting: Option<MeetingName>,
    /// How many people are expected in that meeting.
    pub participants: Option<u32>,
    /// Labels that its backend must have, all of them.
    pub require: Labels,
    /// Where its people are, as its creator says.
    pub said: Option<Said>,
    /// Where the connection comes from on which it is created.
    pub vantage: Option<Vantage>,
    /// Whether that connection has been counted among the people of the meeting, because it named it
    /// in its URL.
    pub is_counted: bool,
}

impl Hints {
    /// These, and those of `url` that they leave open. The labels of both are required.
    ///
    /// # Errors
    /// A label is required to have two values.
    pub fn or(self, url: &Self) -> Result<Self, LabelError> {
        let is_of_url = self.meeting.is_none() || self.meeting == url.meeting;
        Ok(Self {
            meeting: self.meeting.or_else(|| url.meeting.clone()),
            participants: self.participants.or(url.participants),
            require: self.require.and(&url.require)?,
            said: self.said,
            vantage: url.vantage,
            is_counted: url.is_counted && is_of_url,
        })
    }
}

/// A message that goes nowhere, and what its sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The request's id; `null` where Kurento does not echo it either.
    pub id: &'a str,
    /// The reason.
    pub failure: Failure,
}

impl From<JsonError> for Refused<'_> {
    fn from(error: JsonError) -> Self {
        let failure = match error {
            JsonError::Malformed(_) => Failure::malformed(&error.to_string()),
            JsonError::TooDeep => Failure::invalid_request(error.to_string()),
        };
        Self { id: "null", failure }
    }
}

fn refused<'a>(id: &'a str, failure: Failure) -> Refused<'a> {
    Refused { id, failure }
}

/// The members of the envelope, not yet checked.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<&'a str>,
    id: Option<&'a str>,
    method: Option<&'a str>,
    has_params: Option<&'a str>,
    params: Params<'a>,
}

/// Reads one message of a client, nested at most `depth_max` deep.
///
/// Stricter than Kurento in three points, each because Kurento's leniency hurts somebody: a member
/// that routing reads may occur once, a request must have an id, and the text must end with the
/// object.
///
/// # Errors
/// What the sender is to be told; nothing of such a message may reach a backend.
///
/// Source: JSON-RPC 2.0, section 4; what Kurento answers to the same input.
pub fn parse_request(text: &str, depth_max: usize) -> Result<Request<'_>, Refused<'_>> {
    let mut reader = Reader::new(text, depth_max);
    if reader.peek() == Some(b'[') {
        reader.value()?;
        reader.end()?;
        return Err(invalid("batches are not supported: send one request a message"));
    }
    let envelope = read_envelope(&mut reader)?;
    reader.end()?;
    envelope.check()
}

fn read_envelope<'a>(reader: &mut Reader<'a>) -> Result<Envelope<'a>, Refused<'a>> {
    let mut envelope = Envelope::default();
    if reader.peek() != Some(b'{') {
        reader.value()?;
        reader.end()?;
        return Err(invalid("a request is a JSON object"));
    }
    reader.object(|key, reader| {
        let slot = match key.decode().as_ref() {
            "jsonrpc" => &mut envelope.jsonrpc,
            "id" => &mut envelope.id,
            "method" => &mut envelope.method,
            "params" if reader.peek() == Some(b'{') => {
                set(&mut envelope.has_params, "{}", "params")?;
                return read_params(reader, &mut envelope.params);
            }
            "params" => &mut envelope.has_params,
            _ => {
                reader.value()?;
                return Ok(());
            }
        };
        let value = reader.value()?;
        set(slot, value, "jsonrpc, id, method or params")
    })?;
    Ok(envelope)
}

/// Reads a `params` object into `params`.
pub(super) fn read_params<'a>(
    reader: &mut Reader<'a>,
    params: &mut Params<'a>,
) -> Result<(), Refused<'a>> {
    let at = reader.position() + 1;
    let mut is_empty = true;
    reader.object(|key, reader| {
        is_empty = false;
        let value = |reader: &mut Reader<'a>| reader.value().map_err(Refused::from);
        let slot = match key.decode().as_ref() {
            "sessionId" => &mut params.session_id,
            "object" => &mut params.object,
            "type" => &mut params.kind,
            "operation" => &mut params.operation,
            "operationParams" => &mut params.operation_params,
            "subscription" => &mut params.subscription,
            "constructorParams" => &mut params.constructor_params,
            "properties" => &mut params.properties,
            "operations" => &mut params.operations,
            "release" => &mut params.release,
            _ => return value(reader).map(drop),
        };
        let found = value(reader)?;
        set(slot, found, "a member of params")
    })?;
    params.opening = Some(Opening { at, is_empty });
    Ok(())
}

/// Fills `slot` once. Kurento takes the last of two equal keys; whoever reads the first would route
/// by one and let the other act.
fn set<'a>(slot: &mut Option<&'a str>, value: &'a str, what: &str) -> Result<(), Refused<'a>> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{what} occurs twice"))),
    }
}

fn invalid<'a>(why: impl Into<Cow<'static, str>>) -> Refused<'a> {
    refused("null", Failure::invalid_request(why))
}

impl<'a> Envelope<'a> {
    fn check(self) -> Result<Request<'a>, Refused<'a>> {
        if !self.jsonrpc.and_then(Text::of).is_some_and(|version| version.is("2.0")) {
            return Err(invalid("Invalid JSON-RPC request."));
        }
        let id = match self.id {
            None | Some("null") => return Err(invalid("a request needs an id")),
            Some(id) if id.starts_with(['{', '[']) => {
                return Err(invalid("Invalid JSON-RPC request."));
            }
            Some(id) if id.len() > REQUEST_ID_MAX_LEN => {
                return Err(invalid("the id is longer than 256 bytes"));
            }
            Some(id) => id,
        };
        let Some(name) = self.method.and_then(Text::of) else {
            return Err(invalid("Invalid JSON-RPC request."));
        };
        let method = Method::parse(name).ok_or(refused(id, Failure::method_not_found()))?;
        match self.has_params {
            None | Some("null") if matches!(method, Method::Ping | Method::Connect) => {}
            None | Some("null") => {
                return Err(refused(id, Failure::invalid_params("'params' is required")));
            }
            Some("{}") => {}
            Some(_) => {
                return Err(refused(id, Failure::invalid_params("'params' should be an object")));
            }
        }
        Ok(Request { id, method, params: self.params })
    }
}

impl<'a> Params<'a> {
    /// The object the call is about, as Kurento would name it in an error. It takes numbers and
    /// booleans for strings, and null for the empty one; an object or array is no text.
    #[must_use]
    pub fn object_text(&self) -> Option<Cow<'a, str>> {
        let raw = self.object.filter(|raw| !raw.starts_with(['{', '[']))?;
        Some(match Text::of(raw) {
            Some(text) => text.decode(),
            None if raw == "null" => Cow::Borrowed(""),
            None => Cow::Borrowed(raw),
        })
    }

    /// Whether the call creates a pipeline.
    #[must_use]
    pub fn creates_pipeline(&self) -> bool {
        self.kind
            .and_then(Text::of)
            .is_some_and(|kind| kind.is("MediaPipeline") || kind.is("kurento.MediaPipeline"))
    }

    /// The first object that the parameters of a `create` refer to and that lives in a pipeline.
    #[must_use]
    pub fn constructor_object(&self) -> Option<(PipelineId, Cow<'a, str>)> {
        let mut found = None;
        let mut reader = Reader::new(self.constructor_params?, usize::MAX);
        if reader.peek() != Some(b'{') {
            return None;
        }
        let read = reader.object(|_, reader| {
            if let Some(text) = Text::of(reader.value()?).map(Text::decode) {
                found = found.take().or_else(|| Some((PipelineId::parse(&text)?, text)));
            }
            Ok::<_, JsonError>(())
        });
        read.ok().and(found)
    }

    /// What the creator of a pipeline tells in `properties`; Kurento ignores them. Where people are
    /// counts only if the sender `may_say_place`.
    ///
    /// # Errors
    /// What is wrong with a hint that is there and counts. Members that are no hints are passed over.
    pub fn hints(&self, may_say_place: bool) -> Result<Hints, Failure> {
        let mut hints = Hints::default();
        let Some(properties) = self.properties.filter(|raw| raw.starts_with('{')) else {
            return Ok(hints);
        };
        let mut said = SaidParts::default();
        Reader::new(properties, usize::MAX).object(|key, reader| {
            let raw = reader.value()?;
            if key.is("meeting") {
                let name = Text::of(raw).ok_or(HintError("'meeting' should be a string".into()))?;
                hints.meeting = Some(parse_meeting(&name.decode()).map_err(HintError)?);
            } else if key.is("participants") {
                hints.participants = Some(parse_participants(raw).map_err(HintError)?);
            } else if key.is("require") {
                hints.require = parse_require(raw)?;
            } else if may_say_place {
                said.read(key, raw).map_err(HintError)?;
            }
            Ok::<_, HintError>(())
        })?;
        hints.said = said.check().map_err(HintError)?;
        Ok(hints)
    }

    /// Whether the call names `session`, another, or none.
    #[must_use]
    pub fn names(&self, session: &SessionId) -> Named {
        match self.session_id {
            None => Named::None,
            Some(raw) if Text::of(raw).is_some_and(|text| text.is(session.as_str())) => Named::This,
            Some(_) => Named::Other,
        }
    }
}

/// Which session a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// None: the connection's own is meant.
    None,
    /// The connection's own.
    This,
    /// Another, or something that is no session.
    Other,
}

impl From<LabelError> for Failure {
    fn from(error: LabelError) -> Self {
        Self::bad_parameter(format!("'require' and what the URL or its listener requires: {error}"))
    }
}

/// Why a hint cannot be taken.
struct HintError(String);

impl From<JsonError> for HintError {
    fn from(error: JsonError) -> Self {
        Self(error.to_string())
    }
}

impl From<HintError> for Failure {
    fn from(HintError(why): HintError) -> Self {
        Self::bad_parameter(why)
    }
}

/// Reads the name of a meeting as a client gives it, escapes and percent-encoding undone.
///
/// # Errors
/// A sentence for the client.
pub fn parse_meeting(text: &str) -> Result<MeetingName, String> {
    MeetingName::parse(text).map_err(|error: IdError| format!("'meeting' {error}"))
}

/// Reads the labels that `create` requires: an object of texts.
fn parse_require(raw: &str) -> Result<Labels, HintError> {
    let not_texts = || HintError("'require' should be an object of strings".into());
    if !raw.starts_with('{') {
        return Err(not_texts());
    }
    let mut labels = Labels::default();
    Reader::new(raw, usize::MAX).object(|key, reader| {
        let value = Text::of(reader.value()?).ok_or_else(not_texts)?;
        require(&mut labels, &key.decode(), &value.decode()).map_err(HintError)
    })?;
    Ok(labels)
}

/// Adds a label to what is required.
///
/// # Errors
/// A sentence for the client.
pub fn require(labels: &mut Labels, key: &str, value: &str) -> Result<(), String> {
    labels.add(key, value).map_err(|error| format!("'require': {error}"))
}

/// Reads how many people a meeting will have.
///
/// # Errors
/// A sentence for the client.
pub fn parse_participants(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| "'participants' should be a whole number from 1 on".to_owned())
}

#[cfg(test)]
mod tests;
