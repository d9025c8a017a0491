//! Calls that take too long.
//!
//! Their senders get an error, and the backend's health is told of it. Kurento answers one link in
//! order, so the slot of such a call stays until its answer has come, or the link is gone: then what
//! comes late is known for what it is.

use std::time::Duration;

use super::calls::{Call, Learn};
use super::{Link, LinkNo, Output, Session};
use crate::model::Time;
use crate::protocol::error::Failure;

/// How long a link's buffers may stay when nothing is in them. A connection that calls now and then
/// uses them again and again; one that is idle has none.
const BUFFERS_REST: Duration = Duration::from_secs(5);

impl Session {
    /// When [`Input::Tick`](super::Input::Tick) is due if nothing is handled before; `None` while there
    /// is nothing to wait for. Whoever keeps to the first answer, until it has come, and asks anew then,
    /// is late for a call by no more than five seconds; after news of a link it must be asked anew.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let timeout = self.bounds.call_timeout;
        let calls = self.links.iter().filter_map(|link| link.sent().deadline(timeout)).min();
        let owns_buffer = self.links.iter().any(|link| link.sent().owns_buffer());
        let rest = owns_buffer.then(|| self.now + BUFFERS_REST.min(timeout));
        let settling = self.links.iter().filter(|link| link.is_settling);
        let settled = settling.map(|link| link.again_at).min();
        let retried = self.links.iter().filter_map(Link::retry_at).min();
        let tied = self.tying.as_ref().map(|tying| tying.until);
        calls.into_iter().chain(rest).chain(settled).chain(tied).chain(retried).min()
    }

    pub(super) fn on_tick(&mut self, out: &mut Vec<Output>) {
        for number in 0..self.links.len() {
            self.settle(LinkNo(number), out);
            self.expire(LinkNo(number), out);
            self.retry(LinkNo(number), out);
            self.links[number].sent_mut().rest();
        }
        self.go_on_resumed(out);
    }

    fn settle(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        let to = &mut self.links[link.0];
        if to.is_settling && to.again_at <= self.now {
            to.is_settling = false;
            self.go_on(link, out);
        }
    }

    fn expire(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        let (now, timeout) = (self.now, self.bounds.call_timeout);
        let expired = self.links[link.0].sent_mut().expire(now, timeout);
        if !expired.is_empty() {
            out.push(Output::TimedOut(link, expired.len()));
        }
        for call in expired {
            self.on_call_expired(&call, out);
        }
    }

    fn on_call_expired(&mut self, call: &Call, out: &mut Vec<Output>) {
        call.learn.abandon(out);
        match call.learn {
            Learn::Own => {}
            Learn::Closed(key, link) => self.on_closed(key, link, out),
            Learn::Nothing
            | Learn::Created(_)
            | Learn::Released(_)
            | Learn::Media(_)
            | Learn::Subscribed(_)
            | Learn::Blocking(_)
            | Learn::Transaction(_) => {
                let failure = Failure::unexpected(
                    "the media server has not answered in time; the call may have run, or may still run",
                );
                out.push(Output::Refuse(call.id.as_str().to_owned(), failure));
            }
        }
    }
}
