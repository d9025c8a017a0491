//! `pinfold kms-sim`: a simulated Kurento Media Server.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::kms_sim::{KmsSimSettings, serve};
use crate::runtime::Tasks;
use crate::settings::{LogFormat, LogSettings};
use crate::telemetry::log;

use super::print;
use super::serve::Signals;

/// How long connections may take to end once told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `pinfold kms-sim`.
#[derive(Args, Debug)]
pub(super) struct KmsSimArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// Name in the ready line and in logs.
    #[arg(long, value_name = "NAME", default_value = "kms")]
    name: String,
    /// How long each answer waits, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 0)]
    latency_ms: u64,
}

/// Serves until SIGTERM or SIGINT; prints one line when it is ready.
pub(super) fn run(args: KmsSimArgs) -> anyhow::Result<ExitCode> {
    let settings = LogSettings { format: LogFormat::Pretty, filter: "warn".to_owned() };
    log::init(&settings)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve_until_signal(args))?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve_until_signal(args: KmsSimArgs) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let addr = listener.local_addr()?;
    let tasks = Tasks::new();
    let latency = Duration::from_millis(args.latency_ms);
    let settings = KmsSimSettings { name: args.name.clone(), latency };
    tasks.spawn_vital("kms-sim", serve(listener, settings, tasks.clone()));
    print(format!("kms-sim {} listening on ws://{addr}/kurento\n", args.name))?;
    let stop = tasks.stop_token();
    tokio::select! {
        () = signals.next() => {}
        () = stop.cancelled() => {}
    }
    tasks.stop();
    tasks.join(STOP_TIMEOUT).await;
    match tasks.ended_unasked() {
        Some(task) => anyhow::bail!("the task {task} ended unasked"),
        None => Ok(()),
    }
}
