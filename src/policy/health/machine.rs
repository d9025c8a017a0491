//! The state machine of one backend's health.

use std::time::Duration;

use super::latency::{Baseline, CallClass, Heard};
use super::rules::HealthRules;
use super::{Cause, Change, Deep, Evidence, Health, ProbeFailure};
use crate::model::{Incarnation, Time};

/// The health of one backend.
#[derive(Clone, Debug)]
pub struct HealthMachine {
    rules: HealthRules,
    health: Health,
    incarnation: Option<Incarnation>,
    /// How often a process of it was given up for lost.
    losses: u32,
    /// The process that was lost last, as the server names it.
    gone: Option<Incarnation>,
    /// The process that answered last, as the server names it.
    named: Option<Incarnation>,
    /// Errors since the last answer.
    errors: u32,
    /// The first failure since the last answer.
    failing_since: Option<Time>,
    /// Set until it is readmitted.
    out: Option<Out>,
    strikes: Strikes,
    /// It would be ejected for this, and others must go on; with the last time it was seen.
    spared: Option<(Cause, Time)>,
    traffic: Traffic,
    deep_failures: u32,
    baselines: [Baseline; CallClass::ALL.len()],
}

/// It takes no new meetings until it is readmitted.
#[derive(Clone, Copy, Debug)]
struct Out {
    cause: Cause,
    /// Until then no answer counts.
    until: Time,
    /// Answers in a row after that.
    answers: u32,
    /// It must pass a deep probe as well.
    needs_deep: bool,
}

/// Ejections that are not forgotten.
#[derive(Clone, Copy, Debug, Default)]
struct Strikes {
    count: u32,
    last: Time,
}

/// When evidence came, and how the rest of its region was.
#[derive(Clone, Copy, Debug)]
struct At {
    now: Time,
    may_keep_out: bool,
}

/// What clients have met within a window.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    since: Time,
    dial_failures: u32,
    unanswered: u32,
    refusals: u32,
}

impl HealthMachine {
    /// A backend not yet heard from, a process of which was given up for lost `losses` times before.
    #[must_use]
    pub fn new(rules: HealthRules, losses: u32) -> Self {
        Self {
            rules,
            health: Health::Unknown,
            incarnation: None,
            losses,
            gone: None,
            named: None,
            errors: 0,
            failing_since: None,
            out: None,
            strikes: Strikes::default(),
            spared: None,
            traffic: Traffic::default(),
            deep_failures: 0,
            baselines: Default::default(),
        }
    }

    /// How evidence adds up.
    #[must_use]
    pub const fn rules(&self) -> &HealthRules {
        &self.rules
    }

    /// From now on evidence adds up so. What it came to so far stays.
    pub const fn set_rules(&mut self, rules: HealthRules) {
        self.rules = rules;
    }

    /// How often a process of it was given up for lost. Whoever starts again with another number takes
    /// the process for another one.
    #[must_use]
    pub const fn losses(&self) -> u32 {
        self.losses
    }

    /// How it is doing.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// The process that answered last, unless it was lost since.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// Why it is out, and until when at least; `None` if it is not.
    #[must_use]
    pub fn out(&self) -> Option<(Cause, Time)> {
        self.out.map(|out| (out.cause, out.until))
    }

    /// Why it would be out, if others were not.
    #[must_use]
    pub fn spared(&self) -> Option<Cause> {
        self.spared.map(|(cause, _)| cause)
    }

    /// The longest time that a call of this class may take without being slow; `None` while that is
    /// not known.
    #[must_use]
    pub fn limit(&self, class: CallClass) -> Option<Duration> {
        self.baselines[class.index()].limit(&self.rules.slow)
    }

    /// Takes in what came at `now`. `may_keep_out` says whether it may be out although it answers: see
    /// [`may_keep_out`](super::may_keep_out).
    pub fn on(&mut self, evidence: &Evidence, now: Time, may_keep_out: bool) -> Change {
        let at = At { now, may_keep_out };
        let before = self.seen();
        let (lost, ejected) = match *evidence {
            Evidence::Answered(process) => self.on_answer(process, at),
            Evidence::Failed(failure) => self.on_failure(failure, now),
            Evidence::Deep(deep) => (None, self.on_deep(deep, at)),
            Evidence::DialFailed => (None, self.on_dial_failed(at)),
            Evidence::Unanswered => (None, self.on_unanswered(at)),
            Evidence::Refused(count) => (None, self.on_refused(count, at)),
            Evidence::Heard(class, heard) => (None, self.on_heard(class, heard, at)),
        };
        Change { is_change: self.seen() != before || lost.is_some(), lost, ejected }
    }

    /// What others see of it.
    fn seen(&self) -> impl PartialEq + use<> {
        (self.health, self.incarnation, self.out(), self.spared())
    }

    fn on_answer(&mut self, process: Incarnation, at: At) -> (Option<Incarnation>, Option<Cause>) {
        let incarnation = process.after_losses(self.losses);
        let lost = self.incarnation.filter(|known| *known != incarnation);
        (self.errors, self.failing_since) = (0, None);
        self.named = Some(process);
        self.incarnation = Some(incarnation);
        let ejected = lost.map(|_| {
            self.forget_process();
            self.leave(Cause::Restarted, at.now);
            Cause::Restarted
        });
        // A first restart, seen or not: what is new is not made to wait.
        if self.strikes.count <= 1 && self.gone.is_some_and(|gone| gone != process) {
            self.out = None;
        }
        self.gone = None;
        self.forget_spared(at.now);
        self.health = self.readmit(at);
        (lost, ejected)
    }

    /// It answers: whether it may have new meetings.
    fn readmit(&mut self, at: At) -> Health {
        let Some(out) = &mut self.out else { return Health::Healthy };
        if at.now < out.until && at.may_keep_out {
            out.answers = 0;
            return Health::Ejected;
        }
        out.answers += 1;
        let is_deep_enough = !out.needs_deep || !at.may_keep_out;
        if out.answers < self.rules.readmit_after.get() || !is_deep_enough {
            return Health::Trial;
        }
        if at.now < out.until {
            self.spared = Some((out.cause, at.now));
        }
        self.out = None;
        Health::Healthy
    }

    fn on_failure(
        &mut self,
        failure: ProbeFailure,
        now: Time,
    ) -> (Option<Incarnation>, Option<Cause>) {
        let since = *self.failing_since.get_or_insert(now);
        self.errors = self.errors.saturating_add(u32::from(failure.is_error()));
        if let Some(out) = &mut self.out {
            out.answers = 0;
        }
        if failure.is_error() && self.errors >= self.rules.eject_after.get() {
            return self.lose(Cause::Errors, now);
        }
        if self.rules.give_up.is_some_and(|patience| now.since(since) >= patience) {
            return self.lose(Cause::Silent, now);
        }
        self.health = match (self.incarnation, self.health) {
            (Some(_), _) => Health::Suspect,
            (None, Health::Unknown) => Health::Unknown,
            (None, _) => Health::Ejected,
        };
        (None, None)
    }

    /// What was there is lost, if anything was.
    fn lose(&mut self, cause: Cause, now: Time) -> (Option<Incarnation>, Option<Cause>) {
        self.health = Health::Ejected;
        let Some(lost) = self.incarnation.take() else {
            let never = Out { cause, until: now, answers: 0, needs_deep: false };
            self.out.get_or_insert(never);
            return (None, None);
        };
        self.losses += 1;
        self.gone = self.named;
        self.forget_process();
        self.leave(cause, now);
        (Some(lost), Some(cause))
    }

    /// What was known of the process that was there says nothing about the next.
    fn forget_process(&mut self) {
        (self.traffic, self.deep_failures, self.spared) = (Traffic::default(), 0, None);
        self.baselines.iter_mut().for_each(Baseline::restart);
    }

    /// It is out from `now` on.
    fn leave(&mut self, cause: Cause, now: Time) {
        let strikes = &mut self.strikes;
        if strikes.count > 0 && now.since(strikes.last) >= self.rules.forgive {
            strikes.count = 0;
        }
        *strikes = Strikes { count: strikes.count.saturating_add(1), last: now };
        let needs_deep = self.rules.has_deep && !cause.is_loss();
        let until = now + self.rules.backoff(strikes.count, cause);
        let waits = until > now || !cause.is_loss();
        // A new process is as good as any; one that was lost and is the same must prove itself.
        self.out = (waits || cause != Cause::Restarted).then_some(Out {
            cause,
            until,
            answers: 0,
            needs_deep,
        });
    }

    /// It is out, because of evidence that is less than a loss; unless that may not be, or it is out.
    fn eject(&mut self, cause: Cause, at: At) -> Option<Cause> {
        match (self.incarnation, self.health) {
            (None, _) | (_, Health::Unknown | Health::Ejected) => return None,
            (Some(_), Health::Suspect) if self.out.is_some() => return None,
            (Some(_), Health::Healthy | Health::Suspect | Health::Trial) => {}
        }
        if !at.may_keep_out {
            self.spared = Some((cause, at.now));
            return None;
        }
        self.leave(cause, at.now);
        self.traffic = Traffic::default();
        if self.failing_since.is_none() {
            self.health = Health::Ejected;
        }
        Some(cause)
    }

    fn on_deep(&mut self, deep: Deep, at: At) -> Option<Cause> {
        match deep {
            // Nothing new: it says nothing at all.
            Deep::Passed(_) | Deep::Refused | Deep::Failed if self.failing_since.is_some() => None,
            Deep::Passed(took) => self.on_deep_passed(took, at),
            Deep::Refused => self.eject(Cause::Full, at),
            Deep::Failed => {
                self.deep_failures = self.deep_failures.saturating_add(1);
                let is_many = self.deep_failures >= self.rules.deep_failures.get();
                let is_on_trial = self.health == Health::Trial;
                if is_many || is_on_trial { self.eject(Cause::Deep, at) } else { None }
            }
        }
    }

    fn on_deep_passed(&mut self, took: Duration, at: At) -> Option<Cause> {
        self.deep_failures = 0;
        self.spared = self.spared.filter(|(cause, _)| !cause.is_told_by_deep());
        let limit = self.limit(CallClass::Pipeline);
        let is_slow = limit.is_some_and(|limit| took > limit);
        let mut heard = Heard::default();
        heard.add(took, limit);
        if self.hear(CallClass::Pipeline, heard) {
            return self.eject(Cause::Slow, at);
        }
        let on_trial = self.out.as_mut().filter(|_| self.health == Health::Trial)?;
        if is_slow && on_trial.cause == Cause::Slow {
            return self.eject(Cause::Slow, at);
        }
        on_trial.needs_deep = false;
        None
    }

    fn on_dial_failed(&mut self, at: At) -> Option<Cause> {
        self.doubt();
        let traffic = self.traffic.at(at.now, self.rules.window);
        traffic.dial_failures = traffic.dial_failures.saturating_add(1);
        let is_many = is_many(traffic.dial_failures, self.rules.dial_failures);
        if is_many { self.eject(Cause::Dial, at) } else { None }
    }

    fn on_unanswered(&mut self, at: At) -> Option<Cause> {
        self.doubt();
        let traffic = self.traffic.at(at.now, self.rules.window);
        traffic.unanswered = traffic.unanswered.saturating_add(1);
        let is_many = is_many(traffic.unanswered, self.rules.unanswered);
        if is_many { self.eject(Cause::Unanswered, at) } else { None }
    }

    /// A client has met a backend that does not answer: the next probe will tell, until then no new
    /// meetings.
    const fn doubt(&mut self) {
        self.health = match self.health {
            Health::Healthy => Health::Suspect,
            other @ (Health::Unknown | Health::Suspect | Health::Ejected | Health::Trial) => other,
        };
    }

    fn on_refused(&mut self, count: u32, at: At) -> Option<Cause> {
        let traffic = self.traffic.at(at.now, self.rules.window);
        traffic.refusals = traffic.refusals.saturating_add(count);
        let is_many = is_many(traffic.refusals, self.rules.refusals);
        if is_many { self.eject(Cause::Full, at) } else { None }
    }

    fn on_heard(&mut self, class: CallClass, heard: Heard, at: At) -> Option<Cause> {
        if self.hear(class, heard) { self.eject(Cause::Slow, at) } else { None }
    }

    /// Whether these answers complete a window that was slow.
    fn hear(&mut self, class: CallClass, heard: Heard) -> bool {
        self.baselines[class.index()].take(heard, &self.rules.slow)
    }

    /// The alarm ends when nothing has called for it for a while, or a deep probe has.
    fn forget_spared(&mut self, now: Time) {
        let is_told = |cause: Cause| self.rules.has_deep && cause.is_told_by_deep();
        let lasts =
            |&(cause, seen): &(Cause, Time)| is_told(cause) || now.since(seen) < self.rules.window;
        self.spared = self.spared.filter(lasts);
    }
}

impl Traffic {
    /// That of the window at `now`.
    fn at(&mut self, now: Time, window: Duration) -> &mut Self {
        if now.since(self.since) >= window {
            *self = Self { since: now, ..Self::default() };
        }
        self
    }
}

/// Whether `count` reaches a maximum that is not 0.
const fn is_many(count: u32, max: u32) -> bool {
    max > 0 && count >= max
}
