//! The processes of backends, and what was done to them.

use std::time::Duration;

use super::Ledger;
use crate::model::Time;

/// A process of a backend; a backend that was started again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::soak) struct ProcessNumber(usize);

/// What explains that clients lose what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::soak) enum Trouble {
    /// It was killed.
    Killed,
    /// It was stopped, and goes on later.
    Frozen,
    /// It is drained with a deadline: meetings are let go.
    LetGo,
}

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    /// Name of the backend, and which of its processes this is.
    name: String,
    trouble: Option<(Trouble, Time)>,
    /// When it was left in peace again: what is younger has no excuse.
    calm_since: Option<Time>,
    /// A client was told that something there is gone, after the trouble.
    is_told: bool,
    /// What was done to it last, in words.
    last: Option<(Trouble, Time)>,
}

impl Process {
    /// Its name, and what was done to it last.
    fn story(&self) -> String {
        let Some((trouble, at)) = self.last else { return self.name.clone() };
        let deed = match trouble {
            Trouble::Killed => "killed",
            Trouble::Frozen => "stopped",
            Trouble::LetGo => "drained",
        };
        let seconds = |at: Time| at.since(Time::ZERO).as_secs_f64();
        let calm = self.calm_since.map(|calm| format!(", well since {:.3} s", seconds(calm)));
        let calm = calm.unwrap_or_default();
        format!("{} ({deed} at {:.3} s{calm})", self.name, seconds(at))
    }
}

impl Ledger {
    /// A process called `name` has started.
    pub(in crate::soak) fn process_started(&mut self, name: String) -> ProcessNumber {
        self.processes.push(Process {
            name,
            trouble: None,
            calm_since: None,
            is_told: false,
            last: None,
        });
        ProcessNumber(self.processes.len() - 1)
    }

    /// Something was done to a process. If something else still is, and clients were told of that, it is
    /// not told anew.
    pub(in crate::soak) fn troubled(&mut self, at: ProcessNumber, trouble: Trouble, now: Time) {
        let process = &mut self.processes[at.0];
        let was_calm = process.calm_since.take().is_some();
        process.last = Some((trouble, now));
        if was_calm || !process.is_told {
            process.trouble = Some((trouble, now));
            process.is_told = false;
        }
    }

    /// It was left in peace, and the edge has had time to see that.
    pub(in crate::soak) fn calmed(&mut self, at: ProcessNumber, now: Time) {
        self.processes[at.0].calm_since = Some(now);
    }

    /// Times from each time that `trouble` was made to when the first client was told, where one was.
    pub(in crate::soak) fn told_after(&self, trouble: Trouble) -> &[Duration] {
        self.told.get(&trouble).map_or(&[], Vec::as_slice)
    }

    /// Its name, and what was done to it last.
    pub(super) fn story(&self, at: ProcessNumber) -> String {
        self.processes[at.0].story()
    }

    /// Whether what was done to it last is that it was drained.
    pub(super) fn is_let_go(&self, at: ProcessNumber) -> bool {
        matches!(self.processes[at.0].last, Some((Trouble::LetGo, _)))
    }

    /// A client was told that a pipeline in `at`, made at `born`, is gone. Says whether that has a
    /// cause.
    pub(super) fn is_explained(&mut self, at: ProcessNumber, born: Time, now: Time) -> bool {
        let process = &mut self.processes[at.0];
        let is_explained = match process.calm_since {
            Some(calm) => born < calm,
            None => process.trouble.is_some(),
        };
        if let Some((trouble, made)) = process.trouble.filter(|_| is_explained && !process.is_told)
        {
            process.is_told = true;
            self.told.entry(trouble).or_default().push(now.since(made));
        }
        is_explained
    }
}
