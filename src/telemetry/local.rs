//! Counts that one task keeps for itself between two flushes.

use std::time::Duration;

use super::histogram::LocalHistogram;
use super::labels::{Direction, Label, RoutingKind};

/// What a session task counts per message without touching anything shared: 312 bytes.
///
/// Give it to [`Metrics::flush`](super::Metrics::flush) when the task is about to wait, and when it
/// ends; what was not flushed is lost.
#[derive(Clone, Debug, Default)]
pub struct LocalCounts {
    pub(super) frames: [u32; Direction::ALL.len()],
    pub(super) bytes: [u64; Direction::ALL.len()],
    pub(super) routing: [LocalHistogram; RoutingKind::ALL.len()],
}

impl LocalCounts {
    /// Counts one frame with `len` bytes of payload.
    pub fn on_frame(&mut self, direction: Direction, len: usize) {
        let frames = &mut self.frames[direction.index()];
        *frames = frames.saturating_add(1);
        let bytes = &mut self.bytes[direction.index()];
        *bytes = bytes.saturating_add(len as u64);
    }

    /// Counts the time from a client's message read to its route decided.
    pub fn on_routed(&mut self, kind: RoutingKind, took: Duration) {
        self.routing[kind.index()].observe(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_pays_little_for_its_counts() {
        assert_eq!(size_of::<LocalCounts>(), 312);
    }
}
