//! The pin store: which backend a named meeting is pinned to.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::model::{BackendId, Incarnation, MeetingName, PipelineId, SessionId};
use crate::policy::history::{Memory, Topic};
use crate::settings::WhenAway;

/// A meeting's backend, at one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The backend.
    pub backend: BackendId,
    /// The process that holds the meeting's pipelines.
    pub incarnation: Incarnation,
    /// Rises with every change of any pin, so that an old pin cannot be taken for a new one.
    pub epoch: u64,
}

/// Where a pipeline of a named meeting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The epoch of the pin it was made under. No two pins have the same, so this names the meeting.
    pub epoch: u64,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The session that made it, or that found it when it was of no meeting yet.
    pub session: SessionId,
}

/// The epoch that no pin has.
pub const NO_PIN: u64 = 0;

impl Origin {
    /// A remnant: `pipeline` was on a process that was given up for lost. Should that go on after all,
    /// the pipeline is there and must not be used, for its meeting is elsewhere by then.
    #[must_use]
    pub fn remnant(pipeline: PipelineId) -> Self {
        Self { epoch: NO_PIN, pipeline, session: SessionId::from_random(0) }
    }

    /// Whether it is one.
    #[must_use]
    pub const fn is_remnant(&self) -> bool {
        self.epoch == NO_PIN
    }
}

/// The outcome of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The meeting is pinned now as asked.
    Made(Pin),
    /// Somebody was faster; this is the pin that counts.
    Held(Pin),
}

/// Why the store did not answer. Each is answered to the client as 40009.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It cannot be reached.
    #[error("the pin store is away; operator: see the log")]
    Away,
    /// It holds as many pins as it may.
    #[error("the table of meetings is full; operator: raise pins.pins_max or add edges")]
    Full,
    /// The pipeline was made while its meeting was let go by its backend, or the backend was lost.
    #[error("the meeting is moving to another media server; create the pipeline again")]
    Moving,
    /// It is another process's by now.
    #[error("another process has taken over")]
    Moved,
}

/// Which backend each named meeting is pinned to.
///
/// Asynchronous and fallible, because a store may be on disk or shared. While it is away, meetings
/// that this process knows go on and others are refused.
pub trait PinStore: Send + Sync + 'static {
    /// Pins `meeting` if it is not pinned, in one step; returns the pin that counts.
    fn claim<'a>(
        &'a self,
        meeting: &'a MeetingName,
        backend: &'a BackendId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<Claim, PinError>>;

    /// The pin of `meeting`.
    fn lookup<'a>(
        &'a self,
        meeting: &'a MeetingName,
    ) -> BoxFuture<'a, Result<Option<Pin>, PinError>>;

    /// Removes the pin of `meeting` if it is still the one of `epoch`; says whether it was.
    fn unpin<'a>(
        &'a self,
        meeting: &'a MeetingName,
        epoch: u64,
    ) -> BoxFuture<'a, Result<bool, PinError>>;

    /// Waits until the pin of `epoch` outlives this process, as far as the store promises that. A
    /// claim need not wait for it: nobody may be told of its outcome before.
    ///
    /// An error says that it may be forgotten, so that nothing must be built on it. The default is
    /// for stores of which every claim counts at once.
    fn settled(&self, epoch: u64) -> BoxFuture<'static, Result<(), PinError>> {
        let _ = epoch;
        ready(Ok(())).boxed()
    }

    /// Notes how often processes of `backend` were given up for lost, so that the next process of this
    /// edge counts on from there; waits until that is as safe as a settled pin. The default is for
    /// stores that end with the process.
    fn record_losses(
        &self,
        backend: &BackendId,
        losses: u32,
    ) -> BoxFuture<'static, Result<(), PinError>> {
        let _ = (backend, losses);
        ready(Ok(())).boxed()
    }

    /// Notes where a pipeline comes from, so that its meeting and its maker are known to the next
    /// process of this edge, or that it is a remnant, which it stays. Nobody waits for that; it is as
    /// safe as whatever is changed after it. The default is for stores that end with the process.
    fn note_pipeline(&self, origin: Origin) {
        let _ = origin;
    }

    /// `pipeline`, noted or not, is of no meeting any more, and no remnant that must be known.
    fn forget_pipeline(&self, pipeline: PipelineId) {
        let _ = pipeline;
    }

    /// From now on at most `pins_max` meetings are pinned, and that is what becomes of a new one while
    /// the store cannot write. The default is for stores that have no bounds of their own.
    fn set_bounds(&self, pins_max: usize, when_away: WhenAway) {
        let _ = (pins_max, when_away);
    }

    /// Whether this process decides about the pins.
    fn is_ours(&self) -> bool {
        true
    }

    /// Notes what is remembered of meetings that are over, `None`: no longer, for the next process of
    /// this edge. Nobody waits for that. The default is for stores that end with the process.
    fn note_history(&self, changes: Vec<(Topic, Option<Memory>)>) {
        let _ = changes;
    }
}

/// A store of which the pins can be left to another process.
pub trait Leavable: PinStore {
    /// Leaves them where the other process finds them, with all that was claimed.
    ///
    /// # Errors
    /// What is to be written cannot be; they are still ours.
    fn release(&self) -> BoxFuture<'_, Result<(), PinError>>;

    /// They are ours again, as they are in memory.
    fn resume(&self);
}
