//! What is done with messages on their way, whatever moves the bytes.

use std::cell::RefCell;
use std::hint::black_box;

use anyhow::bail;
use pinfold::model::Draws;
use pinfold::protocol::frame::{Decoder, Message, Opcode, Role, encode};
use pinfold::protocol::reply::peek;
use pinfold::protocol::request::parse_request;

/// Capacity of a fresh buffer, in bytes: as in the edge.
pub(super) const BUFFER_LEN: usize = 16 * 1024;

/// Longest message, in bytes.
const MESSAGE_MAX: usize = 1 << 20;

/// Deepest nesting of a message: the edge's default.
const DEPTH_MAX: usize = 64;

/// Buffers kept for others. More are freed.
const KEPT_MAX: usize = 64;

thread_local! {
    /// As in the edge, so that a connection with nothing under way has none.
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Which end of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Backend,
}

/// Both ends of what is forwarded, between reading and writing.
pub(super) struct Pair {
    decoders: [Decoder; 2],
    /// What is to be written to each.
    out: [Vec<u8>; 2],
    masks: Draws,
}

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::Client, Self::Backend];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Backend,
            Self::Backend => Self::Client,
        }
    }
}

impl Pair {
    pub(super) fn new(seed: u64) -> Self {
        let decoder = |role| Decoder::new(role, MESSAGE_MAX);
        Self {
            decoders: [decoder(Role::Server), decoder(Role::Client)],
            out: [Vec::new(), Vec::new()],
            masks: Draws::seeded(seed),
        }
    }

    /// Where what was read from `side` goes.
    pub(super) fn buffer(&mut self, side: Side) -> &mut Vec<u8> {
        self.decoders[side as usize].buffer(take_buffer)
    }

    /// What is to be written to `side`.
    pub(super) fn out(&mut self, side: Side) -> &mut Vec<u8> {
        &mut self.out[side as usize]
    }

    /// Passes the whole messages that were read from `side` on to the other.
    ///
    /// # Errors
    /// It was no text, or no request.
    pub(super) fn pass_on(&mut self, side: Side) -> anyhow::Result<()> {
        let (decoder, out) =
            (&mut self.decoders[side as usize], &mut self.out[side.other() as usize]);
        while let Some(message) = decoder.next()? {
            let Message::Text(text) = message else { bail!("not a text") };
            if out.capacity() == 0 {
                *out = take_buffer();
            }
            let mask = match side {
                Side::Client => {
                    let Ok(request) = parse_request(text, DEPTH_MAX) else { bail!("no request") };
                    black_box(request.params.object);
                    self.masks.next().to_le_bytes().first_chunk().copied()
                }
                Side::Backend => {
                    black_box(peek(text));
                    None
                }
            };
            encode(out, Opcode::Text, text.as_bytes(), mask);
        }
        if let Some(buffer) = decoder.take_empty_buffer() {
            give_buffer(buffer);
        }
        Ok(())
    }
}

/// A buffer of [`BUFFER_LEN`] bytes at least.
pub(super) fn take_buffer() -> Vec<u8> {
    let kept = KEPT.with_borrow_mut(Vec::pop);
    kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_LEN))
}

/// Gives a buffer back.
pub(super) fn give_buffer(mut buffer: Vec<u8>) {
    buffer.clear();
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX && buffer.capacity() >= BUFFER_LEN {
            kept.push(buffer);
        }
    });
}
