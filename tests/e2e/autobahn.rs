//! The Autobahn cases against our framing, by the runner `kosoku`, which `tests/run` installs.
//!
//! Left out are 12 and 13, which are about compression: none is negotiated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use pinfold::proxy::dial_and_echo;
use pinfold::settings::BackendUrl;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::harness::{Process, TempDir};

/// Cases without those on compression.
const CASES: usize = 301;

/// More than all cases take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(200);

/// Verdicts that are no failure. `NON-STRICT`: text that is not UTF-8 is found out at the end of the
/// message, not in its middle.
const PASSED: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];
const PASSED_CLOSES: [&str; 2] = ["OK", "INFORMATIONAL"];

/// What the report tells of one case.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
}

impl Verdict {
    fn is_pass(&self) -> bool {
        PASSED.contains(&self.behavior.as_str())
            && PASSED_CLOSES.contains(&self.behavior_close.as_str())
    }
}

/// Starts the runner.
fn kosoku(mode: &str, report: &Path, addr: &str) -> Child {
    let installed: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kosoku");
    let script = installed.join("bin/kosoku");
    assert!(script.exists(), "{} is missing: tests/run installs it", script.display());
    Command::new("python3")
        .arg(script)
        .args(["-m", mode, "-p", "4", "-x", "12.*", "-x", "13.*", "-o"])
        .args([report.as_os_str(), addr.as_ref()])
        .env("PYTHONPATH", installed)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is installed")
}

/// Awaits the runner's end, then holds its report against what must be.
async fn assert_all_passed(runner: Child, report: &Path) {
    let ended = tokio::time::timeout(PATIENCE, runner.wait_with_output()).await;
    let output = ended.expect("the cases end in time").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let json = std::fs::read_to_string(report.join("index.json"));
    let json = json.unwrap_or_else(|error| panic!("no report: {error}\n{said}"));
    let agents: BTreeMap<String, BTreeMap<String, Verdict>> = serde_json::from_str(&json).unwrap();
    let verdicts: Vec<_> = agents.values().flatten().collect();
    let failed: Vec<_> = verdicts.iter().filter(|(_, verdict)| !verdict.is_pass()).collect();
    println!("{} cases, {} failed", verdicts.len(), failed.len());
    assert!(failed.is_empty(), "{failed:#?}\n{said}");
    assert_eq!(verdicts.len(), CASES);
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn all_cases_pass_through_a_relay_to_an_echo_server() {
    let mut route = Process::pinfold("echo", &["echo", "--listen", "127.0.0.1:0"]);
    let url = route.line_after("echo listening on ws://").await;
    let report = TempDir::create();
    let runner = kosoku("fuzzingclient", report.path(), url.trim_end_matches('/'));
    assert_all_passed(runner, report.path()).await;
    route.signal("TERM");
    assert!(route.exited().await.success());
}

#[tokio::test]
async fn all_cases_pass_for_the_end_that_dials() {
    let report = TempDir::create();
    let mut runner = kosoku("fuzzingserver", report.path(), "127.0.0.1:0");
    let mut stderr = BufReader::new(runner.stderr.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, stderr.next_line()).await.unwrap().unwrap().unwrap();
    let (_, server) = line.split_once("ws://").unwrap_or_else(|| panic!("no address: {line}"));
    let dial = |path: String| async move {
        let url = BackendUrl::parse(&format!("ws://{server}{path}")).unwrap();
        let echoing = tokio::time::timeout(PATIENCE, dial_and_echo(&url)).await;
        echoing.unwrap_or_else(|_| panic!("{url} does not end")).unwrap();
    };
    let cases = (1..=CASES).map(|case| dial(format!("/runCase?case={case}&agent=pinfold")));
    stream::iter(cases).for_each_concurrent(4, |case| case).await;
    dial("/updateReports?agent=pinfold".to_owned()).await;
    assert_all_passed(runner, report.path()).await;
}
