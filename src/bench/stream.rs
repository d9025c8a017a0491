//! A byte stream to whatever is measured, up to an open WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::target::Target;

/// The example of RFC 6455, section 1.3, and its answer. A real client draws a key each time; what is
/// measured is not the drawing.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Longest head of an answer, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// One connection, with TLS or without.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects, with TLS if the target has it.
    pub(super) async fn connect(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.addr).await?;
        stream.set_nodelay(true)?;
        let Some((name, config)) = &target.tls else { return Ok(Self::Plain(stream)) };
        let stream = TlsConnector::from(config.clone()).connect(name.clone(), stream).await?;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Becomes a WebSocket for a client of `meeting`; returns what came behind the handshake.
    pub(super) async fn upgrade(&mut self, target: &Target, meeting: &str) -> io::Result<Vec<u8>> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            target.path_of(meeting),
            target.authority,
        );
        self.write_all(request.as_bytes()).await?;
        self.flush().await?;
        let mut head = Vec::with_capacity(1_024);
        let end = loop {
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if head.len() > HEAD_MAX || self.read_buf(&mut head).await? == 0 {
                return Err(io::Error::other("the handshake was not answered"));
            }
        };
        let rest = head.split_off(end);
        let head = String::from_utf8_lossy(&head);
        let status = head.lines().next().unwrap_or_default();
        if !status.starts_with("HTTP/1.1 101 ") {
            return Err(io::Error::other(format!("the handshake was answered {status:?}")));
        }
        let accepts = |line: &str| line.split_once(':').is_some_and(|(_, v)| v.trim() == ACCEPT);
        if !head.lines().any(accepts) {
            return Err(io::Error::other("wrong Sec-WebSocket-Accept"));
        }
        Ok(rest)
    }

    /// How TLS was agreed on, if there is TLS.
    pub(super) fn handshake_kind(&self) -> Option<HandshakeKind> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.handshake_kind(),
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
