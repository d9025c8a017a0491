use std::path::Path;

use super::*;
use crate::fleet::stub::{StubFleet, id};
use crate::fleet::{Drain, DrainedBy};
use crate::model::Legs;
use crate::runtime::Clock;

/// A file of one test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn of(test: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp");
        fs::create_dir_all(&dir).unwrap();
        Self(dir.join(format!("drains-{}-{test}.json", std::process::id())))
    }

    fn open(&self) -> Drains {
        Drains::open(Some(self.0.clone())).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = fs::remove_file(&self.0);
    }
}

fn drain_of(fleet: &StubFleet, index: usize) -> Option<Drain> {
    match fleet.handle.snapshot().backend(&id(index)).unwrap().stay {
        Stay::Draining(drain) => Some(drain),
        Stay::Open | Stay::Leaving => None,
    }
}

#[tokio::test]
async fn an_order_holds_beyond_a_restart_until_it_is_taken_back() {
    let place = Place::of("restart");
    let clock = Clock::start();
    let hour = Duration::from_secs(3_600);
    {
        let fleet = StubFleet::start(2, Legs(9));
        let drains = place.open();
        let how = (Some(hour), AfterDrain::Stay);
        drains.drain(&fleet.handle, id(0), how, &clock).await.unwrap();
        drains.drain(&fleet.handle, id(1), (None, AfterDrain::Stay), &clock).await.unwrap();
        drains.undrain(&fleet.handle, id(1)).await.unwrap();
        let unknown = drains.drain(&fleet.handle, id(7), how, &clock).await;
        assert_eq!(unknown, Err(DrainError::Unknown));
    }
    let fleet = StubFleet::start(2, Legs(9));
    let drains = place.open();
    drains.enforce(&fleet.handle, &clock).await;
    let Drain { deadline, then, by, .. } = drain_of(&fleet, 0).unwrap();
    assert_eq!((then, by), (AfterDrain::Stay, DrainedBy::Operator));
    let left = deadline.unwrap().since(clock.now());
    assert!(left <= hour && left > hour / 2, "{left:?}");
    assert_eq!(drain_of(&fleet, 1), None);
    drains.undrain(&fleet.handle, id(0)).await.unwrap();
    drains.enforce(&fleet.handle, &clock).await;
    assert_eq!(drain_of(&fleet, 0), None);
    assert!(place.open().lock().is_empty());
}

#[tokio::test]
async fn an_order_waits_for_a_backend_that_is_away_and_can_be_taken_back_then() {
    let place = Place::of("away");
    let clock = Clock::start();
    {
        let fleet = StubFleet::start(3, Legs(9));
        let how = (None, AfterDrain::Remove);
        place.open().drain(&fleet.handle, id(2), how, &clock).await.unwrap();
    }
    let fleet = StubFleet::start(2, Legs(9));
    let drains = place.open();
    drains.enforce(&fleet.handle, &clock).await;
    assert_eq!(drains.lock().len(), 1);
    drains.undrain(&fleet.handle, id(2)).await.unwrap();
    assert_eq!(drains.undrain(&fleet.handle, id(2)).await, Err(DrainError::Unknown));
}

#[tokio::test]
async fn without_a_file_orders_end_with_the_process() {
    let (fleet, clock) = (StubFleet::start(1, Legs(9)), Clock::start());
    let drains = Drains::default();
    drains.drain(&fleet.handle, id(0), (None, AfterDrain::Stay), &clock).await.unwrap();
    assert!(drain_of(&fleet, 0).is_some());
}

#[test]
fn a_file_that_is_not_ours_is_an_error_and_none_is_none() {
    let place = Place::of("foreign");
    assert!(place.open().lock().is_empty());
    for text in ["", "[", "[]", r#"{"a":{"removes":true,"x":1}}"#, r#"{" ":{"removes":true}}"#] {
        fs::write(&place.0, text).unwrap();
        assert!(Drains::open(Some(place.0.clone())).is_err(), "{text}");
    }
}
