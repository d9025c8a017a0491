//! The fleet task and the handle others have on it.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::probe::Prober;
use super::snapshot::{BackendView, FleetSnapshot};
use super::table::{FleetTable, Report};
use crate::model::{BackendId, Draws, Incarnation};
use crate::policy::health::{Health, Thresholds};
use crate::runtime::{Clock, Tasks};
use crate::settings::{BackendSettings, ProbeSettings};
use crate::telemetry::{HealthLabel, Metrics};

/// Reports that may wait. When full, probes wait, and news of failed links are dropped: the next
/// probe tells the same.
const REPORTS_MAX: usize = 256;

/// Losses that may wait to be handled. When full, the fleet task waits.
const LOSSES_MAX: usize = 64;

/// A process that is gone, with all that it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The backend.
    pub backend: BackendId,
    /// Its process.
    pub incarnation: Incarnation,
}

/// What others see of the fleet. Clones share it.
#[derive(Clone, Debug)]
pub struct FleetHandle {
    published: watch::Receiver<Arc<FleetSnapshot>>,
    reports: mpsc::Sender<(usize, Report)>,
    /// Wakes the probe of each backend, in the order of the config.
    kicks: Arc<[Notify]>,
}

/// The fleet before it runs.
pub struct Fleet {
    /// To be given to those who read the fleet.
    pub handle: FleetHandle,
    table: FleetTable,
    probers: Vec<Prober>,
    reports: mpsc::Receiver<(usize, Report)>,
    published: watch::Sender<Arc<FleetSnapshot>>,
}

impl Fleet {
    /// The fleet of the config. Nothing is probed yet; `seed` draws the jitter.
    #[must_use]
    pub fn new(
        backends: &[BackendSettings],
        probe: &ProbeSettings,
        clock: Clock,
        seed: u64,
    ) -> Self {
        let thresholds =
            Thresholds { eject_after: probe.eject_after, readmit_after: probe.readmit_after };
        let table = FleetTable::new(backends, thresholds);
        let (published, receiver) = watch::channel(Arc::new(table.snapshot()));
        let (reports_tx, reports) = mpsc::channel(REPORTS_MAX);
        let kicks: Arc<[Notify]> = backends.iter().map(|_| Notify::new()).collect();
        let handle = FleetHandle { published: receiver, reports: reports_tx, kicks };
        let mut draws = Draws::seeded(seed);
        let prober = |(index, settings): (usize, &BackendSettings)| Prober {
            index,
            url: settings.url.clone(),
            settings: probe.clone(),
            clock,
            draws: Draws::seeded(draws.next()),
            handle: handle.clone(),
        };
        let probers = backends.iter().enumerate().map(prober).collect();
        Self { handle, table, probers, reports, published }
    }

    /// Starts the probes and the task that owns the table; returns where losses come out.
    pub fn start(mut self, tasks: &Tasks, metrics: &Metrics) -> mpsc::Receiver<Loss> {
        for prober in self.probers.drain(..) {
            tasks.spawn_vital("probe", prober.run(metrics.clone(), tasks.stop_token()));
        }
        self.start_unprobed(tasks, metrics)
    }

    /// Starts the task that owns the table, which takes reports, and no probe.
    pub(super) fn start_unprobed(self, tasks: &Tasks, metrics: &Metrics) -> mpsc::Receiver<Loss> {
        let (lost, losses) = mpsc::channel(LOSSES_MAX);
        let (owner, reports) = self.into_parts(metrics);
        tasks.spawn_vital("fleet", owner.run(reports, lost, tasks.stop_token()));
        losses
    }

    /// The owner, and the reports that it is to be given, for who runs no tasks.
    pub(crate) fn into_parts(
        self,
        metrics: &Metrics,
    ) -> (FleetOwner, mpsc::Receiver<(usize, Report)>) {
        let metrics = metrics.clone();
        (FleetOwner { table: self.table, published: self.published, metrics }, self.reports)
    }
}

/// The one writer of the backend table.
pub(crate) struct FleetOwner {
    table: FleetTable,
    published: watch::Sender<Arc<FleetSnapshot>>,
    metrics: Metrics,
}

impl FleetOwner {
    /// Applies reports until `stop`.
    async fn run(
        mut self,
        mut reports: mpsc::Receiver<(usize, Report)>,
        lost: mpsc::Sender<Loss>,
        stop: CancellationToken,
    ) {
        self.count(&self.table.snapshot());
        while let Some(Some((index, report))) = stop.run_until_cancelled(reports.recv()).await {
            if let Some(loss) = self.apply(index, report)
                && lost.send(loss).await.is_err()
            {
                return;
            }
        }
    }

    /// Applies a report on the backend with that index, and publishes a snapshot if that changes
    /// something. Returns the loss it shows, which is to be handled.
    pub(crate) fn apply(&mut self, index: usize, report: Report) -> Option<Loss> {
        let before = self.published.borrow().backends[index].health;
        let (loss, is_news) = self.table.apply(index, report);
        if !is_news {
            return None;
        }
        let snapshot = self.table.snapshot();
        self.tell(before, &snapshot.backends[index]);
        self.count(&snapshot);
        // First the news, so that nobody chooses the lost backend for what its loss sets free.
        self.published.send_replace(Arc::new(snapshot));
        loss.map(|(loss, token)| {
            // Then the token: whoever entered a meeting there and does not see it cancelled is found
            // when the loss is handled.
            token.cancel();
            loss
        })
    }

    fn tell(&self, before: Health, backend: &BackendView) {
        let (id, health) = (&backend.id, backend.health);
        if before == health {
            return;
        }
        let (health, before) = (health.as_str(), before.as_str());
        match (backend.health, backend.last_failure) {
            (Health::Suspect | Health::Ejected, Some(failure)) => {
                tracing::warn!(backend = %id, health, before, %failure, "backend is in trouble");
            }
            _ => tracing::info!(backend = %id, health, before, "backend has changed"),
        }
    }

    fn count(&self, snapshot: &FleetSnapshot) {
        for (health, label) in [
            (Health::Unknown, HealthLabel::Unknown),
            (Health::Healthy, HealthLabel::Healthy),
            (Health::Suspect, HealthLabel::Suspect),
            (Health::Ejected, HealthLabel::Ejected),
            (Health::Trial, HealthLabel::Trial),
        ] {
            let count = snapshot.backends.iter().filter(|b| b.health == health).count();
            self.metrics.set_backends(label, count);
        }
    }
}

impl FleetHandle {
    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<FleetSnapshot> {
        self.published.borrow().clone()
    }

    /// A receiver of further snapshots.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<FleetSnapshot>> {
        self.published.clone()
    }

    /// A link to this process of `backend` could not be opened: it takes no new meetings until a
    /// probe, which is made soon, is answered.
    pub fn report_dial_failure(&self, backend: &BackendId, incarnation: Option<Incarnation>) {
        if let Some(index) = self.index(backend) {
            // Full: the probes have more to tell than this.
            let _ = self.reports.try_send((index, Report::LinkFailed(incarnation)));
            self.kicks[index].notify_one();
        }
    }

    /// This process of `backend` has left calls of a client unanswered for too long: it takes no new
    /// meetings until a probe, which is made soon, is answered.
    pub fn report_timeout(&self, backend: &BackendId, incarnation: Option<Incarnation>) {
        self.report_dial_failure(backend, incarnation);
    }

    /// An open link to `backend` broke: it is probed soon. That says less than a failure to open one,
    /// because a server may cut a single client.
    pub fn report_cut(&self, backend: &BackendId) {
        if let Some(index) = self.index(backend) {
            self.kicks[index].notify_one();
        }
    }

    fn index(&self, backend: &BackendId) -> Option<usize> {
        self.published.borrow().backends.iter().position(|view| view.id == *backend)
    }

    /// Waits until somebody wants the backend with that index to be probed at once.
    pub(crate) async fn kicked(&self, index: usize) {
        self.kicks[index].notified().await;
    }

    /// Reports on the backend with that index.
    pub(super) async fn report(&self, index: usize, report: Report) {
        // Fails only when the fleet task has ended, and then everything does.
        let _ = self.reports.send((index, report)).await;
    }
}
