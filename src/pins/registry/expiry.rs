//! How what nobody uses ends.

use std::mem::replace;
use std::sync::Arc;

use dashmap::Entry;

use super::{Ended, Meeting, Registry};
use crate::model::{Legs, MeetingId, MeetingName, PipelineId, RoughPlace, Time};
use crate::pins::Pin;
use crate::policy::history;

/// Since when something is not in use, and whether that is noted in `expiries`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Idle {
    pub(super) since: Option<Time>,
    pub(super) is_queued: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Expiry {
    Pipeline(PipelineId),
    Meeting(MeetingId),
}

impl Registry {
    /// Gives back what has gone of promises, and ends what nobody has used for the grace. Each pin to remove must be reported by
    /// [`Self::unpinned`] when that is done, and until then nobody can join its meeting.
    pub fn sweep(&self, now: Time) -> Ended {
        self.wane(now);
        let mut ended = Ended::default();
        while let Some(expiry) = self.next_due(now) {
            match expiry {
                Expiry::Pipeline(pipeline) => self.expire_pipeline(pipeline, now, &mut ended),
                Expiry::Meeting(id) => self.expire_meeting(&id, now, &mut ended),
            }
        }
        ended
    }

    /// The pin of a swept meeting is removed.
    pub fn unpinned(&self, meeting: &MeetingName, epoch: u64) {
        let id = MeetingId::Named(meeting.clone());
        self.meetings.remove_if(&id, |_, known| known.is_ending && known.pin.epoch == epoch);
    }

    /// A pin was found of a meeting that nobody here takes part in: nobody can join it until
    /// [`Self::unpinned`]. Returns whether that is so.
    #[must_use]
    pub fn end_stray(&self, meeting: &MeetingName, pin: &Pin) -> bool {
        match self.meetings.entry(MeetingId::Named(meeting.clone())) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                let load = Arc::default();
                let stray = Meeting { is_ending: true, ..Meeting::new(pin.clone(), load) };
                vacant.insert(stray);
                true
            }
        }
    }

    /// Ends a meeting, pinned at `epoch`, of which nothing lives and nothing is being made: nobody can
    /// join it until [`Self::unpinned`]. Returns whether that is so.
    #[must_use]
    pub fn end_idle(&self, meeting: &MeetingName, epoch: u64) -> bool {
        let id = MeetingId::Named(meeting.clone());
        let Some(mut known) = self.meetings.get_mut(&id) else { return false };
        let is_idle = known.live == 0 && !known.is_ending && known.pin.epoch == epoch;
        known.is_ending |= is_idle;
        is_idle
    }

    pub(super) fn idle(&self, idle: &mut Idle, expiry: Expiry, now: Time) {
        idle.since = Some(now);
        if !replace(&mut idle.is_queued, true) {
            self.queue(now, expiry);
        }
    }

    fn queue(&self, since: Time, expiry: Expiry) {
        let mut expiries = self.expiries.lock().expect("nothing panics while holding it");
        // Looked at with the lock held, so that a new grace finds all that was queued by the one before.
        expiries.push_back((since + *self.grace.get(), expiry));
    }

    fn next_due(&self, now: Time) -> Option<Expiry> {
        let mut expiries = self.expiries.lock().expect("nothing panics while holding it");
        let is_due = expiries.front().is_some_and(|(due, _)| *due <= now);
        if is_due { expiries.pop_front().map(|(_, expiry)| expiry) } else { None }
    }

    /// Whether the grace is over. If it began anew meanwhile, it is queued again.
    fn is_over(&self, idle: &mut Idle, expiry: Expiry, now: Time) -> bool {
        idle.is_queued = false;
        match idle.since {
            None => false,
            Some(since) if since + *self.grace.get() <= now => true,
            Some(since) => {
                idle.is_queued = true;
                self.queue(since, expiry);
                false
            }
        }
    }

    fn expire_pipeline(&self, pipeline: PipelineId, now: Time, ended: &mut Ended) {
        let Some(id) = self.pipelines.get(&pipeline).map(|held| held.meeting.clone()) else {
            return;
        };
        let Entry::Occupied(mut meeting) = self.meetings.entry(id.clone()) else { return };
        let Entry::Occupied(mut held) = self.pipelines.entry(pipeline) else { return };
        if held.get().epoch != meeting.get().pin.epoch {
            return;
        }
        if !self.is_over(&mut held.get_mut().idle, Expiry::Pipeline(pipeline), now) {
            return;
        }
        let since = held.get().idle.since;
        ended.pipelines.push(pipeline);
        let held = held.remove();
        let known = meeting.get_mut();
        known.forget(&held, &self.weights.get(), now);
        known.live -= 1;
        if known.live > 0 {
            return;
        }
        match id {
            MeetingId::Pipeline(_) => drop(meeting.remove()),
            MeetingId::Named(name) => {
                known.end((name, since), ended);
            }
        }
    }

    fn expire_meeting(&self, id: &MeetingId, now: Time, ended: &mut Ended) {
        let Some(mut meeting) = self.meetings.get_mut(id) else { return };
        let is_over = self.is_over(&mut meeting.idle, Expiry::Meeting(id.clone()), now);
        if let (true, 0, MeetingId::Named(name)) = (is_over, meeting.live, id) {
            let since = meeting.idle.since;
            meeting.end((name.clone(), since), ended);
        }
    }
}

impl Meeting {
    /// It is over: its pin is to be removed. Nobody has used it since that time.
    fn end(&mut self, (name, since): (MeetingName, Option<Time>), ended: &mut Ended) {
        self.is_ending = true;
        ended.pins.push((name.clone(), self.pin.epoch));
        let peak = self.peak();
        if peak > Legs(0) {
            let people = self.place.map_or([0.0; 3], RoughPlace::unit_vector);
            let lasted = since.zip(self.begun).map(|(since, begun)| since.since(begun));
            ended.over.push((name, history::Ended { peak, people, lasted }));
        }
    }
}
