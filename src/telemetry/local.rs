//! Counts that one task keeps for itself between two flushes.

use std::time::Duration;

use super::histogram::LocalHistogram;
use super::labels::{Direction, Label};

/// What a session task counts per message without touching anything shared: 224 bytes.
///
/// Give it to [`Metrics::flush`](super::Metrics::flush) when the task is about to wait, and when it
/// ends; what was not flushed is lost.
#[derive(Clone, Debug, Default)]
pub struct LocalCounts {
    pub(super) frames: [u32; Direction::ALL.len()],
    pub(super) bytes: [u64; Direction::ALL.len()],
    /// Of two kinds of routing. The others are so rare that each
    /// is counted at once, and need no room in every connection.
    pub(super) table_hits: LocalHistogram,
    pub(super) local_answers: LocalHistogram,
}

impl LocalCounts {
    /// Counts one frame with `len` bytes of payload.
    pub fn on_frame(&mut self, direction: Direction, len: usize) {
        let frames = &mut self.frames[direction.index()];
        *frames = frames.saturating_add(1);
        let bytes = &mut self.bytes[direction.index()];
        *bytes = bytes.saturating_add(len as u64);
    }

    /// Counts messages that were routed by what was at hand, all in the same time.
    pub fn on_table_hits(&mut self, took: Duration, count: u32) {
        self.table_hits.observe(took, count);
    }

    /// Counts messages that the edge answered itself, all in the same time.
    pub fn on_local_answers(&mut self, took: Duration, count: u32) {
        self.local_answers.observe(took, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_pays_little_for_its_counts() {
        assert_eq!(size_of::<LocalCounts>(), 224);
    }
}
