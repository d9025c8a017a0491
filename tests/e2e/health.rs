//! Five pictures of a backend in trouble, each with real processes: frozen, full, listening but dead,
//! restarted, slow. What becomes of it, of the meetings there, and of new ones.

mod remnants;
mod world;

use std::time::Duration;

use serde_json::json;

use crate::e2e::harness::{Edge, Party, TempDir, wait_for};
use world::{QUICK, Sim, Trouble, metric, row, until};

/// New meetings go to `b`, whatever they are called.
async fn new_meetings_go_to_b(edge: &Edge, round: &str) {
    let (client, _events) = edge.connect().await;
    for number in 0..6 {
        let name = format!("{round}-{number}");
        client.create_pipeline(Some(&name)).await.unwrap();
        assert_eq!(edge.backend_of(&name).await, "b", "{name}");
    }
}

#[tokio::test]
async fn a_frozen_backend_gets_no_new_meetings_and_has_its_old_ones_when_it_goes_on() {
    let mut trouble = Trouble::start(QUICK, &[]).await;
    let server = row(&trouble.edge, "a").await["server_id"].clone();
    trouble.a.process.stop().await;
    until(&trouble.edge, "a", "health", "suspect").await;
    // Far more than lose a backend that refuses.
    let timeouts = "pinfold_probes_total{outcome=\"timeout\"}";
    let many = || async { (metric(&trouble.edge, timeouts).await >= 6).then_some(()) };
    wait_for("many probes without an answer", many).await;
    assert_eq!(row(&trouble.edge, "a").await["health"], "suspect");
    new_meetings_go_to_b(&trouble.edge, "meanwhile").await;

    trouble.a.process.signal("CONT");
    until(&trouble.edge, "a", "health", "healthy").await;
    trouble.party_is_whole().await;
    assert_eq!(trouble.edge.backend_of(&trouble.meeting).await, "a");
    let after = row(&trouble.edge, "a").await;
    assert_eq!((&after["server_id"], &after["out_cause"]), (&server, &json!(null)));
    assert_eq!(metric(&trouble.edge, "pinfold_ejections_total{cause=\"silent\"}").await, 0);
}

#[tokio::test]
async fn a_backend_that_stays_frozen_is_given_up_and_its_clients_are_told() {
    let more = format!("{QUICK}[health]\ngive_up_ms = 700\n");
    let trouble = Trouble::start(&more, &[]).await;
    trouble.a.process.stop().await;
    until(&trouble.edge, "a", "out_cause", "silent").await;
    assert_eq!(row(&trouble.edge, "a").await["health"], "ejected");
    trouble.party_is_lost().await;
    trouble.client.create_pipeline(Some(&trouble.meeting)).await.unwrap();
    assert_eq!(trouble.edge.backend_of(&trouble.meeting).await, "b", "it has moved");
    trouble.a.process.signal("CONT");
    until(&trouble.edge, "a", "health", "healthy").await;
}

#[tokio::test]
async fn a_full_backend_keeps_its_meetings_and_new_ones_go_elsewhere() {
    let mut trouble = Trouble::start(QUICK, &[]).await;
    trouble.a.order("full").await;
    until(&trouble.edge, "a", "out_cause", "full").await;
    assert_eq!(row(&trouble.edge, "a").await["health"], "ejected");
    new_meetings_go_to_b(&trouble.edge, "meanwhile").await;
    trouble.party_is_whole().await;
    // Who is in the old meeting is where that is, and is told what the server says.
    let refused = trouble.client.create_pipeline(Some(&trouble.meeting)).await.unwrap_err();
    assert_eq!(refused.code(), Some(40009));
    assert_eq!(metric(&trouble.edge, "pinfold_ejections_total{cause=\"full\"}").await, 1);

    trouble.a.order("full?on=false").await;
    until(&trouble.edge, "a", "health", "healthy").await;
    trouble.client.create_pipeline(Some(&trouble.meeting)).await.unwrap();
    assert_eq!(trouble.edge.backend_of(&trouble.meeting).await, "a");
    trouble.party_is_whole().await;
}

/// Without deep probes: what clients are told is enough.
#[tokio::test]
async fn what_clients_are_refused_ejects_a_full_backend_too() {
    let probe = QUICK.replace("deep_ms = 150", "deep_ms = 0");
    let more = format!("{probe}[health]\nrefusals = 2\nbackoff_ms = 60000\n");
    let mut trouble = Trouble::start(&more, &[]).await;
    trouble.a.order("full").await;
    for _ in 0..2 {
        let refused = trouble.client.create_pipeline(Some(&trouble.meeting)).await.unwrap_err();
        assert_eq!(refused.code(), Some(40009));
    }
    until(&trouble.edge, "a", "out_cause", "full").await;
    new_meetings_go_to_b(&trouble.edge, "meanwhile").await;
    trouble.party_is_whole().await;
}

#[tokio::test]
async fn a_backend_that_listens_and_is_dead_never_gets_a_meeting() {
    let good = Sim::start("good", &[]).await;
    let wrong_path = good.kms.url.replace("/kurento", "/elsewhere");
    let (silent, mute) = (world::silent_listener().await, world::mute_server().await);
    let backends = [
        ("good", good.kms.url.as_str()),
        ("path", &wrong_path),
        ("silent", &silent.url),
        ("mute", &mute.url),
    ];
    let more = format!("{QUICK}[health]\ngive_up_ms = 700\n");
    let edge = Edge::start_unready(&backends, &more, TempDir::create()).await;
    until(&edge, "good", "health", "healthy").await;
    for (id, cause, failure) in [
        ("path", "errors", "handshake failed"),
        ("silent", "silent", "no answer in time"),
        ("mute", "silent", "no answer in time"),
    ] {
        until(&edge, id, "out_cause", cause).await;
        let dead = row(&edge, id).await;
        assert_eq!((&dead["health"], &dead["takes_pins"]), (&json!("ejected"), &json!(false)));
        assert_eq!(dead["last_failure"], failure, "{dead}");
    }
    let (client, _events) = edge.connect().await;
    for number in 0..8 {
        let name = format!("meeting-{number}");
        client.create_pipeline(Some(&name)).await.unwrap();
        assert_eq!(edge.backend_of(&name).await, "good");
    }
}

#[tokio::test]
async fn a_restarted_backend_has_lost_its_meetings_and_is_healthy_at_once() {
    let trouble = Trouble::start(QUICK, &[]).await;
    let server = row(&trouble.edge, "a").await["server_id"].clone();
    trouble.a.order("restart").await;
    trouble.party_is_lost().await;
    let is_back = || async {
        let a = row(&trouble.edge, "a").await;
        (a["server_id"] != server && a["takes_pins"] == true).then_some(())
    };
    wait_for("the new process takes meetings", is_back).await;
    let losses = ["restarted", "errors"].map(|cause| {
        let name = format!("pinfold_ejections_total{{cause=\"{cause}\"}}");
        let edge = &trouble.edge;
        async move { metric(edge, &name).await }
    });
    let [restarted, errors] = losses;
    assert_eq!(restarted.await + errors.await, 1, "one loss");
    trouble.client.create_pipeline(Some(&trouble.meeting)).await.unwrap();
}

#[tokio::test]
async fn a_backend_that_becomes_slow_keeps_its_meetings_and_new_ones_go_elsewhere() {
    // An answer takes under a millisecond as a rule, and half a second when it is slow. The probe
    // waits for longer: slow is not silent.
    let more = "[probe]\ninterval_ms = 100\ntimeout_ms = 15000\ndeep_ms = 100\n\
                [health]\nslow_samples = 5\nslow_floor_ms = 250\nbackoff_ms = 100\n";
    let mut trouble = Trouble::start(more, &["--latency-ms", "1"]).await;
    let probed = || async {
        let passed = metric(&trouble.edge, "pinfold_deep_probes_total{outcome=\"passed\"}").await;
        (passed >= 14).then_some(())
    };
    wait_for("what is usual is known", probed).await;
    trouble.a.order("slow?factor=500").await;
    until(&trouble.edge, "a", "out_cause", "slow").await;
    new_meetings_go_to_b(&trouble.edge, "meanwhile").await;
    trouble.a.order("slow?factor=1").await;
    until(&trouble.edge, "a", "health", "healthy").await;
    trouble.party_is_whole().await;
    assert_eq!(trouble.edge.backend_of(&trouble.meeting).await, "a");
    assert_eq!(row(&trouble.edge, "b").await["spared_cause"], json!(null));
}

/// From the moment that a server is killed to the first client told: probe interval and timeout at
/// most, and much less where the connection is cut.
#[tokio::test]
async fn a_killed_backend_is_lost_within_the_time_of_a_few_refusals() {
    let trouble = Trouble::start("[probe]\nretry_ms = 50\n", &[]).await;
    let lost = async {
        trouble.a.process.signal("KILL");
        trouble.party_is_lost().await;
    };
    let bound = Duration::from_secs(2) + Duration::from_millis(1_500);
    tokio::time::timeout(bound, lost).await.expect("within probe interval and timeout");
    until(&trouble.edge, "a", "out_cause", "errors").await;
}

/// The metric of the deep probe, and its row.
#[tokio::test]
async fn the_time_of_deep_probes_is_shown_and_they_leave_nothing_behind() {
    let trouble = Trouble::start(QUICK, &[]).await;
    let shown = || async {
        let took = row(&trouble.edge, "a").await["last_deep_ms"].as_f64()?;
        let (_, metrics) = trouble.edge.admin("/metrics").await;
        metrics.contains("pinfold_backend_deep_probe_seconds{backend=\"a\"}").then_some(took)
    };
    assert!(wait_for("a deep probe", shown).await > 0.0);
    let only_ours = || async {
        let pipelines = trouble.a.kms.pipelines().await;
        (pipelines.len() == 1).then_some(pipelines)
    };
    let left = wait_for("the pipeline of the meeting and no other", only_ours).await;
    assert!(left.contains(&trouble.party.pipeline));
    assert_eq!(metric(&trouble.edge, "pinfold_deep_probes_total{outcome=\"failed\"}").await, 0);
}

impl Trouble {
    /// What was in the old meeting is gone, and the client is told so as by a restarted server.
    async fn party_is_lost(&self) {
        let is_lost = || async {
            let Party { pipeline, .. } = &self.party;
            let told = self.client.invoke(pipeline, "getName", json!({})).await.err()?;
            (told.code() == Some(40101)).then_some(())
        };
        wait_for("the objects are gone", is_lost).await;
    }
}
