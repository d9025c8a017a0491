//! docs/PERFORMANCE.md: the tables, with what one must know of how they came about.

use std::fs;
use std::process::Command;

use anyhow::Context;

use crate::args::Args;
use crate::bench::Bench;
use crate::peer::{Peer, find_program};

/// Composes the document around `tables`.
pub(crate) fn compose(bench: &Bench, args: &Args, tables: &str) -> anyhow::Result<String> {
    Ok(format!(
        "# Performance\n\n\
         Written by `cargo bench --bench peers -- --write`; not to be edited. What stands where, and \
         how to\nmeasure, is in [BENCHMARKING.md](BENCHMARKING.md).\n\n\
         {machine}\n\
         {reading}\n\
         ## Figures\n\n\
         {tables}\n\
         {elsewhere}",
        machine = machine(bench, args)?,
        reading = READING,
        elsewhere = ELSEWHERE,
    ))
}

const READING: &str = "\
Every cell has the median of the rounds, and the least and the greatest in brackets. A ratio is taken
between two runs of the same round; its median is what counts, and need not be the ratio of the two
medians. `must` and `aim` are what the project has set itself.

A message is a request or a reply, so a call is two. CPU is the processor time of the proxy's threads. With
loads that go on (all but storms and memory) proxy, backend and clients share one processor, and each proxy
has one thread. Added p50 is the median through the proxy less the median without it. Every reply is checked.
";

const ELSEWHERE: &str = "\
## Figures without a peer

The time of a routing decision inside a message: `cargo bench --bench parse`. The memory of a pin:
`cargo bench --bench claim`.
";

/// When, where and with what.
fn machine(bench: &Bench, args: &Args) -> anyhow::Result<String> {
    let cpu_info = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
    let haproxy = find_program("haproxy", "haproxy")?.display().to_string();
    let nginx = find_program("nginx", "nginx")?.display().to_string();
    let kernel = said("uname", &["-r"])?;
    // Sources that are no checkout have no commit.
    let commit = said("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let rows = [
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?),
        ("processors", format!("{} of {model}", bench.cpu_count)),
        ("Linux", kernel.split('-').next().unwrap_or_default().to_owned()),
        ("Pinfold", format!("{} {commit}", env!("CARGO_PKG_VERSION"))),
        (Peer::Haproxy.name(), version(&said(&haproxy, &["-v"])?)),
        (Peer::Nginx.name(), version(&said(&nginx, &["-v"])?)),
        ("rounds", format!("{} of {} s each", args.rounds, bench.seconds)),
        ("open files", format!("at most {} in a process", bench.limits.files)),
    ];
    Ok(rows.iter().map(|(key, value)| format!("- {key}: {value}\n")).collect())
}

/// The word with the number in a line like `nginx version: nginx/1.22.1`.
fn version(line: &str) -> String {
    let has_digit = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit());
    line.split([' ', '/']).find(has_digit).unwrap_or(line).to_owned()
}

/// The first line that a program prints, wherever it prints it.
fn said(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let out = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    let text = String::from_utf8([out.stdout, out.stderr].concat())?;
    Ok(text.lines().next().context("it says nothing")?.to_owned())
}
