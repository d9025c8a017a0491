//! Accepts client connections, shakes hands, and runs a [`Relay`] for each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::arrivals::Arrival;
use super::edge::Edge;
use super::handshake::{Accepted, shake_hands};
use super::origin::Origin;
use super::relay::Relay;
use super::sessions::Sessions;
use super::socket::Socket;
use super::stream::{self, Stream};
use super::visit::{Connection, Visit};
use crate::policy::guard::Rules;
use crate::protocol::request::{Hints, Vantage};
use crate::runtime::Tasks;
use crate::settings::{ListenerSettings, TlsError};
use crate::telemetry::HandshakeRejection;
use crate::telemetry::redact::ClientNet;

/// Connections that the system keeps for us until they are accepted. It may have a lower bound.
const BACKLOG: u32 = 8_192;

/// Pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// As configured.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate or key cannot be used.
    #[error("cannot speak TLS on {addr}: {source}")]
    Tls {
        /// As configured.
        addr: SocketAddr,
        /// What is wrong with the files.
        source: TlsError,
    },
    /// There are no keys to make session tickets with.
    #[error("cannot make TLS session tickets on {addr}: {source}")]
    Tickets {
        /// As configured.
        addr: SocketAddr,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

/// A bound address that clients connect to.
pub struct Listener {
    socket: Arc<TcpListener>,
    path: Arc<str>,
    tls: Option<TlsAcceptor>,
    rules: Arc<Rules>,
    origin: Arc<Origin>,
}

impl Listener {
    /// Binds the address; nothing is accepted yet.
    ///
    /// # Errors
    /// The address or the TLS files cannot be used.
    pub fn bind(settings: &ListenerSettings) -> Result<Self, ListenError> {
        let addr = settings.addr;
        let socket = bind(addr).map_err(|source| ListenError::Bind { addr, source })?;
        Self::on(settings, socket)
    }

    /// The same on a socket that listens already, at that address.
    ///
    /// # Errors
    /// The socket or the TLS files cannot be used.
    pub fn inherit(
        settings: &ListenerSettings,
        socket: std::net::TcpListener,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { addr: settings.addr, source };
        stream::tune(&socket).map_err(failed)?;
        Self::on(settings, TcpListener::from_std(socket).map_err(failed)?)
    }

    fn on(settings: &ListenerSettings, socket: TcpListener) -> Result<Self, ListenError> {
        let addr = settings.addr;
        let tls = settings.tls.as_ref().map(|files| {
            let identity = files.load().map_err(|source| ListenError::Tls { addr, source })?;
            let resolver = rustls::sign::SingleCertAndKey::from(identity);
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider has the default versions")
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(resolver));
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            // The client keeps what its next handshake is shortened by, so none is forgotten here.
            config.ticketer =
                Ticketer::new().map_err(|source| ListenError::Tickets { addr, source })?;
            Ok(TlsAcceptor::from(Arc::new(config)))
        });
        let rules = Arc::new(settings.rules());
        let origin = Arc::new(Origin(settings.origin.clone()));
        let path = settings.path.as_str().into();
        Ok(Self { socket: Arc::new(socket), path, tls: tls.transpose()?, rules, origin })
    }

    /// The URL to connect to, with the port that was really bound.
    ///
    /// # Errors
    /// What the system says.
    pub fn url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        Ok(format!("{scheme}://{}{}", self.socket.local_addr()?, self.path))
    }

    /// Its socket, for as long as it listens.
    #[must_use]
    pub fn socket(&self) -> Weak<TcpListener> {
        Arc::downgrade(&self.socket)
    }

    /// Accepts until `stop`, and then what has come before, unless another process has the socket by
    /// now: nobody who has connected is reset. Each connection becomes a task of `tasks` that runs
    /// until the edge tells it to end. At most as many as `permits` are open; further ones wait in the
    /// backlog.
    pub async fn run(
        self,
        (edge, sessions): (Arc<Edge>, Arc<Sessions<Connection>>),
        permits: Arc<Semaphore>,
        tasks: Tasks,
        stop: CancellationToken,
    ) {
        let shared = (edge, sessions, tasks);
        while let Some(permit) = stop.run_until_cancelled(permits.clone().acquire_owned()).await {
            let permit = permit.expect("nobody closes the semaphore");
            match stop.run_until_cancelled(self.socket.accept()).await {
                None => break,
                Some(Ok((stream, addr))) => self.welcome((stream, addr), &shared, permit),
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot accept; operator: see the limit of open files");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if shared.0.moved.is_cancelled() {
            return;
        }
        while let Ok(permit) = permits.clone().try_acquire_owned()
            && let Ok(accepted) = self.accept_waiting()
        {
            self.welcome(accepted, &shared, permit);
        }
    }

    fn welcome(
        &self,
        (stream, addr): (TcpStream, SocketAddr),
        (edge, sessions, tasks): &(Arc<Edge>, Arc<Sessions<Connection>>, Tasks),
        permit: OwnedSemaphorePermit,
    ) {
        let (edge, sessions, tasks_too) = (edge.clone(), sessions.clone(), tasks.clone());
        let (path, rules) = (self.path.clone(), self.rules.clone());
        let (origin, peer) = (self.origin.clone(), addr.ip().to_canonical());
        let visitor = Visitor { edge, sessions, path, rules, origin, peer, tasks: tasks_too };
        let tls = self.tls.clone();
        tasks.spawn_one_of_many(visitor.serve(stream, tls, permit));
    }

    /// Takes a connection that is there, without waiting. Asks the system, because the event loop may
    /// not have told of it yet.
    fn accept_waiting(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, addr) = SockRef::from(&*self.socket).accept()?;
        socket.set_nonblocking(true)?;
        let addr = addr.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok((TcpStream::from_std(socket.into())?, addr))
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
    edge: Arc<Edge>,
    sessions: Arc<Sessions<Connection>>,
    path: Arc<str>,
    rules: Arc<Rules>,
    origin: Arc<Origin>,
    /// The other end of the socket.
    peer: IpAddr,
    tasks: Tasks,
}

impl Visitor {
    async fn serve(
        self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        permit: OwnedSemaphorePermit,
    ) {
        let timeout = self.edge.limits.handshake_timeout;
        let (accepted, client) =
            match tokio::time::timeout(timeout, self.shake_hands(stream, tls)).await {
                Ok(Ok(accepted)) => accepted,
                Ok(Err(reason)) => return self.edge.metrics.on_handshake_rejected(reason),
                Err(_) => {
                    return self.edge.metrics.on_handshake_rejected(HandshakeRejection::Timeout);
                }
            };
        let counts = (self.edge.metrics.on_connection(), permit);
        let Accepted { stream, first, mut hints, headers } = accepted;
        // Not to be kept for as long as the connection is open.
        drop(headers);
        let arrival = self.arrive(client, &mut hints);
        let rules = self.rules;
        let session = self.edge.new_session(hints.clone(), rules.clone());
        let net = client.map(|addr| tracing::field::display(ClientNet::of(addr)));
        tracing::debug!(session = ?session.id(), client = net, "client connected");
        let socket = Socket::server(stream, self.edge.limits.message_max_bytes, &first);
        let stop = self.edge.closing();
        let connection = Connection { socket, _counts: counts, _arrival: arrival };
        let client = Box::new(Visit::new(connection, hints, rules));
        let relay = Box::new(Relay::new((self.edge, self.sessions), session, client));
        // A task of its own, which has no room for the handshake.
        self.tasks.spawn_one_of_many(relay.run(stop));
    }

    /// Notes in `hints` where this connection comes from, and counts `client` among the people of the
    /// meeting that its URL names.
    fn arrive(&self, client: Option<IpAddr>, hints: &mut Hints) -> Option<Arrival> {
        let people = &self.edge.placement.people;
        hints.vantage = self.origin.vantage(client, &people.atlas);
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
        tls: Option<TlsAcceptor>,
    ) -> Result<(Accepted<Stream>, Option<IpAddr>), HandshakeRejection> {
        #[cfg(not(target_os = "linux"))]
        stream::tune(&stream).map_err(|_| HandshakeRejection::Io)?;
        let peer = self.origin.read_peer(&mut stream, self.peer).await?;
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let stream = tls.accept(stream).await.map_err(|_| HandshakeRejection::Tls)?;
                Stream::Tls(Box::new(stream))
            }
        };
        let accepted = shake_hands(stream, &self.path).await?;
        let client = self.origin.client(peer, &accepted.headers);
        Ok((accepted, client))
    }
}
