//! Body of the fuzz target `frame`: the edge's WebSocket decoder against tungstenite's.
//!
//! The first byte says which end reads and how the rest is cut into pieces. Messages must be the same
//! for any cut, and the same that tungstenite reads, up to the close frame, but for these declared
//! differences:
//! - the edge reads past a message that is too long, tungstenite gives up;
//! - the edge looks whether text is UTF-8 when the message is whole, tungstenite at each fragment, so
//!   control frames may be read in between;
//! - the edge refuses a frame by its head, tungstenite when all of it is there;
//! - the edge refuses a length in more bytes than it needs;
//! - the edge takes the close code 1014, which was registered after RFC 6455.

use std::io::{self, Read, Write};

use pinfold::protocol::frame::{Decoder, FrameError, Message, Role};
use tokio_tungstenite::tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, WebSocket};

/// Longest message that is not thrown away, in bytes.
const MESSAGE_MAX: usize = 1 << 16;

/// The same where the bound is to be met.
const MESSAGE_MAX_SMALL: usize = 20;

/// Why the edge refuses a frame that tungstenite takes.
const TOO_WIDE: &str = "length in more bytes than it needs";

/// A message with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    TooLong(u64),
}

/// Why no more messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Waits,
    Refuses(FrameError),
    /// Tungstenite's refusals.
    RefusesText,
    RefusesFrame,
    RefusesLength,
}

type Decoded = (Vec<Owned>, End);

/// Decodes the stream in `data`.
///
/// # Panics
/// Where the decoders differ in more than the declared points.
pub(crate) fn run(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let piece_len = usize::from(first >> 1) + 1;
    let whole = decode(stream, role, MESSAGE_MAX, stream.len().max(1));
    assert_eq!(decode(stream, role, MESSAGE_MAX, 1), whole, "byte by byte");
    assert_eq!(decode(stream, role, MESSAGE_MAX, piece_len), whole, "{piece_len} at a time");
    let short = decode(stream, role, MESSAGE_MAX_SMALL, piece_len);
    assert_eq!(decode(stream, role, MESSAGE_MAX_SMALL, 1), short, "short messages");
    check_bounded(&whole, &short);
    check_same(&whole, &decode_theirs(stream, role, piece_len));
}

fn decode(stream: &[u8], role: Role, message_max: usize, piece_len: usize) -> Decoded {
    let mut decoder = Decoder::new(role, message_max);
    let mut messages = Vec::new();
    for piece in stream.chunks(piece_len) {
        decoder.buffer(Vec::new).extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Err(error) => return (messages, End::Refuses(error)),
                Ok(Some(Message::Close(code, reason))) => {
                    messages.push(Owned::Close(code, reason.to_owned()));
                    return (messages, End::Closed);
                }
                Ok(Some(message)) => messages.push(owned(message)),
            }
        }
    }
    (messages, End::Waits)
}

fn owned(message: Message<'_>) -> Owned {
    match message {
        Message::Text(text) => Owned::Text(text.to_owned()),
        Message::Binary(bytes) => Owned::Binary(bytes.to_owned()),
        Message::Ping(bytes) => Owned::Ping(bytes.to_owned()),
        Message::Pong(bytes) => Owned::Pong(bytes.to_owned()),
        Message::Close(code, reason) => Owned::Close(code, reason.to_owned()),
        Message::TooLong(len) => Owned::TooLong(len),
    }
}

/// With a lower bound long messages are missing and nothing else; that a long text is not UTF-8 is
/// then not seen.
fn check_bounded(whole: &Decoded, short: &Decoded) {
    let cut = |message: &Owned| match message {
        Owned::Text(text) if text.len() > MESSAGE_MAX_SMALL => Owned::TooLong(text.len() as u64),
        Owned::Binary(bytes) if bytes.len() > MESSAGE_MAX_SMALL => {
            Owned::TooLong(bytes.len() as u64)
        }
        other => other.clone(),
    };
    let expected: Vec<Owned> = whole.0.iter().map(cut).collect();
    let is_utf8 = whole.1 != End::Refuses(FrameError::NotUtf8);
    assert!(short.0.starts_with(&expected), "{short:?} does not begin with {expected:?}");
    assert!(!is_utf8 || (&expected, whole.1) == (&short.0, short.1), "{short:?}, not {expected:?}");
}

/// A stream that comes in pieces of this length, and is not closed after the last.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self(rest, piece_len) = self;
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (piece, later) = rest.split_at(rest.len().min(*piece_len).min(buffer.len()));
        buffer[..piece.len()].copy_from_slice(piece);
        *rest = later;
        Ok(piece.len())
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn decode_theirs(stream: &[u8], role: Role, piece_len: usize) -> Decoded {
    let role = match role {
        Role::Client => TheirRole::Client,
        Role::Server => TheirRole::Server,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(1_024)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let pieces = Pieces(stream, piece_len);
    let mut socket = WebSocket::from_raw_socket(pieces, role, Some(config));
    let mut messages = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(message) => {
                messages.push(owned_theirs(message));
                if matches!(messages.last(), Some(Owned::Close(..))) {
                    break End::Closed;
                }
            }
            Err(tungstenite::Error::Io(_)) => break End::Waits,
            Err(tungstenite::Error::Utf8(_)) => break End::RefusesText,
            Err(tungstenite::Error::Capacity(_)) => break End::RefusesLength,
            Err(_) => break End::RefusesFrame,
        }
    };
    (messages, end)
}

fn owned_theirs(message: tungstenite::Message) -> Owned {
    match message {
        tungstenite::Message::Text(text) => Owned::Text(text.to_string()),
        tungstenite::Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
        tungstenite::Message::Ping(bytes) => Owned::Ping(bytes.to_vec()),
        tungstenite::Message::Pong(bytes) => Owned::Pong(bytes.to_vec()),
        tungstenite::Message::Close(None) => Owned::Close(None, String::new()),
        tungstenite::Message::Close(Some(frame)) => {
            Owned::Close(Some(frame.code.into()), frame.reason.to_string())
        }
        tungstenite::Message::Frame(_) => unreachable!("it reads whole messages"),
    }
}

fn check_same(ours: &Decoded, theirs: &Decoded) {
    let ((our_messages, our_end), (their_messages, their_end)) = (ours, theirs);
    // It answers a close frame with a code that may not be sent as if it had held 1002.
    let refusal = Owned::Close(Some(1002), "Protocol violation".to_owned());
    let agreed = our_messages.iter().zip(their_messages).take_while(|(a, b)| a == b).count();
    let (our_rest, their_rest) = (&our_messages[agreed..], &their_messages[agreed..]);
    let is_control =
        |message: &Owned| matches!(message, Owned::Ping(_) | Owned::Pong(_) | Owned::Close(..));
    let is_same = match (our_end, their_end) {
        (End::Refuses(FrameError::Protocol(TOO_WIDE)), _) => our_rest.is_empty(),
        (_, End::RefusesLength) => their_rest.is_empty(),
        (End::Refuses(_), End::Closed) => our_rest.is_empty() && their_rest == [refusal],
        (End::Closed, End::Closed) => {
            let is_1014 = matches!(our_rest, [Owned::Close(Some(1014), _)]);
            our_rest == their_rest || is_1014 && their_rest == [refusal]
        }
        (_, End::RefusesText) => their_rest.is_empty() && our_rest.iter().all(is_control),
        (End::Refuses(FrameError::NotUtf8), End::RefusesFrame) => false,
        (End::Refuses(_), End::RefusesFrame | End::Waits) | (End::Waits, End::Waits) => {
            our_rest == their_rest
        }
        _ => false,
    };
    assert!(is_same, "{ours:?}, tungstenite: {theirs:?}");
}
