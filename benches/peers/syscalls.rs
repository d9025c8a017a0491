//! System calls a message, by name, as `strace` counts them.
//!
//! It slows what it counts, and with that may change how many frames come together; so these counts
//! have runs of their own. Two runs of different length are counted: what both do at the beginning and
//! at the end goes out in the difference.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::bench::Bench;
use crate::client::Client;
use crate::group::MESSAGES_A_CALL;
use crate::peer::{Peer, find_program};
use crate::stage::{Layout, Stage};
use crate::table;

/// Fewer calls a message than this are left out of the table.
const SHOWN_MIN: f64 = 0.005;

/// What `strace` may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls by name.
type Counts = BTreeMap<String, f64>;

/// Counts them for all three; a table, or what is missing for it.
pub(crate) async fn run(bench: &Bench) -> anyhow::Result<String> {
    let mut text = "\n## System calls a message\n\n".to_owned();
    if let Err(missing) = find_program("strace", "strace") {
        return Ok(text + &format!("Not counted: {missing}\n"));
    }
    let mut rows: BTreeMap<String, [f64; Peer::ALL.len()]> = BTreeMap::new();
    for peer in Peer::ALL {
        let counts = count_a_message(bench, peer).await.context(peer.name())?;
        eprintln!("{:<11} 1/1  {:<8} {:.2}", "syscalls", peer.name(), counts.values().sum::<f64>());
        for (name, count) in counts {
            rows.entry(name).or_default()[peer as usize] = count;
        }
    }
    text += "441 B, 64 connections, one processor; slowed by `strace`.\n\n";
    text += &table_of(&rows);
    Ok(text)
}

fn table_of(rows: &BTreeMap<String, [f64; Peer::ALL.len()]>) -> String {
    let shown = |name: &str, counts: &[f64]| {
        let counts = counts.iter().map(|count| format!("{count:.2}"));
        std::iter::once(name.to_owned()).chain(counts).collect::<Vec<_>>()
    };
    let totals = Peer::ALL.map(|peer| rows.values().map(|counts| counts[peer as usize]).sum());
    let kept = rows.iter().filter(|(_, counts)| counts.iter().any(|count| *count >= SHOWN_MIN));
    let mut lines: Vec<_> = kept.map(|(name, counts)| shown(name, counts)).collect();
    lines.push(shown("all", &totals));
    let names = Peer::ALL.map(Peer::name);
    let head: Vec<&str> = std::iter::once("call").chain(names).collect();
    table::aligned(&head, &lines)
}

/// What a longer run has more than a shorter one, for each message that it has more.
async fn count_a_message(bench: &Bench, peer: Peer) -> anyhow::Result<Counts> {
    let stage = Stage::start(bench, peer, Layout::OneCpu).await?;
    let (short, short_messages) = count(bench, &stage, bench.seconds).await?;
    let (mut long, long_messages) = count(bench, &stage, 3.0 * bench.seconds).await?;
    let messages = long_messages - short_messages;
    ensure!(messages > 0.0, "the longer run had no more messages");
    for (name, count) in &mut long {
        let more = *count - short.get(name).copied().unwrap_or_default();
        *count = more.max(0.0) / messages;
    }
    Ok(long)
}

/// Counts during a closed loop of so many seconds; returns also the messages of the loop.
async fn count(bench: &Bench, stage: &Stage, seconds: f64) -> anyhow::Result<(Counts, f64)> {
    let tracer = Tracer::attach(&stage.workers).await?;
    let time = format!("{seconds}s");
    let client = Client::on(bench, stage, "latency", &stage.url());
    let client = client.args(["--connections", "64", "--warm-up", "0s", "--for", &time]);
    let report = client.run_for_one().await?;
    Ok((tracer.finish().await?, report.count as f64 * MESSAGES_A_CALL))
}

/// `strace`, attached to some processes.
struct Tracer {
    child: Child,
    errors: BufReader<ChildStderr>,
}

impl Tracer {
    /// Attaches to all threads of `pids`.
    async fn attach(pids: &[u32]) -> anyhow::Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-o", "/dev/stdout"]);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let errors = BufReader::new(child.stderr.take().context("standard error is a pipe")?);
        let mut tracer = Self { child, errors };
        for _ in pids {
            let line = tokio::time::timeout(PATIENCE, tracer.next_line()).await??;
            ensure!(line.contains(" attached"), "strace says: {}", line.trim());
        }
        Ok(tracer)
    }

    async fn next_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.errors.read_line(&mut line).await?;
        Ok(line)
    }

    /// Detaches and reads what was counted.
    async fn finish(self) -> anyhow::Result<Counts> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("strace has ended")?, Signal::INT)?;
        let ending = tokio::time::timeout(PATIENCE, self.child.wait_with_output());
        let summary = String::from_utf8(ending.await??.stdout)?;
        let counts: Counts = summary.lines().filter_map(parse_line).collect();
        ensure!(!counts.is_empty(), "strace counted nothing");
        Ok(counts)
    }
}

/// A line of the summary: share of time, seconds, microseconds each, calls, errors if any, name.
fn parse_line(line: &str) -> Option<(String, f64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = *words.last().filter(|name| **name != "total")?;
    words.first()?.parse::<f64>().ok()?;
    Some((name.to_owned(), words.get(3)?.parse().ok()?))
}
