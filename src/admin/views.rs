//! What the admin API shows, as rows.

use std::collections::BTreeMap;
use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::model::{MeetingId, MeetingName, RoughPlace};
use crate::policy::choose::Scene;

use super::decisions::DecisionRow;

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

    /// Up to `limit` decisions, newest first: those about `meeting`, or all.
    fn decisions(&self, meeting: Option<&MeetingName>, limit: usize) -> Vec<DecisionRow>;

    /// That decision; `None` if it was never made, or has gone.
    fn decision(&self, id: u64) -> Option<DecisionRow>;

    /// All that this decision depended on; `None` as above.
    fn scene_of(&self, decision: u64) -> Option<Scene>;

    /// All that a decision would depend on now, about a meeting of which nothing is known.
    fn scene(&self) -> Scene;
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
    /// One word: `open`, `draining` or `leaving`.
    pub stay: String,
    /// Whether it gets new meetings now.
    pub takes_pins: bool,
    /// What the server calls itself; new after each of its restarts. `null` until heard from.
    pub server_id: Option<String>,
    /// Version of the server. `null` until heard from.
    pub version: Option<String>,
    /// The load it can bear, in legs.
    pub capacity_legs: u32,
    /// Load that its meetings are charged, in legs: of each what it costs now, or what was promised to
    /// it if that is more.
    pub load_legs: u32,
    /// Load that its meetings cost now, in legs, as far as is seen.
    pub measured_legs: u32,
    /// What its meetings consist of, as far as is seen.
    #[serde(flatten)]
    pub media: MediaRow,
    /// Meetings on it, named and unnamed, with a pipeline that lives or is being made.
    pub meetings: u64,
    /// Uses of its pipelines by client connections: one that uses three counts three times.
    pub participants: u64,
    /// Links open to it.
    pub links: u64,
    /// Its processors. `null` until it told.
    pub cpu_count: Option<u32>,
    /// How busy these are together, in percent, over 100 ms. `null` until measured.
    pub cpu_percent: Option<f64>,
    /// Its resident memory, in units of 1,024 bytes. `null` until measured.
    pub memory_kb: Option<u64>,
    /// Time that the last answered probe took, in milliseconds. `null` until one was.
    pub last_probe_ms: Option<f64>,
    /// Why the last probe failed; `null` if it was answered.
    pub last_failure: Option<String>,
}

/// One pinned meeting as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeetingRow {
    /// Its name, or the id of its one pipeline.
    pub id: String,
    /// The id of the backend it is pinned to.
    pub backend: String,
    /// Number of the claim that pinned it. The store counts the claims of all meetings together, so a
    /// later pin has a higher one; 0 for a meeting without a name.
    pub epoch: u64,
    /// Pipelines alive in it.
    pub pipelines: u64,
    /// Uses of its pipelines by client connections: one that uses three counts three times.
    pub participants: u64,
    /// Load promised to it on its backend, in legs, whoever has joined; 0 while it has no pipeline.
    pub reserve_legs: u32,
    /// Load that it costs now, in legs, as far as is seen.
    pub measured_legs: u32,
    /// Load that it is charged, in legs: the more of the two before.
    pub load_legs: u32,
    /// Where its people were when this edge chose its backend, as far as was known then; `null` if
    /// nothing was, or if another process chose.
    pub place: Option<PlaceRow>,
    /// What it consists of, as far as is seen.
    #[serde(flatten)]
    pub media: MediaRow,
}

/// A place on Earth, to a tenth of a degree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceRow {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

impl From<RoughPlace> for PlaceRow {
    fn from(place: RoughPlace) -> Self {
        Self { latitude: place.latitude(), longitude: place.longitude() }
    }
}

/// What a meeting, or all of a backend, consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRow {
    /// Elements by kind: `webrtc`, `rtp`, `player`, `recorder`, `mixer_port`, `filter`, `http`, `hub`
    /// and `other`, each of them.
    pub elements: BTreeMap<String, u32>,
    /// WebRTC endpoints that feed something.
    pub publishing_legs: u32,
    /// WebRTC endpoints that something feeds.
    pub receiving_legs: u32,
}

/// The answer to `GET /api/v1/backends`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRows {
    /// Every backend.
    pub backends: Vec<BackendRow>,
}

/// The answer to `GET /api/v1/meetings`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeetingRows {
    /// One page of meetings.
    pub meetings: Vec<MeetingRow>,
    /// What to give as `after` to get the next page; `null` on the last.
    pub next: Option<String>,
}
