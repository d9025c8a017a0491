//! What a soak has shown, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::config::{PROBE_INTERVAL, PROBE_TIMEOUT};
use super::deeds::Deeds;
use super::ledger::{Counts, Kind, Ledger, Trouble, Violation, millis_histogram};
use super::settings::SoakSettings;

/// The result of a soak.
#[derive(Debug, Serialize)]
pub struct Report {
    /// No violation was found, clients were at work, and nothing that was asked for is missing.
    pub valid: bool,
    seed: u64,
    seconds: f64,
    sessions: u32,
    backends: u8,
    churn: Deeds,
    /// What was asked for and should have happened, but never did.
    missing: Vec<&'static str>,
    calls: Calls,
    clients: Clients,
    /// From the kill of a backend to the first client told, where one was.
    told_after_kill: Times,
    /// The same from when a backend was stopped for long.
    told_after_freeze: Times,
    /// Time in which a kill is to be told: an interval of probes, and the time that one may take.
    told_bound_ms: u64,
    /// From a client's loss to its next working pipeline.
    rebuild: Times,
    /// How often each was found, by its name.
    violations: BTreeMap<&'static str, u64>,
    /// The first of them, with the last lines about their meeting.
    found: Vec<Violation>,
}

/// Calls and what became of them.
#[derive(Debug, Serialize)]
struct Calls {
    sent: u64,
    answered: u64,
    refused: u64,
    given_up: u64,
    silent: u64,
    /// Times that a call was cut off by the end of its connection.
    cut: u64,
    resent: u64,
    answered_each: u64,
    late: u64,
    /// Refusals as `method code`.
    refusals: BTreeMap<String, u64>,
}

/// What clients did and met.
#[derive(Debug, Serialize)]
struct Clients {
    connections: u64,
    resumed: u64,
    sessions_lost: u64,
    meetings: u64,
    pipelines: u64,
    losses: u64,
    losses_unplaced: u64,
    /// Meetings that a drain has let go, by what clients were told.
    moved: u64,
}

/// Some times in milliseconds; zero if there is none.
#[derive(Debug, Serialize)]
struct Times {
    count: u64,
    p50_ms: u64,
    p99_ms: u64,
    max_ms: u64,
}

impl Report {
    /// The report of a run of `seconds` whose books are closed.
    pub(super) fn new(
        settings: &SoakSettings,
        ledger: &Ledger,
        deeds: Deeds,
        seconds: f64,
    ) -> Self {
        let counts = ledger.counts();
        let violations: BTreeMap<&'static str, u64> =
            Kind::ALL.iter().map(|kind| (kind.name(), counts.violations(*kind))).collect();
        let missing = deeds.missing(settings, counts.moved);
        let is_clean = violations.values().all(|count| *count == 0);
        Self {
            // Clients that were told nothing have shown nothing.
            valid: is_clean && counts.answered > 0 && missing.is_empty(),
            seed: settings.seed,
            seconds,
            sessions: settings.sessions,
            backends: settings.backends,
            churn: deeds,
            missing,
            calls: Calls::of(counts),
            clients: Clients::of(counts),
            told_after_kill: Times::of(ledger.told_after(Trouble::Killed)),
            told_after_freeze: Times::of(ledger.told_after(Trouble::Frozen)),
            told_bound_ms: millis(PROBE_INTERVAL + PROBE_TIMEOUT),
            rebuild: Times::in_histogram(&counts.rebuild_ms),
            violations,
            found: ledger.violations().to_vec(),
        }
    }

    /// The report as one line of JSON.
    ///
    /// # Panics
    /// Never: all keys are text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("all keys are text")
    }
}

impl Calls {
    fn of(counts: &Counts) -> Self {
        let refusal = |(&(method, code), &count): (&(&'static str, i64), &u64)| {
            (format!("{method} {code}"), count)
        };
        Self {
            sent: counts.calls,
            answered: counts.answered,
            refused: counts.refused_count(),
            given_up: counts.given_up,
            silent: counts.silent,
            cut: counts.cut,
            resent: counts.resent,
            answered_each: counts.answered_each,
            late: counts.late,
            refusals: counts.refused.iter().map(refusal).collect(),
        }
    }
}

impl Clients {
    fn of(counts: &Counts) -> Self {
        Self {
            connections: counts.connections,
            resumed: counts.resumed,
            sessions_lost: counts.sessions_lost,
            meetings: counts.meetings,
            pipelines: counts.pipelines,
            losses: counts.losses,
            losses_unplaced: counts.losses_unplaced,
            moved: counts.moved,
        }
    }
}

impl Times {
    fn of(times: &[Duration]) -> Self {
        let mut histogram = millis_histogram();
        for time in times {
            histogram.saturating_record(millis(*time));
        }
        Self::in_histogram(&histogram)
    }

    fn in_histogram(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50_ms: histogram.value_at_quantile(0.5),
            p99_ms: histogram.value_at_quantile(0.99),
            max_ms: histogram.max(),
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50_ms, p99_ms, max_ms } = self;
        write!(f, "{count} times, p50 {p50_ms} ms, p99 {p99_ms} ms, longest {max_ms} ms")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, backends, seconds, seed, .. } = self;
        writeln!(f, "soak: {sessions} sessions, {backends} backends, {seconds:.0} s, seed {seed}")?;
        write!(f, "{}{}{}", self.churn, self.calls, self.clients)?;
        let bound = self.told_bound_ms;
        writeln!(f, "told of a kill   {} (bound {bound} ms)", self.told_after_kill)?;
        writeln!(f, "told of a stop   {}", self.told_after_freeze)?;
        writeln!(f, "built anew       {}", self.rebuild)?;
        for (what, count) in &self.violations {
            writeln!(f, "{what:<24} {count}")?;
        }
        for what in &self.missing {
            writeln!(f, "never happened           {what}")?;
        }
        for violation in &self.found {
            write!(f, "\n{violation}")?;
        }
        writeln!(f, "{}", if self.valid { "VALID" } else { "INVALID" })
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, answered, refused, given_up, silent, .. } = self;
        let Self { cut, resent, answered_each, refusals, .. } = self;
        writeln!(
            f,
            "calls            {sent} sent = {answered} answered + {refused} refused + \
             {given_up} given up + {silent} silent\n                 \
             {cut} cut off, {resent} sent again, {answered_each} answered on both connections"
        )?;
        let refusals: Vec<_> = refusals.iter().map(|(what, n)| format!("{what}: {n}")).collect();
        writeln!(f, "refused          {}", refusals.join(", "))
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, resumed, sessions_lost, meetings, .. } = self;
        let Self { pipelines, losses, losses_unplaced, moved, .. } = self;
        writeln!(
            f,
            "clients          {connections} connections, {resumed} sessions resumed, \
             {sessions_lost} lost; {meetings} meetings\n                 \
             {pipelines} pipelines; {losses} losses, {losses_unplaced} of pipelines that no backend \
             had shown yet; \
             {moved} meetings moved by drains"
        )
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
