//! What a backend's message is, read no further than somebody needs.

use super::json::{JsonError, Reader};

/// Nesting to which a backend's answers are read. A deeper one is passed on but not learned from.
const DEPTH_MAX: usize = 900;

/// A backend's message at first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromBackend<'a> {
    /// Something that happened: nobody asked for it.
    Event,
    /// The answer to the request with this id, raw JSON.
    Reply(&'a str),
    /// The empty message that answers a call without id.
    Empty,
}

/// Tells an answer from an event, for Kurento's own spelling without reading beyond the id.
#[must_use]
pub fn peek(text: &str) -> FromBackend<'_> {
    if let Some(rest) = text.strip_prefix(r#"{"id":"#) {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest.as_bytes().get(digits) == Some(&b',') {
            return FromBackend::Reply(&rest[..digits]);
        }
    }
    if text.starts_with(r#"{"jsonrpc":"2.0","method":"#) {
        return FromBackend::Event;
    }
    if text.is_empty() {
        return FromBackend::Empty;
    }
    let reply = parse_reply(text);
    if reply.is_event { FromBackend::Event } else { FromBackend::Reply(reply.id) }
}

/// What an answer holds. Members that are missing or cannot be read are as if they were not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Raw id, `null` if there is none.
    pub id: &'a str,
    /// Whether there is a `result`.
    pub is_success: bool,
    /// Whether the result names a session, which ties the link to it.
    pub names_session: bool,
    /// Raw `result.value`.
    pub value: Option<&'a str>,
    /// `error.code`.
    pub error: Option<i32>,
    is_event: bool,
}

/// Reads an answer.
#[must_use]
pub fn parse_reply(text: &str) -> Reply<'_> {
    let mut reply = Reply { id: "null", ..Reply::default() };
    let mut reader = Reader::new(text, DEPTH_MAX);
    let read = reader.object(|key, reader| {
        if key.is("result") {
            // The last of two counts, as everywhere.
            reply = Reply { is_success: true, value: None, names_session: false, ..reply };
            if reader.peek() == Some(b'{') {
                return read_result(reader, &mut reply);
            }
        }
        if key.is("error") && reader.peek() == Some(b'{') {
            return read_error(reader, &mut reply);
        }
        let value = reader.value()?;
        if key.is("id") {
            reply.id = value;
        }
        reply.is_event |= key.is("method");
        Ok::<_, JsonError>(())
    });
    if read.and_then(|()| reader.end()).is_ok() {
        reply
    } else {
        Reply { id: "null", ..Reply::default() }
    }
}

fn read_result<'a>(reader: &mut Reader<'a>, reply: &mut Reply<'a>) -> Result<(), JsonError> {
    reader.object(|key, reader| {
        let value = reader.value()?;
        if key.is("value") {
            reply.value = Some(value);
        }
        reply.names_session |= key.is("sessionId");
        Ok(())
    })
}

fn read_error<'a>(reader: &mut Reader<'a>, reply: &mut Reply<'a>) -> Result<(), JsonError> {
    reader.object(|key, reader| {
        let value = reader.value()?;
        if key.is("code") {
            reply.error = value.parse().ok();
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_events_are_told_apart_in_any_spelling() {
        let event = r#"{"jsonrpc":"2.0","method":"onEvent","params":{}}"#;
        let spaced = r#"{ "method":"onEvent", "jsonrpc":"2.0" }"#;
        assert_eq!(peek(event), FromBackend::Event);
        assert_eq!(peek(spaced), FromBackend::Event);
        for (text, id) in [
            (r#"{"id":12,"jsonrpc":"2.0","result":{"value":"pong"}}"#, "12"),
            (r#"{"id":"a,b","jsonrpc":"2.0","result":null}"#, "\"a,b\""),
            (r#"{"error":{"code":1,"id":9},"id":-3,"jsonrpc":"2.0"}"#, "-3"),
            (r#"{"jsonrpc":"2.0","result":1,"id":1.5}"#, "1.5"),
            (r#"{"error":{},"id":null,"jsonrpc":"2.0"}"#, "null"),
            ("garbage", "null"),
        ] {
            assert_eq!(peek(text), FromBackend::Reply(id), "{text}");
        }
        assert_eq!(peek(""), FromBackend::Empty);
    }

    #[test]
    fn an_answer_is_read_for_what_the_edge_learns() {
        let reply = parse_reply(r#"{"id":1,"result":{"sessionId":"s","value":["a"]}}"#);
        assert!(reply.is_success && reply.names_session);
        assert_eq!(reply.value, Some(r#"["a"]"#));
        let reply = parse_reply(r#"{"id":1,"result":null}"#);
        assert!(reply.is_success && !reply.names_session);
        let reply = parse_reply(r#"{"error":{"data":{"value":1}},"id":1}"#);
        assert!(!reply.is_success && reply.value.is_none());
    }

    #[test]
    fn what_is_not_one_answer_is_none() {
        for text in [r#"{"id":1,"result":{"value":1}} "#, r#"{"id":1,"result":{"value":1}}"#] {
            assert_eq!(parse_reply(text).value, Some("1"), "{text}");
        }
        for text in [r#"{"id":1,"result":{"value":1}}{"#, r#"{"id":1,"result":{"value":1}},"#] {
            assert_eq!(parse_reply(text), Reply { id: "null", ..Reply::default() }, "{text}");
        }
        let reply = parse_reply(r#"{"result":{"sessionId":"s","value":1},"result":null,"id":1}"#);
        assert!(reply.is_success && !reply.names_session && reply.value.is_none());
    }
}
