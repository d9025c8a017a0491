//! `pinfold serve`: runs the edge until a signal ends it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, ConfigSource};
use crate::runtime::{Clock, Inherited};
use crate::settings::{self, Settings};
use crate::telemetry::log;

use super::{check, print};

/// Arguments of `pinfold serve`.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// The config file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Take over from the edge that runs with this state directory: its admin API is at ADDR, or
    /// where the config says. It hands over its sockets and pins, closes its clients and ends
    #[arg(long, value_name = "ADDR", num_args = 0..=1)]
    takeover: Option<Option<SocketAddr>>,
}

/// Serves until SIGTERM or SIGINT; a second one ends at once. On SIGHUP the config is read again.
pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    // First, before anything else has a descriptor.
    let inherited = Inherited::of_systemd()?;
    let source = ConfigSource::new(&args.config);
    let settings = match settings::read(&args.config) {
        Ok(settings) => settings,
        Err(errors) => bail!("the config cannot be used\n{}", check::report(&errors).trim_end()),
    };
    let source = source.logging(log::init(&settings.log)?);
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let from = args.takeover.map(|addr| addr.unwrap_or(settings.admin.addr));
    runtime.block_on(serve(&settings, (source, inherited), from))?;
    // What is left at the deadline is cut, not waited for.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    settings: &Settings,
    given: (ConfigSource, Inherited),
    from: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let mut hangups = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    let starting = start(settings, given, from);
    let app = tokio::select! {
        app = starting => app?,
        () = signals.next() => bail!("stopped before it had started"),
    };
    for url in &app.urls {
        print(format!("listening on {url}\n"))?;
    }
    if let Some(url) = &app.registrar_url {
        print(format!("registrar on {url}\n"))?;
    }
    print(format!("admin on {}\n", app.admin_url))?;
    tokio::select! {
        () = signals.next() => {}
        () = reload_on(&mut hangups, &app) => {}
        () = app.succeeded() => return end_succeeded(app, &mut signals).await,
        task = app.failed() => bail!("the task \"{task}\" ended unasked; see the log, and report this"),
    }
    tokio::select! {
        () = app.stop() => Ok(()),
        () = signals.next() => bail!("stopped at once by a second signal"),
    }
}

/// Has the config read again at each signal. What comes of it is in the log and in the metrics: it
/// never ends the process.
async fn reload_on(hangups: &mut Signal, app: &App) {
    while hangups.recv().await.is_some() {
        app.reload.request();
    }
    std::future::pending::<()>().await;
}

async fn start(
    settings: &Settings,
    (source, inherited): (ConfigSource, Inherited),
    from: Option<SocketAddr>,
) -> anyhow::Result<App> {
    let (given, clock) = ((Some(source), inherited), Clock::start());
    Ok(match from {
        None => App::start_from(given, settings, clock).await?,
        Some(admin) => App::take_over(given, settings, clock, admin).await?,
    })
}

/// Ends after another process has taken over. A signal asks for what is done already; another forces.
async fn end_succeeded(app: App, signals: &mut Signals) -> anyhow::Result<()> {
    let twice = async {
        signals.next().await;
        signals.next().await;
    };
    tokio::select! {
        () = app.stop() => Ok(()),
        () = twice => bail!("stopped at once by a second signal"),
    }
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of either.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
