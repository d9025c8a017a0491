//! Which meeting a pipeline is of that an earlier process of this edge has left, until its backend
//! has confirmed that it lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::store::Pin;
use crate::model::{MeetingName, PipelineId};

/// Pipelines with their meetings. No more than the store has kept, and fewer with each backend that
/// is heard from.
#[derive(Debug, Default)]
pub struct Found(Mutex<BTreeMap<PipelineId, MeetingName>>);

impl Found {
    /// What the process before has left: its pins, and `pipelines` with the epochs of these.
    pub fn fill(&self, pins: &[(MeetingName, Pin)], pipelines: &[(u64, PipelineId)]) {
        let mut by_epoch: Vec<_> = pins.iter().map(|(meeting, pin)| (pin.epoch, meeting)).collect();
        by_epoch.sort_unstable();
        let meeting_of = |epoch: &u64| {
            let found = by_epoch.binary_search_by_key(epoch, |(epoch, _)| *epoch);
            found.ok().map(|index| by_epoch[index].1.clone())
        };
        let named =
            pipelines.iter().filter_map(|(epoch, pipeline)| Some((*pipeline, meeting_of(epoch)?)));
        self.lock().extend(named);
    }

    /// The meeting that `pipeline` was of. That it lives is for the caller to know.
    #[must_use]
    pub fn meeting_of(&self, pipeline: PipelineId) -> Option<MeetingName> {
        self.lock().get(&pipeline).cloned()
    }

    /// `pipeline` is confirmed, or is no more.
    pub fn remove(&self, pipeline: PipelineId) {
        self.lock().remove(&pipeline);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PipelineId, MeetingName>> {
        // Nothing that can panic is done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
