//! What a client is told a little later, and when it is closed: everybody is to be, or it has lost
//! everything.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use super::{End, Relay};
use crate::protocol::loss::Farewell;
use crate::proxy::driver::LinkEvent;
use crate::session::LinkFailure;

/// How long a client that is to be closed may wait for answers that its backends owe. What it sends
/// meanwhile is not read: nothing of that has happened, so it can be sent again elsewhere.
const ANSWERS_MAX: Duration = Duration::from_secs(5);

impl Relay {
    /// Looks whether the client is to be closed: everybody is to be, or it waits for what only another
    /// process will tell it.
    pub(super) fn check_stop(
        &mut self,
        bell: &mut Context<'_>,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) {
        let is_asked = stop.poll(bell).is_ready() || self.driver.is_stranded();
        if self.leaving.is_none() && is_asked {
            self.leaving = Some(Box::pin(tokio::time::sleep(ANSWERS_MAX)));
        }
        if let Some(limit) = &mut self.leaving {
            // Wakes this task when it is over.
            let _ = limit.as_mut().poll(bell);
        }
    }

    /// Ends with the client, if it waits for nothing any more, or has for too long.
    pub(super) fn leave(&self, is_busy: bool) -> Result<bool, End> {
        let is_over = self.leaving.as_ref().is_some_and(|limit| limit.is_elapsed());
        if is_over || (!is_busy && self.driver.is_quiet()) {
            return Err(End::Close(1001, "the edge is going away"));
        }
        Ok(is_busy)
    }

    /// Whether the client is there to be told of a loss, and nothing hangs on it that it is told now:
    /// a message that waits for a place might get one over the very link that is lost.
    pub(super) fn may_wait(&self) -> bool {
        self.sockets.client.is_some() && !self.driver.session().is_placing()
    }

    /// Tells the client what it is time to tell; says whether there was anything.
    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>) -> bool {
        let hears = self.driver.session().closes_on_loss();
        if hears != self.news.listens() {
            self.news.listen(hears.then(|| self.sockets.edge.placement.keeper.moves()));
        }
        let edge = &self.sockets.edge;
        let is_due = self.news.poll(cx, || edge.loss_delay()).is_ready();
        if is_due {
            self.tell_news();
        }
        is_due
    }

    /// Tells the session all that its client was to be told a little later.
    pub(super) fn tell_news(&mut self) {
        let (lost, has_moves) = self.news.take();
        for link in lost {
            self.driver.on_link(link, LinkEvent::Failed(LinkFailure::Lost));
        }
        if has_moves {
            self.driver.on_moves(&mut self.sockets);
        }
    }

    /// A client that has lost everything is closed, if that is how it is told.
    pub(super) fn check_bereft(&mut self) -> Result<(), End> {
        if !self.driver.take_bereft() {
            return Ok(());
        }
        let fleet = self.sockets.edge.fleet.snapshot();
        let takes_pins = fleet.backends.iter().any(|backend| backend.takes_pins());
        let Farewell { code, reason } = Farewell::after_loss(takes_pins);
        Err(End::Close(code, reason))
    }
}
