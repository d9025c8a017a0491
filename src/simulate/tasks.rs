//! Tasks of an edge that run side by side: each goes on when something has woken it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// The tasks of one process of an edge, in the order in which they began.
#[derive(Default)]
pub(super) struct TasksSim(Vec<TaskSim>);

struct TaskSim {
    work: BoxFuture<'static, ()>,
    alarm: Arc<Alarm>,
}

/// Whether somebody has woken a task since it last went on.
struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl TasksSim {
    /// Begins a task, which goes on when the others do.
    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let alarm = Arc::new(Alarm(AtomicBool::new(true)));
        self.0.push(TaskSim { work: work.boxed(), alarm });
    }

    /// How many have not ended.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Has everyone go on who was woken; says whether there was anyone.
    pub(super) fn poll(&mut self) -> bool {
        let mut is_busy = false;
        self.0.retain_mut(|task| {
            if !task.alarm.0.swap(false, Ordering::Relaxed) {
                return true;
            }
            is_busy = true;
            let waker = Waker::from(task.alarm.clone());
            task.work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        is_busy
    }
}
