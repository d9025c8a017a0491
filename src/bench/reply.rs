//! Whether a reply is the right one.
//!
//! All replies to one call repeated on one connection are alike but for their id. So the first is read
//! with care and the others are compared with it, which costs a few nanoseconds.

use std::io;

use crate::protocol::reply::parse_reply;

/// What the replies to one kind of call look like.
#[derive(Debug)]
pub(super) struct Expected {
    /// Everything behind the id.
    rest: String,
    /// Raw `result.value`.
    value: String,
}

/// What is wrong with a message. Each carries the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// It answers no call that waits: another's, or one that was answered.
    #[error("a message that nobody waits for: {0}")]
    Stray(String),
    /// Its value is not what the backend of the meeting answers.
    #[error("a reply of the wrong backend or object: {0}")]
    Misrouted(String),
    /// It is an error.
    #[error("a call was refused: {0}")]
    Refused(String),
}

impl Wrong {
    /// What `error` holds, if it is no trouble of the connection.
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// The id of a reply and what stands behind it; `None` for what is no reply.
pub(super) fn split_id(text: &str) -> Option<(u64, &str)> {
    if let Some(rest) = text.strip_prefix(r#"{"id":"#) {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, rest) = rest.split_at(digits);
        return Some((id.parse().ok()?, rest));
    }
    // Spelled in another way than Kurento's own, as errors are.
    Some((parse_reply(text).id.parse().ok()?, ""))
}

impl Expected {
    /// What follows from the first reply, `text`, whose value must be `value` or begin with it and a
    /// line's end; both as they stand in JSON.
    pub(super) fn learn(text: &str, value: &str) -> Result<Self, Wrong> {
        let reply = parse_reply(text);
        let Some(found) = reply.value.filter(|_| reply.is_success) else {
            return Err(Wrong::Refused(super::connection::shortened(text)));
        };
        let bare = found.trim_matches('"');
        let is_right =
            bare.strip_prefix(value).is_some_and(|r| r.is_empty() || r.starts_with('\\'));
        let Some((_, rest)) = split_id(text).filter(|_| is_right) else {
            return Err(Wrong::Misrouted(super::connection::shortened(text)));
        };
        Ok(Self { rest: rest.to_owned(), value: found.to_owned() })
    }

    /// Whether `text`, whose id was split off `rest`, is such a reply.
    pub(super) fn check(&self, text: &str, rest: &str) -> Result<(), Wrong> {
        if rest == self.rest && !rest.is_empty() {
            return Ok(());
        }
        let reply = parse_reply(text);
        match reply.value {
            Some(value) if value == self.value => Ok(()),
            _ if reply.is_success => Err(Wrong::Misrouted(super::connection::shortened(text))),
            _ => Err(Wrong::Refused(super::connection::shortened(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"id":100,"jsonrpc":"2.0","result":{"sessionId":"s","value":"a o"}}"#;

    fn check(text: &str) -> (Option<u64>, Result<(), Wrong>) {
        let expected = Expected::learn(FIRST, "a o").unwrap();
        let split = split_id(text);
        (split.map(|(id, _)| id), expected.check(text, split.map_or("", |(_, rest)| rest)))
    }

    #[test]
    fn replies_are_right_when_only_their_id_or_order_differs() {
        assert_eq!(check(&FIRST.replace("100", "101")), (Some(101), Ok(())));
        let other = r#"{"jsonrpc":"2.0","result":{"value":"a o"},"id":102}"#;
        assert_eq!(check(other), (Some(102), Ok(())));
    }

    #[test]
    fn other_values_and_errors_are_wrong() {
        for value in ["b o", "a p", "a o2"] {
            let (_, checked) = check(&FIRST.replace("a o", value));
            assert!(matches!(checked, Err(Wrong::Misrouted(_))), "{value}");
        }
        let (id, checked) = check(r#"{"error":{"code":40101},"id":100,"jsonrpc":"2.0"}"#);
        assert!(matches!((id, checked), (Some(100), Err(Wrong::Refused(_)))));
        assert_eq!(check(r#"{"jsonrpc":"2.0","method":"onEvent","params":{}}"#).0, None);
    }

    #[test]
    fn the_first_reply_must_have_the_value_wanted() {
        assert!(Expected::learn(&FIRST.replace("a o", r"a o\r\nv=0"), "a o").is_ok());
        for (text, value) in [(FIRST, "b o"), (FIRST, "a"), (r#"{"id":1,"result":null}"#, "")] {
            assert!(Expected::learn(text, value).is_err(), "{text} {value}");
        }
    }
}
