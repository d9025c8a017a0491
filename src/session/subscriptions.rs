//! The subscriptions of a session: how many there are, so that they can be bounded.
//!
//! A server keeps each until it is ended or its object is gone, also those that bring no further
//! event. They are known by what the server answered; an `unsubscribe` with made-up ids, which
//! succeeds as well, ends none here either. Not here: the manager's, and what events they bring.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;

use crate::model::PipelineId;

/// All of them, those to one object and to what is inside it side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObjectSubscriptions(BTreeSet<(Target, u64)>);

/// What is subscribed to: an object in a pipeline. Each step of its id is a hash, as is the id of a
/// subscription, because the texts are long and there may be many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    pipeline: PipelineId,
    /// What stands in the pipeline: an element or a hub; 0 for the pipeline itself.
    child: u64,
    /// What stands in that; 0 for nothing.
    below: u64,
}

impl Target {
    /// `None` for what is in no pipeline.
    fn of(object: &str) -> Option<Self> {
        let pipeline = PipelineId::parse(object)?;
        let mut steps = object.splitn(3, '/').skip(1).map(hash);
        let (child, below) = (steps.next().unwrap_or(0), steps.next().unwrap_or(0));
        Some(Self { pipeline, child, below })
    }

    /// Subscriptions to it and to what is inside.
    fn range(self) -> RangeInclusive<(Self, u64)> {
        let last_of = |step: u64| if step == 0 { u64::MAX } else { step };
        let last = Self { child: last_of(self.child), below: last_of(self.below), ..self };
        (self, 0)..=(last, u64::MAX)
    }
}

impl ObjectSubscriptions {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The server has made the subscription `id` to `object`.
    pub(super) fn on_made(&mut self, id: &str, object: &str) {
        if let Some(target) = Target::of(object) {
            self.0.insert((target, hash(id)));
        }
    }

    /// The client ends the subscription `id` to `object`.
    pub(super) fn on_ended(&mut self, id: &str, object: &str) {
        if let Some(target) = Target::of(object) {
            self.0.remove(&(target, hash(id)));
        }
    }

    /// The client releases `object`, and with it all that is inside.
    pub(super) fn on_released(&mut self, object: &str) {
        let Some(released) = Target::of(object) else { return };
        while let Some(inside) = self.0.range(released.range()).next().copied() {
            self.0.remove(&inside);
        }
    }

    /// Forgets what was subscribed to in pipelines that are not used any more.
    pub(super) fn forget_unused(&mut self, is_used: impl Fn(PipelineId) -> bool) {
        self.0.retain(|(target, _)| is_used(target.pipeline));
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = "aaaaaaaa-0000-4000-8000-000000000001_kurento.MediaPipeline";
    const OTHER: &str = "bbbbbbbb-0000-4000-8000-000000000002_kurento.MediaPipeline";

    fn subscribed(objects: &[&str]) -> ObjectSubscriptions {
        let mut subscriptions = ObjectSubscriptions::default();
        for (number, object) in objects.iter().enumerate() {
            subscriptions.on_made(&format!("s{number}"), object);
        }
        subscriptions
    }

    #[test]
    fn a_subscription_ends_by_its_id_and_object() {
        let mut subscriptions = subscribed(&[PIPELINE, PIPELINE]);
        for (id, object) in [("s0", OTHER), ("s9", PIPELINE), ("s0", "nosuch")] {
            subscriptions.on_ended(id, object);
            assert_eq!(subscriptions.len(), 2, "{id} of {object} is none");
        }
        subscriptions.on_ended("s1", PIPELINE);
        assert_eq!(subscriptions.len(), 1);
    }

    #[test]
    fn with_an_object_go_the_subscriptions_to_it_and_to_what_is_inside() {
        let (hub, port) = (format!("{PIPELINE}/hub"), format!("{PIPELINE}/hub/port"));
        let all = [PIPELINE, &hub, &port, &format!("{PIPELINE}/hub2"), OTHER];
        for (released, left) in [(port.as_str(), 4), (&hub, 3), (PIPELINE, 1), (OTHER, 4)] {
            let mut subscriptions = subscribed(&all);
            subscriptions.on_released(released);
            assert_eq!(subscriptions.len(), left, "{released}");
        }
        let mut subscriptions = subscribed(&all);
        subscriptions.forget_unused(|pipeline| Some(pipeline) == PipelineId::parse(OTHER));
        assert_eq!(subscriptions.len(), 1);
    }
}
