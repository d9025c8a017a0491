//! What a call asks for, read no further than needed.

use crate::protocol::json::{JsonError, Reader};

/// How deep a call may nest.
const DEPTH_MAX: usize = 64;

/// A call. Strings stand as in the text, escapes included: what is compared or echoed has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// Raw JSON; empty if there is none.
    pub(super) id: &'a str,
    pub(super) method: &'a str,
    /// `params.object`.
    pub(super) object: &'a str,
    /// `params.operation`.
    pub(super) operation: &'a str,
    /// `params.type`, without the module.
    pub(super) kind: &'a str,
    /// `params.sessionId`; empty if there is none.
    pub(super) session: &'a str,
    /// `params.constructorParams.mediaPipeline`.
    pub(super) parent: &'a str,
    /// `params.operationParams.count`.
    pub(super) count: u32,
}

impl<'a> Call<'a> {
    /// Reads the call in `text`; `None` if that is no JSON object.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        Self::read_invoke(text).or_else(|| Self::read_any(text))
    }

    /// An `invoke` as the official clients spell it, its parameters skipped: nearly all messages of a
    /// measurement, so that the backend costs little beside what is measured.
    fn read_invoke(text: &'a str) -> Option<Self> {
        let rest =
            text.strip_prefix(r#"{"jsonrpc":"2.0","method":"invoke","params":{"object":""#)?;
        let (object, rest) = rest.split_once('"')?;
        let (operation, rest) = rest.strip_prefix(r#","operation":""#)?.split_once('"')?;
        if operation == super::answer::EMIT {
            return None; // its parameters matter
        }
        let digits = rest.strip_suffix('}')?;
        let id = &digits[digits.rfind(|c: char| !c.is_ascii_digit())? + 1..];
        let params = digits[..digits.len() - id.len()].strip_suffix(r#"},"id":"#)?;
        let (_, session) = params.strip_suffix('"')?.rsplit_once(r#","sessionId":""#)?;
        Some(Self { id, method: "invoke", object, operation, session, ..Self::default() })
    }

    fn read_any(text: &'a str) -> Option<Self> {
        let mut call = Self::default();
        let mut reader = Reader::new(text, DEPTH_MAX);
        let read = reader.object(|key, reader| {
            if key.is("params") && reader.peek() == Some(b'{') {
                return call.read_params(reader);
            }
            let value = reader.value()?;
            if key.is("id") {
                call.id = value;
            } else if key.is("method") {
                call.method = bare(value);
            }
            Ok::<_, JsonError>(())
        });
        read.and_then(|()| reader.end()).is_ok().then_some(call)
    }

    fn read_params(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonError> {
        reader.object(|key, reader| {
            let value = reader.value()?;
            if key.is("object") {
                self.object = bare(value);
            } else if key.is("operation") {
                self.operation = bare(value);
            } else if key.is("type") {
                self.kind = bare(value).rsplit('.').next().unwrap_or_default();
            } else if key.is("sessionId") {
                self.session = bare(value);
            } else if key.is("constructorParams") {
                self.parent = member(value, "mediaPipeline").map(bare).unwrap_or_default();
            } else if key.is("operationParams") {
                self.count =
                    member(value, "count").and_then(|n| n.parse().ok()).unwrap_or_default();
            }
            Ok(())
        })
    }
}

/// The member `name` of the object `text`.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    let read = Reader::new(text, DEPTH_MAX).object(|key, reader| {
        let value = reader.value()?;
        if key.is(name) {
            found = Some(value);
        }
        Ok::<_, JsonError>(())
    });
    read.ok().and(found)
}

/// A JSON string without its quotes; anything else is empty.
fn bare(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoke_is_read_alike_however_it_is_spelled() {
        let usual = r#"{"jsonrpc":"2.0","method":"invoke","params":{"object":"o","operation":"f","operationParams":{"a":[1,"}"]},"sessionId":"s"},"id":12}"#;
        let other = r#"{"id":12,"method":"invoke","params":{"sessionId":"s","operation":"f","object":"o"},"jsonrpc":"2.0"}"#;
        let read = Call::read_invoke(usual).unwrap();
        assert_eq!((read.id, read.object, read.operation, read.session), ("12", "o", "f", "s"));
        assert_eq!(Call::read_any(usual), Some(read));
        assert_eq!(Call::read(other), Some(read));
        assert_eq!(Call::read_invoke(other), None);
    }

    #[test]
    fn what_creates_and_what_emits_is_read_with_its_parameters() {
        let create = r#"{"id":"a","method":"create","params":{"type":"kurento.WebRtcEndpoint","constructorParams":{"mediaPipeline":"p"}}}"#;
        let call = Call::read(create).unwrap();
        assert_eq!((call.id, call.kind, call.parent), ("\"a\"", "WebRtcEndpoint", "p"));
        let emit = r#"{"jsonrpc":"2.0","method":"invoke","params":{"object":"o","operation":"emit","operationParams":{"count":7},"sessionId":"s"},"id":1}"#;
        assert_eq!(Call::read(emit).unwrap().count, 7);
        assert_eq!(Call::read("[]"), None);
        assert_eq!(Call::read("{} x"), None);
    }
}
