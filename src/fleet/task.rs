//! The fleet task and the handle others have on it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::agent::AgentPoll;
use super::events::{Hub, ObjectEvents};
use super::probe::Prober;
use super::snapshot::{BackendView, FleetSnapshot};
use super::table::{Applied, FleetTable, Report};
use crate::model::{BackendId, Draws, Incarnation, Time};
use crate::pins::PinStore;
use crate::policy::health::Health;
use crate::runtime::{Clock, Tasks};
use crate::session::Tried;
use crate::settings::{BackendSettings, ProbeSettings};
use crate::telemetry::{HealthLabel, Metrics};

/// Reports that may wait. When full, probes wait, and news of failed links are dropped: the next
/// probe tells the same.
const REPORTS_MAX: usize = 256;

/// Losses that may wait to be handled. When full, the fleet task waits.
const LOSSES_MAX: usize = 64;

/// How long a loss may take to be noted before it is acted on all the same.
const RECORD_MAX: Duration = Duration::from_secs(1);

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
    /// Wakes whoever waits for something to be published, in the order they came.
    news: Arc<Notify>,
    reports: mpsc::Sender<(usize, Report)>,
    /// Wakes the probe of each backend, in the order of the config.
    kicks: Arc<[Notify]>,
    hub: Arc<Hub>,
}

/// The fleet before it runs.
pub struct Fleet {
    /// To be given to those who read the fleet.
    pub handle: FleetHandle,
    table: FleetTable,
    probers: Vec<Prober>,
    agents: Vec<AgentPoll>,
    clock: Clock,
    reports: mpsc::Receiver<(usize, Report)>,
    published: watch::Sender<Arc<FleetSnapshot>>,
    ledger: Option<Arc<dyn PinStore>>,
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
        let table = FleetTable::new(backends, probe.rules());
        let (published, receiver) = watch::channel(Arc::new(table.snapshot()));
        let (reports_tx, reports) = mpsc::channel(REPORTS_MAX);
        let kicks: Arc<[Notify]> = backends.iter().map(|_| Notify::new()).collect();
        let hub = Arc::new(Hub::new(backends.len()));
        let handle = FleetHandle {
            published: receiver,
            news: Arc::default(),
            reports: reports_tx,
            kicks,
            hub,
        };
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
        let agent = |(index, settings): (usize, &BackendSettings)| {
            let url = settings.report_url.clone()?;
            let draws = Draws::seeded(seed ^ index as u64);
            Some(AgentPoll { index, url, settings: probe.clone(), draws, handle: handle.clone() })
        };
        let agents = backends.iter().enumerate().filter_map(agent).collect();
        Self { handle, table, probers, agents, clock, reports, published, ledger: None }
    }

    /// Counts losses on from `losses`, and notes each in `ledger` before it is acted on. Else a restart
    /// would take a backend that was lost and came back for what it was before.
    #[must_use]
    pub fn remembering(
        mut self,
        losses: &BTreeMap<BackendId, u32>,
        ledger: Arc<dyn PinStore>,
    ) -> Self {
        self.table.remember(losses);
        self.published.send_replace(Arc::new(self.table.snapshot()));
        self.ledger = Some(ledger);
        self
    }

    /// Starts the probes and the task that owns the table; returns where losses come out.
    pub fn start(mut self, tasks: &Tasks, metrics: &Metrics) -> mpsc::Receiver<Loss> {
        for prober in self.probers.drain(..) {
            tasks.spawn_vital("probe", prober.run(metrics.clone(), tasks.stop_token()));
        }
        for agent in self.agents.drain(..) {
            tasks.spawn_vital("agent", agent.run(tasks.stop_token()));
        }
        self.start_unprobed(tasks, metrics)
    }

    /// Starts the task that owns the table, which takes reports, and no probe.
    pub(super) fn start_unprobed(self, tasks: &Tasks, metrics: &Metrics) -> mpsc::Receiver<Loss> {
        let (lost, losses) = mpsc::channel(LOSSES_MAX);
        let clock = self.clock;
        let (owner, reports) = self.into_parts(metrics);
        tasks.spawn_vital("fleet", owner.run((reports, clock), lost, tasks.stop_token()));
        losses
    }

    /// The owner, and the reports that it is to be given, for who runs no tasks.
    pub(crate) fn into_parts(
        self,
        metrics: &Metrics,
    ) -> (FleetOwner, mpsc::Receiver<(usize, Report)>) {
        let metrics = metrics.clone();
        let (table, published, ledger) = (self.table, self.published, self.ledger);
        let news = self.handle.news;
        let owner = FleetOwner { table, published, news, metrics, ledger, is_ledger_slow: false };
        (owner, self.reports)
    }
}

/// The one writer of the backend table.
pub(crate) struct FleetOwner {
    table: FleetTable,
    published: watch::Sender<Arc<FleetSnapshot>>,
    news: Arc<Notify>,
    metrics: Metrics,
    ledger: Option<Arc<dyn PinStore>>,
    /// The ledger did not answer in time when it was last asked.
    is_ledger_slow: bool,
}

/// What a report has changed and nobody has been told.
struct Taken {
    index: usize,
    before: Health,
    applied: Applied,
}

impl FleetOwner {
    /// Applies reports until `stop`.
    async fn run(
        mut self,
        (mut reports, clock): (mpsc::Receiver<(usize, Report)>, Clock),
        lost: mpsc::Sender<Loss>,
        stop: CancellationToken,
    ) {
        self.count(&self.table.snapshot());
        while let Some(Some((index, report))) = stop.run_until_cancelled(reports.recv()).await {
            let losses = self.table.losses(index);
            let taken = self.take_in(index, report, clock.now());
            if self.table.losses(index) != losses {
                self.record_loss(index).await;
            }
            if let Some(loss) = self.publish(taken)
                && lost.send(loss).await.is_err()
            {
                return;
            }
        }
    }

    /// Applies a report on the backend with that index that comes at `now`, and publishes a snapshot if that changes
    /// something. Returns the loss it shows, which is to be handled. For who keeps no ledger.
    pub(crate) fn apply(&mut self, index: usize, report: Report, now: Time) -> Option<Loss> {
        let taken = self.take_in(index, report, now);
        self.publish(taken)
    }

    /// How often processes of the backend with that index were given up for lost.
    pub(crate) fn losses(&self, index: usize) -> u32 {
        self.table.losses(index)
    }

    fn take_in(&mut self, index: usize, report: Report, now: Time) -> Taken {
        let before = self.published.borrow().backends[index].health;
        let applied = self.table.apply(index, report, now);
        Taken { index, before, applied }
    }

    /// Notes a loss before anybody acts on it. A ledger that fails or stands still does not keep a
    /// dead backend alive.
    async fn record_loss(&mut self, index: usize) {
        let Some(ledger) = &self.ledger else { return };
        let backend = self.published.borrow().backends[index].id.clone();
        let recorded = ledger.record_losses(&backend, self.table.losses(index));
        let limit = if self.is_ledger_slow { Duration::ZERO } else { RECORD_MAX };
        let outcome = tokio::time::timeout(limit, recorded).await;
        self.is_ledger_slow = outcome.is_err();
        if !matches!(outcome, Ok(Ok(()))) {
            tracing::error!(
                %backend,
                "its loss is not on disk yet; a restart before that may take it for what it was; \
                 operator: look at the disk of pins.state_dir"
            );
        }
    }

    fn publish(&self, taken: Taken) -> Option<Loss> {
        let Taken { index, before, applied: Applied { loss, ejected, is_news } } = taken;
        if let Some(cause) = ejected {
            self.metrics.on_ejection(cause);
        }
        if !is_news {
            return None;
        }
        let snapshot = self.table.snapshot();
        self.tell_missing(&snapshot);
        self.tell(before, &snapshot.backends[index]);
        self.tell_spared(&snapshot.backends[index]);
        self.count(&snapshot);
        // First the news, so that nobody chooses the lost backend for what its loss sets free.
        self.published.send_replace(Arc::new(snapshot));
        self.news.notify_waiters();
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
        let cause = backend.out.map(|(cause, _)| cause.as_str());
        match (backend.health, backend.last_failure) {
            (Health::Suspect | Health::Ejected, Some(failure)) => {
                tracing::warn!(backend = %id, health, before, %failure, cause, "backend is in trouble");
            }
            (Health::Ejected, None) => {
                tracing::warn!(backend = %id, health, before, cause, "backend gets no new meetings");
            }
            _ => tracing::info!(backend = %id, health, before, "backend has changed"),
        }
    }

    /// Says once that a backend would be out, if others were not.
    fn tell_spared(&self, backend: &BackendView) {
        let published = self.published.borrow();
        let before = published.backend(&backend.id).and_then(|before| before.spared);
        match (before, backend.spared) {
            (None, Some(cause)) => tracing::error!(
                backend = %backend.id, cause = cause.as_str(),
                "it would be ejected, and gets new meetings all the same, because half of its region \
                 is out; operator: look at what the region has in common: network, load, this edge"
            ),
            (Some(_), None) => tracing::info!(backend = %backend.id, "its alarm is over"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// Warns when modules that clients insist on become rarer: new clients may not start.
    fn tell_missing(&self, snapshot: &FleetSnapshot) {
        let missing = self.table.missing_modules();
        let is_new = self.published.borrow().server_info != snapshot.server_info;
        if is_new && !missing.is_empty() {
            tracing::warn!(?missing, "a backend lacks modules that clients insist on");
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
        self.metrics.set_spared(snapshot.backends.iter().filter(|b| b.spared.is_some()).count());
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

    /// Waits until something newer than that generation is published. Unlike with [`Self::watch`], who
    /// waited first is woken first.
    pub async fn newer_than(&self, generation: u64) {
        loop {
            let mut news = pin!(self.news.notified());
            // From here on no news is missed.
            news.as_mut().enable();
            if self.snapshot().generation > generation {
                return;
            }
            news.await;
        }
    }

    /// A link to this process of `backend` could not be opened: it takes no new meetings until a
    /// probe, which is made soon, is answered.
    pub fn report_dial_failure(&self, backend: &BackendId, incarnation: Option<Incarnation>) {
        self.report_trouble(backend, Report::DialFailed(incarnation));
    }

    fn report_trouble(&self, backend: &BackendId, report: Report) {
        if let Some(index) = self.index(backend) {
            // Full: the probes have more to tell than this.
            let _ = self.reports.try_send((index, report));
            self.kicks[index].notify_one();
        }
    }

    /// This process of `backend` has left calls of a client unanswered for too long: it takes no new
    /// meetings until a probe, which is made soon, is answered.
    pub fn report_timeout(&self, backend: &BackendId, incarnation: Option<Incarnation>) {
        self.report_trouble(backend, Report::Unanswered(incarnation));
    }

    /// How a call ended that makes something on `backend`, in the process that the view shows.
    pub fn report_tried(&self, backend: &BackendView, tried: Tried) {
        match tried {
            Tried::Made(class, took) => backend.pulse.on_made(class, took),
            Tried::Refused => {
                if backend.pulse.on_refused() {
                    self.report_cut(&backend.id);
                }
            }
        }
    }

    /// An open link to `backend` broke: it is probed soon. That says less than a failure to open one,
    /// because a server may cut a single client.
    pub fn report_cut(&self, backend: &BackendId) {
        if let Some(index) = self.index(backend) {
            self.kicks[index].notify_one();
        }
    }

    /// Begins to listen to the managers of all backends, those that join later too.
    #[must_use]
    pub fn listen(&self) -> ObjectEvents {
        self.hub.listen()
    }

    /// Where control connections bring what they hear.
    pub(super) const fn hub(&self) -> &Arc<Hub> {
        &self.hub
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
