//! One choice: a backend, charged in the same step, and what is kept of how it came about.

use std::sync::Arc;

use geoip::Place;

use super::why::{Asked, Made};
use super::{PlaceError, Placement};
use crate::fleet::{BackendView, FleetSnapshot};
use crate::model::{BackendId, Draws, Labels, MeetingName, SessionId, Time};
use crate::pins::{Charge, Home};
use crate::policy::choose::{
    Candidate, Chooser, NoBackend, Outcome, Request, Standing, WhenFull, key_of,
};
use crate::policy::load::Outlook;
use crate::policy::promise::Promise;

/// What makes choices: its memory, the turn, and draws for meetings without a name.
#[derive(Debug)]
pub struct Choices {
    chooser: Chooser,
    pub(super) turn: u64,
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
pub(in crate::proxy) struct Where {
    /// Only there, because a transaction touches something there.
    pub(in crate::proxy) on: Option<BackendId>,
    /// Not there, if there is another: it could not be reached a moment ago.
    pub(in crate::proxy) avoid: Option<BackendId>,
    /// Whose pipeline it is for, as far as anybody wants to know.
    pub(in crate::proxy) session: Option<SessionId>,
}

/// What a place is wanted for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) meeting: Option<MeetingName>,
    /// Where its people are.
    pub(super) place: Option<Place>,
    /// Labels that its backend must have.
    pub(super) require: Labels,
    pub(super) promise: Promise,
    /// Its number in the queue, if it waits for room.
    pub(super) number: Option<u64>,
    /// Who asks; `None` if nobody will ask why.
    pub(super) asked: Option<Asked>,
}

/// A backend that was chosen, and what is taken there.
pub(super) struct Chosen {
    pub(super) backend: Arc<BackendView>,
    pub(super) home: Home,
    pub(super) charge: Charge,
    pub(super) is_overflow: bool,
    /// Id of the decision; `None` if it is not kept.
    pub(super) decision: Option<u64>,
}

impl Placement {
    /// Chooses a backend and charges it with what is promised, in one step. The decision is kept if it
    /// was `asked` for by somebody.
    pub(super) fn choose(
        &self,
        wanted: &Wanted,
        at: &Where,
        asked: Option<Asked>,
    ) -> Result<Chosen, PlaceError> {
        let by = self.config.get();
        let (rules, outlook) = (&by.settings.rules, &by.settings.outlook);
        let snapshot: Arc<FleetSnapshot> = self.fleet.snapshot();
        let now = self.timer.now();
        let mut seen = Vec::with_capacity(snapshot.backends.len());
        let mut choices = self.choices.lock().expect("nothing panics while holding it");
        // A transaction that touches one backend cannot wait for another.
        let queues = rules.when_full == WhenFull::Queue && at.on.is_none();
        if queues && self.queue.is_ahead_of(wanted.number, &wanted.require) {
            return Err(PlaceError::NoRoomYet);
        }
        let request = choices.request(wanted);
        // Loads change at any time: what was looked at is what is kept.
        let mut choose = |avoid: Option<&BackendId>| {
            let candidates = snapshot.backends.iter();
            seen.clear();
            seen.extend(candidates.map(|view| at.candidate(view, avoid, (outlook, now))));
            choices.chooser.choose(&request, rules, seen.iter().copied())
        };
        let mut outcome = choose(at.avoid.as_ref());
        if at.avoid.is_some() && chosen(outcome, queues).is_err() {
            outcome = choose(None);
        }
        let charged = chosen(outcome, queues).and_then(|(index, is_overflow)| {
            let backend = snapshot.backends[index].clone();
            let incarnation = backend.incarnation.ok_or(NoBackend::NoneHealthy)?;
            let home = Home { backend: backend.id.clone(), incarnation };
            let charge = self.charge(&backend, wanted.promise);
            Ok(Chosen { backend, home, charge, is_overflow, decision: None })
        });
        drop(choices);
        let took = self.timer.now().since(now);
        let decision = asked.map(|asked| {
            let made = Made { at: now, took, request, outcome, seen, by: by.clone() };
            self.keep(wanted.meeting.as_ref(), asked, &snapshot, made)
        });
        charged.map(|chosen| Chosen { decision, ..chosen })
    }

    /// What was chosen is where the meeting is pinned now, by the claim of that number.
    pub(super) fn pinned(&self, decision: Option<u64>, epoch: u64) {
        if let Some(decision) = decision {
            self.decisions.pinned(decision, epoch);
        }
    }
}

impl Choices {
    fn request(&mut self, wanted: &Wanted) -> Request {
        self.turn = self.turn.wrapping_add(1);
        let name = wanted.meeting.as_ref();
        Request {
            key: name.map_or_else(|| self.draws.next(), |name| key_of(name.as_str())),
            place: wanted.place,
            reserve: wanted.promise.legs,
            demands: wanted.require.clone(),
            turn: self.turn,
        }
    }
}

/// Index of the backend that was chosen, and whether it is over its bound by that.
fn chosen(outcome: Outcome, queues: bool) -> Result<(usize, bool), PlaceError> {
    match outcome {
        Outcome::Placed { chosen, .. } => Ok((chosen, false)),
        Outcome::Overflowed(chosen) => Ok((chosen, true)),
        Outcome::Refused(why) => Err(why.into()),
        Outcome::Queued if queues => Err(PlaceError::NoRoomYet),
        Outcome::Queued => Err(NoBackend::AllFull.into()),
    }
}

impl Wanted {
    pub(super) fn may_be_on(&self, backend: &BackendView) -> bool {
        backend.profile.labels.satisfy(&self.require)
    }
}

impl Where {
    pub(super) fn candidate<'a>(
        &self,
        backend: &'a BackendView,
        avoid: Option<&BackendId>,
        (outlook, now): (&Outlook, Time),
    ) -> Candidate<'a> {
        let candidate = backend.candidate(outlook, now);
        let is_elsewhere = self.on.as_ref().is_some_and(|on| *on != backend.id);
        let is_passed_over = is_elsewhere || avoid == Some(&backend.id);
        let standing = if is_passed_over { Standing::PassedOver } else { candidate.standing };
        Candidate { standing, ..candidate }
    }
}
