//! Sockets sent from one process to another, over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::{TcpListener, UnixStream};

/// The sockets that this process listens on, for another that takes over. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct OpenSockets(Arc<Mutex<Vec<Weak<TcpListener>>>>);

impl OpenSockets {
    /// Adds one, for as long as it is open. There are as many as the config has addresses.
    pub fn add(&self, socket: &Arc<TcpListener>) {
        let mut all = self.lock();
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(socket));
    }

    /// Those that are open.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<TcpListener>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<TcpListener>>> {
        // Nothing that can panic is done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sockets in one message. Source: `SCM_MAX_FD` of Linux.
pub const SOCKETS_MAX: usize = 253;

/// Sends `bytes`, a few of them, together with `sockets`: the other process has these too then.
///
/// # Errors
/// More than [`SOCKETS_MAX`], or what the system says.
pub async fn send_sockets(
    stream: &UnixStream,
    bytes: &[u8],
    sockets: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if sockets.len() > SOCKETS_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let send = || {
        let mut space = vec![MaybeUninit::uninit(); space_for(sockets.len())];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // There is room for all of them.
        control.push(SendAncillaryMessage::ScmRights(sockets));
        Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
    };
    let sent = stream.async_io(Interest::WRITABLE, send).await?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives what [`send_sockets`] has sent, `len_max` bytes at most.
///
/// # Errors
/// The other end is gone, or what the system says.
pub async fn recv_sockets(
    stream: &UnixStream,
    len_max: usize,
) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let recv = || {
        let mut bytes = vec![0; len_max];
        let mut space = vec![MaybeUninit::uninit(); space_for(SOCKETS_MAX)];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut bytes)];
        let len = recvmsg(stream, into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        bytes.truncate(len);
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                sockets.extend(rights);
            }
        }
        Ok((bytes, sockets))
    };
    let (bytes, sockets) = stream.async_io(Interest::READABLE, recv).await?;
    if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((bytes, sockets)) }
}

fn space_for(count: usize) -> usize {
    rustix::cmsg_space!(ScmRights(count))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_sent_is_the_very_same() {
        let (here, there) = UnixStream::pair().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        send_sockets(&here, b"hello", &[socket.as_fd()]).await.unwrap();
        let (bytes, mut sockets) = recv_sockets(&there, 64).await.unwrap();
        assert_eq!(bytes, b"hello");
        let sent = TcpListener::from(sockets.pop().unwrap());
        assert_eq!(sent.local_addr().unwrap(), socket.local_addr().unwrap());
        assert!(sockets.is_empty());
        drop(here);
        let gone = recv_sockets(&there, 64).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn too_many_are_refused() {
        let (here, _there) = UnixStream::pair().unwrap();
        let many = vec![here.as_fd(); SOCKETS_MAX + 1];
        assert!(send_sockets(&here, b"hello", &many).await.is_err());
    }
}
