//! A byte stream to a client or a backend, with TLS or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::ack_delay::bound_ack_delay;

/// Silence after which TCP asks whether the other end is still there, the time between two such
/// questions, and how many may stay unanswered. Kurento asks nothing of the kind, and a client that
/// vanished without a word must not keep its media for ever.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// One connection.
pub(super) enum Stream {
    Plain(TcpStream),
    /// Boxed, because its state is larger than everything else of an idle connection.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Sets what every connection of ours has: no delay for small messages, keepalive. On Linux, what a
/// listening socket accepts has it too.
///
/// # Errors
/// What the system says; the connection is then of no use.
pub(super) fn tune<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)
}

impl Stream {
    /// Has acknowledgements that the system puts off sent within some milliseconds; says whether it
    /// can.
    pub(super) fn bound_ack_delay(&self) -> bool {
        match self {
            Self::Plain(stream) => bound_ack_delay(stream),
            Self::Tls(stream) => bound_ack_delay(stream.get_ref().0),
        }
    }

    /// Acknowledges at once what has come, where the system can.
    ///
    /// Kurento leaves Nagle's algorithm on: a small message right behind another, as an answer behind
    /// an event, waits there until the first is acknowledged, which a system puts off for 40 ms in the
    /// hope of an answer to send it with. Linux takes the wish back with the next thing sent. One call
    /// does both: what is due now is acknowledged, and what comes until then will be.
    pub(super) fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        if let Self::Plain(stream) = self {
            // Fails on a socket that is gone, which the next read tells.
            let _ = stream.set_quickack(true);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
