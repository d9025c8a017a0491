//! A WebSocket of a measuring client: frames out, texts in.

use std::io;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::frames::{FIRST_ID, MASK};
use super::reply::Wrong;
use super::stream::Stream;
use super::target::Target;
use crate::protocol::frame::{Decoder, Message, Opcode, Role, encode, encode_close};

/// Longest message from the server, in bytes; a longer one breaks the connection.
const MESSAGE_MAX: usize = 1 << 20;

/// Room made for reading at once.
const READ_LEN: usize = 4 * 1024;

/// The two directions, which can be used side by side.
pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

/// What goes out.
pub(super) struct Sender {
    stream: WriteHalf<Stream>,
    next_id: u64,
}

/// What comes in.
pub(super) struct Receiver {
    stream: ReadHalf<Stream>,
    decoder: Decoder,
}

/// The answer to a call that was made to get ready.
#[derive(Debug, Deserialize)]
struct Answer {
    id: Option<u64>,
    result: Option<Answered>,
}

/// What a call has led to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answered {
    /// Its value, if that is text.
    #[serde(default)]
    pub(super) value: String,
    #[serde(default, rename = "sessionId")]
    pub(super) session: String,
}

impl Connection {
    /// Opens a WebSocket for a client of `meeting`.
    pub(super) async fn open(target: &Target, meeting: &str) -> io::Result<Self> {
        let mut stream = Stream::connect(target).await?;
        let rest = stream.upgrade(target, meeting).await?;
        Ok(Self::new(stream, &rest))
    }

    /// The WebSocket that `stream` has become; `rest` came behind the handshake.
    pub(super) fn new(stream: Stream, rest: &[u8]) -> Self {
        let mut decoder = Decoder::new(Role::Client, MESSAGE_MAX);
        decoder.buffer(Vec::new).extend_from_slice(rest);
        let (read, write) = tokio::io::split(stream);
        Self {
            sender: Sender { stream: write, next_id: FIRST_ID },
            receiver: Receiver { stream: read, decoder },
        }
    }

    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// The connection broke, or what came is another message: then the error holds a [`Wrong`].
    pub(super) async fn call(&mut self, method: &str, params: &str) -> io::Result<Answered> {
        let id = self.sender.take_id();
        let text =
            format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":{id}}}"#);
        self.sender.send_text(&text).await?;
        let answered = self.receiver.take(|text| Some(read_answer(text, id))).await?;
        answered.map_err(io::Error::other)
    }

    /// Says goodbye and waits until the server has hung up.
    pub(super) async fn close(mut self) {
        let mut frame = Vec::new();
        encode_close(&mut frame, Some(1000), "", Some(MASK));
        if self.sender.send(&frame).await.is_ok() {
            // Whatever comes now was asked for by nobody, and the end is what is waited for.
            let _ = self.receiver.take(|_| None::<()>).await;
        }
    }
}

impl Sender {
    /// An id that was not used before.
    pub(super) fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The id that is taken next.
    pub(super) const fn peek_id(&self) -> u64 {
        self.next_id
    }

    /// Writes one or more whole frames.
    pub(super) async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames).await?;
        self.stream.flush().await
    }

    /// Writes one text.
    pub(super) async fn send_text(&mut self, text: &str) -> io::Result<()> {
        let mut frame = Vec::new();
        encode(&mut frame, Opcode::Text, text.as_bytes(), Some(MASK));
        self.send(&frame).await
    }
}

impl Receiver {
    /// Shows `taker` each text that comes until it makes something of one.
    ///
    /// # Errors
    /// The connection ends, or is used for what is not WebSocket.
    pub(super) async fn take<T>(
        &mut self,
        mut taker: impl FnMut(&str) -> Option<T>,
    ) -> io::Result<T> {
        loop {
            while let Some(message) = self.decoder.next().map_err(io::Error::other)? {
                match message {
                    Message::Text(text) => {
                        if let Some(taken) = taker(text) {
                            return Ok(taken);
                        }
                    }
                    Message::Close(code, reason) => {
                        let code = code.unwrap_or_default();
                        let what = format!("closed with {code} {reason:?}");
                        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, what));
                    }
                    // No server under measurement sends these unasked but to see whether we live.
                    Message::Ping(_) | Message::Pong(_) => {}
                    Message::Binary(_) | Message::TooLong(_) => {
                        return Err(io::Error::other("a binary or oversized message"));
                    }
                }
            }
            let buffer = self.decoder.buffer(Vec::new);
            buffer.reserve(READ_LEN);
            if self.stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The result in `text`, which must answer `id`.
fn read_answer(text: &str, id: u64) -> Result<Answered, Wrong> {
    match serde_json::from_str::<Answer>(text) {
        Ok(answer) if answer.id != Some(id) => Err(Wrong::Stray(shortened(text))),
        Ok(Answer { result: Some(result), .. }) => Ok(result),
        Ok(_) => Err(Wrong::Refused(shortened(text))),
        Err(_) => Err(Wrong::Stray(shortened(text))),
    }
}

/// The start of a text, for people.
pub(super) fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(200);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_call_is_one() {
        let good = r#"{"id":7,"jsonrpc":"2.0","result":{"sessionId":"s","value":"v"}}"#;
        let answered = read_answer(good, 7).unwrap();
        assert_eq!((answered.value.as_str(), answered.session.as_str()), ("v", "s"));
        assert!(matches!(read_answer(good, 8), Err(Wrong::Stray(_))));
        let refused = r#"{"error":{"code":40009,"message":"full"},"id":7,"jsonrpc":"2.0"}"#;
        assert!(matches!(read_answer(refused, 7), Err(Wrong::Refused(_))));
        assert!(read_answer("{}", 7).is_err());
    }
}
