//! The sessions of this process: those at work, and what is left of those whose client is away.
//!
//! A client that comes back names its session. If that is still at work, because its old connection
//! is not known to be dead or is held open for a moment, the new connection is handed over to it. If
//! it is not, what it held is enough to go on with. Of what this process does not know, the fleet is
//! asked (`fleet::Asker`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use futures_util::task::AtomicWaker;

use super::visit::Visit;
use crate::model::{Incarnation, MeetingName, SessionId, Time};
use crate::runtime::Latest;
use crate::session::Remains;

/// Sessions by id; their clients are connected by `C`.
#[derive(Debug)]
pub struct Sessions<C> {
    known: DashMap<SessionId, Known<C>>,
    /// Sessions whose client is away, the longest first.
    away: Mutex<VecDeque<(Time, SessionId)>>,
    bounds: Latest<AwayBounds>,
}

/// Which sessions are remembered whose client is away.
#[derive(Clone, Copy, Debug)]
struct AwayBounds {
    /// For how long.
    keep: Duration,
    /// How many at most; the oldest is forgotten for a new one.
    max: usize,
}

#[derive(Debug)]
enum Known<C> {
    AtWork(Arc<Desk<C>>),
    Away(Box<Away>),
}

/// What is left of a session whose client is away.
#[derive(Clone, Debug)]
pub(crate) struct Away {
    /// What it held.
    pub remains: Remains,
    /// The process of each of its backends, in their order.
    pub incarnations: Vec<Option<Incarnation>>,
    /// The meeting of each of its pipelines, in their order; none if it has no name.
    pub meetings: Vec<Option<MeetingName>>,
    since: Time,
}

/// Where a session at work takes in a connection of its client.
#[derive(Debug)]
pub(crate) struct Desk<C> {
    offered: Mutex<Offered<C>>,
    waker: AtomicWaker,
}

#[derive(Debug)]
enum Offered<C> {
    Nothing,
    Visit(Box<Visit<C>>),
    /// The session has ended.
    Closed,
}

impl<C> Default for Desk<C> {
    fn default() -> Self {
        Self { offered: Mutex::new(Offered::Nothing), waker: AtomicWaker::new() }
    }
}

impl<C> Desk<C> {
    /// Takes in a connection, if one is offered.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Box<Visit<C>>> {
        self.waker.register(cx.waker());
        let mut offered = self.lock();
        match std::mem::replace(&mut *offered, Offered::Nothing) {
            Offered::Visit(visit) => Poll::Ready(visit),
            kept @ (Offered::Nothing | Offered::Closed) => {
                *offered = kept;
                Poll::Pending
            }
        }
    }

    /// Waits for the connection that an exchange gives back; `None` if it gives none.
    pub(super) fn poll_swap(&self, cx: &mut Context<'_>) -> Poll<Option<Box<Visit<C>>>> {
        self.waker.register(cx.waker());
        match std::mem::replace(&mut *self.lock(), Offered::Nothing) {
            Offered::Visit(visit) => Poll::Ready(Some(visit)),
            Offered::Closed => Poll::Ready(None),
            Offered::Nothing => Poll::Pending,
        }
    }

    /// Gives back the connection that was displaced, if one was.
    pub(crate) fn give_back(&self, visit: Option<Box<Visit<C>>>) {
        *self.lock() = visit.map_or(Offered::Closed, Offered::Visit);
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Offered<C>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Sessions<C> {
    /// No sessions. One whose client is away is remembered for `keep`; at most `away_max` are.
    #[must_use]
    pub fn new(keep: Duration, away_max: usize) -> Self {
        let bounds = Latest::new(AwayBounds { keep, max: away_max });
        Self { known: DashMap::new(), away: Mutex::default(), bounds }
    }

    /// From now on one is remembered for `keep`, and at most `away_max` are.
    pub fn set_bounds(&self, keep: Duration, away_max: usize) {
        self.bounds.set(AwayBounds { keep, max: away_max });
        self.trim(&mut self.lock());
    }

    /// A session begins, or goes on, at a connection.
    pub(super) fn begin(&self, id: SessionId) -> Arc<Desk<C>> {
        let desk = Arc::new(Desk::default());
        self.known.insert(id, Known::AtWork(desk.clone()));
        desk
    }

    /// Offers a connection to the session at work that its client names.
    ///
    /// # Errors
    /// There is none, and the connection is given back.
    pub(super) fn offer(&self, id: SessionId, visit: Box<Visit<C>>) -> Result<(), Box<Visit<C>>> {
        let desk = match self.known.get(&id).as_deref() {
            Some(Known::AtWork(desk)) => desk.clone(),
            Some(Known::Away(_)) | None => return Err(visit),
        };
        let mut offered = desk.lock();
        match &*offered {
            Offered::Closed => Err(visit),
            // Of two that come at once the later counts, as it does for Kurento.
            Offered::Nothing | Offered::Visit(_) => {
                *offered = Offered::Visit(visit);
                drop(offered);
                desk.waker.wake();
                Ok(())
            }
        }
    }

    /// A session ends. `left` is remembered, if there is something to go on with. Returns a connection
    /// that was offered to it at the last moment, with which it goes on instead.
    pub(super) fn end(
        &self,
        id: SessionId,
        desk: &Arc<Desk<C>>,
        left: Option<Away>,
    ) -> Option<Box<Visit<C>>> {
        let was = std::mem::replace(&mut *desk.lock(), Offered::Closed);
        if let Offered::Visit(visit) = was {
            *desk.lock() = Offered::Nothing;
            return Some(visit);
        }
        let Entry::Occupied(mut known) = self.known.entry(id) else { return None };
        if !matches!(known.get(), Known::AtWork(at) if Arc::ptr_eq(at, desk)) {
            return None;
        }
        match left {
            None => drop(known.remove()),
            Some(left) => {
                let since = left.since;
                known.insert(Known::Away(Box::new(left)));
                drop(known);
                self.remember(since, id);
            }
        }
        None
    }

    /// What is left of a session whose client is away; it is its client's again.
    pub(super) fn take(&self, id: SessionId, now: Time) -> Option<Away> {
        let keep = self.bounds.get().keep;
        let is_away = |known: &Known<C>| match known {
            Known::Away(away) => away.since + keep > now,
            Known::AtWork(_) => false,
        };
        match self.known.remove_if(&id, |_, known| is_away(known))? {
            (_, Known::Away(away)) => Some(*away),
            (_, Known::AtWork(_)) => None,
        }
    }

    /// Forgets sessions whose client has been away for too long.
    pub fn sweep(&self, now: Time) {
        let keep = self.bounds.get().keep;
        let mut queue = self.lock();
        while queue.front().is_some_and(|(since, _)| *since + keep <= now) {
            if let Some((since, id)) = queue.pop_front() {
                self.forget(since, id);
            }
        }
    }

    /// How many sessions are at work or remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn remember(&self, since: Time, id: SessionId) {
        let mut queue = self.lock();
        queue.push_back((since, id));
        self.trim(&mut queue);
    }

    fn trim(&self, queue: &mut VecDeque<(Time, SessionId)>) {
        let max = self.bounds.get().max;
        while queue.len() > max
            && let Some((since, id)) = queue.pop_front()
        {
            self.forget(since, id);
        }
    }

    fn forget(&self, since: Time, id: SessionId) {
        self.known.remove_if(&id, |_, known| match known {
            Known::Away(away) => away.since == since,
            Known::AtWork(_) => false,
        });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Time, SessionId)>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Away {
    /// What is left at `since`.
    pub(crate) const fn new(
        remains: Remains,
        incarnations: Vec<Option<Incarnation>>,
        meetings: Vec<Option<MeetingName>>,
        since: Time,
    ) -> Self {
        Self { remains, incarnations, meetings, since }
    }
}
