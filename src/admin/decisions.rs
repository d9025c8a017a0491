//! Decisions, as the admin API shows them.

use serde::{Deserialize, Serialize};

use super::views::PlaceRow;
use crate::model::Labels;
use crate::policy::choose::Decision;
use crate::policy::decisions::Cause;
use crate::policy::promise::Source;

/// One choice of a backend as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionRow {
    /// Counts the decisions of the process, from 1.
    pub id: u64,
    /// When it was asked for, in milliseconds since 1970.
    pub at_ms: u64,
    /// How long it took, in microseconds, the wait for the choice before it included.
    pub took_us: u64,
    /// The meeting; `null` if it has no name.
    pub meeting: Option<String>,
    /// The first 8 digits of the session it was made for.
    pub session: Option<String>,
    /// Why there was a choice to make: `new` or `replaced`.
    pub cause: Cause,
    /// Number of the claim that pinned the meeting where this decision says, as in a meeting's row.
    /// `null` if it came to no pin: nothing was chosen, or another client was faster.
    pub epoch: Option<u64>,
    /// Where the reserve is from: `hint`, `meeting`, `pattern` or `default`.
    pub reserve_from: Source,
    /// Where the meeting's people were taken to be; `null` if that was not known.
    pub place: Option<PlaceRow>,
    /// Labels that were demanded.
    pub demands: Labels,
    /// What it came to, and why.
    #[serde(flatten)]
    pub decision: Decision,
}

/// The answer to `GET /api/v1/decisions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionRows {
    /// Newest first.
    pub decisions: Vec<DecisionRow>,
}
