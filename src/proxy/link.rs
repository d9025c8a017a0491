//! One link: closed, being dialled, or open, and the watch for its backend's loss.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::dial::{DialError, dial};
use super::driver::LinkEvent;
use super::edge::Edge;
use super::socket::Socket;
use crate::fleet::BackendView;
use crate::model::{BackendId, Time};
use crate::pins::LinkCount;
use crate::session::{LinkFailure, Tried};
use crate::telemetry::{self, OpenCount};

/// How long a backend may take to hang up after a close frame.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// The way to one backend, open or not.
pub(super) struct Link {
    edge: Arc<Edge>,
    phase: Phase,
}

enum Phase {
    Closed,
    Dialling { to: Target, dial: BoxFuture<'static, Result<Socket, DialError>> },
    Open { to: Target, socket: Box<Socket>, _counts: (OpenCount, LinkCount) },
}

/// The backend at the other end, in the incarnation that the link was opened to.
struct Target {
    backend: Arc<BackendView>,
    lost: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Link {
    pub(super) fn new(edge: Arc<Edge>) -> Self {
        Self { edge, phase: Phase::Closed }
    }

    /// Starts to dial `backend`.
    ///
    /// # Errors
    /// `Lost` if the fleet has no such backend any more.
    pub(super) fn open(&mut self, backend: &BackendId) -> Result<(), LinkFailure> {
        let backend = self.edge.backend(backend).ok_or(LinkFailure::Lost)?;
        let masks = self.edge.draw();
        let dial = dial(backend.url.clone(), self.edge.limits.clone(), masks).boxed();
        let lost = Box::pin(backend.lost.clone().cancelled_owned());
        self.phase = Phase::Dialling { to: Target { backend, lost }, dial };
        Ok(())
    }

    /// The socket, while it is open.
    pub(super) fn socket(&mut self) -> Option<&mut Socket> {
        match &mut self.phase {
            Phase::Open { socket, .. } => Some(socket),
            Phase::Closed | Phase::Dialling { .. } => None,
        }
    }

    /// Whether it is neither open nor being opened.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting_len(&self) -> usize {
        match &self.phase {
            Phase::Open { socket, .. } => socket.writer.len(),
            Phase::Closed | Phase::Dialling { .. } => 0,
        }
    }

    /// Whether the backend has taken nothing for longer than `timeout`.
    pub(super) fn is_stuck(&self, now: Time, timeout: Duration) -> bool {
        match &self.phase {
            Phase::Open { socket, .. } => socket.writer.is_stuck(now, timeout),
            Phase::Closed | Phase::Dialling { .. } => false,
        }
    }

    /// Goes on dialling and watches for the backend's loss.
    pub(super) fn poll_events(&mut self, cx: &mut Context<'_>) -> Option<LinkEvent> {
        let to = match &mut self.phase {
            Phase::Closed => return None,
            Phase::Dialling { to, .. } | Phase::Open { to, .. } => to,
        };
        if to.lost.as_mut().poll(cx).is_ready() {
            self.phase = Phase::Closed;
            return Some(LinkEvent::Failed(LinkFailure::Lost));
        }
        let Phase::Dialling { dial, .. } = &mut self.phase else { return None };
        let Poll::Ready(dialled) = dial.poll_unpin(cx) else { return None };
        let Phase::Dialling { to, .. } = std::mem::replace(&mut self.phase, Phase::Closed) else {
            unreachable!("it was dialling a line ago")
        };
        Some(match dialled {
            Ok(socket) => {
                let counts = (self.edge.metrics.on_link(), to.backend.load.open_link());
                self.phase = Phase::Open { to, socket: Box::new(socket), _counts: counts };
                LinkEvent::Opened
            }
            Err(error) => LinkEvent::Failed(self.on_dial_failed(&to.backend, &error)),
        })
    }

    fn on_dial_failed(&self, backend: &BackendView, error: &DialError) -> LinkFailure {
        tracing::debug!(backend = %backend.id, %error, "link could not be opened");
        let (label, failure) = match error {
            DialError::Refused => (telemetry::LinkFailure::Dial, LinkFailure::Lost),
            DialError::Io(_) | DialError::Cut(_) => {
                (telemetry::LinkFailure::Dial, LinkFailure::Unreachable)
            }
            DialError::Timeout => (telemetry::LinkFailure::Timeout, LinkFailure::Unreachable),
            DialError::Handshake(_) => {
                (telemetry::LinkFailure::Handshake, LinkFailure::Unreachable)
            }
        };
        self.edge.metrics.on_link_failure(label);
        self.edge.fleet.report_dial_failure(&backend.id, backend.incarnation);
        failure
    }

    /// The link broke: drops it, and tells the fleet.
    pub(super) fn cut(&mut self, why: telemetry::LinkFailure) {
        if let Phase::Open { to, .. } = std::mem::replace(&mut self.phase, Phase::Closed) {
            tracing::debug!(backend = %to.backend.id, ?why, "link broke");
            self.edge.metrics.on_link_failure(why);
            self.edge.fleet.report_cut(&to.backend.id);
        }
    }

    /// Tells the fleet that the backend has left calls unanswered for too long.
    pub(super) fn report_timeout(&self) {
        if let Phase::Open { to, .. } = &self.phase {
            self.edge.fleet.report_timeout(&to.backend.id, to.backend.incarnation);
        }
    }

    /// Tells the fleet how a call ended that makes something.
    pub(super) fn report_tried(&self, tried: Tried) {
        if let Phase::Open { to, .. } = &self.phase {
            self.edge.fleet.report_tried(&to.backend, tried);
        }
    }

    /// Closes the link as the client closed its connection.
    pub(super) async fn close(self, code: Option<u16>) {
        if let Phase::Open { socket, .. } = self.phase {
            socket.close(code, "", LINGER_MAX).await;
        }
    }
}
