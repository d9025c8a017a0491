//! Who meets when: an endless plan of meetings that a seed decides entirely.
//!
//! Pure, so that a demo can be repeated and its shape tested without waiting for it.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::Draws;

/// What meetings look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// Mean time between the starts of two meetings; each gap is half to one and a half of it.
    pub interval: Duration,
    /// Participants of one meeting, the host included; at least 1.
    pub participants: RangeInclusive<usize>,
    /// Time a participant stays once in.
    pub stay: RangeInclusive<Duration>,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            participants: 2..=5,
            stay: Duration::from_secs(5)..=Duration::from_secs(20),
        }
    }
}

/// One meeting. Its host opens it, is there for all of it and closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetingPlan {
    /// Name, different for each meeting of a schedule.
    pub name: String,
    /// Time since the meeting before it started.
    pub gap: Duration,
    /// Time the host stays, alone if nobody else is there.
    pub host_stay: Duration,
    /// Everyone else.
    pub guests: Vec<GuestPlan>,
}

/// One participant that is not the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPlan {
    /// Time after the host is in.
    pub joins_after: Duration,
    /// Time it stays.
    pub stay: Duration,
    /// Whether it makes a pipeline of its own in the same meeting, as an application does whose
    /// servers do not know of each other; else it uses the host's by its id.
    pub has_own_pipeline: bool,
}

/// An endless stream of meetings, in the order of their starts.
#[derive(Clone, Debug)]
pub struct Schedule {
    settings: ScheduleSettings,
    draws: Draws,
    planned_count: u64,
}

impl Schedule {
    /// The schedule that `settings` and `draws` decide.
    #[must_use]
    pub fn new(settings: ScheduleSettings, draws: Draws) -> Self {
        Self { settings, draws, planned_count: 0 }
    }

    /// Plans the next meeting.
    pub fn plan_next(&mut self) -> MeetingPlan {
        self.planned_count += 1;
        let interval = self.settings.interval;
        let participants = self.settings.participants.clone();
        let spread = participants.end().saturating_sub(*participants.start());
        let guest_count = (participants.start() + self.draws.below(spread + 1)).saturating_sub(1);
        MeetingPlan {
            name: format!("meeting-{}", self.planned_count),
            gap: interval / 2 + interval.mul_f64(self.draws.fraction()),
            host_stay: self.draw_stay(),
            guests: (0..guest_count).map(|_| self.draw_guest()).collect(),
        }
    }

    fn draw_guest(&mut self) -> GuestPlan {
        GuestPlan {
            joins_after: self.settings.interval.mul_f64(self.draws.fraction()),
            stay: self.draw_stay(),
            has_own_pipeline: self.draws.below(4) == 0,
        }
    }

    fn draw_stay(&mut self) -> Duration {
        let (shortest, longest) = (*self.settings.stay.start(), *self.settings.stay.end());
        shortest + longest.saturating_sub(shortest).mul_f64(self.draws.fraction())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plans(seed: u64) -> Vec<MeetingPlan> {
        let mut schedule = Schedule::new(ScheduleSettings::default(), Draws::seeded(seed));
        (0..1_000).map(|_| schedule.plan_next()).collect()
    }

    #[test]
    fn a_seed_decides_the_whole_schedule() {
        assert_eq!(plans(7), plans(7));
        assert_ne!(plans(7), plans(8));
    }

    #[test]
    fn meetings_keep_within_their_settings_and_reach_both_ends() {
        let (plans, settings) = (plans(1), ScheduleSettings::default());
        let guest_counts: BTreeSet<usize> = plans.iter().map(|plan| plan.guests.len()).collect();
        assert_eq!(guest_counts, BTreeSet::from([1, 2, 3, 4]));
        for plan in &plans {
            assert!(plan.gap >= settings.interval / 2 && plan.gap <= settings.interval * 3 / 2);
            assert!(settings.stay.contains(&plan.host_stay));
            assert!(plan.guests.iter().all(|guest| settings.stay.contains(&guest.stay)));
        }
        let names: BTreeSet<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!(names.len(), plans.len());
    }

    #[test]
    fn starts_keep_the_mean_and_some_guests_have_their_own_pipeline() {
        let plans = plans(1);
        let span: Duration = plans.iter().map(|plan| plan.gap).sum();
        let mean = span.as_secs_f64() / plans.len() as f64;
        assert!((0.45..0.55).contains(&mean), "mean gap {mean} s");
        let guests: Vec<&GuestPlan> = plans.iter().flat_map(|plan| &plan.guests).collect();
        let own_count = guests.iter().filter(|guest| guest.has_own_pipeline).count();
        let share = own_count as f64 / guests.len() as f64;
        assert!((0.2..0.3).contains(&share), "share with their own pipeline {share}");
    }

    #[test]
    fn a_meeting_may_be_one_person() {
        let settings = ScheduleSettings { participants: 1..=1, ..ScheduleSettings::default() };
        assert!(Schedule::new(settings, Draws::seeded(1)).plan_next().guests.is_empty());
    }
}
