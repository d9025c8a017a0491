//! The task that judges the pins of an earlier process, one backend after another as they are heard
//! from, and keeps those alive whose pipelines live.
//!
//! Whoever names such a meeting before is served by its pin, which placement judges the same way. This
//! is for the meetings whose clients are silent, or never come back. Each backend is asked once which
//! pipelines it has; those of its pins count for their meetings from then on. Their clients need not
//! use them through this process, so they are asked for once a minute until they are gone. A meeting
//! without a pipeline ends a grace after clients could have come.

mod late;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fleet::{Asker, BackendView, Expectation, FleetHandle, FleetSnapshot};
use crate::model::{BackendId, Incarnation, MeetingName, PipelineId};
use crate::pins::{Charge, Keeper, News, Origin, Pin};
use crate::policy::history::{Memory, Topic};
use crate::policy::pin::{Verdict, judge};
use crate::policy::promise::PromiseRules;
use crate::runtime::Timer;
use late::Late;
use watch::{TICK, Watch, Watched};

/// Pins judged before other tasks get their turn.
const PINS_A_TURN: usize = 256;

/// Times that a backend is asked for its pipelines. If it never tells, they count when somebody uses
/// them, and their meetings live for the grace.
const ASKED_MAX: usize = 5;

/// Pause before it is asked again.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// What an earlier process has left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Its pins.
    pub(crate) pins: Vec<(MeetingName, Pin)>,
    /// Pipelines made under them, in the order of their pins' epochs.
    pub(crate) pipelines: Vec<Origin>,
    /// Pipelines on backends that it had given up.
    pub(crate) remnants: Vec<PipelineId>,
    /// What it remembered of meetings that were over.
    pub(crate) history: Vec<(Topic, Memory)>,
    /// What it still tells, if it has not ended.
    pub(crate) news: Option<mpsc::Receiver<News>>,
}

/// Pins that were found at the start, by what they name: they are judged together.
type Found = BTreeMap<(BackendId, u64), Group>;

/// Pins on one process.
struct Group {
    pins: Vec<(MeetingName, Pin)>,
    /// Keeps its backend from being removed before they are judged.
    expected: Expectation,
}

/// Work that goes on meanwhile; gives pipelines that are to be asked for later.
type Work<'a> = FuturesUnordered<BoxFuture<'a, Vec<Watched>>>;

/// Who knows what lives on a backend.
pub(crate) trait Witness: Send + Sync + 'static {
    /// All pipelines there; `None` if it does not tell.
    fn pipelines_of(
        &self,
        backend: &BackendId,
    ) -> impl Future<Output = Option<BTreeSet<PipelineId>>> + Send;

    /// Whether this one is there; `None` if it does not tell.
    fn has_pipeline(
        &self,
        backend: &BackendId,
        pipeline: PipelineId,
    ) -> impl Future<Output = Option<bool>> + Send;
}

impl Witness for Asker {
    async fn pipelines_of(&self, backend: &BackendId) -> Option<BTreeSet<PipelineId>> {
        self.pipelines_of(backend).await
    }

    async fn has_pipeline(&self, backend: &BackendId, pipeline: PipelineId) -> Option<bool> {
        self.has_pipeline(backend, pipeline).await
    }
}

pub(crate) struct Adoption<W> {
    pub(crate) fleet: FleetHandle,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) clock: Arc<dyn Timer>,
    pub(crate) witness: W,
    /// What a meeting is promised whose pipelines were found: how large it is, nobody has kept.
    pub(crate) promises: PromiseRules,
}

impl<W: Witness> Adoption<W> {
    /// Works until every pin is judged and no pipeline that was found is left, or until `stop`. From
    /// this call on, no backend that has any is removed before.
    pub(crate) fn run(
        self,
        mut left: Left,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        let late = Late::new(left.news.take(), &left.pins);
        let found = by_process(std::mem::take(&mut left.pins), &self.fleet);
        async move {
            stop.run_until_cancelled(self.work(found, late, &left.pipelines)).await;
        }
    }

    async fn work(&self, mut found: Found, mut late: Late, pipelines: &[Origin]) {
        let mut fleet = self.fleet.watch();
        // Its sockets count among those of meetings, and it tells only of pipelines.
        self.keeper.end_meetings(late.is_over());
        let had_any = !found.is_empty();
        let mut work = Work::default();
        let mut watch = Watch::new();
        let mut tick = self.clock.sleep(TICK);
        let mut is_judged = false;
        loop {
            let snapshot = fleet.borrow_and_update().clone();
            found = self.judge(found, &snapshot, (pipelines, &mut work)).await;
            watch.add(self.count_late(&mut late, &snapshot));
            if !is_judged && found.is_empty() && work.is_empty() {
                if had_any {
                    tracing::info!("the pins of the process before are all judged");
                }
                is_judged = true;
            }
            if is_judged && work.is_empty() && watch.is_empty() && late.is_over() {
                return;
            }
            tokio::select! {
                // In the order written, so that a simulated world is decided by its seed.
                biased;
                changed = fleet.changed(), if !found.is_empty() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(watched) = work.next() => watch.add(watched),
                news = late.next() => late.on_news(news, &self.keeper, self.clock.now()),
                () = &mut tick, if !watch.is_empty() || late.is_waiting() => {
                    tick = self.clock.sleep(TICK);
                    for due in watch.due(self.clock.now()) {
                        work.push(Box::pin(self.check(due)));
                    }
                }
            }
        }
    }

    /// Counts what the process before has made at last, where its meeting is here by now.
    fn count_late(&self, late: &mut Late, snapshot: &FleetSnapshot) -> Vec<Watched> {
        let (now, mut watched) = (self.clock.now(), Vec::new());
        late.try_all(now, |(meeting, pin), origin| {
            let backend = snapshot.backend(&pin.backend);
            let backend = backend.filter(|one| one.incarnation == Some(pin.incarnation));
            let counts =
                backend.is_some_and(|one| self.count((meeting, pin), origin.pipeline, one));
            if counts {
                watched.push(Watched::new(origin.pipeline, pin.backend.clone(), now));
            }
            counts
        });
        watched
    }

    /// Judges what can be judged by now; returns the rest.
    async fn judge<'a>(
        &'a self,
        found: Found,
        snapshot: &FleetSnapshot,
        (pipelines, work): (&'a [Origin], &mut Work<'a>),
    ) -> Found {
        let mut rest = Found::new();
        for (process, group) in found {
            let backend = snapshot.backend(&process.0);
            let known = backend.map(|backend| (backend.health, backend.incarnation));
            match (judge(Incarnation(process.1), known), backend) {
                (Verdict::Use, Some(backend)) => {
                    work.push(Box::pin(self.adopt(group, pipelines, backend.clone())));
                }
                (Verdict::Replace, _) => {
                    self.keeper.on_gone(&process.0, Incarnation(process.1));
                    self.discard(group.pins).await;
                }
                (Verdict::Use | Verdict::Wait, _) => drop(rest.insert(process, group)),
            }
        }
        rest
    }

    /// The backend has those meetings still. Returns the pipelines that count for them.
    async fn adopt(
        &self,
        group: Group,
        pipelines: &[Origin],
        backend: Arc<BackendView>,
    ) -> Vec<Watched> {
        let Group { pins, expected } = group;
        let has_any = pins.iter().any(|(_, pin)| made_under(pipelines, pin).next().is_some());
        let living = if has_any { self.ask(&backend).await } else { None };
        let mut watched = Vec::new();
        for (number, (meeting, pin)) in pins.iter().enumerate() {
            let at = (backend.load.clone(), &backend.lost);
            self.keeper.adopt((meeting, pin), at, self.clock.now()).await;
            let Some(living) = &living else { continue };
            for pipeline in made_under(pipelines, pin) {
                if !living.contains(&pipeline) {
                    self.keeper.forget(pipeline);
                } else if self.count((meeting, pin), pipeline, &backend) {
                    watched.push(Watched::new(pipeline, backend.id.clone(), self.clock.now()));
                }
            }
            give_way(number).await;
        }
        drop(expected);
        let (meetings, pipelines) = (pins.len(), watched.len());
        tracing::info!(backend = %backend.id, meetings, pipelines, "pins of the process before hold");
        watched
    }

    fn count(
        &self,
        (meeting, pin): (&MeetingName, &Pin),
        pipeline: PipelineId,
        backend: &BackendView,
    ) -> bool {
        let (chronicle, now) = (&self.keeper.chronicle, self.clock.now());
        let (promise, _) = chronicle.promise(&self.promises, None, Some(meeting), now);
        let charge = Charge::new(backend.load.clone(), promise, self.promises.half_life);
        self.keeper.adopt_pipeline((meeting, pin.epoch), pipeline, charge)
    }

    /// The pipelines of `backend`; `None` if it does not tell, or is lost.
    async fn ask(&self, backend: &BackendView) -> Option<BTreeSet<PipelineId>> {
        for _ in 0..ASKED_MAX {
            let told = self.witness.pipelines_of(&backend.id).await;
            if told.is_some() || backend.lost.is_cancelled() {
                return told.filter(|_| !backend.lost.is_cancelled());
            }
            self.clock.sleep(ASK_PAUSE).await;
        }
        tracing::warn!(backend = %backend.id, "it does not tell its pipelines; the meetings of the \
            process before end there unless somebody comes");
        None
    }

    /// Whether a pipeline that was found is still there; ends it if not.
    async fn check(&self, watched: Watched) -> Vec<Watched> {
        match self.keeper.registry.is_unused(watched.pipeline) {
            None => return Vec::new(),
            Some(false) => {}
            Some(true) => {
                let told = self.witness.has_pipeline(&watched.backend, watched.pipeline).await;
                if told == Some(false) {
                    self.keeper.released(watched.pipeline, self.clock.now());
                    return Vec::new();
                }
            }
        }
        vec![watched.again(self.clock.now())]
    }

    /// The backend is gone, or has lost those meetings.
    async fn discard(&self, pins: Vec<(MeetingName, Pin)>) {
        tracing::info!(meetings = pins.len(), "pins of the process before do not hold");
        for (number, (meeting, pin)) in pins.into_iter().enumerate() {
            self.keeper.discard(meeting, &pin).await;
            give_way(number).await;
        }
    }
}

fn by_process(pins: Vec<(MeetingName, Pin)>, fleet: &FleetHandle) -> Found {
    let mut found = Found::new();
    for (meeting, pin) in pins {
        let process = (pin.backend.clone(), pin.incarnation.0);
        let expected = || Group { pins: Vec::new(), expected: fleet.expect(&pin.backend) };
        found.entry(process).or_insert_with(expected).pins.push((meeting, pin));
    }
    found
}

/// Those of `pipelines`, which are in the order of epochs, that were made under `pin`.
fn made_under<'a>(
    pipelines: &'a [Origin],
    pin: &Pin,
) -> impl Iterator<Item = PipelineId> + use<'a> {
    let first = pipelines.partition_point(|origin| origin.epoch < pin.epoch);
    let last = pipelines.partition_point(|origin| origin.epoch <= pin.epoch);
    pipelines[first..last].iter().map(|origin| origin.pipeline)
}

async fn give_way(number: usize) {
    if number % PINS_A_TURN == PINS_A_TURN - 1 {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests;
