//! The task that moves what is left on drained backends once their deadline is over, and keeps the
//! orders of operators in force when backends come and go.
//!
//! Which meeting goes next and when is `policy::drain`'s; how one is let go is the keeper's. Here the
//! two meet the backends: a meeting is let go when its backend has released its pipelines. One that
//! does not answer is asked again until it does, or is lost, and then its meetings are lost with it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::after;
use super::parts::Begun;
use crate::fleet::{Asker, BackendView, Drain, Drains, FleetHandle, FleetSnapshot, Stay};
use crate::model::{BackendId, Draws, MeetingId, PipelineId, Time};
use crate::pins::{Keeper, MeetingView};
use crate::policy::drain::{Here, Plan, Progress};
use crate::policy::health::Health;
use crate::runtime::{Latest, Timer, random};
use crate::settings::{PinSettings, Settings, StoreKind};
use crate::telemetry::Metrics;

/// How often drained backends are looked at whose deadline is over. Looks at every meeting.
const TICK: Duration = Duration::from_millis(250);

/// Least time between two looks.
const TICK_MIN: Duration = Duration::from_millis(5);

/// Meetings that are being let go at once. Beyond that further ones wait.
const MOVES_MAX: usize = 64;

/// Pause before a backend that has not released a pipeline is asked again.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);

/// What orders to drain backends are kept in, beside the pins.
const DRAINS: &str = "drains.json";

/// Who releases pipelines on a backend.
pub(crate) trait Releaser: Send + Sync + 'static {
    /// Releases this one for everybody; says whether it is gone for certain.
    fn release(
        &self,
        backend: &BackendId,
        pipeline: PipelineId,
    ) -> impl Future<Output = bool> + Send;
}

impl Releaser for Asker {
    async fn release(&self, backend: &BackendId, pipeline: PipelineId) -> bool {
        self.release(backend, pipeline).await
    }
}

/// Puts the orders that are kept in force, before the first client comes, and starts the task.
pub(super) async fn start(settings: &Settings, begun: &Begun) -> Arc<Drains> {
    let Begun { fleet, keeper, asker, clock, metrics, inner, drain_pace, ours, go, .. } = begun;
    let drains = Arc::new(open(&settings.pins));
    drains.enforce(fleet, clock).await;
    let plan = Plan::new(*drain_pace.get(), Draws::seeded(random::seed()));
    let drainage = Drainage {
        fleet: fleet.clone(),
        keeper: keeper.clone(),
        drains: drains.clone(),
        releaser: asker.clone(),
        pace: drain_pace.clone(),
        timer: Arc::new(*clock),
        metrics: metrics.clone(),
    };
    let work = after(go, ours, drainage.run(plan, ours.clone()));
    inner.spawn_vital_until("drainage", ours.clone(), work);
    drains
}

/// The orders to drain backends that are still in force. Without them the edge is of use all the same.
fn open(settings: &PinSettings) -> Drains {
    let path = match settings.store {
        StoreKind::Memory => None,
        StoreKind::Disk => Some(settings.state_dir.join(DRAINS)),
    };
    Drains::open(path.clone()).unwrap_or_else(|error| {
        let path = path.map(|path| path.display().to_string());
        tracing::error!(path, %error, "orders to drain backends are lost; operator: give them again");
        Drains::default()
    })
}

/// Lets go of what is left on drained backends.
pub(crate) struct Drainage<R> {
    pub(crate) fleet: FleetHandle,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) drains: Arc<Drains>,
    pub(crate) releaser: R,
    /// Meetings let go in a second.
    pub(crate) pace: Arc<Latest<f64>>,
    pub(crate) timer: Arc<dyn Timer>,
    pub(crate) metrics: Metrics,
}

/// Meetings that are being let go.
type Work<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

impl<R: Releaser> Drainage<R> {
    /// Works until `stop`. What is under way then stays where it is: its pin holds.
    pub(crate) async fn run(self, plan: Plan, stop: CancellationToken) {
        stop.run_until_cancelled(self.work(plan)).await;
    }

    async fn work(&self, mut plan: Plan) {
        let mut fleet = self.fleet.watch();
        let mut work = Work::default();
        loop {
            let snapshot = fleet.borrow_and_update().clone();
            self.drains.enforce(&self.fleet, &*self.timer).await;
            self.step(&snapshot, &mut plan, &mut work).await;
            let wait = self.wait(&snapshot, &plan);
            tokio::select! {
                // In the order written, so that a simulated world is decided by its seed.
                biased;
                changed = fleet.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(()) = work.next() => {}
                () = wait => {}
            }
        }
    }

    /// Waits until it is time to look again; for ever if no drain has a deadline.
    fn wait(&self, snapshot: &FleetSnapshot, plan: &Plan) -> BoxFuture<'static, ()> {
        let now = self.timer.now();
        let drains = snapshot.backends.iter().filter_map(|backend| drain_of(backend));
        let Some(first) = drains.filter_map(|drain| drain.deadline).min() else {
            return Box::pin(std::future::pending());
        };
        let pace = plan.wait(now).clamp(TICK_MIN, TICK);
        let until = first.since(now);
        self.timer.sleep(if until.is_zero() { pace } else { until })
    }

    /// Begins to let go what may be let go now.
    async fn step<'a>(&'a self, snapshot: &FleetSnapshot, plan: &mut Plan, work: &mut Work<'a>) {
        let now = self.timer.now();
        plan.set_pace(*self.pace.get());
        if !plan.is_due(now) || work.len() >= MOVES_MAX {
            return;
        }
        let mut left: Vec<(BackendId, Here)> = Vec::new();
        for backend in snapshot.backends.iter().filter(|backend| is_over(backend, now)) {
            let (live, idle): (Vec<_>, Vec<_>) =
                self.meetings(backend).into_iter().partition(|meeting| meeting.is_live);
            // Nothing of these is on the backend, and nobody is there to be asked to move.
            for meeting in idle.into_iter().take(MOVES_MAX - work.len()) {
                let of = (meeting.id, meeting.pin.epoch);
                work.push(Box::pin(self.let_go(backend.id.clone(), of)));
            }
            let here = live.iter().map(|meeting| (backend.id.clone(), self.here(meeting, now)));
            left.extend(here);
        }
        let next = plan.next(now, left.iter().map(|(_, here)| here)).map(|here| here.id.clone());
        let found = left.into_iter().find(|(_, here)| Some(&here.id) == next.as_ref());
        if let Some((backend, here)) = found {
            let (people, epoch) = (here.people, here.epoch);
            tracing::info!(meeting = %here.id, %backend, people, "meeting is let go: its drain is over");
            self.metrics.on_meeting_moved();
            work.push(Box::pin(self.let_go(backend, (here.id, epoch))));
        }
    }

    /// The meetings on the present process of `backend` that are not ending.
    fn meetings(&self, backend: &BackendView) -> Vec<MeetingView> {
        let mut all = self.keeper.registry.meetings_on(&backend.id);
        all.retain(|one| !one.is_ending && Some(one.pin.incarnation) == backend.incarnation);
        all
    }

    fn here(&self, meeting: &MeetingView, now: Time) -> Here {
        here(&self.keeper, meeting, now)
    }

    /// Lets one meeting go: ready when its pin is being removed, or it is lost or over meanwhile.
    async fn let_go(&self, backend: BackendId, (id, epoch): (MeetingId, u64)) {
        let Some(mut left) = self.keeper.let_go(&id, epoch) else { return };
        let pipelines = left.clone();
        loop {
            let mut kept = Vec::new();
            for pipeline in left {
                if !self.releaser.release(&backend, pipeline).await {
                    kept.push(pipeline);
                }
            }
            if kept.is_empty() {
                break;
            }
            if !self.is_ending(&id, epoch) {
                return;
            }
            tracing::warn!(%backend, pipelines = kept.len(), "pipelines not released, trying again");
            left = kept;
            self.timer.sleep(RELEASE_PAUSE).await;
        }
        self.keeper.let_gone((&id, epoch), &pipelines, self.timer.now()).await;
    }

    /// Whether it is still to be let go: not if its backend was lost.
    fn is_ending(&self, id: &MeetingId, epoch: u64) -> bool {
        let known = self.keeper.registry.meeting(id);
        known.is_some_and(|known| known.is_ending && known.pin.epoch == epoch)
    }
}

/// How `backend` is drained, if it is.
fn drain_of(backend: &BackendView) -> Option<Drain> {
    match backend.stay {
        Stay::Draining(drain) => Some(drain),
        Stay::Open | Stay::Leaving => None,
    }
}

/// Whether the deadline of its drain is over, and it is there to release what it has.
fn is_over(backend: &BackendView, now: Time) -> bool {
    let is_over = |drain: Drain| drain.deadline.is_some_and(|deadline| deadline <= now);
    let answers = backend.incarnation.is_some() && backend.health != Health::Suspect;
    answers && drain_of(backend).is_some_and(is_over)
}

/// What is known of a meeting, to judge when it is over.
fn here(keeper: &Keeper, meeting: &MeetingView, now: Time) -> Here {
    let usual = match &meeting.id {
        MeetingId::Named(name) => keeper.chronicle.lasted(name, now),
        MeetingId::Pipeline(_) => None,
    };
    Here {
        id: meeting.id.clone(),
        epoch: meeting.pin.epoch,
        people: meeting.participants,
        legs: meeting.charged,
        age: meeting.begun.map(|begun| now.since(begun)),
        usual,
    }
}

/// How far the drain of `backend` is; `None` if it is not drained.
pub(super) fn progress(
    keeper: &Keeper,
    backend: &BackendView,
    (now, moves_per_second): (Time, f64),
) -> Option<(Drain, Progress)> {
    let drain = drain_of(backend)?;
    let there = keeper.registry.meetings_on(&backend.id);
    let there = there
        .iter()
        .filter(|meeting| meeting.is_live && Some(meeting.pin.incarnation) == backend.incarnation);
    let here: Vec<_> = there.map(|meeting| here(keeper, meeting, now)).collect();
    let until = drain.deadline.map(|deadline| deadline.since(now));
    Some((drain, Progress::of(&here, until, moves_per_second)))
}

#[cfg(test)]
mod tests;
