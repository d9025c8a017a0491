//! Bytes on their way out.

use super::pair::give_buffer;

/// What is being written, and how far that has come.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    /// Goes on with `queued`, which is empty then, when nothing is left.
    pub(super) fn refill(&mut self, queued: &mut Vec<u8>) {
        if self.rest().is_empty() && !queued.is_empty() {
            self.bytes = std::mem::take(queued);
            self.written = 0;
        }
    }

    /// What is still to be written. It stays where it is in memory until [`Self::advance`].
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// `count` bytes are written.
    pub(super) fn advance(&mut self, count: usize) {
        self.written += count;
        if self.rest().is_empty() {
            give_buffer(std::mem::take(&mut self.bytes));
            self.written = 0;
        }
    }
}
