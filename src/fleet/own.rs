//! Keeps the pipelines of deep probes out of what clients are told of their servers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use crate::model::PipelineId;
use crate::protocol::event::ObjectEvent;

/// Pipelines of one backend that are remembered: their last events come within moments.
const PIPELINES_MAX: usize = 8;

/// Events held while a deep probe waits for its pipeline. Then they go on, and so perhaps does that of
/// the pipeline.
const HELD_MAX: usize = 256;

/// The pipelines of this edge's deep probes, by number of the backend.
///
/// The event that a pipeline was made may come before the answer that tells its id. So from the
/// question to the answer the events of that backend wait, all of them, for their order tells clients
/// what belongs to what.
#[derive(Debug, Default)]
pub(super) struct OwnPipelines(Mutex<BTreeMap<usize, Probed>>);

#[derive(Debug, Default)]
struct Probed {
    /// Events that wait, while a probe does.
    held: Option<Vec<ObjectEvent>>,
    /// The newest last.
    pipelines: VecDeque<PipelineId>,
}

impl OwnPipelines {
    /// A pipeline is about to be made on that backend: from now on its events wait.
    pub(super) fn begin(&self, backend: usize) {
        self.lock().entry(backend).or_default().held = Some(Vec::new());
    }

    /// It is this one, or unknown as yet: nothing waits any longer. Returns the events that clients are
    /// told.
    pub(super) fn end(&self, backend: usize, made: Option<PipelineId>) -> Vec<ObjectEvent> {
        let mut all = self.lock();
        let probed = all.entry(backend).or_default();
        if let Some(pipeline) = made {
            if probed.pipelines.len() == PIPELINES_MAX {
                probed.pipelines.pop_front();
            }
            probed.pipelines.push_back(pipeline);
        }
        let mut events = probed.held.take().unwrap_or_default();
        events.retain(|event| !probed.is_own(event));
        events
    }

    /// Takes in an event of that backend; returns those that clients are told now.
    pub(super) fn pass(&self, backend: usize, event: ObjectEvent) -> Vec<ObjectEvent> {
        let mut all = self.lock();
        let Some(probed) = all.get_mut(&backend) else { return vec![event] };
        if probed.is_own(&event) {
            return Vec::new();
        }
        let Some(held) = &mut probed.held else { return vec![event] };
        held.push(event);
        if held.len() < HELD_MAX { Vec::new() } else { probed.held.take().unwrap_or_default() }
    }

    /// That backend has gone. Returns the events that clients are still told.
    pub(super) fn forget(&self, backend: usize) -> Vec<ObjectEvent> {
        self.lock().remove(&backend).and_then(|probed| probed.held).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Probed>> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

impl Probed {
    fn is_own(&self, event: &ObjectEvent) -> bool {
        event.pipeline.is_some_and(|pipeline| self.pipelines.contains(&pipeline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::Change;

    fn event(number: u8) -> ObjectEvent {
        let object = pipeline(number).to_string();
        ObjectEvent::new(Change::Created, object, "1".to_owned())
    }

    fn pipeline(number: u8) -> PipelineId {
        let text = format!("aaaaaaaa-0000-4000-8000-0000000000{number:02}_kurento.MediaPipeline");
        PipelineId::parse(&text).unwrap()
    }

    #[test]
    fn the_pipeline_of_a_probe_is_told_to_nobody_and_all_else_in_order() {
        let own = OwnPipelines::default();
        assert_eq!(own.pass(0, event(1)), [event(1)]);
        own.begin(0);
        for number in [2, 3, 4] {
            assert!(own.pass(0, event(number)).is_empty());
        }
        assert_eq!(own.pass(1, event(3)), [event(3)], "of another backend");
        assert_eq!(own.end(0, Some(pipeline(3))), [event(2), event(4)]);
        assert!(own.pass(0, event(3)).is_empty(), "its end, too");
        assert_eq!(own.pass(0, event(5)), [event(5)]);
    }

    #[test]
    fn a_probe_that_is_not_answered_holds_nothing_back_for_long() {
        let own = OwnPipelines::default();
        own.begin(0);
        own.pass(0, event(1));
        assert_eq!(own.end(0, None), [event(1)]);
        assert!(own.end(0, Some(pipeline(2))).is_empty(), "it comes late");
        assert!(own.pass(0, event(2)).is_empty());
        own.begin(0);
        let told: usize = (0..HELD_MAX).map(|_| own.pass(0, event(3)).len()).sum();
        assert_eq!(told, HELD_MAX);
        assert_eq!(own.pass(0, event(4)), [event(4)]);
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let own = OwnPipelines::default();
        for number in 0..50 {
            own.end(0, Some(pipeline(number)));
        }
        assert_eq!(own.lock()[&0].pipelines.len(), PIPELINES_MAX);
    }
}
