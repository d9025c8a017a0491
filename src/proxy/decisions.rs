//! The decisions of this process, for whoever asks why a meeting is where it is.

use std::sync::{Mutex, MutexGuard};

use crate::fleet::FleetSnapshot;
use crate::model::MeetingName;
use crate::policy::decisions::{Choice, Decisions, Kept, Seen};

/// Keeps the last choices. Its lock is held for a copy or a look-up, never while a choice is made.
#[derive(Debug)]
pub struct DecisionLog(Mutex<Decisions>);

impl DecisionLog {
    /// None yet, and `max` at most; 0 keeps none.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Mutex::new(Decisions::new(max)))
    }

    /// At most `max` from now on.
    pub fn set_max(&self, max: usize) {
        self.lock().set_max(max);
    }

    /// Keeps `choice`, made among the backends of `fleet` as they were `seen`; returns its id.
    pub(super) fn keep(&self, choice: Choice, fleet: &FleetSnapshot, seen: Vec<Seen>) -> u64 {
        let profiles = fleet.backends.iter().map(|backend| &backend.profile);
        self.lock().keep(choice, profiles, seen)
    }

    /// The decision `id` has pinned its meeting with this epoch.
    pub(super) fn pinned(&self, id: u64, epoch: u64) {
        self.lock().pinned(id, epoch);
    }

    /// Up to `limit` decisions, newest first: those about `meeting`, or all.
    #[must_use]
    pub fn last(&self, meeting: Option<&MeetingName>, limit: usize) -> Vec<Kept> {
        let decisions = self.lock();
        match meeting {
            Some(meeting) => decisions.of_meeting(meeting).take(limit).cloned().collect(),
            None => decisions.recent().take(limit).cloned().collect(),
        }
    }

    /// That decision; `None` if it was never made, or has gone.
    #[must_use]
    pub fn decision(&self, id: u64) -> Option<Kept> {
        self.lock().of_id(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Decisions> {
        self.0.lock().expect("nothing panics while holding it")
    }
}
