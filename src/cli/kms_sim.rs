//! `pinfold kms-sim`: a simulated Kurento Media Server.

use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::kms_sim::{KmsSimEnd, KmsSimSettings, serve};
use crate::runtime::{Clock, random};
use crate::settings::{LogFormat, LogSettings};
use crate::sim::kms::KmsSettings;
use crate::telemetry::log;

use super::print;
use super::serve::Signals;

/// Runs a simulated Kurento Media Server that a real client library cannot tell from a real one.
///
/// It speaks the protocol at path `/kurento` but moves no media. When it listens it prints one line,
/// `kms-sim NAME listening on ws://IP:PORT/kurento`. It ends on SIGTERM or SIGINT, cutting its
/// connections, and exits with 1 on the frame that kills a real one: `connect` to a sink that is no
/// element.
#[derive(Debug, clap::Args)]
pub(super) struct KmsSimArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Name in the line that tells the address
    #[arg(long, value_name = "NAME", default_value = "kms")]
    name: String,
    /// Seconds between two collections of sessions that nobody uses
    #[arg(long, value_name = "SECONDS", default_value_t = 240,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    gc_period: u64,
    /// Decides every id, so that a run can be repeated; drawn at random if left out
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Milliseconds that every answer takes longer
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=60_000))]
    latency_ms: u64,
    /// Lets small messages wait until those before are acknowledged, as a real KMS does: Nagle's
    /// algorithm
    #[arg(long)]
    nagle: bool,
    /// Acts as if the far side of every WebRTC endpoint sent audio and video once it is connected
    #[arg(long)]
    media: bool,
}

/// Serves until SIGTERM or SIGINT, or until a frame kills the server.
pub(super) fn run(args: &KmsSimArgs) -> anyhow::Result<ExitCode> {
    log::init(&LogSettings { format: LogFormat::Pretty, filter: "warn".to_owned() })?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve_until_signal(args))?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve_until_signal(args: &KmsSimArgs) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let listener = TcpListener::bind(args.listen);
    let listener = listener.await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let addr = listener.local_addr()?;
    let kms = KmsSettings {
        started_unix_millis: Clock::unix_seconds() * 1_000,
        gc_period: Duration::from_secs(args.gc_period),
        latency: Duration::from_millis(args.latency_ms),
        peers_send_media: args.media,
        uses_nagle: args.nagle,
        ..KmsSettings::default()
    };
    let seed = args.seed.unwrap_or_else(random::seed);
    let settings = KmsSimSettings { kms, seed, clock: Clock::start() };
    print(format!("kms-sim {} listening on ws://{addr}/kurento\n", args.name))?;
    let stop = CancellationToken::new();
    let mut serving = pin!(serve(listener, settings, stop.clone()));
    let end = tokio::select! {
        end = &mut serving => end?,
        _ = signals.next() => {
            stop.cancel();
            serving.await?
        }
    };
    match end {
        KmsSimEnd::Stopped => Ok(()),
        KmsSimEnd::Died => bail!("{} was killed by a frame, as a real KMS would be", args.name),
    }
}
