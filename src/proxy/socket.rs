//! A WebSocket after its handshake: bytes in, messages out, and back.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::io::poll_read_buf;

use super::bell::Bell;
use super::buffers::{self, BUFFER_LEN};
use super::stream::Stream;
use crate::model::{Draws, Time};
use crate::protocol::frame::{Decoder, Opcode, Role, encode, encode_close};

/// Room for which a read is worth its system call.
const READ_MIN: usize = BUFFER_LEN / 4;

/// Bytes of a closing connection that are read and thrown away while waiting for its end.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// One WebSocket.
pub(super) struct Socket {
    stream: Stream,
    decoder: Decoder,
    pub(super) writer: Writer,
    /// Rung when there is something to read.
    bell: Bell,
    /// Whether all that came is read and taken out, and nothing has come since.
    is_drained: bool,
    /// Whether something was read that is to be acknowledged when nothing more is there. Never of a
    /// client's socket: what it sends waits for nothing of ours.
    owes_ack: bool,
    /// Whether the system puts acknowledgements off: it does so since something was written.
    puts_off: bool,
    /// Whether it does so for some milliseconds only.
    has_short_delay: bool,
}

/// What waits to be written.
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// How many of `bytes` are written.
    written: usize,
    /// Draws of masks: a client must mask what it sends.
    masks: Option<Draws>,
    /// Since when the oldest byte waits, or when some were written last.
    since: Time,
    /// Whether bytes were written that the stream may still hold.
    is_dirty: bool,
}

impl Socket {
    /// The server's end: `message_max` bounds what it reads, `first` holds bytes that came together
    /// with the handshake.
    pub(super) fn server(stream: Stream, message_max: usize, first: &[u8]) -> Self {
        Self::new(stream, Decoder::new(Role::Server, message_max), None, first)
    }

    /// The client's end. `masks` is the seed of its masks, which must not be predictable.
    pub(super) fn client(stream: Stream, message_max: usize, first: &[u8], masks: u64) -> Self {
        let decoder = Decoder::new(Role::Client, message_max);
        let has_short_delay = stream.bound_ack_delay();
        Self { has_short_delay, ..Self::new(stream, decoder, Some(Draws::seeded(masks)), first) }
    }

    fn new(stream: Stream, mut decoder: Decoder, masks: Option<Draws>, first: &[u8]) -> Self {
        if !first.is_empty() {
            decoder.buffer(buffers::take).extend_from_slice(first);
        }
        let writer =
            Writer { bytes: Vec::new(), written: 0, masks, since: Time::ZERO, is_dirty: false };
        Self {
            stream,
            decoder,
            writer,
            bell: Bell::new(),
            is_drained: false,
            owes_ack: false,
            puts_off: true,
            has_short_delay: false,
        }
    }

    /// Whether there may be something to take out or to read. If not, the task of `cx` is woken when
    /// there is.
    pub(super) fn has_something(&mut self, cx: &Context<'_>) -> bool {
        if self.bell.has_rung(cx) {
            self.is_drained = false;
        }
        !self.is_drained
    }

    /// Reads what has come into the decoder, from which all was taken out. `Ready(Ok(0))` is the end of
    /// the stream; after `Pending` it is [`Self::has_something`] that tells when there is more.
    pub(super) fn poll_read(&mut self) -> Poll<io::Result<usize>> {
        let buffer = self.decoder.buffer(buffers::take);
        // Room doubles as data comes, so that a length which is only claimed costs nothing.
        if buffer.capacity() - buffer.len() < READ_MIN {
            buffer.reserve(buffer.len().max(BUFFER_LEN));
        }
        let cx = &mut Context::from_waker(self.bell.waker());
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, buffer);
        self.is_drained = read.is_pending();
        match read {
            Poll::Ready(Ok(1..)) => self.owes_ack = self.writer.masks.is_some(),
            Poll::Ready(Ok(0) | Err(_)) => self.release_buffer(),
            Poll::Pending => {
                if std::mem::take(&mut self.owes_ack) && std::mem::take(&mut self.puts_off) {
                    self.stream.acknowledge();
                }
                self.release_buffer();
            }
        }
        read
    }

    /// A message of the backend was taken out of what was read; `is_last` if it owes no other. That
    /// one is acknowledged with the next call, or after a delay if that is short: an event behind it
    /// may wait so long, but most often there is none.
    pub(super) fn on_taken(&mut self, is_last: bool) {
        self.owes_ack = !(is_last && self.has_short_delay);
    }

    /// Lends the decoder out, so that a message in it can be used while the socket is.
    pub(super) fn lend_decoder(&mut self) -> Decoder {
        std::mem::replace(&mut self.decoder, Decoder::new(Role::Server, 0))
    }

    /// Takes the decoder back.
    pub(super) fn return_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }

    /// Gives the read buffer back if it is empty.
    fn release_buffer(&mut self) {
        if let Some(buffer) = self.decoder.take_empty_buffer() {
            buffers::give(buffer);
        }
    }

    /// Writes as much as the other end takes. `Ready(Ok(n))` when nothing is left; `n` is the number
    /// of bytes written now.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<io::Result<()>> {
        let writer = &mut self.writer;
        while writer.written < writer.bytes.len() {
            let rest = &writer.bytes[writer.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => writer.written += n,
            }
            writer.since = now;
            writer.is_dirty = true;
            self.puts_off = true;
        }
        if !writer.bytes.is_empty() {
            buffers::give(std::mem::take(&mut writer.bytes));
            writer.written = 0;
        }
        if writer.is_dirty {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            writer.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Closes from our side: says `code` and `reason`, then waits for the other end to hang up, so
    /// that what we said is not lost to a reset. Takes at most `limit`.
    pub(super) async fn close(mut self, code: Option<u16>, reason: &str, limit: Duration) {
        self.writer.close(code, reason);
        let hang_up = async {
            poll_fn(|cx| self.poll_flush(cx, Time::ZERO)).await?;
            self.stream.shutdown().await?;
            let mut discarded = 0;
            while discarded < LINGER_BYTES_MAX {
                let mut buffer = buffers::take();
                let read =
                    poll_fn(|cx| poll_read_buf(Pin::new(&mut self.stream), cx, &mut buffer)).await;
                buffers::give(buffer);
                match read? {
                    0 => break,
                    n => discarded += n,
                }
            }
            io::Result::Ok(())
        };
        // Whatever goes wrong now, the connection ends, and that is what is wanted.
        let _ = tokio::time::timeout(limit, hang_up).await;
    }
}

impl Writer {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether bytes wait for longer than `timeout` without any progress.
    pub(super) fn is_stuck(&self, now: Time, timeout: Duration) -> bool {
        self.len() > 0 && now.since(self.since) >= timeout
    }

    /// Queues one message.
    pub(super) fn send(&mut self, opcode: Opcode, payload: &[u8], now: Time) {
        self.prepare(now);
        let mask = self.mask();
        encode(&mut self.bytes, opcode, payload, mask);
    }

    /// Queues a close frame.
    pub(super) fn close(&mut self, code: Option<u16>, reason: &str) {
        // Little comes now, and many may close at once: no pooled buffer, which is large.
        let mask = self.mask();
        encode_close(&mut self.bytes, code, reason, mask);
    }

    fn prepare(&mut self, now: Time) {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers::take();
        }
        if self.len() == 0 {
            self.since = now;
        }
    }

    fn mask(&mut self) -> Option<[u8; 4]> {
        let [mask, _] = *self.masks.as_mut()?.next().to_le_bytes().as_chunks().0 else {
            unreachable!("eight bytes are two masks")
        };
        Some(mask)
    }
}
