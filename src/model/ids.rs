//! Names of things. Each is checked when it is made, so that inside nobody checks again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest meeting name, in bytes after trimming. A longer one is refused.
const MEETING_NAME_MAX_LEN: usize = 256;

/// Longest backend id, in bytes.
const BACKEND_ID_MAX_LEN: usize = 64;

/// Length of a UUID as text: `8-4-4-4-12` hexadecimal digits.
const UUID_LEN: usize = 36;

/// Why a text is not the id it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing left after trimming.
    #[error("is empty")]
    Empty,
    /// Longer than this many bytes.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A control character, or for backends anything but letters, digits, `.`, `_`, `-`.
    #[error("holds a character that is not allowed")]
    Character,
}

/// A backend's name in configuration, logs, metrics and the admin API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackendId(Arc<str>);

impl BackendId {
    /// Checks `text`: 1 to 64 letters, digits, `.`, `_` or `-`.
    ///
    /// # Errors
    /// Whatever of that `text` is not.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > BACKEND_ID_MAX_LEN {
            return Err(IdError::TooLong(BACKEND_ID_MAX_LEN));
        }
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !text.chars().all(is_allowed) {
            return Err(IdError::Character);
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BackendId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<BackendId> for String {
    fn from(id: BackendId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A meeting as its people call it, without surrounding space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeetingName(Arc<str>);

impl MeetingName {
    /// Trims and checks `text`: 1 to 256 bytes without control characters.
    ///
    /// Case counts. Percent-encoding must be undone before, once.
    ///
    /// # Errors
    /// Whatever of that `text` is not.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > MEETING_NAME_MAX_LEN {
            return Err(IdError::TooLong(MEETING_NAME_MAX_LEN));
        }
        if text.chars().any(char::is_control) {
            return Err(IdError::Character);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MeetingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The unit that is pinned: a named meeting, or a pipeline that nobody gave a meeting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MeetingId {
    /// Named in `create`'s properties, the URL's query or its path.
    Named(MeetingName),
    /// A pipeline of its own.
    Pipeline(PipelineId),
}

impl MeetingId {
    /// Reads what `Display` wrote: the id of a pipeline, else a name.
    ///
    /// # Errors
    /// As [`MeetingName::parse`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match PipelineId::parse(text) {
            Some(pipeline) if text[UUID_LEN..] == *PIPELINE_SUFFIX => Ok(Self::Pipeline(pipeline)),
            _ => Ok(Self::Named(MeetingName::parse(text)?)),
        }
    }
}

impl fmt::Display for MeetingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Pipeline(pipeline) => pipeline.fmt(f),
        }
    }
}

/// What follows the UUID in a pipeline's object id.
const PIPELINE_SUFFIX: &str = "_kurento.MediaPipeline";

/// The UUID that begins a pipeline's object id, and the id of everything in that pipeline.
///
/// Bytes, not a number, because a number would have to be aligned: ids are kept by the million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineId([u8; 16]);

impl PipelineId {
    /// Reads the pipeline that `object` names or belongs to; `None` if it begins with no UUID
    /// followed by `_`, as the manager and made-up objects do.
    ///
    /// Source: `kurento-protocol` notes, section 5: everything before the first `/` is the pipeline.
    #[must_use]
    pub fn parse(object: &str) -> Option<Self> {
        let bytes = object.as_bytes();
        if bytes.len() <= UUID_LEN || bytes[UUID_LEN] != b'_' {
            return None;
        }
        parse_uuid(bytes[..UUID_LEN].try_into().expect("the length was checked"))
            .map(Self::from_u128)
    }

    /// The pipeline of this UUID.
    #[must_use]
    pub const fn from_u128(uuid: u128) -> Self {
        Self(uuid.to_be_bytes())
    }

    /// The UUID as a number.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(uuid_text(self.as_u128(), &mut [0; UUID_LEN]))?;
        f.write_str(PIPELINE_SUFFIX)
    }
}

/// The part of an object's id that names its pipeline: everything before the first `/`.
#[must_use]
pub fn pipeline_of_object(object: &str) -> &str {
    object.split_once('/').map_or(object, |(pipeline, _)| pipeline)
}

/// The Kurento session of one client, drawn by the edge and the same on every backend.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; UUID_LEN]);

impl SessionId {
    /// The session of these 128 random bits, written as a UUID is.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        let mut text = [0; UUID_LEN];
        uuid_text(bits, &mut text);
        Self(text)
    }

    /// Reads an id that an edge may have drawn; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; UUID_LEN] = text.as_bytes().try_into().ok()?;
        parse_uuid(&bytes).map(|_| Self(bytes))
    }

    /// The bits it was made from.
    #[must_use]
    pub fn as_u128(&self) -> u128 {
        parse_uuid(&self.0).expect("it is written as a UUID")
    }

    /// Its first 8 digits: enough to tell sessions apart, and too few to get into one.
    #[must_use]
    pub fn start(&self) -> &str {
        &self.as_str()[..8]
    }

    /// The id as it stands in messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits and hyphens")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session id lets whoever holds it into the session, so it is never shown whole.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}…)", self.start())
    }
}

/// Reads `8-4-4-4-12` hexadecimal digits in lower case; `None` for anything else, because KMS
/// compares ids as text and would not know the same UUID in capitals.
fn parse_uuid(text: &[u8; UUID_LEN]) -> Option<u128> {
    let mut value = 0u128;
    for (i, &byte) in text.iter().enumerate() {
        let is_hyphen = matches!(i, 8 | 13 | 18 | 23);
        let digit = match byte {
            b'-' if is_hyphen => continue,
            b'0'..=b'9' if !is_hyphen => byte - b'0',
            b'a'..=b'f' if !is_hyphen => byte - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(digit);
    }
    Some(value)
}

/// Writes `bits` as a UUID into `text`.
fn uuid_text(bits: u128, text: &mut [u8; UUID_LEN]) -> &str {
    let mut shift = 128;
    for (i, byte) in text.iter_mut().enumerate() {
        if matches!(i, 8 | 13 | 18 | 23) {
            *byte = b'-';
            continue;
        }
        shift -= 4;
        *byte = b"0123456789abcdef"[(bits >> shift) as usize & 0xf];
    }
    std::str::from_utf8(text).expect("hexadecimal digits and hyphens")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0";

    #[test]
    fn the_pipeline_of_an_element_is_what_stands_before_the_slash() {
        let pipeline = PipelineId::parse(&format!("{UUID}_kurento.MediaPipeline")).unwrap();
        let element = format!("{UUID}_kurento.MediaPipeline/{UUID}_kurento.WebRtcEndpoint");
        assert_eq!(PipelineId::parse(&element), Some(pipeline));
        assert_eq!(pipeline.to_string(), format!("{UUID}_kurento.MediaPipeline"));
        assert_eq!(pipeline_of_object(&element), pipeline.to_string());
    }

    #[test]
    fn what_is_no_uuid_names_no_pipeline() {
        let capitals = format!("{}_kurento.MediaPipeline", UUID.to_uppercase());
        let unhyphenated = format!("{}0_kurento.MediaPipeline", &UUID.replace('-', "0")[..35]);
        for text in ["", "nosuch", "manager_ServerManager", UUID, &capitals, &unhyphenated] {
            assert_eq!(PipelineId::parse(text), None, "{text}");
        }
        assert_eq!(PipelineId::parse("42f11eab-5c0d-42c7-88c1-2dad584b2aeé_x"), None);
    }

    #[test]
    fn meeting_names_are_trimmed_and_bounded() {
        assert_eq!(MeetingName::parse("  standup ").unwrap().as_str(), "standup");
        assert_eq!(MeetingName::parse(" \t"), Err(IdError::Empty));
        assert_eq!(MeetingName::parse("a\0b"), Err(IdError::Character));
        assert_eq!(MeetingName::parse(&"a".repeat(257)), Err(IdError::TooLong(256)));
        assert!(MeetingName::parse("réunion / 会議").is_ok());
    }

    #[test]
    fn a_meeting_id_reads_back_what_it_shows() {
        let pipeline = MeetingId::Pipeline(PipelineId::from_u128(7));
        let named = MeetingId::Named(MeetingName::parse("standup").unwrap());
        for id in [pipeline, named] {
            assert_eq!(MeetingId::parse(&id.to_string()), Ok(id));
        }
    }

    #[test]
    fn backend_ids_are_safe_in_labels_and_paths() {
        assert!(BackendId::parse("kms-a.eu_1").is_ok());
        for text in ["", "a b", "a/b", "é", "a\n", &"x".repeat(65)] {
            assert!(BackendId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_session_id_looks_like_a_uuid_and_hides_in_logs() {
        let session = SessionId::from_random(0x42f1_1eab_5c0d_42c7_88c1_2dad_584b_2ae0);
        assert_eq!(session.as_str(), UUID);
        assert_eq!(format!("{session:?}"), "SessionId(42f11eab…)");
    }
}
