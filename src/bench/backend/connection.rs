//! One connection of the backend.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Shared;
use super::answer::{Effect, event};
use super::call::Call;
use super::subscribers::{EMISSIONS_MAX, Emission, Outlet};
use crate::protocol::frame::{Decoder, Message, Opcode, Role, encode, encode_close};

/// Longest request head, in bytes; a longer one ends the connection.
const HEAD_MAX: usize = 16 * 1024;

/// Longest message, in bytes; a longer one ends the connection.
const MESSAGE_MAX: usize = 1 << 20;

/// Room made for reading at once: several offers.
const READ_LEN: usize = 16 * 1024;

/// Events written at once, so that a large emission waits for a slow reader and not in memory.
const EVENTS_AT_ONCE: u32 = 64;

/// A client, or a proxy for one.
pub(super) struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    number: u64,
    /// Whom the connection is tied to; empty at first.
    session: String,
    decoder: Decoder,
    out: Vec<u8>,
    /// One answer or event at a time.
    text: String,
    /// There from the first subscription on.
    events: Option<(Outlet, mpsc::Receiver<Emission>)>,
    subscribed: BTreeSet<String>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            number: shared.subscribers.number(),
            shared,
            session: String::new(),
            decoder: Decoder::new(Role::Server, MESSAGE_MAX),
            out: Vec::new(),
            text: String::new(),
            events: None,
            subscribed: BTreeSet::new(),
        }
    }

    /// Serves until either side ends it.
    pub(super) async fn run(mut self) {
        let served = async {
            self.shake_hands().await?;
            while self.turn().await? {}
            Ok::<_, io::Error>(())
        };
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection broke");
        }
        for object in &self.subscribed {
            self.shared.subscribers.unsubscribe(object, self.number);
        }
    }

    async fn shake_hands(&mut self) -> io::Result<()> {
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if head.len() > HEAD_MAX || self.stream.read_buf(&mut head).await? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        };
        let text = String::from_utf8_lossy(&head[..end]);
        let key = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then_some(value.trim())
        });
        let Some(key) = key else {
            let refusal = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n";
            self.stream.write_all(refusal).await?;
            return Err(io::ErrorKind::InvalidData.into());
        };
        let accepted = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes()),
        );
        self.decoder.buffer(Vec::new).extend_from_slice(&head[end..]);
        self.stream.write_all(accepted.as_bytes()).await
    }

    /// Reads what came, or takes events to send, and writes; says whether there may be more.
    async fn turn(&mut self) -> io::Result<bool> {
        let goes_on = self.answer_all()?;
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        if !goes_on {
            return Ok(false);
        }
        let buffer = self.decoder.buffer(Vec::new);
        buffer.reserve(READ_LEN);
        let Some((_, events)) = &mut self.events else {
            return Ok(self.stream.read_buf(buffer).await? > 0);
        };
        tokio::select! {
            read = self.stream.read_buf(buffer) => Ok(read? > 0),
            Some(emission) = events.recv() => self.send_events(&emission).await.map(|()| true),
        }
    }

    /// Answers every whole message that was read; says whether the connection goes on.
    fn answer_all(&mut self) -> io::Result<bool> {
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Role::Server, 0));
        let goes_on = loop {
            match decoder.next().map_err(io::Error::other)? {
                None => break true,
                Some(Message::Text(text)) => self.answer(text)?,
                Some(Message::Ping(payload)) => {
                    encode(&mut self.out, Opcode::Pong, payload, None);
                }
                Some(Message::Pong(_)) => {}
                Some(Message::Close(code, _)) => {
                    encode_close(&mut self.out, code.or(Some(1000)), "", None);
                    break false;
                }
                Some(Message::Binary(_) | Message::TooLong(_)) => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        };
        self.decoder = decoder;
        Ok(goes_on)
    }

    fn answer(&mut self, text: &str) -> io::Result<()> {
        // A real server cuts the connection as well.
        let call = Call::read(text).ok_or(io::ErrorKind::InvalidData)?;
        self.text.clear();
        let shared = Arc::clone(&self.shared);
        match shared.identity.answer(&call, &mut self.session, &mut self.text) {
            Effect::None => {}
            Effect::Subscribe(object) => self.subscribe(object),
            Effect::Unsubscribe(object) => {
                self.subscribed.remove(object);
                shared.subscribers.unsubscribe(object, self.number);
            }
            Effect::Emit(object, count) => {
                if !shared.subscribers.emit(object, count) {
                    return Err(io::Error::other("a subscriber takes no events"));
                }
            }
        }
        encode(&mut self.out, Opcode::Text, self.text.as_bytes(), None);
        Ok(())
    }

    fn subscribe(&mut self, object: &str) {
        let (outlet, _) = self.events.get_or_insert_with(|| mpsc::channel(EMISSIONS_MAX));
        self.shared.subscribers.subscribe(object, self.number, outlet);
        self.subscribed.insert(object.to_owned());
    }

    async fn send_events(&mut self, emission: &Emission) -> io::Result<()> {
        let Emission { object, first, count } = emission;
        for at in 0..*count {
            self.text.clear();
            event(&mut self.text, &self.shared.name, object, first + u64::from(at));
            encode(&mut self.out, Opcode::Text, self.text.as_bytes(), None);
            if (at + 1) % EVENTS_AT_ONCE == 0 {
                self.stream.write_all(&self.out).await?;
                self.out.clear();
            }
        }
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }
}
