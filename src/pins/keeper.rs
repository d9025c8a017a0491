//! Removes the pins of meetings that are lost or over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::chronicle::Chronicle;
use super::found::Found;
use super::load::{BackendLoad, Charge};
use super::registry::{Ended, Registry};
use super::store::{Origin, Pin, PinError, PinStore};
use crate::model::{BackendId, Incarnation, MeetingId, MeetingName, PipelineId, Time};
use crate::policy::history::HistoryBounds;
use crate::settings::PinSettings;

/// Pins whose removal is tried again. Beyond that the oldest is given up: it stays in the store, and
/// whoever names its meeting next goes there, or finds that it no longer holds.
const AGAIN_MAX: usize = 65_536;

/// Carries losses and the passing of time to the pins.
pub struct Keeper {
    /// Which meeting is pinned where.
    pub pins: Arc<dyn PinStore>,
    /// What this process knows of its meetings.
    pub registry: Arc<Registry>,
    /// Pipelines of an earlier process that nobody has confirmed yet.
    pub found: Found,
    /// What meetings that are over were like.
    pub chronicle: Chronicle,
    again: Mutex<VecDeque<Again>>,
    /// Counts meetings that were let go.
    moves: watch::Sender<u64>,
    /// Meetings that nobody uses are not ended: what uses them may not be known.
    keeps_all: watch::Sender<bool>,
}

/// A pin that may have to be removed.
enum Again {
    /// This one, which the store failed to remove.
    Unpin { meeting: MeetingName, epoch: u64 },
    /// One that may have been made without anybody here knowing.
    Doubt(MeetingName),
}

/// A claim under way. Dropped, its outcome is unknown: the client left, or the store was away.
#[must_use]
pub struct Doubt<'a> {
    keeper: &'a Keeper,
    meeting: Option<&'a MeetingName>,
}

impl Doubt<'_> {
    /// The outcome is known.
    pub fn settle(mut self) {
        self.meeting = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(meeting) = self.meeting {
            self.keeper.try_again(Again::Doubt(meeting.clone()));
        }
    }
}

impl Keeper {
    /// A keeper of the pins of those meetings.
    #[must_use]
    pub fn new(pins: Arc<dyn PinStore>, registry: Arc<Registry>) -> Self {
        let (found, chronicle) = (Found::default(), Chronicle::default());
        Self {
            pins,
            registry,
            found,
            chronicle,
            again: Mutex::default(),
            moves: watch::Sender::new(0),
            keeps_all: watch::Sender::new(false),
        }
    }

    /// The same, which goes on with that `chronicle`.
    #[must_use]
    pub fn remembering(self, chronicle: Chronicle) -> Self {
        Self { chronicle, ..self }
    }

    /// What a new config says of pins, and of what is remembered of meetings that are over, holds from
    /// now on.
    pub fn set_bounds(&self, settings: &PinSettings, history: HistoryBounds) {
        self.pins.set_bounds(settings.pins_max, settings.when_away);
        self.registry.set_bounds(settings.grace, settings.pins_max);
        self.pins.note_history(self.chronicle.set_bounds(history));
    }

    /// `meeting` is about to be claimed.
    pub fn doubt<'a>(&'a self, meeting: &'a MeetingName) -> Doubt<'a> {
        Doubt { keeper: self, meeting: Some(meeting) }
    }

    /// This process of `backend` is lost, with its meetings. Returns the pipelines that went with it.
    pub async fn on_loss(&self, backend: &BackendId, incarnation: Incarnation) -> Vec<PipelineId> {
        let Ended { pins, mut pipelines, .. } = self.registry.drop_backend(backend, incarnation);
        let meetings = pins.len();
        if meetings > 0 {
            tracing::warn!(%backend, meetings, "named meetings lost with their backend");
        }
        pipelines.extend(self.found.take_lost(backend, incarnation));
        pipelines.sort_unstable();
        pipelines.dedup();
        // Before the pins, which may go to another backend then. The process may go on after all.
        self.leave_behind(&pipelines);
        // Nothing of it is over: it was cut short, and goes on elsewhere.
        for (meeting, epoch) in pins {
            self.unpin(meeting, epoch).await;
        }
        pipelines
    }

    /// The backend of these pipelines was given up for lost. Nobody may use them again, even if it goes
    /// on, for their meetings are elsewhere then: not in this process, and not in the next of this edge.
    pub fn leave_behind(&self, pipelines: &[PipelineId]) {
        self.registry.forbid_remnants(pipelines);
        for pipeline in pipelines {
            self.found.remove(*pipeline);
            self.pins.note_pipeline(Origin::remnant(*pipeline));
        }
        self.forget_forbidden();
    }

    /// `pipeline` was just made, and its backend was lost before that was known here.
    pub fn made_too_late(&self, pipeline: PipelineId, now: Time) {
        self.registry.released(pipeline, now);
        self.leave_behind(&[pipeline]);
    }

    /// `pipeline` is of no meeting any more. A remnant stays noted: who says that it is gone may have
    /// been told so by nobody but this edge.
    fn unnote(&self, pipeline: PipelineId) {
        if !self.registry.is_remnant(pipeline) {
            self.pins.forget_pipeline(pipeline);
        }
    }

    /// What can no longer be remembered here need not be remembered by the store.
    fn forget_forbidden(&self) {
        let forgotten = self.registry.take_forgotten();
        forgotten.into_iter().for_each(|pipeline| self.pins.forget_pipeline(pipeline));
    }

    /// Ends the meetings that nobody has used for the grace, and tries again what has failed; nothing
    /// while another process decides about the pins, or has a part in the meetings.
    pub async fn sweep(&self, now: Time) {
        if !self.pins.is_ours() || *self.keeps_all.borrow() {
            return;
        }
        let again = std::mem::take(&mut *self.lock());
        for again in again {
            match again {
                Again::Unpin { meeting, epoch } => self.unpin(meeting, epoch).await,
                Again::Doubt(meeting) => self.clear(meeting).await,
            }
        }
        let ended = self.registry.sweep(now);
        for (meeting, was) in &ended.over {
            self.pins.note_history(self.chronicle.on_over(meeting, was, now));
        }
        self.on_end(ended).await;
    }

    /// Whether [`Self::sweep`] does anything.
    pub fn end_meetings(&self, ends: bool) {
        self.keeps_all.send_replace(!ends);
    }

    /// Waits until no other process has a part in the meetings and tells of it.
    pub async fn is_alone(&self) {
        let mut keeps_all = self.keeps_all.subscribe();
        keeps_all.wait_for(|keeps_all| !keeps_all).await.expect("its sender is here");
    }

    /// A pipeline of the named `meeting` exists, and the session of its origin uses it. Returns whether
    /// it counts: not if its meeting was lost meanwhile, or let go.
    #[must_use]
    pub fn created(&self, meeting: &MeetingName, origin: Origin) -> bool {
        // First, so that whoever ends it finds the note to remove.
        self.pins.note_pipeline(origin);
        let counts = self.registry.created(meeting, origin.epoch, origin.pipeline);
        if !counts {
            self.unnote(origin.pipeline);
        }
        counts
    }

    /// `pipeline` was destroyed, for everybody.
    pub fn released(&self, pipeline: PipelineId, now: Time) {
        self.registry.released(pipeline, now);
        self.forget(pipeline);
    }

    /// An earlier process of this edge has made a pipeline of `meeting` after what it left was read.
    pub fn found_late(&self, pinned: (&MeetingName, &Pin), origin: Origin) {
        self.pins.note_pipeline(origin);
        self.found.add(pinned, origin);
    }

    /// A pipeline of an earlier process of this edge is no more.
    pub fn forget(&self, pipeline: PipelineId) {
        self.found.remove(pipeline);
        self.unnote(pipeline);
    }

    /// Its backend has a pipeline of an earlier process of this edge, whose meeting was adopted: the
    /// meeting lives until it is [`Self::released`]. `charge` is kept if the meeting has none. Returns
    /// whether the pipeline counts for that meeting.
    pub fn adopt_pipeline(
        &self,
        (meeting, epoch): (&MeetingName, u64),
        pipeline: PipelineId,
        charge: Charge,
    ) -> bool {
        let counts = self.registry.adopt_pipeline((meeting, epoch), pipeline, charge);
        // Else its meeting has moved on; should somebody use it, it is looked at again.
        if counts {
            self.found.remove(pipeline);
        }
        counts
    }

    /// A pin of an earlier process of this edge holds: the meeting ends when nobody comes within the
    /// grace from `now`. `load` is that of its backend; `lost` ends with the backend's process.
    pub async fn adopt(
        &self,
        (meeting, pin): (&MeetingName, &Pin),
        (load, lost): (Arc<BackendLoad>, &CancellationToken),
        now: Time,
    ) {
        if !self.registry.adopt(meeting, pin, load, now) {
            return;
        }
        // As when somebody begins a meeting: its pin may have been removed a moment before, or its
        // backend lost without anybody finding the meeting here.
        if lost.is_cancelled() {
            self.registry.disown(meeting, pin.epoch);
            return self.unpin(meeting.clone(), pin.epoch).await;
        }
        match self.pins.lookup(meeting).await {
            Ok(Some(found)) if found.epoch == pin.epoch => {
                self.registry.confirm(meeting, pin.epoch);
            }
            Ok(_) => self.registry.disown(meeting, pin.epoch),
            // Whoever joins looks again; if nobody does it ends like any other, after the grace.
            Err(PinError::Away | PinError::Full | PinError::Moving | PinError::Moved) => {}
        }
    }

    /// An earlier process of this edge had pins on that process of `backend`, which is gone or was given
    /// up. What was made under them is left behind, and each of the pins is to be [discarded](Self::discard).
    pub fn on_gone(&self, backend: &BackendId, incarnation: Incarnation) {
        self.leave_behind(&self.found.take_lost(backend, incarnation));
    }

    /// A pin of an earlier process of this edge does not hold. Its process may answer after all, before
    /// the store has removed the pin: nobody joins the meeting until then.
    pub async fn discard(&self, meeting: MeetingName, pin: &Pin) {
        // If somebody takes part in it, it has moved on, or its end will come.
        if self.registry.end_stray(&meeting, pin) {
            self.unpin(meeting, pin.epoch).await;
        }
    }

    /// Ends `meeting` before its grace is over, if nothing of it lives at that `epoch`, so that it may
    /// begin elsewhere. Returns whether it does.
    pub async fn end_idle(&self, meeting: &MeetingName, epoch: u64) -> bool {
        // While pipelines of the process before are not judged, one may be of this meeting.
        let is_idle = self.found.is_empty() && self.registry.end_idle(meeting, epoch);
        if is_idle {
            self.unpin(meeting.clone(), epoch).await;
        }
        is_idle
    }

    /// Begins to let the meeting `id` go, pinned at `epoch`. Returns its pipelines, which are to be
    /// released on their backend before [`Self::let_gone`]; `None` if there is nothing to let go.
    #[must_use]
    pub fn let_go(&self, id: &MeetingId, epoch: u64) -> Option<Vec<PipelineId>> {
        let mut pipelines = self.registry.let_go(id, epoch)?;
        if matches!(id, MeetingId::Named(_)) {
            // Not those of an earlier pin, which are on another backend.
            let found = self.found.pipelines_of(epoch);
            self.registry.forbid(&found);
            pipelines.extend(found);
            pipelines.sort_unstable();
            pipelines.dedup();
        }
        Some(pipelines)
    }

    /// All pipelines of that meeting are gone: its pin goes too, and whoever names it next is placed anew.
    pub async fn let_gone(
        &self,
        (id, epoch): (&MeetingId, u64),
        pipelines: &[PipelineId],
        now: Time,
    ) {
        pipelines.iter().for_each(|pipeline| self.forget(*pipeline));
        // It was cut short, and goes on elsewhere: nothing is learned of it.
        let ended = self.registry.let_gone(id, epoch, now);
        self.moves.send_modify(|count| *count += 1);
        self.on_end(ended).await;
    }

    /// Changes when a meeting was let go: pipelines that somebody uses may be gone.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    async fn on_end(&self, ended: Ended) {
        self.forget_forbidden();
        for pipeline in ended.pipelines {
            self.unnote(pipeline);
        }
        for (meeting, epoch) in ended.pins {
            self.unpin(meeting, epoch).await;
        }
    }

    /// Removes that pin, now or later. Until then nobody can join a meeting that is ending.
    async fn unpin(&self, meeting: MeetingName, epoch: u64) {
        match self.pins.unpin(&meeting, epoch).await {
            Ok(_) => self.registry.unpinned(&meeting, epoch),
            // For the other process to judge, unless the pins come back to this one.
            Err(PinError::Moved) => self.try_again(Again::Unpin { meeting, epoch }),
            Err(error @ (PinError::Away | PinError::Full | PinError::Moving)) => {
                tracing::warn!(%error, "pin not removed, trying again");
                self.try_again(Again::Unpin { meeting, epoch });
            }
        }
    }

    /// Removes the pin of a meeting that nobody here takes part in, if there is one.
    async fn clear(&self, meeting: MeetingName) {
        match self.pins.lookup(&meeting).await {
            // Nobody can join what is ending, so nobody does between the two.
            Ok(Some(pin)) if self.registry.end_stray(&meeting, &pin) => {
                self.unpin(meeting, pin.epoch).await;
            }
            // There is none, or somebody takes part in it by now, and its end will come.
            Ok(_) => {}
            Err(PinError::Away | PinError::Full | PinError::Moving | PinError::Moved) => {
                self.try_again(Again::Doubt(meeting));
            }
        }
    }

    fn try_again(&self, again: Again) {
        let mut all = self.lock();
        if all.len() >= AGAIN_MAX
            && let Some(Again::Unpin { meeting, epoch }) = all.pop_front()
        {
            self.registry.unpinned(&meeting, epoch);
        }
        all.push_back(again);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Again>> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
