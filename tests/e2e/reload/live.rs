//! Reloads under many live sessions lose no frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use pinfold::load::{Client, Events};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{BY_HAND, rewrite_among};
use crate::e2e::harness::{Edge, KmsSim, within_bound};

/// Sessions that live while the config changes.
const SESSIONS: usize = 2_000;

/// Connections that are made at the same time.
const CONNECTING: usize = 64;

/// Reloads, one each [`RELOAD_INTERVAL`].
const RELOADS: usize = 50;

const RELOAD_INTERVAL: Duration = Duration::from_millis(100);

/// Calls under way at the same time. Sessions take turns at them in the order in which they ask.
const CALLING: usize = 16;

/// Keys of a backend that has room for all.
const ROOMY: &str = "capacity = 1000000";

/// A client with a pipeline, one in ten of them in a meeting that others share.
struct Caller {
    client: Client,
    _events: Events,
    pipeline: String,
}

async fn caller(edge: &Edge, number: usize) -> Caller {
    let (client, events) = edge.connect().await;
    let meeting = number.is_multiple_of(10).then(|| format!("meeting-{}", number % 40));
    let pipeline = client.create_pipeline(meeting.as_deref()).await.unwrap();
    Caller { client, _events: events, pipeline }
}

/// Calls whenever it has its turn until `stop`; each call must be answered with what belongs to it.
async fn keep_calling(
    caller: Caller,
    (sent, answered): (Arc<AtomicU64>, Arc<AtomicU64>),
    turns: Arc<Semaphore>,
    stop: CancellationToken,
) -> Caller {
    while let Some(turn) = stop.run_until_cancelled(turns.acquire()).await {
        let _turn = turn.unwrap();
        sent.fetch_add(1, Relaxed);
        let name = caller.client.invoke(&caller.pipeline, "getName", json!({})).await;
        assert_eq!(name.unwrap(), caller.pipeline.as_str());
        answered.fetch_add(1, Relaxed);
    }
    caller
}

/// What changes from one reload to the next: something of every kind.
fn config(turn: usize) -> String {
    let odd = turn % 2 == 1;
    let pick =
        |odd_is: &str, even_is: &str| if odd { odd_is.to_owned() } else { even_is.to_owned() };
    format!(
        "policy = [{}]\n{}[limits]\ncalls_max = {}\nconnections_max = {}\n[weights]\npublish_legs = {}\n\
         [placement]\nreserve_legs = {}\n[pacing]\ncalls_per_second = {}\n[sessions]\nhold_ms = {}\n\
         [probe]\ninterval_ms = {}\n[log]\nfilter = \"{}\"\n[geoip]\nbuiltin = {}\n",
        pick("\"deny create HttpPostEndpoint\"", ""),
        pick("[[listeners]]\naddr = \"127.0.0.1:0\"\npath = \"/other\"\n", ""),
        4_000 + turn,
        10_000 + turn,
        1 + turn % 3,
        4 + turn % 5,
        pick("0", "10000"),
        5_000 + turn,
        1_000 + turn,
        pick("warn", "error"),
        pick("true", "false"),
    )
}

/// Source: the promise of `docs/OPERATIONS.md`, "Changing the config while it runs".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_sessions_that_keep_calling_lose_no_frame() {
    let sims = KmsSim::start_all(["a", "b"]).await;
    let (a, b) = ((&sims[0], ROOMY), (&sims[1], ROOMY));
    let more = format!("[pacing]\ncalls_per_second = 0\n{BY_HAND}");
    let edge = Arc::new(Edge::start_among(&[a, b], &more).await);
    let connecting = stream::iter(0..SESSIONS).map(|number| caller(&edge, number));
    let callers: Vec<_> =
        within_bound("all have a pipeline", connecting.buffer_unordered(CONNECTING).collect())
            .await;

    let (counts, stop) = ((Arc::default(), Arc::default()), CancellationToken::new());
    let turns = Arc::new(Semaphore::new(CALLING));
    let mut calling = JoinSet::new();
    for caller in callers {
        calling.spawn(keep_calling(caller, counts.clone(), turns.clone(), stop.clone()));
    }
    // The pace of reloads is what is tried here; nothing is decided by the clock.
    let mut ticks = interval(RELOAD_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 1..=RELOADS {
        ticks.tick().await;
        let labels = format!("{ROOMY}\nlabels = [\"turn={turn}\"]");
        rewrite_among(&edge, &[(&sims[0], &labels), b], &config(turn));
        let changes = edge.reload().await.unwrap();
        assert!(changes.len() >= 8, "{turn}: {changes:?}");
    }
    stop.cancel();
    let callers = within_bound("all calls are answered", calling.join_all()).await;

    let (sent, answered): (Arc<AtomicU64>, Arc<AtomicU64>) = counts;
    assert_eq!(sent.load(Relaxed), answered.load(Relaxed));
    assert!(sent.load(Relaxed) >= SESSIONS as u64, "each has called: {sent:?}");
    assert_eq!(callers.len(), SESSIONS);
    for caller in &callers {
        assert_eq!(caller.client.stray_count(), 0, "an answer without a call");
        caller.client.ping().await.unwrap();
    }
    let (_, metrics) = edge.admin("/metrics").await;
    for line in [
        format!("pinfold_connections_total {SESSIONS}"),
        format!("pinfold_connections_open {SESSIONS}"),
        format!("pinfold_config_reloads_total{{outcome=\"applied\"}} {RELOADS}"),
        "pinfold_strays_total 0".to_owned(),
        "pinfold_calls_timed_out_total 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}
