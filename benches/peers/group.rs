//! What is measured in one go, on one stage.

use crate::bench::Bench;
use crate::client::{Client, Report};
use crate::peer::Peer;
use crate::stage::{Layout, Stage};

/// A call is two messages: the request and its reply.
pub(crate) const MESSAGES_A_CALL: f64 = 2.0;

/// Calls a second that make the 5,000 messages of the open loop.
const CALLS_PER_SECOND: &str = "2500";

/// How long connections are silent before their memory is read.
const IDLE_FOR: &str = "3s";

/// Figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Cpu,
    Latency,
    Rate,
    Events,
    Storm1000,
    Storm5000,
    IdlePlain,
    IdleTls,
    Tls,
    Growth,
}

impl Group {
    pub(crate) const ALL: [Self; 10] = [
        Self::Cpu,
        Self::Latency,
        Self::Rate,
        Self::Events,
        Self::Storm1000,
        Self::Storm5000,
        Self::IdlePlain,
        Self::IdleTls,
        Self::Tls,
        Self::Growth,
    ];

    /// What `--only` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Latency => "latency",
            Self::Rate => "rate",
            Self::Events => "events",
            Self::Storm1000 => "storm-1000",
            Self::Storm5000 => "storm-5000",
            Self::IdlePlain => "idle-plain",
            Self::IdleTls => "idle-tls",
            Self::Tls => "tls",
            Self::Growth => "growth",
        }
    }

    /// Most connections it has through a proxy at a time.
    pub(crate) fn connections_max(self) -> u64 {
        match self {
            Self::Latency => 1,
            Self::Cpu | Self::Rate | Self::Events | Self::Tls => 64,
            Self::Growth | Self::Storm1000 => 1_000,
            Self::IdlePlain | Self::IdleTls => 2_000,
            Self::Storm5000 => 5_000,
        }
    }

    fn layout(self) -> Layout {
        match self {
            Self::Cpu | Self::Latency | Self::Rate | Self::Events | Self::Tls | Self::Growth => {
                Layout::OneCpu
            }
            Self::Storm1000 | Self::Storm5000 | Self::IdlePlain | Self::IdleTls => Layout::AllCpus,
        }
    }

    /// Measures `peer` on a stage of its own; the values of the group's figures, in their order.
    pub(crate) async fn measure(self, bench: &Bench, peer: Peer) -> anyhow::Result<Vec<f64>> {
        let stage = Stage::start(bench, peer, self.layout()).await?;
        match self {
            Self::Cpu => cpu(bench, &stage).await,
            Self::Latency => latency(bench, &stage).await,
            Self::Rate => rate(bench, &stage).await,
            Self::Events => events(bench, &stage).await,
            Self::Storm1000 => storm(bench, &stage, "1000").await,
            Self::Storm5000 => storm(bench, &stage, "5000").await,
            Self::IdlePlain => idle(bench, &stage, &stage.url()).await,
            Self::IdleTls => idle(bench, &stage, &stage.tls_url()).await,
            Self::Tls => tls(bench, &stage).await,
            Self::Growth => growth(bench, &stage).await,
        }
    }
}

async fn cpu(bench: &Bench, stage: &Stage) -> anyhow::Result<Vec<f64>> {
    let mut values = Vec::new();
    for mix in ["candidate", "offer"] {
        let report = closed_loop(bench, stage, &["--connections", "64", "--mix", mix]).await?;
        values.push(report.cpu_us_each() / MESSAGES_A_CALL);
        values.push(report.per_second.unwrap_or_default() * MESSAGES_A_CALL);
    }
    Ok(values)
}

/// Direct and through the proxy, one right after the other.
async fn latency(bench: &Bench, stage: &Stage) -> anyhow::Result<Vec<f64>> {
    let mut p50s = Vec::new();
    for url in [stage.direct_url(), stage.url()] {
        let client = Client::on(bench, stage, "latency", &url).timed(bench);
        p50s.push(client.run_for_one().await?.latency()?.p50);
    }
    Ok(vec![p50s[1] - p50s[0]])
}

async fn rate(bench: &Bench, stage: &Stage) -> anyhow::Result<Vec<f64>> {
    let client = Client::on(bench, stage, "rate", &stage.url()).timed(bench);
    let client = client.args(["--connections", "64", "--per-second", CALLS_PER_SECOND]);
    Ok(vec![client.run_for_one().await?.latency()?.p99])
}

async fn events(bench: &Bench, stage: &Stage) -> anyhow::Result<Vec<f64>> {
    let client = Client::on(bench, stage, "events", &stage.url()).timed(bench);
    let report = client.args(["--connections", "64"]).run_for_one().await?;
    Ok(vec![report.cpu_us_each()])
}

/// Connections that fail are a finding here.
async fn storm(bench: &Bench, stage: &Stage, connections: &str) -> anyhow::Result<Vec<f64>> {
    let client = Client::on(bench, stage, "storm", &stage.url());
    let mut values = Vec::new();
    for report in client.args(["--connections", connections]).run().await? {
        let longest_ms = report.latency()?.max / 1e3;
        let rate = report.per_second.unwrap_or_default();
        values.extend([report.failures as f64, rate, longest_ms, report.cpu_us_each()]);
    }
    Ok(values)
}

async fn idle(bench: &Bench, stage: &Stage, url: &str) -> anyhow::Result<Vec<f64>> {
    let client = Client::on(bench, stage, "idle", url);
    let client = client.args(["--connections", "2000", "--for", IDLE_FOR]);
    Ok(vec![client.run_for_one().await?.growth_kib_each()])
}

async fn tls(bench: &Bench, stage: &Stage) -> anyhow::Result<Vec<f64>> {
    let client = Client::on(bench, stage, "tls", &stage.tls_url()).timed(bench);
    let reports = client.args(["--connections", "8"]).run().await?;
    let failures: u64 = reports.iter().map(|report| report.failures).sum();
    anyhow::ensure!(failures == 0, "{failures} handshakes failed or were of the other kind");
    Ok(reports.iter().map(Report::cpu_us_each).collect())
}

/// Ten times the connections; then ten times the meetings with as many connections.
async fn growth(bench: &Bench, stage: &Stage) -> anyhow::Result<Vec<f64>> {
    let mut costs = Vec::new();
    for (connections, meeting_size) in [("64", "4"), ("640", "4"), ("1000", "10"), ("1000", "1")] {
        let args = ["--connections", connections, "--meeting-size", meeting_size];
        costs.push(closed_loop(bench, stage, &args).await?.cpu_us_each());
    }
    Ok(vec![costs[1] / costs[0], costs[3] / costs[2]])
}

async fn closed_loop(bench: &Bench, stage: &Stage, args: &[&str]) -> anyhow::Result<Report> {
    let client = Client::on(bench, stage, "latency", &stage.url()).timed(bench);
    client.args(args.iter().copied()).run_for_one().await
}
