//! An immutable copy of the backend table.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::{BackendId, Incarnation, Legs};
use crate::pins::BackendLoad;
use crate::policy::choose::Candidate;
use crate::policy::health::{Health, ProbeFailure};
use crate::settings::BackendUrl;

/// What was known of the fleet when it was published.
#[derive(Clone, Debug)]
pub struct FleetSnapshot {
    /// Counts the publications.
    pub generation: u64,
    /// In the order of the config.
    pub backends: Vec<Arc<BackendView>>,
    /// What `getInfo` of the manager gives, as JSON: that of the first backend which is healthy, kept
    /// when none is. `None` until one was.
    pub server_info: Option<Arc<str>>,
}

/// What was known of one backend.
#[derive(Clone, Debug)]
pub struct BackendView {
    /// Its name in the config.
    pub id: BackendId,
    /// Where it listens.
    pub url: BackendUrl,
    /// Legs it can hold.
    pub capacity: Legs,
    /// How it is doing.
    pub health: Health,
    /// Its process; `None` before it was heard from and after it was ejected.
    pub incarnation: Option<Incarnation>,
    /// The `serverId` that its process told.
    pub server_id: Option<Arc<str>>,
    /// The version that it told.
    pub version: Option<Arc<str>>,
    /// Time that the last answered probe took.
    pub last_probe: Option<Duration>,
    /// Why the last probe failed; `None` if it was answered.
    pub last_failure: Option<ProbeFailure>,
    /// What it carries now: shared by all snapshots.
    pub load: Arc<BackendLoad>,
    /// Cancelled when this process and all that it held is lost.
    pub lost: CancellationToken,
}

impl FleetSnapshot {
    /// The backend of that id.
    #[must_use]
    pub fn backend(&self, id: &BackendId) -> Option<&Arc<BackendView>> {
        self.backends.iter().find(|backend| backend.id == *id)
    }
}

impl BackendView {
    /// Whether it may get new meetings.
    #[must_use]
    pub fn takes_pins(&self) -> bool {
        self.health == Health::Healthy
    }

    /// The backend as a choice sees it.
    #[must_use]
    pub fn candidate(&self) -> Candidate {
        Candidate { takes_pins: self.takes_pins(), load: self.load.legs(), capacity: self.capacity }
    }
}
