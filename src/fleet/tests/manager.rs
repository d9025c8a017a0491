//! What control connections do for the manager: they measure, and bring events.

use super::*;
use crate::model::Usage;
use crate::protocol::event::{Change, ObjectEvent};

const A: &str = "aaaaaaaa-0000-4000-8000-000000000001_kurento.MediaPipeline";

fn event(change: Change) -> ObjectEvent {
    ObjectEvent::new(change, A.to_owned(), "7".to_owned())
}

async fn hears(listener: &mut ObjectEvents, expected: ObjectEvent) {
    let heard = timeout(PATIENCE, listener.next()).await.expect("an event comes");
    assert_eq!(heard, Some(Heard::Event(Arc::new(expected))));
}

#[tokio::test]
async fn a_backend_is_measured_at_its_interval_and_counted_once() {
    let server = Server::start(Mood::Answers("one")).await;
    let probe = ProbeSettings { sample: Duration::from_millis(30), ..quick() };
    let mut watched = Watched::start(&server.url, &probe);
    let view = watched.until(Health::Healthy).await;
    until("three measurements", || server.count("getUsedCpu") >= 3).await;
    let usage = Usage { cpu_count: Some(4), cpu_percent: Some(12.5), memory_kb: Some(70_516) };
    until("the measurement is shown", || view.usage.last() == usage).await;
    assert_eq!(server.count("getCpuCount"), 1);
    let (pings, samples) = (server.count("ping"), server.count("getUsedCpu"));
    assert!(samples <= pings + 1, "{samples} measurements, {pings} probes");
    assert_eq!(server.count("subscribe"), 0, "nobody listens");
}

#[tokio::test]
async fn between_its_intervals_a_backend_is_not_measured() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &ProbeSettings { sample: NEVER, ..quick() });
    watched.until(Health::Healthy).await;
    until("ten probes", || server.pings() >= 10).await;
    assert_eq!(server.count("getUsedCpu"), 1, "the first, when the connection was opened");
}

#[tokio::test]
async fn events_are_brought_while_somebody_listens() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &ProbeSettings { sample: NEVER, ..quick() });
    watched.until(Health::Healthy).await;
    let mut one = watched.fleet.listen();
    one.all_heard().await;
    assert_eq!(server.count("subscribe"), 2, "before anybody takes it for granted");
    let mut two = watched.fleet.listen();
    for change in Change::ALL {
        server.send(&event(change).text);
        hears(&mut one, event(change)).await;
        hears(&mut two, event(change)).await;
    }
    drop(one);
    let probes = server.pings();
    until("more probes", || server.pings() >= probes + 2).await;
    assert_eq!((server.count("subscribe"), server.count("unsubscribe")), (2, 0));
    drop(two);
    until("the end of both subscriptions", || server.count("unsubscribe") == 2).await;

    let mut again = watched.fleet.listen();
    again.all_heard().await;
    assert_eq!(server.count("subscribe"), 4);
    server.send(&event(Change::Created).text);
    hears(&mut again, event(Change::Created)).await;
}

#[tokio::test]
async fn a_backend_that_comes_back_is_subscribed_before_it_counts() {
    let server = Server::start(Mood::Dead).await;
    let mut watched = Watched::start(&server.url, &ProbeSettings { sample: NEVER, ..quick() });
    watched.until(Health::Ejected).await;
    let mut listener = watched.fleet.listen();
    listener.all_heard().await;
    server.turn(Mood::Answers("one"));
    watched.until(Health::Healthy).await;
    assert_eq!(server.count("subscribe"), 2);
    server.send(&event(Change::Created).text);
    hears(&mut listener, event(Change::Created)).await;
}

/// Whoever releases the manager ends everybody's subscriptions without a word.
#[tokio::test]
async fn subscriptions_are_made_anew_with_every_measurement() {
    let server = Server::start(Mood::Answers("one")).await;
    let probe = ProbeSettings { sample: Duration::from_millis(30), ..quick() };
    let mut watched = Watched::start(&server.url, &probe);
    watched.until(Health::Healthy).await;
    let _listener = watched.fleet.listen();
    until("new subscriptions", || server.count("subscribe") >= 6).await;
    until("the end of the old", || server.count("unsubscribe") >= 4).await;
}

#[tokio::test]
async fn a_frozen_backend_does_not_keep_listeners_waiting_for_long() {
    let server = Server::start(Mood::Answers("one")).await;
    let probe = ProbeSettings { timeout: Duration::from_millis(200), sample: NEVER, ..quick() };
    let mut watched = Watched::start(&server.url, &probe);
    watched.until(Health::Healthy).await;
    server.turn(Mood::Frozen);
    let listener = watched.fleet.listen();
    timeout(PATIENCE, listener.all_heard()).await.expect("it gives up on the frozen one");
}
