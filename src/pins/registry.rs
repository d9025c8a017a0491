//! What this process sees of its meetings: pipelines, who uses them, since when nobody does.
//!
//! A meeting lives while one of its pipelines is in use or being made, and for `grace` after that; a
//! meeting without a name goes with its pipeline. A meeting holds its [`Charge`] while a pipeline of
//! it lives, so the load it reserves is given back exactly once, however it ends.
//!
//! Two tables, locked by shard. Whoever holds an entry of `meetings` may lock `pipelines`, never the
//! other way round.

mod expiry;
mod found;
mod letting_go;
mod list;
mod media;
mod reload;
mod waning;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dashmap::mapref::one::RefMut;
use dashmap::{DashMap, Entry};

use super::load::{BackendLoad, Charge};
use super::store::Pin;
use crate::model::{
    BackendId, Incarnation, Legs, MeetingId, MeetingName, PipelineId, RoughPlace, Time,
};
use crate::policy::access::Access;
use crate::policy::charge::Weights;
use crate::policy::history;
use crate::policy::tally::{Counts, Tally};
use crate::runtime::Latest;
use expiry::{Expiry, Idle};
use letting_go::Forbidden;
pub use list::MeetingView;
use waning::Waning;

/// Pipelines and meetings of this process.
#[derive(Debug)]
pub struct Registry {
    grace: Latest<Duration>,
    meetings_max: AtomicUsize,
    weights: Latest<Weights>,
    /// Meetings that are about to be entered.
    rooms: AtomicUsize,
    pipelines: DashMap<PipelineId, Pipeline>,
    meetings: DashMap<MeetingId, Meeting>,
    /// What may end, oldest first: at most one for each pipeline and meeting seen within the grace.
    expiries: Mutex<VecDeque<(Time, Expiry)>>,
    /// Promises that go with time, in turn: one for each charge of a meeting.
    waning: Mutex<VecDeque<Waning>>,
    /// Pipelines that were let go, or lost with their backends: nobody uses them again.
    forbidden: Mutex<Forbidden>,
}

#[derive(Debug)]
struct Pipeline {
    meeting: MeetingId,
    epoch: u64,
    holders: u32,
    idle: Idle,
    /// What is in it; none until something is.
    tally: Option<Box<Tally>>,
    /// It was there before this process, so that not all who use it are known as holders.
    is_found: bool,
}

#[derive(Debug)]
struct Meeting {
    pin: Pin,
    load: Arc<BackendLoad>,
    /// Held while something of the meeting lives on its backend.
    charge: Option<Charge>,
    /// Most legs it has cost at once under charges that were given back.
    peak: Legs,
    /// Pipelines, and claims that are about to become one.
    live: u32,
    pipelines: u32,
    participants: u32,
    idle: Idle,
    /// Somebody has seen its pin after it was entered here, so that the entry keeps the pin alive.
    is_confirmed: bool,
    /// When it began; `None` if that was before this process.
    begun: Option<Time>,
    /// Its pin is being removed, or it is let go; nobody may join any more.
    is_ending: bool,
    /// Where its people were when it got its place, as far as was known.
    place: Option<RoughPlace>,
}

type Locked<'a> = (RefMut<'a, MeetingId, Meeting>, RefMut<'a, PipelineId, Pipeline>);

/// Where a pipeline lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The backend.
    pub backend: BackendId,
    /// Its process.
    pub incarnation: Incarnation,
}

/// Room for one meeting that is not entered yet. Dropped when it is, or when it will not be.
#[derive(Debug)]
pub struct Room(Arc<Registry>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.rooms.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The outcome of [`Registry::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The meeting was here at this very pin, which keeps the pin alive.
    Joined,
    /// The meeting is here now; whether its pin still exists must be looked up once more, and
    /// [`Registry::confirm`] or [`Registry::disown`] be told.
    Adopted,
    /// The meeting is ending or pinned otherwise; look its pin up again.
    Ending,
}

/// What has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// Pins to remove: names of meetings, and epochs.
    pub pins: Vec<(MeetingName, u64)>,
    /// Pipelines that are of no meeting any more.
    pub pipelines: Vec<PipelineId>,
    /// Meetings that are over, with what each was like. Not those of which
    /// nothing was seen, and none that was cut short by a loss.
    pub over: Vec<(MeetingName, history::Ended)>,
}

impl Registry {
    /// An empty registry. A meeting that nobody uses lives on for `grace`. At `meetings_max` new
    /// meetings are refused.
    #[must_use]
    pub fn new(grace: Duration, meetings_max: usize) -> Self {
        Self {
            grace: Latest::new(grace),
            meetings_max: AtomicUsize::new(meetings_max),
            weights: Latest::default(),
            rooms: AtomicUsize::new(0),
            pipelines: DashMap::new(),
            meetings: DashMap::new(),
            expiries: Mutex::default(),
            waning: Mutex::default(),
            forbidden: Mutex::default(),
        }
    }

    /// The same, where what meetings consist of costs that much.
    #[must_use]
    pub fn weighing(self, weights: Weights) -> Self {
        self.weights.set(weights);
        self
    }

    /// Room for another meeting; `None` if there is none.
    #[must_use]
    pub fn room(self: &Arc<Self>) -> Option<Room> {
        self.rooms.fetch_add(1, Ordering::Relaxed);
        let room = Room(self.clone());
        // Taken before it is looked at, so that two cannot both see the last one.
        let used = self.meetings.len() + self.rooms.load(Ordering::Relaxed);
        (used <= self.meetings_max()).then_some(room)
    }

    fn meetings_max(&self) -> usize {
        self.meetings_max.load(Ordering::Relaxed)
    }

    /// The pin of a meeting that is in use here.
    #[must_use]
    pub fn pin(&self, meeting: &MeetingName) -> Option<Pin> {
        let meeting = self.meetings.get(&MeetingId::Named(meeting.clone()))?;
        (!meeting.is_ending).then(|| meeting.pin.clone())
    }

    /// A pipeline of the named `meeting`, pinned as `pin`, is about to be made. `charge` is kept if
    /// the meeting is new here. Ended by [`Self::created`] or [`Self::not_created`].
    pub fn begin(&self, meeting: &MeetingName, pin: &Pin, charge: Charge) -> Begun {
        let id = MeetingId::Named(meeting.clone());
        match self.meetings.entry(id.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if known.is_outlived_by(pin) {
                    self.on_charged(&id, &charge);
                    let idle = Idle { since: None, ..known.idle };
                    *known = Meeting { idle, ..Meeting::begun(pin.clone(), charge) };
                    return Begun::Adopted;
                }
                if known.is_ending || known.pin.epoch != pin.epoch {
                    return Begun::Ending;
                }
                known.live += 1;
                known.idle.since = None;
                known.take(&id, charge, self);
                if known.is_confirmed { Begun::Joined } else { Begun::Adopted }
            }
            Entry::Vacant(vacant) => {
                self.on_charged(&id, &charge);
                vacant.insert(Meeting::begun(pin.clone(), charge));
                Begun::Adopted
            }
        }
    }

    /// The pipeline that was about to be made exists, and the session that made it uses it. Returns
    /// whether it counts: not if it or its meeting was lost meanwhile, or let go.
    #[must_use]
    pub fn created(&self, meeting: &MeetingName, epoch: u64, pipeline: PipelineId) -> bool {
        let id = MeetingId::Named(meeting.clone());
        match self.meetings.get_mut(&id) {
            Some(mut known) if known.pin.epoch == epoch && !known.is_ending => {
                if self.is_forbidden(pipeline) {
                    return false;
                }
                known.add(self, id.clone(), pipeline);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Its people were at `place` when the meeting `id` got the pin of this epoch.
    pub fn set_place(&self, id: &MeetingId, epoch: u64, place: Option<RoughPlace>) {
        if let Some(mut known) = self.meetings.get_mut(id)
            && known.pin.epoch == epoch
        {
            known.place = place;
        }
    }

    /// A pipeline without a named meeting exists, and the session that made it uses it. Returns whether
    /// it counts: not if it was let go, or lost, before it was found.
    #[must_use]
    pub fn created_unnamed(&self, home: Home, charge: Charge, pipeline: PipelineId) -> bool {
        if self.is_forbidden(pipeline) {
            return false;
        }
        let id = MeetingId::Pipeline(pipeline);
        let pin = Pin { backend: home.backend, incarnation: home.incarnation, epoch: 0 };
        match self.meetings.entry(id.clone()) {
            Entry::Vacant(vacant) => {
                self.on_charged(&id, &charge);
                vacant.insert(Meeting::begun(pin, charge)).add(self, id, pipeline);
                true
            }
            Entry::Occupied(known) => {
                drop(known);
                self.hold(pipeline, &Access::All).is_some()
            }
        }
    }

    /// The name of the meeting that `pipeline` belongs to, if it has one.
    #[must_use]
    pub fn meeting_of(&self, pipeline: PipelineId) -> Option<MeetingName> {
        match &self.pipelines.get(&pipeline)?.meeting {
            MeetingId::Named(name) => Some(name.clone()),
            MeetingId::Pipeline(_) => None,
        }
    }

    /// The pipeline that was about to be made will not be.
    pub fn not_created(&self, meeting: &MeetingName, epoch: u64, now: Time) {
        let id = MeetingId::Named(meeting.clone());
        if let Some(mut known) = self.meetings.get_mut(&id)
            && known.pin.epoch == epoch
        {
            self.drop_live(&id, &mut known, now);
        }
    }

    /// Another session begins to use `pipeline`; `None` if nobody here knows it, or if it is outside
    /// of the session's `access`.
    pub fn hold(&self, pipeline: PipelineId, access: &Access<'_>) -> Option<Home> {
        let (mut meeting, mut held) = self.lock(pipeline)?;
        if meeting.is_ending || !access.allows(pipeline, meeting.key()) {
            return None;
        }
        held.holders += 1;
        held.idle.since = None;
        meeting.participants += 1;
        meeting.load.join(1);
        let Pin { backend, incarnation, .. } = meeting.pin.clone();
        Some(Home { backend, incarnation })
    }

    /// A session no longer uses `pipeline`.
    pub fn unhold(&self, pipeline: PipelineId, now: Time) {
        let Some((mut meeting, mut held)) = self.lock(pipeline) else { return };
        if held.holders == 0 {
            return;
        }
        held.holders -= 1;
        meeting.participants -= 1;
        meeting.load.leave(1);
        if held.holders == 0 && !held.is_found {
            self.idle(&mut held.idle, Expiry::Pipeline(pipeline), now);
        }
    }

    /// Whether `pipeline` is known to exist.
    #[must_use]
    pub fn knows(&self, pipeline: PipelineId) -> bool {
        self.pipelines.contains_key(&pipeline)
    }

    /// `pipeline` was destroyed, for everybody.
    pub fn released(&self, pipeline: PipelineId, now: Time) {
        let Some(id) = self.pipelines.get(&pipeline).map(|held| held.meeting.clone()) else {
            return;
        };
        let Entry::Occupied(mut meeting) = self.meetings.entry(id.clone()) else { return };
        let known = meeting.get_mut();
        let is_of = |held: &Pipeline| held.epoch == known.pin.epoch;
        let removed = self.pipelines.remove_if(&pipeline, |_, held| is_of(held));
        let Some((_, held)) = removed else { return };
        known.forget(&held, &self.weights.get(), now);
        match id {
            MeetingId::Named(_) => self.drop_live(&id, known, now),
            MeetingId::Pipeline(_) => drop(meeting.remove()),
        }
    }

    /// This process of `backend` is lost: forgets all that was there, and forbids its pipelines.
    pub fn drop_backend(&self, backend: &BackendId, incarnation: Incarnation) -> Ended {
        let is_there = |pin: &Pin| pin.incarnation == incarnation && pin.backend == *backend;
        let mut lost = BTreeMap::new();
        self.meetings.retain(|id, meeting| {
            if !is_there(&meeting.pin) {
                return true;
            }
            meeting.load.leave(meeting.participants);
            lost.insert(id.clone(), meeting.pin.epoch);
            false
        });
        let is_lost = |held: &Pipeline| lost.get(&held.meeting) == Some(&held.epoch);
        let there = self.pipelines.iter().filter(|held| is_lost(held));
        let pipelines: Vec<_> = there.map(|held| *held.key()).collect();
        // Before they are forgotten, so that nobody finds one of them on its backend in between.
        self.forbid_remnants(&pipelines);
        self.pipelines.retain(|_, held| !is_lost(held));
        let named = |(id, epoch)| match id {
            MeetingId::Named(name) => Some((name, epoch)),
            MeetingId::Pipeline(_) => None,
        };
        let pins = lost.into_iter().filter_map(named).collect();
        Ended { pins, pipelines, over: Vec::new() }
    }

    /// How many meetings and pipelines there are.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.meetings.len(), self.pipelines.len())
    }

    /// A pipeline with its meeting, both locked; `None` if it is not known, or of a meeting that was
    /// lost and has begun anew elsewhere.
    fn lock(&self, pipeline: PipelineId) -> Option<Locked<'_>> {
        let id = self.pipelines.get(&pipeline)?.meeting.clone();
        let meeting = self.meetings.get_mut(&id)?;
        let held = self.pipelines.get_mut(&pipeline)?;
        (held.epoch == meeting.pin.epoch).then_some((meeting, held))
    }

    /// One fewer pipeline or claim keeps this meeting alive.
    fn drop_live(&self, id: &MeetingId, meeting: &mut Meeting, now: Time) {
        meeting.live -= 1;
        if meeting.live == 0 {
            meeting.peak = meeting.peak();
            meeting.charge = None;
            self.idle(&mut meeting.idle, Expiry::Meeting(id.clone()), now);
        }
    }
}

impl Meeting {
    /// A meeting in which something is about to be made.
    fn begun(pin: Pin, charge: Charge) -> Self {
        let (load, begun) = (charge.load().clone(), Some(charge.promise().made));
        Self { charge: Some(charge), live: 1, begun, ..Self::new(pin, load) }
    }

    fn new(pin: Pin, load: Arc<BackendLoad>) -> Self {
        Self {
            pin,
            load,
            charge: None,
            peak: Legs(0),
            live: 0,
            pipelines: 0,
            participants: 0,
            idle: Idle::default(),
            is_confirmed: false,
            begun: None,
            is_ending: false,
            place: None,
        }
    }

    /// Charges it, if it is not charged already.
    fn take(&mut self, id: &MeetingId, charge: Charge, registry: &Registry) {
        if self.charge.is_none() {
            registry.on_charged(id, &charge);
            self.charge = Some(charge);
        }
    }

    /// Most legs it has cost at once.
    fn peak(&self) -> Legs {
        self.charge.as_ref().map_or(self.peak, |charge| charge.peak().max(self.peak))
    }

    /// Whether nothing of it lives and `pin` is a later one: then its own is no more, for epochs rise.
    fn is_outlived_by(&self, pin: &Pin) -> bool {
        self.live == 0 && !self.is_ending && self.pin.epoch < pin.epoch
    }

    /// The claim that kept this meeting alive has become `pipeline`, used by one session. It may be
    /// known already, if two sessions found it at once.
    fn add(&mut self, registry: &Registry, id: MeetingId, pipeline: PipelineId) {
        self.participants += 1;
        self.load.join(1);
        let epoch = self.pin.epoch;
        match registry.pipelines.entry(pipeline) {
            Entry::Occupied(mut held) if held.get().epoch == epoch && held.get().meeting == id => {
                held.get_mut().holders += 1;
                held.get_mut().idle.since = None;
                self.live -= 1;
            }
            held => {
                self.pipelines += 1;
                let (idle, tally) = (Idle::default(), None);
                let made =
                    Pipeline { meeting: id, epoch, holders: 1, idle, tally, is_found: false };
                held.insert(made);
            }
        }
    }

    fn forget(&mut self, pipeline: &Pipeline, weights: &Weights, now: Time) {
        if let (Some(charge), Some(tally)) = (&mut self.charge, &pipeline.tally) {
            charge.measure((tally.counts(), &Counts::default()), weights, now);
        }
        self.pipelines -= 1;
        self.participants -= pipeline.holders;
        self.load.leave(pipeline.holders);
    }
}

#[cfg(test)]
mod tests;
