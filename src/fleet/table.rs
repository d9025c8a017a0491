//! The backend table: what each probe changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::asker::{Asked, QUESTIONS_MAX};
use super::control::ServerFacts;
use super::expected::Expected;
use super::samples::Samples;
use super::snapshot::{BackendView, FleetSnapshot};
use super::stay::{Drain, Stay};
use super::task::Loss;
use super::wanted::configured_drain;
use crate::model::{BackendId, Incarnation, MachineUsage, Time, Usage};
use crate::pins::BackendLoad;
use crate::policy::health::{
    CallClass, Cause, Change, Deep, Evidence, Health, HealthMachine, HealthRules, ProbeFailure,
    may_keep_out,
};
use crate::protocol::server_info::{FleetInfo, merge_infos};
use crate::settings::BackendSettings;

/// How a probe ended, with all that was learned.
#[derive(Debug)]
pub(crate) enum Report {
    /// It was answered within `took`; `facts` if they were asked for again.
    Answered { incarnation: Incarnation, facts: Option<ServerFacts>, took: Duration },
    /// That process has measured this of itself.
    Sampled { incarnation: Incarnation, usage: Usage },
    /// The agent beside it says this of its machine.
    Told(MachineUsage),
    /// It failed.
    Failed(ProbeFailure),
    /// That process was asked to make a pipeline, and this became of it.
    Deep(Incarnation, Deep),
    /// A client's link to that process could not be opened.
    DialFailed(Option<Incarnation>),
    /// A client's call was not answered in time by that process.
    Unanswered(Option<Incarnation>),
}

/// What a report has changed.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// What was lost, with the token of that process.
    pub(super) loss: Option<(Loss, CancellationToken)>,
    /// Why its backend was ejected, or lost what it had, just now.
    pub(super) ejected: Option<Cause>,
    /// Whether there is news worth a snapshot.
    pub(super) is_news: bool,
}

/// The label by which backends are of one region; those without one are of one, too.
const REGION: &str = "region";

/// All backends with their health.
#[derive(Debug)]
pub(super) struct FleetTable {
    /// By number.
    pub(super) rows: BTreeMap<usize, Row>,
    /// The number of the next that is added.
    next: usize,
    /// The fleet as it is to be.
    pub(super) wanted: Vec<BackendSettings>,
    /// Those that are wanted, and were drained to be removed.
    pub(super) retired: BTreeSet<BackendId>,
    /// Those that may have meetings nobody has heard of.
    pub(super) expected: Arc<Expected>,
    /// How often backends that are not here were lost.
    pub(super) losses: BTreeMap<BackendId, u32>,
    rules: HealthRules,
    generation: u64,
    server_info: Option<Arc<str>>,
    missing_modules: Vec<&'static str>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) settings: BackendSettings,
    pub(super) view: BackendView,
    pub(super) health: HealthMachine,
    /// How it is drained, if anybody wants that.
    pub(super) drain: Option<Drain>,
    info: Option<Arc<str>>,
}

/// A backend that was added, for whoever looks after it.
#[derive(Debug)]
pub(crate) struct Recruit {
    pub(crate) number: usize,
    pub(crate) settings: BackendSettings,
    /// Questions to it.
    pub(crate) asked: mpsc::Receiver<Asked>,
}

impl FleetTable {
    /// A fleet without backends.
    pub(super) fn new(rules: HealthRules) -> Self {
        Self {
            rows: BTreeMap::new(),
            next: 0,
            wanted: Vec::new(),
            retired: BTreeSet::new(),
            expected: Arc::default(),
            losses: BTreeMap::new(),
            rules,
            generation: 0,
            server_info: None,
            missing_modules: Vec::new(),
        }
    }

    /// Adds a backend, which nobody has heard from.
    pub(super) fn add(&mut self, settings: BackendSettings, now: Time) -> Recruit {
        let number = self.next;
        self.next += 1;
        let losses = self.losses.remove(&settings.id).unwrap_or_default();
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let row = Row::new((number, settings.clone()), (self.rules, losses), questions, now);
        self.rows.insert(number, row);
        Recruit { number, settings, asked }
    }

    /// Nothing was heard of any backend; processes of them were given up for lost that often before.
    pub(super) fn remember(&mut self, losses: &BTreeMap<BackendId, u32>) {
        self.losses.clone_from(losses);
        for row in self.rows.values_mut() {
            if let Some(count) = self.losses.remove(&row.view.id) {
                row.health = HealthMachine::new(*row.health.rules(), count);
            }
        }
    }

    /// Evidence adds up so from now on.
    pub(super) fn set_rules(&mut self, rules: HealthRules) {
        self.rules = rules;
        for row in self.rows.values_mut() {
            row.health.set_rules(rules);
        }
    }

    /// What is known of the backend with that number; `None` if it has gone.
    pub(super) fn view(&self, number: usize) -> Option<&BackendView> {
        self.rows.get(&number).map(|row| &row.view)
    }

    /// How often processes of the backend with that number were given up for lost.
    pub(super) fn losses(&self, number: usize) -> u32 {
        self.rows.get(&number).map_or(0, |row| row.health.losses())
    }

    pub(super) fn snapshot(&self) -> FleetSnapshot {
        FleetSnapshot {
            generation: self.generation,
            backends: self.rows.values().map(|row| Arc::new(row.view.clone())).collect(),
            server_info: self.server_info.clone(),
        }
    }

    /// Modules that clients insist on and the fleet as a whole does not have.
    pub(super) fn missing_modules(&self) -> &[&'static str] {
        &self.missing_modules
    }

    /// Takes in a report on the backend with that number, which came at `now`.
    pub(super) fn apply(&mut self, number: usize, report: Report, now: Time) -> Applied {
        let may_keep_out = self.may_keep_out(number);
        // One that has gone meanwhile is of no interest.
        let Some(row) = self.rows.get_mut(&number) else { return Applied::default() };
        let failure = row.view.last_failure;
        let change = row.apply(report, now, may_keep_out);
        let loss = change.lost.map(|incarnation| {
            let token = std::mem::take(&mut row.view.lost);
            (Loss { backend: row.view.id.clone(), incarnation }, token)
        });
        row.follow_health(now);
        let is_news = change.is_change || loss.is_some() || row.view.last_failure != failure;
        if is_news {
            self.on_news();
        }
        Applied { loss, ejected: change.ejected, is_news }
    }

    /// Whether the backend with that number may be kept out although it answers. Those that are to go
    /// anyway are no part of its region.
    fn may_keep_out(&self, number: usize) -> bool {
        let Some(row) = self.rows.get(&number) else { return false };
        let is_near =
            |other: &&Row| other.view.stay == Stay::Open && other.region() == row.region();
        let region = || self.rows.values().filter(is_near);
        let is_open = |other: &&Row| other.view.number != number && other.view.takes_pins();
        may_keep_out(region().filter(is_open).count(), region().count())
    }

    /// There is something to be published.
    pub(super) fn on_news(&mut self) {
        self.generation += 1;
        self.merge_infos();
    }

    /// Makes one answer of what the servers say of themselves, those that are not given up.
    fn merge_infos(&mut self) {
        let heard = self.rows.values().filter(|row| row.view.incarnation.is_some());
        let infos = heard.filter_map(|row| row.info.as_deref());
        if let Some(FleetInfo { text, missing }) = merge_infos(infos) {
            self.missing_modules = missing;
            if self.server_info.as_deref() != Some(text.as_str()) {
                self.server_info = Some(text.into());
            }
        }
    }
}

/// From its own start on, an edge takes a backend for one that was there before.
const STARTING: Duration = Duration::from_secs(10);

pub(super) fn samples(settings: &BackendSettings) -> Samples {
    let memory_max_kb = u64::from(settings.memory_mb) * 1_024;
    Samples::new((memory_max_kb > 0).then_some(memory_max_kb), settings.report_url.is_some())
}

impl Row {
    fn new(
        (number, settings): (usize, BackendSettings),
        (rules, losses): (HealthRules, u32),
        questions: mpsc::Sender<Asked>,
        now: Time,
    ) -> Self {
        let health = HealthMachine::new(rules, losses);
        let drain = configured_drain(&settings, now);
        let view = BackendView {
            number,
            id: settings.id.clone(),
            url: settings.url.clone(),
            profile: Arc::new(settings.profile()),
            capacity: settings.capacity,
            stay: drain.map_or(Stay::Open, Stay::Draining),
            health: health.health(),
            incarnation: None,
            server_id: None,
            version: None,
            last_probe: Arc::default(),
            last_deep: Arc::default(),
            last_failure: None,
            out: None,
            spared: None,
            pulse: Arc::default(),
            load: Arc::new(BackendLoad::default()),
            usage: Arc::default(),
            samples: Arc::new(samples(&settings)),
            heard: Time::ZERO,
            admitted: None,
            lost: CancellationToken::new(),
            kick: Arc::default(),
            questions,
        };
        Self { settings, view, health, drain, info: None }
    }

    /// Shows what has become of its health.
    fn follow_health(&mut self, now: Time) {
        let Self { view, health, .. } = self;
        let before = std::mem::replace(&mut view.health, health.health());
        (view.out, view.spared) = (health.out(), health.spared());
        let is_other = view.incarnation != health.incarnation();
        if is_other {
            view.incarnation = health.incarnation();
            view.heard = now;
            view.usage.set(Usage::default());
            view.samples.on_new_process();
        }
        let is_back = match before {
            Health::Unknown | Health::Ejected | Health::Trial => true,
            Health::Healthy | Health::Suspect => is_other,
        };
        // At the start of the edge it is the edge that is new.
        let is_new = before != Health::Unknown || now.since(Time::ZERO) > STARTING;
        if view.health == Health::Healthy && is_back && is_new {
            view.admitted = Some(now);
        }
    }

    fn region(&self) -> Option<&str> {
        self.view.profile.labels.value(REGION)
    }

    fn apply(&mut self, report: Report, now: Time, may_keep_out: bool) -> Change {
        match report {
            Report::Answered { incarnation, facts, took } => {
                self.view.last_probe.set(took);
                self.view.last_failure = None;
                if let Some(facts) = facts {
                    self.view.server_id = Some(facts.server_id);
                    self.view.version = facts.version;
                    self.info = Some(facts.info);
                }
                let felt = self.take_pulse(now, may_keep_out);
                let answered = Evidence::Answered(incarnation);
                felt.and(self.health.on(&answered, now, may_keep_out))
            }
            Report::Sampled { incarnation, usage } => {
                // What was there before the news of a loss says nothing about what is there now.
                if self.view.incarnation == Some(self.as_counted(incarnation)) {
                    self.view.usage.set(usage);
                    self.view.samples.on_server(usage.cpu_percent, usage.memory_kb, now);
                }
                Change::default()
            }
            Report::Told(usage) => {
                self.view.samples.on_agent(&usage, now);
                Change::default()
            }
            Report::Failed(failure) => {
                self.view.last_failure = Some(failure);
                self.health.on(&Evidence::Failed(failure), now, may_keep_out)
            }
            // News of a process that is gone already says nothing about this one.
            Report::Deep(process, _) if Some(process) != self.view.incarnation => Change::default(),
            Report::Deep(_, deep) => {
                if let Deep::Passed(took) = deep {
                    self.view.last_deep.set(took);
                }
                self.health.on(&Evidence::Deep(deep), now, may_keep_out)
            }
            Report::DialFailed(process) | Report::Unanswered(process)
                if process != self.view.incarnation =>
            {
                Change::default()
            }
            Report::DialFailed(_) => self.health.on(&Evidence::DialFailed, now, may_keep_out),
            Report::Unanswered(_) => self.health.on(&Evidence::Unanswered, now, may_keep_out),
        }
    }

    /// The process that a server names so, told from those that were lost.
    fn as_counted(&self, process: Incarnation) -> Incarnation {
        process.after_losses(self.health.losses())
    }

    /// Takes in what clients have met since the last probe.
    fn take_pulse(&mut self, now: Time, may_keep_out: bool) -> Change {
        let felt = self.view.pulse.take();
        let mut change = Change::default();
        if felt.refusals > 0 {
            change = self.health.on(&Evidence::Refused(felt.refusals), now, may_keep_out);
        }
        for (class, heard) in CallClass::ALL.into_iter().zip(felt.heard) {
            let heard = Evidence::Heard(class, heard);
            change = change.and(self.health.on(&heard, now, may_keep_out));
        }
        self.view.pulse.set_limits(CallClass::ALL.map(|class| self.health.limit(class)));
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Legs;
    use crate::settings::{BackendUrl, ProbeSettings};

    fn table() -> FleetTable {
        let backend = |id: &str| {
            let url = BackendUrl::parse(&format!("ws://{id}:8888/kurento")).unwrap();
            BackendSettings::new(BackendId::parse(id).unwrap(), url, Legs(10))
        };
        let mut table = FleetTable::new(ProbeSettings::default().rules());
        table.want(vec![backend("a"), backend("b")], Time::ZERO);
        table
    }

    /// Takes in what comes as soon as the edge has started.
    fn apply(
        table: &mut FleetTable,
        index: usize,
        report: Report,
    ) -> (Option<(Loss, CancellationToken)>, bool) {
        let applied = table.apply(index, report, Time::ZERO);
        (applied.loss, applied.is_news)
    }

    fn answered(process: u64) -> Report {
        let facts = ServerFacts {
            server_id: "s".into(),
            version: Some("7".into()),
            info: format!("{{\"process\":{process}}}").into(),
        };
        Report::Answered {
            incarnation: Incarnation(process),
            facts: Some(facts),
            took: Duration::from_millis(1),
        }
    }

    #[test]
    fn what_the_fleet_says_of_itself_is_made_of_all_that_are_heard_and_stays() {
        let told = |process: u64, module: &str| {
            let Report::Answered { incarnation, facts, took } = answered(process) else {
                unreachable!("it was answered")
            };
            let info = format!(r#"{{"modules":[{{"name":"{module}","version":"1"}}]}}"#).into();
            Report::Answered { incarnation, facts: facts.map(|f| ServerFacts { info, ..f }), took }
        };
        let has = |table: &FleetTable, module: &str| {
            table.snapshot().server_info.is_some_and(|info| info.contains(module))
        };
        let mut table = table();
        apply(&mut table, 1, told(2, "crowd"));
        assert!(has(&table, "crowd"));
        assert_eq!(table.missing_modules(), ["core", "elements", "filters"]);
        apply(&mut table, 0, told(1, "plate"));
        assert!(!has(&table, "crowd") && !has(&table, "plate"), "neither is everywhere");
        for _ in 0..3 {
            apply(&mut table, 0, Report::Failed(ProbeFailure::Refused));
        }
        assert!(has(&table, "crowd"), "a backend that is given up does not count");
        for _ in 0..3 {
            apply(&mut table, 1, Report::Failed(ProbeFailure::Refused));
        }
        assert!(has(&table, "crowd"), "kept when all are given up");
    }

    #[test]
    fn a_measurement_counts_for_the_process_that_made_it() {
        let mut table = table();
        let shown = table.snapshot();
        let usage = Usage { cpu_count: Some(4), cpu_percent: Some(50.0), memory_kb: Some(1_000) };
        let sampled = |process| Report::Sampled { incarnation: Incarnation(process), usage };
        apply(&mut table, 0, sampled(1));
        assert_eq!(shown.usage(), Usage::default(), "of nobody");
        apply(&mut table, 0, answered(1));
        assert!(!apply(&mut table, 0, sampled(1)).1, "no news");
        assert_eq!((shown.usage(), shown.backends[0].usage.last()), (usage, usage));
        apply(&mut table, 0, sampled(9));
        apply(&mut table, 0, answered(2));
        assert_eq!(shown.usage(), Usage::default(), "another process");
    }

    #[test]
    fn a_measurement_counts_after_a_loss_too() {
        let mut table = table();
        let shown = table.snapshot();
        apply(&mut table, 0, answered(1));
        (0..3).for_each(|_| drop(apply(&mut table, 0, Report::Failed(ProbeFailure::Refused))));
        (0..2).for_each(|_| drop(apply(&mut table, 0, answered(1))));
        let usage = Usage { cpu_percent: Some(50.0), ..Usage::default() };
        apply(&mut table, 0, Report::Sampled { incarnation: Incarnation(1), usage });
        assert_eq!(shown.backends[0].usage.last(), usage);
    }

    #[test]
    fn a_backend_starts_slowly_when_it_is_new_or_back_and_not_when_the_edge_is() {
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let mut table = table();
        let admitted = |table: &FleetTable, index: usize| {
            table.snapshot().backends[index].admitted.map(|at| at.as_micros() / 1_000_000)
        };
        let failed = || Report::Failed(ProbeFailure::Refused);
        for (index, second, report, expected) in [
            (0, 1, answered(1), None),
            (0, 20, failed(), None),
            (0, 21, answered(1), None),
            (1, 60, answered(7), Some(60)),
            (1, 70, answered(8), Some(70)),
            (0, 80, failed(), None),
            (0, 81, failed(), None),
            (0, 82, failed(), None),
            (0, 90, answered(1), None),
            (0, 91, answered(1), Some(91)),
            (0, 99, answered(1), Some(91)),
        ] {
            table.apply(index, report, at(second));
            assert_eq!(admitted(&table, index), expected, "kms {index} at {second} s");
        }
    }

    #[test]
    fn a_loss_is_told_once_with_the_token_of_that_process_only() {
        let mut table = table();
        apply(&mut table, 0, answered(1));
        let old = table.snapshot().backends[0].lost.clone();
        let (loss, is_news) = apply(&mut table, 0, answered(2));
        let (loss, token) = loss.unwrap();
        token.cancel();
        assert_eq!(loss.incarnation, Incarnation(1));
        assert!(is_news && old.is_cancelled());
        assert!(!table.snapshot().backends[0].lost.is_cancelled());
        assert!(apply(&mut table, 0, answered(2)).0.is_none());
    }

    #[test]
    fn a_failed_link_makes_its_own_process_suspect() {
        let mut table = table();
        apply(&mut table, 0, answered(1));
        apply(&mut table, 0, Report::DialFailed(Some(Incarnation(9))));
        assert_eq!(table.snapshot().backends[0].health, Health::Healthy);
        apply(&mut table, 0, Report::DialFailed(Some(Incarnation(1))));
        assert_eq!(table.snapshot().backends[0].health, Health::Suspect);
    }

    #[test]
    fn the_time_of_a_probe_is_seen_though_it_is_no_news() {
        let mut table = table();
        let shown = table.snapshot().backends[0].last_probe.clone();
        assert_eq!(shown.last(), None);
        for millis in [1, 5, 0] {
            let took = Duration::from_millis(millis);
            apply(
                &mut table,
                0,
                Report::Answered { incarnation: Incarnation(1), facts: None, took },
            );
            assert_eq!(shown.last(), Some(took));
        }
        apply(&mut table, 0, Report::Failed(ProbeFailure::Refused));
        assert_eq!(shown.last(), Some(Duration::ZERO), "that of the last one answered");
        assert_eq!(table.snapshot().backends[1].last_probe.last(), None);
    }

    #[test]
    fn a_probe_that_changes_nothing_is_no_news() {
        let mut table = table();
        assert!(apply(&mut table, 0, answered(1)).1);
        assert!(!apply(&mut table, 0, answered(1)).1);
        assert!(apply(&mut table, 0, Report::Failed(ProbeFailure::Refused)).1);
    }
}
