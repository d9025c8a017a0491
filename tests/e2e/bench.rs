//! `pinfold bench`: its clients through an edge to its backends, and against one that answers wrongly.

mod double;

use serde_json::Value;
use tokio::process::Command;

use crate::e2e::harness::{Edge, Process, TempDir, within_bound};
use double::{Double, Harm};

/// A backend of the bench.
async fn backend(name: &str) -> (Process, String) {
    let mut process = Process::pinfold(name, &["bench", "backend", "--name", name]);
    let url = process.line_after("bench backend on ").await;
    (process, url)
}

/// An edge before two of them, which does not pace: clients that get ready would take seconds.
async fn edge(listener: &str, dir: TempDir) -> (Edge, [Process; 2]) {
    let ((a, a_url), (b, b_url)) = (backend("a").await, backend("b").await);
    let more = format!("{listener}[pacing]\ncalls_per_second = 0\n");
    let edge = Edge::start_unready(&[("a", &a_url), ("b", &b_url)], &more, dir).await;
    edge.becomes_ready().await;
    (edge, [a, b])
}

/// What the process said in the end.
struct Said {
    is_success: bool,
    stdout: String,
    stderr: String,
}

async fn bench(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinfold"));
    let running = command.arg("bench").args(arguments).kill_on_drop(true).output();
    let output = within_bound("the run ends", running).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        is_success: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The reports of a run that must be valid.
async fn valid(arguments: &[&str]) -> Vec<Value> {
    let said = bench(&[arguments, &["--json"]].concat()).await;
    assert!(said.is_success, "{}{}", said.stdout, said.stderr);
    let reports = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let reports: Vec<Value> = reports.collect();
    for report in &reports {
        assert_eq!(report["valid"], true, "{report}");
        assert_eq!(report["failures"], 0, "{report}");
    }
    reports
}

const SHORT: [&str; 4] = ["--for", "200ms", "--warm-up", "50ms"];

#[tokio::test]
async fn loops_count_what_they_sent_and_what_processes_used() {
    let (edge, _backends) = edge("", TempDir::create()).await;
    let pid = edge.process.id().to_string();
    let who = ["--url", &edge.url, "--connections", "8", "--threads", "2", "--pid", &pid];
    for mix in ["ping", "candidate", "offer", "mixed"] {
        let reports = valid(&[&["latency", "--mix", mix], &who[..], &SHORT].concat()).await;
        let [report] = &reports[..] else { panic!("one report: {reports:?}") };
        assert_eq!((&report["mode"], &report["unit"]), (&"latency".into(), &"call".into()));
        assert!(report["count"].as_u64().unwrap() >= 8, "{report}");
        for key in ["mean", "min", "p50", "p90", "p99", "p999", "max"] {
            assert!(report["latency_us"][key].as_f64().unwrap() > 0.0, "{key}: {report}");
        }
        let process = &report["processes"][0];
        assert_eq!(process["pid"], edge.process.id());
        assert!(process["cpu_us_each"].as_f64().unwrap() > 0.0, "{report}");
        assert!(process["memory_bytes"].as_u64().unwrap() > 1 << 20, "{report}");
        assert_eq!(report["processes"].as_array().unwrap().len(), 2, "the clients' own: {report}");
    }
    let rate = ["rate", "--mix", "mixed", "--per-second", "1000"];
    let reports = valid(&[&rate[..], &who, &SHORT].concat()).await;
    assert_eq!(reports[0]["count"], 200, "1,000 a second for 0.2 s, whatever it took");
}

#[tokio::test]
async fn storms_and_idle_connections_come_through_an_edge() {
    let (edge, _backends) = edge("", TempDir::create()).await;
    let who = ["--url", &edge.url, "--connections", "60"];
    for first in ["ping", "create"] {
        let reports = valid(&[&["storm", "--first", first], &who[..]].concat()).await;
        assert_eq!((&reports[0]["unit"], &reports[0]["count"]), (&"connection".into(), &60.into()));
        let pid = edge.process.id().to_string();
        let idle = ["idle", "--first", first, "--for", "50ms", "--pid", &pid];
        let reports = valid(&[&idle[..], &who].concat()).await;
        assert_eq!(reports[0]["count"], 60);
        assert!(reports[0]["processes"][0]["memory_growth_bytes"].is_i64(), "{reports:?}");
    }
}

#[tokio::test]
async fn events_reach_all_of_a_meeting() {
    let (edge, _backends) = edge("", TempDir::create()).await;
    let who = ["--url", &edge.url, "--connections", "6", "--meeting-size", "3"];
    let events = ["events", "--per-call", "7"];
    let reports = valid(&[&events[..], &who, &SHORT].concat()).await;
    let count = reports[0]["count"].as_u64().unwrap();
    assert!(count > 0 && count.is_multiple_of(3 * 7), "whole rounds of whole meetings: {count}");
    assert_eq!(reports[0]["unit"], "event");
}

#[tokio::test]
async fn the_edge_tells_what_routing_took_by_kind() {
    let (edge, _backends) = edge("", TempDir::create()).await;
    let admin = format!("http://{}", edge.admin_addr());
    let who = ["--url", &edge.url, "--connections", "4", "--admin", &admin];
    let reports = valid(&[&["routing"], &who[..], &SHORT].concat()).await;
    let (report, count) = (&reports[0], |kind: &str| {
        reports[0]["routing"][kind]["count"].as_u64().unwrap_or_else(|| panic!("{kind}"))
    });
    let calls = report["count"].as_u64().unwrap();
    assert!(count("table_hit") >= calls, "{report}");
    assert!(count("new_pin") >= 4 && count("resume") == 4, "{report}");
    assert!(report["routing"]["table_hit"]["mean_us"].as_f64().unwrap() > 0.0, "{report}");
}

#[tokio::test]
async fn tls_handshakes_are_full_and_resumed() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let dir = TempDir::create();
    let ca = dir.write("cert.pem", &made.cert.pem());
    dir.write("key.pem", &made.signing_key.serialize_pem());
    let tls = "tls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
    let (edge, _backends) = edge(tls, dir).await;
    let who = ["--url", &edge.url, "--connections", "2", "--for", "200ms"];
    let trust = ["--ca", ca.to_str().unwrap()];
    let reports = valid(&[&["tls"], &who[..], &trust].concat()).await;
    let modes: Vec<_> = reports.iter().map(|report| report["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["tls full", "tls resumed"]);
    assert!(reports.iter().all(|report| report["count"].as_u64() > Some(0)), "{reports:?}");
    valid(&[&["latency", "--insecure"], &who[..]].concat()).await;
    let said = bench(&[&["latency"], &who[..]].concat()).await;
    assert!(
        !said.is_success && said.stderr.contains("--ca FILE, or --insecure"),
        "{}",
        said.stderr
    );
}

#[tokio::test]
async fn one_wrong_reply_makes_a_run_invalid() {
    let (_backend, url) = backend("a").await;
    for (harm, fault) in [
        (Harm::Twice, "stray"),
        (Harm::OtherId, "stray"),
        (Harm::OtherBackend, "misrouted"),
        (Harm::Error, "refused"),
        (Harm::Cut, "broken"),
    ] {
        let double = Double::start(&url, harm).await;
        for mode in [&["latency"][..], &["rate", "--per-second", "500"]] {
            let arguments = [mode, &["--url", &double.url, "--json"], &SHORT].concat();
            let said = bench(&arguments).await;
            let report: Value = serde_json::from_str(&said.stdout)
                .unwrap_or_else(|_| panic!("{harm:?} {mode:?}: {}", said.stderr));
            assert!(!said.is_success, "{harm:?} {mode:?}");
            assert_eq!(report["valid"], false, "{harm:?} {mode:?} {report}");
            assert!(report["faults"][fault].as_u64() > Some(0), "{harm:?} {mode:?} {report}");
            assert!(report["faults"]["first"].is_string(), "{report}");
        }
        let said = bench(&[&["latency", "--url", &double.url], &SHORT[..]].concat()).await;
        assert!(said.stdout.contains("INVALID: "), "{harm:?}: {}", said.stdout);
    }
}

#[tokio::test]
async fn a_meeting_on_two_backends_is_found_out() {
    let ((_a, a_url), (_b, b_url)) = (backend("a").await, backend("b").await);
    // Sends every other connection to the other backend, whatever meeting it names.
    let double = Double::start_between(&[&a_url, &b_url], Harm::None).await;
    let said = bench(&["storm", "--url", &double.url, "--connections", "4", "--json"]).await;
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(!said.is_success && report["faults"]["misrouted"].as_u64() > Some(0), "{report}");
    let alone = ["--connections", "4", "--meeting-size", "1"];
    valid(&[&["storm", "--url", &double.url], &alone[..]].concat()).await;
}

#[tokio::test]
async fn what_cannot_be_measured_is_told_in_words() {
    let (_backend, url) = backend("a").await;
    for (arguments, told) in [
        (&["latency", "--url", "http://a/"][..], "not a URL of the form ws://"),
        (&["latency", "--url", "ws://127.0.0.1:1/kurento"], "no connection to 127.0.0.1:1"),
        (&["tls", "--url", &url], "not a URL of the form"),
        (&["idle", "--url", &url, "--pid", "4294967295"], "usage of process 4294967295"),
        (&["routing", "--url", &url, "--admin", "http://127.0.0.1:1"], "no metrics from http://"),
    ] {
        let said = bench(arguments).await;
        assert!(!said.is_success && said.stderr.contains(told), "{arguments:?}: {}", said.stderr);
        assert_eq!(said.stdout, "", "{arguments:?}");
    }
    for arguments in [
        &["latency"][..],
        &["latency", "--url", &url, "--connections", "0"],
        &["latency", "--url", &url, "--connections", "60001"],
        &["rate", "--url", &url],
        &["latency", "--url", &url, "--for", "2h"],
        &["backend", "--name", "a b"],
    ] {
        let said = bench(arguments).await;
        assert!(!said.is_success && said.stderr.contains("error: "), "{arguments:?}");
    }
}
