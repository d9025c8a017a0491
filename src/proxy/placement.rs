//! Finds the backend of a pipeline that is about to be made.
//!
//! A meeting that has a pin goes where it is; else a backend is chosen, charged with the reserve in
//! the same step, and claimed. Whoever loses the claim goes where the winner is. What is taken is
//! given back when its guard is dropped, so a client that leaves in the middle leaks nothing.

mod why;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use tokio_util::sync::CancellationToken;

use crate::fleet::{BackendView, FleetHandle, FleetSnapshot};
use crate::model::{BackendId, Draws, Legs, MeetingName, PipelineId, SessionId};
use crate::pins::{Begun, Charge, Claim, Home, Keeper, Origin, Pin, PinError, Room};
use crate::policy::access::Access;
use crate::policy::choose::{
    Candidate, Chooser, Labels, NoBackend, Outcome, Request, Standing, key_of,
};
use crate::policy::decisions::Cause;
use crate::policy::pin::{Verdict, judge};
use crate::policy::promise::Source;
use crate::protocol::error::Failure;
use crate::protocol::request::Hints;
use crate::runtime::Timer;
use crate::settings::PlacementSettings;
use crate::telemetry::{ChoiceReason, Metrics};

use super::decisions::DecisionLog;
use why::{Asked, Made};

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
    /// How a new meeting gets its backend.
    pub settings: PlacementSettings,
    /// Counts the configs that `settings` and the fleet's profiles are from; 1 at the start.
    pub config: u64,
    /// What was chosen, and why.
    pub decisions: DecisionLog,
    /// The clock, and what waits.
    pub timer: Arc<dyn Timer>,
    /// Where choices are counted.
    pub metrics: Metrics,
    /// What makes choices. Locked while one is made, so that each sees what the one before charged.
    pub choices: Mutex<Choices>,
}

/// What makes choices: its memory, the turn, and draws for meetings without a name.
#[derive(Debug)]
pub struct Choices {
    chooser: Chooser,
    turn: u64,
    draws: Draws,
}

impl Choices {
    /// None made yet; `seed` decides the draws of meetings without a name.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { chooser: Chooser::default(), turn: 0, draws: Draws::seeded(seed) }
    }
}

/// Where a place may be, and for whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Where {
    /// Only there, because a transaction touches something there.
    pub(super) on: Option<BackendId>,
    /// Not there, if there is another: it could not be reached a moment ago.
    pub(super) avoid: Option<BackendId>,
    /// Whose pipeline it is for, as far as anybody wants to know.
    pub(super) session: Option<SessionId>,
}

/// A place that was found.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) backend: BackendId,
    /// Kept until the pipeline is made; `None` if none will be.
    pub(super) claim: Option<Claimed>,
}

/// A backend that was chosen, and charged.
struct Chosen {
    backend: Arc<BackendView>,
    home: Home,
    charge: Charge,
    /// Id of the decision; `None` if it is not kept.
    decision: Option<u64>,
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
    Unnamed { home: Home, charge: Charge, room: Room },
}

/// Why there is no place. All but `Elsewhere` are told as 40009.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    #[error(transparent)]
    NoBackend(#[from] NoBackend),
    #[error(transparent)]
    Pins(#[from] PinError),
    #[error("the media server of this meeting does not answer at the moment; try again")]
    Waiting,
    #[error("the meeting is on another media server than what the transaction touches")]
    Elsewhere,
}

impl PlaceError {
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Elsewhere => Failure::malformed_transaction(self.to_string()),
            Self::NoBackend(_) | Self::Pins(_) | Self::Waiting => {
                Failure::not_enough_resources(self.to_string())
            }
        }
    }

    fn reason(&self) -> ChoiceReason {
        match self {
            Self::NoBackend(NoBackend::NoneHealthy) => ChoiceReason::NoneHealthy,
            Self::NoBackend(NoBackend::NoneLabelled) => ChoiceReason::NoneLabelled,
            Self::NoBackend(NoBackend::AllFull) => ChoiceReason::AllFull,
            Self::Pins(_) => ChoiceReason::Pins,
            Self::Waiting => ChoiceReason::Timeout,
            Self::Elsewhere => ChoiceReason::Elsewhere,
        }
    }
}

impl Claimed {
    /// The pipeline exists, and `session` uses it. When this returns, every other session can find it. The client that made
    /// it is told when its pin has settled; `None`: at once.
    pub(super) fn created(mut self, pipeline: PipelineId, session: SessionId) -> Option<Settling> {
        let mut settling = None;
        match self.what.take() {
            None => {}
            Some(Taken::Named { meeting, epoch }) => {
                self.keeper.created(&meeting, Origin { epoch, pipeline, session });
                settling = Some(self.keeper.pins.settled(epoch));
            }
            Some(Taken::Unnamed { home, charge, room }) => {
                self.keeper.registry.created_unnamed(home, charge, pipeline);
                drop(room);
            }
        }
        // Its backend may have been lost and forgotten before the registry knew of this pipeline.
        if self.lost.is_cancelled() {
            self.keeper.released(pipeline, self.timer.now());
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
        let (reserve, source) = self.reserve(hints.participants);
        let asked = Asked::new(at.session, source);
        let found = match &hints.meeting {
            None => self.place_unnamed(reserve, &at, asked),
            Some(meeting) => {
                let found = self.place_named(meeting, reserve, &at, asked);
                self.within(self.settings.wait, found).await.unwrap_or(Err(PlaceError::Waiting))
            }
        };
        let reason = found.as_ref().map_or_else(PlaceError::reason, |(_, reason)| *reason);
        self.metrics.on_choice(reason, self.timer.now().since(started));
        found.map(|(placed, _)| placed)
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
        if self.keeper.registry.knows(pipeline) {
            return false;
        }
        let fleet = self.fleet.snapshot();
        let Some(view) = fleet.backend(&home.backend) else { return false };
        if view.incarnation != Some(home.incarnation) || view.lost.is_cancelled() {
            return false;
        }
        let charge = || Charge::new(view.load.clone(), self.settings.reserve);
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
                    // If it fails the pin may be forgotten at a restart; the pipeline is there.
                    let _ = settling.await;
                }
                return true;
            }
        }
        // Without a name, or its meeting has moved on: a meeting of its own.
        let Some(room) = room else { return false };
        self.claimed(view, Taken::Unnamed { home, charge: charge(), room })
            .created(pipeline, session);
        true
    }

    /// Any backend that takes pins, for a call that any can answer.
    pub(super) fn anywhere(&self, avoid: Option<&BackendId>) -> Result<Placed, PlaceError> {
        let at = Where { avoid: avoid.cloned(), ..Where::default() };
        let backend = self.choose(None, Legs(0), &at, None)?.home.backend;
        Ok(Placed { backend, claim: None })
    }

    /// Legs to reserve for a meeting of that many people: n x n, within the settings' bound.
    fn reserve(&self, participants: Option<u32>) -> (Legs, Source) {
        participants.map_or((self.settings.reserve, Source::Default), |count| {
            (Legs::of_meeting(count).min(self.settings.reserve_max), Source::Hint)
        })
    }

    fn place_unnamed(
        &self,
        reserve: Legs,
        at: &Where,
        asked: Asked,
    ) -> Result<(Placed, ChoiceReason), PlaceError> {
        let room = self.keeper.registry.room().ok_or(PinError::Full)?;
        let Chosen { backend, home, charge, decision } =
            self.choose(None, reserve, at, Some(asked))?;
        self.pinned(decision, 0);
        let claim = self.claimed(&backend, Taken::Unnamed { home, charge, room });
        let placed = Placed { backend: backend.id.clone(), claim: Some(claim) };
        Ok((placed, ChoiceReason::Unnamed))
    }

    async fn place_named(
        &self,
        meeting: &MeetingName,
        reserve: Legs,
        at: &Where,
        mut asked: Asked,
    ) -> Result<(Placed, ChoiceReason), PlaceError> {
        let mut avoid = at.avoid.as_ref();
        loop {
            let Some(pin) = self.lookup(meeting).await? else {
                if let Some(placed) = self.claim(meeting, reserve, at, asked).await? {
                    return Ok((placed, ChoiceReason::New));
                }
                continue;
            };
            // Taken after the pin was seen: one taken before may not know the pin's process yet.
            let snapshot = self.fleet.snapshot();
            let backend = snapshot.backend(&pin.backend);
            match judge(pin.incarnation, backend.map(|b| (b.health, b.incarnation))) {
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
                    if let Some(placed) = self.join(meeting, &pin, backend, reserve).await? {
                        return Ok((placed, ChoiceReason::Joined));
                    }
                }
                Verdict::Wait => {
                    self.fleet.newer_than(snapshot.generation).await;
                }
                Verdict::Replace => {
                    self.keeper.pins.unpin(meeting, pin.epoch).await?;
                    asked.cause = Cause::Replaced;
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
        reserve: Legs,
        at: &Where,
        asked: Asked,
    ) -> Result<Option<Placed>, PlaceError> {
        let _room = self.keeper.registry.room().ok_or(PinError::Full)?;
        let Chosen { backend, home, charge, decision } =
            self.choose(Some(meeting), reserve, at, Some(asked))?;
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
                }
                Ok(begun)
            }
        }
    }

    async fn join(
        &self,
        meeting: &MeetingName,
        pin: &Pin,
        backend: &BackendView,
        reserve: Legs,
    ) -> Result<Option<Placed>, PlaceError> {
        let charge = Charge::new(backend.load.clone(), reserve);
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

    /// Chooses a backend for `meeting` and charges it with `reserve`, in one step. The decision is kept
    /// if it was `asked` for by somebody.
    fn choose(
        &self,
        meeting: Option<&MeetingName>,
        reserve: Legs,
        at: &Where,
        asked: Option<Asked>,
    ) -> Result<Chosen, PlaceError> {
        let started = self.timer.now();
        let snapshot: Arc<FleetSnapshot> = self.fleet.snapshot();
        let mut seen = Vec::with_capacity(snapshot.backends.len());
        let mut choices = self.choices.lock().expect("nothing panics while holding it");
        let Choices { chooser, turn, draws } = &mut *choices;
        *turn = turn.wrapping_add(1);
        let key = meeting.map_or_else(|| draws.next(), |name| key_of(name.as_str()));
        let demands = Labels::default();
        let request = Request { key, place: None, reserve, demands, turn: *turn };
        let mut choose = |avoid: Option<&BackendId>| {
            seen.clear();
            seen.extend(snapshot.backends.iter().map(|backend| at.candidate(backend, avoid)));
            chooser.choose(&request, &self.settings.rules, seen.iter().copied())
        };
        let mut outcome = choose(at.avoid.as_ref());
        if at.avoid.is_some() && chosen(outcome).is_err() {
            outcome = choose(None);
        }
        let charged = chosen(outcome).and_then(|index| {
            let backend = snapshot.backends[index].clone();
            let incarnation = backend.incarnation.ok_or(NoBackend::NoneHealthy)?;
            let charge = Charge::new(backend.load.clone(), reserve);
            Ok((Home { backend: backend.id.clone(), incarnation }, backend, charge))
        });
        drop(choices);
        let took = self.timer.now().since(started);
        let decision = asked.map(|asked| {
            let made = Made { at: started, took, request, outcome, seen };
            self.keep(meeting, asked, &snapshot, made)
        });
        let (home, backend, charge) = charged?;
        Ok(Chosen { backend, home, charge, decision })
    }

    fn pinned(&self, decision: Option<u64>, epoch: u64) {
        if let Some(decision) = decision {
            self.decisions.pinned(decision, epoch);
        }
    }
}

/// Index of the backend that was chosen.
fn chosen(outcome: Outcome) -> Result<usize, NoBackend> {
    match outcome {
        Outcome::Placed { chosen, .. } | Outcome::Overflowed(chosen) => Ok(chosen),
        Outcome::Refused(why) => Err(why),
        // No setting asks for it yet; nobody waits here.
        Outcome::Queued => Err(NoBackend::AllFull),
    }
}

impl Where {
    fn candidate<'a>(&self, backend: &'a BackendView, avoid: Option<&BackendId>) -> Candidate<'a> {
        let candidate = backend.candidate();
        let is_elsewhere = self.on.as_ref().is_some_and(|on| *on != backend.id);
        let is_passed_over = is_elsewhere || avoid == Some(&backend.id);
        let standing = if is_passed_over { Standing::PassedOver } else { candidate.standing };
        Candidate { standing, ..candidate }
    }
}

#[cfg(test)]
mod tests;
