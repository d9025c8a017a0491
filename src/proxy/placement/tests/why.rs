//! What is kept of the choices that were made.

use super::world::{RESERVE, World, hints, name};
use super::*;
use crate::policy::choose::key_of;
use crate::policy::decisions::Kept;

/// What was decided about `standup`, newest first.
fn decisions(world: &World) -> Vec<Kept> {
    world.placement.decisions.last(Some(&name("standup")), 10)
}

#[tokio::test(start_paused = true)]
async fn a_decision_says_what_was_asked_and_what_came_of_it() {
    let world = World::seeded(3, 0).await;
    let session = SessionId::from_random(7);
    let at = Where { session: Some(session), ..Where::default() };
    let hints = Hints { participants: Some(3), ..hints("standup") };
    let placed = world.placement.place(hints, at).await.unwrap();
    world.place("standup").await.unwrap();
    let kept = decisions(&world);
    assert_eq!(kept.len(), 1, "who joins decides nothing");
    let choice = &kept[0].choice;
    assert_eq!((choice.session, choice.cause, choice.config), (Some(session), Cause::New, 1));
    assert_eq!((choice.source, choice.request.reserve), (Source::Hint, Legs(9)));
    let pin = world.store.memory.lookup(&name("standup")).await.unwrap().unwrap();
    assert_eq!(kept[0].epoch, Some(pin.epoch));
    assert_eq!(kept[0].explain().chosen, Some(placed.backend));
    assert_eq!(kept[0].scene().decide(), kept[0].explain());
}

#[tokio::test(start_paused = true)]
async fn a_choice_that_came_too_late_has_no_epoch() {
    let world = World::seeded(3, 0).await;
    let home = settle(&world).await;
    *world.store.rival.lock().unwrap() =
        Some(Home { backend: id(home), incarnation: Incarnation(home as u64) });
    world.place("late").await.unwrap();
    let late = world.placement.decisions.last(Some(&name("late")), 10);
    assert_eq!(late.iter().map(|kept| kept.epoch).collect::<Vec<_>>(), [None]);
}

#[tokio::test(start_paused = true)]
async fn a_pin_of_a_lost_process_is_replaced() {
    let world = World::seeded(2, 0).await;
    let gone = Incarnation(77);
    world.store.memory.claim(&name("standup"), &id(0), gone).await.unwrap();
    world.place("standup").await.unwrap();
    let kept = decisions(&world);
    assert_eq!((kept.len(), kept[0].choice.cause), (1, Cause::Replaced));
}

#[tokio::test(start_paused = true)]
async fn one_that_finds_no_backend_is_kept_too() {
    let world = World::seeded(1, 0).await;
    world.fleet.fail(0, Health::Suspect).await;
    assert!(world.place("standup").await.is_err());
    let told = decisions(&world)[0].explain();
    assert_eq!((told.chosen, told.refused), (None, Some(NoBackend::NoneHealthy)));
}

#[tokio::test(start_paused = true)]
async fn who_was_avoided_in_vain_is_seen_as_it_was_in_the_end() {
    let world = World::seeded(1, 0).await;
    let at = Where { avoid: Some(id(0)), ..Where::default() };
    world.place_at("standup", at).await.unwrap();
    let told = decisions(&world)[0].explain();
    assert_eq!((told.chosen, told.fell), (Some(id(0)), vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_present_state_is_that_of_the_next_choice() {
    let world = World::seeded(5, 0).await;
    let _held = world.place("other").await.unwrap();
    assert!(world.placement.anywhere(None).is_ok());
    assert_eq!(
        world.placement.decisions.last(None, 10).len(),
        1,
        "any backend will do: no decision"
    );
    let mut scene = world.placement.scene();
    scene.request.key = key_of("standup");
    assert_eq!(scene.request.reserve, RESERVE);
    world.place("standup").await.unwrap();
    assert_eq!(decisions(&world)[0].scene(), scene);
}
