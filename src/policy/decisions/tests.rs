//! What is kept, what goes, and that a decision can be made again.

use super::*;
use crate::model::{BackendId, Labels, Legs};
use crate::policy::choose::{NoBackend, WhenFull, key_of};

fn profiles(count: usize) -> Vec<Arc<Profile>> {
    let profile = |nth| Arc::new(Profile::new(BackendId::parse(&format!("kms-{nth}")).unwrap()));
    (0..count).map(profile).collect()
}

/// What is seen of backends that carry so many of 100 legs.
fn seen(legs: &[u32]) -> Vec<Seen> {
    let seen =
        |&legs| Seen { standing: Standing::Open, load: Load::of_legs(Legs(legs), Legs(100)) };
    legs.iter().map(seen).collect()
}

/// Makes the choice for `meeting` and keeps it.
fn decide(
    decisions: &mut Decisions,
    meeting: &str,
    (fleet, legs): (&[Arc<Profile>], &[u32]),
    when_full: WhenFull,
) -> u64 {
    let demands = Labels::default();
    let request = Request { key: key_of(meeting), place: None, reserve: Legs(4), demands, turn: 0 };
    let rules = Rules { when_full, ..Rules::default() };
    let seen = seen(legs);
    let candidates = fleet.iter().zip(&seen);
    let candidates = candidates.map(|(profile, seen)| Candidate {
        profile,
        standing: seen.standing,
        load: seen.load,
    });
    let outcome = Chooser::default().choose(&request, &rules, candidates);
    let choice = Choice {
        at: Time::from_micros(7),
        took: Duration::from_micros(3),
        meeting: MeetingName::parse(meeting).ok(),
        session: None,
        cause: Cause::New,
        source: Source::Default,
        config: 1,
        request,
        rules,
        outcome,
    };
    decisions.keep(choice, fleet.iter(), seen)
}

fn ids<'a>(kept: impl Iterator<Item = &'a Kept>) -> Vec<u64> {
    kept.map(|kept| kept.id).collect()
}

fn of(decisions: &Decisions, meeting: &str) -> Vec<u64> {
    ids(decisions.of_meeting(&MeetingName::parse(meeting).unwrap()))
}

#[test]
fn the_newest_come_first_and_the_oldest_go() {
    let fleet = profiles(2);
    let mut decisions = Decisions::new(3);
    let mut keep = |meeting| decide(&mut decisions, meeting, (&fleet, &[0, 50]), WhenFull::Reject);
    assert_eq!(["a", "b", "a", "", "a"].map(&mut keep), [1, 2, 3, 4, 5]);
    assert_eq!(ids(decisions.recent()), [5, 4, 3]);
    assert_eq!(of(&decisions, "a"), [5, 3]);
    assert!(of(&decisions, "b").is_empty(), "it has gone, and so has its meeting");
    assert_eq!(decisions.newest.len(), 1);
    assert!(decisions.of_id(2).is_none() && decisions.of_id(6).is_none());
    decisions.pinned(3, 9);
    decisions.pinned(1, 8);
    assert_eq!(decisions.of_id(3).unwrap().epoch, Some(9));
    assert_eq!(decisions.of_id(5).unwrap().epoch, None);
}

#[test]
fn fewer_are_kept_from_one_moment_to_the_next() {
    let fleet = profiles(2);
    let mut decisions = Decisions::new(3);
    for meeting in ["a", "b", "c"] {
        decide(&mut decisions, meeting, (&fleet, &[0, 50]), WhenFull::Reject);
    }
    decisions.set_max(1);
    assert_eq!(ids(decisions.recent()), [3]);
    assert_eq!(decisions.newest.len(), 1);
    decisions.set_max(2);
    decide(&mut decisions, "d", (&fleet, &[0, 50]), WhenFull::Reject);
    assert_eq!(ids(decisions.recent()), [4, 3]);
}

#[test]
fn none_are_kept_if_none_are_wanted() {
    let mut decisions = Decisions::new(0);
    decide(&mut decisions, "a", (&profiles(1), &[0]), WhenFull::Reject);
    assert_eq!((ids(decisions.recent()), of(&decisions, "a")), (vec![], vec![]));
    assert!(decisions.newest.is_empty());
}

#[test]
fn what_was_seen_is_bounded_and_shared() {
    let fleet = profiles(10);
    let mut decisions = Decisions { seen_max: 35, ..Decisions::new(100) };
    for _ in 0..50 {
        decide(&mut decisions, "full", (&fleet, &[99; 10]), WhenFull::Reject);
    }
    assert_eq!((decisions.kept.len(), decisions.seen_count), (50, 10));
    for legs in 0..5 {
        decide(&mut decisions, "a", (&fleet, &[legs; 10]), WhenFull::Reject);
    }
    assert_eq!((decisions.kept.len(), decisions.seen_count), (3, 30));
    let line_up = |kept: &Kept| Arc::as_ptr(&kept.profiles).cast::<()>();
    let all: Vec<_> = decisions.recent().map(line_up).collect();
    assert!(all.iter().all(|other| *other == all[0]), "one line-up for all");
    decide(&mut decisions, "a", (&profiles(50), &[0; 50]), WhenFull::Reject);
    assert_eq!(decisions.kept.len(), 1, "one is kept, however large");
    assert_eq!(decisions.seen_count, 50);
    assert_eq!(size_of::<Seen>(), 40, "as the settings and the documents say");
}

#[test]
fn a_kept_decision_is_explained_and_made_again() {
    let fleet = profiles(3);
    let mut decisions = Decisions::new(10);
    for (legs, when_full) in [
        ([0, 50, 99], WhenFull::Reject),
        ([99, 98, 99], WhenFull::Reject),
        ([99, 98, 99], WhenFull::Overflow),
        ([99, 98, 99], WhenFull::Queue),
    ] {
        let id = decide(&mut decisions, "standup", (&fleet, &legs), when_full);
        let kept = decisions.of_id(id).unwrap();
        assert_eq!(kept.explain(), kept.scene().decide());
    }
    let refused = decisions.of_id(2).unwrap().explain();
    assert_eq!((refused.chosen, refused.refused), (None, Some(NoBackend::AllFull)));
    let overflowed = decisions.of_id(3).unwrap().explain();
    assert_eq!(overflowed.chosen.unwrap().as_str(), "kms-1");
}

#[test]
fn a_meeting_that_waits_is_kept_once() {
    let fleet = profiles(1);
    let mut decisions = Decisions::new(10);
    let mut keep = |legs| decide(&mut decisions, "a", (&fleet, &[legs]), WhenFull::Queue);
    assert_eq!([99, 98, 99, 10].map(&mut keep), [1, 1, 1, 2]);
    assert_eq!(of(&decisions, "a"), [2, 1]);
}
