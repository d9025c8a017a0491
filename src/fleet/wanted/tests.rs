//! Which backends there are after each wish, and how each is to stay.

use super::*;
use crate::model::{Incarnation, Legs};
use crate::pins::BackendLoad;
use crate::policy::promise::Promise;
use crate::settings::{BackendUrl, ProbeSettings};

const NOW: Time = Time::ZERO;

fn backend(id: &str, url: &str) -> BackendSettings {
    let url = BackendUrl::parse(&format!("ws://{url}:8888/kurento")).unwrap();
    BackendSettings::new(BackendId::parse(id).unwrap(), url, Legs(10))
}

fn table(wanted: &[(&str, &str)]) -> FleetTable {
    let mut table = FleetTable::new(ProbeSettings::default().rules());
    want(&mut table, wanted);
    table
}

fn want(table: &mut FleetTable, wanted: &[(&str, &str)]) -> FleetChange {
    table.want(wanted.iter().map(|(id, url)| backend(id, url)).collect(), NOW).change
}

/// Each backend with its number and how it stays.
fn rows(table: &FleetTable) -> Vec<String> {
    let views = table.snapshot().backends;
    views.iter().map(|view| format!("{} {} {}", view.number, view.id, view.stay.as_str())).collect()
}

fn ids(names: &[&str]) -> Vec<BackendId> {
    names.iter().map(|name| BackendId::parse(name).unwrap()).collect()
}

/// A meeting on the backend of that id, until dropped.
fn meeting(table: &FleetTable, id: &str) -> crate::pins::Charge {
    let view = table.snapshot().backend(&ids(&[id])[0]).cloned().unwrap();
    let promise = Promise { legs: Legs(1), made: NOW };
    crate::pins::Charge::new(view.load.clone(), promise, std::time::Duration::from_secs(1))
}

#[test]
fn who_is_no_longer_wanted_stays_until_its_meetings_are_over() {
    let mut table = table(&[("a", "a"), ("b", "b")]);
    let talk = meeting(&table, "a");
    let change = want(&mut table, &[("c", "c")]);
    let expected = FleetChange {
        added: ids(&["c"]),
        leaving: ids(&["a"]),
        removed: ids(&["b"]),
        ..FleetChange::default()
    };
    assert_eq!(change, expected);
    assert_eq!(rows(&table), ["0 a leaving", "2 c open"]);
    assert!(table.is_moving() && !table.settle(NOW).change.is_news());
    let links = table.snapshot().backends[0].lost.clone();
    drop(talk);
    let moves = table.settle(NOW);
    moves.gone.iter().for_each(|(_, token)| token.cancel());
    assert!(links.is_cancelled(), "its links have no purpose any more");
    assert_eq!((rows(&table), table.is_moving()), (vec!["2 c open".to_owned()], false));
}

/// After a restart the order may come before the pins of the process before are judged.
#[test]
fn who_may_have_meetings_nobody_has_heard_of_is_not_removed() {
    let mut table = table(&[("a", "a"), ("b", "b")]);
    let expectation = table.expected.add(ids(&["a"])[0].clone());
    table.drain(&ids(&["a"])[0], (None, AfterDrain::Remove), NOW).unwrap();
    assert!(!table.settle(NOW).change.is_news());
    assert_eq!(rows(&table), ["0 a draining", "1 b open"]);
    let talk = meeting(&table, "a");
    drop(expectation);
    assert!(!table.settle(NOW).change.is_news(), "one came to light");
    drop(talk);
    assert_eq!(table.settle(NOW).change.removed, ids(&["a"]));
}

#[test]
fn who_is_wanted_again_before_it_has_gone_has_never_left() {
    let mut table = table(&[("a", "a")]);
    let _talk = meeting(&table, "a");
    want(&mut table, &[]);
    assert_eq!(rows(&table), ["0 a leaving"]);
    assert_eq!(want(&mut table, &[("a", "a")]).changed, ids(&["a"]));
    assert_eq!(rows(&table), ["0 a open"]);
}

/// Two rows for one id would make the pins of its meetings ambiguous, two for one server its load.
#[test]
fn another_url_or_another_name_waits_until_the_old_one_has_gone() {
    for (wanted, later) in [(("a", "new"), "1 a open"), (("other", "a"), "1 other open")] {
        let mut table = table(&[("a", "a")]);
        let talk = meeting(&table, "a");
        assert_eq!(want(&mut table, &[wanted]).waiting, ids(&[wanted.0]));
        assert_eq!(rows(&table), ["0 a leaving"]);
        drop(talk);
        assert_eq!(table.settle(NOW).change.added, ids(&[wanted.0]));
        assert_eq!(rows(&table), [later]);
    }
}

#[test]
fn what_the_config_says_anew_counts_at_once_and_health_stays() {
    let mut table = table(&[("a", "a")]);
    let row = table.rows.get_mut(&0).unwrap();
    row.view.incarnation = Some(Incarnation(7));
    let load: *const BackendLoad = &raw const *row.view.load;
    let mut other = backend("a", "a");
    (other.capacity, other.weight, other.drain) = (Legs(99), 7, true);
    assert_eq!(table.want(vec![other.clone()], NOW).change.changed, ids(&["a"]));
    let view = table.snapshot().backends[0].clone();
    assert_eq!((view.capacity, view.profile.weight, view.stay.as_str()), (Legs(99), 7, "draining"));
    assert_eq!((view.incarnation, &raw const *view.load), (Some(Incarnation(7)), load));
    assert!(!table.want(vec![other.clone()], NOW).change.is_news(), "nothing is new");
    assert_eq!(table.undrain(&view.id), Err(DrainError::Configured));
    other.drain = false;
    table.want(vec![other], NOW);
    assert_eq!(rows(&table), ["0 a open"]);
}

#[test]
fn an_operator_drains_and_changes_their_mind() {
    let mut table = table(&[("a", "a")]);
    let a = &ids(&["a"])[0];
    let _talk = meeting(&table, "a");
    table.drain(a, (Some(NOW), AfterDrain::Remove), NOW).unwrap();
    table.settle(NOW);
    assert_eq!(rows(&table), ["0 a draining"]);
    want(&mut table, &[("a", "a")]);
    assert_eq!(rows(&table), ["0 a draining"], "a reload does not end it");
    table.undrain(a).unwrap();
    assert_eq!(rows(&table), ["0 a open"]);
    assert_eq!(table.undrain(&ids(&["b"])[0]), Err(DrainError::Unknown));
    want(&mut table, &[]);
    assert_eq!(table.drain(a, (None, AfterDrain::Stay), NOW), Err(DrainError::Leaving));
}

#[test]
fn who_is_drained_to_be_removed_comes_back_when_that_is_taken_back_or_it_is_named_anew() {
    let a = &ids(&["a"])[0];
    let removed = || {
        let mut table = table(&[("a", "a"), ("b", "b")]);
        table.drain(a, (None, AfterDrain::Remove), NOW).unwrap();
        assert_eq!(table.settle(NOW).change.removed, ids(&["a"]));
        want(&mut table, &[("a", "a"), ("b", "b")]);
        assert_eq!(rows(&table), ["1 b open"], "the config still names it");
        table
    };
    let mut table = removed();
    table.undrain(a).unwrap();
    table.settle(NOW);
    assert_eq!(rows(&table), ["1 b open", "2 a open"]);
    let mut table = removed();
    want(&mut table, &[("b", "b")]);
    want(&mut table, &[("a", "a"), ("b", "b")]);
    assert_eq!(rows(&table), ["1 b open", "2 a open"]);
}

#[test]
fn how_often_it_was_lost_is_known_when_it_comes_again() {
    let mut table = table(&[("a", "a")]);
    table.remember(&[(ids(&["a"])[0].clone(), 3), (ids(&["b"])[0].clone(), 2)].into());
    want(&mut table, &[]);
    want(&mut table, &[("b", "b"), ("a", "a")]);
    assert_eq!((table.losses(1), table.losses(2)), (2, 3));
}
