//! Clients in a closed loop, and the backend that answers them, on one thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use pinfold::protocol::frame::{Decoder, Message, Opcode, Role, encode};
use pinfold::protocol::reply::{FromBackend, peek};
use pinfold::protocol::request::parse_request;
use serde_json::json;

use super::Streams;
use super::pair::{BUFFER_LEN, Side};

/// Longest time in which nothing moves before it is a failure.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Events taken at a time.
const EVENTS_MAX: usize = 1_024;

/// Anything: nobody is to be fooled here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An object as Kurento names it.
const ENDPOINT: &str = "4f0ee0ad-6e8a-4bd3-8d2b-0c2f0a4f4a6e_kurento.MediaPipeline/\
                        9f6b1c7e-2d55-4d0e-a4a0-51f4f0d6a0d2_kurento.WebRtcEndpoint";

/// What clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// `addIceCandidate`, 441 bytes.
    Candidate,
    /// `processOffer`, 4 kB.
    Offer,
}

/// Clients and backend, each end with a socket of its own.
pub(super) struct Load {
    poll: Poll,
    events: Events,
    /// A client, the backend's end for it, the next client, and so on.
    ends: Vec<End>,
    call_count: u64,
}

struct End {
    side: Side,
    text: Text,
    stream: TcpStream,
    decoder: Decoder,
    out: Vec<u8>,
    /// The client's last question.
    id: u64,
}

impl Text {
    /// A request with this id.
    fn request(self, id: u64) -> String {
        let (operation, params) = match self {
            Self::Candidate => {
                let line = "candidate:842163049 1 udp 1677729535 203.0.113.7 46622 typ srflx raddr \
                            0.0.0.0 rport 0 generation 0 ufrag 6mZW network-id 1 network-cost 999";
                let candidate = json!({"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0});
                ("addIceCandidate", json!({ "candidate": candidate }))
            }
            Self::Offer => {
                let offer = include_str!("../../../src/bench/offer.sdp").replace('\n', "\r\n");
                ("processOffer", json!({ "offer": offer }))
            }
        };
        let params = json!({"object": ENDPOINT, "operation": operation, "operationParams": params});
        json!({"id": id, "jsonrpc": "2.0", "method": "invoke", "params": params}).to_string()
    }
}

impl Load {
    /// Clients that have asked once, and what is to forward between them and the backend.
    pub(super) fn connect(text: Text, connections: usize) -> anyhow::Result<(Self, Vec<Streams>)> {
        let poll = Poll::new()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (mut ends, mut pairs) = (Vec::new(), Vec::new());
        for _ in 0..connections {
            let mut connect = |side| {
                let (end, forwarded) = End::connect(side, text, &listener)?;
                ends.push(end);
                anyhow::Ok(forwarded)
            };
            pairs.push([connect(Side::Client)?, connect(Side::Backend)?]);
        }
        for (index, end) in ends.iter_mut().enumerate() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut end.stream, Token(index), interest)?;
            if end.side == Side::Client {
                end.ask()?;
            }
        }
        let events = Events::with_capacity(EVENTS_MAX);
        Ok((Self { poll, events, ends, call_count: 0 }, pairs))
    }

    /// Asks and answers for `length`.
    ///
    /// # Errors
    /// A wrong answer, or nothing that moves for some seconds.
    pub(super) fn run(&mut self, length: Duration) -> anyhow::Result<()> {
        let begin = now();
        while begin.elapsed() < length {
            self.poll.poll(&mut self.events, Some(SILENCE_MAX))?;
            ensure!(!self.events.is_empty(), "nothing moves");
            for event in &self.events {
                self.call_count += self.ends[event.token().0].on_event()?;
            }
        }
        Ok(())
    }

    /// Messages that have gone all the way: two for each answer.
    pub(super) fn message_count(&self) -> u64 {
        2 * self.call_count
    }
}

impl End {
    /// An end, and the socket to forward to and from.
    fn connect(
        side: Side,
        text: Text,
        listener: &TcpListener,
    ) -> anyhow::Result<(Self, std::net::TcpStream)> {
        let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
        let (forwarded, _) = listener.accept()?;
        for stream in [&stream, &forwarded] {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
        }
        let role = match side {
            Side::Client => Role::Client,
            Side::Backend => Role::Server,
        };
        let decoder = Decoder::new(role, 1 << 20);
        let stream = TcpStream::from_std(stream);
        Ok((Self { side, text, stream, decoder, out: Vec::new(), id: 100_000_000 }, forwarded))
    }

    fn ask(&mut self) -> anyhow::Result<()> {
        self.id += 1;
        let request = self.text.request(self.id);
        encode(&mut self.out, Opcode::Text, request.as_bytes(), Some(MASK));
        self.write()
    }

    /// Reads, answers or asks again; how many calls have got their answer.
    fn on_event(&mut self) -> anyhow::Result<u64> {
        self.write()?;
        if !self.read()? {
            return Ok(0);
        }
        let mut answered = 0;
        while let Some(message) = self.decoder.next()? {
            let Message::Text(text) = message else { bail!("not a text") };
            match self.side {
                Side::Client => {
                    let expected = self.id.to_string();
                    ensure!(peek(text) == FromBackend::Reply(&expected), "wrong answer: {text}");
                    answered += 1;
                }
                Side::Backend => {
                    let id = parse_request(text, 64).ok().context("no request")?.id;
                    let reply = format!(
                        r#"{{"id":{id},"result":{{"sessionId":"f6d0b2b8-90a6-4e71-b6b2-b0cf3f7e2a10"}},"jsonrpc":"2.0"}}"#
                    );
                    encode(&mut self.out, Opcode::Text, reply.as_bytes(), None);
                }
            }
        }
        (0..answered).try_for_each(|_| self.ask())?;
        self.write()?;
        Ok(answered)
    }

    /// Whether something came.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut chunk = [0; BUFFER_LEN];
        let mut has_come = false;
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the forwarder has hung up"),
                Ok(len) => {
                    self.decoder.buffer(Vec::new).extend_from_slice(&chunk[..len]);
                    has_come = true;
                    if len < chunk.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(has_come),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(len) => drop(self.out.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
