//! A pin store on the local disk: for one edge, and for whoever runs after it.
//!
//! Memory is the truth for look-ups; the file follows it. A change notes the *name* of its meeting,
//! and the [`Writer`], on a thread of its own, writes what memory says of the noted meetings by then,
//! all in one transaction. So the order of notes does not matter, a meeting that changed twice is
//! written once, and whatever a failed write has left undone is made good by the next.
//!
//! Epochs are drawn in the step that notes the claim. So once a transaction has taken all notes,
//! every pin up to the last epoch drawn by then is in the file, and one number tells what is settled.
//!
//! Beside the pins it is noted under which of them each pipeline was made, so that the next process
//! knows the meeting of one that still lives, and which pipelines were lost with their backends, so
//! that nobody uses one if its backend was not. Nobody waits for that: it is written with the next
//! claim, or after 10 ms. So it is with what meetings that are over were like, after a second; if the
//! file is set aside while the process runs, that begins anew.

mod dir;
mod file;
mod notes;
mod pipelines;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::watch;
use tokio::time::timeout;

use super::memory::MemoryStore;
use super::store::{Claim, Leavable, Origin, Pin, PinError, PinStore};
use crate::model::{BackendId, Incarnation, MeetingName, PipelineId};
use crate::policy::history::{Memory, Topic};
use crate::settings::WhenAway;
pub use dir::StateDir;
use file::{Contents, PinFile};
use notes::Notes;
use pipelines::Pipelines;
pub use writer::Writer;

/// Name of the file in the state directory.
const FILE: &str = "pins.redb";

/// How long a write may take before the store counts as away. A disk that takes longer is stuck.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// Why there is no store in a state directory. Each is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has it.
    #[error(
        "the state directory {} is in use by another process; give each edge a pins.state_dir of its own",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something in it cannot be used as it should.
    #[error("cannot {what} {}: {reason}; see pins.state_dir", .path.display())]
    Unusable {
        /// What was tried, a verb.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system or the library says.
        reason: String,
    },
}

/// Pins in memory and in a file; at most `pins_max` are made. Of as many pipelines it is noted under
/// which pin they were made; the meeting of a further one is forgotten with the process.
#[derive(Debug)]
pub struct DiskStore {
    memory: MemoryStore,
    pipelines: Pipelines,
    /// Whether a new meeting is served while nothing can be written ([`WhenAway::Serve`]).
    serves_away: AtomicBool,
    notes: Mutex<Notes>,
    /// Wakes the writer.
    noted: Condvar,
    progress: watch::Sender<Progress>,
}

/// How far the file has followed.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Every pin up to this epoch is in the file, or removed since.
    settled: u64,
    /// The last write failed, or takes too long.
    is_away: bool,
    /// Another process may have the file.
    is_released: bool,
}

/// What was found in the state directory, ready to go on with.
#[derive(Debug)]
pub struct Opened {
    /// The store, which knows those pins already.
    pub store: Arc<DiskStore>,
    /// Every pin there is. None has been judged against the fleet.
    pub pins: Vec<(MeetingName, Pin)>,
    /// The pipelines that were made under these pins, in the order of their pins' epochs. Whether
    /// they live is not known.
    pub pipelines: Vec<Origin>,
    /// Pipelines on processes that were given up for lost. No longer remembered than
    /// [`forget_pipeline`](PinStore::forget_pipeline) says.
    pub remnants: Vec<PipelineId>,
    /// How often processes of each backend were given up for lost.
    pub losses: BTreeMap<BackendId, u32>,
    /// What was remembered of meetings that are over.
    pub history: Vec<(Topic, Memory)>,
    /// To be run on a thread of its own, until [`DiskStore::close`].
    pub writer: Writer,
}

impl DiskStore {
    /// Opens the store in `dir`. A file there that is damaged, or that this version cannot read, is
    /// set aside under another name, told in the log, and the store begins empty.
    ///
    /// # Errors
    /// The file is in use by another process, or the system refuses to read, rename or make it.
    pub fn open(dir: StateDir, pins_max: usize, when_away: WhenAway) -> Result<Opened, StateError> {
        let (file, contents) = PinFile::open(dir)?;
        let store = Self::knowing(&contents, pins_max, when_away);
        let writer = Writer::new(store.clone(), Box::new(file));
        let Contents { pins, pipelines, remnants, losses, history, .. } = contents;
        Ok(Opened { store, pins, pipelines, remnants, losses, history, writer })
    }

    /// A store of what a file holds.
    fn knowing(contents: &Contents, pins_max: usize, when_away: WhenAway) -> Arc<Self> {
        let memory = MemoryStore::new(pins_max);
        for (meeting, pin) in &contents.pins {
            memory.restore(meeting.clone(), pin);
        }
        let notes = Notes::after(contents.last_epoch, contents.losses.clone());
        let progress = Progress { settled: contents.last_epoch, ..Progress::default() };
        Arc::new(Self {
            memory,
            pipelines: Pipelines::knowing(&contents.pipelines, &contents.remnants, pins_max),
            serves_away: AtomicBool::new(when_away == WhenAway::Serve),
            notes: Mutex::new(notes),
            noted: Condvar::new(),
            progress: watch::Sender::new(progress),
        })
    }

    /// Tells the writer to write what is noted and end.
    pub fn close(&self) {
        self.notes().is_closing = true;
        self.noted.notify_one();
    }

    fn when_away(&self) -> WhenAway {
        if self.serves_away.load(Ordering::Relaxed) { WhenAway::Serve } else { WhenAway::Refuse }
    }

    fn claim_now(
        &self,
        meeting: &MeetingName,
        backend: &BackendId,
        incarnation: Incarnation,
    ) -> Result<Claim, PinError> {
        let claim = self.memory.claim_with(meeting, (backend, incarnation), || {
            match (self.progress.borrow().is_away, self.when_away()) {
                (true, WhenAway::Refuse) => Err(PinError::Away),
                (true, WhenAway::Serve) | (false, _) => {
                    let mut notes = self.notes();
                    // Looked at under the lock: what is noted before is in the last write.
                    if notes.is_releasing {
                        Err(PinError::Moved)
                    } else {
                        Ok(notes.on_claim(meeting))
                    }
                }
            }
        })?;
        if matches!(claim, Claim::Made(_)) {
            self.noted.notify_one();
        }
        Ok(claim)
    }

    fn unpin_now(&self, meeting: &MeetingName, epoch: u64) -> bool {
        let is_removed = self.memory.remove(meeting, epoch);
        if is_removed {
            self.notes().on_unpin(meeting);
            self.noted.notify_one();
        }
        is_removed
    }

    /// Waits until everything up to `epoch` is in the file.
    fn written(&self, epoch: u64) -> BoxFuture<'static, Result<(), PinError>> {
        if self.progress.borrow().settled >= epoch {
            return ready(Ok(())).boxed();
        }
        let (progress, mut changes) = (self.progress.clone(), self.progress.subscribe());
        let wait = async move {
            let known = changes.wait_for(|now| now.settled >= epoch || now.is_away);
            match timeout(WRITE_MAX, known).await {
                Ok(Ok(now)) if now.settled >= epoch => Ok(()),
                Ok(_) => Err(PinError::Away),
                Err(_) => {
                    go_away(&progress, "a write takes too long");
                    Err(PinError::Away)
                }
            }
        };
        wait.boxed()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Nothing that can panic is done while it is held.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that the file does not follow, and tells it once.
fn go_away(progress: &watch::Sender<Progress>, reason: &str) {
    let was_there = progress.send_if_modified(|now| !std::mem::replace(&mut now.is_away, true));
    if was_there {
        tracing::error!(
            reason,
            "pins cannot be written; operator: look at the disk of pins.state_dir"
        );
    }
}

impl Leavable for DiskStore {
    /// Writes all that is noted, in 5 s at most, and lets the file go. One that was let go before is taken
    /// back first.
    fn release(&self) -> BoxFuture<'_, Result<(), PinError>> {
        let release = async move {
            let mut progress = self.progress.subscribe();
            let is_back = progress.wait_for(|now| !now.is_released);
            if !matches!(timeout(WRITE_MAX, is_back).await, Ok(Ok(_))) {
                return Err(PinError::Away);
            }
            self.notes().is_releasing = true;
            self.noted.notify_one();
            let released = progress.wait_for(|now| now.is_released || now.is_away);
            if matches!(timeout(WRITE_MAX, released).await, Ok(Ok(now)) if now.is_released) {
                return Ok(());
            }
            self.resume();
            Err(PinError::Away)
        };
        release.boxed()
    }

    /// Everything is written to the file as soon as the other process lets it go.
    fn resume(&self) {
        self.notes().is_releasing = false;
        self.noted.notify_one();
    }
}

impl PinStore for DiskStore {
    fn claim<'a>(
        &'a self,
        meeting: &'a MeetingName,
        backend: &'a BackendId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<Claim, PinError>> {
        ready(self.claim_now(meeting, backend, incarnation)).boxed()
    }

    fn lookup<'a>(
        &'a self,
        meeting: &'a MeetingName,
    ) -> BoxFuture<'a, Result<Option<Pin>, PinError>> {
        ready(Ok(self.memory.find(meeting))).boxed()
    }

    fn unpin<'a>(
        &'a self,
        meeting: &'a MeetingName,
        epoch: u64,
    ) -> BoxFuture<'a, Result<bool, PinError>> {
        ready(Ok(self.unpin_now(meeting, epoch))).boxed()
    }

    fn settled(&self, epoch: u64) -> BoxFuture<'static, Result<(), PinError>> {
        match self.when_away() {
            WhenAway::Refuse => self.written(epoch),
            // What cannot be written is served all the same.
            WhenAway::Serve => self.written(epoch).map(|_| Ok(())).boxed(),
        }
    }

    fn record_losses(
        &self,
        backend: &BackendId,
        losses: u32,
    ) -> BoxFuture<'static, Result<(), PinError>> {
        let epoch = self.notes().on_losses(backend, losses);
        self.noted.notify_one();
        self.written(epoch)
    }

    fn set_bounds(&self, pins_max: usize, when_away: WhenAway) {
        self.memory.set_pins_max(pins_max);
        self.pipelines.set_max(pins_max);
        self.serves_away.store(when_away == WhenAway::Serve, Ordering::Relaxed);
    }

    fn note_pipeline(&self, origin: Origin) {
        if self.pipelines.insert(&origin) {
            self.notes().on_created(origin.pipeline);
            self.noted.notify_one();
        }
    }

    fn note_history(&self, changes: Vec<(Topic, Option<Memory>)>) {
        self.notes().on_history(changes);
        self.noted.notify_one();
    }

    fn forget_pipeline(&self, pipeline: PipelineId) {
        if self.pipelines.remove(pipeline) {
            self.notes().on_gone(pipeline);
            self.noted.notify_one();
        }
    }
}
