//! A backend that was given up goes on as the same process, with all that it had: nobody is led back to
//! that, for the meetings are elsewhere by then.

use pinfold::load::Client;
use serde_json::json;

use super::world::{QUICK, Trouble, until};
use crate::e2e::harness::Edge;

/// Of somebody who is in the meeting and sleeps while its backend is given up.
struct Sleeper {
    session: String,
    /// What it has there: what somebody else made in the meeting, its own in the meeting, one of no meeting.
    pipelines: [String; 3],
}

impl Sleeper {
    async fn of(trouble: &Trouble) -> Self {
        let (client, _events) = trouble.edge.connect().await;
        let shared = trouble.party.pipeline.clone();
        client.invoke(&shared, "getName", json!({})).await.unwrap();
        let own = client.create_pipeline(Some(&trouble.meeting)).await.unwrap();
        let mut unnamed = client.create_pipeline(None).await.unwrap();
        while !trouble.a.has(&unnamed).await {
            unnamed = client.create_pipeline(None).await.unwrap();
        }
        let answer = client.call("keepAlive", json!({})).await.unwrap();
        let session = answer["sessionId"].as_str().unwrap().to_owned();
        Self { session, pipelines: [shared, own, unnamed] }
    }

    /// It wakes up, and wants to go on.
    async fn wake(&self, edge: &Edge) -> Client {
        let (client, _events) = edge.connect().await;
        client.call("connect", json!({"sessionId": self.session})).await.unwrap();
        client
    }
}

/// The backend of the meeting is given up, and the meeting goes on elsewhere.
async fn give_up(trouble: &Trouble) {
    trouble.a.process.stop().await;
    until(&trouble.edge, "a", "out_cause", "silent").await;
    trouble.client.create_pipeline(Some(&trouble.meeting)).await.unwrap();
    assert_eq!(trouble.edge.backend_of(&trouble.meeting).await, "b");
}

/// What was on `a` is there, and not for `client`, who finds the others.
async fn is_led_to_the_others(client: &Client, trouble: (&Edge, &Trouble, &[String])) {
    let (edge, Trouble { a, meeting, .. }, pipelines) = trouble;
    for pipeline in pipelines {
        assert!(a.has(pipeline).await, "the same process");
        let asked = client.invoke(pipeline, "getName", json!({})).await;
        assert_eq!(asked.unwrap_err().code(), Some(40101), "{pipeline}");
        client.call("release", json!({"object": pipeline})).await.unwrap();
        assert!(a.has(pipeline).await, "another edge may serve people there");
    }
    let rebuilt = client.create_pipeline(Some(meeting)).await.unwrap();
    assert!(!a.has(&rebuilt).await);
    assert_eq!(edge.backend_of(meeting).await, "b");
}

#[tokio::test]
async fn nobody_is_led_back_to_what_was_given_up() {
    let trouble = Trouble::start(&format!("{QUICK}[health]\ngive_up_ms = 700\n"), &[]).await;
    let sleeper = Sleeper::of(&trouble).await;
    give_up(&trouble).await;
    trouble.a.process.signal("CONT");
    until(&trouble.edge, "a", "health", "healthy").await;
    let client = sleeper.wake(&trouble.edge).await;
    is_led_to_the_others(&client, (&trouble.edge, &trouble, &sleeper.pipelines)).await;
    // Who was there all the time as well.
    let asked = trouble.client.invoke(&trouble.party.pipeline, "getName", json!({})).await;
    assert_eq!(asked.unwrap_err().code(), Some(40101));
}

#[tokio::test]
async fn nor_by_the_edge_that_is_started_in_place_of_the_one_that_gave_it_up() {
    let mut trouble = Trouble::start(&format!("{QUICK}[health]\ngive_up_ms = 700\n"), &[]).await;
    let sleeper = Sleeper::of(&trouble).await;
    give_up(&trouble).await;
    trouble.edge.kill().await;
    trouble.edge = trouble.edge.start_again().await;
    until(&trouble.edge, "b", "health", "healthy").await;
    trouble.a.process.signal("CONT");
    until(&trouble.edge, "a", "health", "healthy").await;
    let client = sleeper.wake(&trouble.edge).await;
    // That of no meeting is noted a moment after the loss, and the kill may come before.
    let of_meeting = &sleeper.pipelines[..2];
    is_led_to_the_others(&client, (&trouble.edge, &trouble, of_meeting)).await;
}
