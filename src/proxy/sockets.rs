//! The sockets of one client connection: the client's, and those of its links.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::driver::Wires;
use super::edge::Edge;
use super::link::Link;
use super::relay::End;
use super::socket::Socket;
use crate::model::{BackendId, Time};
use crate::protocol::frame::Opcode;
use crate::session::{LinkFailure, LinkNo};
use crate::telemetry::{Direction, LocalCounts};

/// How long a client may take to hang up after a close frame.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// All sockets of a client connection, and what passes through them counted.
pub(super) struct Sockets {
    pub(super) edge: Arc<Edge>,
    pub(super) client: Socket,
    /// By [`LinkNo`].
    pub(super) links: Vec<Link>,
    pub(super) counts: LocalCounts,
}

impl Sockets {
    pub(super) fn new(edge: Arc<Edge>, client: Socket) -> Self {
        Self { edge, client, links: Vec::new(), counts: LocalCounts::default() }
    }

    pub(super) fn now(&self) -> Time {
        self.edge.clock.now()
    }

    /// Makes the counts known.
    pub(super) fn flush_counts(&mut self) {
        self.edge.metrics.flush(&mut self.counts);
    }

    /// Whether the client takes more, so that more may be made for it.
    pub(super) fn client_has_room(&self) -> bool {
        self.client.writer.len() < self.edge.limits.write_buffer_max_bytes
    }

    /// Whether the client and every backend take more.
    pub(super) fn everybody_has_room(&self) -> bool {
        let bound = self.edge.limits.write_buffer_max_bytes;
        self.client_has_room() && self.links.iter().all(|link| link.waiting_len() < bound)
    }

    /// Whether anything waits to be written.
    pub(super) fn has_unwritten(&self) -> bool {
        self.client.writer.len() > 0 || self.links.iter().any(|link| link.waiting_len() > 0)
    }

    /// Closes the client's socket and the links.
    pub(super) async fn close(mut self, end: End) {
        self.flush_counts();
        let code = match &end {
            End::ClosedByClient(code) => *code,
            End::Gone => None,
            End::Close(code, _) => Some(*code),
        };
        let links = join_all(self.links.into_iter().map(|link| link.close(code)));
        let client = async {
            match end {
                End::ClosedByClient(code) => self.client.close(code, "", LINGER_MAX).await,
                End::Close(code, reason) => {
                    self.client.close(Some(code), reason, LINGER_MAX).await;
                }
                End::Gone => {}
            }
        };
        tokio::join!(client, links);
    }
}

impl Wires for Sockets {
    fn send_to_client(&mut self, text: &str) {
        self.counts.on_frame(Direction::ClientOut, text.len());
        self.client.writer.send(Opcode::Text, text.as_bytes(), self.edge.clock.now());
    }

    fn send_to_backend(&mut self, link: LinkNo, text: &str) {
        let now = self.edge.clock.now();
        // A link that broke a moment ago has an event waiting, which answers this call.
        if let Some(socket) = self.links[link.0].socket() {
            self.counts.on_frame(Direction::BackendOut, text.len());
            socket.writer.send(Opcode::Text, text.as_bytes(), now);
        }
    }

    fn open_link(&mut self, number: LinkNo, backend: &BackendId) -> Result<(), LinkFailure> {
        if number.0 == self.links.len() {
            self.links.push(Link::new(Arc::clone(&self.edge)));
        }
        self.links[number.0].open(backend)
    }

    fn report_timeout(&mut self, link: LinkNo) {
        self.links[link.0].report_timeout();
    }
}
