//! `pinfold soak`: shows that nothing is lost in a fleet in which servers die.

use std::fs;
use std::io::{Write, stderr};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::value_parser;
use tokio::runtime::Builder;

use crate::runtime::random;
use crate::settings::{LogFormat, LogSettings};
use crate::soak::{
    self, BACKENDS_MAX, BACKENDS_MIN, Report, SESSIONS_MAX, SoakError, SoakSettings,
};
use crate::telemetry::log;

use super::serve::Signals;
use super::{FAILURE, print};

/// Show that no call and no meeting is lost while servers die
///
/// Starts simulated media servers, an edge with pins on disk, and clients in meetings. Servers are
/// killed, stopped, filled and drained, and the edge is reloaded, restarted and replaced, while clients
/// call all the time. They keep a ledger: each call sent must be answered, refused with an error, or
/// cut off with its connection; no meeting may be on two servers at once; nobody may be told of a loss
/// that did not happen. Anything else is printed with what led to it, and makes the exit status 1, as
/// does what was asked for and never happened. Everything is on loopback; all processes end with this
/// one.
#[derive(Debug, clap::Args)]
pub(super) struct SoakArgs {
    /// Minutes that clients are at work
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = minutes)]
    minutes: f64,
    /// Clients, in meetings of two to four
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = value_parser!(u32).range(2..=i64::from(SESSIONS_MAX)))]
    sessions: u32,
    /// Simulated media servers
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u8).range(i64::from(BACKENDS_MIN)..=i64::from(BACKENDS_MAX)))]
    backends: u8,
    /// Time between two kills of a server, like 5s, which is started again after 3 seconds; for every
    /// sixth another is filled; 0 for never
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    kill_every: Duration,
    /// Time between two stops of a server (SIGSTOP), for 1 second and for 7 in turn; 0 for never
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = time)]
    stop_every: Duration,
    /// Time between two drains of a server, which are taken back after 6 seconds; 0 for never
    #[arg(long, value_name = "TIME", default_value = "12s", value_parser = time)]
    drain_every: Duration,
    /// Time between two reloads of the edge's config (SIGHUP), with other weights, limits or another
    /// capacity of a server in turn; 0 for never
    #[arg(long, value_name = "TIME", default_value = "7s", value_parser = time)]
    reload_every: Duration,
    /// Time between two restarts of the edge: it is ended with SIGTERM, with SIGKILL, and taken over
    /// from by another (`serve --takeover`) in turn; 0 for never
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    restart_every: Duration,
    /// Time after which a call without an answer on an open connection is lost
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = time)]
    answer_within: Duration,
    /// Decides every choice, but not the order in which things happen; drawn at random if left out
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Directory for config, pins and logs, which are left there; if left out, one that is removed if
    /// nothing was found
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    // Hidden: for a proxy that does harm, in a test of the ledger.
    #[arg(long, value_name = "ADDR", hide = true)]
    via: Option<SocketAddr>,
}

/// Runs the soak to its end, or until SIGTERM or SIGINT.
pub(super) fn run(args: &SoakArgs) -> anyhow::Result<ExitCode> {
    log::init(&LogSettings { format: LogFormat::Pretty, filter: "warn".to_owned() })?;
    let settings = settings(args)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(soak_until_signal(&settings));
    runtime.shutdown_background();
    let report = report.with_context(|| format!("logs are in {}", settings.state_dir.display()))?;
    tell(args, &settings, &report)
}

async fn soak_until_signal(settings: &SoakSettings) -> anyhow::Result<Report> {
    let mut signals = Signals::listen()?;
    let progress = |line| {
        let _ = writeln!(stderr(), "{line}"); // nobody left to tell
    };
    tokio::select! {
        report = soak::run(settings, progress) => Ok(report?),
        () = signals.next() => Err(SoakError::Interrupted.into()),
    }
}

fn tell(args: &SoakArgs, settings: &SoakSettings, report: &Report) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.json {
        let written = fs::write(path, report.to_json() + "\n");
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    print(report.to_string())?;
    if !report.valid {
        print(format!("logs are in {}\n", settings.state_dir.display()))?;
        return Ok(ExitCode::from(FAILURE));
    }
    if args.state_dir.is_none() {
        // Left behind it does no harm.
        let _ = fs::remove_dir_all(&settings.state_dir);
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &SoakArgs) -> anyhow::Result<SoakSettings> {
    let own = || std::env::temp_dir().join(format!("pinfold-soak-{}", std::process::id()));
    Ok(SoakSettings {
        program: std::env::current_exe().context("the own program is not found")?,
        time: Duration::from_secs_f64(args.minutes * 60.0),
        sessions: args.sessions,
        backends: args.backends,
        kill_every: args.kill_every,
        stop_every: args.stop_every,
        drain_every: args.drain_every,
        reload_every: args.reload_every,
        restart_every: args.restart_every,
        answer_within: args.answer_within,
        seed: args.seed.unwrap_or_else(random::seed),
        state_dir: args.state_dir.clone().unwrap_or_else(own),
        via: args.via,
    })
}

/// Minutes, up to a week.
fn minutes(text: &str) -> Result<f64, String> {
    const MAX: f64 = 7.0 * 24.0 * 60.0;
    let minutes = text.parse().ok().filter(|minutes| (0.01..=MAX).contains(minutes));
    minutes.ok_or(format!("expected minutes, 0.01 to {MAX}"))
}

/// A time like `5s` or `500ms`, up to an hour.
fn time(text: &str) -> Result<Duration, String> {
    const MAX: f64 = 3_600.0;
    let seconds = match text.strip_suffix("ms") {
        Some(millis) => millis.parse::<f64>().map(|millis| millis / 1e3),
        None => text.strip_suffix('s').unwrap_or(text).parse(),
    };
    let seconds = seconds.ok().filter(|seconds| (0.0..=MAX).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or(format!("expected a time like 5s, up to {MAX}s"))
}
