//! Who woke the task?
//!
//! A relay waits for many things: its sockets, the loss of a backend, the stop, timers, places, events
//! of managers. To ask each of them at every message would cost more than to route it, and some are
//! behind locks that all connections share. They get a bell's waker in place of the task's: whoever
//! has something to say rings, and is asked then, and only then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// Wakes a task, and is seen to have done so.
pub(super) struct Bell {
    rope: Arc<Rope>,
    /// Handed to those who may ring.
    waker: Waker,
    /// Whom the rope wakes.
    task: Option<Waker>,
}

#[derive(Default)]
struct Rope {
    is_rung: AtomicBool,
    /// Locked when it rings, and when the task gets another waker.
    task: Mutex<Option<Waker>>,
}

impl Bell {
    /// A bell that has rung, because nobody was asked yet.
    pub(super) fn new() -> Self {
        let rope = Arc::<Rope>::default();
        rope.is_rung.store(true, Ordering::Relaxed);
        Self { waker: Waker::from(rope.clone()), rope, task: None }
    }

    /// Whether it has rung since this was asked last, so that everybody is to be asked. It wakes the
    /// task of `cx` the next time.
    pub(super) fn has_rung(&mut self, cx: &Context<'_>) -> bool {
        let is_same = self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker()));
        if !is_same {
            self.task = Some(cx.waker().clone());
            self.rope.lock().clone_from(&self.task);
        }
        // Mostly it has not, and a load takes the cache line from nobody.
        let is_rung = &self.rope.is_rung;
        is_rung.load(Ordering::Acquire) && is_rung.swap(false, Ordering::AcqRel)
    }

    /// Whether it has rung since.
    pub(super) fn is_rung(&self) -> bool {
        self.rope.is_rung.load(Ordering::Acquire)
    }

    /// Has everybody asked the next time.
    pub(super) fn ring(&self) {
        self.rope.is_rung.store(true, Ordering::Release);
    }

    /// What is handed to those who may ring.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }
}

impl Rope {
    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, Ordering::Release);
        if let Some(task) = &*self.lock() {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn everybody_is_asked_once_for_each_ring_and_the_task_of_the_last_question_wakes() {
        let mut bell = Bell::new();
        for _ in 0..2 {
            let task = Arc::<Task>::default();
            let waker = Waker::from(task.clone());
            let cx = Context::from_waker(&waker);
            while bell.has_rung(&cx) {}
            for _ in 0..2 {
                assert!(!bell.has_rung(&cx));
                bell.waker().wake_by_ref();
                assert!(task.0.swap(false, Ordering::Relaxed));
                assert!(bell.has_rung(&cx));
            }
            bell.ring();
            assert!(!task.0.load(Ordering::Relaxed), "the task rang itself");
            assert!(bell.has_rung(&cx));
        }
    }
}
