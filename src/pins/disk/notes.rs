//! What has changed since the last write, and who waits for it.

use std::collections::BTreeMap;

use crate::model::{BackendId, MeetingName, PipelineId};
use crate::policy::history::{Memory, Topic};

/// Changes noted by name, of meetings and of pipelines each. Beyond that, which takes a disk that
/// stands still, the names are dropped and the next write is of everything.
pub(super) const NOTES_MAX: usize = 131_072;

/// Changes that are not in the file.
#[derive(Debug, Default)]
pub(super) struct Notes {
    last_epoch: u64,
    /// Meetings whose pin has changed; one may be there several times.
    meetings: Vec<MeetingName>,
    /// Pipelines that are new or gone; one may be there several times.
    pipelines: Vec<PipelineId>,
    /// More has changed than there is room for, or the file is new: everything is to be written.
    is_whole: bool,
    losses: BTreeMap<BackendId, u32>,
    has_losses: bool,
    /// What is remembered otherwise; `None`: no longer. Bounded like the names; what finds no room
    /// is forgotten with the process.
    history: BTreeMap<Topic, Option<Memory>>,
    /// Somebody waits for the write.
    pub(super) is_urgent: bool,
    /// It should not take long.
    pub(super) is_soon: bool,
    /// The writer is to end.
    pub(super) is_closing: bool,
    /// The file is to be left to another process, or has been.
    pub(super) is_releasing: bool,
}

/// What one transaction writes.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    /// Every claim up to this epoch is among `meetings`, or was in a batch before.
    pub(super) last_epoch: u64,
    /// Meetings whose pins are to be written as they are now; `None`: all there are.
    pub(super) meetings: Option<Vec<MeetingName>>,
    /// Pipelines whose pins are to be written as they are now; `None`: all there are.
    pub(super) pipelines: Option<Vec<PipelineId>>,
    /// The losses of all backends, if they have changed.
    pub(super) losses: Option<BTreeMap<BackendId, u32>>,
    /// What is remembered otherwise.
    pub(super) history: BTreeMap<Topic, Option<Memory>>,
}

impl Notes {
    /// Nothing has changed since a file with these contents was written.
    pub(super) fn after(last_epoch: u64, losses: BTreeMap<BackendId, u32>) -> Self {
        Self { last_epoch, losses, ..Self::default() }
    }

    /// `meeting` is being pinned; returns the epoch of the pin.
    pub(super) fn on_claim(&mut self, meeting: &MeetingName) -> u64 {
        self.add(meeting.clone());
        self.is_urgent = true;
        self.last_epoch += 1;
        self.last_epoch
    }

    /// The pin of `meeting` is removed. Nobody waits for that: found again, it is judged.
    pub(super) fn on_unpin(&mut self, meeting: &MeetingName) {
        self.add(meeting.clone());
    }

    /// `pipeline` was made. Nobody waits for that, but until it is written a crash makes its meeting
    /// unknown.
    pub(super) fn on_created(&mut self, pipeline: PipelineId) {
        self.add_pipeline(pipeline);
        self.is_soon = true;
    }

    /// `pipeline` is gone. Found again, it is judged.
    pub(super) fn on_gone(&mut self, pipeline: PipelineId) {
        self.add_pipeline(pipeline);
    }

    /// Notes how often processes of `backend` were lost; returns the epoch to wait for.
    pub(super) fn on_losses(&mut self, backend: &BackendId, losses: u32) -> u64 {
        self.losses.insert(backend.clone(), losses);
        (self.has_losses, self.is_urgent) = (true, true);
        self.last_epoch += 1;
        self.last_epoch
    }

    /// That is remembered otherwise. In no hurry: it is of use days later.
    pub(super) fn on_history(&mut self, changes: Vec<(Topic, Option<Memory>)>) {
        for (topic, memory) in changes {
            if self.history.len() < NOTES_MAX || self.history.contains_key(&topic) {
                self.history.insert(topic, memory);
            }
        }
    }

    /// The file is empty: everything is to be written.
    pub(super) fn start_over(&mut self) {
        self.drop_names();
        (self.is_whole, self.has_losses, self.is_urgent) = (true, true, true);
    }

    pub(super) fn is_empty(&self) -> bool {
        let has_names = !self.meetings.is_empty() || !self.pipelines.is_empty();
        !has_names && self.history.is_empty() && !self.is_whole && !self.has_losses
    }

    /// Takes everything noted, each meeting and pipeline once and in order.
    pub(super) fn take(&mut self) -> Batch {
        let meetings = in_order(std::mem::take(&mut self.meetings));
        let pipelines = in_order(std::mem::take(&mut self.pipelines));
        (self.is_urgent, self.is_soon) = (false, false);
        let is_whole = std::mem::take(&mut self.is_whole);
        let has_losses = std::mem::take(&mut self.has_losses);
        Batch {
            last_epoch: self.last_epoch,
            meetings: (!is_whole).then_some(meetings),
            pipelines: (!is_whole).then_some(pipelines),
            losses: (has_losses || is_whole).then(|| self.losses.clone()),
            history: std::mem::take(&mut self.history),
        }
    }

    /// `batch` could not be written.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.has_losses |= batch.losses.is_some();
        self.is_urgent = true;
        let newer = std::mem::replace(&mut self.history, batch.history);
        self.on_history(newer.into_iter().collect());
        let (Some(meetings), Some(pipelines)) = (batch.meetings, batch.pipelines) else {
            return self.start_over();
        };
        meetings.into_iter().for_each(|meeting| self.add(meeting));
        pipelines.into_iter().for_each(|pipeline| self.add_pipeline(pipeline));
    }

    fn add(&mut self, meeting: MeetingName) {
        if self.has_room() {
            self.meetings.push(meeting);
        }
    }

    fn add_pipeline(&mut self, pipeline: PipelineId) {
        if self.has_room() {
            self.pipelines.push(pipeline);
        }
    }

    /// Whether one more change is to be noted by name.
    fn has_room(&mut self) -> bool {
        if self.meetings.len().max(self.pipelines.len()) >= NOTES_MAX {
            self.drop_names();
            self.is_whole = true;
        }
        !self.is_whole
    }

    fn drop_names(&mut self) {
        (self.meetings, self.pipelines) = (Vec::new(), Vec::new());
    }
}

fn in_order<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> MeetingName {
        MeetingName::parse(&format!("m{number}")).unwrap()
    }

    #[test]
    fn a_batch_holds_each_meeting_once_and_the_epoch_of_the_last_claim() {
        let mut notes = Notes::after(7, BTreeMap::new());
        assert_eq!(notes.on_claim(&name(2)), 8);
        notes.on_unpin(&name(1));
        assert_eq!(notes.on_claim(&name(2)), 9);
        let batch = notes.take();
        assert_eq!((batch.last_epoch, batch.losses), (9, None));
        assert_eq!(batch.meetings, Some(vec![name(1), name(2)]));
        assert!(notes.is_empty() && !notes.is_urgent);
    }

    #[test]
    fn a_removal_is_in_no_hurry_and_a_claim_is() {
        let mut notes = Notes::default();
        notes.on_unpin(&name(1));
        assert!(!notes.is_urgent && !notes.is_empty());
        notes.on_claim(&name(1));
        assert!(notes.is_urgent);
    }

    #[test]
    fn a_new_pipeline_is_in_some_hurry_and_each_is_written_once() {
        let mut notes = Notes::default();
        let [one, two] = [1, 2].map(PipelineId::from_u128);
        notes.on_gone(two);
        assert!(!notes.is_soon && !notes.is_empty());
        notes.on_created(one);
        notes.on_gone(one);
        assert!(notes.is_soon && !notes.is_urgent);
        let batch = notes.take();
        assert_eq!(batch.pipelines, Some(vec![one, two]));
        assert!(notes.is_empty() && !notes.is_soon);
        notes.put_back(batch);
        assert_eq!(notes.take().pipelines, Some(vec![one, two]));
    }

    #[test]
    fn what_failed_is_tried_again_with_what_came_since() {
        let mut notes = Notes::default();
        notes.on_claim(&name(1));
        notes.on_losses(&BackendId::parse("a").unwrap(), 3);
        let batch = notes.take();
        notes.on_unpin(&name(2));
        notes.put_back(batch);
        let again = notes.take();
        assert_eq!(again.meetings, Some(vec![name(1), name(2)]));
        assert_eq!(again.losses.unwrap().into_values().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn beyond_the_bound_all_pins_are_written() {
        let mut notes = Notes::default();
        for number in 0..=NOTES_MAX {
            notes.on_unpin(&name(number));
        }
        assert_eq!(notes.meetings.capacity(), 0, "the names take no room any more");
        assert!(!notes.is_empty());
        let batch = notes.take();
        assert_eq!(batch.meetings, None);
        notes.put_back(batch);
        assert_eq!(notes.take().meetings, None);
        assert!(notes.is_empty());
    }
}
