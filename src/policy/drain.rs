//! The drain of a backend: how far it is, and which meeting is let go next once its deadline is over.
//!
//! Pure. Until the deadline a drain lets meetings run out. After it they are let go one by one, those
//! with the fewest people first, so that most people are asked to move as late as can be and each move
//! shows whether the rest of the fleet bears it. Moves of all drains together keep one pace.
//! Not here: that a draining backend gets no pins (`policy::choose`), how a meeting is let go (`pins`).

use std::time::Duration;

use crate::model::{Draws, Legs, MeetingId, Time};

/// What is known of a meeting on a backend that is drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// Which.
    pub id: MeetingId,
    /// The epoch of its pin.
    pub epoch: u64,
    /// Uses of its pipelines by client connections.
    pub people: u32,
    /// Legs it costs.
    pub legs: Legs,
    /// How long it has lasted; `None` if it began before this process.
    pub age: Option<Duration>,
    /// How long it, or meetings named alike, lasted before; `None` if that is not known.
    pub usual: Option<Duration>,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Meetings that are left.
    pub meetings: u32,
    /// Their people: uses of their pipelines by client connections.
    pub people: u32,
    /// Time until the last of them has gone, as far as can be expected; `None` if that is not known.
    pub left: Option<Duration>,
}

/// Lets meetings go at a pace.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Mean time from one to the next.
    pause: Duration,
    draws: Draws,
    /// Before that none is let go.
    next: Time,
}

/// What a meeting that lasts longer than usual is expected to last still, as a share of the usual.
/// Nothing is known of it but that it is an exception, so it is not taken to end at once.
const OVERDUE_SHARE: u32 = 4;

impl Here {
    /// How long it is expected to last still; `None` if nothing is known to go by.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let usual = self.usual?;
        let left = usual.saturating_sub(self.age.unwrap_or_default());
        Some(left.max(usual / OVERDUE_SHARE))
    }
}

impl Progress {
    /// How far the drain of a backend is that has these meetings. `deadline` is the time until they
    /// are let go, at `moves_per_second`; `None`: they never are.
    #[must_use]
    pub fn of(here: &[Here], deadline: Option<Duration>, moves_per_second: f64) -> Self {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let people = here.iter().fold(0u32, |sum, meeting| sum.saturating_add(meeting.people));
        let run_out = here
            .iter()
            .try_fold(Duration::ZERO, |longest, meeting| Some(longest.max(meeting.left()?)));
        let moved = deadline.map(|deadline| {
            // Those that are expected to outlive the deadline; of others nothing is known.
            let outlive = |meeting: &&Here| meeting.left().is_none_or(|left| left > deadline);
            let moves = here.iter().filter(outlive).count();
            deadline + pause_of(moves_per_second).saturating_mul(count(moves))
        });
        let left = match (run_out, moved) {
            (Some(run_out), Some(moved)) => Some(run_out.min(moved)),
            (run_out, moved) => run_out.or(moved),
        };
        Self { meetings: count(here.len()), people, left }
    }
}

impl Plan {
    /// A plan that lets so many meetings go in a second, on average. `draws` makes the jitter: half of
    /// the pause more or less, so that the clients of a fleet's edges do not move in step.
    #[must_use]
    pub fn new(moves_per_second: f64, draws: Draws) -> Self {
        Self { pause: pause_of(moves_per_second), draws, next: Time::ZERO }
    }

    /// Goes on at another pace.
    pub fn set_pace(&mut self, moves_per_second: f64) {
        self.pause = pause_of(moves_per_second);
    }

    /// Whether one may be let go now.
    #[must_use]
    pub fn is_due(&self, now: Time) -> bool {
        self.next <= now
    }

    /// How long it is until one may be let go; zero if that is now.
    #[must_use]
    pub const fn wait(&self, now: Time) -> Duration {
        self.next.since(now)
    }

    /// The meeting that is let go `now`, of those whose deadline is over; `None` if there is none, or
    /// if the last was let go a moment ago. That it is let go is taken for granted then.
    pub fn next<'a>(
        &mut self,
        now: Time,
        over: impl IntoIterator<Item = &'a Here>,
    ) -> Option<&'a Here> {
        if !self.is_due(now) {
            return None;
        }
        let size = |meeting: &&Here| (meeting.people, meeting.legs);
        let first = over
            .into_iter()
            .min_by(|one, other| size(one).cmp(&size(other)).then(one.id.cmp(&other.id)))?;
        self.next = now + self.pause.mul_f64(0.5 + self.draws.fraction());
        Some(first)
    }
}

/// `moves_per_second` is above zero.
fn pause_of(moves_per_second: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / moves_per_second).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
