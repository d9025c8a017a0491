//! Whether a backend is to stay: what operators, and the sources that backends come from, say.

use crate::model::Time;

/// Whether a backend is to stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stay {
    /// It gets new meetings.
    #[default]
    Open,
    /// It gets none; old ones run out.
    Draining(Drain),
    /// It is no longer wanted: it gets no new meetings, and is removed when it has none.
    Leaving,
}

/// How a backend is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Since when.
    pub since: Time,
    /// When what is left is moved; `None`: never.
    pub deadline: Option<Time>,
    /// What becomes of the backend when it has no meeting left.
    pub then: AfterDrain,
    /// Who wants it.
    pub by: DrainedBy,
}

/// What becomes of a drained backend that has no meeting left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterDrain {
    /// It stays, probed and drained.
    #[default]
    Stay,
    /// It is removed.
    Remove,
}

/// Who wants a backend drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainedBy {
    /// `drain = true` in the config, which alone can end it.
    Config,
    /// An operator, who may change their mind.
    Operator,
}

/// Why an order to drain a backend, or not to, cannot be obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// The fleet has no such backend.
    #[error("no such backend")]
    Unknown,
    /// The config drains it.
    #[error("the config drains it: take `drain = true` away there")]
    Configured,
    /// It is no longer wanted, whatever becomes of a drain.
    #[error("it is leaving the fleet: its config or its source no longer names it")]
    Leaving,
    /// The edge is ending.
    #[error("the edge is ending")]
    Ending,
}

impl Stay {
    /// The word for logs, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Draining(_) => "draining",
            Self::Leaving => "leaving",
        }
    }
}
