//! How a meeting is let go: its backend is to be free of it before it has run out.
//!
//! In three steps, so that no two of its people can be on different backends. First it is ending: nobody
//! joins it, and a pipeline that is just being made for it is taken back. Then its pipelines are released
//! on their backend, so that whoever has one finds it gone. When the backend has said so, the meeting is
//! forgotten here and its pin removed, and the next who names it gets a place anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{MutexGuard, PoisonError};

use dashmap::Entry;

use super::{Ended, Registry};
use crate::model::{MeetingId, PipelineId, Time};

/// Pipelines remembered that nobody may use. Beyond that the oldest is forgotten: whoever asks for it
/// then finds out from its backend, as long as that is there.
const FORBIDDEN_MAX: usize = 65_536;

/// Pipelines that nobody may use, oldest first.
///
/// A client that was away meanwhile comes back with what it had, and nobody asks the backend whether
/// that still lives: without this it would pin the meeting where it was. And the backend may well have
/// it, if it was given up for lost and goes on as the same process, while the meeting is elsewhere.
#[derive(Debug, Default)]
pub(super) struct Forbidden {
    all: BTreeMap<PipelineId, Why>,
    order: VecDeque<PipelineId>,
    /// What was forgotten for others since somebody asked.
    forgotten: Vec<PipelineId>,
}

/// Why nobody may use a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its meeting was let go.
    LetGo,
    /// It is a remnant: its backend was given up for lost with it.
    Lost,
}

impl Forbidden {
    fn add(&mut self, pipeline: PipelineId, why: Why) {
        if self.all.insert(pipeline, why).is_some() {
            return;
        }
        self.order.push_back(pipeline);
        if self.order.len() > FORBIDDEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
            self.forgotten.push(oldest);
        }
    }
}

impl Registry {
    /// Begins to let the meeting `id` go, pinned at `epoch`: nobody can join it, use one of its pipelines
    /// anew, or make one. Returns its pipelines, which are to be released on their backend before
    /// [`Self::let_gone`]; `None` if it is not here at that epoch, or ends already.
    #[must_use]
    pub fn let_go(&self, id: &MeetingId, epoch: u64) -> Option<Vec<PipelineId>> {
        let mut known = self.meetings.get_mut(id)?;
        if known.is_ending || known.pin.epoch != epoch {
            return None;
        }
        known.is_ending = true;
        let of = |pipeline: &super::Pipeline| pipeline.meeting == *id && pipeline.epoch == epoch;
        // With the meeting locked, so that none is added meanwhile.
        let all = self.pipelines.iter().filter(|pipeline| of(pipeline));
        let mut pipelines: Vec<_> = all.map(|pipeline| *pipeline.key()).collect();
        pipelines.sort_unstable();
        self.forbid(&pipelines);
        Some(pipelines)
    }

    /// These pipelines are let go: nobody may use them again, wherever they are found.
    pub fn forbid(&self, pipelines: &[PipelineId]) {
        let mut forbidden = self.lock_forbidden();
        pipelines.iter().for_each(|pipeline| forbidden.add(*pipeline, Why::LetGo));
    }

    /// These pipelines are remnants: their backend was given up for lost with them. Nobody may use them,
    /// even if it goes on.
    pub fn forbid_remnants(&self, pipelines: &[PipelineId]) {
        let mut forbidden = self.lock_forbidden();
        pipelines.iter().for_each(|pipeline| forbidden.add(*pipeline, Why::Lost));
    }

    /// Whether nobody may use `pipeline`, because it was let go or is a remnant.
    #[must_use]
    pub fn is_forbidden(&self, pipeline: PipelineId) -> bool {
        self.lock_forbidden().all.contains_key(&pipeline)
    }

    /// Whether `pipeline` was lost with its backend.
    #[must_use]
    pub fn is_remnant(&self, pipeline: PipelineId) -> bool {
        self.lock_forbidden().all.get(&pipeline) == Some(&Why::Lost)
    }

    /// What is no longer known to be forbidden, because there was too much of it since this was last asked.
    #[must_use]
    pub fn take_forgotten(&self) -> Vec<PipelineId> {
        std::mem::take(&mut self.lock_forbidden().forgotten)
    }

    /// The pipelines of a meeting that is let go are gone from their backend: forgets it, but for its
    /// pin, which is to be removed as after a sweep. Nothing happens if it is lost by now.
    #[must_use]
    pub fn let_gone(&self, id: &MeetingId, epoch: u64, now: Time) -> Ended {
        let mut ended = Ended::default();
        let Entry::Occupied(mut meeting) = self.meetings.entry(id.clone()) else { return ended };
        let known = meeting.get_mut();
        if !known.is_ending || known.pin.epoch != epoch {
            return ended;
        }
        let weights = self.weights.get();
        self.pipelines.retain(|pipeline, held| {
            let is_of = held.meeting == *id && held.epoch == epoch;
            if is_of {
                known.forget(held, &weights, now);
                known.live -= 1;
                ended.pipelines.push(*pipeline);
            }
            !is_of
        });
        known.charge = None;
        match id {
            MeetingId::Named(name) => ended.pins.push((name.clone(), epoch)),
            MeetingId::Pipeline(_) => drop(meeting.remove()),
        }
        ended
    }

    /// Whether `pipeline` was let go.
    #[must_use]
    pub fn was_let_go(&self, pipeline: PipelineId) -> bool {
        self.lock_forbidden().all.get(&pipeline) == Some(&Why::LetGo)
    }

    fn lock_forbidden(&self) -> MutexGuard<'_, Forbidden> {
        // Nothing that can panic is done while it is held.
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
