//! The place of one session among those of its process: where connections of its client are taken
//! in, and from where its client goes to another session.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::driver::Driver;
use super::sessions::{Away, Desk, Sessions};
use super::visit::Visit;
use crate::model::{SessionId, Time};

/// Held by whoever has a session at work.
pub(crate) struct Seat<C> {
    sessions: Arc<Sessions<C>>,
    id: SessionId,
    desk: Arc<Desk<C>>,
}

impl<C> Seat<C> {
    /// The session `id` begins.
    pub(crate) fn take(sessions: Arc<Sessions<C>>, id: SessionId) -> Self {
        let desk = sessions.begin(id);
        Self { sessions, id, desk }
    }

    /// Does what the session wishes since it was last told something: its client goes to another
    /// session that is at work, or what is left of that is looked for; and once the session has
    /// become another, it is known as that. Says whether `client` was given away.
    pub(crate) fn heed(
        &mut self,
        driver: &mut Driver,
        client: &mut Option<Box<Visit<C>>>,
        now: Time,
    ) -> bool {
        if let Some(id) = driver.take_wish() {
            if self.gives(driver, client, id) {
                return true;
            }
            driver.look_up(id, self.sessions.take(id, now));
        }
        self.follow(*driver.session().id());
        false
    }

    /// The session goes by the name of `id` now.
    pub(crate) fn follow(&mut self, id: SessionId) {
        if id != self.id {
            self.sessions.end(self.id, &self.desk, None);
            self.begin(id);
        }
    }

    /// Gives the client to the session `id`, if that is at work; says whether it was.
    fn gives(
        &self,
        driver: &mut Driver,
        client: &mut Option<Box<Visit<C>>>,
        id: SessionId,
    ) -> bool {
        let Some(mut visit) = client.take() else { return false };
        visit.waiting = driver.take_waiting();
        visit.swap = Some(self.desk.clone());
        match self.sessions.offer(id, visit) {
            Ok(()) => true,
            Err(mut visit) => {
                let (waiting, _) = visit.unpack();
                driver.wait_again(waiting);
                *client = Some(visit);
                false
            }
        }
    }

    /// Takes in another connection of the client, if one has come.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Box<Visit<C>>> {
        self.desk.poll(cx)
    }

    /// Waits for the connection that comes back for the one given away; `None` if none does.
    pub(crate) fn poll_swap(&self, cx: &mut Context<'_>) -> Poll<Option<Box<Visit<C>>>> {
        self.desk.poll_swap(cx)
    }

    /// The session ends. `left` is remembered, if there is something to go on with. Returns a
    /// connection that came at the last moment, with which the session goes on instead.
    pub(crate) fn leave(&self, left: Option<Away>) -> Option<Box<Visit<C>>> {
        self.sessions.end(self.id, &self.desk, left)
    }

    /// Another session begins in place of one that has ended.
    pub(crate) fn begin(&mut self, id: SessionId) {
        (self.id, self.desk) = (id, self.sessions.begin(id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::Remains;

    /// A client may be gone again before it is told that it is back: what its session held must be
    /// found under the name of that.
    #[test]
    fn what_is_left_is_kept_under_the_name_that_the_session_has_by_then() {
        let sessions = Arc::new(Sessions::<()>::new(Duration::from_secs(60), 10));
        let (own, resumed) = (SessionId::from_random(1), SessionId::from_random(2));
        let mut seat = Seat::take(sessions.clone(), own);
        seat.follow(resumed);
        let remains = Remains::found(resumed, (Vec::new(), true), &[]);
        let left = Away::new(remains.clone(), Vec::new(), Vec::new(), Time::ZERO);
        assert!(seat.leave(Some(left)).is_none());
        assert!(sessions.take(own, Time::ZERO).is_none());
        assert_eq!(sessions.take(resumed, Time::ZERO).map(|left| left.remains), Some(remains));
    }
}
