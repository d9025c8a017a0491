//! What a new config changes of the meetings that are here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Registry;
use crate::model::Time;
use crate::policy::charge::Weights;

impl Registry {
    /// A meeting that nobody uses lives on for `grace` from when it was left; at `meetings_max` new ones
    /// are refused, and those that are here stay.
    pub fn set_bounds(&self, grace: Duration, meetings_max: usize) {
        self.meetings_max.store(meetings_max, Ordering::Relaxed);
        let mut expiries = self.expiries.lock().expect("nothing panics while holding it");
        let before = Time::ZERO + *self.grace.get();
        self.grace.set(grace);
        for (due, _) in expiries.iter_mut() {
            // They stay in their order.
            *due = Time::ZERO + due.since(before) + grace;
        }
    }

    /// What meetings consist of costs that much from now on, and those that are here are charged so:
    /// each is locked for a moment.
    pub fn weigh(&self, weights: Weights, now: Time) {
        // Whoever changes meanwhile is weighed by the new ones, and again below.
        self.weights.set(weights);
        let weights = self.weights.get();
        for mut meeting in self.meetings.iter_mut() {
            if let Some(charge) = &mut meeting.charge {
                charge.weigh(&weights, now);
            }
        }
    }
}
