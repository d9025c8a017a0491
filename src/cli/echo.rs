//! `pinfold echo`: our framing on its own, for WebSocket conformance suites.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::runtime::Builder;

use crate::proxy::{EchoRoute, dial_and_echo};
use crate::runtime::Tasks;
use crate::settings::{BackendUrl, LogFormat, LogSettings};
use crate::telemetry::log;

use super::print;
use super::serve::Signals;

/// How long connections may take to end after the signal.
const JOIN_MAX: Duration = Duration::from_secs(5);

/// Sends every WebSocket message back, to test the framing with suites such as Autobahn
///
/// With --listen, a relay accepts as the edge accepts clients, on path `/`, and passes every
/// message, text or binary and up to 32 MiB, to an echo server that it dials as the edge dials
/// backends. When it listens it prints one line, `echo listening on ws://IP:PORT/`; it ends on
/// SIGTERM or SIGINT. With --dial, it connects to a server as the edge connects to a backend, and
/// echoes until the server closes.
#[derive(Debug, clap::Args)]
pub(super) struct EchoArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Server to connect to, a `ws://` URL
    #[arg(long, value_name = "URL", value_parser = BackendUrl::parse, conflicts_with = "listen")]
    dial: Option<BackendUrl>,
}

/// Echoes until SIGTERM, SIGINT, or the end of the connection it was told to dial.
pub(super) fn run(args: &EchoArgs) -> anyhow::Result<ExitCode> {
    log::init(&LogSettings { format: LogFormat::Pretty, filter: "warn".to_owned() })?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.dial {
            Some(url) => dial_and_echo(url).await.with_context(|| format!("cannot echo to {url}")),
            None => serve(args.listen).await,
        }
    })?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let route = EchoRoute::bind(listen).await;
    let route = route.with_context(|| format!("cannot listen on {listen}"))?;
    print(format!("echo listening on ws://{}/\n", route.addr()?))?;
    let tasks = Tasks::new();
    tokio::select! {
        ended = route.run(&tasks) => return ended.context("the echo route ended"),
        () = signals.next() => tasks.stop(),
    }
    if tasks.join(JOIN_MAX).await {
        Ok(())
    } else {
        Err(anyhow!("connections did not end in time"))
    }
}
