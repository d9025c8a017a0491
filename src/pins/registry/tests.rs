use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::Legs;
use crate::pins::BackendLoad;
use crate::policy::access::Meetings;
use crate::policy::promise::Promise;
use crate::policy::tally::Change;
use crate::protocol::media::{Element, ElementId, ElementKind, Media};

pub(super) const GRACE: Duration = Duration::from_secs(60);
const HALF_LIFE: Duration = Duration::from_secs(600);
pub(super) const ONE: Incarnation = Incarnation(1);

pub(super) struct World {
    pub(super) registry: Registry,
    load: Arc<BackendLoad>,
    pub(super) now: Time,
}

pub(super) fn backend() -> BackendId {
    BackendId::parse("a").unwrap()
}

pub(super) fn name(text: &str) -> MeetingName {
    MeetingName::parse(text).unwrap()
}

pub(super) fn pin(epoch: u64) -> Pin {
    Pin { backend: backend(), incarnation: ONE, epoch }
}

impl World {
    pub(super) fn new() -> Self {
        Self { registry: Registry::new(GRACE, 100), load: Arc::default(), now: Time::ZERO }
    }

    pub(super) fn charge(&self) -> Charge {
        let promise = Promise { legs: Legs(4), made: self.now };
        Charge::new(self.load.clone(), promise, HALF_LIFE)
    }

    pub(super) fn begin(&self, meeting: &str) -> Begun {
        self.registry.begin(&name(meeting), &pin(1), self.charge())
    }

    pub(super) fn create(&self, meeting: &str, pipeline: u128) {
        self.begin(meeting);
        assert!(self.registry.created(&name(meeting), 1, PipelineId::from_u128(pipeline)));
    }

    pub(super) fn create_unnamed(&self, pipeline: u128) {
        let home = Home { backend: backend(), incarnation: ONE };
        let charge = self.charge();
        assert!(self.registry.created_unnamed(home, charge, PipelineId::from_u128(pipeline)));
    }

    /// Lets `seconds` pass, sweeps and unpins; returns the names that ended.
    pub(super) fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now = self.now + Duration::from_secs(seconds);
        let ended = self.registry.sweep(self.now).pins;
        for (name, epoch) in &ended {
            self.registry.unpinned(name, *epoch);
        }
        ended.into_iter().map(|(name, _)| name.to_string()).collect()
    }

    pub(super) fn load(&self) -> (u32, u32, u32) {
        (self.load.legs().0, self.load.meetings(), self.load.participants())
    }
}

#[test]
fn the_place_of_a_meeting_is_that_of_its_pin() {
    let world = World::new();
    world.create("standup", 1);
    let id = MeetingId::Named(name("standup"));
    let place = geoip::Place::from_degrees(48.86, 2.35).map(RoughPlace::from);
    let shown = || world.registry.meeting(&id).unwrap().place;
    assert_eq!(shown(), None);
    world.registry.set_place(&id, 2, place);
    assert_eq!(shown(), None, "of another pin");
    world.registry.set_place(&id, 1, place);
    assert_eq!(shown(), place);
}

#[test]
fn a_meeting_that_was_found_ends_after_the_grace_unless_somebody_comes() {
    let mut world = World::new();
    for meeting in ["quiet", "busy"] {
        assert!(world.registry.adopt(&name(meeting), &pin(1), world.load.clone(), world.now));
        assert!(!world.registry.adopt(&name(meeting), &pin(1), world.load.clone(), world.now));
        world.registry.confirm(&name(meeting), 1);
    }
    assert_eq!(world.begin("busy"), Begun::Joined);
    world.now = world.now + GRACE;
    assert_eq!(world.registry.sweep(world.now).pins, [(name("quiet"), 1)]);
    assert_eq!(world.begin("quiet"), Begun::Ending);
}

#[test]
fn what_was_found_gives_way_to_a_later_pin_and_what_lives_does_not() {
    let world = World::new();
    assert!(world.registry.adopt(&name("m"), &pin(1), world.load.clone(), world.now));
    let later = |epoch| {
        let charge = world.charge();
        world.registry.begin(&name("m"), &pin(epoch), charge)
    };
    assert_eq!(later(2), Begun::Adopted);
    world.registry.confirm(&name("m"), 2);
    assert_eq!(later(3), Begun::Ending, "a pipeline is being made at the second");
    assert_eq!(world.registry.sweep(world.now + GRACE).pins, [], "nor does the first end it");
}

#[test]
fn a_meeting_charges_once_and_counts_its_participants() {
    let world = World::new();
    world.create("m", 1);
    world.create("m", 2);
    assert!(world.registry.hold(PipelineId::from_u128(1), &Access::All).is_some());
    assert_eq!(world.load(), (4, 1, 3));
    let view = world.registry.meeting(&MeetingId::Named(name("m"))).unwrap();
    assert_eq!((view.pipelines, view.participants, view.reserve), (2, 3, Legs(4)));
}

#[test]
fn a_session_holds_only_what_it_may_touch() {
    let world = World::new();
    world.create("m", 1);
    world.create_unnamed(2);
    let mut meetings = Meetings::default();
    meetings.add(&name("m"), 10);
    let is_held = |pipeline: u128, access: Access<'_>| {
        world.registry.hold(PipelineId::from_u128(pipeline), &access).is_some()
    };
    assert!(
        !is_held(1, Access::Own(Cow::default()))
            && !is_held(1, Access::Meetings(Cow::default(), Cow::default()))
    );
    assert!(
        !is_held(2, Access::Meetings(Cow::Borrowed(&meetings), Cow::default())),
        "it belongs to no meeting"
    );
    assert_eq!(world.load().2, 2, "who was turned away is no participant");
    assert!(
        is_held(1, Access::Meetings(Cow::Borrowed(&meetings), Cow::default()))
            && is_held(2, Access::All)
    );
}

#[test]
fn a_named_meeting_outlives_its_people_by_the_grace() {
    let mut world = World::new();
    world.create("m", 1);
    world.registry.unhold(PipelineId::from_u128(1), world.now);
    assert!(world.pass(59).is_empty());
    assert!(
        world.registry.hold(PipelineId::from_u128(1), &Access::All).is_some(),
        "somebody came back"
    );
    assert!(world.pass(100).is_empty());
    world.registry.unhold(PipelineId::from_u128(1), world.now);
    assert!(world.pass(59).is_empty(), "the grace began anew");
    assert_eq!(world.pass(1), ["m"]);
    assert_eq!((world.registry.len(), world.load()), ((0, 0), (0, 0, 0)));
}

#[test]
fn a_released_named_meeting_keeps_its_place_for_the_grace_and_an_unnamed_one_goes() {
    let mut world = World::new();
    world.create("m", 1);
    world.create_unnamed(2);
    world.registry.released(PipelineId::from_u128(1), world.now);
    world.registry.released(PipelineId::from_u128(2), world.now);
    assert_eq!(world.registry.hold(PipelineId::from_u128(1), &Access::All), None);
    assert_eq!(world.load(), (0, 0, 0), "nothing of it is left on the backend");
    world.create("m", 3);
    assert_eq!(world.load(), (4, 1, 1), "it came back to the same place");
    world.registry.released(PipelineId::from_u128(3), world.now);
    assert_eq!(world.pass(60), ["m"]);
    assert_eq!(world.load(), (0, 0, 0));
}

#[test]
fn nobody_joins_a_meeting_whose_pin_is_being_removed() {
    let mut world = World::new();
    world.begin("m");
    world.registry.not_created(&name("m"), 1, world.now);
    world.now = world.now + GRACE;
    assert_eq!(world.registry.sweep(world.now).pins.len(), 1);
    assert_eq!(world.begin("m"), Begun::Ending);
    assert_eq!(world.registry.pin(&name("m")), None);
    world.registry.unpinned(&name("m"), 1);
    assert_eq!(world.begin("m"), Begun::Adopted);
}

#[test]
fn what_was_on_a_lost_backend_is_forgotten_and_late_news_of_it_change_nothing() {
    let world = World::new();
    world.create("m", 1);
    world.create_unnamed(2);
    world.begin("n");
    let mut lost = world.registry.drop_backend(&backend(), ONE).pins;
    lost.sort();
    assert_eq!(lost, [(name("m"), 1), (name("n"), 1)]);
    assert!(!world.registry.created(&name("n"), 1, PipelineId::from_u128(3)));
    world.registry.unhold(PipelineId::from_u128(1), world.now);
    world.registry.released(PipelineId::from_u128(2), world.now);
    assert_eq!((world.registry.len(), world.load()), ((0, 0), (0, 0, 0)));
}

#[test]
fn operators_page_through_meetings_in_order() {
    let world = World::new();
    for (number, meeting) in ["c", "a", "b"].into_iter().enumerate() {
        world.create(meeting, number as u128);
    }
    let ids = |views: Vec<MeetingView>| -> Vec<String> {
        views.into_iter().map(|view| view.id.to_string()).collect()
    };
    assert_eq!(ids(world.registry.meetings(None, 2)), ["a", "b"]);
    assert_eq!(ids(world.registry.meetings(Some("b"), 2)), ["c"]);
}

fn webrtc(id: u8) -> Element {
    Element { id: ElementId::from_u128(id.into()), hub: None, kind: ElementKind::WebRtc }
}

/// An endpoint `id` feeds the endpoints that follow it, so many.
fn feed(world: &World, pipeline: u128, id: u8, sinks: u8) {
    for sink in 1..=sinks {
        let change = Change::Connected(webrtc(id), webrtc(id + sink), Media::All);
        world.registry.change(PipelineId::from_u128(pipeline), &change, world.now);
    }
}

#[test]
fn a_meeting_is_charged_what_all_its_pipelines_cost_if_that_is_more_than_its_reserve() {
    let world = World::new();
    world.create("m", 1);
    world.create("m", 2);
    world.create_unnamed(3);
    feed(&world, 1, 1, 2);
    assert_eq!((world.load.legs(), world.load.measured()), (Legs(8), Legs(3)));
    feed(&world, 2, 1, 3);
    feed(&world, 3, 1, 1);
    assert_eq!((world.load.legs(), world.load.measured()), (Legs(7 + 4), Legs(7 + 2)));
    let view = world.registry.meeting(&MeetingId::Named(name("m"))).unwrap();
    assert_eq!((view.measured, view.charged, view.reserve), (Legs(7), Legs(7), Legs(4)));
    assert_eq!((view.counts.publishing, view.counts.receiving), (2, 5));
    world.registry.released(PipelineId::from_u128(1), world.now);
    assert_eq!((world.load.legs(), world.load.measured()), (Legs(8), Legs(4 + 2)));
    feed(&world, 1, 1, 9);
    assert_eq!(world.load.measured(), Legs(6), "it is no more");
}

#[test]
fn other_weights_hold_for_meetings_that_are_here_too() {
    let world = World::new();
    world.create("m", 1);
    world.create_unnamed(2);
    feed(&world, 1, 1, 4);
    assert_eq!((world.load.legs(), world.load.measured()), (Legs(5 + 4), Legs(5)));
    world.registry.weigh(Weights { receive: Legs(3), ..Weights::default() }, world.now);
    assert_eq!((world.load.legs(), world.load.measured()), (Legs(13 + 4), Legs(13)));
    feed(&world, 2, 1, 2);
    assert_eq!(world.load.measured(), Legs(13 + 7));
}

#[test]
fn another_grace_holds_for_who_has_left_already() {
    let mut world = World::new();
    for (meeting, pipeline) in [("first", 1), ("second", 2)] {
        world.create(meeting, pipeline);
        world.registry.unhold(PipelineId::from_u128(pipeline), world.now);
        assert!(world.pass(10).is_empty());
    }
    world.registry.set_bounds(Duration::from_secs(15), 100);
    assert_eq!(world.pass(0), ["first"], "20 s ago");
    assert_eq!(world.pass(5), ["second"]);
    world.create("third", 3);
    world.registry.unhold(PipelineId::from_u128(3), world.now);
    world.registry.set_bounds(Duration::from_secs(90), 100);
    assert!(world.pass(GRACE.as_secs()).is_empty());
    assert_eq!(world.pass(30), ["third"]);
}

#[test]
fn what_nobody_uses_is_counted_until_it_ends() {
    let mut world = World::new();
    world.create("m", 1);
    feed(&world, 1, 1, 5);
    world.registry.unhold(PipelineId::from_u128(1), world.now);
    world.pass(59);
    assert_eq!((world.load.legs(), world.load.measured()), (Legs(6), Legs(6)));
    world.pass(1);
    assert_eq!((world.load.legs(), world.load.measured()), (Legs(0), Legs(0)));
}

#[test]
fn a_promise_goes_with_time_and_none_outlives_its_meeting() {
    let mut world = World::new();
    world.create("m", 1);
    world.create_unnamed(2);
    world.registry.hold(PipelineId::from_u128(2), &Access::All).unwrap();
    for (halves, legs) in [(1, 4), (2, 2), (3, 2), (9, 0)] {
        world.now = Time::ZERO + HALF_LIFE * halves;
        assert!(world.registry.sweep(world.now).pins.is_empty());
        assert_eq!(world.load.legs(), Legs(legs), "after {halves} half-lives");
    }
    assert!(world.registry.waning.lock().unwrap().is_empty());
    world.create("n", 3);
    world.registry.released(PipelineId::from_u128(3), world.now);
    world.now = world.now + Duration::from_secs(1);
    world.create("n", 4);
    world.registry.sweep(world.now);
    assert_eq!(world.registry.waning.lock().unwrap().len(), 1, "of the charge that is in force");
    assert_eq!(world.load.legs(), Legs(4));
}

#[test]
fn a_meeting_that_is_over_tells_the_most_it_has_cost() {
    let world = World::new();
    world.create("m", 1);
    feed(&world, 1, 1, 5);
    world.registry.released(PipelineId::from_u128(1), world.now);
    world.create("m", 2);
    feed(&world, 2, 1, 2);
    world.create("unseen", 3);
    world.registry.unhold(PipelineId::from_u128(2), world.now);
    world.registry.unhold(PipelineId::from_u128(3), world.now);
    let ended = world.registry.sweep(world.now + GRACE);
    assert_eq!(ended.pins.len(), 2);
    let people = [0.0; 3];
    assert_eq!(
        ended.over,
        [(name("m"), history::Ended { peak: Legs(6), people, lasted: Some(Duration::ZERO) })]
    );
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u8),
    Created(u8, u8),
    NotCreated(u8),
    Unnamed(u8),
    Hold(u8),
    Unhold(u8),
    Released(u8),
    /// Pipeline, two of its elements, and what happens to them.
    Changes(u8, u8, u8, u8),
    Lost,
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..3).prop_map(Step::Begin),
        (0u8..3, 0u8..6).prop_map(|(m, p)| Step::Created(m, p)),
        (0u8..3).prop_map(Step::NotCreated),
        (6u8..9).prop_map(Step::Unnamed),
        (0u8..9).prop_map(Step::Hold),
        (0u8..9).prop_map(Step::Unhold),
        (0u8..9).prop_map(Step::Released),
        (0u8..9, 0u8..4, 0u8..4, 0u8..5).prop_map(|(p, a, b, how)| Step::Changes(p, a, b, how)),
        (0u8..9, 0u8..4, 0u8..4, 0u8..5).prop_map(|(p, a, b, how)| Step::Changes(p, a, b, how)),
        Just(Step::Lost),
        (0u8..90).prop_map(Step::Pass),
    ]
}

/// What a correct caller still holds, so that the test gives back only what it took.
#[derive(Default)]
struct Held {
    begun: Vec<u8>,
    made: Vec<u8>,
    pipelines: Vec<u8>,
}

fn take<T: PartialEq>(from: &mut Vec<T>, what: &T) -> bool {
    from.iter().position(|x| x == what).map(|at| from.swap_remove(at)).is_some()
}

fn apply(world: &mut World, held: &mut Held, step: &Step) {
    let pipeline = |p: u8| PipelineId::from_u128(u128::from(p));
    let meeting = |m: u8| name(&format!("m{m}"));
    match *step {
        Step::Begin(m) => {
            if world.begin(&format!("m{m}")) != Begun::Ending {
                held.begun.push(m);
            }
        }
        Step::Created(m, p) => {
            if !held.made.contains(&p) && take(&mut held.begun, &m) {
                let _ = world.registry.created(&meeting(m), 1, pipeline(p));
                held.made.push(p);
                held.pipelines.push(p);
            }
        }
        Step::NotCreated(m) => {
            if take(&mut held.begun, &m) {
                world.registry.not_created(&meeting(m), 1, world.now);
            }
        }
        Step::Unnamed(p) => {
            if !held.made.contains(&p) {
                world.create_unnamed(u128::from(p));
                held.made.push(p);
                held.pipelines.push(p);
            }
        }
        Step::Hold(p) => {
            if world.registry.hold(pipeline(p), &Access::All).is_some() {
                held.pipelines.push(p);
            }
        }
        Step::Unhold(p) => {
            if take(&mut held.pipelines, &p) {
                world.registry.unhold(pipeline(p), world.now);
            }
        }
        Step::Released(p) => {
            world.registry.released(pipeline(p), world.now);
            held.pipelines.retain(|held| *held != p);
        }
        Step::Changes(p, a, b, how) => {
            let (a, b) = (webrtc(a), webrtc(b));
            let recorder = Element { kind: ElementKind::Recorder, ..webrtc(100) };
            let change = match how {
                0 => Change::Created(recorder),
                1 => Change::Released(if a == b { recorder } else { a }),
                2 => Change::Disconnected(a, b, Media::All),
                _ => Change::Connected(a, b, Media::All),
            };
            world.registry.change(pipeline(p), &change, world.now);
        }
        Step::Lost => {
            world.registry.drop_backend(&backend(), ONE);
            *held = Held { made: std::mem::take(&mut held.made), ..Held::default() };
        }
        Step::Pass(seconds) => drop(world.pass(u64::from(seconds))),
    }
}

proptest! {
    /// Whatever happens in whatever order, once all have gone and the grace is over nothing is left.
    #[test]
    fn everything_is_given_back(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        let mut held = Held::default();
        for step in &steps {
            apply(&mut world, &mut held, step);
            let views = world.registry.meetings(None, 100);
            let measured: u32 = views.iter().map(|view| view.measured.0).sum();
            let charged: u32 = views.iter().map(|view| view.charged.0).sum();
            prop_assert_eq!((world.load.measured().0, world.load.legs().0), (measured, charged));
        }
        for m in held.begun {
            world.registry.not_created(&name(&format!("m{m}")), 1, world.now);
        }
        for p in held.pipelines {
            world.registry.unhold(PipelineId::from_u128(u128::from(p)), world.now);
        }
        world.pass(60);
        world.pass(60);
        prop_assert_eq!((world.registry.len(), world.load()), ((0, 0), (0, 0, 0)));
        prop_assert_eq!((world.load.measured(), world.load.counts()), (Legs(0), Counts::default()));
        prop_assert!(world.registry.expiries.lock().unwrap().is_empty());
        prop_assert!(world.registry.waning.lock().unwrap().is_empty());
    }
}
