//! What is counted with every message: apart for each thread, so that no two cores meet over a counter.

use std::array;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::histogram::Histogram;
use super::labels::{Direction, Label};
use super::local::LocalCounts;

/// Threads that have a shard of their own. Further ones share, which costs time and no count.
const SHARD_COUNT: usize = 64;

/// Counts of all threads, until they are collected.
#[derive(Debug)]
pub(super) struct Shards([Shard; SHARD_COUNT]);

/// Counts of one thread. Two cache lines are the least that some processors fetch.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    frames: [AtomicU64; Direction::ALL.len()],
    bytes: [AtomicU64; Direction::ALL.len()],
    table_hits: Histogram,
    local_answers: Histogram,
}

/// What the threads have counted since the last time.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) frames: [u64; Direction::ALL.len()],
    pub(super) bytes: [u64; Direction::ALL.len()],
}

impl Default for Shards {
    fn default() -> Self {
        Self(array::from_fn(|_| Shard::default()))
    }
}

impl Shards {
    /// Adds what a task counted for itself, and empties `local`.
    pub(super) fn flush(&self, local: &mut LocalCounts) {
        let shard = &self.0[this_thread()];
        for (totals, counts) in
            [(&shard.frames, local.frames.map(u64::from)), (&shard.bytes, local.bytes)]
        {
            for (total, count) in totals.iter().zip(counts).filter(|(_, count)| *count > 0) {
                total.fetch_add(count, Relaxed);
            }
        }
        shard.table_hits.flush(&mut local.table_hits);
        shard.local_answers.flush(&mut local.local_answers);
        (local.frames, local.bytes) = Default::default();
    }

    /// Takes out all that was counted; routing times go to `table_hits` and `local_answers`.
    pub(super) fn collect(&self, table_hits: &Histogram, local_answers: &Histogram) -> Collected {
        let mut collected = Collected::default();
        for shard in &self.0 {
            for (sum, count) in collected.frames.iter_mut().zip(&shard.frames) {
                *sum += count.swap(0, Relaxed);
            }
            for (sum, count) in collected.bytes.iter_mut().zip(&shard.bytes) {
                *sum += count.swap(0, Relaxed);
            }
            table_hits.take_from(&shard.table_hits);
            local_answers.take_from(&shard.local_answers);
        }
        collected
    }
}

/// The shard of this thread.
fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % SHARD_COUNT);
    }
    SHARD.get()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_many_threads_count_is_collected_once() {
        let shards = Shards::default();
        thread::scope(|scope| {
            for _ in 0..SHARD_COUNT + 2 {
                scope.spawn(|| {
                    let mut local = LocalCounts::default();
                    local.on_frame(Direction::ClientIn, 10);
                    shards.flush(&mut local);
                    shards.flush(&mut local);
                });
            }
        });
        let (hits, answers) = (Histogram::default(), Histogram::default());
        let expected = (SHARD_COUNT + 2) as u64;
        let collected = shards.collect(&hits, &answers);
        assert_eq!(collected.frames, [expected, 0, 0, 0]);
        assert_eq!(collected.bytes, [10 * expected, 0, 0, 0]);
        assert_eq!(shards.collect(&hits, &answers).frames, [0; 4]);
    }
}
