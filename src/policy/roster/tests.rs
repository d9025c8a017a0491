//! What the fleet is to be after what sources said, as tables; then many made-up histories.

use super::*;
use crate::model::Draws;

const HOLD: Duration = Duration::from_secs(60);

fn roster() -> Roster<u32> {
    Roster::new(HOLD, 8)
}

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn offer(id: &str, url: &str) -> Offer<u32> {
    Offer { id: BackendId::parse(id).unwrap(), url: url.to_owned(), backend: 0 }
}

/// Offers whose URL is their id.
fn offers(ids: &[&str]) -> Vec<Offer<u32>> {
    ids.iter().map(|id| offer(id, id)).collect()
}

fn dns() -> Source {
    Source::Dns("address media".into())
}

/// Ids of the members at that time, if these answer probes.
fn members(roster: &mut Roster<u32>, seconds: u64, answering: &[&str]) -> Vec<String> {
    let wanted = roster.wanted(at(seconds), |id| answering.contains(&id.as_str()));
    wanted.members.iter().map(|member| member.offer.id.to_string()).collect()
}

#[test]
fn an_operators_word_counts_at_once() {
    let mut roster = roster();
    for source in [Source::Config, Source::Api] {
        roster.set(&source, offers(&["a", "b"]));
        assert_eq!(members(&mut roster, 0, &[]), ["a", "b"]);
        roster.set(&source, offers(&["b"]));
        assert_eq!(members(&mut roster, 0, &["a", "b"]), ["b"]);
        roster.set(&source, vec![]);
        assert!(members(&mut roster, 0, &["b"]).is_empty());
    }
}

#[test]
fn a_fleet_begins_with_all_that_a_process_before_knew() {
    let mut roster = Roster::new(Duration::ZERO, 8);
    roster.restore(&dns(), offer("a", "a"), at(0));
    roster.restore(&Source::Past, offer("b", "b"), at(0));
    let ids =
        |wanted: Wanted<u32>| wanted.members.into_iter().map(|member| member.offer.id.to_string());
    assert_eq!(ids(roster.known()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(members(&mut roster, 0, &[]).is_empty(), "without a hold nobody stays for long");
}

#[test]
fn who_is_withdrawn_goes_after_the_hold_whether_it_answers_or_not() {
    let mut roster = roster();
    roster.hear(&dns(), offers(&["a", "b", "c"]), true, at(0));
    roster.hear(&dns(), offers(&["a"]), true, at(10));
    assert_eq!(roster.deadline(at(10)), Some(at(70)));
    assert_eq!(members(&mut roster, 69, &["b"]), ["a", "b", "c"]);
    roster.hear(&dns(), offers(&["a", "c"]), true, at(69));
    assert_eq!(members(&mut roster, 70, &["b"]), ["a", "c"], "c is named again");
    assert_eq!(roster.deadline(at(70)), None);
}

#[test]
fn a_source_that_says_nothing_removes_only_who_does_not_answer() {
    for is_whole in [true, false] {
        let mut roster = roster();
        roster.hear(&dns(), offers(&["a", "b"]), true, at(0));
        roster.hear(&dns(), vec![], is_whole, at(10));
        roster.hear(&dns(), vec![], is_whole, at(40));
        assert_eq!(members(&mut roster, 69, &[]), ["a", "b"], "held");
        assert_eq!(members(&mut roster, 1_000, &["a", "b"]), ["a", "b"], "they answer");
        assert_eq!(members(&mut roster, 1_000, &["b"]), ["b"]);
        roster.hear(&dns(), offers(&["c"]), true, at(1_010));
        assert_eq!(members(&mut roster, 1_069, &[]), ["c", "b"], "b is withdrawn now, and held");
        assert_eq!(members(&mut roster, 1_070, &["b"]), ["c"]);
    }
}

#[test]
fn half_an_answer_withdraws_nobody() {
    let mut roster = roster();
    roster.hear(&dns(), offers(&["a", "b"]), true, at(0));
    roster.hear(&dns(), offers(&["a"]), false, at(10));
    assert_eq!(members(&mut roster, 100, &["b"]), ["a", "b"]);
    assert_eq!(members(&mut roster, 100, &[]), ["a"]);
}

#[test]
fn a_backend_that_registered_stays_until_it_has_gone_and_does_not_answer() {
    let mut roster = roster();
    roster.name(&Source::Registrar, offer("a", "a"));
    assert_eq!(members(&mut roster, 1_000, &[]), ["a"], "its connection is open");
    roster.fall_silent(&Source::Registrar, "a", at(1_000));
    assert_eq!(members(&mut roster, 1_059, &[]), ["a"]);
    roster.name(&Source::Registrar, offer("a", "a"));
    assert_eq!(members(&mut roster, 1_100, &[]), ["a"], "it is back");
    roster.fall_silent(&Source::Registrar, "a", at(1_100));
    assert_eq!(members(&mut roster, 2_000, &["a"]), ["a"], "it answers");
    assert!(members(&mut roster, 2_000, &[]).is_empty());
}

#[test]
fn what_a_process_before_knew_is_held() {
    let mut roster = roster();
    roster.restore(&dns(), offer("a", "a"), at(0));
    roster.restore(&Source::Registrar, offer("b", "b"), at(0));
    roster.restore(&Source::Past, offer("c", "c"), at(0));
    assert_eq!(members(&mut roster, 59, &[]), ["a", "b", "c"]);
    roster.hear(&dns(), offers(&["a"]), true, at(59));
    assert_eq!(members(&mut roster, 60, &["c"]), ["a"], "c was leaving");
}

#[test]
fn one_url_is_one_backend_and_the_first_source_says_what_it_is() {
    let mut roster = roster();
    roster.name(&Source::Registrar, offer("by-registrar", "x"));
    roster.hear(&dns(), vec![offer("by-dns", "x")], true, at(0));
    roster.hear(&Source::File("f".into()), vec![offer("by-file", "x")], true, at(0));
    roster.set(&Source::Api, vec![offer("by-api", "x")]);
    roster.set(&Source::Config, vec![offer("by-config", "x")]);
    for (drop, expected) in [
        (Source::Config, "by-config"),
        (Source::Api, "by-api"),
        (Source::File("f".into()), "by-file"),
        (dns(), "by-dns"),
        (Source::Registrar, "by-registrar"),
    ] {
        assert_eq!(members(&mut roster, 0, &[]), [expected]);
        roster.retain_sources(|source| *source != drop);
    }
    assert!(members(&mut roster, 0, &[]).is_empty());
}

#[test]
fn one_id_is_one_backend_and_the_other_is_told() {
    let mut roster = roster();
    roster.set(&Source::Config, vec![offer("a", "x")]);
    roster.name(&Source::Registrar, offer("a", "y"));
    let wanted = roster.wanted(at(0), |_| true);
    assert_eq!(wanted.members.len(), 1);
    assert_eq!(
        wanted.refusals[0].to_string(),
        "a at y, named by registrar: another backend has that id"
    );
    // A file that gives an id another URL means it: who only stays makes room.
    let file = Source::File("f".into());
    roster.hear(&file, vec![offer("b", "old")], true, at(0));
    roster.hear(&file, vec![offer("b", "new")], true, at(1));
    let wanted = roster.wanted(at(1), |_| true);
    assert_eq!(wanted.members[1].offer.url, "new");
}

#[test]
fn the_bound_keeps_who_came_first_of_the_first_source() {
    let mut roster = Roster::new(HOLD, 3);
    for url in ["d", "c", "b", "a"] {
        roster.name(&Source::Registrar, offer(url, url));
    }
    assert_eq!(members(&mut roster, 0, &[]), ["d", "c", "b"], "a is not even remembered");
    roster.set(&Source::Config, offers(&["z"]));
    assert_eq!(members(&mut roster, 0, &[]), ["z", "d", "c"]);
    let wanted = roster.wanted(at(0), |_| true);
    assert!(matches!(wanted.refusals[..], [Refusal::TooMany { max: 3, .. }]));
}

/// One step of a made-up history, after which no promise may be broken.
fn step(roster: &mut Roster<u32>, named: &mut BTreeMap<String, Time>, draw: u64, now: Time) {
    let url = |n: u64| format!("u{}", n % 6);
    // The id of a URL differs by source, so that ids and URLs clash in all ways.
    let offer_of = |n: u64| offer(&format!("i{}", (n + draw % 2) % 5), &url(n));
    let sources = [Source::Registrar, dns(), Source::File("f".into())];
    let source = &sources[(draw >> 8) as usize % 3];
    let picked: Vec<u64> = (0..6).filter(|n| draw >> (16 + n) & 1 == 1).collect();
    match draw >> 32 & 3 {
        0 | 1 => {
            named.extend(picked.iter().map(|n| (url(*n), now)));
            let offers = picked.into_iter().map(offer_of).collect();
            roster.hear(source, offers, draw >> 40 & 1 == 1, now);
        }
        2 => {
            named.insert(url(draw), now);
            roster.name(source, offer_of(draw));
        }
        _ => roster.fall_silent(source, &url(draw), now),
    }
}

#[test]
fn nobody_goes_before_the_hold_is_over_and_all_are_different() {
    for seed in 0..200 {
        let mut draws = Draws::seeded(seed);
        let (mut roster, mut named) = (Roster::new(HOLD, 6), BTreeMap::new());
        let (mut now, mut before) = (at(0), Vec::<Member<u32>>::new());
        for _ in 0..100 {
            // Who was named in the step before counts as named until now.
            let names = named.clone();
            step(&mut roster, &mut named, draws.next(), now);
            now = now + Duration::from_secs(draws.next() % 40);
            let answering = draws.next();
            let answers =
                |id: &BackendId| answering >> id.as_str()[1..].parse::<u32>().unwrap() & 1 == 1;
            let wanted = roster.wanted(now, answers);
            let ids: BTreeSet<_> = wanted.members.iter().map(|one| &one.offer.id).collect();
            let urls: BTreeSet<_> = wanted.members.iter().map(|one| &one.offer.url).collect();
            assert!(ids.len() == wanted.members.len() && urls.len() == ids.len(), "seed {seed}");
            for gone in before.iter().filter(|one| !urls.contains(&one.offer.url)) {
                let is_over = now.since(names[&gone.offer.url]) >= HOLD;
                let makes_room = ids.contains(&gone.offer.id);
                let is_refused = wanted.refusals.iter().any(|refusal| match refusal {
                    Refusal::SameId { url, .. } | Refusal::TooMany { url, .. } => {
                        *url == gone.offer.url
                    }
                });
                assert!(is_over || makes_room || is_refused, "seed {seed}: {gone:?} {wanted:?}");
            }
            before = wanted.members;
        }
    }
}
