//! Accepts client connections, shakes hands, and runs a [`Relay`] for each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::arrivals::Arrival;
use super::entrance::Entrance;
use super::handshake::{Accepted, shake_hands};
use super::relay::Relay;
use super::sessions::Sessions;
use super::slots::{Slot, Slots};
use super::socket::Socket;
use super::stream::{self, Stream};
use super::visit::{Connection, Visit};
use crate::protocol::request::{Hints, Vantage};
use crate::runtime::{Latest, Tasks};
use crate::telemetry::HandshakeRejection;
use crate::telemetry::redact::ClientNet;

/// Connections that the system keeps for us until they are accepted. It may have a lower bound.
const BACKLOG: u32 = 8_192;

/// Pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source}")]
pub struct ListenError {
    /// As configured.
    pub addr: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// A bound address that clients connect to.
pub struct Listener {
    socket: Arc<TcpListener>,
}

/// What all listeners share.
#[derive(Clone)]
pub struct Lobby {
    /// Where clients that come back find their session.
    pub sessions: Arc<Sessions<Connection>>,
    /// Room for connections; further ones wait in the backlog of the system.
    pub slots: Arc<Slots>,
    /// The group that connections become tasks of.
    pub tasks: Tasks,
}

impl Listener {
    /// Binds the address; nothing is accepted yet.
    ///
    /// # Errors
    /// The system refuses.
    pub fn bind(addr: SocketAddr) -> Result<Self, ListenError> {
        let socket = bind(addr).map_err(|source| ListenError { addr, source })?;
        Ok(Self { socket: Arc::new(socket) })
    }

    /// A socket that listens already, at `addr`.
    ///
    /// # Errors
    /// The system refuses.
    pub fn inherit(addr: SocketAddr, socket: std::net::TcpListener) -> Result<Self, ListenError> {
        let tuned = stream::tune(&socket).and_then(|()| TcpListener::from_std(socket));
        let socket = tuned.map_err(|source| ListenError { addr, source })?;
        Ok(Self { socket: Arc::new(socket) })
    }

    /// Its socket.
    #[must_use]
    pub const fn socket(&self) -> &Arc<TcpListener> {
        &self.socket
    }

    /// The address that was really bound, with its port.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop`, then takes in who has connected before that, unless another process has
    /// the socket by now. Each connection gets what
    /// `entrance` is at that moment, and becomes a task of the lobby's that runs until its `closing`
    /// token tells it to end.
    pub async fn run(self, entrance: Arc<Latest<Entrance>>, lobby: Lobby, stop: CancellationToken) {
        let admit = |(stream, addr): (TcpStream, SocketAddr), slot| {
            let (entrance, lobby) = (entrance.get(), lobby.clone());
            let visitor = Visitor { entrance, lobby, peer: addr.ip().to_canonical() };
            visitor.lobby.tasks.clone().spawn_one_of_many(visitor.serve(stream, slot));
        };
        while let Some(slot) = stop.run_until_cancelled(lobby.slots.take()).await {
            match stop.run_until_cancelled(self.socket.accept()).await {
                None => break,
                Some(Ok(accepted)) => admit(accepted, slot),
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot accept; operator: see the limit of open files");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if !entrance.get().edge.moved.is_cancelled() {
            self.empty(&lobby.slots, admit);
        }
    }

    /// Takes in who waits to be accepted, as far as there is room, and closes the socket: whoever is
    /// in the system's backlog by then is reset.
    fn empty(self, slots: &Arc<Slots>, admit: impl Fn((TcpStream, SocketAddr), Slot)) {
        // The runtime may not have heard of who came last, so the system is asked.
        while let Some(slot) = slots.try_take()
            && let Ok((stream, addr)) = SockRef::from(&*self.socket).accept()
        {
            let taken =
                stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream.into()));
            match (taken, addr.as_socket()) {
                (Ok(stream), Some(addr)) => admit((stream, addr), slot),
                (Err(error), _) => tracing::warn!(%error, "a connection was not taken in"),
                (Ok(_), None) => {} // a TCP socket has an address
            }
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    stream::tune(&socket)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// A client that has connected.
struct Visitor {
    entrance: Arc<Entrance>,
    lobby: Lobby,
    /// The other end of the socket.
    peer: IpAddr,
}

impl Visitor {
    async fn serve(self, stream: TcpStream, slot: Slot) {
        let edge = self.entrance.edge.clone();
        let timeout = edge.limits.handshake_timeout;
        let (accepted, client) = match tokio::time::timeout(timeout, self.shake_hands(stream)).await
        {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(reason)) => return edge.metrics.on_handshake_rejected(reason),
            Err(_) => return edge.metrics.on_handshake_rejected(HandshakeRejection::Timeout),
        };
        let counts = (edge.metrics.on_connection(), slot);
        let Accepted { stream, first, mut hints, headers } = accepted;
        // Not to be kept for as long as the connection is open.
        drop(headers);
        let arrival = self.arrive(client, &mut hints);
        let rules = self.entrance.terms.rules.clone();
        let session = edge.new_session(hints.clone(), rules.clone());
        let net = client.map(|addr| tracing::field::display(ClientNet::of(addr)));
        tracing::debug!(session = ?session.id(), client = net, "client connected");
        let socket = Socket::server(stream, edge.limits.message_max_bytes, &first);
        let stop = edge.closing();
        let connection = Connection { socket, _counts: counts, _arrival: arrival };
        let client = Box::new(Visit::new(connection, hints, rules));
        let relay = Box::new(Relay::new((edge, self.lobby.sessions), session, client));
        // A task of its own, which has no room for the handshake.
        self.lobby.tasks.spawn_one_of_many(relay.run(stop));
    }

    /// Notes in `hints` where this connection comes from, and counts `client` among the people of the
    /// meeting that its URL names.
    fn arrive(&self, client: Option<IpAddr>, hints: &mut Hints) -> Option<Arrival> {
        let people = &self.entrance.edge.placement.people;
        hints.vantage = self.entrance.terms.origin.vantage(client, &people.atlas);
        let (Some(meeting), Some(Vantage::Client(place))) = (&hints.meeting, hints.vantage) else {
            return None;
        };
        let arrival = people.arrivals.enter(meeting, place);
        hints.is_counted = arrival.is_some();
        arrival
    }

    /// The connection as a WebSocket, and the client's address; `None` if that is hidden.
    async fn shake_hands(
        &self,
        mut stream: TcpStream,
    ) -> Result<(Accepted<Stream>, Option<IpAddr>), HandshakeRejection> {
        #[cfg(not(target_os = "linux"))]
        stream::tune(&stream).map_err(|_| HandshakeRejection::Io)?;
        let terms = &self.entrance.terms;
        let peer = terms.origin.read_peer(&mut stream, self.peer).await?;
        let stream = match terms.acceptor() {
            None => Stream::Plain(stream),
            Some(tls) => {
                let stream = tls.accept(stream).await.map_err(|_| HandshakeRejection::Tls)?;
                Stream::Tls(Box::new(stream))
            }
        };
        let accepted = shake_hands(stream, &terms.path).await?;
        let client = terms.origin.client(peer, &accepted.headers);
        Ok((accepted, client))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Read;
    use std::net::TcpStream as Client;

    use super::*;

    #[tokio::test]
    async fn who_has_connected_is_taken_in_before_the_socket_is_closed() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut clients: Vec<_> = (0..10).map(|_| Client::connect(addr).unwrap()).collect();
        let taken = RefCell::new(Vec::new());
        listener.empty(&Slots::new(8), |(stream, peer), slot| {
            taken.borrow_mut().push((stream, peer, slot));
        });
        let taken = taken.into_inner();
        let peers: Vec<_> = taken.iter().map(|(_, peer, _)| *peer).collect();
        let expected: Vec<_> =
            clients[..8].iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(peers, expected, "as many as there is room for, in the order they came");
        assert!(Client::connect(addr).is_err(), "it is closed");
        for client in &mut clients {
            client.set_nonblocking(true).unwrap();
        }
        let is_open = |client: &mut Client| {
            client.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        assert!(clients[..8].iter_mut().all(is_open));
        assert!(!is_open(&mut clients[9]), "there was no room");
    }
}
