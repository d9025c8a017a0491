//! The built-in client and its stream of meetings, against a backend and through an edge.

use std::time::Duration;

use pinfold::load::{Counts, Meetings, MeetingsSettings, ScheduleSettings};
use pinfold::model::Draws;
use tokio_util::sync::CancellationToken;

use crate::e2e::harness::{Edge, KmsSim, wait_for, within_bound};

/// Short meetings, several at once.
fn settings(url: &str) -> MeetingsSettings {
    let schedule = ScheduleSettings {
        interval: Duration::from_millis(20),
        participants: 2..=5,
        stay: Duration::from_millis(5)..=Duration::from_millis(100),
    };
    MeetingsSettings { url: url.to_owned(), schedule, meetings_max: 8 }
}

/// Runs meetings at `url` until ten are over, then stops them.
async fn hold_meetings(url: &str) -> Counts {
    let stop = CancellationToken::new();
    let meetings = Meetings::new(settings(url), stop.clone());
    let watching = async {
        let enough = || async { (meetings.counts().meetings_ended >= 10).then_some(()) };
        wait_for("ten meetings", enough).await;
        stop.cancel();
    };
    let running = meetings.clone().run(Draws::seeded(1));
    within_bound("everyone leaves", async { tokio::join!(running, watching) }).await;
    meetings.counts()
}

#[tokio::test]
async fn meetings_work_against_a_backend_alone() {
    let [sim] = KmsSim::start_all(["a"]).await;
    let counts = hold_meetings(&sim.url).await;
    assert_eq!(counts.participants_failed, 0, "{counts:?}");
    assert_eq!(counts.meetings_started, counts.meetings_ended, "{counts:?}");
    assert!(counts.participants_served >= 2 * 10, "{counts:?}");
}

#[tokio::test]
async fn meetings_work_through_the_edge_on_all_its_backends() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let counts = hold_meetings(&edge.url).await;
    assert_eq!(counts.participants_failed, 0, "{counts:?}");
    assert!(counts.participants_served >= 2 * 10, "{counts:?}");
}

#[tokio::test]
async fn nobody_to_connect_to_is_counted_not_hidden() {
    let stop = CancellationToken::new();
    // Port 1 of loopback: nobody listens there.
    let meetings = Meetings::new(settings("ws://127.0.0.1:1/kurento"), stop.clone());
    let watching = async {
        let enough = || async { (meetings.counts().participants_failed >= 2).then_some(()) };
        wait_for("two failures", enough).await;
        stop.cancel();
    };
    tokio::join!(meetings.clone().run(Draws::seeded(1)), watching);
    assert_eq!(meetings.counts().participants_served, 0);
}
