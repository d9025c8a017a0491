//! What is known of one backend adds up to its health.
//!
//! ```text
//!  unknown ---answer---> healthy <-----answer------- suspect <---error, silence, link--- healthy,
//!     |                  |    ^                       |    |                            ejected, trial
//!     |          passive |    | answers in a row,     |    +--errors in a row,
//!     |         evidence |    | and a deep probe      |       silent for too long--> lost, ejected
//!     |                  v    |                       v
//!     +--errors in a-> ejected --answer, back-off over--> trial ---passive evidence---> ejected
//!        row
//! ```
//! Two things are kept apart. *Lost* is what was on a process that is gone: it refuses, cuts, answers
//! as another process, or was silent for `give_up`. *Ejected* is a backend that gets no new meetings
//! for a while; if it answers, what is on it stays and works. Silence alone makes it suspect: it may
//! be alive, and moving a meeting would split it.
//!
//! Whoever is ejected again soon is out for longer. Not out are the first time a process is lost:
//! that is a restart, and a new process that answers is as good as any.

mod latency;
mod machine;
mod rules;

use std::time::Duration;

pub use latency::{Baseline, CallClass, Heard, SlowRules};
pub use machine::HealthMachine;
pub use rules::{HealthRules, may_keep_out};

use crate::model::Incarnation;

/// How a backend is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not yet heard from.
    Unknown,
    /// Takes new meetings.
    Healthy,
    /// Failed lately: no new meetings, old ones stay.
    Suspect,
    /// No new meetings for a while. Old ones stay if its process is known, and are lost if not.
    Ejected,
    /// Was ejected, and is about to be readmitted: no new meetings yet.
    Trial,
}

impl Health {
    /// The word for logs, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::Trial => "trial",
        }
    }
}

/// What says something about a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A probe was answered by the media service, and it is this process.
    Answered(Incarnation),
    /// A probe was not.
    Failed(ProbeFailure),
    /// A deep probe of the process that answers has ended.
    Deep(Deep),
    /// A client's link could not be opened.
    DialFailed,
    /// A client's call was not answered in time.
    Unanswered,
    /// So many calls of clients that make something were refused for want of resources.
    Refused(u32),
    /// Calls of clients were answered.
    Heard(CallClass, Heard),
}

/// How a deep probe ended: the creation and release of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deep {
    /// The creation was answered within this time.
    Passed(Duration),
    /// It has no resources for one: error 40009.
    Refused,
    /// It did not answer, or not with a pipeline.
    Failed,
}

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No way there: its name is not known, the network says no, or we are out of descriptors.
    #[error("cannot be reached")]
    Unreachable,
    /// The connection broke.
    #[error("connection cut")]
    Cut,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It is reached but does not speak WebSocket there.
    #[error("handshake failed")]
    Handshake,
    /// Its answers are none of Kurento's.
    #[error("protocol error")]
    Protocol,
}

impl ProbeFailure {
    /// Whether it shows that no process is there, so that asking again soon is cheap and telling.
    #[must_use]
    pub const fn shows_absence(self) -> bool {
        matches!(self, Self::Refused | Self::Cut)
    }

    /// Whether somebody says that no media service is there; if not, nobody says anything, and it may
    /// be alive.
    #[must_use]
    pub const fn is_error(self) -> bool {
        match self {
            Self::Refused | Self::Cut | Self::Handshake | Self::Protocol => true,
            Self::Timeout | Self::Unreachable => false,
        }
    }
}

/// Why a backend was ejected, or its process is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It refused or cut probes, or answered nonsense: lost.
    Errors,
    /// It was silent for too long: lost.
    Silent,
    /// Another process answers: what was on the one before is lost.
    Restarted,
    /// Links of clients could not be opened.
    Dial,
    /// Calls of clients were not answered.
    Unanswered,
    /// It has no resources left.
    Full,
    /// Deep probes failed.
    Deep,
    /// It answers much slower than it used to.
    Slow,
}

impl Cause {
    /// The word for logs, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Silent => "silent",
            Self::Restarted => "restarted",
            Self::Dial => "dial",
            Self::Unanswered => "unanswered",
            Self::Full => "full",
            Self::Deep => "deep",
            Self::Slow => "slow",
        }
    }

    /// Whether what was there is lost.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        match self {
            Self::Errors | Self::Silent | Self::Restarted => true,
            Self::Dial | Self::Unanswered | Self::Full | Self::Deep | Self::Slow => false,
        }
    }

    /// Whether a deep probe finds out that it is over.
    const fn is_told_by_deep(self) -> bool {
        matches!(self, Self::Full | Self::Deep)
    }
}

/// What evidence changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Change {
    /// Whether health, process, cause or alarm is another than before.
    pub is_change: bool,
    /// The process whose meetings are lost by it.
    pub lost: Option<Incarnation>,
    /// Why it was ejected, or what was on it is lost, by this evidence.
    pub ejected: Option<Cause>,
}

impl Change {
    /// Both, this one first.
    #[must_use]
    pub fn and(self, next: Self) -> Self {
        Self {
            is_change: self.is_change || next.is_change,
            lost: next.lost.or(self.lost),
            ejected: next.ejected.or(self.ejected),
        }
    }
}

#[cfg(test)]
mod tests;
