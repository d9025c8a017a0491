//! The thread that carries changes to the file.
//!
//! Group commit without a delay: while one transaction is written, the changes of the next one gather.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::notes::{Batch, Notes};
use super::{DiskStore, Progress, StateError, go_away};
use crate::model::{BackendId, MeetingName, PipelineId};
use crate::pins::Pin;
use crate::pins::disk::pipelines::Made;
use crate::policy::history::{Memory, Topic};

/// How long a change that nobody waits for may wait for others. With the length of a write it bounds
/// what a crash forgets.
const LAZY: Duration = Duration::from_secs(1);

/// How long a new pipeline may wait for others. With the length of two writes, one of which may be
/// under way, it bounds for how long a crash makes its meeting unknown.
const SOON: Duration = Duration::from_millis(10);

/// Pause before a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often, and after which pause, a file that was left to another process is opened again before
/// the store counts as away.
const REOPEN_MAX: usize = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(50);

/// One transaction.
pub(super) struct Changes<'a> {
    /// Meetings with their pins, in order; `None`: there is none now.
    pub(super) pins: &'a mut dyn Iterator<Item = (MeetingName, Option<Pin>)>,
    /// Pipelines with their origins, in order; `None`: it is of no meeting now.
    pub(super) pipelines: &'a mut dyn Iterator<Item = (PipelineId, Option<Made>)>,
    /// Those, and these losses, are all there are: every other in the file is none.
    pub(super) is_whole: bool,
    /// The highest epoch drawn.
    pub(super) last_epoch: u64,
    /// The losses of each backend, if they have changed.
    pub(super) losses: Vec<(BackendId, u32)>,
    /// What is remembered otherwise, in order; `None`: no longer.
    pub(super) history: &'a BTreeMap<Topic, Option<Memory>>,
}

/// What the writer does next.
enum Next {
    Write,
    Release,
    End,
}

/// Where changes go. The file, or in tests what stands for it.
pub(super) trait Journal: Send {
    /// Writes all of `changes` or nothing. When this returns they survive the process, and a power
    /// cut if the disk keeps its word.
    fn write(&mut self, changes: Changes<'_>) -> Result<(), JournalError>;

    /// Makes the journal usable again after a failure; says whether it begins empty.
    fn reopen(&mut self) -> Result<bool, JournalError>;

    /// Leaves the journal to another process, until it is opened again.
    fn release(&mut self);
}

/// Why a journal failed: what the library or the system says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct JournalError(pub(super) String);

/// Carries changes of a [`DiskStore`] to its file.
pub struct Writer {
    store: Arc<DiskStore>,
    journal: Box<dyn Journal>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(store: Arc<DiskStore>, journal: Box<dyn Journal>) -> Self {
        Self { store, journal }
    }

    /// Writes changes until the store is closed and nothing is left, or what is left cannot be
    /// written. Blocks.
    pub fn run(mut self) {
        loop {
            let is_done = match self.store.wait_for_changes() {
                Next::Write => !self.write_noted() && self.try_again(),
                Next::Release => self.release(),
                Next::End => true,
            };
            if is_done {
                break;
            }
        }
        // Nobody is to wait for what will not be written any more.
        self.store.progress.send_modify(|now| now.is_away = true);
    }

    /// Opens the file again after a pause; says whether the store is closed.
    fn try_again(&mut self) -> bool {
        let is_closed = self.store.pause(RETRY);
        if !is_closed {
            self.recover();
        }
        is_closed
    }

    /// Leaves the file to another process until the store is resumed; says whether it is closed first.
    /// What changed meanwhile is not known to the file, nor what the other process did: all is written.
    pub(super) fn release(&mut self) -> bool {
        self.journal.release();
        self.store.progress.send_modify(|now| now.is_released = true);
        let is_closed = self.store.wait_for_resume();
        if !is_closed {
            self.store.notes().start_over();
            // The other process may be about to end.
            for _ in 0..REOPEN_MAX {
                if self.recover() || self.store.pause(REOPEN_PAUSE) {
                    break;
                }
            }
            self.store.progress.send_modify(|now| now.is_released = false);
        }
        is_closed
    }

    /// Writes all that is noted; says whether that worked.
    pub(super) fn write_noted(&mut self) -> bool {
        let batch = self.store.notes().take();
        match self.write(&batch) {
            Ok(()) => {
                self.store.on_written(batch.last_epoch);
                true
            }
            Err(error) => {
                self.store.notes().put_back(batch);
                go_away(&self.store.progress, &error.0);
                false
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let DiskStore { memory, pipelines, .. } = &*self.store;
        let meetings = changed_or_all(batch.meetings.as_deref(), || memory.names());
        let made = changed_or_all(batch.pipelines.as_deref(), || pipelines.all());
        let mut made = made.iter().map(|pipeline| (*pipeline, pipelines.find(*pipeline)));
        let mut pins = meetings.iter().map(|meeting| (meeting.clone(), memory.find(meeting)));
        let losses = batch.losses.iter().flatten().map(|(backend, n)| (backend.clone(), *n));
        let changes = Changes {
            pins: &mut pins,
            pipelines: &mut made,
            is_whole: batch.meetings.is_none(),
            last_epoch: batch.last_epoch,
            losses: losses.collect(),
            history: &batch.history,
        };
        let journal = &mut self.journal;
        guarded(|| journal.write(changes))
    }

    /// Opens the file again; if it was set aside, all pins are to be written. Says whether it is open.
    pub(super) fn recover(&mut self) -> bool {
        let journal = &mut self.journal;
        match guarded(|| journal.reopen()) {
            Ok(true) => self.store.notes().start_over(),
            Ok(false) => {}
            // The next write fails as well, and tells.
            Err(error) => {
                tracing::debug!(%error, "the pin file cannot be opened again");
                return false;
            }
        }
        true
    }
}

/// What has changed; all there is, in order, if that is not known.
fn changed_or_all<T: Ord + Clone>(
    changed: Option<&[T]>,
    all: impl FnOnce() -> Vec<T>,
) -> Cow<'_, [T]> {
    changed.map_or_else(
        || {
            let mut all = all();
            all.sort_unstable();
            all.into()
        },
        Cow::Borrowed,
    )
}

/// Takes a panic of the library for a failure, so that a damaged file stops nobody.
fn guarded<T>(work: impl FnOnce() -> Result<T, JournalError>) -> Result<T, JournalError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(JournalError("the library for the file panicked".to_owned())))
}

impl From<redb::Error> for JournalError {
    fn from(error: redb::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<StateError> for JournalError {
    fn from(error: StateError) -> Self {
        Self(error.to_string())
    }
}

impl DiskStore {
    /// Waits until something is to be done. All that is noted is written before anything else.
    fn wait_for_changes(&self) -> Next {
        let notes = self.notes();
        let is_ending = |notes: &Notes| notes.is_closing || notes.is_releasing;
        let is_idle = |notes: &mut Notes| notes.is_empty() && !is_ending(notes);
        let notes = self.noted.wait_while(notes, is_idle).unwrap_or_else(PoisonError::into_inner);
        if notes.is_empty() {
            return if notes.is_closing { Next::End } else { Next::Release };
        }
        let can_wait = |notes: &mut Notes| !notes.is_urgent && !is_ending(notes);
        let can_wait_long = |notes: &mut Notes| can_wait(notes) && !notes.is_soon;
        let waited = self.noted.wait_timeout_while(notes, LAZY, can_wait_long);
        let notes = waited.unwrap_or_else(PoisonError::into_inner).0;
        if notes.is_soon {
            drop(self.noted.wait_timeout_while(notes, SOON, can_wait));
        }
        Next::Write
    }

    /// Waits until the file is ours again, or the store is closed; says whether it is.
    fn wait_for_resume(&self) -> bool {
        let is_released = |notes: &mut Notes| notes.is_releasing && !notes.is_closing;
        let waited = self.noted.wait_while(self.notes(), is_released);
        waited.unwrap_or_else(PoisonError::into_inner).is_closing
    }

    /// Waits for `pause`, or until the store is closed; says whether it is.
    fn pause(&self, pause: Duration) -> bool {
        let is_open = |notes: &mut Notes| !notes.is_closing;
        let waited = self.noted.wait_timeout_while(self.notes(), pause, is_open);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closing
    }

    fn on_written(&self, last_epoch: u64) {
        let mut was_away = false;
        self.progress.send_modify(|now| {
            was_away = now.is_away;
            *now = Progress { settled: last_epoch, ..Progress::default() };
        });
        if was_away {
            tracing::info!("pins are written again");
        }
    }
}
