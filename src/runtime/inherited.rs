//! Listening sockets that this process did not open itself: systemd has, or the process before.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{AddressFamily, SocketType, sockopt::socket_domain};

/// Why sockets cannot be taken over. Each is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// `LISTEN_PID` or `LISTEN_FDS` is no number.
    #[error("LISTEN_PID and LISTEN_FDS must be numbers")]
    Variables,
    /// A descriptor that is something else. Carries its number, from 1, and its name if it has one.
    #[error(
        "socket {0}{name} is no listening TCP socket; see ListenStream and Accept=no in its unit",
        name = named(.1.as_deref())
    )]
    NotListening(usize, Option<String>),
    /// A socket that no address of the config is. Carries its address and its name if it has one.
    #[error(
        "socket {0}{name} is at no address of [[listeners]] or [admin]; give both the same",
        name = named(.1.as_deref())
    )]
    Unmatched(SocketAddr, Option<String>),
}

fn named(name: Option<&str>) -> String {
    name.map(|name| format!(" ({name:?})")).unwrap_or_default()
}

/// Listening TCP sockets, to be taken by their addresses.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Given>);

#[derive(Debug)]
struct Given {
    name: Option<String>,
    addr: SocketAddr,
    socket: TcpListener,
}

impl Inherited {
    /// Those that systemd has opened for this very process, if any. To be called once, before the
    /// process opens anything.
    ///
    /// Source: `sd_listen_fds(3)`.
    ///
    /// # Errors
    /// The variables make no sense, or a descriptor is no listening TCP socket.
    pub fn of_systemd() -> Result<Self, InheritError> {
        let given = sd_listen_fds::get().map_err(|_| InheritError::Variables)?;
        Self::of(given.into_iter().map(|(name, fd)| (name, fd.into_std())))
    }

    /// Those that the process before has sent.
    ///
    /// # Errors
    /// One is no listening TCP socket.
    pub fn sent(sockets: Vec<OwnedFd>) -> Result<Self, InheritError> {
        Self::of(sockets.into_iter().map(|socket| (None, socket)))
    }

    fn of(sockets: impl Iterator<Item = (Option<String>, OwnedFd)>) -> Result<Self, InheritError> {
        let given = sockets.enumerate().map(|(index, (name, fd))| match listening(fd) {
            Some((socket, addr)) => Ok(Given { name, addr, socket }),
            None => Err(InheritError::NotListening(index + 1, name)),
        });
        Ok(Self(given.collect::<Result<_, _>>()?))
    }

    /// Adds those of `others` that are at other addresses.
    pub fn add(&mut self, others: Self) {
        for other in others.0 {
            if self.0.iter().all(|given| given.addr != other.addr) {
                self.0.push(other);
            }
        }
    }

    /// The one at `addr`.
    pub fn take(&mut self, addr: SocketAddr) -> Option<TcpListener> {
        let index = self.0.iter().position(|given| given.addr == addr)?;
        Some(self.0.swap_remove(index).socket)
    }

    /// All have been taken.
    ///
    /// # Errors
    /// One has not.
    pub fn check_empty(&self) -> Result<(), InheritError> {
        match self.0.first() {
            None => Ok(()),
            Some(left) => Err(InheritError::Unmatched(left.addr, left.name.clone())),
        }
    }
}

/// `fd` as what it should be, with its address, ready for an event loop.
fn listening(fd: OwnedFd) -> Option<(TcpListener, SocketAddr)> {
    let is_stream = socket_type(fd.as_fd()).ok()? == SocketType::STREAM;
    let domain = socket_domain(fd.as_fd()).ok()?;
    let is_ip = domain == AddressFamily::INET || domain == AddressFamily::INET6;
    if !is_stream || !is_ip || !socket_acceptconn(fd.as_fd()).ok()? {
        return None;
    }
    let socket = TcpListener::from(fd);
    socket.set_nonblocking(true).ok()?;
    let addr = socket.local_addr().ok()?;
    Some((socket, addr))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_socket_is_taken_once_by_its_address() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let mut inherited = Inherited::sent(vec![socket.into()]).unwrap();
        assert!(
            matches!(inherited.check_empty(), Err(InheritError::Unmatched(at, None)) if at == addr)
        );
        assert_eq!(inherited.take(addr).unwrap().local_addr().unwrap(), addr);
        assert!(inherited.take(addr).is_none());
        inherited.check_empty().unwrap();
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let refused = Inherited::sent(vec![socket.into(), stream.into()]).unwrap_err();
        assert!(refused.to_string().starts_with("socket 2 is no listening"), "{refused}");
        let file = std::fs::File::open("/dev/null").unwrap();
        let named = [(Some("web".to_owned()), OwnedFd::from(file))];
        let refused = Inherited::of(named.into_iter()).unwrap_err();
        assert!(refused.to_string().starts_with("socket 1 (\"web\") is no"), "{refused}");
    }
}
