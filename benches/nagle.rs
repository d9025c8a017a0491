//! What quick acknowledgement on links gains: a call whose answer comes right behind an event, from a
//! backend with Nagle's algorithm on, as a real one has it.
//!
//! The backend writes event and answer one after the other. Its system sends the answer only when the
//! event is acknowledged, and the client's system puts that off for 40 ms. The edge acknowledges what
//! it reads from a backend at once, and has Nagle's algorithm off towards the client. Both ways call
//! the same simulated backend in the same run, in turns.
//!
//! `cargo bench --bench nagle` takes about 10 seconds.

#[path = "relay/fleet.rs"]
mod fleet;

use std::time::{Duration, Instant};

use anyhow::ensure;
use pinfold::load::{Client, Events};
use serde_json::json;

use fleet::{Edge, KmsSim};

/// Calls of each way.
const CALLS: usize = 100;

/// A call slower than this was held up: the least time by which Linux puts an acknowledgement off is
/// 40 ms.
const STEP: Duration = Duration::from_millis(35);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let sim = KmsSim::start(&["--nagle"])?;
    let edge = Edge::start(&sim.url)?;
    edge.ready().await?;
    let mut direct = Caller::connect(&sim.url).await?;
    let mut through = Caller::connect(&edge.url).await?;
    for _ in 0..CALLS {
        direct.call().await?;
        through.call().await?;
    }
    println!("{:<7} {:>9} {:>9} {:>14}", "way", "p50 µs", "p99 µs", "held up 40 ms");
    let (direct, through) = (direct.print("direct"), through.print("edge"));
    println!("{:<7} {:>9.3} {:>9.3}", "ratio", through.0 / direct.0, through.1 / direct.1);
    Ok(())
}

/// A connection with a pipeline of two elements.
struct Caller {
    client: Client,
    events: Events,
    source: String,
    sink: String,
    latencies: Vec<Duration>,
}

impl Caller {
    async fn connect(url: &str) -> anyhow::Result<Self> {
        let (client, events) = Client::connect(url).await?;
        let pipeline = client.create_pipeline(None).await?;
        let (source, sink) =
            (pass_through(&client, &pipeline).await?, pass_through(&client, &pipeline).await?);
        client.subscribe(&source, "ElementConnected").await?;
        Ok(Self { client, events, source, sink, latencies: Vec::new() })
    }

    /// Connects the two elements, which raises an event, takes the time of that, and parts them again.
    async fn call(&mut self) -> anyhow::Result<()> {
        let sink = json!({"sink": self.sink});
        let sent = now();
        self.client.invoke(&self.source, "connect", sink.clone()).await?;
        self.latencies.push(sent.elapsed());
        let event = self.events.next().await;
        ensure!(event.is_some_and(|event| event.object == self.source), "the event of the call");
        self.client.invoke(&self.source, "disconnect", sink).await?;
        Ok(())
    }

    /// Prints median and 99th percentile in microseconds, and returns them.
    fn print(mut self, way: &str) -> (f64, f64) {
        self.latencies.sort_unstable();
        let at = |percent: usize| {
            self.latencies[(self.latencies.len() - 1) * percent / 100].as_secs_f64() * 1e6
        };
        let held_up = self.latencies.iter().filter(|latency| **latency >= STEP).count();
        println!("{way:<7} {:>9.1} {:>9.1} {held_up:>10} of {CALLS}", at(50), at(99));
        (at(50), at(99))
    }
}

async fn pass_through(client: &Client, pipeline: &str) -> anyhow::Result<String> {
    let params = json!({"type": "PassThrough", "constructorParams": {"mediaPipeline": pipeline}});
    let made = client.call("create", params).await?;
    made["value"].as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{made}"))
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
