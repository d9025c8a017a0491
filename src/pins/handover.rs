//! The pin store of a process that can be replaced while it runs.
//!
//! At any moment one process decides about the pins. Before the other one does, nobody does for a
//! moment: claims and look-ups wait. After that this process learns and changes nothing of them any
//! more; what becomes of the pipelines that were under way is news for the other.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::{mpsc, watch};

use super::disk::DiskStore;
use super::store::{Claim, Leavable, Origin, Pin, PinError, PinStore};
use crate::model::{BackendId, Incarnation, MeetingName, PipelineId};
use crate::policy::history::{Memory, Topic};
use crate::settings::WhenAway;

/// News for the other process that may wait. Beyond that they are dropped: the meeting of such a
/// pipeline is not known there until somebody names it.
const NEWS_MAX: usize = 65_536;

/// What became of pipelines that were under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was made.
    Created(Origin),
    /// It is no more.
    Gone(PipelineId),
}

/// Who decides about the pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Us,
    /// They are on their way to another process, or back.
    Nobody,
    Another,
}

/// A store that can be handed over to another process.
#[derive(Debug)]
pub struct Handover<S = DiskStore> {
    store: Arc<S>,
    holder: watch::Sender<Holder>,
    news: mpsc::Sender<News>,
}

impl<S: Leavable> Handover<S> {
    /// The store, which is ours, and where news for another process come out.
    #[must_use]
    pub fn new(store: Arc<S>) -> (Arc<Self>, mpsc::Receiver<News>) {
        let (news, receiver) = mpsc::channel(NEWS_MAX);
        (Arc::new(Self { store, holder: watch::Sender::new(Holder::Us), news }), receiver)
    }

    /// Leaves the file to another process, with all that was claimed. Until [`Self::take_back`] or
    /// [`Self::give_away`] whoever asks for a pin waits.
    ///
    /// # Errors
    /// What is to be written cannot be; the pins are still ours.
    pub async fn release(&self) -> Result<(), PinError> {
        self.holder.send_replace(Holder::Nobody);
        let released = self.store.release().await;
        if released.is_err() {
            self.holder.send_replace(Holder::Us);
        }
        released
    }

    /// The other process has not come to decide anything: the pins are ours, as they are in memory.
    pub fn take_back(&self) {
        self.store.resume();
        self.holder.send_replace(Holder::Us);
    }

    /// The other process decides from now on.
    pub fn give_away(&self) {
        self.holder.send_replace(Holder::Another);
    }

    /// Waits while nobody decides.
    async fn is_held(&self) -> Result<(), PinError> {
        let mut holder = self.holder.subscribe();
        let settled = holder.wait_for(|now| *now != Holder::Nobody).await;
        match settled.map(|now| *now) {
            Ok(Holder::Us) => Ok(()),
            Ok(Holder::Nobody | Holder::Another) | Err(_) => Err(PinError::Moved),
        }
    }

    fn tell(&self, news: News) {
        if !self.is_ours() && self.news.try_send(news).is_err() {
            tracing::debug!(?news, "no room for news of a pipeline");
        }
    }
}

impl<S: Leavable> PinStore for Handover<S> {
    fn claim<'a>(
        &'a self,
        meeting: &'a MeetingName,
        backend: &'a BackendId,
        incarnation: Incarnation,
    ) -> BoxFuture<'a, Result<Claim, PinError>> {
        if self.is_ours() {
            return self.store.claim(meeting, backend, incarnation);
        }
        let claim = async move {
            self.is_held().await?;
            self.store.claim(meeting, backend, incarnation).await
        };
        claim.boxed()
    }

    fn lookup<'a>(
        &'a self,
        meeting: &'a MeetingName,
    ) -> BoxFuture<'a, Result<Option<Pin>, PinError>> {
        if self.is_ours() {
            return self.store.lookup(meeting);
        }
        let lookup = async move {
            self.is_held().await?;
            self.store.lookup(meeting).await
        };
        lookup.boxed()
    }

    fn unpin<'a>(
        &'a self,
        meeting: &'a MeetingName,
        epoch: u64,
    ) -> BoxFuture<'a, Result<bool, PinError>> {
        if self.is_ours() {
            return self.store.unpin(meeting, epoch);
        }
        // Not awaited: who removes pins is not to stand still, and tries again.
        ready(Err(PinError::Moved)).boxed()
    }

    fn settled(&self, epoch: u64) -> BoxFuture<'static, Result<(), PinError>> {
        self.store.settled(epoch)
    }

    fn record_losses(
        &self,
        backend: &BackendId,
        losses: u32,
    ) -> BoxFuture<'static, Result<(), PinError>> {
        let recorded = self.store.record_losses(backend, losses);
        // The other process counts for itself; should the pins come back, this is written then.
        if self.is_ours() { recorded } else { ready(Ok(())).boxed() }
    }

    fn note_pipeline(&self, origin: Origin) {
        self.store.note_pipeline(origin);
        self.tell(News::Created(origin));
    }

    fn forget_pipeline(&self, pipeline: PipelineId) {
        self.store.forget_pipeline(pipeline);
        self.tell(News::Gone(pipeline));
    }

    fn set_bounds(&self, pins_max: usize, when_away: WhenAway) {
        self.store.set_bounds(pins_max, when_away);
    }

    fn is_ours(&self) -> bool {
        *self.holder.borrow() == Holder::Us
    }

    fn note_history(&self, changes: Vec<(Topic, Option<Memory>)>) {
        self.store.note_history(changes);
    }
}

#[cfg(test)]
mod tests;
