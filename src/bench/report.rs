//! What a run found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Tally;
use super::process::Usage;
use super::tally::Faults;
use super::target::Clients;

/// What a run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    /// A request and its reply.
    Call,
    /// An event that a subscriber received.
    Event,
    /// A connection from the first packet to the first reply, or to the last for TLS.
    Connection,
}

/// What was measured, before it is reported.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) tally: Tally,
    pub(super) took: Duration,
    pub(super) before: Vec<Usage>,
    pub(super) after: Vec<Usage>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    mode: &'static str,
    url: String,
    connections: usize,
    threads: usize,
    /// Whether every reply was right. If not, the figures mean nothing.
    valid: bool,
    unit: Unit,
    count: u64,
    seconds: f64,
    /// Null where nothing was done again and again.
    per_second: Option<f64>,
    /// Left out if nothing was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Latency>,
    /// Connections that could not be opened: a finding, not a wrong answer.
    failures: u64,
    faults: Faults,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<ProcessRow>,
    /// Routing latency by kind, as the edge measured it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    routing: BTreeMap<String, RoutingRow>,
}

/// A distribution, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    mean: f64,
    min: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// What a process used for the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ProcessRow {
    pid: u32,
    cpu_seconds: f64,
    /// Processor time for each thing counted.
    cpu_us_each: f64,
    memory_bytes: u64,
    /// How much more that is than before the run.
    memory_growth_bytes: i64,
}

/// One kind of routing. Percentiles are the upper bounds of the buckets they fall into.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct RoutingRow {
    pub(super) count: u64,
    pub(super) mean_us: f64,
    /// Null above the last bucket's bound.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
}

impl Report {
    pub(super) fn new(
        mode: &'static str,
        clients: &Clients,
        unit: Unit,
        measured: Measured,
    ) -> Self {
        let Measured { tally, took, before, after } = measured;
        let count = tally.count();
        let seconds = took.as_secs_f64();
        let row = |(before, after): (&Usage, &Usage)| ProcessRow::new(before, after, count);
        Self {
            mode,
            url: clients.url.clone(),
            connections: clients.connections,
            threads: clients.threads,
            valid: tally.faults.is_empty(),
            unit,
            count,
            seconds,
            per_second: (seconds > 0.0).then_some(count as f64 / seconds),
            latency_us: tally.latencies().map(Latency::of),
            failures: 0,
            processes: before.iter().zip(&after).map(row).collect(),
            faults: tally.faults,
            routing: BTreeMap::new(),
        }
    }

    /// The same with connections that could not be opened.
    #[must_use]
    pub(super) fn with_failures(mut self, failures: u64) -> Self {
        self.failures = failures;
        self
    }

    /// The same without a rate: what was counted was there all the time.
    #[must_use]
    pub(super) fn without_rate(mut self) -> Self {
        self.per_second = None;
        self
    }

    /// The same with what the edge says of its routing.
    #[must_use]
    pub(super) fn with_routing(mut self, routing: BTreeMap<String, RoutingRow>) -> Self {
        self.routing = routing;
        self
    }

    /// Whether every reply was right.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.valid
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("every key is text");
        text.push('\n');
        text
    }

    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = String::new();
        self.write_table(&mut text).expect("a String takes all text");
        text
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        let Self { mode, url, connections, threads, count, seconds, per_second, .. } = self;
        let unit = match self.unit {
            Unit::Call => "calls",
            Unit::Event => "events",
            Unit::Connection => "connections",
        };
        writeln!(out, "{mode}  {url}  connections {connections}  threads {threads}")?;
        let rate = per_second.map_or(String::new(), |rate| format!(": {rate:.0}/s"));
        writeln!(out, "  {unit:<12} {count:>12}   in {seconds:.2} s{rate}")?;
        if let Some(latency) = &self.latency_us {
            let Latency { mean, min, p50, p90, p99, p999, max } = latency;
            writeln!(
                out,
                "  latency, µs  {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
                "min", "mean", "p50", "p90", "p99", "p99.9", "max"
            )?;
            writeln!(
                out,
                "               {min:>9.1} {mean:>9.1} {p50:>9.1} {p90:>9.1} {p99:>9.1} {p999:>9.1} \
                 {max:>9.1}"
            )?;
        }
        for row in &self.processes {
            let ProcessRow { pid, cpu_seconds, cpu_us_each, memory_bytes, memory_growth_bytes } =
                row;
            let whose = if *pid == std::process::id() { " (these clients)" } else { "" };
            writeln!(
                out,
                "  process {pid}{whose}: {cpu_seconds:.3} s of processor time, {cpu_us_each:.2} µs each; \
                 {} KiB of memory, {} KiB more than before",
                memory_bytes / 1024,
                memory_growth_bytes / 1024,
            )?;
        }
        self.write_routing(out)?;
        if self.failures > 0 {
            writeln!(out, "  FAILED: {} connections", self.failures)?;
        }
        self.write_verdict(out)
    }

    fn write_routing(&self, out: &mut String) -> std::fmt::Result {
        let bound = |us: Option<f64>| us.map_or("more".to_owned(), |us| format!("{us:.2}"));
        for (kind, row) in &self.routing {
            let RoutingRow { count, mean_us, p50_us, p99_us } = row;
            writeln!(
                out,
                "  routing {kind:<13} {count:>10}   mean {mean_us:.2} µs, p50 up to {}, p99 up to {}",
                bound(*p50_us),
                bound(*p99_us)
            )?;
        }
        Ok(())
    }

    fn write_verdict(&self, out: &mut String) -> std::fmt::Result {
        let Faults { stray, misrouted, refused, missing, broken, first } = &self.faults;
        if self.valid {
            return writeln!(out, "  valid: every reply was right, and came once");
        }
        writeln!(
            out,
            "  INVALID: {stray} stray, {misrouted} misrouted, {refused} refused, {missing} missing, \
             {broken} connections broken"
        )?;
        writeln!(out, "  the first: {}", first.as_deref().unwrap_or("unknown"))
    }
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let us = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| us(latencies.value_at_quantile(quantile));
        Self {
            mean: latencies.mean() / 1e3,
            min: us(latencies.min()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(latencies.max()),
        }
    }
}

impl ProcessRow {
    fn new(before: &Usage, after: &Usage, count: u64) -> Self {
        let cpu_nanos = after.cpu_nanos.saturating_sub(before.cpu_nanos) as f64;
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Self {
            pid: after.pid,
            cpu_seconds: cpu_nanos / 1e9,
            cpu_us_each: cpu_nanos / 1e3 / count.max(1) as f64,
            memory_bytes: after.memory_bytes,
            memory_growth_bytes: signed(after.memory_bytes) - signed(before.memory_bytes),
        }
    }
}
