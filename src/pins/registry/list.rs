//! All pipelines, for a client that asks the manager for them.

use super::Registry;
use crate::model::PipelineId;

impl Registry {
    /// Every pipeline, in the order of their ids; `None` if there are more than `max`.
    #[must_use]
    pub fn pipelines(&self, max: usize) -> Option<Vec<PipelineId>> {
        let mut all: Vec<_> = self.pipelines.iter().take(max + 1).map(|one| *one.key()).collect();
        all.sort_unstable();
        (all.len() <= max).then_some(all)
    }
}
