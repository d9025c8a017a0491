//! The task that owns the backend table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::asker::Asked;
use super::handle::{Ends, FleetHandle, Order, handle};
use super::snapshot::{BackendView, FleetSnapshot};
use super::staff::Staff;
use super::stay::{AfterDrain, DrainError};
use super::table::{Applied, FleetTable, Recruit, Report};
use super::wanted::{FleetChange, Moves};
use crate::model::{BackendId, Draws, Incarnation, Time};
use crate::pins::PinStore;
use crate::policy::health::Health;
use crate::runtime::{Clock, Tasks};
use crate::settings::{BackendSettings, ProbeSettings};
use crate::telemetry::{HealthLabel, Metrics};

/// Losses that may wait to be handled. When full, the fleet task waits.
const LOSSES_MAX: usize = 64;

/// How often those who are to be removed are looked at.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);

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

/// The fleet before it runs.
pub struct Fleet {
    /// To be given to those who read the fleet.
    pub handle: FleetHandle,
    table: FleetTable,
    recruits: Vec<Recruit>,
    probe: watch::Sender<ProbeSettings>,
    seed: u64,
    clock: Clock,
    reports: mpsc::Receiver<(usize, Report)>,
    orders: mpsc::Receiver<Order>,
    published: watch::Sender<Arc<FleetSnapshot>>,
    ledger: Option<Arc<dyn PinStore>>,
}

impl Fleet {
    /// The fleet as it begins. Nothing is probed yet; `seed` draws the jitter.
    #[must_use]
    pub fn new(
        backends: &[BackendSettings],
        probe: &ProbeSettings,
        clock: Clock,
        seed: u64,
    ) -> Self {
        let mut table = FleetTable::new(probe.rules());
        let recruits = table.want(backends.to_vec(), Time::ZERO).recruits;
        let (handle, Ends { published, reports, orders }) = handle(table.snapshot());
        let probe = watch::Sender::new(probe.clone());
        let ledger = None;
        Self { handle, table, recruits, probe, seed, clock, reports, orders, published, ledger }
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
        let mut staff = Staff {
            handle: self.handle.clone(),
            probe: self.probe.subscribe(),
            clock: self.clock,
            draws: Draws::seeded(self.seed),
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            posts: BTreeMap::new(),
        };
        self.recruits.drain(..).for_each(|recruit| staff.attend(recruit));
        self.start_with(Some(staff), tasks, metrics)
    }

    /// Starts the task that owns the table, which takes reports and orders, and nobody who looks after a backend.
    #[cfg(test)]
    pub(super) fn start_unprobed(self, tasks: &Tasks, metrics: &Metrics) -> mpsc::Receiver<Loss> {
        self.start_with(None, tasks, metrics)
    }

    fn start_with(
        self,
        staff: Option<Staff>,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> mpsc::Receiver<Loss> {
        let (lost, losses) = mpsc::channel(LOSSES_MAX);
        let clock = self.clock;
        let (owner, reports) = self.into_parts(metrics);
        let owner = FleetOwner { staff, ..owner };
        tasks.spawn_vital("fleet", owner.run((reports, clock), lost, tasks.stop_token()));
        losses
    }

    /// Where questions to each backend come out, for who answers them himself.
    pub(crate) fn take_lines(&mut self) -> Vec<mpsc::Receiver<Asked>> {
        self.recruits.drain(..).map(|recruit| recruit.asked).collect()
    }

    /// The owner, and the reports that it is to be given, for who runs no tasks.
    pub(crate) fn into_parts(
        self,
        metrics: &Metrics,
    ) -> (FleetOwner, mpsc::Receiver<(usize, Report)>) {
        let owner = FleetOwner {
            table: self.table,
            staff: None,
            probe: self.probe,
            orders: self.orders,
            published: self.published,
            news: self.handle.news,
            metrics: metrics.clone(),
            ledger: self.ledger,
            owed: Vec::new(),
            is_ledger_slow: false,
            failed: BTreeMap::new(),
        };
        (owner, self.reports)
    }
}

/// The one writer of the backend table.
pub(crate) struct FleetOwner {
    table: FleetTable,
    /// Who looks after the backends; `None` where others do.
    staff: Option<Staff>,
    probe: watch::Sender<ProbeSettings>,
    orders: mpsc::Receiver<Order>,
    published: watch::Sender<Arc<FleetSnapshot>>,
    news: Arc<Notify>,
    metrics: Metrics,
    ledger: Option<Arc<dyn PinStore>>,
    /// Losses by removal that nobody was told of yet.
    owed: Vec<(Loss, u32)>,
    /// The ledger did not answer in time when it was last asked.
    is_ledger_slow: bool,
    /// When backends that have failed since they last answered did so first, by their numbers.
    failed: BTreeMap<usize, Time>,
}

/// What another wish has changed; who has come and gone, where nobody is told to look after them.
#[derive(Debug, Default)]
pub(crate) struct Turnover {
    pub(crate) change: FleetChange,
    pub(crate) recruits: Vec<Recruit>,
    pub(crate) gone: Vec<usize>,
    /// Their processes, with how often each backend was given up by now.
    pub(crate) losses: Vec<(Loss, u32)>,
}

/// What a report has changed and nobody has been told.
struct Taken {
    number: usize,
    before: Health,
    applied: Applied,
}

impl FleetOwner {
    /// Obeys orders and applies reports until `stop`.
    async fn run(
        mut self,
        (mut reports, clock): (mpsc::Receiver<(usize, Report)>, Clock),
        lost: mpsc::Sender<Loss>,
        stop: CancellationToken,
    ) {
        self.count(&self.table.snapshot());
        let mut ticks = interval(SETTLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_moving = self.table.is_moving();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(order) = self.orders.recv() => self.obey(order, clock.now()),
                report = reports.recv() => {
                    let Some((number, report)) = report else { return };
                    if self.hear((number, report), clock.now(), &lost).await.is_err() {
                        return;
                    }
                }
                _ = ticks.tick(), if is_moving => drop(self.settle(clock.now())),
            }
            for (loss, losses) in std::mem::take(&mut self.owed) {
                self.record_losses(&loss.backend, losses).await;
                if lost.send(loss).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes in a report.
    ///
    /// # Errors
    /// Nobody handles losses any more.
    async fn hear(
        &mut self,
        (number, report): (usize, Report),
        now: Time,
        lost: &mpsc::Sender<Loss>,
    ) -> Result<(), mpsc::error::SendError<Loss>> {
        let losses = self.table.losses(number);
        let taken = self.take_in(number, report, now);
        if self.table.losses(number) != losses {
            self.record_loss(number).await;
        }
        match taken.and_then(|taken| self.publish(taken)) {
            Some(loss) => lost.send(loss).await,
            None => Ok(()),
        }
    }

    fn obey(&mut self, order: Order, now: Time) {
        // Whoever gave it may have left.
        match order {
            Order::Want(backends, answer) => {
                let _ = answer.send(self.want(backends, now).change);
            }
            Order::Probe(settings, answer) => {
                self.table.set_rules(settings.rules());
                self.probe.send_replace(settings);
                let _ = answer.send(());
            }
            Order::Drain(id, how, answer) => {
                let _ = answer.send(self.drain(&id, how, now).map(drop));
            }
            Order::Undrain(id, answer) => {
                let _ = answer.send(self.undrain(&id, now).map(drop));
            }
        }
    }

    /// The fleet is to be these backends.
    pub(crate) fn want(&mut self, backends: Vec<BackendSettings>, now: Time) -> Turnover {
        let moves = self.table.want(backends, now);
        self.carry_out(moves)
    }

    /// An operator wants a backend drained.
    pub(crate) fn drain(
        &mut self,
        id: &BackendId,
        how: (Option<Time>, AfterDrain),
        now: Time,
    ) -> Result<Turnover, DrainError> {
        self.table.drain(id, how, now)?;
        Ok(self.on_decided(id, now))
    }

    /// An operator wants a backend to get meetings again.
    pub(crate) fn undrain(&mut self, id: &BackendId, now: Time) -> Result<Turnover, DrainError> {
        self.table.undrain(id)?;
        Ok(self.on_decided(id, now))
    }

    fn on_decided(&mut self, id: &BackendId, now: Time) -> Turnover {
        self.publish_fleet();
        let turnover = self.settle(now);
        let snapshot = self.published.borrow();
        let stay = snapshot.backend(id).map_or("removed", |view| view.stay.as_str());
        tracing::info!(backend = %id, stay, "an operator has decided");
        turnover
    }

    /// Lets go who has no meeting left and is not to stay.
    pub(crate) fn settle(&mut self, now: Time) -> Turnover {
        let moves = self.table.settle(now);
        self.carry_out(moves)
    }

    fn carry_out(&mut self, moves: Moves) -> Turnover {
        let mut turnover = Turnover { change: moves.change, ..Turnover::default() };
        if !turnover.change.is_news() {
            return turnover;
        }
        let FleetChange { added, changed, leaving, removed, waiting } = &turnover.change;
        let shown =
            |ids: &[BackendId]| ids.iter().map(BackendId::as_str).collect::<Vec<_>>().join(" ");
        tracing::info!(
            added = shown(added),
            changed = shown(changed),
            leaving = shown(leaving),
            removed = shown(removed),
            waiting = shown(waiting),
            "the fleet is another"
        );
        self.publish_fleet();
        removed.iter().for_each(|id| self.metrics.forget_backend(id));
        for (number, _) in &moves.gone {
            self.failed.remove(number);
        }
        match &mut self.staff {
            Some(staff) => {
                moves.recruits.into_iter().for_each(|recruit| staff.attend(recruit));
                moves.gone.iter().for_each(|(number, _)| staff.dismiss(*number));
                moves.agents.iter().for_each(|(number, one)| staff.change_agent(*number, one));
                self.owed.extend(moves.losses);
            }
            None => {
                turnover.recruits = moves.recruits;
                turnover.gone = moves.gone.iter().map(|(number, _)| *number).collect();
                turnover.losses = moves.losses;
            }
        }
        // Its links are of no use to anybody; whoever has chosen it meanwhile chooses again.
        moves.gone.iter().for_each(|(_, links)| links.cancel());
        turnover
    }

    fn publish_fleet(&self) {
        let snapshot = self.table.snapshot();
        self.tell_missing(&snapshot);
        self.count(&snapshot);
        self.published.send_replace(Arc::new(snapshot));
        self.news.notify_waiters();
    }

    /// Applies a report on the backend with that number that comes at `now`, and publishes a snapshot if that changes
    /// something. Returns the loss it shows, which is to be handled. For who keeps no ledger.
    pub(crate) fn apply(&mut self, number: usize, report: Report, now: Time) -> Option<Loss> {
        let taken = self.take_in(number, report, now)?;
        self.publish(taken)
    }

    /// How often processes of the backend with that number were given up for lost.
    pub(crate) fn losses(&self, number: usize) -> u32 {
        self.table.losses(number)
    }

    /// `None` if that backend has gone meanwhile.
    fn take_in(&mut self, number: usize, report: Report, now: Time) -> Option<Taken> {
        let before = self.table.view(number)?.health;
        let since = self.note_failure(number, &report, now);
        let applied = self.table.apply(number, report, now);
        if applied.loss.is_some() {
            self.metrics.on_loss(now.since(since));
        }
        Some(Taken { number, before, applied })
    }

    /// Since when that backend has failed: the first sign of a loss, if it is one.
    fn note_failure(&mut self, number: usize, report: &Report, now: Time) -> Time {
        match report {
            Report::Failed(_) | Report::DialFailed(_) | Report::Unanswered(_) => {
                *self.failed.entry(number).or_insert(now)
            }
            Report::Answered { .. } => self.failed.remove(&number).unwrap_or(now),
            Report::Sampled { .. } | Report::Told(_) | Report::Deep(..) => now,
        }
    }

    /// Notes a loss before anybody acts on it. A ledger that fails or stands still does not keep a
    /// dead backend alive.
    async fn record_loss(&mut self, number: usize) {
        let Some(backend) = self.table.view(number).map(|view| view.id.clone()) else { return };
        self.record_losses(&backend, self.table.losses(number)).await;
    }

    async fn record_losses(&mut self, backend: &BackendId, losses: u32) {
        let Some(ledger) = &self.ledger else { return };
        let recorded = ledger.record_losses(backend, losses);
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
        let Taken { number, before, applied: Applied { loss, ejected, is_news } } = taken;
        if let Some(cause) = ejected {
            self.metrics.on_ejection(cause);
        }
        if !is_news {
            return None;
        }
        if let Some(view) = self.table.view(number) {
            self.tell(before, view);
            self.tell_spared(view);
        }
        // First the news, so that nobody chooses the lost backend for what its loss sets free.
        self.publish_fleet();
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
