//! Carries losses and the passing of time to the pins.

use std::sync::Arc;

use super::registry::Registry;
use super::store::PinStore;
use crate::model::{BackendId, Incarnation, MeetingName, Time};

/// Removes the pins of meetings that are lost or over.
#[derive(Clone)]
pub struct Keeper {
    /// Which meeting is pinned where.
    pub pins: Arc<dyn PinStore>,
    /// What this process knows of its meetings.
    pub registry: Arc<Registry>,
}

impl Keeper {
    /// This process of `backend` is lost, with its meetings.
    pub async fn on_loss(&self, backend: &BackendId, incarnation: Incarnation) {
        let lost = self.registry.drop_backend(backend, incarnation);
        let meetings = lost.len();
        tracing::warn!(%backend, meetings, "backend lost, with its named meetings");
        for (meeting, epoch) in lost {
            self.unpin(&meeting, epoch).await;
        }
    }

    /// Ends the meetings that nobody has used for the grace.
    pub async fn sweep(&self, now: Time) {
        for (meeting, epoch) in self.registry.sweep(now) {
            self.unpin(&meeting, epoch).await;
            self.registry.unpinned(&meeting, epoch);
        }
    }

    /// A pin that cannot be removed now is removed by whoever finds that it no longer holds.
    async fn unpin(&self, meeting: &MeetingName, epoch: u64) {
        if let Err(error) = self.pins.unpin(meeting, epoch).await {
            tracing::warn!(%error, "pin not removed");
        }
    }
}
