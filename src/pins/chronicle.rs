//! What meetings that are over were like, for the next ones.
//!
//! Times of a [`History`] are those of the calendar here, so that it can be kept from one process to
//! the next; what the store keeps of it is written by [`PinStore::note_history`](super::PinStore::note_history).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use geoip::Place;

use crate::model::{MeetingName, Time};
use crate::policy::history::{Ended, History, HistoryBounds, Memory, Topic};
use crate::policy::promise::{Mix, Promise, PromiseRules, Source};

/// The history of this edge's meetings.
#[derive(Debug)]
pub struct Chronicle {
    history: Mutex<History>,
    /// When this process began, since 1970.
    begun: Duration,
}

impl Default for Chronicle {
    fn default() -> Self {
        Self::new(HistoryBounds::default(), Duration::ZERO)
    }
}

impl Chronicle {
    /// Nothing is remembered. `begun` is when this process began, since 1970.
    #[must_use]
    pub fn new(bounds: HistoryBounds, begun: Duration) -> Self {
        Self { history: Mutex::new(History::new(bounds)), begun }
    }

    /// Goes on with what an earlier process has remembered. Returns what is remembered no longer,
    /// because the bounds are smaller by now.
    #[must_use]
    pub fn restore(&self, remembered: Vec<(Topic, Memory)>) -> Vec<(Topic, Option<Memory>)> {
        self.lock().restore(remembered)
    }

    /// Remembers by these bounds from now on. Returns what is remembered no longer.
    #[must_use]
    pub fn set_bounds(&self, bounds: HistoryBounds) -> Vec<(Topic, Option<Memory>)> {
        self.lock().set_bounds(bounds)
    }

    /// What a meeting that begins `now` is promised, and where that is from: as `hint` says, else as it
    /// or those named alike were.
    #[must_use]
    pub fn promise(
        &self,
        rules: &PromiseRules,
        hint: Option<Mix>,
        meeting: Option<&MeetingName>,
        now: Time,
    ) -> (Promise, Source) {
        let (legs, source) = rules.reserve(hint, meeting, &self.lock(), self.on_calendar(now));
        (Promise { legs, made: now }, source)
    }

    /// How long that meeting lasted before, or those named alike; `None` if that is not known.
    #[must_use]
    pub fn lasted(&self, meeting: &MeetingName, now: Time) -> Option<Duration> {
        let (history, now) = (self.lock(), self.on_calendar(now));
        let own = history.meeting(meeting, now).and_then(|past| past.lasted());
        own.or_else(|| history.pattern(meeting, now)?.lasted())
    }

    /// Where the people of that meeting were before; `None` if that is not known.
    #[must_use]
    pub fn place(&self, meeting: &MeetingName, now: Time) -> Option<Place> {
        self.lock().meeting(meeting, self.on_calendar(now))?.place()
    }

    /// A meeting is over. Returns what is remembered otherwise.
    pub(super) fn on_over(
        &self,
        meeting: &MeetingName,
        was: &Ended,
        now: Time,
    ) -> Vec<(Topic, Option<Memory>)> {
        let now = self.on_calendar(now);
        self.lock().ended(meeting, was, now)
    }

    fn on_calendar(&self, now: Time) -> Time {
        now + self.begun
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        // Nothing that can panic is done while it is held.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
