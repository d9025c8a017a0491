//! What the score must be better at, in short versions of the cases; and the herds.

use super::*;

fn short_day() -> Case {
    Case { meetings: trace::day(3, 2, 1.0), ..Case::day(3, 1) }
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed| Case::day(seed, 1).run_strategy(Strategy::Score);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn the_score_is_near_and_does_not_overload() {
    let day = short_day();
    let [score, nearest, least, turns] =
        [Strategy::Score, Strategy::Nearest, Strategy::LeastLoad, Strategy::RoundRobin]
            .map(|strategy| day.run_strategy(strategy));
    assert!(score.km_p95 <= nearest.km_p95 * 1.1, "{score:?} {nearest:?}");
    assert!(score.km_p50 * 4.0 < turns.km_p50, "{score:?} {turns:?}");
    assert!(score.overload_minutes * 2.5 <= least.overload_minutes, "{score:?} {least:?}");
    assert!(score.overload_minutes * 2.5 <= nearest.overload_minutes, "{score:?} {nearest:?}");
}

/// Whoever sees load alone puts all empty rooms where little is going on; they fill all at once.
#[test]
fn early_teachers_overload_whoever_does_not_predict() {
    let case = Case::early_teachers();
    let [score, least] =
        [Strategy::Score, Strategy::LeastLoad].map(|strategy| case.run_strategy(strategy));
    assert!(least.overload_minutes > 1_000.0, "{least:?}");
    assert_eq!((score.overload_minutes, score.refused), (0.0, 0), "{score:?}");
}

/// Whoever goes by samples of some seconds ago puts all rooms onto the one that was least loaded.
#[test]
fn a_class_start_is_no_herd() {
    let case = Case::class_start();
    let [score, least] =
        [Strategy::Score, Strategy::LeastLoad].map(|strategy| case.run_strategy(strategy));
    assert!(least.herd >= 5.0 && least.overload_minutes > 1_000.0, "{least:?}");
    assert!(score.herd <= 2.5, "{score:?}");
    assert_eq!((score.overload_minutes, score.refused), (0.0, 0), "{score:?}");
}
