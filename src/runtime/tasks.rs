//! Tasks and threads with a name, a stop token and an owner.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The group that every task of a process belongs to. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    ended_unasked: Arc<Mutex<Option<&'static str>>>,
}

impl Tasks {
    /// An empty group that has not been told to stop.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `task`, which may end when it likes, and is one of very many: its log lines do not name
    /// it, because that would cost something each time it is woken.
    pub fn spawn_one_of_many(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Starts `task`, which may end when it likes.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task.instrument(tracing::error_span!("task", name)));
    }

    /// Starts `task`, without which the process is of no use: if it ends before it is told to stop,
    /// by a panic too, everything stops.
    pub fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_vital_until(name, self.stop.clone(), task);
    }

    /// The same for a task that may be told to stop alone, by `stop`, a child of the group's token.
    pub fn spawn_vital_until(
        &self,
        name: &'static str,
        stop: CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let guard = Vital { name, stop, tasks: self.clone() };
        self.spawn(name, async move {
            let _guard = guard;
            task.await;
        });
    }

    /// Starts `work` on a thread of its own, because it blocks: vital like [`Self::spawn_vital`], and
    /// awaited like a task. It hears of the stop by other means than a token.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn spawn_thread(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        // Dropped in this order: whoever awaited the thread knows then how it ended.
        let stop = self.stop.clone();
        let guard = (Vital { name, stop, tasks: self.clone() }, self.tracker.token());
        let span = tracing::error_span!("task", name);
        let work = move || {
            let _guard = guard;
            span.in_scope(work);
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
    }

    /// The token that tells tasks to stop.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Tells all tasks to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until `limit` for all tasks to end; says whether they have.
    pub async fn join(&self, limit: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }

    /// The vital task that ended unasked, if one did.
    #[must_use]
    pub fn ended_unasked(&self) -> Option<&'static str> {
        *self.ended_unasked.lock().expect("nothing panics while holding it")
    }
}

/// Stops everything when it is dropped before the stop.
struct Vital {
    name: &'static str,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Drop for Vital {
    fn drop(&mut self) {
        if self.stop.is_cancelled() {
            return;
        }
        tracing::error!(task = self.name, "a task ended unasked; stopping");
        *self.tasks.ended_unasked.lock().expect("nothing panics while holding it") =
            Some(self.name);
        self.tasks.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_vital_task_that_ends_unasked_stops_the_others() {
        let tasks = Tasks::new();
        let stop = tasks.stop_token();
        tasks.spawn("other", async move { stop.cancelled().await });
        tasks.spawn_vital("vital", async {});
        assert!(tasks.join(Duration::from_secs(20)).await);
        assert_eq!(tasks.ended_unasked(), Some("vital"));
    }

    #[tokio::test]
    async fn tasks_that_end_when_told_are_no_fault() {
        let tasks = Tasks::new();
        let stop = tasks.stop_token();
        tasks.spawn_vital("vital", async move { stop.cancelled().await });
        tasks.stop();
        assert!(tasks.join(Duration::from_secs(20)).await);
        assert_eq!(tasks.ended_unasked(), None);
    }

    #[tokio::test]
    async fn a_vital_task_may_be_told_to_stop_alone() {
        let tasks = Tasks::new();
        let stop = tasks.stop_token().child_token();
        let told = stop.clone();
        tasks.spawn_vital_until("one", stop.clone(), async move { told.cancelled().await });
        stop.cancel();
        assert!(tasks.join(Duration::from_secs(20)).await);
        assert_eq!(tasks.ended_unasked(), None);
    }

    #[tokio::test]
    async fn a_thread_is_awaited_and_its_end_unasked_is_a_fault() {
        let tasks = Tasks::new();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let work = move || assert!(released.recv().is_err(), "nobody sends");
        tasks.spawn_thread("thread", work).unwrap();
        tasks.tracker.close();
        assert_eq!(tasks.tracker.len(), 1);
        drop(release);
        assert!(tasks.join(Duration::from_secs(20)).await);
        assert_eq!(tasks.ended_unasked(), Some("thread"));
    }
}
