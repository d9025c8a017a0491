//! The unmodified `kurento-client` from npm, on Node, through the edge.
//!
//! The scenarios are the scripts in `kurento_client/`; what only the edge or its backends can tell
//! is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::e2e::harness::{Edge, KmsSim, Process, wait_for};

/// A script that runs.
struct Script(Process);

impl Script {
    fn start(file: &str, url: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/kurento_client");
        let is_installed = dir.join("node_modules/kurento-client").is_dir();
        assert!(is_installed, "kurento-client is missing; run: (cd {} && npm ci)", dir.display());
        let mut command = Command::new("node");
        Self(Process::start(file, command.arg(dir.join(file)).arg(url)))
    }

    /// Waits for the report of `step`, which must be the next.
    async fn reports(&mut self, step: &str) -> Value {
        let line = self.0.next_line().await;
        let report: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(report["step"], step, "{report}");
        report
    }

    /// Lets the script go on.
    fn tell(&mut self, what: &Value) {
        self.0.tell(&what.to_string());
    }

    /// Waits for a successful end.
    async fn ends_well(mut self) {
        self.reports("done").await;
        assert!(self.0.exited().await.success());
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_whole_protocol_works_against_a_simulated_backend_alone() {
    let [sim] = KmsSim::start_all(["a"]).await;
    Script::start("everything.js", &sim.url).ends_well().await;
}

#[tokio::test]
async fn the_whole_protocol_works_through_the_edge() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    Script::start("everything.js", &edge.url).ends_well().await;
}

#[tokio::test]
async fn clients_that_share_a_meeting_share_its_backend() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let mut script = Script::start("shared_meeting.js", &edge.url);
    let report = script.reports("together").await;

    let meetings = edge.meetings().await;
    assert_eq!(meetings.len(), 1, "{meetings:?}");
    assert_eq!(meetings[0]["id"], "standup");
    let pipelines: BTreeSet<&str> = texts(&report["pipelines"]).into_iter().collect();
    let meeting = edge.api("meetings/standup").await;
    let backend = meeting["backend"].as_str().unwrap();
    for sim in &sims {
        for object in pipelines.iter().copied().chain(texts(&report["endpoints"])) {
            assert_eq!(sim.has(object).await, sim.id == backend, "{object} on {}", sim.id);
        }
    }
    let serving = |one: &Value| one["meetings"].as_u64().unwrap() > 0;
    let backends = edge.backends().await;
    let used: Vec<_> = backends.iter().filter(|one| serving(one)).collect();
    assert_eq!(used.len(), 1, "{backends:?}");

    script.tell(&json!("leave"));
    script.ends_well().await;
}

#[tokio::test]
async fn one_client_with_twenty_meetings_uses_the_whole_fleet() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let mut script = Script::start("many_meetings.js", &edge.url);
    let report = script.reports("open").await;

    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for meeting in report["meetings"].as_array().unwrap() {
        let backend = edge.backend_of(meeting["name"].as_str().unwrap()).await;
        let sim = sims.iter().find(|sim| sim.id == backend).unwrap();
        assert!(sim.has(meeting["pipeline"].as_str().unwrap()).await, "{meeting} is on {backend}");
        *counts.entry(backend).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), 20);
    assert_eq!(counts.len(), 3, "every backend is used: {counts:?}");
    assert!(counts.values().all(|count| *count <= 10), "none has them all: {counts:?}");

    script.tell(&json!("release"));
    script.reports("released").await;
    for meeting in report["meetings"].as_array().unwrap() {
        for sim in &sims {
            assert!(!sim.has(meeting["pipeline"].as_str().unwrap()).await, "{meeting} is released");
        }
    }
    script.tell(&json!("leave"));
    script.ends_well().await;
}

#[tokio::test]
async fn a_backend_killed_in_the_middle_costs_its_own_meetings_only() {
    let mut sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let mut script = Script::start("backend_killed.js", &edge.url);
    let report = script.reports("open").await;
    let mut lost = Vec::new();
    for name in texts(&report["meetings"]) {
        if edge.backend_of(name).await == "a" {
            lost.push(name.to_owned());
        }
    }
    assert!(!lost.is_empty() && lost.len() < 9, "{lost:?}");

    sims[0].process.freeze().await;
    script.tell(&json!(lost));
    assert!(script.reports("waiting").await["calls"].as_u64().unwrap() > 0);
    sims[0].process.signal("KILL");

    let report = script.reports("moved").await;
    for name in texts(&report["meetings"]) {
        assert_ne!(edge.backend_of(name).await, "a", "{name} has moved");
    }
    script.tell(&json!("leave"));
    script.ends_well().await;
    sims[0].process.exited().await;
}

#[tokio::test]
async fn a_client_goes_on_by_itself_when_the_edge_is_killed_and_started_again() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let mut edge = Edge::start(&sims).await;
    let mut script = Script::start("edge_killed.js", &edge.url);
    let report = script.reports("open").await;
    let home = edge.backend_of("standup").await;
    edge.kill().await;
    let edge = edge.start_again().await;
    script.tell(&report["pipeline"]);

    let report = script.reports("again").await;
    assert_eq!(edge.backend_of("standup").await, home);
    let sim = sims.iter().find(|sim| sim.id == home).unwrap();
    for pipeline in texts(&report["pipelines"]) {
        assert!(sim.has(pipeline).await, "{pipeline} is on {home}");
    }
    script.tell(&json!("leave"));
    script.ends_well().await;
}

#[tokio::test]
async fn the_server_manager_speaks_for_the_whole_fleet() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let measured = || async {
        let backends = edge.backends().await;
        backends.iter().all(|one| one["memory_kb"].is_u64()).then_some(backends)
    };
    let backends = wait_for("all backends are measured", measured).await;
    let mut script = Script::start("manager.js", &edge.url);
    let report = script.reports("asked").await;

    let mut on_a = 0;
    for pipeline in texts(&report["pipelines"]) {
        let (a, b) = (sims[0].has(pipeline).await, sims[1].has(pipeline).await);
        assert!(a != b, "{pipeline} is on one backend");
        on_a += usize::from(a);
    }
    assert!((1..8).contains(&on_a), "both backends were heard: {on_a} of 8 on one");
    let sum = |member: &str| backends.iter().map(|one| one[member].as_u64().unwrap()).sum::<u64>();
    assert_eq!(report["usage"]["cpuCount"], sum("cpu_count"));
    assert!(report["usage"]["usedMemory"].as_u64().unwrap() >= sum("memory_kb"));
    assert!(report["usage"]["usedCpu"].is_number(), "{report}");

    script.tell(&json!("release"));
    script.ends_well().await;
}
