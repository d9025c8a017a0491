//! Under which pin, and by whom, each pipeline of a named meeting was made.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

use crate::model::PipelineId;
use crate::pins::{NO_PIN, Origin};

/// The epoch of a pipeline's pin, and its maker's session.
pub(super) type Made = (u64, u128);

/// Pipelines with their origins. Remnants do not count for the bound: whoever notes them has one.
#[derive(Debug)]
pub(super) struct Pipelines {
    made: DashMap<PipelineId, Made>,
    count: AtomicUsize,
    max: AtomicUsize,
}

impl Pipelines {
    /// Those of `found`, whatever `max` is now, and `remnants`.
    pub(super) fn knowing(found: &[Origin], remnants: &[PipelineId], max: usize) -> Self {
        let remnants = remnants.iter().map(|pipeline| Origin::remnant(*pipeline));
        let all = found.iter().copied().chain(remnants);
        let made = all.map(|origin| (origin.pipeline, made(&origin))).collect();
        Self { count: AtomicUsize::new(found.len()), made, max: AtomicUsize::new(max) }
    }

    /// At most so many from now on; those that are noted stay.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Notes one; `false` if there is no room, or it was noted under that pin before: it keeps its
    /// maker. A remnant stays one.
    pub(super) fn insert(&self, origin: &Origin) -> bool {
        match self.made.entry(origin.pipeline) {
            Entry::Vacant(vacant) => {
                if !origin.is_remnant() && !self.takes_one_more() {
                    return false;
                }
                vacant.insert(made(origin));
                true
            }
            Entry::Occupied(mut known) => {
                let epoch = known.get().0;
                if epoch == origin.epoch || epoch == NO_PIN {
                    return false;
                }
                if origin.is_remnant() {
                    self.count.fetch_sub(1, Ordering::Relaxed);
                }
                known.insert(made(origin));
                true
            }
        }
    }

    /// Forgets one; says whether it was there.
    pub(super) fn remove(&self, pipeline: PipelineId) -> bool {
        let Some((_, (epoch, _))) = self.made.remove(&pipeline) else { return false };
        if epoch != NO_PIN {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }

    /// Takes room for one, if there is any.
    fn takes_one_more(&self) -> bool {
        let has_room =
            self.count.fetch_add(1, Ordering::Relaxed) < self.max.load(Ordering::Relaxed);
        if !has_room {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        has_room
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
        let pipelines = Pipelines::knowing(&[origin(1, 1)], &[], 2);
        let id = PipelineId::from_u128;
        assert!(pipelines.insert(&origin(1, 2)));
        assert!(!pipelines.insert(&origin(1, 3)));
        assert!(pipelines.remove(id(1)) && !pipelines.remove(id(1)));
        assert!(pipelines.insert(&origin(2, 3)));
        assert_eq!([1, 2, 3].map(|n| pipelines.find(id(n))), [None, Some((1, 7)), Some((2, 7))]);
    }

    #[test]
    fn a_remnant_takes_no_room_and_stays_one() {
        let id = PipelineId::from_u128;
        let pipelines = Pipelines::knowing(&[origin(1, 1)], &[id(5)], 1);
        let remnant = |number| Origin::remnant(id(number));
        assert!(!pipelines.insert(&remnant(5)) && !pipelines.insert(&origin(1, 5)));
        assert!(!pipelines.insert(&origin(1, 2)), "there is no room");
        assert!(pipelines.insert(&remnant(1)) && pipelines.insert(&origin(1, 2)));
        assert!(pipelines.insert(&remnant(3)) && !pipelines.insert(&origin(1, 4)));
        let epochs = [1, 2, 3, 5].map(|number| pipelines.find(id(number)).map(|made| made.0));
        assert_eq!(epochs, [Some(NO_PIN), Some(1), Some(NO_PIN), Some(NO_PIN)]);
        assert!(pipelines.remove(id(3)) && !pipelines.insert(&origin(1, 4)), "none was taken");
        assert!(pipelines.remove(id(2)) && pipelines.insert(&origin(1, 4)));
    }
}
