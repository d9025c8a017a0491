//! What placing promises when many ask at once, when the store fails, and when asking is given up.

mod room;
mod why;
mod world;

use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::fleet::AfterDrain;
use crate::fleet::stub::id;
use crate::model::Incarnation;
use crate::pins::PinStore;
use crate::policy::choose::{NoBackend, WhenFull};
use crate::policy::health::Health;
use world::{RESERVE, WAIT, World, YIELDS_MAX, hints, name};

const SEEDS: u64 = 20;

/// What the store is asked for a new meeting: lookup, claim, and a lookup once the meeting is here.
/// Each operation waits once or more.
const STORE_OPERATIONS: usize = 3;

/// Places a pipeline of each of `meetings`, all at the same time.
async fn place_all(world: &World, meetings: impl IntoIterator<Item = String>) -> Vec<Placed> {
    let mut asking = JoinSet::new();
    for meeting in meetings {
        let placement = Arc::clone(&world.placement);
        let place =
            async move { placement.place(hints(&meeting), Where::default()).await.unwrap() };
        asking.spawn(place);
    }
    asking.join_all().await
}

/// Fifty ask for one meeting; they must land together and be charged once.
async fn assert_one_place(world: &World) {
    let placed = place_all(world, std::iter::repeat_n("standup".to_owned(), 50)).await;
    let home = &placed[0].backend;
    assert!(placed.iter().all(|one| one.backend == *home), "{placed:?}");
    let [(index, legs, meetings)] = world.charged()[..] else { panic!("{:?}", world.charged()) };
    assert_eq!((id(index), legs, meetings), (home.clone(), RESERVE, 1));
    drop(placed);
    assert_eq!(world.charged(), []);
}

#[tokio::test(start_paused = true)]
async fn all_who_claim_a_meeting_at_once_land_together() {
    for seed in 0..SEEDS {
        assert_one_place(&World::seeded(10, seed).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn they_do_so_on_several_threads() {
    for seed in 0..SEEDS {
        assert_one_place(&World::seeded(10, seed).await).await;
    }
}

/// 100 meetings at once over ten equal backends: nobody gets more than 1.3 times his share.
#[tokio::test(start_paused = true)]
async fn a_herd_of_meetings_spreads() {
    for seed in 0..SEEDS {
        let world = World::seeded(10, seed).await;
        let placed = place_all(&world, (0..100).map(|number| format!("meeting-{number}"))).await;
        let charged = world.charged();
        assert_eq!(charged.iter().map(|(.., meetings)| meetings).sum::<u32>(), 100);
        let most = charged.iter().map(|(.., meetings)| *meetings).max();
        assert!(most <= Some(13), "seed {seed}: {charged:?}");
        drop(placed);
        assert_eq!(world.charged(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_known_meetings_go_on_and_others_are_refused() {
    let world = World::seeded(2, 0).await;
    let mut first = world.place("known").await.unwrap();
    first.claim.take().unwrap().created(PipelineId::from_u128(1), SessionId::from_random(9));
    let charged = world.charged();

    world.store.is_away.store(true, Ordering::Relaxed);
    let second = world.place("known").await.unwrap();
    assert_eq!(second.backend, first.backend);
    let refused = world.place("unknown").await.unwrap_err();
    assert_eq!(refused, PlaceError::Pins(PinError::Away));
    assert_eq!(refused.into_failure().code, 40009);
    assert_eq!(world.charged(), charged);

    world.store.is_away.store(false, Ordering::Relaxed);
    world.place("unknown").await.unwrap();
}

/// The store fails at any one of the steps of placing; what was charged until then is given back.
#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_in_between_costs_no_load() {
    for step in 0.. {
        let world = World::seeded(2, 0).await;
        let mut placing = Box::pin(world.place("standup"));
        if (0..step).find_map(|_| (&mut placing).now_or_never()).is_some() {
            assert!(step > STORE_OPERATIONS, "all of them were interrupted");
            break;
        }
        world.store.is_away.store(true, Ordering::Relaxed);
        assert_eq!(placing.await.unwrap_err(), PlaceError::Pins(PinError::Away));
        assert_eq!(world.charged(), [], "after {step} steps");
    }
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_claim_goes_to_the_winner_and_takes_its_charge_along() {
    for seed in 0..SEEDS {
        let world = World::seeded(10, seed).await;
        let rival = Home { backend: id(7), incarnation: Incarnation(7) };
        *world.store.rival.lock().unwrap() = Some(rival);
        let placed = world.place("standup").await.unwrap();
        assert_eq!(placed.backend, id(7));
        assert_eq!(world.charged(), [(7, RESERVE, 1)]);
        drop(placed);
        assert_eq!(world.charged(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_meeting_waits_for_its_suspect_backend_and_stays_there() {
    let world = World::seeded(2, 0).await;
    let home = settle(&world).await;
    world.fleet.fail(home, Health::Suspect).await;

    let mut waiting = Box::pin(world.place("standup"));
    assert!(timeout(WAIT / 2, &mut waiting).await.is_err(), "nothing is known yet");
    world.fleet.answer(home, home as u64, Health::Healthy).await;
    assert_eq!(waiting.await.unwrap().backend, id(home));
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_waits_moves_when_its_backend_is_ejected() {
    let mut world = World::seeded(2, 0).await;
    let home = settle(&world).await;
    world.fleet.fail(home, Health::Suspect).await;

    let placement = Arc::clone(&world.placement);
    let mut waiting = Box::pin(placement.place(hints("standup"), Where::default()));
    assert!(timeout(WAIT / 2, &mut waiting).await.is_err(), "nothing is known yet");
    world.fleet.fail(home, Health::Suspect).await;
    world.fleet.fail(home, Health::Ejected).await;
    let (moved, ()) = tokio::join!(waiting, world.lose_backend());
    assert_eq!(moved.unwrap().backend, id(1 - home));
}

#[tokio::test(start_paused = true)]
async fn a_meeting_waits_for_its_suspect_backend_only_so_long() {
    let world = World::seeded(2, 0).await;
    let home = settle(&world).await;
    world.fleet.fail(home, Health::Suspect).await;
    let charged = world.charged();
    let refused = world.place("standup").await.unwrap_err();
    assert_eq!(refused, PlaceError::Waiting);
    assert_eq!(refused.into_failure().code, 40009);
    assert_eq!(world.charged(), charged);
}

/// Gives the meeting `standup` a pipeline; says where.
async fn settle(world: &World) -> usize {
    let Placed { backend, claim } = world.place("standup").await.unwrap();
    claim.unwrap().created(PipelineId::from_u128(1), SessionId::from_random(9));
    (0..).find(|index| id(*index) == backend).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_meeting_does_not_follow_a_transaction_to_another_backend() {
    let world = World::seeded(2, 0).await;
    let on = |index| Where { on: Some(id(index)), ..Where::default() };
    for index in [0, 1] {
        let placed = world.place_at(&format!("new-{index}"), on(index)).await.unwrap();
        assert_eq!(placed.backend, id(index), "a new one goes where it is wanted");
    }
    let home = settle(&world).await;
    assert_eq!(world.place_at("standup", on(home)).await.unwrap().backend, id(home));
    let charged = world.charged();
    let refused = world.place_at("standup", on(1 - home)).await.unwrap_err();
    assert_eq!(refused, PlaceError::Elsewhere);
    assert_eq!(refused.into_failure().code, 40008);
    assert_eq!(world.charged(), charged);
}

/// The client goes away after any number of steps of placing.
#[tokio::test(start_paused = true)]
async fn whoever_stops_asking_gives_everything_back() {
    for step in 0.. {
        let world = World::seeded(2, 0).await;
        let mut placing = Box::pin(world.place("standup"));
        let placed = (0..step).find_map(|_| (&mut placing).now_or_never());
        let is_placed = placed.is_some();
        drop((placing, placed));
        assert_eq!(world.charged(), [], "after {step} steps");
        world.sweep().await;
        assert_eq!(world.placement.keeper.registry.len(), (0, 0), "after {step} steps");
        assert!(world.store.memory.is_empty(), "after {step} steps");
        if is_placed {
            assert!(step > STORE_OPERATIONS, "all of them were interrupted");
            break;
        }
    }
}

/// The backend is lost between the place and the news that the pipeline was made there.
#[tokio::test(start_paused = true)]
async fn a_pipeline_made_on_a_backend_that_was_lost_meanwhile_is_forgotten() {
    for meeting in [Some("standup"), None] {
        let mut world = World::seeded(1, 0).await;
        let hints = Hints { meeting: meeting.map(name), ..Hints::default() };
        let placed = world.placement.place(hints, Where::default()).await.unwrap();
        assert_eq!(world.charged(), [(0, RESERVE, 1)]);
        world.fleet.fail(0, Health::Suspect).await;
        world.fleet.fail(0, Health::Suspect).await;
        world.fleet.fail(0, Health::Ejected).await;
        world.lose_backend().await;
        let pipeline = PipelineId::from_u128(1);
        placed.claim.unwrap().created(pipeline, SessionId::from_random(9));
        assert!(!world.placement.keeper.registry.knows(pipeline));
        assert_eq!(world.placement.keeper.registry.len(), (0, 0));
        assert_eq!(world.charged(), []);
    }
}

/// Another participant may pin the meeting to a process that was not yet known when we began to ask.
#[tokio::test(start_paused = true)]
async fn a_pin_on_a_process_that_started_meanwhile_holds() {
    let mut world = World::seeded(1, 0).await;
    let placement = Arc::clone(&world.placement);
    let mut slow = Box::pin(placement.place(hints("standup"), Where::default()));
    assert!((&mut slow).now_or_never().is_none(), "it waits for the store");
    world.fleet.answer(0, 9, Health::Healthy).await;
    world.lose_backend().await;
    let quick = world.place("standup").await.unwrap();
    let pin = world.placement.keeper.registry.pin(&name("standup"));
    slow.await.unwrap();
    assert_eq!(world.store.memory.lookup(&name("standup")).await.unwrap(), pin);
    drop(quick);
}

/// The loss is found by who places a meeting, at any step of it, before upkeep has heard of it.
#[tokio::test(start_paused = true)]
async fn a_loss_that_placing_finds_first_leaves_no_pin_behind() {
    for step in 0..=2 * STORE_OPERATIONS * YIELDS_MAX {
        let mut world = World::seeded(1, 0).await;
        settle(&world).await;
        let placement = Arc::clone(&world.placement);
        let mut placing = Box::pin(placement.place(hints("late"), Where::default()));
        let early = (0..step).find_map(|_| (&mut placing).now_or_never());
        world.fleet.fail(0, Health::Suspect).await;
        world.fleet.fail(0, Health::Suspect).await;
        world.fleet.fail(0, Health::Ejected).await;
        match early {
            Some(placed) => drop(placed),
            None => drop(placing.await),
        }
        world.lose_backend().await;
        assert!(world.store.memory.is_empty(), "after {step} steps");
        assert_eq!(world.placement.keeper.registry.len(), (0, 0), "after {step} steps");
        assert_eq!(world.charged(), [], "after {step} steps");
    }
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_announces_its_size_is_charged_for_it_within_the_bound() {
    let world = World::seeded(1, 0).await;
    for (participants, legs) in [(3, Legs(9)), (20, Legs(400)), (1_000, Legs(400))] {
        let hints = Hints { participants: Some(participants), ..Hints::default() };
        let placed = world.placement.place(hints, Where::default()).await.unwrap();
        assert_eq!(world.charged(), [(0, legs, 1)]);
        drop(placed);
    }
    settle(&world).await;
    let larger = Hints { participants: Some(9), ..hints("standup") };
    let joined = world.placement.place(larger, Where::default()).await.unwrap();
    assert_eq!(world.charged(), [(0, RESERVE, 1)], "whoever joins charges nothing");
    drop(joined);
}

/// What a backend has of what the process before had made, or of what it was given up with.
#[tokio::test(start_paused = true)]
async fn what_is_found_where_its_meeting_was_given_up_is_not_taken_in() {
    let world = World::seeded(2, 1).await;
    let keeper = &world.placement.keeper;
    let homes = world.fleet.handle.snapshot();
    let home = |index: usize| {
        let view = &homes.backends[index];
        Home { backend: view.id.clone(), incarnation: view.incarnation.unwrap() }
    };
    let pin = |index: usize, incarnation, epoch| Pin { incarnation, epoch, backend: id(index) };
    let session = SessionId::from_random(5);
    let origin = |epoch, number| {
        let pipeline = PipelineId::from_u128(number);
        Origin { epoch, pipeline, session }
    };
    let given_up = Incarnation(99);
    let pins = [
        (name("lost"), pin(0, given_up, 1)),
        (name("moved"), pin(0, home(0).incarnation, 2)),
        (name("here"), pin(0, home(0).incarnation, 3)),
    ];
    keeper.found.fill(&pins, &[origin(1, 1), origin(2, 2), origin(3, 3)]);
    world.store.memory.claim(&name("moved"), &id(1), home(1).incarnation).await.unwrap();
    for (number, meeting, is_taken_in) in [
        (1, Some("lost"), false),
        (2, Some("moved"), false),
        (3, Some("here"), true),
        // Nobody has noted that this one was in a meeting that has moved.
        (4, Some("moved"), true),
        (5, None, true),
    ] {
        let (pipeline, who) = (PipelineId::from_u128(number), (session, &Access::All));
        let meeting = meeting.map(name);
        let adopted = world.placement.adopt(pipeline, home(0), meeting, who).await;
        assert_eq!(adopted, is_taken_in, "{number}");
        assert_eq!(keeper.registry.is_forbidden(pipeline), !is_taken_in, "{number}");
    }
    assert_eq!(keeper.registry.meeting_of(PipelineId::from_u128(3)), Some(name("here")));
    keeper.leave_behind(&[PipelineId::from_u128(6)]);
    let who = (session, &Access::All);
    assert!(!world.placement.adopt(PipelineId::from_u128(6), home(0), None, who).await);
}

/// Its answer was read before the loss was known here, and is withheld.
#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_made_when_its_backend_was_lost_is_a_remnant() {
    for meeting in [Some("standup"), None] {
        let mut world = World::seeded(1, 1).await;
        let hints = meeting.map_or_else(Hints::default, hints);
        let placed = world.placement.place(hints, Where::default()).await.unwrap();
        world.fleet.fail(0, Health::Suspect).await;
        world.fleet.fail(0, Health::Suspect).await;
        world.fleet.fail(0, Health::Ejected).await;
        world.lose_backend().await;
        let pipeline = PipelineId::from_u128(1);
        let settling = placed.claim.unwrap().created(pipeline, SessionId::from_random(5));
        assert_eq!(settling.unwrap().await, Err(PinError::Moving));
        let registry = &world.placement.keeper.registry;
        assert!(registry.is_forbidden(pipeline) && !registry.knows(pipeline), "{meeting:?}");
        assert_eq!(world.charged(), []);
    }
}

/// Whoever was refused there, or left, is not sent there again; whoever is there stays.
#[tokio::test(start_paused = true)]
async fn a_meeting_of_which_nothing_lives_is_not_bound_to_where_no_meetings_go() {
    for lives in [false, true] {
        let world = World::seeded(2, 1).await;
        let mut first = world.place("standup").await.unwrap();
        let home = first.backend.clone();
        if lives {
            let claim = first.claim.take().unwrap();
            let _ = claim.created(PipelineId::from_u128(1), SessionId::from_random(9));
        }
        drop(first);
        assert_eq!(world.place("standup").await.unwrap().backend, home, "it is in its grace");
        let drained = world.fleet.handle.drain(home.clone(), None, AfterDrain::Stay).await;
        drained.unwrap();
        let again = world.place("standup").await.unwrap();
        assert_eq!(again.backend == home, lives);
        let other = world.place("standup").await.unwrap();
        assert_eq!(other.backend, again.backend, "all of them");
    }
}

/// While something is being made for it, it may live a moment later.
#[tokio::test(start_paused = true)]
async fn a_meeting_that_is_just_being_made_stays_where_it_is() {
    let world = World::seeded(2, 1).await;
    let first = world.place("standup").await.unwrap();
    world.fleet.handle.drain(first.backend.clone(), None, AfterDrain::Stay).await.unwrap();
    assert_eq!(world.place("standup").await.unwrap().backend, first.backend);
}
