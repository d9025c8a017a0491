//! Pinfold beside HAProxy and nginx: the same clients, the same backend, the same machine, in turns.
//!
//! Each measurement starts a backend and one of the three afresh, so that none profits from what ran
//! before. In a round each of the three has its turn, and the order moves on from round to round; a
//! ratio is taken within a round, and what is printed is the median of these ratios. Under loads that go
//! on, each is pinned to one processor with its clients and backend; storms and memory have them all.
//! One wrong reply anywhere ends it all with an error.
//!
//! `cargo bench --bench peers` takes about 15 minutes; `-- --help` shows how to have less. With
//! `-- --write` it writes docs/PERFORMANCE.md.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

mod args;
mod aims;
mod spread;
mod peer;
mod server;
mod bench;
mod stage;
mod client;
mod group;
mod syscalls;
mod rounds;
mod table;
mod document;

use args::Args;
use bench::Bench;

/// What `--write` writes.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PERFORMANCE.md");

/// Servers are started from one thread and measurements never overlap: one thread does.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    // On a signal the run is dropped, and with it all that it started and wrote.
    tokio::select! {
        done = run(&args) => done.map(|()| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::FAILURE),
        _ = terminate.recv() => Ok(ExitCode::FAILURE),
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let bench = Bench::prepare(args)?;
    let rows = rounds::run(&bench, args).await?;
    let mut text = table::figures(&rows);
    if args.counts_system_calls() {
        text += &syscalls::run(&bench).await?;
    }
    println!("\n{text}");
    if args.write {
        let document = document::compose(&bench, args, &text)?;
        std::fs::write(Path::new(DOCUMENT), document).context(DOCUMENT)?;
        println!("written: {DOCUMENT}");
    }
    Ok(())
}
