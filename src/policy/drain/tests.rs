use std::collections::BTreeSet;

use super::*;
use crate::model::MeetingName;

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn here(name: &str, people: u32, legs: u32) -> Here {
    let id = MeetingId::Named(MeetingName::parse(name).unwrap());
    Here { id, epoch: 1, people, legs: Legs(legs), age: None, usual: None }
}

fn lasting(name: &str, age: u64, usual: u64) -> Here {
    Here { age: Some(minutes(age)), usual: Some(minutes(usual)), ..here(name, 2, 2) }
}

#[test]
fn a_meeting_is_expected_to_last_as_long_as_it_used_to() {
    for (age, usual, left) in [
        (Some(10), Some(60), Some(50)),
        (Some(58), Some(60), Some(15)),
        (Some(600), Some(60), Some(15)),
        (None, Some(60), Some(60)),
        (Some(10), None, None),
    ] {
        let (age, usual) = (age.map(minutes), usual.map(minutes));
        let meeting = Here { age, usual, ..here("m", 1, 1) };
        assert_eq!(meeting.left(), left.map(minutes), "{meeting:?}");
    }
}

#[test]
fn progress_tells_what_is_left_and_for_how_long() {
    let (short, long, new) = (lasting("s", 50, 60), lasting("l", 0, 60), here("n", 5, 9));
    for (meetings, deadline, left) in [
        (vec![], None, Some(0)),
        (vec![], Some(30), Some(0)),
        (vec![short.clone(), long.clone()], None, Some(60)),
        (vec![short.clone(), new.clone()], None, None),
        (vec![short.clone(), long.clone()], Some(120), Some(60)),
        // One of two is let go, at one a minute.
        (vec![short.clone(), long], Some(30), Some(31)),
        (vec![short, new], Some(30), Some(31)),
    ] {
        let people = meetings.iter().map(|meeting| meeting.people).sum();
        let progress = Progress::of(&meetings, deadline.map(minutes), 1.0 / 60.0);
        let count = u32::try_from(meetings.len()).unwrap();
        let left = left.map(minutes);
        assert_eq!(progress, Progress { meetings: count, people, left }, "{meetings:?}");
    }
}

#[test]
fn the_smallest_goes_first_and_the_next_after_a_pause() {
    let mut plan = Plan::new(2.0, Draws::seeded(1));
    let all = [here("big", 9, 9), here("b", 1, 4), here("a", 1, 4), here("light", 1, 1)];
    let mut now = Time::ZERO;
    for (count, expected) in ["light", "a", "b", "big"].into_iter().enumerate() {
        let left: Vec<_> = all.iter().filter(|m| !all_before(count, m)).collect();
        let next = plan.next(now, left.iter().copied()).unwrap();
        assert_eq!(next.id.to_string(), expected);
        assert_eq!(plan.next(now, left.iter().copied()), None, "the pace holds");
        now = now + Duration::from_millis(750);
    }
    assert_eq!(plan.next(now, []), None);
    assert!(plan.is_due(now), "nothing to let go costs no turn");
}

fn small(draws: &mut Draws, bound: usize) -> u32 {
    u32::try_from(draws.below(bound)).unwrap()
}

fn all_before(count: usize, meeting: &Here) -> bool {
    ["light", "a", "b", "big"][..count].contains(&&*meeting.id.to_string())
}

/// Whatever the sizes and however often it is asked: every meeting is let go once, the pace is kept,
/// and when all were there from the start none before a smaller one.
#[test]
fn a_rolling_move_ends_keeps_its_pace_and_goes_by_size() {
    for seed in 0..200 {
        let mut draws = Draws::seeded(seed);
        let mut left: Vec<Here> = (0..draws.below(40))
            .map(|n| here(&n.to_string(), small(&mut draws, 5), small(&mut draws, 3)))
            .collect();
        let (count, per_second) = (left.len(), [0.1, 2.0, 50.0][draws.below(3)]);
        let mut plan = Plan::new(per_second, Draws::seeded(draws.next()));
        let (mut now, mut gone, mut last) = (Time::ZERO, BTreeSet::new(), None);
        let mut sizes = Vec::new();
        while !left.is_empty() {
            if let Some(next) = plan.next(now, &left).cloned() {
                let pause = last.map_or(Duration::MAX, |last| now.since(last));
                assert!(pause.as_secs_f64() >= 0.499 / per_second, "seed {seed}: {pause:?}");
                last = Some(now);
                sizes.push((next.people, next.legs));
                assert!(gone.insert(next.id.clone()), "seed {seed}: twice");
                left.retain(|meeting| meeting.id != next.id);
            }
            now = now + Duration::from_millis(1 + draws.below(700) as u64);
        }
        assert!(gone.len() == count && sizes.is_sorted(), "seed {seed}: {sizes:?}");
        let most = count as f64 * (1.5 / per_second + 0.7);
        assert!(now.since(Time::ZERO).as_secs_f64() <= most + 0.7, "seed {seed}");
    }
}
