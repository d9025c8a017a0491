//! Under which pin, and by whom, each pipeline of a named meeting was made.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

use crate::model::PipelineId;
use crate::pins::Origin;

/// The epoch of a pipeline's pin, and its maker's session.
pub(super) type Made = (u64, u128);

/// Pipelines with their origins.
#[derive(Debug)]
pub(super) struct Pipelines {
    made: DashMap<PipelineId, Made>,
    count: AtomicUsize,
    max: AtomicUsize,
}

impl Pipelines {
    /// Those of `found`, whatever `max` is now.
    pub(super) fn knowing(found: &[Origin], max: usize) -> Self {
        let made: DashMap<_, _> =
            found.iter().map(|origin| (origin.pipeline, made(origin))).collect();
        Self { count: AtomicUsize::new(made.len()), made, max: AtomicUsize::new(max) }
    }

    /// At most so many from now on; those that are noted stay.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Notes one; `false` if there is no room, or it was noted under that pin before: it keeps its maker.
    pub(super) fn insert(&self, origin: &Origin) -> bool {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.max.load(Ordering::Relaxed) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        match self.made.entry(origin.pipeline) {
            Entry::Vacant(vacant) => {
                vacant.insert(made(origin));
                true
            }
            Entry::Occupied(mut known) => {
                self.count.fetch_sub(1, Ordering::Relaxed);
                let is_other_pin = known.get().0 != origin.epoch;
                if is_other_pin {
                    known.insert(made(origin));
                }
                is_other_pin
            }
        }
    }

    /// Forgets one; says whether it was there.
    pub(super) fn remove(&self, pipeline: PipelineId) -> bool {
        let is_removed = self.made.remove(&pipeline).is_some();
        if is_removed {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        is_removed
    }

    /// Where it comes from.
    pub(super) fn find(&self, pipeline: PipelineId) -> Option<Made> {
        self.made.get(&pipeline).map(|made| *made)
    }

    /// All pipelines, in no order.
    pub(super) fn all(&self) -> Vec<PipelineId> {
        self.made.iter().map(|entry| *entry.key()).collect()
    }
}

fn made(origin: &Origin) -> Made {
    (origin.epoch, origin.session.as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionId;

    fn origin(epoch: u64, number: u128) -> Origin {
        let session = SessionId::from_random(7);
        Origin { epoch, pipeline: PipelineId::from_u128(number), session }
    }

    #[test]
    fn there_are_no_more_than_the_bound_and_those_that_are_there_may_change() {
        let pipelines = Pipelines::knowing(&[origin(1, 1)], 2);
        let id = PipelineId::from_u128;
        assert!(pipelines.insert(&origin(1, 2)));
        assert!(!pipelines.insert(&origin(1, 3)));
        assert!(pipelines.remove(id(1)) && !pipelines.remove(id(1)));
        assert!(pipelines.insert(&origin(2, 3)));
        assert_eq!([1, 2, 3].map(|n| pipelines.find(id(n))), [None, Some((1, 7)), Some((2, 7))]);
    }
}
