//! The edge that is tried: its config, its process, its restarts.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::backend::Backend;
use super::child::Child;
use super::error::SoakError;
use crate::admin::BackendRows;
use crate::admin::client::{FetchError, fetch_json, post_json};
use crate::admin::{DrainOrder, Then};

/// Time between two probes. What a client is told of a loss is measured against this and the next.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(1_000);

/// Time that a probe may take.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Time over which the edge closes its connections when it ends.
const CLOSE_WINDOW: Duration = Duration::from_millis(1_000);

/// Time that it may take to end.
const END_MAX: Duration = Duration::from_secs(20);

/// Time from a drain to when what is left is let go.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Time for all backends to be eligible at the start.
const READY_MAX: Duration = Duration::from_secs(30);

/// Time between two looks at that.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The edge.
#[derive(Debug)]
pub(super) struct Edge {
    program: PathBuf,
    dir: PathBuf,
    /// Where clients connect. The same after every restart.
    pub(super) addr: SocketAddr,
    /// Base URL of the admin API of the present process.
    admin: String,
    child: Option<Child>,
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
        let anywhere = SocketAddr::from((Ipv4Addr::new(127, 0, 2, 1), 0));
        write_config(dir, anywhere, backends)?;
        let (child, addr, admin) = start_process(program, dir).await?;
        let (program, dir) = (program.to_owned(), dir.to_owned());
        let edge = Self { program, dir, addr, admin, child: Some(child) };
        // From now on it listens where it has got.
        write_config(&edge.dir, addr, backends)?;
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

    /// Ends it, with a warning or without, and starts it again on what it has left.
    ///
    /// # Errors
    /// It does not end, or does not start.
    pub(super) async fn restart(&mut self, signal: Signal) -> Result<(), SoakError> {
        if let Some(mut child) = self.child.take() {
            child.signal(signal);
            child.ended(END_MAX).await?;
        }
        let (child, _, admin) = start_process(&self.program, &self.dir).await?;
        (self.child, self.admin) = (Some(child), admin);
        Ok(())
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
    dir: &Path,
) -> Result<(Child, SocketAddr, String), SoakError> {
    let config = config_path(dir).display().to_string();
    let mut child = Child::start("edge", program, &["serve", "--config", &config], dir)?;
    let url = child.line_after("listening on ws://").await?;
    let admin = child.line_after("admin on ").await?;
    let addr = url.split('/').next().and_then(|addr| addr.parse().ok());
    let addr = addr.ok_or_else(|| SoakError::Ended("edge".to_owned(), "an address"))?;
    Ok((child, addr, admin))
}

fn config_path(dir: &Path) -> PathBuf {
    dir.join("pinfold.toml")
}

fn write_config(dir: &Path, listen: SocketAddr, backends: &[Backend]) -> Result<(), SoakError> {
    let path = config_path(dir);
    let written = fs::write(&path, config(listen, backends));
    written.map_err(|error| SoakError::File(path, error))
}

/// Losses are found soon and clients come back soon, because much is to happen in little time. The
/// load is of no importance here, so backends are roomy. All else is as by default.
fn config(listen: SocketAddr, backends: &[Backend]) -> String {
    let mut text = format!(
        "[[listeners]]\naddr = \"{listen}\"\n\
         [admin]\naddr = \"127.0.0.1:0\"\n\
         [pins]\nstate_dir = \"pins\"\n\
         [probe]\ninterval_ms = {}\ntimeout_ms = {}\n\
         [placement]\nslow_start_ms = 5000\nwait_ms = 5000\n\
         [pacing]\nwait_max_ms = 5000\n\
         [limits]\ncall_timeout_ms = 5000\n\
         [shutdown]\nclose_window_ms = {}\ndeadline_ms = 5000\n",
        PROBE_INTERVAL.as_millis(),
        PROBE_TIMEOUT.as_millis(),
        CLOSE_WINDOW.as_millis(),
    );
    for backend in backends {
        let (name, addr) = (&backend.name, backend.addr);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "[[backends]]\nid = \"{name}\"\nurl = \"ws://{addr}/kurento\"\ncapacity = 10000\n"
        );
    }
    text
}
