//! What a new meeting is promised before its people have come.
//!
//! A room is made empty and fills later: whoever places by what is measured puts the next rooms onto
//! the same backend. So each meeting is charged with what it will need from the moment it is placed:
//! as its caller says, else as it was before, else as others named alike were, else a default. The
//! promise goes as people arrive, because a meeting counts with what it has or what it was promised,
//! whichever is more; and with time, for those that never fill.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::{History, Past};
use super::load::half_life;
use crate::model::{Legs, MeetingName, Time};

/// Who does what in a meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Those who send; each of them watches all others too.
    pub publishers: u32,
    /// Those who only watch.
    pub viewers: u32,
}

impl Mix {
    /// `participants` people who all publish and all watch.
    #[must_use]
    pub const fn all_publish(participants: u32) -> Self {
        Self { publishers: participants, viewers: 0 }
    }

    /// One publisher whom `viewers` people watch.
    #[must_use]
    pub const fn broadcast(viewers: u32) -> Self {
        Self { publishers: 1, viewers }
    }

    /// What it costs: each publisher is one leg in, and one out to each of the others: `n` who all
    /// publish cost `n * n`, a broadcast costs `1 + viewers`.
    #[must_use]
    pub const fn legs(self) -> Legs {
        let everybody = self.publishers.saturating_add(self.viewers);
        Legs(self.publishers.saturating_mul(everybody))
    }
}

/// Where a promise comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Its caller said how large the meeting will be.
    Hint,
    /// The meeting was here before.
    Meeting,
    /// Meetings with names like its own were here before.
    Pattern,
    /// Nothing is known of it.
    Default,
}

/// How much is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromiseRules {
    /// Legs of a meeting of which nothing is known.
    pub default: Legs,
    /// Legs at most, whatever was said or remembered.
    pub most: Legs,
    /// Time in which half of a promise goes.
    pub half_life: Duration,
}

impl PromiseRules {
    /// What a meeting is promised, and why: `hint` if its caller gave one, else what `history` knows
    /// of its `name`, else the default.
    #[must_use]
    pub fn reserve(
        &self,
        hint: Option<Mix>,
        name: Option<&MeetingName>,
        history: &History,
        now: Time,
    ) -> (Legs, Source) {
        if let Some(mix) = hint {
            return (mix.legs().min(self.most), Source::Hint);
        }
        let of = |past: &Past| past.legs().min(self.most);
        let meeting = name.and_then(|name| history.meeting(name, now));
        let pattern = || name.and_then(|name| history.pattern(name, now));
        match meeting {
            Some(past) => (of(&past), Source::Meeting),
            None => match pattern() {
                Some(past) => (of(&past), Source::Pattern),
                None => (self.default.min(self.most), Source::Default),
            },
        }
    }
}

/// What one meeting was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// How much, when it was placed.
    pub legs: Legs,
    /// When that was.
    pub made: Time,
}

impl Promise {
    /// What is left of it at `now`: half goes in each `half`. Never more than was promised.
    #[must_use]
    pub fn remaining(&self, now: Time, half: Duration) -> Legs {
        let left = f64::from(self.legs.0) * half_life(now.since(self.made), half);
        #[expect(clippy::cast_possible_truncation, reason = "0 to legs, which is a u32")]
        let whole = left.round() as u32;
        Legs(whole.min(self.legs.0))
    }

    /// Legs that the meeting counts with at `now` when it has `actual`: the more of both.
    #[must_use]
    pub fn charge(&self, actual: Legs, now: Time, half: Duration) -> Legs {
        actual.max(self.remaining(now, half))
    }

    /// Of the charge, what has not come yet and no sample can show.
    #[must_use]
    pub fn ahead(&self, actual: Legs, now: Time, half: Duration) -> Legs {
        Legs(self.remaining(now, half).0.saturating_sub(actual.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::history::{Ended, HistoryBounds};

    const HALF: Duration = Duration::from_secs(600);

    const RULES: PromiseRules = PromiseRules { default: Legs(4), most: Legs(400), half_life: HALF };

    const fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn legs_follow_the_mix() {
        assert_eq!(Mix::all_publish(4).legs(), Legs(16));
        assert_eq!(Mix::broadcast(80).legs(), Legs(81));
        assert_eq!(Mix { publishers: 3, viewers: 27 }.legs(), Legs(90));
        assert_eq!(Mix::all_publish(0).legs(), Legs(0));
        assert_eq!(Mix::all_publish(u32::MAX).legs(), Legs(u32::MAX));
    }

    #[test]
    fn a_promise_goes_as_people_come_and_with_time() {
        let promise = Promise { legs: Legs(100), made: at(0) };
        for (now, actual, charge, ahead) in [
            (0, 0, 100, 100),
            (0, 30, 100, 70),
            (600, 0, 50, 50),
            (600, 60, 60, 0),
            (600, 49, 50, 1),
            (1_200, 0, 25, 25),
            (1_000_000, 0, 0, 0),
        ] {
            assert_eq!(promise.charge(Legs(actual), at(now), HALF), Legs(charge), "{now} {actual}");
            assert_eq!(promise.ahead(Legs(actual), at(now), HALF), Legs(ahead), "{now} {actual}");
        }
    }

    #[test]
    fn what_is_said_counts_before_what_is_remembered_and_that_before_the_default() {
        let name = |text| MeetingName::parse(text).unwrap();
        let mut history = History::new(HistoryBounds::default());
        let ended = Ended { peak: Legs(81), people: [0.0; 3], lasted: None };
        history.ended(&name("class-7"), &ended, at(0));
        let reserve = |hint, text| RULES.reserve(hint, Some(&name(text)), &history, at(1));
        assert_eq!(reserve(Some(Mix::all_publish(3)), "class-7"), (Legs(9), Source::Hint));
        assert_eq!(reserve(Some(Mix::all_publish(3_000)), "new"), (Legs(400), Source::Hint));
        assert_eq!(reserve(None, "class-7"), (Legs(81), Source::Meeting));
        assert_eq!(reserve(None, "class-8"), (Legs(81), Source::Pattern));
        assert_eq!(reserve(None, "standup"), (Legs(4), Source::Default));
        assert_eq!(RULES.reserve(None, None, &history, at(1)), (Legs(4), Source::Default));
    }
}
