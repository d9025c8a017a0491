//! Buffers that the kernel picks from when it has received something.

use std::cell::UnsafeCell;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::pair::BUFFER_LEN;

/// How many; a power of two. Few, so that they stay in the processor's cache: a receive that finds none
/// ends and begins again, which is seldom (256 took 3 % more).
const COUNT: u16 = 64;

/// The group that receives name.
pub(super) const GROUP: u16 = 0;

/// The ring of free buffers, which the kernel maps by the page.
#[repr(C, align(4096))]
struct Entries([BufRingEntry; COUNT as usize]);

/// Buffers, each of [`BUFFER_LEN`] bytes, free or with what was received.
pub(super) struct Buffers {
    entries: Box<UnsafeCell<Entries>>,
    /// Written to by the kernel.
    bytes: Box<[UnsafeCell<u8>]>,
    tail: u16,
}

impl Buffers {
    /// Registers fresh buffers with `ring`.
    ///
    /// # Safety
    /// They must outlive all receives of `ring` that name [`GROUP`].
    ///
    /// # Errors
    /// The kernel has no rings of buffers: older than 5.19.
    #[expect(unsafe_code, reason = "the kernel is told addresses")]
    pub(super) unsafe fn register(ring: &IoUring) -> io::Result<Self> {
        // SAFETY: an entry is three integers and a reserved one, for all of which zero is a value.
        let entries = unsafe { Box::<UnsafeCell<Entries>>::new_zeroed().assume_init() };
        let bytes = (0..usize::from(COUNT) * BUFFER_LEN).map(|_| UnsafeCell::new(0)).collect();
        // SAFETY: the entries are there as long as the caller sees to it.
        unsafe {
            let addr = entries.get() as u64;
            ring.submitter().register_buf_ring_with_flags(addr, COUNT, GROUP, 0)?;
        }
        let mut buffers = Self { entries, bytes, tail: 0 };
        (0..COUNT).for_each(|id| buffers.give_back(id));
        Ok(buffers)
    }

    /// The first `len` bytes of buffer `id`.
    #[expect(unsafe_code, reason = "the kernel wrote them")]
    pub(super) fn filled(&self, id: u16, len: usize) -> &[u8] {
        let start = usize::from(id) * BUFFER_LEN;
        let cells = &self.bytes[start..start + len.min(BUFFER_LEN)];
        // SAFETY: the kernel has said that it filled this buffer, and does not touch it before
        // `give_back`, which needs this borrow to have ended.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), cells.len()) }
    }

    /// Lets the kernel have buffer `id`.
    #[expect(unsafe_code, reason = "the ring is shared with the kernel")]
    pub(super) fn give_back(&mut self, id: u16) {
        let addr = self.bytes[usize::from(id) * BUFFER_LEN].get() as u64;
        let base = self.entries.get().cast::<BufRingEntry>();
        // SAFETY: the index is below COUNT. The kernel reads no entry at or behind the tail, and the
        // store of the tail makes what was written before it seen. The tail lies in the first entry's
        // reserved bytes, is aligned like the page, and is accessed as an atomic only.
        unsafe {
            let entry = &mut *base.add(usize::from(self.tail % COUNT));
            entry.set_addr(addr);
            entry.set_len(u32::try_from(BUFFER_LEN).expect("some kilobytes"));
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(base).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}
