//! The client is gone: its links stay open for a moment, and it may come back on another connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{End, Relay, TURNS_MAX};
use crate::proxy::driver::Driver;
use crate::proxy::visit::{Connection, Visit};

/// How long messages of a client that has gone may still wait for a place or a link. A client may
/// release something and hang up at once; Kurento would do it, so it is not dropped here either.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How long the session that takes a connection over may take for it.
const SWAP_MAX: Duration = Duration::from_secs(5);

impl Relay {
    /// The client is gone: goes on until it is back, or nothing is left to go on with; says which.
    pub(super) async fn comes_back(
        &mut self,
        end: &End,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        if self.sockets.client.is_none() {
            // Another session has it now, and may give its own in exchange.
            return self.swap().await;
        }
        if self.leaving.is_none() {
            // Whatever is left then was to wait for longer than anybody should.
            let _ = tokio::time::timeout(DRAIN_MAX, poll_fn(|cx| self.poll_drain(cx))).await;
        }
        self.hold(end, stop).await
    }

    /// The client is gone: waits whether it comes back; says whether it did. Its links stay open for
    /// a moment, unless it took leave; after that its backends keep the session for some minutes.
    async fn hold(&mut self, end: &End, stop: Pin<&mut impl Future<Output = ()>>) -> bool {
        // What it asked last may have been to go on with another session.
        self.seat.follow(*self.driver.session().id());
        let took_leave = self.leaving.is_some()
            || matches!(end, End::Close(..) | End::ClosedByClient(Some(1000)));
        let hold = self.sockets.edge.hold;
        let has_something = self.sockets.has_links() && self.driver.session().remains().is_some();
        if !took_leave && !hold.is_zero() && has_something {
            self.sockets.close_client(end).await;
            let back = async {
                match select(pin!(poll_fn(|cx| self.poll_away(cx))), stop).await {
                    Either::Left((visit, _)) => Some(visit),
                    Either::Right(_) => None,
                }
            };
            if let Ok(Some(visit)) = tokio::time::timeout(hold, back).await {
                self.welcome(visit);
                return true;
            }
        }
        let left = self.sockets.edge.away(self.driver.session());
        match self.seat.leave(left) {
            Some(visit) => {
                self.welcome(visit);
                true
            }
            None => false,
        }
    }

    /// Goes on with the links while the client is away.
    fn poll_away(&mut self, cx: &mut Context<'_>) -> Poll<Box<Visit<Connection>>> {
        for _ in 0..TURNS_MAX {
            if let Poll::Ready(visit) = self.seat.poll(cx) {
                return Poll::Ready(visit);
            }
            let is_busy = self.go_on(cx);
            let now = self.sockets.on_write();
            self.flush_links(cx, now);
            if !is_busy && !self.driver.has_events() {
                self.sockets.flush_counts();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Goes on with the client on another connection, where it has asked something already.
    pub(super) fn welcome(&mut self, mut visit: Box<Visit<Connection>>) {
        self.sockets.begin_turn();
        let (waiting, swap) = visit.unpack();
        let moved = (visit.hints.clone(), visit.rules.clone());
        if let Some(since) = visit.since_nanos.take() {
            self.sockets.watch.on_resumed(since);
        }
        let old = self.sockets.welcome(visit);
        if let Some(swap) = swap {
            swap.give_back(old);
        }
        self.deadline = None; // it may be nearer now
        self.driver.welcome(moved, waiting, &mut self.sockets);
    }

    /// The client is another session's now. If that had one, goes on with it in a session of its own,
    /// as Kurento leaves a connection whose session another one took; says whether it did.
    async fn swap(&mut self) -> bool {
        let edge = self.sockets.edge.clone();
        let swapped = poll_fn(|cx| self.seat.poll_swap(cx));
        let mut swapped = tokio::time::timeout(SWAP_MAX, swapped).await.ok().flatten();
        while let Some(late) = self.seat.leave(None) {
            swapped = Some(late);
        }
        let Some(visit) = swapped else { return false };
        let session = edge.new_session(visit.hints.clone(), visit.rules.clone());
        self.driver = Driver::new(edge.clone(), session);
        self.sockets.client = Some(visit);
        self.seat.begin(*self.driver.session().id());
        true
    }
}
