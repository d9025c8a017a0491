//! What an earlier process of this edge has left: which meeting a pipeline is of, until its backend
//! has confirmed that it lives, and which session made it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::store::{Origin, Pin};
use crate::model::{BackendId, Incarnation, MeetingName, PipelineId, SessionId};

/// No more than the store has kept.
#[derive(Debug, Default)]
pub struct Found(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// With the pin it was made under. Fewer with each backend that is heard from.
    pins: BTreeMap<PipelineId, (MeetingName, Pin)>,
    /// By session, for as long as this process lives: a client may come back at any time.
    made: BTreeMap<SessionId, Vec<(PipelineId, MeetingName)>>,
}

impl Inner {
    fn add(
        &mut self,
        (meeting, pin): (&MeetingName, &Pin),
        (pipeline, session): (PipelineId, SessionId),
    ) {
        self.pins.insert(pipeline, (meeting.clone(), pin.clone()));
        self.made.entry(session).or_default().push((pipeline, meeting.clone()));
    }
}

impl Found {
    /// What the process before has left: its pins, and where `pipelines` come from.
    pub fn fill(&self, pins: &[(MeetingName, Pin)], pipelines: &[Origin]) {
        let by_epoch = pins.iter().map(|(meeting, pin)| (pin.epoch, meeting, pin));
        let mut by_epoch: Vec<_> = by_epoch.collect();
        by_epoch.sort_unstable_by_key(|(epoch, ..)| *epoch);
        let mut inner = self.lock();
        for Origin { epoch, pipeline, session } in pipelines {
            let Ok(index) = by_epoch.binary_search_by_key(epoch, |(epoch, ..)| *epoch) else {
                continue;
            };
            let (_, meeting, pin) = by_epoch[index];
            inner.add((meeting, pin), (*pipeline, *session));
        }
    }

    /// One more of its pipelines.
    pub fn add(&self, pinned: (&MeetingName, &Pin), origin: Origin) {
        self.lock().add(pinned, (origin.pipeline, origin.session));
    }

    /// Whether every pipeline was confirmed, or has turned out to be no more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().pins.is_empty()
    }

    /// The meeting that `pipeline` was of. That it lives is for the caller to know.
    #[must_use]
    pub fn meeting_of(&self, pipeline: PipelineId) -> Option<MeetingName> {
        self.lock().pins.get(&pipeline).map(|(meeting, _)| meeting.clone())
    }

    /// The pipelines made under the pin of `epoch` that nobody has confirmed. Looks at all.
    #[must_use]
    pub fn pipelines_of(&self, epoch: u64) -> Vec<PipelineId> {
        let inner = self.lock();
        let of = inner.pins.iter().filter(|(_, (_, pin))| pin.epoch == epoch);
        of.map(|(pipeline, _)| *pipeline).collect()
    }

    /// Whether `pipeline` was made under a pin, and on the process of `backend` that it names.
    #[must_use]
    pub fn is_of(
        &self,
        pipeline: PipelineId,
        (backend, incarnation): (&BackendId, Incarnation),
    ) -> Option<bool> {
        let inner = self.lock();
        let (_, pin) = inner.pins.get(&pipeline)?;
        Some(pin.backend == *backend && pin.incarnation == incarnation)
    }

    /// That process is lost: forgets the meetings of what was made under pins on it. Returns those
    /// pipelines. Looks at all.
    #[must_use]
    pub fn take_lost(&self, backend: &BackendId, incarnation: Incarnation) -> Vec<PipelineId> {
        let mut lost = Vec::new();
        self.lock().pins.retain(|pipeline, (_, pin)| {
            let is_lost = pin.incarnation == incarnation && pin.backend == *backend;
            if is_lost {
                lost.push(*pipeline);
            }
            !is_lost
        });
        lost
    }

    /// The pipelines that `session` had made, with their meetings. Whether they live is not known.
    #[must_use]
    pub fn made_by(&self, session: SessionId) -> Vec<(PipelineId, MeetingName)> {
        self.lock().made.get(&session).cloned().unwrap_or_default()
    }

    /// `pipeline` is confirmed, or is no more.
    pub fn remove(&self, pipeline: PipelineId) {
        self.lock().pins.remove(&pipeline);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic is done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meeting that has moved on may have left pipelines behind, on another backend.
    #[test]
    fn the_pipelines_of_a_pin_are_not_those_of_one_before() {
        let found = Found::default();
        let meeting = MeetingName::parse("standup").unwrap();
        let (session, incarnation) = (SessionId::from_random(1), Incarnation(1));
        for (epoch, id) in [(1, "a"), (2, "b")] {
            let backend = BackendId::parse(id).unwrap();
            let pin = Pin { backend, incarnation, epoch };
            let pipeline = PipelineId::from_u128(epoch.into());
            found.add((&meeting, &pin), Origin { epoch, pipeline, session });
        }
        assert_eq!(found.pipelines_of(2), [PipelineId::from_u128(2)]);
    }
}
