//! What a client of the Kurento protocol is told when a media server, or a meeting's place on one, is
//! lost: all of it stands here, so that another dialect can have words of its own.
//!
//! It is what a restarted server gives: its objects are not found (40101), its session is unknown
//! (40007), and who has subscribed hears that its objects were destroyed. A creation can be tried again
//! (40009). Source: Kurento protocol notes, sections 10 and 12.

use super::error::Failure;
use super::event::{Change, ObjectEvent};

/// What a client sees when it has lost all that it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Errors for what it calls. Its connection goes on.
    #[default]
    Errors,
    /// The same, and its connection is closed, as a server that restarts closes it.
    Close,
}

/// How a connection is closed: code and reason.
///
/// Source: the registry of WebSocket close codes of RFC 6455, section 11.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The close code.
    pub code: u16,
    /// At most 123 bytes, as a close frame holds.
    pub reason: &'static str,
}

impl Farewell {
    /// To a client that has lost everything: 1012, it may come back at once if another server takes
    /// meetings; else 1013.
    #[must_use]
    pub const fn after_loss(takes_pins: bool) -> Self {
        if takes_pins {
            let reason = "everything of this session was lost with its media server; connect again";
            Self { code: 1012, reason }
        } else {
            let reason =
                "everything of this session was lost and no media server is free; try later";
            Self { code: 1013, reason }
        }
    }
}

/// The connection broke, the server may live.
pub(crate) fn cut() -> Failure {
    Failure::unexpected(
        "the connection to the media server broke before it answered; the call may have run",
    )
}

/// The server's message was too long, and was perhaps the answer.
pub(crate) fn too_long() -> Failure {
    Failure::unexpected(
        "the media server sent a message that is longer than the limit, perhaps this answer; the \
         call may have run",
    )
}

/// The call was not sent, the server may live.
pub(crate) fn unreachable() -> Failure {
    Failure::unexpected("the media server that holds this object cannot be reached; try again")
}

/// The server was lost while it was making something.
pub(crate) fn lost_creating() -> Failure {
    Failure::not_enough_resources(
        "the media server was lost before it answered; create the pipeline again",
    )
}

/// The server was lost with a call that was about no object of it.
pub(crate) fn lost_answer() -> Failure {
    Failure::unexpected("the media server was lost before it answered")
}

/// The server was lost with the object that the call was about.
pub(crate) const fn lost_object() -> Failure {
    Failure::object_lost()
}

/// That `object` went with its server, for who hears of objects. `at_millis` counts from 1970.
#[must_use]
pub fn destroyed(object: String, at_millis: u64) -> ObjectEvent {
    ObjectEvent::new(Change::Destroyed, object, at_millis.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_fits_into_a_close_frame() {
        for (takes_pins, code) in [(true, 1012), (false, 1013)] {
            let farewell = Farewell::after_loss(takes_pins);
            assert!(farewell.code == code && farewell.reason.len() <= 123, "{farewell:?}");
        }
    }

    #[test]
    fn a_lost_object_is_told_of_as_kurento_would() {
        let text = destroyed("x_kurento.MediaPipeline".to_owned(), 1_700_000_000_123).text;
        assert_eq!(ObjectEvent::parse(&text).map(|event| event.text), Some(text.clone()));
        assert!(
            text.contains("\"ObjectDestroyed\"") && text.contains("\"1700000000123\""),
            "{text}"
        );
    }
}
