//! Decisions that were made, kept for whoever asks why.
//!
//! What is kept are the inputs of a choice and what it came to. Why it came to that is worked out when
//! somebody asks, by making the choice again, which is a function of these inputs; so keeping one costs
//! no more than copying what was seen of each backend.
//! Not here: the lock around it (`proxy`), and how it is shown (`admin`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::choose::{
    Candidate, Chooser, Decision, Outcome, Profile, Request, Rules, Scene, Stand, Standing,
};
use super::load::Load;
use super::promise::Source;
use crate::model::{MeetingName, SessionId, Time};

/// Backends that all kept decisions together remember the load of, 40 bytes each: 10,000 decisions
/// among 100 backends, or 1,000 among 1,000. Beyond it the oldest decisions go. Decisions one after
/// the other that saw the very same share what they saw.
pub const SEEN_MAX: usize = 1 << 20;

/// Why a backend was to be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The meeting had no pin.
    New,
    /// It had the pin of a process that has lost it. One whose pin was removed before it came back is
    /// new.
    Replaced,
}

/// One choice: what it depended on besides the backends, and what it came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// When it was asked for.
    pub at: Time,
    /// How long it took, the wait for the choice before it included.
    pub took: Duration,
    /// The meeting; `None` if it has no name.
    pub meeting: Option<MeetingName>,
    /// Whose pipeline it was made for.
    pub session: Option<SessionId>,
    /// Why there was a choice to make.
    pub cause: Cause,
    /// Where the reserve is from.
    pub source: Source,
    /// Counts the configs: which one the rules and profiles are from.
    pub config: u64,
    /// What was to be placed.
    pub request: Request,
    /// How.
    pub rules: Rules,
    /// What it came to; indices of the backends as they were seen.
    pub outcome: Outcome,
}

/// What was seen of one backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Whether it took new meetings.
    pub standing: Standing,
    /// How loaded it was.
    pub load: Load,
}

/// A decision that is kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Counts the decisions of the process, from 1.
    pub id: u64,
    /// Number of the claim that pinned the meeting where this decision says, 0 if it has no name;
    /// `None` if it came to no pin: nothing was chosen, or another was faster.
    pub epoch: Option<u64>,
    /// The choice.
    pub choice: Arc<Choice>,
    profiles: Arc<[Arc<Profile>]>,
    seen: Arc<[Seen]>,
}

/// The last decisions, bounded by their number and by [`SEEN_MAX`]: beyond either the oldest go.
#[derive(Debug)]
pub struct Decisions {
    max: usize,
    seen_max: usize,
    /// Oldest first, their ids without a gap.
    kept: VecDeque<Entry>,
    /// The newest of each meeting that is named in `kept`.
    newest: HashMap<MeetingName, u64>,
    last_id: u64,
    seen_count: usize,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// The one before of the same meeting, which may have gone.
    before: Option<u64>,
}

impl Kept {
    /// The backends as they were seen, in that order.
    fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> + Clone {
        let both = self.profiles.iter().zip(self.seen.iter());
        both.map(|(profile, &Seen { standing, load })| Candidate { profile, standing, load })
    }

    /// Why it came to what it came to.
    #[must_use]
    pub fn explain(&self) -> Decision {
        let Choice { config, request, rules, outcome, .. } = &*self.choice;
        let mut chooser = Chooser::default();
        let again = chooser.choose(request, rules, self.candidates());
        debug_assert_eq!(again, *outcome, "equal inputs give equal choices");
        chooser.explain((*config, request, rules), self.candidates(), *outcome)
    }

    /// All that it depended on, to make it again elsewhere.
    #[must_use]
    pub fn scene(&self) -> Scene {
        let Choice { config, request, rules, .. } = &*self.choice;
        let stand = |Candidate { profile, standing, load }: Candidate<'_>| Stand {
            profile: profile.clone(),
            standing,
            load,
        };
        let backends = self.candidates().map(stand).collect();
        Scene { config: *config, request: request.clone(), rules: *rules, backends }
    }
}

impl Decisions {
    /// None yet, and `max` at most.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let (kept, newest) = (VecDeque::new(), HashMap::new());
        Self { max, seen_max: SEEN_MAX, kept, newest, last_id: 0, seen_count: 0 }
    }

    /// Keeps `choice`, made among `profiles` as they were `seen`; returns its id. One that waits on is
    /// not kept again each time it was tried.
    pub fn keep<'a>(
        &mut self,
        choice: Choice,
        profiles: impl ExactSizeIterator<Item = &'a Arc<Profile>> + Clone,
        seen: Vec<Seen>,
    ) -> u64 {
        debug_assert_eq!(profiles.len(), seen.len(), "each backend was seen");
        if let Some(same) = self.waiting(&choice) {
            return same;
        }
        self.last_id += 1;
        let id = self.last_id;
        if self.max == 0 {
            return id;
        }
        let before = choice.meeting.clone().and_then(|meeting| self.newest.insert(meeting, id));
        let (profiles, seen) = self.shared(profiles, seen);
        let kept = Kept { id, epoch: None, choice: Arc::new(choice), profiles, seen };
        self.kept.push_back(Entry { kept, before });
        self.trim();
        id
    }

    /// At most `max` from now on.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
        self.trim();
    }

    fn trim(&mut self) {
        while self.kept.len() > self.max || (self.seen_count > self.seen_max && self.kept.len() > 1)
        {
            self.forget_oldest();
        }
    }

    /// The decision `id` has pinned its meeting with this epoch.
    pub fn pinned(&mut self, id: u64, epoch: u64) {
        if let Some(entry) = self.index(id).and_then(|index| self.kept.get_mut(index)) {
            entry.kept.epoch = Some(epoch);
        }
    }

    /// That decision; `None` if it was never made, or has gone.
    #[must_use]
    pub fn of_id(&self, id: u64) -> Option<&Kept> {
        self.entry(id).map(|entry| &entry.kept)
    }

    /// Those about `meeting`, newest first.
    pub fn of_meeting(&self, meeting: &MeetingName) -> impl Iterator<Item = &Kept> {
        let newest = self.newest.get(meeting).and_then(|&id| self.entry(id));
        let entries = std::iter::successors(newest, |entry| self.entry(entry.before?));
        entries.map(|entry| &entry.kept)
    }

    /// All of them, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter().rev().map(|entry| &entry.kept)
    }

    fn entry(&self, id: u64) -> Option<&Entry> {
        self.kept.get(self.index(id)?)
    }

    fn index(&self, id: u64) -> Option<usize> {
        let oldest = self.kept.front()?.kept.id;
        usize::try_from(id.checked_sub(oldest)?).ok()
    }

    /// The decision that the same session waits by already, if `choice` is to wait too.
    fn waiting(&self, choice: &Choice) -> Option<u64> {
        let last = self.of_meeting(choice.meeting.as_ref()?).next()?;
        let waits = |choice: &Choice| choice.outcome == Outcome::Queued;
        let is_same = waits(choice) && waits(&last.choice) && last.choice.session == choice.session;
        is_same.then_some(last.id)
    }

    /// What was seen, shared with the decision before as far as it saw the same.
    fn shared<'a>(
        &mut self,
        profiles: impl ExactSizeIterator<Item = &'a Arc<Profile>> + Clone,
        seen: Vec<Seen>,
    ) -> (Arc<[Arc<Profile>]>, Arc<[Seen]>) {
        let last = self.kept.back().map(|entry| &entry.kept);
        let is_same = |kept: &&Kept| {
            let both = kept.profiles.iter().zip(profiles.clone());
            kept.profiles.len() == profiles.len()
                && both.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let same_profiles = last.filter(is_same).map(|kept| kept.profiles.clone());
        let same_seen = last.filter(|kept| *kept.seen == *seen).map(|kept| kept.seen.clone());
        if same_seen.is_none() {
            self.seen_count += seen.len();
        }
        let profiles = same_profiles.unwrap_or_else(|| profiles.cloned().collect());
        (profiles, same_seen.unwrap_or_else(|| seen.into()))
    }

    fn forget_oldest(&mut self) {
        let Some(Entry { kept, .. }) = self.kept.pop_front() else { return };
        let next = self.kept.front();
        if next.is_none_or(|next| !Arc::ptr_eq(&next.kept.seen, &kept.seen)) {
            self.seen_count -= kept.seen.len();
        }
        if let Some(meeting) = &kept.choice.meeting
            && self.newest.get(meeting) == Some(&kept.id)
        {
            self.newest.remove(meeting);
        }
    }
}

#[cfg(test)]
mod tests;
