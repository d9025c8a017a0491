//! The binary's commands that need no running edge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn pinfold(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pinfold")).args(args).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Writes `content` to a file of this name for tests.
fn file(name: &str, content: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("a writable directory");
    path
}

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/pinfold.example.toml");

#[test]
fn check_passes_the_example_and_its_own_dump() {
    let checked = pinfold(&["check", "--config", EXAMPLE]);
    assert_eq!(text(&checked.stdout), format!("{EXAMPLE}: ok (1 listener, 1 backend)\n"));
    assert!(checked.status.success());
    let dumped = pinfold(&["check", "--config", EXAMPLE, "--dump"]);
    let dump = file("dump.toml", text(&dumped.stdout));
    let again = pinfold(&["check", "--dump", "--config", dump.to_str().unwrap()]);
    assert_eq!(text(&again.stdout), text(&dumped.stdout));
}

#[test]
fn check_tells_every_mistake_and_fails() {
    let bad = file("bad.toml", "[[listeners]]\naddr = 3\n[prob]\n");
    let path = bad.to_str().unwrap();
    let checked = pinfold(&["check", "--config", path]);
    assert_eq!(checked.status.code(), Some(1));
    assert_eq!(text(&checked.stdout), "");
    let expected = format!(
        "{path}:1:1: backends: found nothing, expected at least one [[backends]], or a \
         source in [discovery]\n\
         {path}:2:8: listeners[0].addr: found 3, expected an IP address and port like \
         \"127.0.0.1:8888\"\n\
         {path}:3:2: prob: found an unknown key, expected \"probe\"\n"
    );
    assert_eq!(text(&checked.stderr), expected);
}

#[test]
fn status_says_why_there_is_none() {
    let status = pinfold(&["status", "--admin", "http://127.0.0.1:1"]);
    assert_eq!(status.status.code(), Some(1));
    let told = text(&status.stderr);
    let start = "pinfold: no status from http://127.0.0.1:1: cannot connect to 127.0.0.1:1: ";
    assert!(told.starts_with(start) && told.lines().count() == 1, "{told}");
}

#[test]
fn completions_and_manual_come_from_the_arguments() {
    assert!(text(&pinfold(&["completions", "bash"]).stdout).contains("pinfold__subcmd__check"));
    let manual = pinfold(&["man"]);
    for name in ["check", "status", "completions"] {
        assert!(text(&manual.stdout).contains(&format!("pinfold\\-{name}")), "{name}");
    }
    assert_eq!(pinfold(&["chekc"]).status.code(), Some(2));
}

#[test]
fn the_core_keeps_its_rules_in_256_made_up_worlds() {
    let args = ["simulate", "session", "--seeds", "0..256", "--steps", "3000"];
    let simulated = pinfold(&args);
    assert!(simulated.status.success(), "{}", text(&simulated.stderr));
    let told = text(&simulated.stdout);
    assert!(told.starts_with("256 seed(s), nothing broken: "), "{told}");
}

#[test]
fn a_simulated_run_can_be_looked_at() {
    let args = ["simulate", "session", "--seeds", "3", "--steps", "200", "--trace"];
    let simulated = pinfold(&args);
    assert!(simulated.status.success());
    let told = text(&simulated.stdout);
    assert!(told.contains("ClientActs") && told.contains("1 seed(s), nothing broken: "), "{told}");
    let empty = pinfold(&["simulate", "session", "--seeds", "5..5"]);
    assert_eq!(empty.status.code(), Some(2));
}

/// A saved state, whose decision is told the same by every version.
const STATE: &str = include_str!("golden/decision/state.json");

#[test]
fn a_saved_state_is_decided_again() {
    let state = file("state.json", STATE);
    let path = state.to_str().unwrap();
    let chosen = pinfold(&["choose", "--state", path]);
    assert!(chosen.status.success(), "{}", text(&chosen.stderr));
    assert_eq!(text(&chosen.stdout), include_str!("golden/decision/choose.txt"));
    let elsewhere = pinfold(&["choose", "--state", path, "--from", "52.5,13.4", "--meeting", "x"]);
    assert!(text(&elsewhere.stdout).starts_with("backend   kms-berlin\nmeeting   x\n"));
    let full = pinfold(&["choose", "--state", path, "--reserve-legs", "500"]);
    assert!(text(&full.stdout).starts_with("backend   none: all are full\n"));
    let labelled = pinfold(&["choose", "--state", path, "--require", "tier=gold"]);
    assert!(text(&labelled.stdout).starts_with("backend   none: none that takes new meetings has"));
    let none = pinfold(&["choose", "--state", "/nowhere"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).starts_with("pinfold: no state in /nowhere: "));
    let unplaced = pinfold(&["choose", "--state", path, "--from", "127.0.0.1"]);
    assert!(text(&unplaced.stderr).contains("knows no place of 127.0.0.1; give degrees instead"));
}
