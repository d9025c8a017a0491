//! When the pipelines that were found are asked for.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{BackendId, PipelineId, Time};

/// How often a pipeline is asked for that nobody here uses.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// How often it is to be looked what is due.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Pipelines looked at in one tick; further ones wait. So the whole fleet gets no more questions a second.
const CHECKS_MAX: usize = 64;

/// A pipeline that was found, and when it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) pipeline: PipelineId,
    pub(super) backend: BackendId,
    due: Time,
}

impl Watched {
    pub(super) fn new(pipeline: PipelineId, backend: BackendId, now: Time) -> Self {
        Self { pipeline, backend, due: now + CHECK_INTERVAL }
    }

    /// The same, to be asked for later.
    pub(super) fn again(self, now: Time) -> Self {
        Self { due: now + CHECK_INTERVAL, ..self }
    }
}

/// All that are watched: no more than were found.
pub(super) struct Watch {
    /// Nearly in the order in which they are due: each is put at the end when it was asked for.
    watched: VecDeque<Watched>,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self { watched: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    pub(super) fn add(&mut self, watched: Vec<Watched>) {
        self.watched.extend(watched);
    }

    /// Takes what is due.
    pub(super) fn due(&mut self, now: Time) -> Vec<Watched> {
        let count = self.watched.iter().take(CHECKS_MAX).take_while(|one| one.due <= now).count();
        self.watched.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_due_once_an_interval_and_no_more_than_the_bound_at_once() {
        let backend = BackendId::parse("a").unwrap();
        let one =
            |n: usize| Watched::new(PipelineId::from_u128(n as u128), backend.clone(), Time::ZERO);
        let mut watch = Watch::new();
        watch.add((0..CHECKS_MAX + 1).map(one).collect());
        assert_eq!(watch.due(Time::ZERO), []);
        let now = Time::ZERO + CHECK_INTERVAL;
        let due = watch.due(now);
        assert_eq!(due.len(), CHECKS_MAX);
        watch.add(due.into_iter().map(|one| one.again(now)).collect());
        assert_eq!(watch.due(now).len(), 1);
        assert_eq!(watch.due(now), []);
        assert_eq!(watch.due(now + CHECK_INTERVAL).len(), CHECKS_MAX);
    }
}
