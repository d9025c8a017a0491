//! The edge is killed, or stands still, while its clients are at work: nothing of theirs is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use pinfold::load::{Client, Events};
use pinfold::model::Draws;
use serde_json::json;

use super::all_is_written;
use crate::e2e::harness::{Edge, KmsSim, Party, TempDir, wait_for, within_bound};

/// Meetings at the time of the kill.
const MEETINGS: usize = 200;

/// Of these so many have a second participant.
const OF_TWO: usize = 50;

/// Clients at work at once, so that the machine of a test has no more to do than it can.
const AT_ONCE: usize = 20;

/// How often the edge is killed while pipelines are made.
const KILLS: usize = 5;

fn name(number: usize) -> String {
    format!("meeting-{number}")
}

/// A participant, its meeting and its connection.
struct Participant {
    meeting: String,
    party: Party,
    connection: (Client, Events),
}

impl Participant {
    async fn new(edge: &Edge, meeting: String) -> Self {
        let connection = edge.connect().await;
        let party = Party::new(&connection.0, &meeting).await;
        Self { meeting, party, connection }
    }

    /// Comes back over another connection, and has all that it had.
    async fn come_back(&mut self, edge: &Edge) {
        self.connection = self.party.resume(edge).await;
        let (client, events) = &mut self.connection;
        self.party.is_whole(client, events).await;
    }
}

/// Awaits all, some at once.
async fn in_turns<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::stream::iter(all).buffer_unordered(AT_ONCE).collect().await
}

/// The pipelines of each backend, as it says itself.
async fn pipelines(sims: &[KmsSim]) -> Vec<BTreeSet<String>> {
    join_all(sims.iter().map(KmsSim::pipelines)).await
}

/// The backend that has `pipeline`.
fn home(pipelines: &[BTreeSet<String>], pipeline: &str) -> usize {
    let homes = pipelines.iter().enumerate().filter(|(_, all)| all.contains(pipeline));
    let homes: Vec<_> = homes.map(|(index, _)| index).collect();
    assert_eq!(homes.len(), 1, "{pipeline} is at {homes:?}");
    homes[0]
}

/// How many pipelines each meeting has that has any, as the edge says.
async fn counts(edge: &Edge) -> BTreeMap<String, u64> {
    let page = edge.api("meetings?limit=1000").await;
    let rows = page["meetings"].as_array().unwrap().iter();
    let count = |row: &serde_json::Value| row["pipelines"].as_u64().unwrap();
    let has_any = rows.filter(|row| count(row) > 0);
    has_any.map(|row| (row["id"].as_str().unwrap().to_owned(), count(row))).collect()
}

#[tokio::test]
async fn two_hundred_meetings_go_on_when_the_edge_is_killed() {
    let sims = KmsSim::start_all(["a", "b", "c", "d"]).await;
    let mut edge = Edge::start(&sims).await;
    let meetings = (0..MEETINGS).chain(0..OF_TWO).map(name);
    let mut all = in_turns(meetings.map(|meeting| Participant::new(&edge, meeting))).await;
    all_is_written(&edge).await;
    let before = pipelines(&sims).await;

    edge.kill().await;
    let edge = edge.start_again().await;
    // Those who were never there come first, maybe before any backend was heard from.
    let come = |meeting: String| {
        let url = format!("{}?meeting={meeting}", edge.url);
        async move {
            let (client, events) = Client::connect(&url).await.unwrap();
            let pipeline = client.create_pipeline(None).await.unwrap();
            (meeting, pipeline, (client, events))
        }
    };
    let newcomers = in_turns((0..MEETINGS).step_by(4).map(name).map(come)).await;
    let after = pipelines(&sims).await;
    let new: BTreeSet<_> = newcomers.iter().map(|(_, pipeline, _)| pipeline.clone()).collect();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(&(after - &new), before, "no pipeline is lost and none is from nowhere");
    }
    let home_of = |meeting: &str| {
        let one = all.iter().find(|one| one.meeting == meeting).unwrap();
        home(&after, &one.party.pipeline)
    };
    for (meeting, pipeline, _) in &newcomers {
        assert_eq!(home(&after, pipeline), home_of(meeting), "{meeting}");
    }

    // Nobody who was there has come back, and their pipelines count for their meetings.
    let mut wanted = BTreeMap::new();
    let old = all.iter().map(|one| &one.meeting);
    for meeting in old.chain(newcomers.iter().map(|(meeting, ..)| meeting)) {
        *wanted.entry(meeting.clone()).or_default() += 1;
    }
    let all_count = || async { (counts(&edge).await == wanted).then_some(()) };
    wait_for("every pipeline counts for its meeting", all_count).await;

    in_turns(all.iter_mut().map(|one| one.come_back(&edge))).await;
    assert_eq!(pipelines(&sims).await, after, "coming back makes and loses none");
    assert_eq!(counts(&edge).await, wanted);
}

/// Pipelines that clients were told of, by meeting.
type Told = BTreeMap<String, Vec<String>>;

/// Every meeting is on one backend, and nothing that a client was told of is lost.
async fn assert_none_is_split(sims: &[KmsSim], told: &Told) {
    let pipelines = pipelines(sims).await;
    for (meeting, made) in told {
        let homes: BTreeSet<_> = made.iter().map(|one| home(&pipelines, one)).collect();
        assert_eq!(homes.len(), 1, "{meeting} is split over {homes:?}");
    }
}

/// Clients make pipelines of the same meetings all at once, and the edge is killed after so many
/// answers.
async fn kill_among_creates(edge: &mut Edge, told: &mut Told, (meetings, answers): (usize, usize)) {
    let connections = join_all((0..4).map(|_| edge.connect())).await;
    let creates = (0..meetings).flat_map(|number| {
        connections.iter().map(move |(client, _)| async move {
            let meeting = name(number);
            let made = client.create_pipeline(Some(&meeting)).await;
            made.map(|pipeline| (meeting, pipeline))
        })
    });
    let mut creates: FuturesUnordered<_> = creates.collect();
    let mut add = |(meeting, pipeline)| told.entry(meeting).or_default().push(pipeline);
    for _ in 0..answers {
        add(creates.next().await.unwrap().unwrap());
    }
    let rest = async {
        let rest: Vec<_> = creates.collect().await;
        // Those that were on their way when it died, and those that were not.
        rest.into_iter().filter_map(Result::ok).for_each(&mut add);
    };
    join(edge.kill(), rest).await;
}

#[tokio::test]
async fn no_meeting_is_split_by_kills_while_pipelines_are_made() {
    const SEED: u64 = 7;
    let sims = KmsSim::start_all(["a", "b", "c", "d"]).await;
    let mut edge = Edge::start(&sims).await;
    let mut draws = Draws::seeded(SEED);
    let mut told = Told::new();
    for round in 0..KILLS {
        // Old meetings and new ones.
        let meetings = 20 * (round + 1);
        let answers = draws.below(meetings * 4 - 10);
        kill_among_creates(&mut edge, &mut told, (meetings, answers)).await;
        assert_none_is_split(&sims, &told).await;
        edge = edge.start_again().await;
        edge.becomes_ready().await;
    }
    let (client, _events) = edge.connect().await;
    for (meeting, made) in &mut told {
        made.push(client.create_pipeline(Some(meeting)).await.unwrap());
    }
    assert_none_is_split(&sims, &told).await;
}

/// Longer than all the time that a backend has for an answer to a probe, below.
const STILL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn clients_go_on_after_the_edge_stood_still() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let more = "[probe]\ninterval_ms = 100\ntimeout_ms = 200\n";
    let edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let all = in_turns((0..10).map(name).map(|meeting| Participant::new(&edge, meeting)));
    let mut all = all.await;
    let before = counts(&edge).await;

    edge.process.freeze().await;
    let calls = join_all(all.iter().map(|one| {
        let (client, party) = (&one.connection.0, &one.party);
        client.invoke(&party.pipeline, "getName", json!({}))
    }));
    let mut calls = Box::pin(calls);
    let early = tokio::time::timeout(STILL, &mut calls).await;
    assert!(early.is_err(), "it stands still");
    edge.process.signal("CONT");
    for (name, one) in within_bound("the answers", calls).await.into_iter().zip(&all) {
        assert_eq!(name.unwrap(), one.party.pipeline);
    }
    for Participant { party, connection: (client, events), .. } in &mut all {
        party.is_whole(client, events).await;
    }
    assert_eq!(counts(&edge).await, before);
    edge.becomes_ready().await;
}
