//! The sockets of one session: its client's, while that is there, and those of its links.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;

use super::driver::Wires;
use super::edge::Edge;
use super::link::Link;
use super::missed::Missed;
use super::relay::End;
use super::socket::Socket;
use super::stopwatch::Stopwatch;
use super::visit::{Connection, Visit};
use crate::model::{BackendId, Time};
use crate::protocol::frame::Opcode;
use crate::session::{LinkFailure, LinkNo, Tried};
use crate::telemetry::{Direction, LocalCounts};

/// How long a client may take to hang up after a close frame.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// All sockets of a session, and what passes through them counted.
pub(super) struct Sockets {
    pub(super) edge: Arc<Edge>,
    /// None while the client is away.
    pub(super) client: Option<Box<Visit<Connection>>>,
    /// By [`LinkNo`].
    pub(super) links: Vec<Link>,
    pub(super) counts: LocalCounts,
    pub(super) watch: Stopwatch,
    /// The time, read once a turn: what is moved in one turn is moved at one time.
    turn_nanos: Option<u64>,
    /// Events that came while the client was away.
    missed: Missed,
}

impl Sockets {
    pub(super) fn new(edge: Arc<Edge>, client: Box<Visit<Connection>>) -> Self {
        let missed = Missed::new(edge.limits.write_buffer_max_bytes);
        Self {
            edge,
            client: Some(client),
            links: Vec::new(),
            counts: LocalCounts::default(),
            watch: Stopwatch::default(),
            turn_nanos: None,
            missed,
        }
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.turn_nanos = None;
    }

    /// The time of this turn: when it was asked first, so that the clock is read once.
    pub(super) fn now(&mut self) -> Time {
        let nanos = self.turn_nanos.get_or_insert_with(|| self.edge.clock.now_nanos());
        Time::from_micros(*nanos / 1_000)
    }

    /// Something was read from the client.
    pub(super) fn on_client_read(&mut self) {
        let now_nanos = self.edge.clock.now_nanos();
        self.turn_nanos.get_or_insert(now_nanos);
        self.watch.on_read(now_nanos);
    }

    /// The client's socket, while it is there.
    pub(super) fn socket(&mut self) -> Option<&mut Socket> {
        self.client.as_mut().map(|client| &mut client.connection.socket)
    }

    /// Makes the counts known.
    pub(super) fn flush_counts(&mut self) {
        self.edge.metrics.flush(&mut self.counts);
    }

    fn client_waiting_len(&self) -> usize {
        self.client.as_ref().map_or(0, |client| client.connection.socket.writer.len())
    }

    /// Whether the client takes more, so that more may be made for it.
    pub(super) fn client_has_room(&self) -> bool {
        self.client_waiting_len() < self.edge.limits.write_buffer_max_bytes
    }

    /// Whether the client and every backend take more.
    pub(super) fn everybody_has_room(&self) -> bool {
        let bound = self.edge.limits.write_buffer_max_bytes;
        self.client_has_room() && self.links.iter().all(|link| link.waiting_len() < bound)
    }

    /// Whether anything waits to be written.
    pub(super) fn has_unwritten(&self) -> bool {
        self.client_waiting_len() > 0 || self.links.iter().any(|link| link.waiting_len() > 0)
    }

    /// Whether any link is open or being opened.
    pub(super) fn has_links(&self) -> bool {
        self.links.iter().any(|link| !link.is_closed())
    }

    /// Notes that what is to be written is written now; returns that moment.
    pub(super) fn on_write(&mut self) -> Time {
        let now_nanos = self.edge.clock.now_nanos();
        self.watch.on_write(now_nanos, &mut self.counts, &self.edge.metrics);
        Time::from_micros(now_nanos / 1_000)
    }

    /// Flushes the client's socket.
    pub(super) fn poll_flush_client(&mut self, cx: &mut Context<'_>, now: Time) -> Result<(), End> {
        let Some(socket) = self.socket() else { return Ok(()) };
        match socket.poll_flush(cx, now) {
            Poll::Ready(Err(_)) => Err(End::Gone),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// The client is back on another connection: it gets the events it missed. Returns the old one,
    /// if that was still there.
    pub(super) fn welcome(
        &mut self,
        client: Box<Visit<Connection>>,
    ) -> Option<Box<Visit<Connection>>> {
        let old = self.client.replace(client);
        for event in self.missed.take() {
            self.send_to_client(&event);
        }
        old
    }

    /// Closes the client's socket, if it is there.
    pub(super) async fn close_client(&mut self, end: &End) {
        let Some(client) = self.client.take() else { return };
        match end {
            End::ClosedByClient(code) => {
                client.connection.socket.close(*code, "", LINGER_MAX).await;
            }
            End::Close(code, reason) => {
                client.connection.socket.close(Some(*code), reason, LINGER_MAX).await;
            }
            End::Gone => {}
        }
    }

    /// Closes the client's socket and the links.
    pub(super) async fn close(mut self, end: End) {
        self.flush_counts();
        let code = match &end {
            End::ClosedByClient(code) => *code,
            End::Gone => None,
            End::Close(code, _) => Some(*code),
        };
        let links = std::mem::take(&mut self.links);
        let links = join_all(links.into_iter().map(|link| link.close(code)));
        tokio::join!(self.close_client(&end), links);
    }
}

impl Wires for Sockets {
    fn turn_time(&mut self) -> Option<Time> {
        Some(self.now())
    }

    fn send_to_client(&mut self, text: &str) {
        let now = self.now();
        match &mut self.client {
            Some(client) => {
                self.counts.on_frame(Direction::ClientOut, text.len());
                client.connection.socket.writer.send(Opcode::Text, text.as_bytes(), now);
            }
            None => drop(self.missed.keep(text)),
        }
    }

    fn send_to_backend(&mut self, link: LinkNo, text: &str) {
        let now = self.now();
        // A link that broke a moment ago has an event waiting, which answers this call.
        if let Some(socket) = self.links[link.0].socket() {
            self.counts.on_frame(Direction::BackendOut, text.len());
            socket.writer.send(Opcode::Text, text.as_bytes(), now);
        }
    }

    fn open_link(&mut self, number: LinkNo, backend: &BackendId) -> Result<(), LinkFailure> {
        while self.links.len() <= number.0 {
            self.links.reserve_exact(1); // most sessions have one
            self.links.push(Link::new(Arc::clone(&self.edge)));
        }
        self.links[number.0].open(backend)
    }

    fn report_timeout(&mut self, link: LinkNo) {
        self.links[link.0].report_timeout();
    }

    fn report_tried(&mut self, link: LinkNo, tried: Tried) {
        self.links[link.0].report_tried(tried);
    }
}
