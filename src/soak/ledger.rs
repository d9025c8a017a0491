//! The books of a soak: every call and its one outcome, every pipeline and its one place.
//!
//! Values in, values out: clients and watchers tell what they have sent, received and seen, with the
//! time; the ledger adds up and finds what must not be. It keeps what is open, and counts what is
//! settled: its size depends on the number of clients, not on how long they run.

mod calls;
mod counts;
mod meeting;
mod process;
mod trail;
mod violation;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::model::Time;

pub(super) use self::calls::{Answer, CallId, CallNote};
pub(super) use self::counts::{Counts, millis_histogram};
pub(super) use self::process::{ProcessNumber, Trouble};
pub(super) use self::violation::{Kind, Violation};

use self::calls::OpenCall;
use self::meeting::Meeting;
use self::process::Process;

/// Homes kept of pipelines that no client has told of: answers that were cut leave some behind.
const STRANGERS_MAX: usize = 65_536;

/// Calls given up as silent, or sent twice on purpose, whose late answer is known as such.
const KNOWN_MAX: usize = 65_536;

/// Everything known of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Calls without an outcome; at most those that the clients have under way.
    open: BTreeMap<CallId, OpenCall>,
    /// The highest id sent in each session: what is not above it was sent once.
    highest: BTreeMap<u32, u64>,
    /// Calls that were silent: their answer, if it comes after all, is late and not a second one.
    silent: BTreeSet<CallId>,
    /// Calls that were sent on more than one connection: each sending may be answered.
    resent: BTreeSet<CallId>,
    meetings: BTreeMap<String, Meeting>,
    /// Processes of backends by number, all that there were.
    processes: Vec<Process>,
    /// Times from what was done to a process to the first client told of a loss there.
    told: BTreeMap<Trouble, Vec<Duration>>,
    /// Where pipelines are that no client has told of yet, with when that was heard.
    strangers: HashMap<String, (ProcessNumber, Time)>,
    /// Pipelines that clients told of and that no backend has shown yet, with their meeting.
    homeless: HashMap<String, String>,
    /// Time after which a call without an answer counts as silently lost.
    answer_within: Duration,
    counts: Counts,
    violations: Vec<Violation>,
}

impl Ledger {
    /// Empty books. A call that is open for longer than `answer_within` on one connection is lost.
    pub(super) fn new(answer_within: Duration) -> Self {
        Self {
            open: BTreeMap::new(),
            highest: BTreeMap::new(),
            silent: BTreeSet::new(),
            resent: BTreeSet::new(),
            meetings: BTreeMap::new(),
            processes: Vec::new(),
            told: BTreeMap::new(),
            strangers: HashMap::new(),
            homeless: HashMap::new(),
            answer_within,
            counts: Counts::default(),
            violations: Vec::new(),
        }
    }

    /// What has been counted so far.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The same, to count what the ledger does not judge.
    pub(super) fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// Calls that have no outcome yet.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// What must not be and was, the first [`violation::KEPT_MAX`] of it.
    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Closes the books: whatever is open was silently lost, and calls must add up.
    pub(super) fn close(&mut self, now: Time) {
        let open: Vec<CallId> = self.open.keys().copied().collect();
        for id in open {
            self.lose_silently(id, now);
        }
        let settled = self.counts.settled();
        if self.counts.calls != settled {
            let what = format!("{} calls were sent, {settled} have an outcome", self.counts.calls);
            self.violate(Kind::Unbalanced, "", what, now);
        }
    }

    /// Forgets what nobody will ask for: called now and then.
    pub(super) fn tidy(&mut self, now: Time) {
        let is_young = |heard: Time| now.since(heard) < self.answer_within * 2;
        self.strangers.retain(|_, (_, heard)| is_young(*heard));
        while self.silent.len() > KNOWN_MAX {
            self.silent.pop_first();
        }
        while self.resent.len() > KNOWN_MAX {
            self.resent.pop_first();
        }
    }

    /// Writes a line into the trail of `meeting`, which a violation shows.
    pub(super) fn note(&mut self, meeting: &str, now: Time, line: String) {
        self.meeting(meeting).trail.add(now, line);
    }

    fn meeting(&mut self, name: &str) -> &mut Meeting {
        if !self.meetings.contains_key(name) {
            self.meetings.insert(name.to_owned(), Meeting::default());
        }
        self.meetings.get_mut(name).expect("it was just made")
    }

    fn violate(&mut self, kind: Kind, meeting: &str, what: String, now: Time) {
        self.counts.violate(kind);
        if self.violations.len() < violation::KEPT_MAX {
            let trail = self.meetings.get(meeting).map(|meeting| meeting.trail.lines());
            let meeting = meeting.to_owned();
            let trail = trail.unwrap_or_default();
            self.violations.push(Violation { kind, at: now, meeting, what, trail });
        }
    }
}

#[cfg(test)]
mod tests;
