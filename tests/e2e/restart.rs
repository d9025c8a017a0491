//! An edge that is killed and started again on what it has left on disk.

mod at_work;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures_util::future::join_all;
use pinfold::load::{CallError, Client};
use serde_json::json;

use crate::e2e::harness::{Edge, KmsSim, Party, Process, TempDir, wait_for};

/// Meetings at the time of the kill.
const MEETINGS: usize = 40;

fn name(number: usize) -> String {
    format!("meeting-{number}")
}

/// Makes a pipeline of each meeting, all at once; returns where each is, when all that is on disk.
async fn fill(edge: &Edge) -> Vec<String> {
    let (client, _events) = edge.connect().await;
    let names: Vec<_> = (0..MEETINGS).map(name).collect();
    let creating = names.iter().map(|meeting| client.create_pipeline(Some(meeting)));
    for created in join_all(creating).await {
        created.unwrap();
    }
    all_is_written(edge).await;
    homes(edge).await
}

/// What is made now is on disk with all that was made before.
async fn all_is_written(edge: &Edge) {
    let (client, _events) = edge.connect().await;
    let last = client.create_pipeline(Some("the-last")).await.unwrap();
    client.call("release", json!({"object": last})).await.unwrap();
}

async fn homes(edge: &Edge) -> Vec<String> {
    let mut homes = Vec::new();
    for number in 0..MEETINGS {
        homes.push(edge.backend_of(&name(number)).await);
    }
    homes
}

/// Kills `edge` without a warning and starts another on what it has left.
async fn kill_and_restart(mut edge: Edge, sims: &[KmsSim], more: &str) -> Edge {
    edge.kill().await;
    Edge::start_with(sims, more, edge.into_dir()).await
}

#[tokio::test]
async fn meetings_stay_where_they_are_when_the_edge_is_killed() {
    let sims = KmsSim::start_all(["a", "b", "c"]).await;
    let edge = Edge::start(&sims).await;
    let before = fill(&edge).await;
    let edge = kill_and_restart(edge, &sims, "").await;
    // Newcomers, before anybody who was there comes back.
    assert_eq!(fill(&edge).await, before);
}

#[tokio::test]
async fn a_backend_that_the_config_names_no_more_keeps_its_meetings() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let mut edge = Edge::start(&sims).await;
    let (client, _events) = edge.connect().await;
    let party = Party::new(&client, "standup").await;
    let home = edge.backend_of("standup").await;
    let other = if home == "a" { &sims[1] } else { &sims[0] };
    all_is_written(&edge).await;
    edge.kill().await;
    let configured = [(other.id.as_str(), other.url.as_str())];
    let edge = Edge::start_unready(&configured, "", edge.into_dir()).await;
    let (client, mut events) = party.resume(&edge).await;
    party.is_whole(&client, &mut events).await;
    client.create_pipeline(Some("standup")).await.unwrap();
    assert_eq!(edge.backend_of("standup").await, home);
    for number in 0..4 {
        client.create_pipeline(Some(&name(number))).await.unwrap();
        assert_eq!(edge.backend_of(&name(number)).await, other.id, "it gets no new ones");
    }
    let row = edge.backends().await.into_iter().find(|row| row["id"] == home).unwrap();
    assert_eq!(row["source"], "past", "{row}");
}

#[tokio::test]
async fn a_backend_that_was_lost_and_came_back_keeps_its_new_meetings_only() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let more = "[probe]\ninterval_ms = 100\ntimeout_ms = 200\n[health]\ngive_up_ms = 300\n\
                [placement]\nband_km = 0\nslow_start_ms = 0\n";
    let edge = Edge::start_with(&sims, more, TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("first")).await.unwrap();
    let home = edge.backend_of("first").await;
    let (at, other) = if home == "a" { (0, "b") } else { (1, "a") };
    sims[at].process.freeze().await;
    let ejected = || async {
        let backends = edge.backends().await;
        (backends[at]["health"] == "ejected").then_some(())
    };
    wait_for("the backend is ejected", ejected).await;
    // Moved to the other one, while the first is away.
    client.create_pipeline(Some("first")).await.unwrap();
    assert_eq!(edge.backend_of("first").await, other);
    sims[at].process.signal("CONT");
    edge.becomes_ready().await;
    client.create_pipeline(Some("second")).await.unwrap();
    assert_eq!(edge.backend_of("second").await, home, "the idle one");

    let edge = kill_and_restart(edge, &sims, more).await;
    let (client, _events) = edge.connect().await;
    for meeting in ["second", "first"] {
        client.create_pipeline(Some(meeting)).await.unwrap();
    }
    assert_eq!(edge.backend_of("second").await, home);
    assert_eq!(edge.backend_of("first").await, other);
}

#[tokio::test]
async fn pins_that_nobody_comes_back_for_end() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    fill(&edge).await;
    for sim in &sims {
        let (direct, _events) = Client::connect(&sim.url).await.unwrap();
        for pipeline in sim.pipelines().await {
            direct.call("release", json!({"object": pipeline})).await.unwrap();
        }
    }
    let mut edge = kill_and_restart(edge, &sims, "[pins]\ngrace_ms = 1\n").await;
    let opened = format!("pins={}", MEETINGS + 1);
    assert!(edge.process.stderr().contains(&opened), "{}", edge.process.stderr());
    let is_over = || async {
        let is_judged = edge.process.stderr().contains("all judged");
        (is_judged && edge.meetings().await.is_empty()).then_some(())
    };
    wait_for("no meeting is left", is_over).await;
    edge.process.signal("TERM");
    edge.process.exited().await;
    let edge = Edge::start_with(&sims, "", edge.into_dir()).await;
    assert!(edge.process.stderr().contains("pins=0"), "{}", edge.process.stderr());
}

/// Waits until what nobody uses was ended, after this.
async fn sweep(edge: &Edge, client: &Client) {
    let pipeline = client.create_pipeline(Some("canary")).await.unwrap();
    client.call("release", json!({"object": pipeline})).await.unwrap();
    let is_gone = || async {
        let gone = edge.meetings().await.iter().all(|meeting| meeting["id"] != "canary");
        gone.then_some(())
    };
    wait_for("the end of an unused meeting", is_gone).await;
}

#[tokio::test]
async fn a_pin_lives_as_long_as_its_pipelines_though_nobody_comes_back() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let edge = Edge::start(&sims).await;
    let before = fill(&edge).await;
    let mut edge = kill_and_restart(edge, &sims, "[pins]\ngrace_ms = 1\n").await;
    let judged = || async { edge.process.stderr().contains("all judged").then_some(()) };
    wait_for("the pins are judged", judged).await;
    let (client, _events) = edge.connect().await;
    sweep(&edge, &client).await;
    sweep(&edge, &client).await;
    assert_eq!(homes(&edge).await, before);

    for sim in &sims {
        for pipeline in sim.pipelines().await {
            client.call("release", json!({"object": pipeline})).await.unwrap();
        }
    }
    let is_over = || async { edge.meetings().await.is_empty().then_some(()) };
    wait_for("no meeting is left", is_over).await;
    edge.process.signal("TERM");
    edge.process.exited().await;
    let edge = Edge::start_with(&sims, "", edge.into_dir()).await;
    assert!(edge.process.stderr().contains("pins=0"), "{}", edge.process.stderr());
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_edge_starts() {
    let sims = KmsSim::start_all(["a"]).await;
    let dir = TempDir::create();
    let state = dir.path().join("pinfold-state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("pins.redb"), b"no database at all").unwrap();
    let edge = Edge::start_with(&sims, "", dir).await;
    fill(&edge).await;
    let aside = files(&state).into_iter().find(|file| file.contains("unusable")).unwrap();
    assert_eq!(fs::read(state.join(aside)).unwrap(), b"no database at all");
    assert!(edge.process.stderr().contains("is set aside"), "{}", edge.process.stderr());
    let edge = kill_and_restart(edge, &sims, "").await;
    let all = || async { (edge.meetings().await.len() > MEETINGS).then_some(()) };
    wait_for("the meetings of the new file", all).await;
}

fn files(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_second_edge_on_the_same_state_is_refused() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let config = edge.dir().path().join("pinfold.toml");
    let mut second = Process::pinfold("second", &["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(second.exited().await.code(), Some(1));
    let told = || async { second.stderr().contains("in use by another process").then_some(()) };
    wait_for("the reason", told).await;
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("standup")).await.unwrap();
}

#[tokio::test]
async fn what_is_on_disk_is_for_the_owner_alone_and_memory_leaves_nothing_there() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start(&sims).await;
    let state = edge.dir().path().join("pinfold-state");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("pins.redb"))), (0o700, 0o600));
    let edge = Edge::start_with(&sims, "[pins]\nstore = \"memory\"\n", TempDir::create()).await;
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("standup")).await.unwrap();
    assert_eq!(files(edge.dir().path()), ["pinfold.toml"]);
}

/// Kibibytes that the pin file may have: the library begins with 1,032, room for some thousand pins.
const CRAMPED_KIB: u32 = 1_100;

/// Meetings made at once on a cramped disk.
const AT_ONCE: usize = 100;

/// More than there is room for.
const TOO_MANY: usize = 10_000;

/// A name as long as it may be, to fill the file soon.
fn long_name(number: usize) -> String {
    format!("{number:0>250}")
}

/// Makes meetings and releases their pipelines, so that only their pins stay, until the log says that
/// pins cannot be written. Returns the refusals.
async fn fill_the_disk(edge: &Edge) -> Vec<CallError> {
    let (client, _events) = edge.connect().await;
    let client = &client;
    let make = |number| async move {
        let pipeline = client.create_pipeline(Some(&long_name(number))).await?;
        client.call("release", json!({"object": pipeline})).await.map(drop)
    };
    let mut refused = Vec::new();
    for first in (0..TOO_MANY).step_by(AT_ONCE) {
        let made = join_all((first..first + AT_ONCE).map(make)).await;
        refused.extend(made.into_iter().filter_map(Result::err));
        if edge.process.stderr().contains("pins cannot be written") {
            return refused;
        }
    }
    panic!("the disk took {TOO_MANY} pins");
}

#[tokio::test]
async fn a_full_disk_refuses_new_meetings_and_leaves_no_pipeline_behind() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_cramped(&sims, ("", CRAMPED_KIB), TempDir::create()).await;
    let refused = fill_the_disk(&edge).await;
    assert!(!refused.is_empty());
    for error in refused {
        assert!(error.to_string().contains("pin store is away"), "{error}");
    }
    let (client, _events) = edge.connect().await;
    let new = client.create_pipeline(Some("new")).await.unwrap_err();
    assert_eq!(new.code(), Some(40009));
    client.create_pipeline(Some(&long_name(0))).await.unwrap();
    client.create_pipeline(None).await.unwrap();
    let (direct, _events) = Client::connect(&sims[0].url).await.unwrap();
    let pipelines = json!({"object": "manager_ServerManager", "operation": "getPipelines"});
    let left = || async {
        let left = direct.call("invoke", pipelines.clone()).await.unwrap();
        (left["value"].as_array().unwrap().len() == 2).then_some(())
    };
    wait_for("only those two pipelines are left", left).await;
}

#[tokio::test]
async fn a_full_disk_stops_nobody_if_the_operator_wants_it_so() {
    let sims = KmsSim::start_all(["a"]).await;
    let more = "[pins]\nwhen_away = \"serve\"\n";
    let edge = Edge::start_cramped(&sims, (more, CRAMPED_KIB), TempDir::create()).await;
    assert_eq!(fill_the_disk(&edge).await.len(), 0);
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("new")).await.unwrap();
}
