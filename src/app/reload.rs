//! Takes up a config that has changed, while the edge runs.
//!
//! One task does it, so that reloads follow one another. A config is first read and checked as a
//! whole, with all that it needs at hand: certificates, databases, addresses bound. Only then it is
//! taken up, by steps that cannot fail. First the parts that all sessions share are told; then every
//! listener leads to a new [`Edge`](crate::proxy::Edge), so a connection sees one config or the other.

mod draft;
mod files;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::admin_api::{AdminApi, Bound};
use super::listeners::{Listeners, NoListener, Ready};
use super::parts::Parts;
use crate::discovery::DiscoveryError;
use crate::geo::Renewal;
use crate::runtime::{Clock, Inherited, Tasks};
use crate::settings::{Change, ConfigFile, GeoipSettings, Settings, SettingsError};
use crate::telemetry::ReloadOutcome;
use crate::telemetry::log::LogFilter;
use draft::{Draft, InUse};
use files::{Files, Watch};

/// Reloads that may wait for the one at work. One is enough: it will read what is in the file then.
const WAITING_MAX: usize = 1;

/// Why a reload has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The config cannot be taken up. Carries every mistake.
    #[error("the config cannot be used; the one before stays\n{}", lines(.0))]
    Mistakes(Vec<SettingsError>),
    /// One is at work and one waits, which will see the config as it is now.
    #[error("a reload is waiting already, and will read the file as it is now")]
    Busy,
    /// The process was not started from a file.
    #[error("there is no config file to read")]
    NoFile,
    /// The process is about to end.
    #[error("the edge is stopping")]
    Stopping,
}

fn lines(mistakes: &[SettingsError]) -> String {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Where the config comes from, and what logs by it.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    path: PathBuf,
    log: Option<LogFilter>,
    files: Files,
}

impl ConfigSource {
    /// The file at `path`, which is read after this: a change of it is noticed from now on.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), log: None, files: Files::only(path) }
    }

    /// The same, where `log` follows the config.
    #[must_use]
    pub fn logging(self, log: LogFilter) -> Self {
        Self { log: Some(log), ..self }
    }
}

/// Asks for reloads. Clones ask the same edge.
#[derive(Clone, Debug)]
pub struct ReloadHandle(mpsc::Sender<Request>);

/// A reload that is asked for: where its outcome is told.
pub(super) type Request = oneshot::Sender<Outcome>;

/// What to ask by, and where what is asked comes out.
pub(super) fn channel() -> (ReloadHandle, mpsc::Receiver<Request>) {
    let (handle, requests) = mpsc::channel(WAITING_MAX);
    (ReloadHandle(handle), requests)
}

type Outcome = Result<Vec<Change>, ReloadError>;

impl ReloadHandle {
    /// Reads the config file again and takes it up. Returns what has changed. Goes on even if nobody
    /// waits for it.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn reload(&self) -> Result<Vec<Change>, ReloadError> {
        let (told, outcome) = oneshot::channel();
        match self.0.try_send(told) {
            Ok(()) => outcome.await.unwrap_or(Err(ReloadError::Stopping)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ReloadError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ReloadError::Stopping),
        }
    }

    /// The same for who does not wait. What comes of it is in the log; if one waits already, that is it.
    pub fn request(&self) {
        let (told, _outcome) = oneshot::channel();
        let _ = self.0.try_send(told);
    }
}

/// The task that takes configs up, and what it alone may change.
pub(super) struct Reloader {
    pub(super) parts: Arc<Parts>,
    pub(super) listeners: Listeners,
    pub(super) admin: AdminApi,
    pub(super) renewal: RenewalTask,
    source: Option<ConfigSource>,
    /// Counts the configs that were taken up.
    number: u64,
    /// By which lines are logged.
    filter: String,
    watch: Option<Watch>,
}

/// A config that is ready to be taken up.
struct ReadyConfig {
    draft: Draft,
    listeners: Ready,
    admin: Option<Bound>,
}

impl Reloader {
    /// The reloader of an edge that was started from `source`, if from any.
    pub(super) fn new(
        parts: Arc<Parts>,
        (listeners, admin, renewal): (Listeners, AdminApi, RenewalTask),
        source: Option<ConfigSource>,
    ) -> Self {
        let settings = parts.settings.get();
        let files = source.as_ref().map(|source| source.files.clone());
        let watch = files.map(|files| Watch::new(files.with_those_of(&settings)));
        let filter = settings.log.filter.clone();
        Self { parts, listeners, admin, renewal, source, number: 1, filter, watch }
    }

    /// Takes configs up until `stop`.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) {
        loop {
            let request = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                request = requests.recv() => request,
                () = pause(self.interval()) => {
                    if self.look().await {
                        tracing::info!("the config has changed");
                        let _ = self.reload().await;
                    }
                    continue;
                }
            };
            // None: nobody is left to ask, and the files are still watched.
            let Some(told) = request else { return stop.cancelled().await };
            let outcome = self.reload().await;
            // Nobody may wait for it.
            let _ = told.send(outcome);
        }
    }

    fn interval(&self) -> Option<Duration> {
        self.watch.as_ref()?;
        self.parts.settings.get().reload.watch()
    }

    /// Whether a file is to be read again.
    async fn look(&mut self) -> bool {
        let Some(watch) = &mut self.watch else { return false };
        let files = watch.files().clone();
        match spawn_blocking(move || files.now()).await {
            Ok(now) => watch.look(now),
            Err(_) => false,
        }
    }

    /// Takes up what is in the file, and tells what came of it.
    async fn reload(&mut self) -> Outcome {
        let outcome = self.try_reload().await;
        let counted = match &outcome {
            Ok(changes) if changes.is_empty() => ReloadOutcome::Unchanged,
            Ok(_) => ReloadOutcome::Applied,
            Err(_) => ReloadOutcome::Refused,
        };
        self.parts.metrics.on_reload(counted, Clock::unix_seconds());
        match &outcome {
            Ok(changes) if changes.is_empty() => tracing::info!("config read again: nothing to do"),
            Ok(changes) => {
                let config = self.number;
                for Change { key, before, after } in changes {
                    let [before, after] = [before, after].map(|one| one.as_deref().unwrap_or("-"));
                    tracing::info!(config, key, before, after, "config changed");
                }
            }
            Err(ReloadError::Mistakes(mistakes)) => {
                for mistake in mistakes {
                    tracing::error!(%mistake, "config not taken up; the one before stays");
                }
            }
            Err(error) => tracing::warn!(%error, "config not read again"),
        }
        // Last: the lines above are of the config before, which may be the one that shows them.
        self.set_log_filter();
        outcome
    }

    async fn try_reload(&mut self) -> Outcome {
        let Some(source) = self.source.clone() else { return Err(ReloadError::NoFile) };
        if self.parts.accepting.is_cancelled() {
            return Err(ReloadError::Stopping);
        }
        let old = InUse { settings: self.parts.settings.get(), terms: self.listeners.terms() };
        let read = spawn_blocking(move || Draft::read(&source.path, &old)).await;
        let draft = match read {
            Ok(Ok(draft)) => draft,
            Ok(Err((files, mistakes))) => {
                self.watch = Some(Watch::new(files));
                return Err(ReloadError::Mistakes(mistakes));
            }
            // The runtime is going down, or our own code has panicked, which is logged.
            Err(_) => return Err(ReloadError::Stopping),
        };
        self.watch = Some(Watch::new(draft.files.clone()));
        if draft.changes.is_empty() {
            return Ok(Vec::new());
        }
        let ready =
            self.prepare(draft).await.map_err(|mistake| ReloadError::Mistakes(vec![mistake]))?;
        self.turn_discovery(&ready.draft.file).await?;
        Ok(self.take_up(ready).await)
    }

    /// Binds the addresses that are new.
    async fn prepare(&self, draft: Draft) -> Result<ReadyConfig, SettingsError> {
        let (file, terms) = (&draft.file, draft.terms.clone());
        let listeners = self.listeners.prepare(terms, &mut Inherited::default()).map_err(
            |NoListener(index, error)| {
                let addr = file.settings.listeners[index].addr;
                cannot_bind(file, &format!("listeners[{index}].addr"), (addr, &error))
            },
        )?;
        let addr = file.settings.admin.addr;
        let admin = self.admin.prepare(addr).await;
        let admin = admin.map_err(|error| cannot_bind(file, "admin.addr", (addr, &error)))?;
        Ok(ReadyConfig { draft, listeners, admin })
    }

    /// Backends come from where the config says from now on: the last step that may fail, because it
    /// may bind an address.
    async fn turn_discovery(&self, file: &ConfigFile) -> Result<(), ReloadError> {
        let Settings { backends, discovery, .. } = &file.settings;
        let turned = self.parts.discovery.set_config(backends.clone(), discovery.clone()).await;
        turned.map_err(|error| match error {
            DiscoveryError::Bind { addr, source } => {
                let mistake = cannot_bind(file, "discovery.registrar.addr", (addr, &source));
                ReloadError::Mistakes(vec![mistake])
            }
            DiscoveryError::Ending => ReloadError::Stopping,
        })
    }

    /// Makes it the config in use. Nothing here can fail.
    async fn take_up(&mut self, ready: ReadyConfig) -> Vec<Change> {
        let ReadyConfig { draft: Draft { file, changes, maps, .. }, listeners, admin } = ready;
        let settings = Arc::new(file.settings);
        self.number += 1;
        self.parts.take_up(&settings, self.number).await;
        if let Some(maps) = maps {
            let renewal = self.parts.placement.people.atlas.turn_to(maps);
            self.renewal.replace(renewal, &settings.geoip, &self.parts.inner);
        }
        // Last, so that who comes from now on finds everything as this config says.
        let edge = Arc::new(self.parts.edge(&settings));
        self.listeners.turn_to(listeners, &edge, &self.parts);
        if let Some(bound) = admin {
            self.admin.turn_to(bound, &self.parts);
        }
        changes
    }

    /// Logs by the filter of the config in use.
    fn set_log_filter(&mut self) {
        let filter = self.parts.settings.get().log.filter.clone();
        if filter == self.filter {
            return;
        }
        let log = self.source.as_ref().and_then(|source| source.log.as_ref());
        match log.map(|log| log.set(&filter)) {
            Some(Err(error)) => tracing::error!(%error, "log.filter is not taken up"),
            Some(Ok(())) | None => self.filter = filter,
        }
    }
}

fn cannot_bind(
    file: &ConfigFile,
    key: &str,
    (addr, error): (std::net::SocketAddr, &dyn fmt::Display),
) -> SettingsError {
    file.mistake(key, &format!("\"{addr}\""), &format!("an address that is free ({error})"))
}

/// For so long, or for ever.
async fn pause(interval: Option<Duration>) {
    match interval {
        Some(interval) => tokio::time::sleep(interval).await,
        None => std::future::pending().await,
    }
}

/// What keeps the databases of places current.
#[derive(Debug)]
pub(super) struct RenewalTask(CancellationToken);

impl RenewalTask {
    /// Starts it, unless `settings` say that nobody looks.
    pub(super) fn start(renewal: Renewal, settings: &GeoipSettings, tasks: &Tasks) -> Self {
        let stop = tasks.stop_token().child_token();
        if let Some(interval) = settings.reload() {
            tasks.spawn("geoip", renewal.run(interval, stop.clone()));
        }
        Self(stop)
    }

    fn replace(&mut self, renewal: Renewal, settings: &GeoipSettings, tasks: &Tasks) {
        let next = Self::start(renewal, settings, tasks);
        std::mem::replace(self, next).0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_reload_waits_and_the_next_is_told_so() {
        let (handle, mut requests) = channel();
        handle.request();
        assert_eq!(handle.reload().await, Err(ReloadError::Busy));
        handle.request();
        requests.recv().await.unwrap();
        assert!(requests.try_recv().is_err(), "what is asked while one waits is that one");
        drop(requests);
        assert_eq!(handle.reload().await, Err(ReloadError::Stopping));
    }
}
