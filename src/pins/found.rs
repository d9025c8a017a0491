//! Which meeting a pipeline is of that an earlier process of this edge has left, until its backend
//! has confirmed that it lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{MeetingName, PipelineId};

/// Pipelines with their meetings. No more than the store has kept, and fewer with each backend that
/// is heard from.
#[derive(Debug, Default)]
pub struct Found(Mutex<BTreeMap<PipelineId, MeetingName>>);

impl Found {
    /// `pipeline` was of `meeting` when the process before ended.
    pub fn add(&self, pipeline: PipelineId, meeting: MeetingName) {
        self.lock().insert(pipeline, meeting);
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
