//! What a row of the table says: odd input, what the client gets, what the backend gets.

use std::fmt;

/// Something odd that comes to the edge.
#[derive(Clone, Debug)]
pub(super) enum Odd {
    /// From a client that has shaken hands.
    Client(FromClient),
    /// Bytes instead of a handshake.
    Http(Vec<u8>),
    /// Bytes that the backend sends on a link while a call waits; `None`: it hangs up.
    Backend(Option<Vec<u8>>),
}

/// What a client sends that is odd.
#[derive(Clone, Debug)]
pub(super) struct FromClient {
    /// Messages before it, which the backend leaves unanswered.
    pub(super) before: Vec<String>,
    pub(super) sent: Sent,
    /// Whether it is the first of its connection; else there is an open link.
    pub(super) is_first: bool,
    /// Whether the client's end of the connection is shut behind it.
    pub(super) is_last: bool,
}

/// A message, or bytes as they are.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    /// [`PIPELINE`], [`OTHER`] and [`SESSION`] in it stand for what they say.
    Text(String),
    Bytes(Vec<u8>),
}

/// Stands where the id of the connection's own pipeline goes.
pub(super) const PIPELINE: &str = "<pipeline>";

/// Stands where the id of another client's pipeline goes, of a meeting of its own.
pub(super) const OTHER: &str = "<other>";

/// Stands where the session of that client goes.
pub(super) const SESSION: &str = "<session>";

/// The beginning of an answer to the call that waits when a backend sends something odd.
pub(super) const AN_ANSWER: &str = r#"{"id":1,"#;

/// A call that any backend can answer; what rows of bytes that pass carry.
pub(super) const CALL: &str = concat!(
    r#"{"jsonrpc":"2.0","id":7,"method":"invoke","#,
    r#""params":{"object":"manager_ServerManager","operation":"getMetadata"}}"#
);

/// What the client gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Client {
    /// An error with this code and the request's id.
    Error(i64),
    /// An error with this code and `"id":null`.
    ErrorWithoutId(i64),
    /// What the backend answered.
    BackendAnswer,
    /// A success that no backend was asked for.
    Success,
    /// `pong` without a session.
    PongWithoutSession,
    /// A pong frame of the same payload.
    PongFrame,
    /// The same, then what the backend answered.
    PongFrameAndAnswer,
    /// What the backend said, as it came; it begins with [`AN_ANSWER`].
    AsSaid,
    /// Its connection is closed with this code.
    Close(Option<u16>),
    /// This HTTP status; 101 without extension or sub-protocol.
    Http(u16),
    /// Its connection ends without a word.
    Disconnected,
    /// Nothing, and the connection goes on.
    Nothing,
    /// An event, as it came.
    Event,
}

/// What the backend gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Backend {
    Nothing,
    /// The client's very text.
    Same,
    /// Its link is closed with this code.
    Close(Option<u16>),
    /// A pong frame of the same payload.
    PongFrame,
    /// Its link is cut, and opened again because the session has a pipeline there.
    NewLink,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(code) => write!(f, "{code}"),
            Self::ErrorWithoutId(code) => write!(f, "{code}, id null"),
            Self::BackendAnswer => f.write_str("the backend's answer"),
            Self::Success => f.write_str("success"),
            Self::PongWithoutSession => f.write_str("pong without a session"),
            Self::PongFrame => f.write_str("a pong frame"),
            Self::PongFrameAndAnswer => f.write_str("a pong frame, the backend's answer"),
            Self::AsSaid => f.write_str("the same"),
            Self::Close(Some(code)) => write!(f, "close {code}"),
            Self::Close(None) => f.write_str("close without code"),
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::Nothing => f.write_str("nothing"),
            Self::Event => f.write_str("the event"),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Same => f.write_str("the same"),
            Self::Close(Some(code)) => write!(f, "close {code}"),
            Self::Close(None) => f.write_str("close without code"),
            Self::PongFrame => f.write_str("a pong frame"),
            Self::NewLink => f.write_str("a new link"),
        }
    }
}

/// One row: each of its inputs has the same outcome.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) inputs: Vec<Odd>,
    pub(super) client: Client,
    pub(super) backend: Backend,
    /// Lines of `[limits]` in the config.
    pub(super) limits: &'static str,
    /// Lines of its listener.
    pub(super) listener: &'static str,
}

impl Row {
    fn new(inputs: Vec<Odd>) -> Self {
        let (client, backend) = (Client::Nothing, Backend::Nothing);
        Self { inputs, client, backend, limits: "", listener: "" }
    }

    fn from_client(sent: impl IntoIterator<Item = Sent>) -> Self {
        let odd = |sent| FromClient { before: Vec::new(), sent, is_first: false, is_last: false };
        Self::new(sent.into_iter().map(|sent| Odd::Client(odd(sent))).collect())
    }

    fn but(mut self, change: impl Fn(&mut FromClient)) -> Self {
        for input in &mut self.inputs {
            match input {
                Odd::Client(odd) => change(odd),
                Odd::Http(_) | Odd::Backend(_) => panic!("not what a client sends: {input:?}"),
            }
        }
        self
    }

    /// Text messages on a connection whose link is open.
    pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::from_client(texts.into_iter().map(|text| Sent::Text(text.into())))
    }

    /// Bytes behind the handshake, on a connection whose link is open.
    pub(super) fn bytes<const N: usize>(bytes: [Vec<u8>; N]) -> Self {
        Self::from_client(bytes.map(Sent::Bytes))
    }

    /// Bytes instead of a handshake.
    pub(super) fn http<T: Into<Vec<u8>>>(requests: impl IntoIterator<Item = T>) -> Self {
        Self::new(requests.into_iter().map(|request| Odd::Http(request.into())).collect())
    }

    /// Bytes that the backend sends on a link while a call waits.
    pub(super) fn from_backend<const N: usize>(bytes: [Vec<u8>; N]) -> Self {
        Self::new(bytes.map(|bytes| Odd::Backend(Some(bytes))).into())
    }

    /// The backend hangs up while a call waits.
    pub(super) fn backend_gone() -> Self {
        Self::new(vec![Odd::Backend(None)])
    }

    /// They are the first messages of their connections.
    pub(super) fn first(self) -> Self {
        self.but(|odd| odd.is_first = true)
    }

    /// The client's end of the connection is shut behind them.
    pub(super) fn last(self) -> Self {
        self.but(|odd| odd.is_last = true)
    }

    /// They come behind these messages, which the backend leaves unanswered.
    pub(super) fn behind(self, before: &[String]) -> Self {
        self.but(|odd| odd.before = before.to_vec())
    }

    pub(super) fn limits(mut self, limits: &'static str) -> Self {
        self.limits = limits;
        self
    }

    pub(super) fn listener(mut self, listener: &'static str) -> Self {
        self.listener = listener;
        self
    }

    /// The outcome. What the backend gets is nothing unless it is said.
    pub(super) fn client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    pub(super) fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The client gets an error with `code` and its id.
    pub(super) fn error(self, code: i64) -> Self {
        self.client(Client::Error(code))
    }

    /// The client gets an error with `code` and no id.
    pub(super) fn error_without_id(self, code: i64) -> Self {
        self.client(Client::ErrorWithoutId(code))
    }

    /// The backend gets the message as it is and answers it.
    pub(super) fn passes(self) -> Self {
        self.client(Client::BackendAnswer).backend(Backend::Same)
    }

    /// Both ends are closed with `code`.
    pub(super) fn closes(self, code: impl Into<Option<u16>>) -> Self {
        let code = code.into();
        self.client(Client::Close(code)).backend(Backend::Close(code))
    }
}

/// A frame as a client sends it, masked. `first` is its first byte: final bit, reserved bits,
/// opcode.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = head(first, payload.len(), 0x80);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A frame as a server sends it, without a mask.
pub(super) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len(), 0);
    bytes.extend(payload);
    bytes
}

fn head(first: u8, len: usize, mask_bit: u8) -> Vec<u8> {
    match len {
        0..=125 => vec![first, mask_bit | u8::try_from(len).unwrap()],
        126..=0xffff => {
            let [a, b] = u16::try_from(len).unwrap().to_be_bytes();
            vec![first, mask_bit | 126, a, b]
        }
        len => {
            let mut bytes = vec![first, mask_bit | 127];
            bytes.extend((len as u64).to_be_bytes());
            bytes
        }
    }
}
