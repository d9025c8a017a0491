//! WebSocket frames: bytes to messages and back.
//!
//! Pure: whoever owns the socket appends what it read and takes whole messages out. A message in one
//! frame is unmasked where it lies and handed out without a copy. An endpoint with nothing to decode
//! holds no buffer. No extension is negotiated, so the reserved bits must be zero.
//!
//! Source: RFC 6455, sections 5 and 7.

/// Which end of the connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads from a server: frames come without a mask.
    Client,
    /// Reads from a client: frames must be masked.
    Server,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the RFC's opcode of the same name")]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    const fn parse(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A whole message or control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, checked to be UTF-8.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// Answers a ping.
    Pong(&'a [u8]),
    /// The other end closes: the status code if it gave one, and the reason.
    Close(Option<u16>, &'a str),
    /// A message over the limit, thrown away as it came. Carries its length in bytes.
    TooLong(u64),
}

/// Why a connection cannot go on, as the status code to close it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// 1002.
    #[error("WebSocket protocol error: {0}")]
    Protocol(&'static str),
    /// 1007.
    #[error("text message is not UTF-8")]
    NotUtf8,
}

impl FrameError {
    /// Status code of the close frame. Source: RFC 6455, section 7.4.1.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
        }
    }
}

/// Reads messages out of bytes.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    message_max: usize,
    /// Bytes read from the socket; those before `start` are used up.
    buffer: Vec<u8>,
    start: usize,
    /// The fragments of a message so far, and whether it was handed out.
    fragments: Vec<u8>,
    fragmented: Option<Opcode>,
    is_handed_out: bool,
    oversize: Option<Oversize>,
}

/// A message that is being thrown away.
#[derive(Clone, Copy, Debug)]
struct Oversize {
    message_len: u64,
    frame_left: u64,
    is_last_frame: bool,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
struct Header {
    is_final: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    header_len: usize,
    payload_len: u64,
}

impl Decoder {
    /// A decoder for one end of a new connection. Messages over `message_max` bytes are thrown away
    /// as they come and reported as [`Message::TooLong`].
    #[must_use]
    pub const fn new(role: Role, message_max: usize) -> Self {
        Self {
            role,
            message_max,
            buffer: Vec::new(),
            start: 0,
            fragments: Vec::new(),
            fragmented: None,
            is_handed_out: false,
            oversize: None,
        }
    }

    /// The buffer to append to, used-up bytes removed. `fresh` gives one when there is none.
    pub fn buffer(&mut self, fresh: impl FnOnce() -> Vec<u8>) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = fresh();
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
        &mut self.buffer
    }

    /// Gives the buffer back when nothing is left in it.
    pub fn take_empty_buffer(&mut self) -> Option<Vec<u8>> {
        if self.start < self.buffer.len() || self.buffer.capacity() == 0 {
            return None;
        }
        self.start = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        Some(buffer)
    }

    /// Takes the next whole message out; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the other end breaks the protocol; the decoder is of no use afterwards.
    #[expect(clippy::should_implement_trait, reason = "lends from itself, as Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<Message<'_>>, FrameError> {
        if std::mem::take(&mut self.is_handed_out) {
            self.fragments = Vec::new();
        }
        loop {
            if let Some(len) = self.skip_oversize() {
                return Ok(len.map(Message::TooLong));
            }
            let Some(header) = parse_header(&self.buffer[self.start..])? else { return Ok(None) };
            self.check(&header)?;
            if self.is_oversize(&header) {
                self.start += header.header_len;
                self.begin_oversize(&header);
                continue;
            }
            let payload_len = usize::try_from(header.payload_len).expect("within message_max");
            let payload_start = self.start + header.header_len;
            let end = payload_start + payload_len;
            if self.buffer.len() < end {
                return Ok(None);
            }
            self.start = end;
            if let Some(mask) = header.mask {
                apply_mask(&mut self.buffer[payload_start..end], mask);
            }
            if header.opcode.is_control() || (header.is_final && self.fragmented.is_none()) {
                return message(header.opcode, &self.buffer[payload_start..end]).map(Some);
            }
            self.fragments.extend_from_slice(&self.buffer[payload_start..end]);
            if !header.is_final {
                self.fragmented.get_or_insert(header.opcode);
                continue;
            }
            self.is_handed_out = true;
            let opcode = self.fragmented.take().expect("a final frame alone was handed out above");
            return message(opcode, &self.fragments).map(Some);
        }
    }

    fn check(&self, header: &Header) -> Result<(), FrameError> {
        let is_right_mask = match self.role {
            Role::Server => header.mask.is_some(),
            Role::Client => header.mask.is_none(),
        };
        if !is_right_mask {
            return Err(FrameError::Protocol("a client masks its frames, a server does not"));
        }
        if header.opcode.is_control() {
            if !header.is_final || header.payload_len > 125 {
                return Err(FrameError::Protocol("control frame is fragmented or too long"));
            }
            return Ok(());
        }
        let is_open = self.fragmented.is_some() || self.oversize.is_some();
        if (header.opcode == Opcode::Continuation) != is_open {
            return Err(FrameError::Protocol("fragments out of order"));
        }
        Ok(())
    }

    fn is_oversize(&self, header: &Header) -> bool {
        let room = self.message_max - self.fragments.len();
        !header.opcode.is_control() && (self.oversize.is_some() || header.payload_len > room as u64)
    }

    fn begin_oversize(&mut self, header: &Header) {
        let so_far = self.oversize.map_or(self.fragments.len() as u64, |o| o.message_len);
        self.fragments = Vec::new();
        self.fragmented = None;
        self.oversize = Some(Oversize {
            message_len: so_far.saturating_add(header.payload_len),
            frame_left: header.payload_len,
            is_last_frame: header.is_final,
        });
    }

    /// Throws away what is there of an oversize frame. `None` when there is none to throw away,
    /// `Some(None)` when more of it has to come, `Some(length)` when its message has ended.
    fn skip_oversize(&mut self) -> Option<Option<u64>> {
        let oversize = self.oversize.as_mut()?;
        let there = (self.buffer.len() - self.start) as u64;
        let skipped = there.min(oversize.frame_left);
        self.start += usize::try_from(skipped).expect("no more than the buffer holds");
        oversize.frame_left -= skipped;
        if oversize.frame_left > 0 {
            return Some(None);
        }
        if !oversize.is_last_frame {
            return None;
        }
        let message_len = oversize.message_len;
        self.oversize = None;
        Some(Some(message_len))
    }
}

fn parse_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::Protocol("reserved bit is set"));
    }
    let opcode = Opcode::parse(first & 0x0f).ok_or(FrameError::Protocol("unknown opcode"))?;
    let (payload_len, len_len) = match second & 0x7f {
        126 => match rest.first_chunk() {
            Some(len) => (u64::from(u16::from_be_bytes(*len)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(len) => (u64::from_be_bytes(*len), 8),
            None => return Ok(None),
        },
        len => (u64::from(len), 0),
    };
    let len_min = match len_len {
        0 => 0,
        2 => 126,
        _ => 0x1_0000,
    };
    if payload_len < len_min {
        return Err(FrameError::Protocol("length in more bytes than it needs"));
    }
    if payload_len > i64::MAX as u64 {
        return Err(FrameError::Protocol("length has its highest bit set"));
    }
    let mut mask = None;
    let mut header_len = 2 + len_len;
    if second & 0x80 != 0 {
        let Some(key) = rest[len_len..].first_chunk() else { return Ok(None) };
        mask = Some(*key);
        header_len += 4;
    }
    Ok(Some(Header { is_final: first & 0x80 != 0, opcode, mask, header_len, payload_len }))
}

fn message(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, FrameError> {
    Ok(match opcode {
        Opcode::Text => Message::Text(utf8(payload)?),
        Opcode::Binary => Message::Binary(payload),
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
        Opcode::Close => close(payload)?,
        Opcode::Continuation => unreachable!("check() lets none through outside a message"),
    })
}

fn close(payload: &[u8]) -> Result<Message<'_>, FrameError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Message::Close(None, "")),
            _ => Err(FrameError::Protocol("close frame with half a status code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameError::Protocol("status code that may not be sent"));
    }
    Ok(Message::Close(Some(code), utf8(reason)?))
}

fn utf8(payload: &[u8]) -> Result<&str, FrameError> {
    std::str::from_utf8(payload).map_err(|_| FrameError::NotUtf8)
}

/// Masks or unmasks `payload` with `mask`: the same operation. Eight bytes a step.
fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes((&*chunk).try_into().expect("eight bytes")) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends one unfragmented frame to `out`; `mask` is for clients, which must mask.
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode as u8);
    match payload.len() {
        len @ 0..=125 => out.push(mask_bit | u8::try_from(len).expect("125 at most")),
        len @ 126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&u16::try_from(len).expect("two bytes at most").to_be_bytes());
        }
        len => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask.as_ref().map_or(&[][..], |m| &m[..]));
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// Appends a close frame with `code` and `reason`, cut to the 123 bytes that fit.
pub fn encode_close(out: &mut Vec<u8>, code: Option<u16>, reason: &str, mask: Option<[u8; 4]>) {
    let mut payload = code.map(|c| c.to_be_bytes().to_vec()).unwrap_or_default();
    if code.is_some() {
        let end = reason.floor_char_boundary(123);
        payload.extend_from_slice(&reason.as_bytes()[..end]);
    }
    encode(out, Opcode::Close, &payload, mask);
}

#[cfg(test)]
mod tests;
