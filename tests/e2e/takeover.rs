//! A new process takes over from the one that runs: its clients go on there, and nobody loses anything.

mod crowd;

use std::time::Duration;

use futures_util::future::join_all;
use pinfold::load::{CallError, Client};
use serde_json::json;

use crate::e2e::harness::{Edge, KmsSim, Party, Process, TempDir, wait_for, within_bound};
use crowd::Crowd;

/// Clients that come back are not to be slowed down by one machine that does all the work.
const SOON: &str = "[shutdown]\nclose_window_ms = 2000\ndeadline_ms = 20000\n";

#[tokio::test]
async fn five_hundred_sessions_go_on_at_the_process_that_takes_over() {
    let sims = KmsSim::start_all(["a", "b", "c", "d"]).await;
    let edge = Edge::start_with(&sims, SOON, TempDir::create()).await;
    let mut crowd = Crowd::gather(&edge, 500).await;
    crowd.start();
    let (edge, mut old) = edge.take_over().await;
    assert!(old.exited().await.success(), "{}", old.stderr());
    crowd.finish(1).await.check(&edge, &sims).await;
}

#[tokio::test]
async fn one_process_after_another_takes_over() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let mut edge = Edge::start_with(&sims, SOON, TempDir::create()).await;
    let mut crowd = Crowd::gather(&edge, 50).await;
    crowd.start();
    for _ in 0..2 {
        let (next, mut old) = edge.take_over().await;
        assert!(old.exited().await.success(), "{}", old.stderr());
        edge = next;
    }
    crowd.finish(2).await.check(&edge, &sims).await;
}

/// The one in between passes on what the first still does, and ends after it.
#[tokio::test]
async fn the_last_of_three_processes_hears_of_what_the_first_still_does() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[pins]\ngrace_ms = 100\n\
                [shutdown]\nclose_window_ms = 600000\ndeadline_ms = 600000\n";
    let edge = Edge::start_with(&sims, more, TempDir::create()).await;
    // Each is closed at a moment of ten minutes; so one of them, at least, is there to the end.
    let clients = join_all((0..4).map(|_| edge.connect())).await;
    let making = clients.iter().map(|(client, _)| client.create_pipeline(Some("standup")));
    let pipelines: Vec<_> = join_all(making).await.into_iter().map(Result::unwrap).collect();
    let (edge, mut first) = edge.take_over().await;
    let (edge, mut second) = edge.take_over().await;
    let waits =
        || async { second.stderr().contains("waiting for the process before").then_some(()) };
    wait_for("the second waits", waits).await;
    let counts = |count: u64| {
        let edge = &edge;
        async move {
            let meetings = edge.meetings().await;
            let standup = meetings.iter().find(|row| row["id"] == "standup")?;
            (standup["pipelines"] == count).then_some(())
        }
    };
    wait_for("all are known to the last", || counts(4)).await;
    let mut left = 4;
    for ((client, _), pipeline) in clients.iter().zip(&pipelines) {
        let released = client.call("release", json!({"object": pipeline})).await;
        left -= u64::from(released.is_ok());
    }
    assert!(left < 4, "nobody is there any more");
    wait_for("the last has heard of it", || counts(left)).await;
    first.signal("TERM");
    first.signal("TERM");
    first.exited().await;
    assert!(second.exited().await.success(), "{}", second.stderr());
}

/// What `process` has told before it ended in failure.
async fn failure_of(mut process: Process) -> String {
    assert_eq!(process.exited().await.code(), Some(1));
    let told = || {
        let told = process.stderr();
        async move { told.contains("pinfold: ").then_some(told) }
    };
    wait_for("the reason", told).await
}

#[tokio::test]
async fn a_process_that_cannot_take_over_leaves_all_as_it_was() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let mut edge = Edge::start_with(&sims, SOON, TempDir::create()).await;
    let (client, mut events) = edge.connect().await;
    let party = Party::new(&client, "standup").await;
    let home = edge.backend_of("standup").await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = format!("[[listeners]]\naddr = \"{}\"\n", taken.local_addr().unwrap());
    let config = edge.config();
    let memory = config.clone() + "[pins]\nstore = \"memory\"\n";
    let elsewhere = config.clone() + "[pins]\nstate_dir = \"elsewhere\"\n";
    // A database that is there when the config is read, and none.
    let database = edge.dir().write("places.mmdb", "none").display().to_string();
    let database = format!("{config}[geoip]\ndatabases = [\"{database}\"]\n");
    for (name, config, reason) in [
        ("malformed", config.clone() + "[nonsense]\n", "cannot be used"),
        ("memory", memory, "pins in memory cannot be handed over"),
        ("elsewhere", elsewhere, "is pins.state_dir that of the running edge?"),
        ("taken", config.clone() + &taken, "cannot listen on"),
        ("database", database, "places.mmdb"),
    ] {
        let told = failure_of(edge.challenge(name, &config)).await;
        assert!(told.contains(reason), "{name}: {told}");
    }
    assert!(edge.process.is_running());
    party.is_whole(&client, &mut events).await;
    let other = client.create_pipeline(Some("standup")).await.unwrap();
    assert_eq!(edge.backend_of("standup").await, home);
    client.create_pipeline(Some("retro")).await.unwrap();
    // And the next takes over all the same.
    let (edge, mut old) = edge.take_over().await;
    assert!(old.exited().await.success(), "{}", old.stderr());
    let (client, mut events) = party.resume(&edge).await;
    party.is_whole(&client, &mut events).await;
    client.call("describe", json!({"object": other})).await.unwrap();
}

/// A backend that says nothing: a new process waits for it after it has taken the pins.
struct Silent(tokio::net::TcpListener);

impl Silent {
    async fn open() -> Self {
        Self(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The config of `edge` with this backend.
    fn config(&self, edge: &Edge) -> String {
        let (config, addr) = (edge.config(), self.0.local_addr().unwrap());
        format!("{config}[[backends]]\nid = \"silent\"\nurl = \"ws://{addr}/\"\n")
    }
}

#[tokio::test]
async fn pins_come_back_when_the_new_process_dies_before_it_is_ready() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start_with(&sims, SOON, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("standup")).await.unwrap();
    let silent = Silent::open().await;
    let mut new = edge.challenge("new.toml", &silent.config(&edge));
    let has_pins = || async { new.stderr().contains("pin store opened").then_some(()) };
    wait_for("it has the pins", has_pins).await;
    let waiting = client.create_pipeline(Some("retro"));
    new.signal("KILL");
    new.exited().await;
    within_bound("a new meeting", waiting).await.unwrap();
    // What was claimed is on disk: it is there after the worst.
    let home = edge.backend_of("retro").await;
    let mut edge = edge;
    edge.kill().await;
    let edge = edge.start_again().await;
    edge.becomes_ready().await;
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("retro")).await.unwrap();
    assert_eq!(edge.backend_of("retro").await, home);
}

/// What the new process has read at its start would not have it.
#[tokio::test]
async fn orders_are_refused_while_another_process_takes_over() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start_with(&sims, SOON, TempDir::create()).await;
    let silent = Silent::open().await;
    let mut new = edge.challenge("new.toml", &silent.config(&edge));
    let has_pins = || async { new.stderr().contains("pin store opened").then_some(()) };
    wait_for("it has the pins", has_pins).await;
    let drain = ("POST", "/api/v1/backends/a/drain");
    for order in [drain, ("POST", "/api/v1/backends/a/undrain"), ("POST", "/api/v1/reload")] {
        let (status, told) = edge.order(order, "{}".to_owned()).await;
        assert_eq!(status, 503, "{order:?}: {told}");
        assert!(
            told["error"].as_str().unwrap().contains("another process is taking over"),
            "{told}"
        );
    }
    new.signal("KILL");
    new.exited().await;
    let drained = || async { (edge.order(drain, "{}".to_owned()).await.0 == 200).then_some(()) };
    wait_for("orders are taken again", drained).await;
    // And one that was taken is in force at the next.
    let (edge, _old) = edge.take_over().await;
    let row = edge.backends().await.into_iter().find(|row| row["id"] == "a").unwrap();
    assert!(row["drain"].is_object(), "{row}");
}

#[tokio::test]
async fn nobody_is_there_to_take_over_from() {
    let sims = KmsSim::start_all(["a"]).await;
    let mut edge = Edge::start(&sims).await;
    let config = edge.config();
    edge.kill().await;
    let told = failure_of(edge.challenge("new.toml", &config)).await;
    assert!(told.contains("cannot be taken over from"), "{told}");
}

#[tokio::test]
async fn a_second_process_without_a_takeover_is_refused() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let path = edge.dir().write("second.toml", &edge.config());
    let second = Process::pinfold("second", &["serve", "--config", path.to_str().unwrap()]);
    let told = failure_of(second).await;
    assert!(told.contains("cannot listen on"), "{told}");
    Client::connect(&edge.url).await.unwrap();
}

/// Longer than clients take to come back, so that it shows that nothing waits for its end.
const BOUND: Duration = Duration::from_secs(10);

#[tokio::test]
async fn whoever_needs_a_pin_is_sent_on_at_once() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[shutdown]\nclose_window_ms = 600000\ndeadline_ms = 600000\n";
    let edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    let party = Party::new(&client, "standup").await;
    let (_idle, _events) = edge.connect().await;
    let (edge, mut old) = edge.take_over().await;
    // Its window is of ten minutes; this is one of the last.
    let asked = tokio::time::timeout(BOUND, client.create_pipeline(Some("retro"))).await;
    let Err(CallError::Ended(ending)) = asked.unwrap() else { panic!("it is not sent on") };
    assert_eq!(ending.code, Some(1001), "{ending}");
    let (client, mut events) = party.resume(&edge).await;
    party.is_whole(&client, &mut events).await;
    client.create_pipeline(Some("retro")).await.unwrap();
    assert!(old.is_running());
    old.signal("TERM");
    old.signal("INT");
    assert_eq!(old.exited().await.code(), Some(1), "forced by the second");
}
