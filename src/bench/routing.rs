//! What routing costs inside the edge, as it counts it itself in `/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::Tally;
use super::cohort::{Participant, Venue};
use super::connection::Connection;
use super::crew::{Plan, gather};
use super::error::BenchError;
use super::latency::{LatencySettings, call_all};
use super::process;
use super::reply::Wrong;
use super::report::{Measured, Report, RoutingRow, Unit};
use super::storm::close_all;
use super::target::Target;
use crate::admin::client::fetch_text;
use crate::runtime::Clock;

/// The histogram that is read, with a label for the kind.
const METRIC: &str = "pinfold_routing_seconds";

/// Clients of a thread that come back at once.
const AT_ONCE: usize = 32;

/// A closed loop before and after which the edge is asked for its metrics.
#[derive(Clone, Debug)]
pub struct RoutingSettings {
    /// The load in between. Each client creates a pipeline before it, and loses its connection and
    /// comes back after it, so that there is some of every kind.
    pub load: LatencySettings,
    /// The edge's admin API, like `http://127.0.0.1:9901`.
    pub admin: String,
}

/// What the threads are told to do.
#[derive(Clone, Copy)]
enum Phase {
    Call(Duration),
    ComeBack,
}

/// The clients of a thread, first on their first connections, then on their second.
struct Guests {
    first: Vec<Participant>,
    second: Vec<Connection>,
}

/// One kind's buckets, each with its upper bound in seconds, and the rest of its histogram.
#[derive(Clone, Debug, Default, PartialEq)]
struct Distribution {
    /// Counts up to each bound, in their order; the last has none.
    buckets: Vec<(f64, u64)>,
    sum_seconds: f64,
}

impl RoutingSettings {
    /// Runs it.
    ///
    /// # Errors
    /// The clients could not get ready, or the edge does not tell its metrics.
    pub fn run(&self) -> Result<Report, BenchError> {
        let clients = &self.load.clients;
        process::raise_open_files(clients.connections)?;
        let venue = Venue::new(Target::find(clients)?);
        let before = self.read()?;
        let plan = Plan {
            prepare: async |thread| {
                let first = venue.gather(clients.of_thread(thread)).await?;
                Ok(Guests { first, second: Vec::new() })
            },
            work: async |guests: &mut Guests, phase| match phase {
                Phase::Call(time) => call_all(&mut guests.first, self.load.mix, time).await,
                Phase::ComeBack => guests.come_back(&venue).await,
            },
            end: async |guests: Guests| close_all(guests.second).await,
        };
        let measured = gather(clients.threads, &plan, |crew| {
            let mut tally = Tally::new();
            crew.run(&Phase::Call(self.load.warm_up))?
                .iter()
                .for_each(|one| tally.faults.add(&one.faults));
            let (before, clock) = (clients.usages()?, Clock::start());
            crew.run(&Phase::Call(self.load.time))?.iter().for_each(|one| tally.add(one));
            let took = Duration::from_nanos(clock.now_nanos());
            let after = clients.usages()?;
            crew.run(&Phase::ComeBack)?.iter().for_each(|one| tally.faults.add(&one.faults));
            Ok(Measured { tally, took, before, after })
        })?;
        let mut rows = BTreeMap::new();
        for (kind, after) in self.read()? {
            let row = after.since(before.get(&kind)).row();
            rows.insert(kind, row);
        }
        Ok(Report::new("routing", clients, Unit::Call, measured).with_routing(rows))
    }

    fn read(&self) -> Result<BTreeMap<String, Distribution>, BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let text =
            runtime.map_err(BenchError::Thread)?.block_on(fetch_text(&self.admin, "/metrics"));
        let text = text.map_err(|error| BenchError::Metrics(self.admin.clone(), error))?;
        let found = parse(&text);
        if found.is_empty() { Err(BenchError::NoMetric(METRIC)) } else { Ok(found) }
    }
}

impl Guests {
    /// Has all lose their connection and come back.
    async fn come_back(&mut self, venue: &Venue) -> Tally {
        let mut tally = Tally::new();
        let leaving = std::mem::take(&mut self.first);
        let returning = stream::iter(leaving.into_iter().map(|one| one.come_back(venue)));
        let mut returning = std::pin::pin!(returning.buffer_unordered(AT_ONCE));
        while let Some(returned) = returning.next().await {
            match returned {
                Ok(connection) => self.second.push(connection),
                Err(error) => match Wrong::of(&error) {
                    Some(wrong) => tally.faults.on_wrong(wrong),
                    None => tally.faults.on_broken(&error),
                },
            }
        }
        tally
    }
}

/// The histogram by kind, out of metrics in the `OpenMetrics` text format.
fn parse(text: &str) -> BTreeMap<String, Distribution> {
    let mut found: BTreeMap<String, Distribution> = BTreeMap::new();
    for line in text.lines() {
        let Some(line) = line.strip_prefix(METRIC) else { continue };
        let Some((head, value)) = line.rsplit_once(' ') else { continue };
        let Some(kind) = label(head, "kind") else { continue };
        let one = found.entry(kind.to_owned()).or_default();
        if let (Some(bound), Ok(count)) = (label(head, "le"), value.parse()) {
            one.buckets.push((bound.parse().unwrap_or(f64::INFINITY), count));
        } else if let (true, Ok(sum)) = (head.starts_with("_sum"), value.parse()) {
            one.sum_seconds = sum;
        }
    }
    found
}

/// The value of label `name` in what stands behind a metric's name.
fn label<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = head.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

impl Distribution {
    /// What was added since `before`.
    fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before else { return self.clone() };
        let pairs = self.buckets.iter().zip(&before.buckets);
        let buckets = pairs.map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then)));
        Self { buckets: buckets.collect(), sum_seconds: self.sum_seconds - before.sum_seconds }
    }

    fn row(&self) -> RoutingRow {
        let count = self.buckets.last().map_or(0, |(_, count)| *count);
        let mean_us = if count == 0 { 0.0 } else { self.sum_seconds * 1e6 / count as f64 };
        RoutingRow {
            count,
            mean_us,
            p50_us: self.bound_us(count, 50),
            p99_us: self.bound_us(count, 99),
        }
    }

    /// The upper bound of the bucket in which so many percent of `count` are reached.
    fn bound_us(&self, count: u64, percent: u64) -> Option<f64> {
        let wanted = (count * percent).div_ceil(100).max(1);
        let (bound, _) = self.buckets.iter().find(|(_, reached)| *reached >= wanted)?;
        bound.is_finite().then_some(bound * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP pinfold_routing_seconds Time\n\
        pinfold_routing_seconds_sum{kind=\"table_hit\"} 0.0005\n\
        pinfold_routing_seconds_count{kind=\"table_hit\"} 100\n\
        pinfold_routing_seconds_bucket{le=\"0.000001\",kind=\"table_hit\"} 60\n\
        pinfold_routing_seconds_bucket{le=\"0.00001\",kind=\"table_hit\"} 99\n\
        pinfold_routing_seconds_bucket{le=\"+Inf\",kind=\"table_hit\"} 100\n\
        pinfold_routing_seconds_sum{kind=\"new_pin\"} 0.0\n\
        pinfold_routing_seconds_bucket{le=\"+Inf\",kind=\"new_pin\"} 0\n\
        pinfold_pins 3\n";

    #[test]
    fn a_histogram_is_read_by_kind() {
        let found = parse(TEXT);
        assert_eq!(found.len(), 2);
        let row = found["table_hit"].row();
        assert_eq!(row.count, 100);
        assert!((row.mean_us - 5.0).abs() < 1e-9, "{row:?}");
        assert!(row.p50_us.is_some_and(|us| (us - 1.0).abs() < 1e-9), "{row:?}");
        assert!(row.p99_us.is_some_and(|us| (us - 10.0).abs() < 1e-9), "{row:?}");
        assert_eq!(found["new_pin"].row().count, 0);
        assert_eq!(found["new_pin"].row().p50_us, None);
    }

    #[test]
    fn only_what_came_since_counts() {
        let before = parse(TEXT);
        let after = parse(&TEXT.replace(" 60\n", " 65\n").replace(" 100\n", " 110\n"));
        let row = after["table_hit"].since(before.get("table_hit")).row();
        assert_eq!(row.count, 10);
        assert_eq!(row.p99_us, None, "beyond the last bound");
    }
}
