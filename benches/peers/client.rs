//! `pinfold bench` as the clients.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::bench::Bench;
use crate::stage::{Layout, Stage};

/// What a run may take besides the time that it measures.
const BESIDES_MAX: Duration = Duration::from_secs(90);

/// Clients that are about to run.
pub(crate) struct Client {
    command: Command,
    workers: Vec<u32>,
    patience: Duration,
}

/// What they found; the other members of a report are not used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    valid: bool,
    pub(crate) count: u64,
    pub(crate) per_second: Option<f64>,
    latency_us: Option<Latency>,
    /// Connections that could not be opened.
    pub(crate) failures: u64,
    faults: serde_json::Value,
    #[serde(default)]
    processes: Vec<Process>,
    /// Those of `processes` that were asked for.
    #[serde(skip)]
    workers: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Process {
    pid: u32,
    cpu_seconds: f64,
    memory_growth_bytes: i64,
}

impl Client {
    pub(crate) fn new(bench: &Bench, layout: Layout) -> Self {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_pinfold"));
        let mut command = bench.command(layout, program);
        command.arg("bench");
        let patience = BESIDES_MAX + Duration::from_secs_f64(2.0 * bench.seconds);
        Self { command: command.into(), workers: Vec::new(), patience }
    }

    /// Clients of `mode` at `url`, on the stage's processors, that look at what its proxy uses.
    pub(crate) fn on(bench: &Bench, stage: &Stage, mode: &str, url: &str) -> Self {
        let mut client = Self::new(bench, stage.layout).args([mode, "--url", url]);
        for pid in &stage.workers {
            client = client.args(["--pid", &pid.to_string()]);
        }
        if url.starts_with("wss:") {
            client.command.arg("--ca").arg(&stage.ca);
        }
        client.workers.clone_from(&stage.workers);
        client
    }

    /// Measured for as long as the bench was told.
    pub(crate) fn timed(self, bench: &Bench) -> Self {
        let time = format!("{}s", bench.seconds);
        self.args(["--for", &time])
    }

    /// With `args` added.
    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs them. Only a storm may have connections that failed.
    ///
    /// # Errors
    /// They could not run, or one of the replies was wrong; with what they say.
    pub(crate) async fn run(mut self) -> anyhow::Result<Vec<Report>> {
        self.command.arg("--json").stdin(Stdio::null()).kill_on_drop(true);
        let running = tokio::time::timeout(self.patience, self.command.output());
        let out = running.await.context("the clients do not end")??;
        let (said, errors) = (String::from_utf8(out.stdout)?, String::from_utf8_lossy(&out.stderr));
        let mut reports = Vec::new();
        for line in said.lines() {
            let mut report: Report = serde_json::from_str(line)?;
            ensure!(report.valid, "the run is invalid: {}", report.faults);
            report.workers.clone_from(&self.workers);
            reports.push(report);
        }
        if !out.status.success() || reports.is_empty() {
            bail!("the clients failed: {}", errors.trim());
        }
        Ok(reports)
    }

    /// Runs them for the one report of most modes, in which nothing may have failed.
    pub(crate) async fn run_for_one(self) -> anyhow::Result<Report> {
        let report = self.run().await?.pop().context("a report")?;
        ensure!(report.failures == 0, "{} connections failed", report.failures);
        Ok(report)
    }
}

impl Report {
    /// Processor time of the proxy for each thing counted, in microseconds.
    pub(crate) fn cpu_us_each(&self) -> f64 {
        self.proxy().map(|process| process.cpu_seconds).sum::<f64>() * 1e6 / self.count as f64
    }

    /// How much the proxy's memory grew for each thing counted, in KiB.
    pub(crate) fn growth_kib_each(&self) -> f64 {
        let growth: i64 = self.proxy().map(|process| process.memory_growth_bytes).sum();
        growth as f64 / 1024.0 / self.count as f64
    }

    /// # Errors
    /// Nothing was counted.
    pub(crate) fn latency(&self) -> anyhow::Result<Latency> {
        self.latency_us.context("nothing was counted")
    }

    fn proxy(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| self.workers.contains(&process.pid))
    }
}
