//! What the edge costs: calls through it against calls to the backend itself, in the same run.
//!
//! A simulated backend and an edge before it run as processes of their own. Clients on N connections
//! call `getName`, each the next as soon as it has the answer to the last, in rounds that take turns
//! between the two ways, so that whatever else the machine does meets both. Printed are medians over
//! the rounds. All share the machine's cores, so messages/s says what is left for each, not what the
//! edge alone could do.
//!
//! `cargo bench --bench relay` takes about 20 seconds.

#[path = "relay/fleet.rs"]
mod fleet;

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::future::{try_join, try_join_all};
use pinfold::load::Client;
use serde_json::json;

use fleet::{Edge, KmsSim};

/// Connections that call at once.
const CONNECTION_COUNTS: [usize; 2] = [1, 64];

/// Rounds of each way and count; odd, so that the median is one of them.
const ROUNDS: usize = 5;

/// Time a round takes.
const ROUND: Duration = Duration::from_millis(900);

/// Time before the first round, for caches and branch predictors.
const WARM_UP: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let sim = KmsSim::start(&[])?;
    let edge = Edge::start(&sim.url)?;
    edge.ready().await?;
    println!(
        "{:>11}  {:<6} {:>9} {:>9} {:>12}",
        "connections", "way", "p50 µs", "p99 µs", "messages/s"
    );
    for count in CONNECTION_COUNTS {
        let (direct, through) =
            try_join(Callers::connect(&sim.url, count), Callers::connect(&edge.url, count)).await?;
        let (mut direct_rounds, mut edge_rounds) = (Vec::new(), Vec::new());
        direct.call_for(WARM_UP).await?;
        through.call_for(WARM_UP).await?;
        for _ in 0..ROUNDS {
            direct_rounds.push(direct.call_for(ROUND).await?);
            edge_rounds.push(through.call_for(ROUND).await?);
        }
        direct.ensure_no_strays()?;
        through.ensure_no_strays()?;
        print_comparison(count, &Round::median(&direct_rounds), &Round::median(&edge_rounds));
    }
    Ok(())
}

/// What one round measured.
#[derive(Clone, Copy)]
struct Round {
    p50_us: f64,
    p99_us: f64,
    /// Requests and answers, both counted.
    messages_per_s: f64,
}

impl Round {
    fn new(mut latencies: Vec<Duration>, took: Duration) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        Self {
            p50_us: at(50).as_secs_f64() * 1e6,
            p99_us: at(99).as_secs_f64() * 1e6,
            messages_per_s: 2.0 * latencies.len() as f64 / took.as_secs_f64(),
        }
    }

    /// The median of each measure.
    fn median(rounds: &[Self]) -> Self {
        let of = |measure: fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(measure).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            p50_us: of(|round| round.p50_us),
            p99_us: of(|round| round.p99_us),
            messages_per_s: of(|round| round.messages_per_s),
        }
    }
}

fn print_comparison(count: usize, direct: &Round, edge: &Round) {
    for (way, round) in [("direct", direct), ("edge", edge)] {
        let Round { p50_us, p99_us, messages_per_s } = round;
        println!("{count:>11}  {way:<6} {p50_us:>9.1} {p99_us:>9.1} {messages_per_s:>12.0}");
    }
    let p50 = edge.p50_us / direct.p50_us;
    let p99 = edge.p99_us / direct.p99_us;
    let messages = edge.messages_per_s / direct.messages_per_s;
    println!("{count:>11}  {:<6} {p50:>9.2} {p99:>9.2} {messages:>12.2}", "ratio");
}

/// Connections that call, each with a pipeline of its own.
struct Callers(Vec<(Client, String)>);

impl Callers {
    async fn connect(url: &str, count: usize) -> anyhow::Result<Self> {
        let connecting = (0..count).map(|_| async move {
            let (client, _events) = Client::connect(url).await?;
            let pipeline = client.create_pipeline(None).await?;
            anyhow::Ok((client, pipeline))
        });
        Ok(Self(try_join_all(connecting).await?))
    }

    /// Has every connection call for `time`, one call after the other.
    async fn call_for(&self, time: Duration) -> anyhow::Result<Round> {
        let start = now();
        let calling = self.0.iter().map(|(client, pipeline)| async move {
            let mut latencies = Vec::new();
            while start.elapsed() < time {
                let sent = now();
                // The client matches the answer by its id; the value says it is the right object's.
                let name = client.invoke(pipeline, "getName", json!({})).await?;
                latencies.push(sent.elapsed());
                ensure!(name == pipeline.as_str(), "{name} answers for {pipeline}");
            }
            Ok(latencies)
        });
        let latencies = try_join_all(calling).await?.concat();
        Ok(Round::new(latencies, start.elapsed()))
    }

    /// Every answer had the id of a call that waited for it.
    fn ensure_no_strays(&self) -> anyhow::Result<()> {
        let stray_count: u64 = self.0.iter().map(|(client, _)| client.stray_count()).sum();
        ensure!(stray_count == 0, "{stray_count} messages that no call waited for");
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
