//! The edge that is tried: its config, its process, its restarts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::backend::Backend;
use super::child::Child;
use super::config::Config;
use super::error::SoakError;
use crate::admin::BackendRows;
use crate::admin::client::{FetchError, fetch_json, fetch_text, post_json};
use crate::admin::{DrainOrder, Then};

/// Time that it may take to end.
const END_MAX: Duration = Duration::from_secs(20);

/// Time from a drain to when what is left is let go.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Time for all backends to be eligible at the start.
const READY_MAX: Duration = Duration::from_secs(30);

/// Time for a changed config to be taken up.
const RELOAD_MAX: Duration = Duration::from_secs(10);

/// Time between two looks at either.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How an edge is replaced by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// SIGTERM, and another is started when it has ended.
    Stop,
    /// SIGKILL, and the same.
    Kill,
    /// Another takes over from it while it runs.
    TakeOver,
}

/// The edge.
#[derive(Debug)]
pub(super) struct Edge {
    program: PathBuf,
    config: Config,
    /// Base URL of the admin API of the present process.
    admin: String,
    child: Option<Child>,
    /// The process before, while it closes what it has after another has taken over.
    leaving: Option<Child>,
}

impl Edge {
    /// Starts it before `backends`, and waits until all of them take pins.
    ///
    /// # Errors
    /// It cannot be started, or finds its backends not well in time.
    pub(super) async fn start(
        program: &Path,
        dir: &Path,
        backends: &[Backend],
    ) -> Result<Self, SoakError> {
        let addr = free_addr().map_err(|error| SoakError::Process("edge".to_owned(), error))?;
        let config = Config::new(dir, addr, backends);
        config.write()?;
        let program = program.to_owned();
        let (child, admin) = start_process(&program, &config.path, None).await?;
        let edge = Self { program, config, admin, child: Some(child), leaving: None };
        let all = backends.len();
        let waiting = async {
            while edge.takers().await.len() < all {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let late = |_| SoakError::Late("all backends take pins".to_owned(), READY_MAX);
        tokio::time::timeout(READY_MAX, waiting).await.map_err(late)?;
        Ok(edge)
    }

    /// Names of the backends that take pins, as the edge says; none if it does not answer.
    pub(super) async fn takers(&self) -> Vec<String> {
        let Ok(rows) = fetch_json::<BackendRows>(&self.admin, "/api/v1/backends").await else {
            return Vec::new();
        };
        let takers = rows.backends.into_iter().filter(|row| row.takes_pins);
        takers.map(|row| row.id).collect()
    }

    /// Where clients connect. The same after every restart.
    pub(super) fn addr(&self) -> SocketAddr {
        self.config.listen
    }

    /// Replaces it by another that starts on what it has left, or takes over.
    ///
    /// # Errors
    /// It does not end as it should, or the other does not start.
    pub(super) async fn restart(&mut self, way: Way) -> Result<(), SoakError> {
        self.settle().await?;
        let mut before = self.child.take();
        match (way, &mut before) {
            (Way::Stop, Some(child)) => {
                child.signal(Signal::TERM);
                child.succeeded(END_MAX).await?;
            }
            (Way::Kill, Some(child)) => {
                child.signal(Signal::KILL);
                child.ended(END_MAX).await?;
            }
            (Way::TakeOver, Some(_)) | (_, None) => {}
        }
        let admin = self.admin.trim_start_matches("http://");
        let from = (way == Way::TakeOver).then_some(admin);
        let (child, admin) = start_process(&self.program, &self.config.path, from).await?;
        (self.child, self.admin) = (Some(child), admin);
        self.leaving = before.filter(|_| way == Way::TakeOver);
        Ok(())
    }

    /// Waits for the end of a process that another has taken over from.
    ///
    /// # Errors
    /// It does not end, or in failure.
    pub(super) async fn settle(&mut self) -> Result<(), SoakError> {
        match self.leaving.take() {
            Some(mut child) => child.succeeded(END_MAX).await,
            None => Ok(()),
        }
    }

    /// Changes the config, and has it read again by SIGHUP.
    ///
    /// # Errors
    /// The change is not taken up.
    pub(super) async fn reload(&mut self) -> Result<(), SoakError> {
        let before = self.reloads().await?;
        self.config.change();
        self.config.write()?;
        if let Some(child) = &self.child {
            child.signal(Signal::HUP);
        }
        let looking = async {
            while self.reloads().await? == before {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            Ok(())
        };
        let late = |_| SoakError::Late("the config is taken up".to_owned(), RELOAD_MAX);
        tokio::time::timeout(RELOAD_MAX, looking).await.map_err(late)?
    }

    /// How many reloads of this process have changed something.
    async fn reloads(&self) -> Result<u64, SoakError> {
        const APPLIED: &str = "pinfold_config_reloads_total{outcome=\"applied\"} ";
        let metrics = fetch_text(&self.admin, "/metrics").await?;
        let found = metrics.lines().find_map(|line| line.strip_prefix(APPLIED));
        Ok(found.and_then(|count| count.parse().ok()).unwrap_or_default())
    }

    /// Orders `backend` to be drained, with a deadline that comes soon.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub(super) async fn drain(&self, backend: &str) -> Result<(), SoakError> {
        let deadline_ms = u64::try_from(DRAIN_DEADLINE.as_millis()).ok();
        let order = DrainOrder { deadline_ms, then: Then::Stay };
        let path = format!("/api/v1/backends/{backend}/drain");
        let _told: serde_json::Value = post_json(&self.admin, &path, &order).await?;
        Ok(())
    }

    /// Takes that back. An edge that was restarted meanwhile may not know of it.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn undrain(&self, backend: &str) -> Result<(), SoakError> {
        let path = format!("/api/v1/backends/{backend}/undrain");
        let told: Result<serde_json::Value, _> =
            post_json(&self.admin, &path, &serde_json::json!({})).await;
        match told {
            Ok(_) | Err(FetchError::Status(..)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it has ended, which nobody asked it to.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(Child::has_ended)
    }
}

async fn start_process(
    program: &Path,
    config: &Path,
    from: Option<&str>,
) -> Result<(Child, String), SoakError> {
    let dir = config.parent().unwrap_or(Path::new("."));
    let path = config.display().to_string();
    let mut arguments = vec!["serve", "--config", &path];
    arguments.extend(from.iter().flat_map(|admin| ["--takeover", *admin]));
    let mut child = Child::start("edge", program, &arguments, dir)?;
    let admin = child.line_after("admin on ").await?;
    Ok((child, admin))
}

/// An address to listen on, the same in every config: a reload does not change what it is. It stays free
/// until the edge takes it, as between two edges, because 127.0.2.1 is nobody's source.
fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::new(127, 0, 2, 1), 0))?.local_addr()
}
