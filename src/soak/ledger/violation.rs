//! What must not be.

use std::fmt;

use serde::Serialize;

use crate::model::Time;

/// Violations kept with their trail. Further ones are counted.
pub(in crate::soak) const KEPT_MAX: usize = 20;

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::soak) enum Kind {
    /// A call on an open connection had no answer in time, or at the end.
    Silent,
    /// One sending of a call was answered twice.
    Twice,
    /// An answer to a call that was never sent.
    Unasked,
    /// A call was answered with what belongs to another object or session.
    WrongAnswer,
    /// Two pipelines of a meeting were served in different backends at the same time.
    Split,
    /// A client was told that its pipeline or session is gone, and nothing had happened to it.
    WrongLoss,
    /// A pipeline is served and no backend has shown it.
    Homeless,
    /// Calls sent and outcomes do not add up.
    Unbalanced,
}

impl Kind {
    /// Every kind, in the order they are shown in.
    pub(in crate::soak) const ALL: [Self; 8] = [
        Self::Silent,
        Self::Twice,
        Self::Unasked,
        Self::WrongAnswer,
        Self::Split,
        Self::WrongLoss,
        Self::Homeless,
        Self::Unbalanced,
    ];

    /// Its name for people.
    pub(in crate::soak) fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent losses",
            Self::Twice => "calls answered twice",
            Self::Unasked => "answers to no call",
            Self::WrongAnswer => "wrong answers",
            Self::Split => "split meetings",
            Self::WrongLoss => "losses without a cause",
            Self::Homeless => "pipelines of no backend",
            Self::Unbalanced => "books that do not add up",
        }
    }
}

/// One case, with what led to it.
#[derive(Clone, Debug, Serialize)]
pub(in crate::soak) struct Violation {
    pub(in crate::soak) kind: Kind,
    /// When it was found, in microseconds since the start.
    #[serde(serialize_with = "micros")]
    pub(in crate::soak) at: Time,
    /// Name of the meeting; empty if it is of none.
    pub(in crate::soak) meeting: String,
    /// What was found.
    pub(in crate::soak) what: String,
    /// The last lines about the meeting.
    pub(in crate::soak) trail: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, at, meeting, what, trail } = self;
        let seconds = at.since(Time::ZERO).as_secs_f64();
        writeln!(f, "{} at {seconds:.3} s, meeting {meeting:?}: {what}", kind.name())?;
        trail.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

fn micros<S: serde::Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_micros())
}
