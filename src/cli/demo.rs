//! `pinfold demo`: a whole fleet in one process, with people in it, to look at.

use std::io::{IsTerminal, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::interval;

use crate::app::App;
use crate::kms_sim::{self, KmsSimSettings};
use crate::load::{Counts, Meetings, MeetingsSettings};
use crate::model::Draws;
use crate::runtime::{Clock, Tasks, random};
use crate::settings::{self, LogFormat, LogSettings, Settings};
use crate::sim::kms::KmsSettings;
use crate::telemetry::log;

use super::serve::Signals;
use super::{check, print, table};

/// Names of the simulated servers.
const BACKENDS: [&str; 3] = ["kms-a", "kms-b", "kms-c"];

/// Time between two pictures.
const REFRESH: Duration = Duration::from_secs(1);

/// How long tasks may take to end.
const JOIN_MAX: Duration = Duration::from_secs(5);

/// Arguments of `pinfold demo`.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Address that clients connect to
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// Address of the admin API
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin_listen: SocketAddr,
    /// End by itself after this many seconds; without it, Ctrl-C ends the demo
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

/// Runs the demo until Ctrl-C or the time is over.
pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    log::init(&LogSettings { format: LogFormat::Pretty, filter: "error".to_owned() })?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(demo(args))?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn demo(args: &DemoArgs) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let tasks = Tasks::new();
    let settings = settings(args, &start_backends(&tasks).await?)?;
    let app = App::start(&settings, Clock::start())
        .await
        .context("the demo cannot start; --listen and --admin-listen choose other addresses")?;
    let url = app.urls.first().expect("the settings have a listener").clone();
    let meetings = Meetings::new(MeetingsSettings::new(url.clone()), tasks.stop_token());
    tasks.spawn("meetings", meetings.clone().run(Draws::seeded(random::seed())));
    let screen = Screen { url, admin: app.admin_url.clone(), is_live: stdout().is_terminal() };
    let end = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let shown = tokio::select! {
        shown = screen.show(&app, &meetings) => shown,
        () = signals.next() => Ok(()),
        () = end => Ok(()),
    };
    tasks.stop();
    app.stop().await;
    tasks.join(JOIN_MAX).await;
    shown?;
    print("ended\n")?;
    Ok(())
}

/// Starts the simulated servers; returns their addresses.
async fn start_backends(tasks: &Tasks) -> anyhow::Result<Vec<SocketAddr>> {
    let mut addrs = Vec::new();
    for name in BACKENDS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        addrs.push(listener.local_addr()?);
        let kms = KmsSettings {
            started_unix_millis: Clock::unix_seconds() * 1_000,
            ..KmsSettings::default()
        };
        let settings = KmsSimSettings::new(name, kms, random::seed(), Clock::start());
        let stop = tasks.stop_token();
        tasks.spawn("kms-sim", async move {
            if let Err(error) = kms_sim::serve(vec![(listener, settings)], None, stop).await {
                tracing::error!(%error, "a simulated server has failed");
            }
        });
    }
    Ok(addrs)
}

/// What a config file for this demo would hold.
fn settings(args: &DemoArgs, backends: &[SocketAddr]) -> anyhow::Result<Settings> {
    let mut text = format!(
        "listeners = [{{ addr = \"{}\" }}]\n\
         admin = {{ addr = \"{}\" }}\n\
         pins = {{ store = \"memory\" }}\n\
         shutdown = {{ close_window_ms = 0, deadline_ms = 2000 }}\n",
        args.listen, args.admin_listen
    );
    for (name, addr) in BACKENDS.iter().zip(backends) {
        text += &format!("[[backends]]\nid = \"{name}\"\nurl = \"ws://{addr}/kurento\"\n");
    }
    settings::parse(&text).map_err(|errors| anyhow!("{}", check::report(&errors)))
}

/// Where the demo is watched.
struct Screen {
    url: String,
    admin: String,
    is_live: bool,
}

impl Screen {
    /// Shows the fleet again and again.
    async fn show(&self, app: &App, meetings: &Meetings) -> anyhow::Result<()> {
        print(format!("clients connect to {}\nadmin API at {}\n", self.url, self.admin))?;
        let mut ticks = interval(REFRESH);
        loop {
            ticks.tick().await;
            let (rows, counts) = (app.backends(), meetings.counts());
            print(if self.is_live {
                self.picture(&table::of_backends(&rows), counts)
            } else {
                let cells = rows.iter().map(|row| {
                    format!(
                        "{} {} meetings={} participants={} load={}/{}",
                        row.id,
                        row.health,
                        row.meetings,
                        row.participants,
                        row.load_legs,
                        row.capacity_legs
                    )
                });
                let cells: Vec<String> = cells.collect();
                format!("{}; {}\n", cells.join("; "), summary(counts))
            })?;
        }
    }

    /// The whole screen, drawn over what stood there.
    fn picture(&self, table: &str, counts: Counts) -> String {
        const CLEAR: &str = "\x1b[H\x1b[2J";
        format!(
            "{CLEAR}Pinfold demo: three simulated Kurento Media Servers, one endpoint\n\n{table}\n{}\n\n\
             Connect a Kurento client of your own to  {}\n\
             Watch with  pinfold status --admin {}\n\
             Ctrl-C ends it.\n",
            summary(counts),
            self.url,
            self.admin
        )
    }
}

fn summary(counts: Counts) -> String {
    format!(
        "meetings so far {}, ended {}; participants served {}, failed {}",
        counts.meetings_started,
        counts.meetings_ended,
        counts.participants_served,
        counts.participants_failed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_settings_are_right() {
        let args = DemoArgs {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin_listen: "127.0.0.1:0".parse().unwrap(),
            seconds: None,
        };
        let backends: Vec<SocketAddr> =
            (1..4).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect();
        let settings = settings(&args, &backends).unwrap();
        assert_eq!(settings.backends.len(), 3);
        assert_eq!(settings.shutdown.close_window, Duration::ZERO);
    }
}
