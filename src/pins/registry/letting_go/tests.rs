use super::*;
use crate::pins::registry::tests::{GRACE, ONE, World, backend, name, pin};
use crate::pins::{Begun, Home};
use crate::policy::access::Access;

fn id(meeting: &str) -> MeetingId {
    MeetingId::Named(name(meeting))
}

fn pipeline(number: u128) -> PipelineId {
    PipelineId::from_u128(number)
}

#[test]
fn nobody_joins_a_meeting_that_is_let_go_until_its_pin_is_removed() {
    let world = World::new();
    world.create("m", 1);
    world.create("m", 2);
    world.create("other", 3);
    world.begin("m");
    let pipelines = world.registry.let_go(&id("m"), 1).unwrap();
    assert_eq!(pipelines, [pipeline(1), pipeline(2)]);
    assert_eq!(world.registry.let_go(&id("m"), 1), None, "once");
    assert_eq!(world.begin("m"), Begun::Ending);
    assert_eq!(world.registry.pin(&name("m")), None);
    assert_eq!(world.registry.hold(pipeline(1), &Access::All), None);
    assert!(!world.registry.created(&name("m"), 1, pipeline(4)), "it was being made");
    let ended = world.registry.let_gone(&id("m"), 1, world.now);
    assert_eq!((ended.pins, ended.over), (vec![(name("m"), 1)], vec![]));
    assert_eq!(world.begin("m"), Begun::Ending, "the store still has the pin");
    world.registry.unpinned(&name("m"), 1);
    let charge = world.charge();
    assert_eq!(world.registry.begin(&name("m"), &pin(2), charge), Begun::Adopted);
    assert!(!world.registry.created(&name("m"), 1, pipeline(5)), "of the pin before");
    world.registry.not_created(&name("m"), 1, world.now);
    assert!(world.registry.created(&name("m"), 2, pipeline(6)));
    assert_eq!(world.load(), (8, 2, 2), "of two meetings one person each");
}

#[test]
fn what_was_let_go_is_not_found_again() {
    let world = World::new();
    world.create_unnamed(1);
    let unnamed = MeetingId::Pipeline(pipeline(1));
    assert_eq!(world.registry.let_go(&unnamed, 0), Some(vec![pipeline(1)]));
    let ended = world.registry.let_gone(&unnamed, 0, world.now);
    assert_eq!((ended.pins, ended.pipelines), (vec![], vec![pipeline(1)]));
    assert_eq!((world.registry.len(), world.load()), ((0, 0), (0, 0, 0)));
    let home = Home { backend: backend(), incarnation: ONE };
    assert!(!world.registry.created_unnamed(home, world.charge(), pipeline(1)));
    assert!(world.registry.was_let_go(pipeline(1)) && !world.registry.was_let_go(pipeline(2)));
}

#[test]
fn a_loss_overtakes_a_letting_go() {
    let world = World::new();
    world.create("m", 1);
    world.registry.let_go(&id("m"), 1).unwrap();
    assert_eq!(world.registry.drop_backend(&backend(), ONE).pins, [(name("m"), 1)]);
    assert_eq!(world.registry.let_gone(&id("m"), 1, world.now), Ended::default());
    assert_eq!(world.load(), (0, 0, 0));
}

#[test]
fn another_pin_of_the_meeting_is_not_let_go() {
    let world = World::new();
    world.create("m", 1);
    assert_eq!(world.registry.let_go(&id("m"), 2), None);
    assert_eq!(world.registry.let_go(&id("nobody"), 1), None);
    world.registry.confirm(&name("m"), 1);
    assert_eq!(world.begin("m"), Begun::Joined);
}

#[test]
fn what_was_let_go_is_forgotten_at_its_bound() {
    let mut forbidden = Forbidden::default();
    for number in 0..=FORBIDDEN_MAX as u128 {
        forbidden.add(pipeline(number), Why::LetGo);
        forbidden.add(pipeline(number), Why::LetGo);
    }
    assert_eq!((forbidden.all.len(), forbidden.order.len()), (FORBIDDEN_MAX, FORBIDDEN_MAX));
    assert!(!forbidden.all.contains_key(&pipeline(0)));
    assert_eq!(forbidden.forgotten, [pipeline(0)]);
}

#[test]
fn what_was_lost_with_its_backend_is_not_found_on_it_again() {
    let world = World::new();
    world.create("m", 1);
    world.create_unnamed(2);
    let mut lost = world.registry.drop_backend(&backend(), ONE).pipelines;
    lost.sort_unstable();
    assert_eq!(lost, [pipeline(1), pipeline(2)]);
    for remnant in lost {
        assert!(world.registry.is_forbidden(remnant));
        assert!(!world.registry.was_let_go(remnant), "its session is told of the loss");
        assert_eq!(world.registry.hold(remnant, &Access::All), None);
        let home = Home { backend: backend(), incarnation: ONE };
        assert!(!world.registry.created_unnamed(home, world.charge(), remnant));
    }
    let charge = world.charge();
    assert_eq!(world.registry.begin(&name("m"), &pin(2), charge), Begun::Adopted);
    world.registry.confirm(&name("m"), 2);
    assert!(!world.registry.created(&name("m"), 2, pipeline(1)));
    assert!(!world.registry.adopt_pipeline((&name("m"), 2), pipeline(1), world.charge()));
    assert!(world.registry.created(&name("m"), 2, pipeline(3)));
}

#[test]
fn a_letting_go_leaves_nothing_to_expire() {
    let mut world = World::new();
    world.create("m", 1);
    world.registry.unhold(pipeline(1), world.now);
    world.registry.let_go(&id("m"), 1).unwrap();
    let _ = world.registry.let_gone(&id("m"), 1, world.now);
    world.registry.unpinned(&name("m"), 1);
    assert!(world.pass(GRACE.as_secs()).is_empty());
    assert_eq!(world.load(), (0, 0, 0));
}
