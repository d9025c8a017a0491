//! `pinfold soak`: the fleet lives through it, what is planted is found, and nothing stays behind.

mod double;

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;

use self::double::{Double, Harm};
use super::harness::{Process, TempDir, wait_for, within_bound};

/// What a soak has shown.
struct Shown {
    status: i32,
    report: Value,
    text: String,
}

/// Runs a soak to its end. How long at most is said in `.config/nextest.toml`, because a soak ends its
/// processes when it is told to end, and not if it is killed.
async fn soak(dir: &TempDir, arguments: &[&str]) -> Shown {
    let json = dir.path().join("report.json");
    let state = dir.path().join("state");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinfold"));
    command.arg("soak").args(arguments).arg("--json").arg(&json).arg("--state-dir").arg(&state);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let report = std::fs::read(&json).unwrap_or_else(|_| panic!("no report: {text}{errors}"));
    let report = serde_json::from_slice(&report).unwrap();
    Shown { status: output.status.code().unwrap(), report, text }
}

#[tokio::test]
async fn nothing_is_lost_in_two_minutes_of_churn() {
    let dir = TempDir::create();
    let kills = ["--kill-every", "5s", "--stop-every", "15s", "--drain-every", "12s"];
    let edge = ["--reload-every", "7s", "--restart-every", "30s"];
    let size = ["--minutes", "2", "--sessions", "500", "--seed", "1"];
    let shown = soak(&dir, &[&kills[..], &edge, &size].concat()).await;
    assert_eq!(shown.status, 0, "{}", shown.text);
    let (report, text) = (&shown.report, &shown.text);
    let count = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap();
    assert_eq!(report["valid"], true, "{text}");
    let outcomes = ["/calls/answered", "/calls/refused", "/calls/given_up"].map(count);
    assert_eq!(outcomes.iter().sum::<u64>(), count("/calls/sent"), "{text}");
    // It was no idle run, whatever the machine does besides.
    assert_eq!(report["missing"].as_array().unwrap().len(), 0, "{text}");
    for (path, min) in [
        ("/calls/answered", 20_000),
        ("/clients/meetings", 100),
        ("/clients/resumed", 500),
        ("/clients/losses", 100),
        ("/clients/moved", 10),
        ("/churn/kills", 10),
        ("/churn/fills", 1),
        ("/churn/drains", 3),
        ("/churn/freezes", 2),
        ("/churn/stutters", 2),
        ("/churn/reloads", 10),
        ("/churn/stops", 1),
        ("/churn/edge_kills", 1),
        ("/churn/takeovers", 1),
        ("/told_after_kill/count", 5),
        ("/told_after_freeze/count", 1),
    ] {
        assert!(count(path) >= min, "{path} is {}: {text}", count(path));
    }
}

/// A short soak without trouble, through a double that does `harm` to one answer.
async fn soak_through(harm: Harm) -> Shown {
    let dir = TempDir::create();
    let double = Double::start(dir.path().join("state/pinfold.toml"), harm).await;
    let via = double.addr.to_string();
    let never = |what| [what, "0"];
    let periods =
        ["--kill-every", "--stop-every", "--drain-every", "--reload-every", "--restart-every"];
    let calm = periods.map(never);
    let short = ["--minutes", "0.1", "--sessions", "6", "--backends", "3", "--seed", "1"];
    let through = ["--answer-within", "4s", "--via", &via];
    soak(&dir, &[calm.as_flattened(), &short, &through].concat()).await
}

#[tokio::test]
async fn a_double_that_does_no_harm_changes_nothing() {
    let shown = soak_through(Harm::None).await;
    assert_eq!((shown.status, &shown.report["valid"]), (0, &Value::Bool(true)), "{}", shown.text);
}

#[tokio::test]
async fn one_answer_that_is_dropped_is_found_with_its_call() {
    let shown = soak_through(Harm::Drop).await;
    assert_eq!(shown.status, 1, "{}", shown.text);
    assert_eq!(shown.report["calls"]["silent"], 1, "{}", shown.text);
    let found = &shown.report["found"][0];
    assert_eq!(found["kind"], "silent");
    let what = found["what"].as_str().unwrap();
    let client = what.split(" id ").next().unwrap();
    let trail = found["trail"].as_array().unwrap();
    assert!(trail.iter().any(|line| line.as_str().unwrap().contains(client)), "{}", shown.text);
    assert!(shown.text.contains("INVALID"), "{}", shown.text);
}

#[tokio::test]
async fn an_answer_that_comes_twice_or_from_nowhere_is_found() {
    for (harm, kind) in [(Harm::Twice, "twice"), (Harm::Unasked, "unasked")] {
        let shown = soak_through(harm).await;
        assert_eq!(shown.status, 1, "{}", shown.text);
        assert_eq!(shown.report["found"][0]["kind"], kind, "{}", shown.text);
    }
}

/// The address in the config that a soak has written, once clients can connect there.
async fn edge_of(config: &Path) -> String {
    let listens = || async {
        let addr = double::edge_addr(config)?;
        TcpStream::connect(&addr).await.ok().map(|_| addr)
    };
    wait_for("the edge listens", listens).await
}

#[tokio::test]
async fn a_soak_that_is_interrupted_leaves_no_process_behind() {
    for signal in ["INT", "TERM"] {
        let dir = TempDir::create();
        let state = dir.path().join("state");
        let arguments = ["soak", "--sessions", "4", "--state-dir", state.to_str().unwrap()];
        let mut process = Process::pinfold("soak", &arguments);
        let edge = edge_of(&state.join("pinfold.toml")).await;
        process.signal(signal);
        assert_eq!(process.exited().await.code(), Some(1));
        let refused = within_bound("an answer of the system", TcpStream::connect(&edge)).await;
        assert!(refused.is_err(), "the edge is still there");
        let config = std::fs::read_to_string(state.join("pinfold.toml")).unwrap();
        for url in config.lines().filter_map(|line| line.strip_prefix("url = \"ws://")) {
            let addr = url.split('/').next().unwrap();
            assert!(TcpStream::connect(addr).await.is_err(), "{addr} is still there");
        }
    }
}
