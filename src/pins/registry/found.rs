//! Meetings and pipelines of an earlier process of this edge, as they are found again.

use std::sync::Arc;

use dashmap::Entry;

use super::expiry::{Expiry, Idle};
use super::{Meeting, Pipeline, Registry};
use crate::model::{MeetingId, MeetingName, PipelineId, Time};
use crate::pins::{BackendLoad, Charge, Pin};

impl Registry {
    /// A pin was found of a meeting that nobody here has taken part in yet: enters it, to end when
    /// nobody comes within the grace. As with [`Begun::Adopted`](super::Begun::Adopted), whether the pin still exists must be
    /// looked up after this. `load` is that of its backend. Returns whether the meeting was not here.
    #[must_use]
    pub fn adopt(
        &self,
        meeting: &MeetingName,
        pin: &Pin,
        load: Arc<BackendLoad>,
        now: Time,
    ) -> bool {
        let id = MeetingId::Named(meeting.clone());
        match self.meetings.entry(id.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                let mut known = vacant.insert(Meeting::new(pin.clone(), load));
                self.idle(&mut known.idle, Expiry::Meeting(id), now);
                true
            }
        }
    }

    /// The pin of an adopted meeting still exists.
    pub fn confirm(&self, meeting: &MeetingName, epoch: u64) {
        if let Some(mut known) = self.meetings.get_mut(&MeetingId::Named(meeting.clone()))
            && known.pin.epoch == epoch
        {
            known.is_confirmed = true;
        }
    }

    /// The pin of an adopted meeting is no more, or its backend is lost. Nobody has taken part in it:
    /// whoever else has adopted it will find the same. A confirmed one stays, for its own end.
    pub fn disown(&self, meeting: &MeetingName, epoch: u64) {
        let id = MeetingId::Named(meeting.clone());
        self.meetings.remove_if(&id, |_, known| !known.is_confirmed && known.pin.epoch == epoch);
    }

    /// A pipeline was found of a meeting that is confirmed at the pin of `epoch`. Whoever uses it does
    /// not say so, so it ends when its backend no longer has it, and the meeting lives until then.
    /// `charge` is kept if the meeting has none. Returns whether the pipeline counts now.
    #[must_use]
    pub fn adopt_pipeline(
        &self,
        (meeting, epoch): (&MeetingName, u64),
        pipeline: PipelineId,
        charge: Charge,
    ) -> bool {
        let id = MeetingId::Named(meeting.clone());
        let Some(mut known) = self.meetings.get_mut(&id) else { return false };
        let may_join = known.is_confirmed && !known.is_ending && !self.is_forbidden(pipeline);
        if known.pin.epoch != epoch || !may_join {
            return false;
        }
        match self.pipelines.entry(pipeline) {
            // A client has come before.
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                let is_of = held.epoch == epoch && held.meeting == id;
                held.is_found |= is_of;
                return is_of;
            }
            Entry::Vacant(vacant) => {
                let (idle, tally) = (Idle::default(), None);
                let meeting = id.clone();
                let found = Pipeline { meeting, epoch, holders: 0, idle, tally, is_found: true };
                vacant.insert(found);
            }
        }
        known.live += 1;
        known.pipelines += 1;
        known.idle.since = None;
        known.take(&id, charge, self);
        true
    }

    /// Whether `pipeline` is known and no client connection uses it, as far as is known.
    #[must_use]
    pub fn is_unused(&self, pipeline: PipelineId) -> Option<bool> {
        self.pipelines.get(&pipeline).map(|held| held.holders == 0)
    }
}
