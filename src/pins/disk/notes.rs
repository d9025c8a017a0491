//! What has changed since the last write, and who waits for it.

use std::collections::BTreeMap;

use crate::model::{BackendId, MeetingName};

/// Changes noted by name. Beyond that, which takes a disk that stands still, the names are dropped
/// and the next write is of all pins.
pub(super) const NOTES_MAX: usize = 131_072;

/// Changes that are not in the file.
#[derive(Debug, Default)]
pub(super) struct Notes {
    last_epoch: u64,
    /// Meetings whose pin has changed; one may be there several times.
    meetings: Vec<MeetingName>,
    /// More has changed than `meetings` has room for, or the file is new: all pins are to be written.
    is_whole: bool,
    losses: BTreeMap<BackendId, u32>,
    has_losses: bool,
    /// Somebody waits for the write.
    pub(super) is_urgent: bool,
    /// The writer is to end.
    pub(super) is_closing: bool,
}

/// What one transaction writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Every claim up to this epoch is among `meetings`, or was in a batch before.
    pub(super) last_epoch: u64,
    /// Meetings whose pins are to be written as they are now; `None`: all there are.
    pub(super) meetings: Option<Vec<MeetingName>>,
    /// The losses of all backends, if they have changed.
    pub(super) losses: Option<BTreeMap<BackendId, u32>>,
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

    /// Notes how often processes of `backend` were lost; returns the epoch to wait for.
    pub(super) fn on_losses(&mut self, backend: &BackendId, losses: u32) -> u64 {
        self.losses.insert(backend.clone(), losses);
        (self.has_losses, self.is_urgent) = (true, true);
        self.last_epoch += 1;
        self.last_epoch
    }

    /// The file is empty: everything is to be written.
    pub(super) fn start_over(&mut self) {
        self.meetings.clear();
        (self.is_whole, self.has_losses, self.is_urgent) = (true, true, true);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.meetings.is_empty() && !self.is_whole && !self.has_losses
    }

    /// Takes everything noted, each meeting once and in order.
    pub(super) fn take(&mut self) -> Batch {
        let mut meetings = std::mem::take(&mut self.meetings);
        meetings.sort_unstable();
        meetings.dedup();
        self.is_urgent = false;
        let is_whole = std::mem::take(&mut self.is_whole);
        let has_losses = std::mem::take(&mut self.has_losses);
        Batch {
            last_epoch: self.last_epoch,
            meetings: (!is_whole).then_some(meetings),
            losses: has_losses.then(|| self.losses.clone()),
        }
    }

    /// `batch` could not be written.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.has_losses |= batch.losses.is_some();
        self.is_urgent = true;
        match batch.meetings {
            None => self.start_over(),
            Some(meetings) => meetings.into_iter().for_each(|meeting| self.add(meeting)),
        }
    }

    fn add(&mut self, meeting: MeetingName) {
        if self.is_whole {
            return;
        }
        if self.meetings.len() >= NOTES_MAX {
            self.meetings = Vec::new();
            self.is_whole = true;
            return;
        }
        self.meetings.push(meeting);
    }
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
