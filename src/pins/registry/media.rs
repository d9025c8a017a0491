//! What pipelines consist of, by the calls that backends have answered.

use super::Registry;
use crate::model::{PipelineId, Time};
use crate::policy::tally::Change;

impl Registry {
    /// This has happened to the elements of `pipeline` at `now`: its meeting is charged what it costs now.
    /// Nothing happens if the pipeline is not known.
    pub fn change(&self, pipeline: PipelineId, change: &Change, now: Time) {
        let Some((mut meeting, mut held)) = self.lock(pipeline) else { return };
        let tally = held.tally.get_or_insert_default();
        let before = *tally.counts();
        tally.apply(change);
        // A meeting with a pipeline has one.
        if let Some(charge) = &mut meeting.charge {
            charge.measure((&before, tally.counts()), &self.weights.get(), now);
        }
    }
}
