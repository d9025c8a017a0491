//! When what is done to the fleet: pure, decided by the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::settings::SoakSettings;
use crate::model::{Draws, Time};

/// Time that a killed backend is down.
const DOWN: Duration = Duration::from_secs(3);

/// Time that a backend stands still: longer than it takes to be given up.
const FROZEN: Duration = Duration::from_secs(7);

/// Time that a backend stands still so shortly that it should not be given up.
const STUTTER: Duration = Duration::from_secs(1);

/// Time that a backend is full.
const FULL: Duration = Duration::from_secs(5);

/// Time that a backend is drained.
const DRAINED: Duration = Duration::from_secs(6);

/// Time after which what was done is forgotten, and the backend may be chosen again.
const SETTLE: Duration = Duration::from_secs(2);

/// Time until something is tried again that could not be done.
const POSTPONED: Duration = Duration::from_secs(1);

/// For so many kills one backend is filled.
pub(super) const FILL_RARER: u32 = 6;

/// For so many stops one is long, and one short.
pub(super) const STOPS: u32 = 2;

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Kill a backend.
    Kill,
    /// Stop a backend for long.
    Freeze,
    /// Stop a backend for a moment.
    Stutter,
    /// Let a backend refuse what is new.
    Fill,
    /// Drain a backend: it gets no new meetings, and soon loses those it has.
    Drain,
    /// Change the config of the edge, and have it read again.
    Reload,
    /// End the edge, and start another.
    Restart,
}

/// What follows on something that was done to the backend of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    Start(usize),
    Thaw(usize),
    Empty(usize),
    Undrain(usize),
    /// It may be chosen again.
    Calm(usize),
}

/// One of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Do(Act),
    Undo(Undo),
}

/// What is to be done, by time.
#[derive(Debug)]
pub(super) struct Agenda {
    /// By time, and by the order of entry.
    jobs: BTreeMap<(Time, u64), Job>,
    entered: u64,
    periods: Vec<(Act, Duration)>,
}

impl Agenda {
    /// Every act at its times, from `now` on: the first after half to one and a half of its period.
    pub(super) fn new(settings: &SoakSettings, draws: &mut Draws, now: Time) -> Self {
        let kill = settings.kill_every;
        let periods = vec![
            (Act::Kill, kill),
            (Act::Fill, kill * FILL_RARER),
            (Act::Freeze, settings.stop_every * STOPS),
            (Act::Stutter, settings.stop_every * STOPS),
            (Act::Drain, settings.drain_every),
            (Act::Reload, settings.reload_every),
            (Act::Restart, settings.restart_every),
        ];
        let mut agenda = Self { jobs: BTreeMap::new(), entered: 0, periods: periods.clone() };
        for (act, period) in periods.into_iter().filter(|(_, period)| !period.is_zero()) {
            agenda.enter(now + period.mul_f64(0.5 + draws.fraction()), Job::Do(act));
        }
        agenda
    }

    /// When the next job is due; `None` if there is none.
    pub(super) fn next_at(&self) -> Option<Time> {
        self.jobs.keys().next().map(|(at, _)| *at)
    }

    /// Takes out the next job that is due. What is done again and again is entered again.
    pub(super) fn take(&mut self, now: Time) -> Option<Job> {
        let (&(due, _), _) = self.jobs.first_key_value()?;
        if due > now {
            return None;
        }
        let (_, job) = self.jobs.pop_first()?;
        if let Job::Do(act) = job
            && let Some((_, period)) = self.periods.iter().find(|(one, _)| *one == act)
        {
            // From when it was due, so that what took long does not make the rest rarer; but not in
            // the past, so that it does not come twice at once.
            let next = (due + *period).max(now);
            self.enter(next, job);
        }
        Some(job)
    }

    /// `act` cannot be done at `now`: it comes soon, and from then on at its period.
    pub(super) fn postpone(&mut self, act: Act, now: Time) {
        self.jobs.retain(|_, job| *job != Job::Do(act));
        self.enter(now + POSTPONED, Job::Do(act));
    }

    /// `act` was done to backend `at` just now: what follows is entered.
    pub(super) fn done(&mut self, act: Act, at: usize, now: Time) {
        let undo = match act {
            Act::Kill => (DOWN, Undo::Start(at)),
            Act::Freeze => (FROZEN, Undo::Thaw(at)),
            Act::Stutter => (STUTTER, Undo::Thaw(at)),
            Act::Fill => (FULL, Undo::Empty(at)),
            Act::Drain => (DRAINED, Undo::Undrain(at)),
            Act::Reload | Act::Restart => return,
        };
        self.enter(now + undo.0, Job::Undo(undo.1));
    }

    /// Backend `at` is as it was: soon it may be chosen again.
    pub(super) fn undone(&mut self, at: usize, now: Time) {
        self.enter(now + SETTLE, Job::Undo(Undo::Calm(at)));
    }

    /// Takes out the next thing to be undone, due or not; what was to be done is dropped.
    pub(super) fn next_undo(&mut self) -> Option<Undo> {
        loop {
            match self.jobs.pop_first()?.1 {
                Job::Do(_) => {}
                Job::Undo(undo) => return Some(undo),
            }
        }
    }

    fn enter(&mut self, at: Time, job: Job) {
        self.entered += 1;
        self.jobs.insert((at, self.entered), job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Backends are stopped as often as they are killed.
    fn agenda(kill_every: Duration, restart_every: Duration) -> Agenda {
        let settings = SoakSettings {
            program: "pinfold".into(),
            time: SECOND,
            sessions: 2,
            backends: 3,
            kill_every,
            stop_every: kill_every,
            drain_every: Duration::ZERO,
            reload_every: Duration::ZERO,
            restart_every,
            answer_within: SECOND,
            seed: 1,
            state_dir: "state".into(),
            via: None,
        };
        Agenda::new(&settings, &mut Draws::seeded(1), Time::ZERO)
    }

    /// All that is done within `time`, looked at every 100 ms.
    fn run(agenda: &mut Agenda, time: Duration) -> Vec<Job> {
        let mut jobs = Vec::new();
        for at in 0..time.as_millis() / 100 {
            let now = Time::ZERO + Duration::from_millis(100) * u32::try_from(at).unwrap();
            jobs.extend(std::iter::from_fn(|| agenda.take(now)));
        }
        jobs
    }

    #[test]
    fn each_comes_as_often_as_asked_for() {
        let jobs = run(&mut agenda(SECOND * 5, SECOND * 30), SECOND * 120);
        let count = |act| jobs.iter().filter(|job| **job == Job::Do(act)).count();
        assert!((22..=25).contains(&count(Act::Kill)), "{}", count(Act::Kill));
        assert!((3..=5).contains(&count(Act::Restart)));
        let counts = [Act::Fill, Act::Freeze, Act::Stutter].map(count);
        assert!((3..=5).contains(&counts[0]), "{counts:?}");
        assert!(counts[1..].iter().all(|count| (11..=13).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_is_never_asked_for_never_comes() {
        assert_eq!(agenda(Duration::ZERO, Duration::ZERO).next_at(), None);
        let jobs = run(&mut agenda(Duration::ZERO, SECOND), SECOND * 10);
        assert!(jobs.iter().all(|job| *job == Job::Do(Act::Restart)) && jobs.len() > 7);
    }

    #[test]
    fn what_is_postponed_comes_once_and_then_at_its_period() {
        let mut agenda = agenda(Duration::ZERO, SECOND * 10);
        let due = agenda.next_at().unwrap();
        assert_eq!(agenda.take(due), Some(Job::Do(Act::Restart)));
        agenda.postpone(Act::Restart, due);
        assert_eq!(agenda.next_at(), Some(due + POSTPONED));
        assert_eq!(agenda.take(due + POSTPONED), Some(Job::Do(Act::Restart)));
        assert_eq!(agenda.next_at(), Some(due + POSTPONED + SECOND * 10));
    }

    #[test]
    fn what_is_done_is_undone_and_then_calm() {
        let mut agenda = agenda(Duration::ZERO, Duration::ZERO);
        agenda.done(Act::Kill, 2, Time::ZERO);
        assert_eq!(agenda.take(Time::ZERO), None);
        let later = Time::ZERO + DOWN;
        assert_eq!(agenda.take(later), Some(Job::Undo(Undo::Start(2))));
        agenda.undone(2, later);
        assert_eq!(agenda.take(later + SETTLE), Some(Job::Undo(Undo::Calm(2))));
        assert_eq!(agenda.next_at(), None);
    }
}
