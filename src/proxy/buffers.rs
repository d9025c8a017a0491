//! Buffers that busy connections share, so that idle ones own none.

use std::cell::RefCell;

/// Capacity of a fresh buffer, in bytes: one read of a socket.
pub(super) const BUFFER_LEN: usize = 16 * 1024;

/// Buffers kept by each thread. More are freed.
const KEPT_MAX: usize = 64;

thread_local! {
    /// Per thread, so that no two cores meet over a buffer.
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer of at least [`BUFFER_LEN`] bytes.
pub(super) fn take() -> Vec<u8> {
    let kept = KEPT.with_borrow_mut(Vec::pop);
    kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_LEN))
}

/// Gives `buffer` back; one that has grown is freed.
pub(super) fn give(mut buffer: Vec<u8>) {
    buffer.clear();
    if (BUFFER_LEN..=2 * BUFFER_LEN).contains(&buffer.capacity()) {
        KEPT.with_borrow_mut(|kept| {
            if kept.len() < KEPT_MAX {
                kept.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_overgrown_ones_do_not() {
        let mut buffer = take();
        buffer.extend_from_slice(b"x");
        let place = buffer.as_ptr();
        give(buffer);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        give(Vec::with_capacity(10 * BUFFER_LEN));
        assert!(take().capacity() < 10 * BUFFER_LEN);
    }
}
