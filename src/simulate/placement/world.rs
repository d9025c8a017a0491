//! Backends, edges and the meetings on them, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::measure::{Gauge, Measures};
use super::trace::CITIES;
use super::{Case, EDGES, SAMPLE_SECONDS};
use crate::model::{BackendId, Draws, Labels, Legs, Time};
use crate::policy::choose::{
    Candidate, Chooser, Outcome, Profile, Request, Rules, Standing, Strategy, key_of,
};
use crate::policy::history::{Ended, History, HistoryBounds};
use crate::policy::load::{Load, Measured, Outlook, Sample, Sampled};
use crate::policy::promise::{Promise, PromiseRules};

/// Legs that every backend can bear.
const CAPACITY: Legs = Legs(1_000);

/// Promises of the simulation: the defaults of the edge.
pub(super) const PROMISES: PromiseRules =
    PromiseRules { default: Legs(4), most: Legs(400), half_life: Duration::from_secs(1_800) };

/// Everything there is.
pub(super) struct World<'a> {
    case: &'a Case,
    rules: Rules,
    backends: Vec<Backend>,
    /// What each edge knows besides the samples.
    edges: Vec<Edge>,
    running: Vec<Option<Running>>,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    sampled: Time,
    gauge: Gauge,
}

struct Backend {
    profile: Profile,
    /// Legs it carries that no meeting of the trace has.
    base: u32,
    legs: u32,
    people: u32,
    /// Legs when it was last sampled.
    sample: u32,
}

struct Edge {
    chooser: Chooser,
    history: History,
    turn: u64,
    /// Legs that this edge has promised on each backend and that have not come.
    ahead: Vec<u32>,
    /// Legs of its own meetings on each backend.
    carried: Vec<u32>,
}

struct Running {
    edge: usize,
    backend: usize,
    count: u32,
    legs: u32,
    promise: Promise,
    ahead: u32,
}

/// What happens; in this order if at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Sample,
    Start,
    Come,
    End,
}

impl<'a> World<'a> {
    pub(super) fn new(case: &'a Case, rules: Rules) -> Self {
        let backends = backends(case);
        let edge = || Edge {
            chooser: Chooser::default(),
            history: History::new(HistoryBounds::default()),
            turn: 0,
            ahead: vec![0; backends.len()],
            carried: vec![0; backends.len()],
        };
        let edges = (0..EDGES).map(|_| edge()).collect();
        let gauge = Gauge::new(backends.len());
        let running = case.meetings.iter().map(|_| None).collect();
        let events = BinaryHeap::new();
        Self { case, rules, backends, edges, running, events, sampled: Time::ZERO, gauge }
    }

    /// Lets the whole trace happen.
    pub(super) fn run(mut self) -> Measures {
        for (index, meeting) in self.case.meetings.iter().enumerate() {
            self.plan(meeting.start, index, Event::Start);
        }
        self.plan(0.0, 0, Event::Sample);
        while let Some(Reverse((micros, index, event))) = self.events.pop() {
            let now = Time::from_micros(micros);
            match event {
                Event::Sample => self.sample(now),
                Event::Start => self.start(index, now),
                Event::Come => self.come(index),
                Event::End => self.end(index, now),
            }
        }
        self.gauge.measures(self.rules.strategy)
    }

    fn plan(&mut self, seconds: f64, index: usize, event: Event) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "days at most")]
        let micros = (seconds * 1e6) as u64;
        self.events.push(Reverse((micros, index, event)));
    }

    /// Every backend tells its load to every edge; what is promised is looked through again.
    fn sample(&mut self, now: Time) {
        self.sampled = now;
        for backend in &mut self.backends {
            backend.sample = backend.base + backend.legs;
            let used = Legs(backend.sample).fraction_of(CAPACITY);
            self.gauge.on_sample(used, backend.people);
        }
        self.gauge.on_window();
        for edge in &mut self.edges {
            edge.ahead.fill(0);
        }
        for running in self.running.iter_mut().flatten() {
            let ahead = running.promise.ahead(Legs(running.legs), now, PROMISES.half_life);
            running.ahead = ahead.0;
            self.edges[running.edge].ahead[running.backend] += ahead.0;
        }
        // The last event of all is an end, or nothing is left to be sampled.
        if !self.events.is_empty() {
            self.plan(now.since(Time::ZERO).as_secs_f64() + SAMPLE_SECONDS, 0, Event::Sample);
        }
    }

    fn start(&mut self, index: usize, now: Time) {
        let case = self.case;
        let meeting = &case.meetings[index];
        // Clients come to an edge by chance, the same for every strategy.
        let edge = Draws::seeded(key_of(meeting.name.as_str()) ^ index as u64).below(EDGES);
        let hint = meeting.is_announced.then(|| meeting.whole());
        let known = &mut self.edges[edge];
        let (reserve, _) = PROMISES.reserve(hint, Some(&meeting.name), &known.history, now);
        let past = known.history.meeting(&meeting.name, now);
        let place = past.and_then(|past| past.place()).unwrap_or(meeting.people[0].place);
        known.turn += 1;
        // Only the score predicts; the others are as they are found elsewhere.
        let reserve = if self.rules.strategy == Strategy::Score { reserve } else { Legs(0) };
        let request = Request {
            key: key_of(meeting.name.as_str()),
            place: Some(place),
            reserve,
            demands: Labels::default(),
            turn: known.turn,
        };
        let Some(backend) = self.choose(edge, &request, now) else {
            self.gauge.on_refusal();
            return;
        };
        self.gauge.on_meeting(backend);
        let promise = Promise { legs: reserve, made: now };
        self.edges[edge].ahead[backend] += reserve.0;
        let (count, legs, ahead) = (0, 0, reserve.0);
        self.running[index] = Some(Running { edge, backend, count, legs, promise, ahead });
        for person in &meeting.people {
            if meeting.start + person.after < meeting.end {
                self.plan(meeting.start + person.after, index, Event::Come);
            }
        }
        self.plan(meeting.end, index, Event::End);
    }

    fn choose(&mut self, edge: usize, request: &Request, now: Time) -> Option<usize> {
        let Self { backends, edges, rules, sampled, .. } = self;
        let Edge { chooser, ahead, carried, .. } = &mut edges[edge];
        let outlook = Outlook { edges: u32::try_from(EDGES).unwrap_or(1), ..Outlook::default() };
        let is_predicted = rules.strategy == Strategy::Score;
        let candidates = backends.iter().enumerate().map(|(index, backend)| {
            let used = Legs(backend.sample).fraction_of(CAPACITY);
            let cpu = Sampled::Last(Sample { used, at: *sampled });
            let own = |legs: &[u32]| if is_predicted { Legs(legs[index]) } else { Legs(0) };
            let (carried, promised) = (own(carried), own(ahead));
            let known = Measured { cpu, carried, promised, ..Measured::idle(CAPACITY) };
            let load = Load::predict(&known, &outlook, now);
            Candidate { profile: &backend.profile, standing: Standing::Open, load }
        });
        match chooser.choose(request, rules, candidates) {
            Outcome::Placed { chosen, .. } | Outcome::Overflowed(chosen) => Some(chosen),
            Outcome::Queued | Outcome::Refused(_) => None,
        }
    }

    /// The next one of the meeting comes.
    fn come(&mut self, index: usize) {
        let meeting = &self.case.meetings[index];
        let running = self.running[index].as_mut().expect("nobody comes to what never was");
        let backend = &mut self.backends[running.backend];
        let edge = &mut self.edges[running.edge];
        let person = &meeting.people[running.count as usize];
        self.gauge
            .on_person(person.place.distance_km(backend.profile.place.expect("all have one")));
        running.count += 1;
        let legs = meeting.mix(running.count).legs().0;
        let more = legs - running.legs;
        backend.people += 1;
        backend.legs += more;
        edge.carried[running.backend] += more;
        let kept = more.min(running.ahead);
        running.ahead -= kept;
        edge.ahead[running.backend] -= kept;
        running.legs = legs;
    }

    /// All leave.
    fn end(&mut self, index: usize, now: Time) {
        let running = self.running[index].take().expect("it was started");
        let backend = &mut self.backends[running.backend];
        let edge = &mut self.edges[running.edge];
        backend.legs -= running.legs;
        backend.people -= running.count;
        edge.carried[running.backend] -= running.legs;
        edge.ahead[running.backend] -= running.ahead;
        let meeting = &self.case.meetings[index];
        let mut people = [0.0; 3];
        for person in &meeting.people[..running.count as usize] {
            for (sum, part) in people.iter_mut().zip(person.place.unit_vector()) {
                *sum += part;
            }
        }
        let ended = Ended { peak: Legs(running.legs), people, lasted: None };
        edge.history.ended(&meeting.name, &ended, now);
    }
}

/// As many as the case wants in each city.
fn backends(case: &Case) -> Vec<Backend> {
    let mut backends = Vec::new();
    for (city, count) in CITIES.iter().zip(case.backends) {
        for nth in 0..count {
            let id =
                BackendId::parse(&format!("{}-{nth}", city.name)).expect("letters and hyphens");
            let mut profile = Profile::new(id);
            profile.place = Some(city.place());
            let base = case.base.get(backends.len()).copied().unwrap_or(0);
            backends.push(Backend { profile, base, legs: 0, people: 0, sample: base });
        }
    }
    backends
}
