//! What the admin API shows, as rows.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::model::MeetingId;

/// Where the rows come from.
pub trait Views: Send + Sync + 'static {
    /// Every backend, in the order of the config file.
    fn backends(&self) -> Vec<BackendRow>;

    /// Up to `limit` meetings in the order of their ids as text, from the first after `after`.
    ///
    /// # Errors
    /// The pins cannot be read now.
    fn meetings(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<MeetingRow>, Unavailable>> + Send;

    /// The meeting with this id; `None` if it is not pinned.
    ///
    /// # Errors
    /// The pins cannot be read now.
    fn meeting(
        &self,
        id: &MeetingId,
    ) -> impl Future<Output = Result<Option<MeetingRow>, Unavailable>> + Send;
}

/// Rows cannot be had now; told to the caller with status 503. Carries the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not available now: {0}")]
pub struct Unavailable(pub String);

/// One backend as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRow {
    /// Its id in the config file.
    pub id: String,
    /// Where it listens.
    pub url: String,
    /// One word: `unknown`, `healthy`, `suspect`, `ejected` or `trial`.
    pub health: String,
    /// Whether it gets new meetings now.
    pub takes_pins: bool,
    /// What the server calls itself; new after each of its restarts. Absent until heard from.
    pub server_id: Option<String>,
    /// Version of the server. Absent until heard from.
    pub version: Option<String>,
    /// The load it can bear, in legs.
    pub capacity_legs: u32,
    /// Its load, measured and promised, in legs.
    pub load_legs: u32,
    /// Meetings pinned to it.
    pub meetings: u64,
    /// People in those meetings.
    pub participants: u64,
    /// Links open to it.
    pub links: u64,
    /// Duration of the last probe that passed, in milliseconds.
    pub last_probe_ms: Option<f64>,
    /// Why the last probe that failed did.
    pub last_failure: Option<String>,
}

/// One pinned meeting as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingRow {
    /// Its name, or the id of its one pipeline.
    pub id: String,
    /// The id of the backend it is pinned to.
    pub backend: String,
    /// How often its pin changed.
    pub epoch: u64,
    /// Pipelines alive in it.
    pub pipelines: u64,
    /// People in it.
    pub participants: u64,
    /// Load promised to it and not yet seen, in legs.
    pub reserve_legs: u32,
}

/// The answer to `GET /api/v1/backends`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRows {
    /// Every backend.
    pub backends: Vec<BackendRow>,
}

/// The answer to `GET /api/v1/meetings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingRows {
    /// One page of meetings.
    pub meetings: Vec<MeetingRow>,
    /// What to give as `after` to get the next page; absent on the last.
    pub next: Option<String>,
}
