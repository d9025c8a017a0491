//! A config that is changed while the edge runs: what it says holds, and nobody loses anything.

mod fleet;
mod live;
mod mistakes;
mod sockets;

use std::pin::pin;

use pinfold::load::Client;
use serde_json::{Value, json};

use crate::e2e::harness::{Edge, KmsSim, TempDir, wait_for};

/// Settings under which files are read again only when a test says so.
const BY_HAND: &str = "[reload]\nwatch_ms = 0\n";

/// An edge before `sims` with `more` settings: keys of its listener, then tables.
async fn start(sims: &[KmsSim], more: &str) -> Edge {
    Edge::start_with(sims, &format!("{more}{BY_HAND}"), TempDir::create()).await
}

/// Gives the edge the same backends with `more` settings, by hand; returns the keys that changed.
async fn reload(edge: &Edge, sims: &[KmsSim], more: &str) -> Result<Vec<String>, String> {
    rewrite(edge, sims, &format!("{more}{BY_HAND}"));
    edge.reload().await
}

fn rewrite(edge: &Edge, sims: &[KmsSim], more: &str) {
    let urls: Vec<_> = sims.iter().map(|one| (one.id.as_str(), one.url.as_str())).collect();
    edge.rewrite(&urls, more);
}

/// The same for backends with more keys of their config each.
fn rewrite_among(edge: &Edge, backends: &[(&KmsSim, &str)], more: &str) {
    // The keys follow the URL; what closes it is a comment then.
    let url = |(one, keys): &(&KmsSim, &str)| format!("{}\"\n{keys}\n# \"", one.url);
    let urls: Vec<String> = backends.iter().map(url).collect();
    let named = backends.iter().zip(&urls).map(|((one, _), url)| (&*one.id, url.as_str()));
    edge.rewrite(&named.collect::<Vec<_>>(), &format!("{more}{BY_HAND}"));
}

/// The error code of a call that fails.
async fn code(client: &Client, method: &str, params: Value) -> Option<i64> {
    client.call(method, params).await.err().and_then(|error| error.code())
}

fn create(kind: &str, pipeline: &str) -> Value {
    json!({"type": kind, "constructorParams": {"mediaPipeline": pipeline}})
}

/// Each row: what a listener says, the key that changes, and a call that is refused then, with its code.
#[tokio::test]
async fn what_a_listener_says_holds_for_who_comes_next_and_not_for_who_is_there() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let (old, _events) = edge.connect().await;
    let pipeline = old.create_pipeline(Some("standup")).await.unwrap();
    let describe = json!({"object": pipeline});
    let deny = "policy = [\"deny create PassThrough\"]\n";
    let element = create("PassThrough", &pipeline);
    for (more, key, (method, params), refused) in [
        (deny, ".policy", ("create", element), 40111),
        ("isolation = \"session\"\n", ".isolation", ("describe", describe), 40101),
    ] {
        let changes = reload(&edge, &sims, more).await.unwrap();
        assert!(changes.iter().any(|changed| changed.ends_with(key)), "{key}: {changes:?}");
        let (new, _events) = edge.connect().await;
        let told = code(&new, method, params.clone()).await;
        assert_eq!(told, Some(refused), "{key} for who comes now");
        assert_eq!(code(&old, method, params).await, None, "{key} for who was there");
    }
    reload(&edge, &sims, "[limits]\npipelines_max = 1\n").await.unwrap();
    let (new, _events) = edge.connect().await;
    new.create_pipeline(None).await.unwrap();
    assert_eq!(new.create_pipeline(None).await.unwrap_err().code(), Some(40009));
    old.create_pipeline(None).await.unwrap();
}

/// The map is everybody's; whether a client is believed is its listener's.
#[tokio::test]
async fn places_follow_for_who_is_there() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "trust_client_place = true\n").await;
    let (client, _events) = edge.connect().await;
    for (longitude, meeting) in [(10.0, "first"), (20.0, "second")] {
        let range = format!("net = \"203.0.113.0/24\", latitude = 0, longitude = {longitude}");
        let more = format!("trust_client_place = true\n[geoip]\noverrides = [{{ {range} }}]\n");
        reload(&edge, &sims, &more).await.unwrap();
        let hints = json!({"meeting": meeting, "clientAddress": "203.0.113.7"});
        let params = json!({"type": "MediaPipeline", "properties": hints});
        client.call("create", params).await.unwrap();
        let row = edge.api(&format!("meetings/{meeting}")).await;
        assert_eq!(row["place"]["longitude"], longitude, "{row}");
    }
}

#[tokio::test]
async fn a_listener_takes_another_path_and_those_who_came_by_the_old_one_go_on() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let (old, _events) = edge.connect().await;
    old.create_pipeline(None).await.unwrap();
    let changes = reload(&edge, &sims, "path = \"/moved\"\n").await.unwrap();
    assert_eq!(changes, ["listeners[127.0.0.1:0].path"]);
    assert!(Client::connect(&edge.url).await.is_err(), "404");
    let (new, _events) = Client::connect(&edge.url.replace("/kurento", "/moved")).await.unwrap();
    new.create_pipeline(None).await.unwrap();
    old.create_pipeline(None).await.unwrap();
}

/// What sessions share follows the newest config, whenever they began.
#[tokio::test]
async fn placement_weights_and_pacing_hold_for_everybody_at_once() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let (old, _events) = edge.connect().await;
    let pipeline = old.create_pipeline(Some("first")).await.unwrap();
    let [from, to] = [old.create_endpoint(&pipeline).await, old.create_endpoint(&pipeline).await]
        .map(Result::unwrap);
    old.invoke(&from, "connect", json!({"sink": to})).await.unwrap();
    let measured = || async { edge.backends().await[0]["measured_legs"].clone() };
    assert_eq!(measured().await, 2);

    let weights = "[weights]\npublish_legs = 5\nreceive_legs = 7\n";
    assert_eq!(reload(&edge, &sims, weights).await.unwrap().len(), 2);
    assert_eq!(measured().await, 12);

    let more = format!("{weights}[placement]\nreserve_legs = 40\n");
    assert_eq!(reload(&edge, &sims, &more).await.unwrap(), ["placement.reserve_legs"]);
    old.create_pipeline(Some("second")).await.unwrap();
    let meeting = edge.api("meetings/second").await;
    assert_eq!(meeting["reserve_legs"], 40, "{meeting}");
    let decisions = edge.api("decisions").await;
    let configs: Vec<_> =
        decisions["decisions"].as_array().unwrap().iter().map(|one| &one["config"]).collect();
    assert_eq!(configs, [3, 1], "newest first: {decisions}");

    let slow = "[pacing]\ncalls_per_second = 1\nburst = 1\nwait_max_ms = 0\n";
    reload(&edge, &sims, slow).await.unwrap();
    let mut refused = 0;
    for _ in 0..4 {
        let params =
            json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": pipeline}});
        refused += usize::from(code(&old, "create", params).await == Some(40009));
    }
    assert!(refused > 0, "four endpoints at once");
}

#[tokio::test]
async fn bounds_of_the_whole_process_follow() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let (client, _events) = edge.connect().await;
    client.create_pipeline(Some("one")).await.unwrap();
    reload(&edge, &sims, "[pins]\npins_max = 1\n").await.unwrap();
    let refused = client.create_pipeline(Some("two")).await.unwrap_err();
    assert_eq!(refused.code(), Some(40009));
    reload(&edge, &sims, "[limits]\nconnections_max = 1\n[placement]\ndecisions_max = 0\n")
        .await
        .unwrap();
    client.create_pipeline(Some("two")).await.unwrap();
    assert_eq!(edge.api("decisions").await["decisions"], json!([]));
    // The listener has kept room for one more; the next waits in the backlog until there is room.
    let (second, _events) = edge.connect().await;
    second.call("ping", json!({})).await.unwrap();
    let mut connecting = pin!(Client::connect(&edge.url));
    let meanwhile = async {
        for _ in 0..100 {
            client.call("ping", json!({})).await.unwrap();
        }
    };
    tokio::select! {
        third = &mut connecting => panic!("there is no room for it: {:?}", third.is_ok()),
        () = meanwhile => {}
    }
    let (third, ()) = tokio::join!(connecting, async {
        reload(&edge, &sims, "[limits]\nconnections_max = 3\n").await.unwrap();
    });
    assert!(third.is_ok());
    // What nobody uses goes after the grace, the one that is in force when it is left.
    reload(&edge, &sims, "[pins]\ngrace_ms = 0\n").await.unwrap();
    client.close().await;
    let none = || async { edge.meetings().await.is_empty().then_some(()) };
    wait_for("no meeting is left", none).await;
}

#[tokio::test]
async fn the_log_filter_and_the_end_follow() {
    let sims = KmsSim::start_all(["a"]).await;
    let mut edge =
        start(&sims, "[shutdown]\nclose_window_ms = 600000\ndeadline_ms = 600000\n").await;
    let (client, _events) = edge.connect().await;
    client.ping().await.unwrap();
    assert!(!edge.process.stderr().contains("client connected"));
    let more = "[log]\nfilter = \"debug\"\n[shutdown]\nclose_window_ms = 0\ndeadline_ms = 600000\n";
    let changes = reload(&edge, &sims, more).await.unwrap();
    assert_eq!(changes, ["shutdown.close_window_ms", "log.filter"]);
    let (_other, _events) = edge.connect().await;
    let logged = || async { edge.process.stderr().contains("client connected").then_some(()) };
    wait_for("a line at debug", logged).await;
    let told = edge.process.stderr();
    assert!(told.contains("config changed") && told.contains("key=\"log.filter\""), "{told}");
    // Also for those who came while the window was ten minutes.
    edge.process.signal("TERM");
    assert_eq!(client.ended().await.code, Some(1001));
    assert!(edge.process.exited().await.success());
}

#[tokio::test]
async fn probes_follow() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let slow = "[probe]\ninterval_ms = 60000\n";
    reload(&edge, &sims, slow).await.unwrap();
    let quick = "[probe]\ninterval_ms = 100\ntimeout_ms = 50\nretry_ms = 10\n";
    assert_eq!(reload(&edge, &sims, quick).await.unwrap().len(), 3);
    sims[0].process.freeze().await;
    let noticed = || async { (edge.backends().await[0]["takes_pins"] == false).then_some(()) };
    wait_for("a probe notices that it stands still", noticed).await;
    sims[0].process.signal("CONT");
    edge.becomes_ready().await;
}

#[tokio::test]
async fn sighup_and_the_watch_do_the_same() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let takes = |path: &'static str| {
        let url = edge.url.replace("/kurento", path);
        async move { Client::connect(&url).await.is_ok().then_some(()) }
    };
    // From here on the file is watched.
    rewrite(&edge, &sims, "path = \"/by-signal\"\n[reload]\nwatch_ms = 20\n");
    edge.process.signal("HUP");
    wait_for("the signal is heeded", || takes("/by-signal")).await;
    rewrite(&edge, &sims, "path = \"/by-itself\"\n[reload]\nwatch_ms = 20\n");
    wait_for("the change is noticed", || takes("/by-itself")).await;
    // A mistake is noticed too, and the signal does not end the process for it.
    rewrite(&edge, &sims, "path = 7\n");
    edge.process.signal("HUP");
    let told = || async {
        edge.process.stderr().contains("pinfold.toml:3:8: listeners[0].path").then_some(())
    };
    wait_for("the mistake is in the log", told).await;
    takes("/by-itself").await.unwrap();
}
