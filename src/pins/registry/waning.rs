//! How what is left of promises is given back as time passes.

use super::Registry;
use crate::model::{MeetingId, Time};
use crate::pins::Charge;

/// Promises looked at in one sweep. If there are more, each is looked at less often, and counts with
/// what was left of it then: never less than what is left now.
const WANED_MAX: usize = 16_384;

/// A promise that has not gone yet.
#[derive(Clone, Debug)]
pub(super) struct Waning {
    meeting: MeetingId,
    /// When it was made: a meeting of that name may have another by now.
    made: Time,
}

impl Registry {
    /// `meeting` has been given `charge`: what is promised with it is to go with time.
    pub(super) fn on_charged(&self, meeting: &MeetingId, charge: &Charge) {
        let waning = Waning { meeting: meeting.clone(), made: charge.promise().made };
        let mut all = self.waning.lock().expect("nothing panics while holding it");
        // Beyond that, which takes more new meetings than a sweep looks at, for long, a promise goes
        // only when something changes in its meeting, and with it.
        if all.len() < self.meetings_max().saturating_mul(2) {
            all.push_back(waning);
        }
    }

    /// Gives back what has gone of promises by `now`.
    pub(super) fn wane(&self, now: Time) {
        let count = self.waning.lock().expect("nothing panics while holding it").len();
        for _ in 0..count.min(WANED_MAX) {
            let next = self.waning.lock().expect("nothing panics while holding it").pop_front();
            let Some(waning) = next else { return };
            if self.wane_one(&waning, now) {
                let mut all = self.waning.lock().expect("nothing panics while holding it");
                all.push_back(waning);
            }
        }
    }

    /// Whether anything is left of that promise.
    fn wane_one(&self, waning: &Waning, now: Time) -> bool {
        let Some(mut meeting) = self.meetings.get_mut(&waning.meeting) else { return false };
        let charge = meeting.charge.as_mut();
        charge.is_some_and(|charge| charge.promise().made == waning.made && charge.wane(now))
    }
}
