//! `pinfold bench`: measures an edge, or any other proxy before the same backend.

mod args;

use std::process::ExitCode;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::bench;
use crate::settings::{LogFormat, LogSettings};
use crate::telemetry::log;

use super::serve::Signals;
use super::{FAILURE, print};

pub(super) use self::args::BenchArgs;
use self::args::{BackendArgs, Measuring, Output, Run};

/// Measures, or plays the backend until a signal.
pub(super) fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    log::init(&LogSettings { format: LogFormat::Pretty, filter: "warn".to_owned() })?;
    match args.into_run() {
        Run::Backend(args) => play(&args),
        Run::Measure(measuring, output) => measure(measuring, output),
    }
}

/// Prints each report as it is there; fails if a reply was wrong.
fn measure(measuring: Vec<Measuring>, output: Output) -> anyhow::Result<ExitCode> {
    let mut are_valid = true;
    for run in measuring {
        let report = run()?;
        are_valid &= report.is_valid();
        print(if output.json { report.to_json() } else { report.to_table() })?;
    }
    Ok(if are_valid { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

fn play(args: &BackendArgs) -> anyhow::Result<ExitCode> {
    bench::raise_open_files(0)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let stop = CancellationToken::new();
        let on_listening = |addr| print(format!("bench backend on ws://{addr}/kurento\n")).map(drop);
        let mut told = Ok(());
        let serving =
            bench::serve(args.listen, args.settings(), stop.clone(), |addr| told = on_listening(addr));
        tokio::select! {
            served = serving => served.with_context(|| format!("cannot listen on {}", args.listen))?,
            () = signals.next() => stop.cancel(),
        }
        told
    })?;
    Ok(ExitCode::SUCCESS)
}
