//! Which backends a meeting may go to, and what becomes of it when there is none.

use tokio::time::timeout;

use super::*;
use crate::fleet::stub::backend;
use crate::policy::choose::Rules;
use crate::policy::tally::Change;
use crate::protocol::media::{Element, ElementId, ElementKind, Media};
use crate::settings::{BackendSettings, QueueBounds};

/// Backends that hold two meetings of which nothing is known, and no third.
const CAPACITY: Legs = Legs(9);

/// How long one may wait for room.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

fn labelled(index: usize, label: &str) -> BackendSettings {
    BackendSettings { labels: Labels::parse(&[label]).unwrap(), ..backend(index, CAPACITY) }
}

async fn world(when_full: WhenFull) -> World {
    let settings = PlacementSettings {
        rules: Rules { when_full, ..Rules::default() },
        queue: QueueBounds { max: 2, wait: QUEUE_WAIT },
        wait: WAIT,
        ..PlacementSettings::default()
    };
    let backends = [labelled(0, "region=eu"), labelled(1, "region=us")];
    World::of(&backends, settings, 0).await
}

fn requiring(meeting: &str, label: &str) -> Hints {
    Hints { require: Labels::parse(&[label]).unwrap(), ..hints(meeting) }
}

async fn place(world: &World, hints: Hints) -> Result<Placed, PlaceError> {
    world.placement.place(hints, Where::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_meeting_goes_where_the_labels_are_and_a_joiner_who_requires_others_is_told() {
    let world = world(WhenFull::Reject).await;
    for (meeting, label, home) in [("a", "region=us", 1), ("b", "region=eu", 0)] {
        let placed = place(&world, requiring(meeting, label)).await.unwrap();
        assert_eq!(placed.backend, id(home));
        placed
            .claim
            .unwrap()
            .created(PipelineId::from_u128(home as u128), SessionId::from_random(9));
    }
    let refused = place(&world, requiring("a", "region=eu")).await.unwrap_err();
    assert_eq!(refused, PlaceError::Unlabelled);
    assert_eq!(refused.into_failure().code, 40009);
    assert_eq!(place(&world, hints("a")).await.unwrap().backend, id(1), "no demand, no objection");
    let refused = place(&world, requiring("c", "region=mars")).await.unwrap_err();
    assert_eq!(refused, PlaceError::NoBackend(NoBackend::NoneLabelled));
    assert!(refused.to_string().contains("client:"), "{refused}");
}

/// Fills the backend of `region`, `kms-0` for eu; returns what holds the room.
async fn fill(world: &World, region: &str) -> Vec<Placed> {
    let mut held = Vec::new();
    for number in 0..2 {
        let meeting = format!("{region}-{number}");
        held.push(place(world, requiring(&meeting, &format!("region={region}"))).await.unwrap());
    }
    held
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_gets_it_in_turn_and_only_among_its_like() {
    let world = world(WhenFull::Queue).await;
    let mut held = fill(&world, "eu").await;
    let mut first = Box::pin(place(&world, requiring("first", "region=eu")));
    assert!(timeout(QUEUE_WAIT / 4, &mut first).await.is_err(), "there is no room");
    let mut second = Box::pin(place(&world, requiring("second", "region=eu")));
    assert!(timeout(QUEUE_WAIT / 4, &mut second).await.is_err());
    assert_eq!(world.placement.queue.len(), 2);

    // Others have room and need not wait; a third finds the queue full.
    assert_eq!(place(&world, requiring("other", "region=us")).await.unwrap().backend, id(1));
    let refused = place(&world, requiring("third", "region=eu")).await.unwrap_err();
    let PlaceError::QueueFull(spot) = &refused else { panic!("{refused:?}") };
    assert_eq!((spot.position, spot.expected_wait_ms), (3, None));

    held.pop();
    assert!((&mut second).now_or_never().is_none(), "it is not its turn, though there is room");
    let first = first.await.unwrap();
    assert_eq!(first.backend, id(0));
    assert!((&mut second).now_or_never().is_none(), "the room is taken");
    drop(first);
    assert_eq!(second.await.unwrap().backend, id(0));
    drop(held);
    assert!(world.placement.queue.is_empty());
    assert_eq!(world.charged(), []);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_too_long_is_told_where_it_stood() {
    let world = world(WhenFull::Queue).await;
    let _held = fill(&world, "eu").await;
    let refused = place(&world, requiring("late", "region=eu")).await.unwrap_err();
    let PlaceError::QueuedTooLong(spot) = &refused else { panic!("{refused:?}") };
    assert_eq!(spot.position, 1);
    let failure = refused.into_failure();
    assert_eq!((failure.code, failure.queue.unwrap().position), (40009, 1));
    assert!(world.placement.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_leaves_the_queue_and_its_meeting_is_not_there() {
    let world = world(WhenFull::Queue).await;
    let held = fill(&world, "eu").await;
    let mut waiting = Box::pin(place(&world, requiring("gone", "region=eu")));
    assert!(timeout(QUEUE_WAIT / 4, &mut waiting).await.is_err());
    drop(waiting);
    assert!(world.placement.queue.is_empty());
    drop(held);
    assert_eq!(world.charged(), []);
}

#[tokio::test(start_paused = true)]
async fn people_of_one_meeting_who_wait_get_one_place() {
    let world = world(WhenFull::Queue).await;
    let mut held = fill(&world, "eu").await;
    let mut both = Box::pin(futures_util::future::join(
        place(&world, requiring("late", "region=eu")),
        place(&world, requiring("late", "region=eu")),
    ));
    assert!(timeout(QUEUE_WAIT / 4, &mut both).await.is_err());
    held.pop();
    let (one, other) = both.await;
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.backend, other.backend), (id(0), id(0)));
    assert_eq!(world.charged(), [(0, Legs(8), 2)]);
}

#[tokio::test(start_paused = true)]
async fn with_overflow_the_least_loaded_takes_what_has_no_room() {
    let world = world(WhenFull::Overflow).await;
    let _held = (fill(&world, "eu").await, fill(&world, "us").await);
    let placed = place(&world, requiring("more", "region=us")).await.unwrap();
    assert_eq!(placed.backend, id(1));
    assert_eq!(world.charged(), [(0, Legs(8), 2), (1, Legs(12), 3)]);
}

/// Where the next of `count` meetings go.
async fn homes(world: &World, round: &str, count: usize) -> Vec<usize> {
    let mut homes = Vec::new();
    for number in 0..count {
        let placed = world.place(&format!("{round}-{number}")).await.unwrap();
        homes.push((0..2).find(|index| id(*index) == placed.backend).unwrap());
    }
    homes
}

#[tokio::test(start_paused = true)]
async fn a_busy_machine_is_avoided_and_samplers_that_all_stop_make_all_dear_and_close_none() {
    let world = World::seeded(2, 0).await;
    for (index, percent) in [(0, 80.0), (1, 20.0)] {
        world.fleet.tell(index, percent).await;
    }
    assert_eq!(homes(&world, "busy", 8).await, [1; 8], "the first is busy");
    for index in [0, 1] {
        world.fleet.tell(index, 20.0).await;
    }
    let even = homes(&world, "even", 20).await;
    assert!(even.contains(&0) && even.contains(&1), "both are alike: {even:?}");

    // Nobody measures any more.
    world.pass(Duration::from_secs(120));
    let stale = homes(&world, "stale", 20).await;
    assert!(stale.contains(&0) && stale.contains(&1), "none is closed: {stale:?}");
    let snapshot = world.fleet.handle.snapshot();
    let now = world.placement.timer.now();
    for backend in &snapshot.backends {
        let load = backend.candidate(&world.placement.config.get().settings.outlook, now).load;
        assert!(load.feared > 0.8 && load.measured < 0.21, "{load:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_back_gets_few_meetings_at_first() {
    let mut world = World::seeded(2, 0).await;
    for health in [Health::Suspect, Health::Suspect, Health::Ejected] {
        world.fleet.fail(1, health).await;
    }
    world.lose_backend().await;
    world.fleet.answer(1, 1, Health::Trial).await;
    world.fleet.answer(1, 1, Health::Healthy).await;
    // As loaded as the other, but it counts as having a tenth of its capacity until the ramp is over.
    for index in [0, 1] {
        world.fleet.tell(index, 10.0).await;
    }
    assert_eq!(homes(&world, "slow", 8).await, [0; 8]);
    world.pass(Duration::from_secs(3_600));
    for index in [0, 1] {
        world.fleet.tell(index, 10.0).await;
    }
    let later = homes(&world, "later", 20).await;
    assert!(later.contains(&1), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_is_promised_what_it_had_before_and_so_is_one_named_alike() {
    let world = World::seeded(1, 0).await;
    let placed = world.place("class-1").await.unwrap();
    let pipeline = PipelineId::from_u128(1);
    placed.claim.unwrap().created(pipeline, SessionId::from_random(9));
    let webrtc = |number: u128| Element {
        id: ElementId::from_u128(number),
        hub: None,
        kind: ElementKind::WebRtc,
    };
    let registry = &world.placement.keeper.registry;
    for viewer in 2..=40 {
        let change = Change::Connected(webrtc(1), webrtc(viewer), Media::All);
        registry.change(pipeline, &change, world.placement.timer.now());
    }
    registry.released(pipeline, world.placement.timer.now());
    world.sweep().await;
    assert_eq!(world.charged(), []);
    for (meeting, legs) in [("class-1", 40), ("class-2", 40), ("standup", 4)] {
        let placed = world.place(meeting).await.unwrap();
        assert_eq!(world.charged(), [(0, Legs(legs), 1)], "{meeting}");
        drop(placed);
    }
    let announced = Hints { participants: Some(3), ..hints("class-1") };
    let _placed = place(&world, announced).await.unwrap();
    assert_eq!(world.charged(), [(0, Legs(9), 1)], "what is said counts before what was");
}
