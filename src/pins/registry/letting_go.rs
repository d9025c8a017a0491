//! How a meeting is let go: its backend is to be free of it before it has run out.
//!
//! In three steps, so that no two of its people can be on different backends. First it is ending: nobody
//! joins it, and a pipeline that is just being made for it is taken back. Then its pipelines are released
//! on their backend, so that whoever has one finds it gone. When the backend has said so, the meeting is
//! forgotten here and its pin removed, and the next who names it gets a place anew.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{MutexGuard, PoisonError};

use dashmap::Entry;

use super::{Ended, Registry};
use crate::model::{MeetingId, PipelineId, Time};

/// Pipelines remembered that were let go. Beyond that the oldest is forgotten: whoever asks for it then
/// finds out from its backend, as long as that is there.
const LET_GO_MAX: usize = 65_536;

/// Pipelines that were let go, oldest first.
///
/// A client that was away meanwhile comes back with what it had, and nobody asks the backend whether
/// that still lives: without this it would pin the meeting where it was.
#[derive(Debug, Default)]
pub(super) struct LetGo {
    all: BTreeSet<PipelineId>,
    order: VecDeque<PipelineId>,
}

impl LetGo {
    fn add(&mut self, pipeline: PipelineId) {
        if !self.all.insert(pipeline) {
            return;
        }
        self.order.push_back(pipeline);
        if self.order.len() > LET_GO_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
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

    /// Nobody may use these pipelines again, wherever they are found.
    pub fn forbid(&self, pipelines: &[PipelineId]) {
        let mut let_go = self.lock_let_go();
        pipelines.iter().for_each(|pipeline| let_go.add(*pipeline));
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
        self.lock_let_go().all.contains(&pipeline)
    }

    fn lock_let_go(&self) -> MutexGuard<'_, LetGo> {
        // Nothing that can panic is done while it is held.
        self.let_go.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
