//! What an earlier process of this edge has left: which meeting a pipeline is of, until its backend
//! has confirmed that it lives, and which session made it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::store::{Origin, Pin};
use crate::model::{MeetingName, PipelineId, SessionId};

/// No more than the store has kept.
#[derive(Debug, Default)]
pub struct Found(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Fewer with each backend that is heard from.
    meetings: BTreeMap<PipelineId, MeetingName>,
    /// By session, for as long as this process lives: a client may come back at any time.
    made: BTreeMap<SessionId, Vec<(PipelineId, MeetingName)>>,
}

impl Inner {
    fn add(&mut self, meeting: &MeetingName, (pipeline, session): (PipelineId, SessionId)) {
        self.meetings.insert(pipeline, meeting.clone());
        self.made.entry(session).or_default().push((pipeline, meeting.clone()));
    }
}

impl Found {
    /// What the process before has left: its pins, and where `pipelines` come from.
    pub fn fill(&self, pins: &[(MeetingName, Pin)], pipelines: &[Origin]) {
        let mut by_epoch: Vec<_> = pins.iter().map(|(meeting, pin)| (pin.epoch, meeting)).collect();
        by_epoch.sort_unstable();
        let mut inner = self.lock();
        for Origin { epoch, pipeline, session } in pipelines {
            let Ok(index) = by_epoch.binary_search_by_key(epoch, |(epoch, _)| *epoch) else {
                continue;
            };
            inner.add(by_epoch[index].1, (*pipeline, *session));
        }
    }

    /// One more of its pipelines.
    pub fn add(&self, meeting: &MeetingName, origin: Origin) {
        self.lock().add(meeting, (origin.pipeline, origin.session));
    }

    /// The meeting that `pipeline` was of. That it lives is for the caller to know.
    #[must_use]
    pub fn meeting_of(&self, pipeline: PipelineId) -> Option<MeetingName> {
        self.lock().meetings.get(&pipeline).cloned()
    }

    /// The pipelines of `meeting` that nobody has confirmed. Looks at all.
    #[must_use]
    pub fn pipelines_of(&self, meeting: &MeetingName) -> Vec<PipelineId> {
        let inner = self.lock();
        let of = inner.meetings.iter().filter(|(_, of)| *of == meeting);
        of.map(|(pipeline, _)| *pipeline).collect()
    }

    /// The pipelines that `session` had made, with their meetings. Whether they live is not known.
    #[must_use]
    pub fn made_by(&self, session: SessionId) -> Vec<(PipelineId, MeetingName)> {
        self.lock().made.get(&session).cloned().unwrap_or_default()
    }

    /// `pipeline` is confirmed, or is no more.
    pub fn remove(&self, pipeline: PipelineId) {
        self.lock().meetings.remove(&pipeline);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic is done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
