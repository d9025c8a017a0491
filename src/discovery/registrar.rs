//! Where servers register: a WebSocket that each of them keeps open.
//!
//! Who registers is probed, not trusted. A server whose claim is refused keeps its connection: it would
//! dial again after 100 ms. A machine that is gone without a word is noticed by TCP's keep-alive, which
//! a server that merely stands still answers. Source: Kurento protocol notes, section 10.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use tokio_util::sync::CancellationToken;

use super::claim::read_claim;
use super::{DiscoveryError, Found, Message};
use crate::model::Time;
use crate::runtime::{Clock, Inherited, Tasks};
use crate::settings::{BACKENDS_MAX, RegistrarSettings};
use crate::telemetry::{DiscoverySource, Metrics};

/// Time for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest message, in bytes: a registration has about 100. A longer one ends the connection.
const MESSAGE_MAX_LEN: usize = 4 * 1024;

/// Pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time without a word after which the system asks whether the other end is still there, between its
/// questions, and how many may go unanswered.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);

/// Time between two refusals that are logged: a server that is refused may dial ten times a second.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// The bound address.
pub(super) struct Door {
    listener: Arc<TcpListener>,
    addr: SocketAddr,
}

impl Door {
    /// Binds the address, unless it is among `inherited`; nobody is let in yet.
    pub(super) async fn open(
        settings: &RegistrarSettings,
        inherited: &mut Inherited,
    ) -> Result<Self, DiscoveryError> {
        let addr = settings.addr;
        let failed = |source| DiscoveryError::Bind { addr, source };
        let listener = match inherited.take(addr) {
            Some(socket) => TcpListener::from_std(socket),
            None => TcpListener::bind(addr).await,
        };
        let listener = Arc::new(listener.map_err(failed)?);
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }

    /// Its socket.
    pub(super) const fn socket(&self) -> &Arc<TcpListener> {
        &self.listener
    }

    /// Where it really is.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// What all connections share.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    /// As they are now; established connections are not looked at again.
    pub(super) settings: watch::Receiver<Arc<RegistrarSettings>>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    /// Ends all connections.
    pub(super) closing: CancellationToken,
    /// Counts the connections, over all doors.
    pub(super) numbers: Arc<AtomicU64>,
    /// When a refusal was logged last.
    pub(super) told: Arc<Mutex<Option<Time>>>,
}

/// Lets servers in by `door` until stopped: at most [`BACKENDS_MAX`], further ones wait in the system's
/// backlog.
pub(super) async fn run(door: Door, registry: Registry) {
    let permits = Arc::new(Semaphore::new(BACKENDS_MAX));
    loop {
        let permit = permits.clone().acquire_owned().await.expect("nobody closes the semaphore");
        match door.listener.accept().await {
            Ok((stream, peer)) => registry.let_in(stream, peer.ip().to_canonical(), permit),
            Err(error) => {
                tracing::warn!(%error, "a server that registers could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Registry {
    fn let_in(&self, stream: TcpStream, peer: IpAddr, permit: OwnedSemaphorePermit) {
        let settings = self.settings.borrow().clone();
        if !settings.allow.iter().any(|net| net.contains(peer)) {
            return self.refuse(peer, "it is not in allow");
        }
        let (registry, closing) = (self.clone(), self.closing.clone());
        self.tasks.spawn_one_of_many(async move {
            let _permit = permit;
            closing.run_until_cancelled(registry.serve(stream, peer, &settings)).await;
        });
    }

    /// Counts a refusal, and logs it unless another one was just now.
    fn refuse(&self, peer: IpAddr, reason: &str) {
        self.metrics.on_discovery_failure(DiscoverySource::Registrar);
        let now = self.clock.now();
        let mut told = self.told.lock().expect("nothing panics while holding it");
        if told.is_none_or(|last| now.since(last) >= TELL_INTERVAL) {
            *told = Some(now);
            tracing::warn!(%peer, reason, "a server may not register");
        }
    }

    async fn serve(&self, stream: TcpStream, peer: IpAddr, settings: &RegistrarSettings) {
        let (time, interval, retries) = KEEPALIVE;
        let keepalive =
            TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
        if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
            tracing::debug!(%error, "no keep-alive");
        }
        let shaken = timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, &settings.path));
        match shaken.await {
            Ok(Some(socket)) => {
                let connection = self.numbers.fetch_add(1, Ordering::Relaxed);
                self.listen(socket, (connection, peer), settings).await;
                // Fails only when discovery has ended.
                let _ = self.messages.send(Message::Unregistered { connection }).await;
            }
            Ok(None) => self.refuse(peer, "no WebSocket on the path of the registrar"),
            Err(_) => self.refuse(peer, "no handshake in time"),
        }
    }

    /// Reads what the server says until it is gone.
    async fn listen(
        &self,
        mut socket: WebSocketStream<TcpStream>,
        (connection, peer): (u64, IpAddr),
        settings: &RegistrarSettings,
    ) {
        while let Some(Ok(frame)) = socket.next().await {
            let Frame::Text(text) = frame else { continue };
            match read_claim(&text, settings.allow_backends()) {
                Ok(url) => {
                    tracing::debug!(%peer, %url, "a server has registered");
                    let found = Found::new(url, None);
                    let registered = Message::Registered { connection, found };
                    if self.messages.send(registered).await.is_err() {
                        return;
                    }
                }
                Err(error) => self.refuse(peer, &error.to_string()),
            }
        }
    }
}

/// The connection as a WebSocket on `path`, or nothing; another path is answered with 404.
async fn shake_hands(stream: TcpStream, path: &str) -> Option<WebSocketStream<TcpStream>> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX_LEN))
        .max_frame_size(Some(MESSAGE_MAX_LEN));
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        if is_same(request.uri().path(), path) {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        Err(refusal)
    };
    accept_hdr_async_with_config(stream, check, Some(config)).await.ok()
}

/// Whether two texts are the same, in a time that does not tell where they differ: the path may be a
/// secret.
fn is_same(a: &str, b: &str) -> bool {
    let differing = a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_path_is_the_same() {
        assert!(is_same("/registrar/secret", "/registrar/secret"));
        for other in
            ["", "/registrar", "/registrar/secreu", "/registrar/secret/", "/Registrar/secret"]
        {
            assert!(!is_same(other, "/registrar/secret"), "{other}");
        }
    }
}
