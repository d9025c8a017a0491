//! What there is: for operators, and for a client that asks the manager.

use std::collections::BTreeMap;

use super::{Meeting, Registry};
use crate::model::{BackendId, Legs, MeetingId, PipelineId, RoughPlace, Time};
use crate::pins::{Charge, Pin};
use crate::policy::tally::Counts;

/// A meeting as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetingView {
    /// Which.
    pub id: MeetingId,
    /// Where; the epoch of an unnamed meeting is 0.
    pub pin: Pin,
    /// Pipelines it has.
    pub pipelines: u32,
    /// Uses of these by client connections.
    pub participants: u32,
    /// Legs promised to it on its backend; none while it has no pipeline.
    pub reserve: Legs,
    /// Legs it costs there now, as far as is seen.
    pub measured: Legs,
    /// Legs it is charged there.
    pub charged: Legs,
    /// What it consists of, as far as is seen.
    pub counts: Counts,
    /// When it began; `None` if that was before this process.
    pub begun: Option<Time>,
    /// Whether anything of it lives on its backend, or is being made there.
    pub is_live: bool,
    /// Whether nobody may join any more: it is over, or is let go.
    pub is_ending: bool,
    /// Where its people were when it got its place here, as far as was known.
    pub place: Option<RoughPlace>,
}

impl Registry {
    /// Every pipeline, in the order of their ids; `None` if there are more than `max`.
    #[must_use]
    pub fn pipelines(&self, max: usize) -> Option<Vec<PipelineId>> {
        let mut all: Vec<_> = self.pipelines.iter().take(max + 1).map(|one| *one.key()).collect();
        all.sort_unstable();
        (all.len() <= max).then_some(all)
    }

    /// All meetings that are pinned to `backend` here, in the order of their ids. Looks at every meeting.
    #[must_use]
    pub fn meetings_on(&self, backend: &BackendId) -> Vec<MeetingView> {
        let there = self.meetings.iter().filter(|meeting| meeting.pin.backend == *backend);
        let mut views: Vec<_> = there.map(|meeting| meeting.view(meeting.key())).collect();
        views.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        views
    }

    /// A meeting, for operators.
    #[must_use]
    pub fn meeting(&self, id: &MeetingId) -> Option<MeetingView> {
        self.meetings.get(id).map(|meeting| meeting.view(id))
    }

    /// The `limit` meetings that follow `after` in the order of their ids as text, for operators.
    /// Looks at every meeting.
    #[must_use]
    pub fn meetings(&self, after: Option<&str>, limit: usize) -> Vec<MeetingView> {
        let mut first = BTreeMap::new();
        for meeting in &self.meetings {
            let id = meeting.key().to_string();
            if after.is_none_or(|after| id.as_str() > after) {
                first.insert(id, meeting.view(meeting.key()));
                if first.len() > limit {
                    first.pop_last();
                }
            }
        }
        first.into_values().collect()
    }
}

impl Meeting {
    fn view(&self, id: &MeetingId) -> MeetingView {
        MeetingView {
            id: id.clone(),
            pin: self.pin.clone(),
            pipelines: self.pipelines,
            participants: self.participants,
            reserve: self.charge.as_ref().map(|charge| charge.promise().legs).unwrap_or_default(),
            measured: self.charge.as_ref().map(Charge::measured).unwrap_or_default(),
            charged: self.charge.as_ref().map(Charge::legs).unwrap_or_default(),
            begun: self.begun,
            is_live: self.charge.is_some(),
            is_ending: self.is_ending,
            place: self.place,
            counts: self.charge.as_ref().map(|charge| *charge.counts()).unwrap_or_default(),
        }
    }
}
