//! What people read.

use super::*;
use crate::model::{Labels, Legs};
use crate::policy::choose::{Profile, Request, Rules, Scene, Stand, Standing, WhenFull, key_of};
use crate::policy::load::Load;
use geoip::Place;

fn stand(name: &str, legs: u32, place: (f64, f64)) -> Stand {
    let mut profile = Profile::new(BackendId::parse(name).unwrap());
    profile.place = Place::from_degrees(place.0, place.1);
    let load = Load::of_legs(Legs(legs), Legs(400));
    Stand { profile, standing: Standing::Open, load }
}

fn scene() -> Scene {
    let (paris, berlin) = ((48.9, 2.4), (52.5, 13.4));
    let mut backends = vec![
        stand("kms-paris", 40, paris),
        stand("kms-paris-2", 120, paris),
        stand("kms-berlin", 10, berlin),
        stand("kms-full", 400, paris),
        stand("kms-down", 0, berlin),
    ];
    backends[1].profile.price = 1.0;
    backends[4].standing = Standing::Unhealthy;
    let (place, demands) = (Place::from_degrees(48.86, 2.35), Labels::default());
    let request = Request { key: key_of("standup"), place, reserve: Legs(16), demands, turn: 1 };
    Scene { config: 1, request, rules: Rules::default(), backends }
}

#[test]
fn a_decision_is_told_with_its_terms() {
    let expected = "\
meeting   standup
strategy  score: distance, load and price in one number
drawn     kms-paris-2, kms-paris by key d10b407097aef4b5; the cheaper is taken
left out  1 unhealthy, 1 without room, of 5
config    1
";
    let told = text(&scene().decide(), vec![fact("meeting", "standup")]);
    assert_eq!(told.split_once("\n\n").unwrap().0.to_owned() + "\n", expected);
    assert!(told.contains("\nkms-paris    chosen  "), "{told}");
}

#[test]
fn one_that_finds_no_backend_says_why() {
    let mut scene = scene();
    scene.backends.drain(..3);
    let told = |scene: &Scene| outcome(&scene.decide());
    assert_eq!(told(&scene), "none: all are full");
    scene.rules.when_full = WhenFull::Overflow;
    assert_eq!(told(&scene), "kms-full, the least bad: all are full");
    scene.rules.when_full = WhenFull::Queue;
    assert_eq!(told(&scene), "none yet: all are full, and it waits");
    scene.backends.remove(0);
    assert_eq!(told(&scene), "none: none takes new meetings");
    scene.request.place = None;
    let all = text(&scene.decide(), Vec::new());
    assert!(all.contains("not known: distance counts for nothing") && !all.contains("drawn"));
}

#[test]
fn a_large_fleet_is_cut_short() {
    let mut scene = scene();
    scene.backends = (0..20).map(|nth| stand(&format!("kms-{nth}"), 0, (0.0, 0.0))).collect();
    let told = text(&scene.decide(), Vec::new());
    assert!(told.ends_with("\nand 4 more\n"), "{told}");
}
