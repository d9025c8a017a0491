//! What client connections share: one generation of it for each config.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::blocking::BlockingCalls;
use super::manager::Manager;
use super::pacer::Pacer;
use super::placement::{PlaceError, Placed, Placement, Where};
use super::sessions::Away;
use crate::fleet::{Asker, BackendView, FleetHandle, Holders, Payer, Quota, RETRY_AFTER_MS};
use crate::model::{
    BackendId, Draws, Finding, Incarnation, MeetingName, PipelineId, SessionId, Time,
};
use crate::pins::{Home, Registry};
use crate::policy::access::Access;
use crate::policy::guard::Rules;
use crate::protocol::error::Failure;
use crate::protocol::request::Hints;
use crate::runtime::{Clock, Latest, random};
use crate::session::{Bounds, Remains, Session, Wish};
use crate::settings::Limits;
use crate::telemetry::Metrics;

/// What a stock Kurento server says of itself. Told only until the first backend was heard from,
/// because clients ask it before anything else and refuse to start without these three modules.
const STOCK_SERVER_INFO: &str = include_str!("server_info.json");

/// Everything a client connection needs besides its own state, as the config says that was the newest
/// when it came.
///
/// It never changes. A reload makes another for the connections that come after it, with the same
/// stateful parts (those behind an `Arc` or a handle); this one lives as long as its connections.
pub struct Edge {
    /// What `connect` tells as the server's identity: new at each start.
    pub server_id: String,
    /// The bounds of connections.
    pub limits: Limits,
    /// The clock.
    pub clock: Clock,
    /// Where everything is counted.
    pub metrics: Metrics,
    /// The backends.
    pub fleet: FleetHandle,
    /// Calls that block a thread of their backend.
    pub blocking: Arc<BlockingCalls>,
    /// Gives costly calls their turns.
    pub pacer: Arc<Pacer>,
    /// Places new pipelines.
    pub placement: Arc<Placement>,
    /// Asks the backends for what this process does not know; `None`: nobody can be asked.
    pub asker: Option<Asker>,
    /// How long the links of a client that vanished stay open.
    pub hold: Duration,
    /// Over which time the clients of a backend that is lost are told so.
    pub loss_spread: Duration,
    /// The server manager that clients see.
    pub manager: Arc<Manager>,
    /// Cancelled when client connections are to be closed.
    pub closing: CancellationToken,
    /// Over which time they are closed: what is said then counts.
    pub close_window: Arc<Latest<Duration>>,
    /// Cancelled when another process decides where pipelines are. A client that has to know it is
    /// closed at once, for that process to tell it.
    pub moved: CancellationToken,
    /// Draws of masks and of the moment in that window. Taken once for a link or a connection.
    pub draws: Mutex<Draws>,
}

impl Edge {
    /// The value of `getInfo`, JSON.
    pub(super) fn server_info(&self) -> Arc<str> {
        let info = self.fleet.snapshot().server_info.clone();
        info.unwrap_or_else(|| STOCK_SERVER_INFO.trim_end().into())
    }

    /// What the fleet knows of `backend`.
    pub(crate) fn backend(&self, backend: &BackendId) -> Option<Arc<BackendView>> {
        self.fleet.snapshot().backend(backend).cloned()
    }

    /// Pipelines and meetings of this process.
    pub(crate) fn registry(&self) -> &Registry {
        &self.placement.keeper.registry
    }

    /// The time, as the core takes it.
    pub(super) fn now(&self) -> Time {
        self.placement.timer.now()
    }

    /// A random number, not for secrets.
    pub(super) fn draw(&self) -> u64 {
        self.draws.lock().expect("nothing panics while holding it").next()
    }

    /// A session of a new connection; `url` holds the hints of its URL, `rules` are its listener's.
    pub(super) fn new_session(&self, url: Hints, rules: Arc<Rules>) -> Session {
        let (limits, pace) = (&self.limits, self.pacer.pace());
        let bounds = Bounds {
            depth_max: limits.depth_max,
            held_max_bytes: limits.held_max_bytes,
            paced_max_bytes: pace.map_or(0, |pace| pace.held_max_bytes),
            calls_max: limits.calls_max,
            pipelines_max: limits.pipelines_max,
            subscriptions_max: limits.subscriptions_max,
            resend_max_bytes: limits.resend_max_bytes,
            call_timeout: limits.call_timeout,
        };
        let id = SessionId::from_random(random::secret());
        let session = Session::new(id, &self.server_id, url, bounds).under(rules);
        if pace.is_some() { session.paced() } else { session }
    }

    /// What is left of `session` now that its client is away; `None` if there is nothing.
    pub(crate) fn away(&self, session: &Session) -> Option<Away> {
        let remains = session.remains()?;
        let process = |backend: &BackendId| self.backend(backend)?.incarnation;
        let incarnations = remains.backends.iter().map(process).collect();
        let meeting =
            |(pipeline, _): &(PipelineId, BackendId)| self.registry().meeting_of(*pipeline);
        let meetings = remains.pipelines.iter().map(meeting).collect();
        Some(Away::new(remains, incarnations, meetings, self.now()))
    }

    /// What is left of that session: here, as `away` says, or on the backends. The pipelines are in
    /// use again.
    pub(crate) async fn remains(
        &self,
        id: SessionId,
        away: Option<Away>,
        quota: &Quota,
    ) -> Finding<Remains> {
        // Its client may have gone on at another edge since, on backends that are not known here.
        if let Some(away) = away
            && let Some(mut remains) = self.recall(away).await
        {
            if !remains.is_whole
                && let Finding::Known(found) = self.find_session(id, quota).await
            {
                remains.is_whole = found.is_whole;
                let others = found.backends.into_iter().filter(|id| !remains.backends.contains(id));
                let others: Vec<_> = others.collect();
                remains.backends.extend(others);
            }
            return Finding::Known(remains);
        }
        self.find_session(id, quota).await
    }

    /// What the backends have of a session.
    async fn find_session(&self, id: SessionId, quota: &Quota) -> Finding<Remains> {
        let Some(asker) = &self.asker else { return Finding::Unknown };
        let made = self.placement.keeper.found.made_by(id);
        let payer = if made.is_empty() { Payer::Connection(quota) } else { Payer::Noted };
        asker.who_has_session(id, payer).await.map(|Holders { backends, is_all }| {
            let backends = backends.iter().map(|backend| backend.id.clone()).collect();
            Remains::found(id, (backends, is_all), &made)
        })
    }

    /// What still exists of what a session held; `None` if all its backends have lost it.
    async fn recall(&self, away: Away) -> Option<Remains> {
        let Away { mut remains, incarnations, meetings, .. } = away;
        let backends = std::mem::take(&mut remains.backends);
        let pipelines = std::mem::take(&mut remains.pipelines);
        let had_any = !backends.is_empty();
        let lives = |(backend, incarnation): &(BackendId, Option<Incarnation>)| {
            let now = self.backend(backend).and_then(|view| view.incarnation);
            incarnation.is_some() && now == *incarnation
        };
        let backends = backends.into_iter().zip(incarnations);
        let (homes, lost): (Vec<_>, Vec<_>) = backends.partition(lives);
        let is_lost = |backend: &BackendId| lost.iter().any(|(id, _)| id == backend);
        let remnants = pipelines.iter().filter(|(_, backend)| is_lost(backend));
        let remnants: Vec<_> = remnants.map(|(pipeline, _)| *pipeline).collect();
        // Of these nobody may have known any more when their backend was lost.
        self.placement.keeper.leave_behind(&remnants);
        if had_any && homes.is_empty() {
            return None;
        }
        for ((pipeline, backend), meeting) in pipelines.into_iter().zip(meetings) {
            let Some((_, Some(incarnation))) = homes.iter().find(|(id, _)| *id == backend) else {
                continue;
            };
            let home = Home { backend: backend.clone(), incarnation: *incarnation };
            if self.placement.adopt(pipeline, home, meeting, (remains.id, &Access::All)).await {
                remains.pipelines.push((pipeline, backend));
            }
        }
        remains.backends = homes.into_iter().map(|(backend, _)| backend).collect();
        Some(remains)
    }

    /// The backend on which a pipeline lives that this process does not know; it is in use then, and
    /// belongs to `meeting`, if that can be there. Whoever finds it first has it: unknown if it has
    /// become known meanwhile and is outside of the session's access, and if it was let go or lost with
    /// its backend, whether that has it again or not.
    pub(crate) async fn find(
        &self,
        pipeline: PipelineId,
        meeting: Option<MeetingName>,
        who: (SessionId, &Access<'_>),
        quota: &Quota,
    ) -> Finding<BackendId> {
        let is_forbidden = || self.registry().is_forbidden(pipeline);
        let Some(asker) = self.asker.as_ref().filter(|_| !is_forbidden()) else {
            return Finding::Unknown;
        };
        let noted = self.placement.keeper.found.meeting_of(pipeline);
        let payer = noted.map_or(Payer::Connection(quota), |_| Payer::Noted);
        let view = match asker.who_has_pipeline(pipeline, payer).await {
            Finding::Known(view) => view,
            Finding::Unknown => return Finding::Unknown,
            Finding::NotSure(retry_after_ms) => return Finding::NotSure(retry_after_ms),
        };
        if let Some(incarnation) = view.incarnation {
            let home = Home { backend: view.id.clone(), incarnation };
            if self.placement.adopt(pipeline, home, meeting, who).await {
                return Finding::Known(view.id.clone());
            }
        }
        if self.registry().knows(pipeline) || is_forbidden() {
            return Finding::Unknown;
        }
        // It lived a moment ago: there is no room for it, or its backend has changed since.
        Finding::NotSure(RETRY_AFTER_MS)
    }

    /// Finds a place for what `session` wishes.
    ///
    /// # Errors
    /// What the client is to be told.
    pub(super) async fn place(&self, wish: Wish, session: SessionId) -> Result<Placed, Failure> {
        let placed = match wish {
            Wish::Anywhere { avoid } => self.placement.anywhere(avoid.as_ref()),
            Wish::Pipeline { hints, on, avoid } => {
                let at = Where { on, avoid, session: Some(session) };
                self.placement.place(hints, at).await
            }
        };
        placed.map_err(PlaceError::into_failure)
    }

    /// How long after a loss one client is told of it: drawn anew for each.
    pub(crate) fn loss_delay(&self) -> Duration {
        self.loss_spread.mul_f64(Draws::seeded(self.draw()).fraction())
    }

    /// Waits until one connection is to be closed: some time within the window after the signal, so
    /// that not all clients come back at once.
    pub(super) fn closing(&self) -> impl Future<Output = ()> + use<> {
        let (closing, window) = (self.closing.clone(), self.close_window.clone());
        let fraction = Draws::seeded(self.draw()).fraction();
        async move {
            closing.cancelled().await;
            tokio::time::sleep(window.get().mul_f64(fraction)).await;
        }
    }
}
