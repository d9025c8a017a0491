//! Laws of every choice, and what single rules do.

use super::Strategy;
use super::*;
use crate::model::{BackendId, Draws};
use crate::policy::load::RAMP_MIN;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::Strategy as _;

fn stand(name: &str, load: u32, capacity: u32) -> Stand {
    let load = Load::of_legs(Legs(load), Legs(capacity));
    Stand { profile: Profile::new(BackendId::parse(name).unwrap()), standing: Standing::Open, load }
}

fn at(mut stand: Stand, latitude: f64, longitude: f64) -> Stand {
    stand.profile.place = Place::from_degrees(latitude, longitude);
    stand
}

fn scene(backends: Vec<Stand>) -> Scene {
    let demands = Labels::default();
    let request = Request { key: 1, place: None, reserve: Legs(4), demands, turn: 0 };
    Scene { config: 1, request, rules: Rules::default(), backends }
}

fn chosen(scene: &Scene) -> Option<String> {
    scene.decide().chosen.map(|id| id.to_string())
}

/// How often `which` is chosen by 200 meetings.
fn wins(scene: &Scene, which: &BackendId) -> usize {
    let chooses = |key: &u64| {
        let request =
            Request { key: key_of(&key.to_string()), turn: *key, ..scene.request.clone() };
        Scene { request, ..scene.clone() }.decide().chosen.as_ref() == Some(which)
    };
    (0..200u64).filter(chooses).count()
}

#[test]
fn the_near_one_is_taken_until_its_load_is_worth_the_way() {
    let near = |load| at(stand("near", load, 1_000), 48.9, 2.4);
    let paris = |near| {
        let mut scene = scene(vec![near, at(stand("far", 100, 1_000), 52.5, 13.4)]);
        scene.request.place = Place::from_degrees(48.86, 2.35);
        scene
    };
    // Berlin is 880 km from Paris: by the curve that is what an idle backend is worth at 69 %.
    assert_eq!(chosen(&paris(near(600))).unwrap(), "near");
    assert_eq!(chosen(&paris(near(850))).unwrap(), "far");
    let mut nearest = paris(near(990));
    nearest.rules.strategy = Strategy::Nearest;
    assert_eq!(chosen(&nearest).unwrap(), "near");
    nearest.rules.km_weight = 0.0;
    nearest.rules.strategy = Strategy::Score;
    assert_eq!(chosen(&nearest).unwrap(), "far");
}

#[test]
fn the_price_counts_at_its_rate() {
    let mut dear = stand("dear", 0, 1_000);
    dear.profile.price = 5.0;
    let mut scene = scene(vec![dear, stand("cheap", 600, 1_000)]);
    assert_eq!(chosen(&scene).unwrap(), "cheap");
    scene.rules.price_weight_km = 10.0;
    assert_eq!(chosen(&scene).unwrap(), "dear");
}

#[test]
fn each_filter_keeps_out_and_is_told() {
    let mut all = vec![stand("a", 0, 100); 7];
    all[0].standing = Standing::PassedOver;
    all[1].standing = Standing::Unhealthy;
    all[2].standing = Standing::Draining;
    all[3].load.is_reported = false;
    all[4] = stand("full", 97, 100);
    all[5] = stand("none", 0, 0);
    for one in &mut all[..5] {
        one.profile.labels = Labels::parse(&["residency=eu"]).unwrap();
    }
    let mut scene = scene(all);
    scene.request.demands = Labels::parse(&["residency=eu"]).unwrap();
    let decision = scene.decide();
    assert_eq!((decision.chosen, decision.refused), (None, Some(NoBackend::AllFull)));
    let fell: Vec<_> = decision.fell.iter().map(|fallen| (fallen.by, fallen.count)).collect();
    let expected = [
        (Filter::PassedOver, 1),
        (Filter::Unhealthy, 1),
        (Filter::Draining, 1),
        (Filter::Labels, 2),
        (Filter::Unreported, 1),
        (Filter::Room, 1),
    ];
    assert_eq!(fell, expected);
    scene.rules.when_full = WhenFull::Overflow;
    let decision = scene.decide();
    assert!(decision.is_overflow && decision.refused.is_none());
    assert_eq!(decision.chosen.unwrap().as_str(), "full");
    scene.rules.when_full = WhenFull::Queue;
    let decision = scene.decide();
    assert_eq!((decision.chosen, decision.refused), (None, None));
}

#[test]
fn nobody_is_refused_for_the_wrong_reason() {
    assert_eq!(scene(vec![]).decide().refused, Some(NoBackend::NoneHealthy));
    let mut draining = scene(vec![stand("a", 0, 100)]);
    draining.backends[0].standing = Standing::Draining;
    draining.rules.when_full = WhenFull::Overflow;
    assert_eq!(draining.decide().refused, Some(NoBackend::NoneHealthy));
    let mut elsewhere = scene(vec![stand("a", 0, 100)]);
    elsewhere.request.demands = Labels::parse(&["residency=eu"]).unwrap();
    elsewhere.rules.when_full = WhenFull::Overflow;
    assert_eq!(elsewhere.decide().refused, Some(NoBackend::NoneLabelled));
}

#[test]
fn the_last_legs_of_a_backend_are_given_away() {
    let mut scene = scene(vec![stand("a", 396, 400)]);
    assert_eq!(chosen(&scene).unwrap(), "a");
    scene.backends = vec![stand("a", 397, 400)];
    assert_eq!(chosen(&scene), None);
}

#[test]
fn round_robin_takes_turns_by_name_and_passes_over_the_closed() {
    let mut scene = scene(vec![stand("c", 0, 100), stand("a", 90, 100), stand("b", 100, 100)]);
    scene.rules.strategy = Strategy::RoundRobin;
    let turns = (0..4).map(|turn| {
        scene.request.turn = turn;
        chosen(&scene).unwrap()
    });
    assert_eq!(turns.collect::<Vec<_>>(), ["a", "c", "a", "c"]);
}

/// 100 meetings at once over 10 equal backends, by an edge that sees its own choices.
#[test]
fn a_herd_spreads() {
    for seed in 0..50 {
        let mut draws = Draws::seeded(seed);
        let backends = (0..10).map(|nth| stand(&format!("kms-{nth}"), 0, 400)).collect();
        let mut scene = scene(backends);
        for _ in 0..100 {
            scene.request.key = draws.next();
            let chosen = scene.decide().chosen.unwrap();
            let load = scene.backends.iter_mut().find(|one| one.profile.id == chosen).unwrap();
            load.load.feared += 0.01;
            load.load.measured += 0.01;
        }
        let most = scene.backends.iter().map(|one| one.load.measured).fold(0.0, f64::max);
        assert!(most < 0.145, "seed {seed}: {most}");
    }
}

#[test]
fn a_decision_tells_of_sixteen_and_counts_the_rest() {
    let backends = (0..100).map(|nth| stand(&format!("kms-{nth:02}"), nth, 80)).collect();
    let decision = scene(backends).decide();
    assert_eq!(decision.rows.len(), ROWS_MAX);
    assert_eq!(decision.candidates, 100);
    assert_eq!(decision.fell, [Fallen { by: Filter::Room, count: 23 }]);
    let first: Vec<_> = decision.rows.iter().take(2).map(|row| &row.backend).collect();
    assert!(decision.drawn.iter().all(|drawn| first.contains(&drawn)));
    let costs: Vec<f64> = decision.rows[2..].iter().map(|row| row.terms.cost).collect();
    assert!(costs.is_sorted());
}

fn any_stand() -> impl proptest::strategy::Strategy<Value = Stand> {
    let standing = prop_oneof![
        6 => Just(Standing::Open),
        1 => Just(Standing::Unhealthy),
        1 => Just(Standing::Draining),
        1 => Just(Standing::PassedOver),
    ];
    let place = proptest::option::of((-90.0..90.0f64, -180.0..180.0f64));
    let label = prop_oneof![Just("eu"), Just("us")];
    let load = (0u32..500, 0u32..500, RAMP_MIN..1.0f64, prop::bool::weighted(0.9), 0.0..0.3f64);
    (standing, place, 1u8..5, 0.0..5.0f64, label, load).prop_map(
        |(standing, place, weight, price, label, (used, capacity, ramp, is_reported, doubt))| {
            let mut stand = stand("x", used, capacity);
            stand.profile.place = place.and_then(|(lat, lon)| Place::from_degrees(lat, lon));
            (stand.profile.weight, stand.profile.price) = (weight, price);
            stand.profile.labels = Labels::parse(&[format!("residency={label}")]).unwrap();
            (stand.load.ramp, stand.load.is_reported) = (ramp, is_reported);
            stand.load.feared = stand.load.measured + doubt;
            Stand { standing, ..stand }
        },
    )
}

fn any_scene() -> impl proptest::strategy::Strategy<Value = Scene> {
    let strategy = prop_oneof![
        4 => Just(Strategy::Score),
        1 => Just(Strategy::Nearest),
        1 => Just(Strategy::LeastLoad),
        1 => Just(Strategy::RoundRobin),
        1 => Just(Strategy::Rendezvous),
    ];
    let full = prop_oneof![Just(WhenFull::Reject), Just(WhenFull::Queue), Just(WhenFull::Overflow)];
    let place = proptest::option::of((-90.0..90.0f64, -180.0..180.0f64));
    let rules = (strategy, full, 0.0..3.0f64, 0.0..5_000.0f64);
    let request = (any::<u64>(), place, 0u32..50, any::<bool>(), any::<u64>());
    let backends = proptest::collection::vec(any_stand(), 0..12);
    (rules, request, backends).prop_map(|(rules, request, mut backends)| {
        for (nth, stand) in backends.iter_mut().enumerate() {
            let id = BackendId::parse(&format!("kms-{nth}")).unwrap();
            let parts = Profile::new(id);
            stand.profile = Profile { id: parts.id, key: parts.key, ..stand.profile.clone() };
        }
        let (strategy, when_full, km_weight, band_km) = rules;
        let (key, place, reserve, is_demanding, turn) = request;
        let place = place.and_then(|(lat, lon)| Place::from_degrees(lat, lon));
        let demands = if is_demanding { vec!["residency=eu"] } else { vec![] };
        let demands = Labels::parse(&demands).unwrap();
        Scene {
            config: 7,
            request: Request { key, place, reserve: Legs(reserve), demands, turn },
            rules: Rules { strategy, when_full, km_weight, band_km, ..Rules::default() },
            backends,
        }
    })
}

proptest! {
    #[test]
    fn a_choice_never_breaks_a_filter(scene in any_scene()) {
        let decision = scene.decide();
        let chosen = scene.backends.iter().find(|one| Some(&one.profile.id) == decision.chosen.as_ref());
        let Some(chosen) = chosen else { return Ok(()) };
        prop_assert_eq!(chosen.standing, Standing::Open);
        prop_assert!(chosen.load.is_reported);
        prop_assert!(chosen.profile.labels.satisfy(&scene.request.demands));
        let has_room = chosen.load.has_room(scene.request.reserve, scene.rules.hard);
        prop_assert!(has_room != decision.is_overflow);
    }

    #[test]
    fn somebody_is_chosen_if_anybody_can_be(scene in any_scene()) {
        let can = |one: &Stand| {
            one.candidate().falls_by(&scene.request, scene.rules.hard).is_none()
        };
        let decision = scene.decide();
        let is_chosen = decision.chosen.is_some() && !decision.is_overflow;
        prop_assert_eq!(is_chosen, scene.backends.iter().any(can));
    }

    #[test]
    fn more_load_never_makes_a_backend_more_likely(
        scene in any_scene(), which: Index, more in 0.001..1.0f64,
    ) {
        prop_assume!(!scene.backends.is_empty());
        let which = which.index(scene.backends.len());
        let id = scene.backends[which].profile.id.clone();
        let mut loaded = scene.clone();
        loaded.backends[which].load.measured += more;
        loaded.backends[which].load.feared += more;
        if scene.rules.strategy != Strategy::RoundRobin {
            // Not only by chance: for no meeting at all.
            let (before, after) = (scene.decide(), loaded.decide());
            prop_assert!(after.chosen.as_ref() != Some(&id) || before.chosen.as_ref() == Some(&id)
                || after.is_overflow);
        }
        prop_assert!(wins(&loaded, &id) <= wins(&scene, &id) || loaded.decide().is_overflow);
    }

    #[test]
    fn the_order_of_the_candidates_is_of_no_importance(scene in any_scene(), seed: u64) {
        let mut draws = Draws::seeded(seed);
        let mut shuffled = scene.clone();
        for last in (1..shuffled.backends.len()).rev() {
            shuffled.backends.swap(last, draws.below(last + 1));
        }
        prop_assert_eq!(shuffled.decide(), scene.decide());
    }

    #[test]
    fn a_scene_that_was_written_down_gives_the_same_decision(scene in any_scene()) {
        let text = serde_json::to_string(&scene).unwrap();
        let again: Scene = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&again, &scene);
        let decision = again.decide();
        prop_assert_eq!(&decision, &scene.decide());
        let text = serde_json::to_string(&decision).unwrap();
        prop_assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
    }
}
