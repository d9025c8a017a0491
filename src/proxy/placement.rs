//! Finds the backend of a pipeline that is about to be made.
//!
//! A meeting that has a pin goes where it is; else a backend is chosen, charged with the reserve in
//! the same step, and claimed. Whoever loses the claim goes where the winner is. What is taken is
//! given back when its guard is dropped, so a client that leaves in the middle leaks nothing.

mod choice;
mod error;
mod queue;
mod why;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready, select};
use geoip::Place;
use tokio_util::sync::CancellationToken;

use super::people::People;
use crate::fleet::{BackendView, FleetHandle};
use crate::model::{
    BackendId, Labels, Legs, MeetingId, MeetingName, PipelineId, RoughPlace, SessionId, Time,
};
use crate::pins::{Begun, Charge, Claim, Home, Keeper, Origin, Pin, PinError, Room};
use crate::policy::access::Access;
use crate::policy::decisions::Cause;
use crate::policy::pin::{Verdict, judge};
use crate::policy::promise::{Mix, Promise, Source};
use crate::protocol::request::{Hints, Said};
use crate::runtime::{Latest, Timer};
use crate::settings::PlacementSettings;
use crate::telemetry::{ChoiceReason, Metrics};

use super::decisions::DecisionLog;
pub use choice::Choices;
pub(super) use choice::Where;
use choice::{Chosen, Wanted};
pub(super) use error::PlaceError;
pub use queue::Queue;
use why::Asked;

/// How long a meeting's backend that could not be reached may take to be found out.
const AVOID_PAUSE: Duration = Duration::from_millis(200);

/// Pause before a meeting whose pin is just being removed is looked up again.
const ENDING_PAUSE: Duration = Duration::from_millis(1);

/// Places meetings.
pub struct Placement {
    /// Where the backends are read from.
    pub fleet: FleetHandle,
    /// Which meeting is pinned where, and what this process knows of it.
    pub keeper: Arc<Keeper>,
    /// Where people are.
    pub people: People,
    /// By which config a new meeting gets its backend: the newest, whenever its session began.
    pub config: Latest<PlacementConfig>,
    /// What was chosen, and why.
    pub decisions: DecisionLog,
    /// The clock, and what waits.
    pub timer: Arc<dyn Timer>,
    /// Where choices are counted.
    pub metrics: Metrics,
    /// What makes choices. Locked while one is made, so that each sees what the one before charged.
    pub choices: Mutex<Choices>,
    /// Who waits for room.
    pub queue: Arc<Queue>,
}

/// How a new meeting gets its backend, by one config.
#[derive(Clone, Debug)]
pub struct PlacementConfig {
    /// Counts the configs of the process, from 1.
    pub number: u64,
    /// What it says.
    pub settings: PlacementSettings,
}

impl PlacementConfig {
    /// What a process starts with.
    #[must_use]
    pub const fn first(settings: PlacementSettings) -> Self {
        Self { number: 1, settings }
    }
}

/// A place that was found.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) backend: BackendId,
    /// Kept until the pipeline is made; `None` if none will be.
    pub(super) claim: Option<Claimed>,
}

/// Resolves when a new pipeline's pin outlives this process, or may not.
pub(super) type Settling = BoxFuture<'static, Result<(), PinError>>;

/// A place taken for a pipeline that is about to be made. Dropped, it is given back.
pub(super) struct Claimed {
    keeper: Arc<Keeper>,
    timer: Arc<dyn Timer>,
    /// Cancelled when the process that the place is on is lost.
    lost: CancellationToken,
    what: Option<Taken>,
}

enum Taken {
    Named { meeting: MeetingName, epoch: u64 },
    Unnamed { home: Home, charge: Charge, room: Room, place: Option<RoughPlace> },
}

impl Claimed {
    /// The pipeline exists, and `session` uses it. When this returns, every other session can find it.
    /// The client that made it is told when its pin has settled; `None`: at once. It is told that its
    /// meeting is moving if the meeting was let go meanwhile, or its backend was lost.
    pub(super) fn created(mut self, pipeline: PipelineId, session: SessionId) -> Option<Settling> {
        let mut settling = None;
        let moving = || Some(ready(Err(PinError::Moving)).boxed());
        match self.what.take() {
            None => {}
            Some(Taken::Named { meeting, epoch }) => {
                let counts = self.keeper.created(&meeting, Origin { epoch, pipeline, session });
                settling = if counts { Some(self.keeper.pins.settled(epoch)) } else { moving() };
            }
            Some(Taken::Unnamed { home, charge, room, place }) => {
                if !self.keeper.registry.created_unnamed(home, charge, pipeline) {
                    return moving();
                }
                self.keeper.registry.set_place(&MeetingId::Pipeline(pipeline), 0, place);
                drop(room);
            }
        }
        // Its backend may have been lost and forgotten before the registry knew of this pipeline.
        if self.lost.is_cancelled() {
            self.keeper.made_too_late(pipeline, self.timer.now());
            return moving();
        }
        settling
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed").finish_non_exhaustive()
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if let Some(Taken::Named { meeting, epoch }) = self.what.take() {
            self.keeper.registry.not_created(&meeting, epoch, self.timer.now());
        }
    }
}

impl Placement {
    /// Finds the place of a new pipeline.
    pub(super) async fn place(&self, hints: Hints, at: Where) -> Result<Placed, PlaceError> {
        let started = self.timer.now();
        let wanted = self.wanted(hints, started, at.session);
        let found = match self.find(&wanted, &at).await {
            Err(PlaceError::NoRoomYet) => self.place_in_turn(wanted, &at).await,
            found => found,
        };
        let reason = found.as_ref().map_or_else(PlaceError::reason, |(_, reason)| *reason);
        self.metrics.on_choice(reason, self.timer.now().since(started));
        found.map(|(placed, _)| placed)
    }

    async fn find(
        &self,
        wanted: &Wanted,
        at: &Where,
    ) -> Result<(Placed, ChoiceReason), PlaceError> {
        let Some(meeting) = &wanted.meeting else { return self.place_unnamed(wanted, at) };
        let found = self.place_named(meeting, wanted, at);
        self.within(self.config.get().settings.wait, found)
            .await
            .unwrap_or(Err(PlaceError::Waiting))
    }

    /// What `work` comes to; `None` if it takes longer than `limit`.
    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), self.timer.sleep(limit)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// A pipeline that was made before is in use again, or found on a backend; says whether that is
    /// where it may be used, within `access` if others use it already. Its meeting is pinned there
    /// again, if it is pinned nowhere.
    pub(super) async fn adopt(
        &self,
        pipeline: PipelineId,
        home: Home,
        meeting: Option<MeetingName>,
        (session, access): (SessionId, &Access<'_>),
    ) -> bool {
        if self.keeper.registry.hold(pipeline, access).is_some() {
            return true;
        }
        if self.keeper.registry.knows(pipeline) || self.keeper.registry.is_forbidden(pipeline) {
            return false;
        }
        // Where the process before had it; that process of the backend may be given up since.
        let was_here = self.keeper.found.is_of(pipeline, (&home.backend, home.incarnation));
        if was_here == Some(false) {
            self.keeper.leave_behind(&[pipeline]);
            return false;
        }
        let fleet = self.fleet.snapshot();
        let Some(view) = fleet.backend(&home.backend) else { return false };
        if view.incarnation != Some(home.incarnation) || view.lost.is_cancelled() {
            return false;
        }
        let (promise, _) = self.promise(None, meeting.as_ref(), self.timer.now());
        let charge = || self.charge(view, promise);
        // Kept until the meeting is entered; one that is here already needs none.
        let room = self.keeper.registry.room();
        let has_room = |meeting: &_| room.is_some() || self.keeper.registry.pin(meeting).is_some();
        if let Some(meeting) = meeting.filter(has_room) {
            let doubt = self.keeper.doubt(&meeting);
            let claimed = self.keeper.pins.claim(&meeting, &home.backend, home.incarnation).await;
            if let Ok(Claim::Made(pin) | Claim::Held(pin)) = claimed
                && (&pin.backend, pin.incarnation) == (&home.backend, home.incarnation)
                && let Ok(Some(Placed { claim: Some(claim), .. })) =
                    self.begin(&meeting, &pin, view, charge()).await
            {
                doubt.settle();
                if let Some(settling) = claim.created(pipeline, session) {
                    // If the disk fails the pin may be forgotten at a restart; the pipeline is there.
                    return settling.await != Err(PinError::Moving);
                }
                return true;
            }
            if was_here.is_some() && self.has_moved(&meeting, &home).await {
                self.keeper.leave_behind(&[pipeline]);
                return false;
            }
        }
        // Without a name, or its meeting has moved on: a meeting of its own.
        let Some(room) = room else { return false };
        self.claimed(view, Taken::Unnamed { home, charge: charge(), room, place: None })
            .created(pipeline, session)
            .is_none()
    }

    /// Whether `meeting` is pinned to another process than that of `home`.
    async fn has_moved(&self, meeting: &MeetingName, home: &Home) -> bool {
        let pin = self.keeper.pins.lookup(meeting).await;
        pin.is_ok_and(|pin| {
            pin.is_some_and(|pin| {
                (&pin.backend, pin.incarnation) != (&home.backend, home.incarnation)
            })
        })
    }

    /// Any backend that takes pins, for a call that any can answer.
    pub(super) fn anywhere(&self, avoid: Option<&BackendId>) -> Result<Placed, PlaceError> {
        let at = Where { avoid: avoid.cloned(), ..Where::default() };
        let promise = Promise { legs: Legs(0), made: self.timer.now() };
        let (require, number) = (Labels::default(), None);
        let wanted = Wanted { meeting: None, place: None, require, promise, number, asked: None };
        let backend = self.choose(&wanted, &at, None)?.home.backend;
        Ok(Placed { backend, claim: None })
    }

    fn wanted(&self, hints: Hints, now: Time, session: Option<SessionId>) -> Wanted {
        let place = self.place_of(&hints, now);
        let Hints { meeting, participants, require, .. } = hints;
        let (promise, source) = self.promise(participants, meeting.as_ref(), now);
        let asked = Some(Asked::new(session, source));
        Wanted { meeting, place, require, promise, number: None, asked }
    }

    /// Where the people of a new meeting are: as its creator says in degrees, else where they were
    /// the last time, else those who are known already.
    fn place_of(&self, hints: &Hints, now: Time) -> Option<Place> {
        let before = hints.meeting.as_ref().and_then(|name| self.keeper.chronicle.place(name, now));
        match hints.said {
            Some(Said::Place(place)) => Some(place),
            Some(Said::Addr(_)) | None => before.or_else(|| self.people.place_of(hints)),
        }
    }

    /// What a new meeting is promised, and where that is from: `n` people who are announced all
    /// publish and all watch.
    fn promise(
        &self,
        participants: Option<u32>,
        meeting: Option<&MeetingName>,
        now: Time,
    ) -> (Promise, Source) {
        let hint = participants.map(Mix::all_publish);
        let config = self.config.get();
        self.keeper.chronicle.promise(&config.settings.promises, hint, meeting, now)
    }

    fn charge(&self, backend: &BackendView, promise: Promise) -> Charge {
        let half_life = self.config.get().settings.promises.half_life;
        Charge::new(backend.load.clone(), promise, half_life)
    }

    fn place_unnamed(
        &self,
        wanted: &Wanted,
        at: &Where,
    ) -> Result<(Placed, ChoiceReason), PlaceError> {
        let room = self.keeper.registry.room().ok_or(PinError::Full)?;
        let Chosen { backend, home, charge, is_overflow, decision } =
            self.choose(wanted, at, wanted.asked)?;
        self.pinned(decision, 0);
        let place = show(None, &backend.id, wanted.place);
        let claim = self.claimed(&backend, Taken::Unnamed { home, charge, room, place });
        let placed = Placed { backend: backend.id.clone(), claim: Some(claim) };
        let reason = if is_overflow { ChoiceReason::Overflow } else { ChoiceReason::Unnamed };
        Ok((placed, reason))
    }

    async fn place_named(
        &self,
        meeting: &MeetingName,
        wanted: &Wanted,
        at: &Where,
    ) -> Result<(Placed, ChoiceReason), PlaceError> {
        let mut avoid = at.avoid.as_ref();
        let mut asked = wanted.asked;
        loop {
            let Some(pin) = self.lookup(meeting).await? else {
                if let Some(placed) = self.claim(meeting, wanted, at, asked).await? {
                    return Ok(placed);
                }
                continue;
            };
            // Taken after the pin was seen: one taken before may not know the pin's process yet.
            let snapshot = self.fleet.snapshot();
            let backend = snapshot.backend(&pin.backend);
            match judge(pin.incarnation, backend.map(|b| (b.health, b.incarnation))) {
                // It stays where it is, and who may not be there is told.
                Verdict::Use if backend.is_some_and(|backend| !wanted.may_be_on(backend)) => {
                    return Err(PlaceError::Unlabelled);
                }
                Verdict::Use if at.on.as_ref().is_some_and(|on| *on != pin.backend) => {
                    return Err(PlaceError::Elsewhere);
                }
                Verdict::Use if avoid == Some(&pin.backend) => {
                    // The fleet has been told; give it a moment to find out, once.
                    avoid = None;
                    let news = self.fleet.newer_than(snapshot.generation);
                    let _ = self.within(AVOID_PAUSE, news).await;
                }
                Verdict::Use => {
                    let backend = backend.expect("judge wants one that is there");
                    if backend.is_shunned() && self.keeper.end_idle(meeting, pin.epoch).await {
                        asked = asked.map(|asked| Asked { cause: Cause::Replaced, ..asked });
                        continue;
                    }
                    if let Some(placed) = self.join(meeting, &pin, backend, wanted.promise).await? {
                        return Ok((placed, ChoiceReason::Joined));
                    }
                }
                Verdict::Wait => {
                    self.fleet.newer_than(snapshot.generation).await;
                }
                Verdict::Replace => {
                    self.keeper.pins.unpin(meeting, pin.epoch).await?;
                    asked = asked.map(|asked| Asked { cause: Cause::Replaced, ..asked });
                }
            }
        }
    }

    /// The pin of `meeting`. While the store is away, that of a meeting in use here still counts.
    async fn lookup(&self, meeting: &MeetingName) -> Result<Option<Pin>, PlaceError> {
        match self.keeper.pins.lookup(meeting).await {
            Ok(pin) => Ok(pin),
            Err(error) => self.keeper.registry.pin(meeting).map(Some).ok_or(error.into()),
        }
    }

    /// Pins `meeting` to a chosen backend; `None` if somebody else was faster.
    async fn claim(
        &self,
        meeting: &MeetingName,
        wanted: &Wanted,
        at: &Where,
        asked: Option<Asked>,
    ) -> Result<Option<(Placed, ChoiceReason)>, PlaceError> {
        let _room = self.keeper.registry.room().ok_or(PinError::Full)?;
        let Chosen { backend, home, charge, is_overflow, decision } =
            self.choose(wanted, at, asked)?;
        let reason = if is_overflow { ChoiceReason::Overflow } else { ChoiceReason::New };
        let doubt = self.keeper.doubt(meeting);
        match self.keeper.pins.claim(meeting, &home.backend, home.incarnation).await? {
            Claim::Held(_) => {
                doubt.settle();
                Ok(None)
            }
            Claim::Made(pin) => {
                self.pinned(decision, pin.epoch);
                let begun = self.begin(meeting, &pin, &backend, charge).await?;
                // Only then does the registry know of the pin, and ends it one day.
                if begun.is_some() {
                    doubt.settle();
                    let place = show(Some(meeting.as_str()), &pin.backend, wanted.place);
                    let id = MeetingId::Named(meeting.clone());
                    self.keeper.registry.set_place(&id, pin.epoch, place);
                }
                Ok(begun.map(|placed| (placed, reason)))
            }
        }
    }

    async fn join(
        &self,
        meeting: &MeetingName,
        pin: &Pin,
        backend: &BackendView,
        promise: Promise,
    ) -> Result<Option<Placed>, PlaceError> {
        let charge = self.charge(backend, promise);
        self.begin(meeting, pin, backend, charge).await
    }

    /// Takes part in `meeting` at `pin`; `None` if that pin turns out to be no more.
    async fn begin(
        &self,
        meeting: &MeetingName,
        pin: &Pin,
        backend: &BackendView,
        charge: Charge,
    ) -> Result<Option<Placed>, PlaceError> {
        let begun = self.keeper.registry.begin(meeting, pin, charge);
        if begun == Begun::Ending {
            self.timer.sleep(ENDING_PAUSE).await;
            return Ok(None);
        }
        let taken = Taken::Named { meeting: meeting.clone(), epoch: pin.epoch };
        let claim = self.claimed(backend, taken);
        // A loss that was handled before the registry knew of us has left us behind.
        if backend.lost.is_cancelled() {
            self.keeper.registry.disown(meeting, pin.epoch);
            return Ok(None);
        }
        // So has an unpin.
        if begun == Begun::Adopted {
            if self.keeper.pins.lookup(meeting).await?.as_ref() != Some(pin) {
                self.keeper.registry.disown(meeting, pin.epoch);
                return Ok(None);
            }
            self.keeper.registry.confirm(meeting, pin.epoch);
        }
        Ok(Some(Placed { backend: pin.backend.clone(), claim: Some(claim) }))
    }

    fn claimed(&self, backend: &BackendView, what: Taken) -> Claimed {
        let (keeper, lost) = (self.keeper.clone(), backend.lost.clone());
        Claimed { keeper, timer: self.timer.clone(), lost, what: Some(what) }
    }
}

/// Logs where a meeting went and where its people are, as far as that is shown.
fn show(meeting: Option<&str>, backend: &BackendId, place: Option<Place>) -> Option<RoughPlace> {
    let place = place.map(RoughPlace::from);
    tracing::debug!(meeting, %backend, place = place.map(tracing::field::display), "meeting placed");
    place
}

#[cfg(test)]
mod tests;
