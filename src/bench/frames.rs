//! What a measuring client sends: frames as a real client makes them, ready but for their id.
//!
//! The texts follow the official JavaScript client member by member, with the id at the end. A frame
//! is encoded and masked once; sending it again changes nine digits, so that the client's own cost
//! does not hide what is measured.

use crate::protocol::frame::{Opcode, encode};

/// The first id of a connection. All have nine digits, so that a frame keeps its length.
pub(super) const FIRST_ID: u64 = 100_000_000;

/// Digits of an id.
const ID_LEN: usize = 9;

/// RFC 6455 wants masks that nobody can guess, against proxies that take frames for HTTP. There is no
/// browser here that an attacker could make send; the cost of unmasking is the same.
pub(super) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An offer as Chrome makes it for one microphone and one camera, line by line.
const OFFER: &str = include_str!("offer.sdp");

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `ping`, 60 bytes.
    Ping,
    /// `addIceCandidate`, 441 bytes.
    Candidate,
    /// `processOffer`, 4 kB.
    Offer,
}

/// How often which kind is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// 60 B each; Pinfold answers these itself, a proxy that does not read them cannot
    Ping,
    /// 441 B each: addIceCandidate
    Candidate,
    /// 4 kB each: processOffer
    Offer,
    /// Of 20 messages one offer, three pings, the rest candidates
    Mixed,
}

impl Kind {
    /// Every kind, by its index.
    pub(super) const ALL: [Self; 3] = [Self::Ping, Self::Candidate, Self::Offer];
}

impl Mix {
    /// The kind of the message with this number.
    pub(super) const fn kind(self, number: u64) -> Kind {
        match self {
            Self::Ping => Kind::Ping,
            Self::Candidate => Kind::Candidate,
            Self::Offer => Kind::Offer,
            Self::Mixed => match number % 20 {
                0 => Kind::Offer,
                5 | 10 | 15 => Kind::Ping,
                _ => Kind::Candidate,
            },
        }
    }
}

/// One client frame that is sent again and again.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    /// Where the id stands in `bytes`, and which byte of the mask its first digit meets.
    id_at: usize,
    mask_at: usize,
}

impl Frame {
    /// The frame of `kind` for `endpoint` in `session`.
    pub(super) fn new(kind: Kind, endpoint: &str, session: &str) -> Self {
        Self::of_text(&text(kind, endpoint, session))
    }

    /// The frame of a text that ends with its id.
    fn of_text(text: &str) -> Self {
        let mut bytes = Vec::new();
        encode(&mut bytes, Opcode::Text, text.as_bytes(), Some(MASK));
        let from_end = ID_LEN + 1; // the brace behind it
        Self { id_at: bytes.len() - from_end, mask_at: text.len() - from_end, bytes }
    }

    /// The bytes to send for `id`, which has nine digits.
    pub(super) fn with_id(&mut self, id: u64) -> &[u8] {
        let mut rest = id;
        for at in (0..ID_LEN).rev() {
            let digit = u8::try_from(rest % 10).expect("less than ten");
            self.bytes[self.id_at + at] = (b'0' + digit) ^ MASK[(self.mask_at + at) % 4];
            rest /= 10;
        }
        &self.bytes
    }
}

/// The text of a message of `kind`, with [`FIRST_ID`].
fn text(kind: Kind, endpoint: &str, session: &str) -> String {
    let (operation, params) = match kind {
        Kind::Ping => {
            return format!(r#"{{"jsonrpc":"2.0","method":"ping","params":{{}},"id":{FIRST_ID}}}"#);
        }
        Kind::Candidate => (
            "addIceCandidate",
            r#"{"candidate":{"__module__":"kurento","__type__":"IceCandidate","candidate":"candidate:1 1 UDP 99 10.0.0.7 9 typ host","sdpMid":"0","sdpMLineIndex":0}}"#.to_owned(),
        ),
        Kind::Offer => {
            let sdp = serde_json::Value::from(OFFER.replace('\n', "\r\n"));
            ("processOffer", format!(r#"{{"offer":{sdp}}}"#))
        }
    };
    format!(
        r#"{{"jsonrpc":"2.0","method":"invoke","params":{{"object":"{endpoint}","operation":"{operation}","operationParams":{params},"sessionId":"{session}"}},"id":{FIRST_ID}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::{Decoder, Message, Role};

    const UUID: &str = "6c01d8c0-9159-493e-8d59-5c5b9a516e1e";

    fn endpoint() -> String {
        format!("{UUID}_kurento.MediaPipeline/{UUID}_kurento.WebRtcEndpoint")
    }

    #[test]
    fn messages_are_as_long_as_they_are_said_to_be() {
        let lens = Kind::ALL.map(|kind| text(kind, &endpoint(), UUID).len());
        assert_eq!(lens, [60, 441, 4_096]);
    }

    #[test]
    fn a_frame_carries_the_id_it_was_given() {
        for kind in Kind::ALL {
            let mut frame = Frame::new(kind, &endpoint(), UUID);
            for id in [FIRST_ID, 123_456_789, 999_999_999] {
                let mut decoder = Decoder::new(Role::Server, 1 << 20);
                decoder.buffer(Vec::new).extend_from_slice(frame.with_id(id));
                let Some(Message::Text(sent)) = decoder.next().unwrap() else { panic!("a text") };
                let sent: serde_json::Value = serde_json::from_str(sent).unwrap();
                assert_eq!(sent["id"], id, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_mix_is_made_of_what_it_says() {
        let count = |kind| (0..20).filter(|number| Mix::Mixed.kind(*number) == kind).count();
        assert_eq!(Kind::ALL.map(count), [3, 16, 1]);
    }
}
