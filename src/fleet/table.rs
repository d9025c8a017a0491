//! The backend table: what each probe changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::control::ServerFacts;
use super::snapshot::{BackendView, FleetSnapshot};
use super::task::Loss;
use crate::model::{BackendId, Incarnation, Usage};
use crate::pins::BackendLoad;
use crate::policy::health::{Change, HealthMachine, Probe, ProbeFailure, Thresholds};
use crate::protocol::server_info::{FleetInfo, merge_infos};
use crate::settings::BackendSettings;

/// How a probe ended, with all that was learned.
#[derive(Debug)]
pub(crate) enum Report {
    /// It was answered within `took`; `facts` if they were asked for again.
    Answered { incarnation: Incarnation, facts: Option<ServerFacts>, took: Duration },
    /// That process has measured this of itself.
    Sampled { incarnation: Incarnation, usage: Usage },
    /// It failed.
    Failed(ProbeFailure),
    /// A client's link to that process failed.
    LinkFailed(Option<Incarnation>),
}

/// All backends with their health.
#[derive(Debug)]
pub(super) struct FleetTable {
    rows: Vec<Row>,
    generation: u64,
    server_info: Option<Arc<str>>,
    missing_modules: Vec<&'static str>,
}

#[derive(Debug)]
struct Row {
    view: BackendView,
    health: HealthMachine,
    info: Option<Arc<str>>,
}

impl FleetTable {
    pub(super) fn new(backends: &[BackendSettings], thresholds: Thresholds) -> Self {
        let row = |settings: &BackendSettings| {
            let health = HealthMachine::new(thresholds, 0);
            let view = BackendView {
                id: settings.id.clone(),
                url: settings.url.clone(),
                profile: Arc::new(settings.profile()),
                capacity: settings.capacity,
                health: health.health(),
                incarnation: None,
                server_id: None,
                version: None,
                last_probe: Arc::default(),
                last_failure: None,
                load: Arc::new(BackendLoad::default()),
                usage: Arc::default(),
                lost: CancellationToken::new(),
            };
            Row { view, health, info: None }
        };
        Self {
            rows: backends.iter().map(row).collect(),
            generation: 0,
            server_info: None,
            missing_modules: Vec::new(),
        }
    }

    /// Nothing was heard of any backend; processes of them were given up for lost that often before.
    pub(super) fn remember(&mut self, losses: &BTreeMap<BackendId, u32>) {
        for row in &mut self.rows {
            if let Some(count) = losses.get(&row.view.id) {
                row.health = HealthMachine::new(row.health.thresholds(), *count);
            }
        }
    }

    /// How often processes of the backend with that index were given up for lost.
    pub(super) fn losses(&self, index: usize) -> u32 {
        self.rows[index].health.losses()
    }

    pub(super) fn snapshot(&self) -> FleetSnapshot {
        FleetSnapshot {
            generation: self.generation,
            backends: self.rows.iter().map(|row| Arc::new(row.view.clone())).collect(),
            server_info: self.server_info.clone(),
        }
    }

    /// Modules that clients insist on and the fleet as a whole does not have.
    pub(super) fn missing_modules(&self) -> &[&'static str] {
        &self.missing_modules
    }

    /// Takes in a report on the backend with that index. Says what was lost, with the token of that
    /// process, and whether there is news worth a snapshot.
    pub(super) fn apply(
        &mut self,
        index: usize,
        report: Report,
    ) -> (Option<(Loss, CancellationToken)>, bool) {
        let row = &mut self.rows[index];
        let failure = row.view.last_failure;
        let change = row.apply(report);
        let loss = change.lost.map(|incarnation| {
            let token = std::mem::take(&mut row.view.lost);
            (Loss { backend: row.view.id.clone(), incarnation }, token)
        });
        row.view.health = row.health.health();
        if row.view.incarnation != row.health.incarnation() {
            row.view.incarnation = row.health.incarnation();
            row.view.usage.set(Usage::default());
        }
        let is_news = change.is_change || loss.is_some() || row.view.last_failure != failure;
        if is_news {
            self.generation += 1;
            self.merge_infos();
        }
        (loss, is_news)
    }

    /// Makes one answer of what the servers say of themselves, those that are not given up.
    fn merge_infos(&mut self) {
        let heard = self.rows.iter().filter(|row| row.view.incarnation.is_some());
        let infos = heard.filter_map(|row| row.info.as_deref());
        if let Some(FleetInfo { text, missing }) = merge_infos(infos) {
            self.missing_modules = missing;
            if self.server_info.as_deref() != Some(text.as_str()) {
                self.server_info = Some(text.into());
            }
        }
    }
}

impl Row {
    fn apply(&mut self, report: Report) -> Change {
        match report {
            Report::Answered { incarnation, facts, took } => {
                self.view.last_probe.set(took);
                self.view.last_failure = None;
                if let Some(facts) = facts {
                    self.view.server_id = Some(facts.server_id);
                    self.view.version = facts.version;
                    self.info = Some(facts.info);
                }
                self.health.on_probe(Probe::Answered(incarnation))
            }
            Report::Sampled { incarnation, usage } => {
                // What was there before the news of a loss says nothing about what is there now.
                if self.view.incarnation == Some(incarnation) {
                    self.view.usage.set(usage);
                }
                Change::default()
            }
            Report::Failed(failure) => {
                self.view.last_failure = Some(failure);
                self.health.on_probe(Probe::Failed(failure))
            }
            // News of a process that is gone already says nothing about this one.
            Report::LinkFailed(process) if process != self.health.incarnation() => {
                Change::default()
            }
            Report::LinkFailed(_) => self.health.on_link_failure(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::model::Legs;
    use crate::policy::health::Health;
    use crate::settings::BackendUrl;

    fn table() -> FleetTable {
        let backend = |id: &str| {
            let url = BackendUrl::parse(&format!("ws://{id}:8888/kurento")).unwrap();
            BackendSettings::new(BackendId::parse(id).unwrap(), url, Legs(10))
        };
        let nz = |n| NonZeroU32::new(n).unwrap();
        let thresholds = Thresholds { eject_after: nz(3), readmit_after: nz(2) };
        FleetTable::new(&[backend("a"), backend("b")], thresholds)
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
        table.apply(1, told(2, "crowd"));
        assert!(has(&table, "crowd"));
        assert_eq!(table.missing_modules(), ["core", "elements", "filters"]);
        table.apply(0, told(1, "plate"));
        assert!(!has(&table, "crowd") && !has(&table, "plate"), "neither is everywhere");
        for _ in 0..3 {
            table.apply(0, Report::Failed(ProbeFailure::Refused));
        }
        assert!(has(&table, "crowd"), "a backend that is given up does not count");
        for _ in 0..3 {
            table.apply(1, Report::Failed(ProbeFailure::Refused));
        }
        assert!(has(&table, "crowd"), "kept when all are given up");
    }

    #[test]
    fn a_measurement_counts_for_the_process_that_made_it() {
        let mut table = table();
        let shown = table.snapshot();
        let usage = Usage { cpu_count: Some(4), cpu_percent: Some(50.0), memory_kb: Some(1_000) };
        let sampled = |process| Report::Sampled { incarnation: Incarnation(process), usage };
        table.apply(0, sampled(1));
        assert_eq!(shown.usage(), Usage::default(), "of nobody");
        table.apply(0, answered(1));
        assert!(!table.apply(0, sampled(1)).1, "no news");
        assert_eq!((shown.usage(), shown.backends[0].usage.last()), (usage, usage));
        table.apply(0, sampled(9));
        table.apply(0, answered(2));
        assert_eq!(shown.usage(), Usage::default(), "another process");
    }

    #[test]
    fn a_loss_is_told_once_with_the_token_of_that_process_only() {
        let mut table = table();
        table.apply(0, answered(1));
        let old = table.snapshot().backends[0].lost.clone();
        let (loss, is_news) = table.apply(0, answered(2));
        let (loss, token) = loss.unwrap();
        token.cancel();
        assert_eq!(loss.incarnation, Incarnation(1));
        assert!(is_news && old.is_cancelled());
        assert!(!table.snapshot().backends[0].lost.is_cancelled());
        assert!(table.apply(0, answered(2)).0.is_none());
    }

    #[test]
    fn a_failed_link_makes_its_own_process_suspect() {
        let mut table = table();
        table.apply(0, answered(1));
        table.apply(0, Report::LinkFailed(Some(Incarnation(9))));
        assert_eq!(table.snapshot().backends[0].health, Health::Healthy);
        table.apply(0, Report::LinkFailed(Some(Incarnation(1))));
        assert_eq!(table.snapshot().backends[0].health, Health::Suspect);
    }

    #[test]
    fn the_time_of_a_probe_is_seen_though_it_is_no_news() {
        let mut table = table();
        let shown = table.snapshot().backends[0].last_probe.clone();
        assert_eq!(shown.last(), None);
        for millis in [1, 5, 0] {
            let took = Duration::from_millis(millis);
            table.apply(0, Report::Answered { incarnation: Incarnation(1), facts: None, took });
            assert_eq!(shown.last(), Some(took));
        }
        table.apply(0, Report::Failed(ProbeFailure::Timeout));
        assert_eq!(shown.last(), Some(Duration::ZERO), "that of the last one answered");
        assert_eq!(table.snapshot().backends[1].last_probe.last(), None);
    }

    #[test]
    fn a_probe_that_changes_nothing_is_no_news() {
        let mut table = table();
        assert!(table.apply(0, answered(1)).1);
        assert!(!table.apply(0, answered(1)).1);
        assert!(table.apply(0, Report::Failed(ProbeFailure::Timeout)).1);
    }
}
