//! Under which pin each pipeline of a named meeting was made.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::model::PipelineId;

/// Pipelines with the epochs of their pins; no two pins ever have the same, so an epoch names a
/// meeting.
#[derive(Debug)]
pub(super) struct Pipelines {
    epochs: DashMap<PipelineId, u64>,
    count: AtomicUsize,
    max: usize,
}

impl Pipelines {
    /// Those of `found`, whatever `max` is now.
    pub(super) fn knowing(found: &[(u64, PipelineId)], max: usize) -> Self {
        let epochs: DashMap<_, _> =
            found.iter().map(|(epoch, pipeline)| (*pipeline, *epoch)).collect();
        Self { count: AtomicUsize::new(epochs.len()), epochs, max }
    }

    /// Notes one; `false` if there is no room, or it was noted so before.
    pub(super) fn insert(&self, pipeline: PipelineId, epoch: u64) -> bool {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let before = self.epochs.insert(pipeline, epoch);
        if before.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        before != Some(epoch)
    }

    /// Forgets one; says whether it was there.
    pub(super) fn remove(&self, pipeline: PipelineId) -> bool {
        let is_removed = self.epochs.remove(&pipeline).is_some();
        if is_removed {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        is_removed
    }

    /// The epoch of its pin.
    pub(super) fn find(&self, pipeline: PipelineId) -> Option<u64> {
        self.epochs.get(&pipeline).map(|epoch| *epoch)
    }

    /// All pipelines, in no order.
    pub(super) fn all(&self) -> Vec<PipelineId> {
        self.epochs.iter().map(|entry| *entry.key()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_than_the_bound_and_those_that_are_there_may_change() {
        let pipelines = Pipelines::knowing(&[(1, PipelineId::from_u128(1))], 2);
        let id = PipelineId::from_u128;
        assert!(pipelines.insert(id(2), 1));
        assert!(!pipelines.insert(id(3), 1));
        assert!(pipelines.remove(id(1)) && !pipelines.remove(id(1)));
        assert!(pipelines.insert(id(3), 2));
        assert_eq!([1, 2, 3].map(|n| pipelines.find(id(n))), [None, Some(1), Some(2)]);
    }
}
