//! The truth about pipelines: each backend is asked directly, never the edge.
//!
//! A watcher subscribes to the manager's `ObjectCreated` over a connection of its own, so it learns of
//! each pipeline where and when it is made, though it may live for a moment only. Looking again and
//! again would miss those.

use std::net::SocketAddr;

use serde_json::json;

use super::books::Books;
use super::error::SoakError;
use super::ledger::ProcessNumber;
use crate::load::{Client, Events};
use crate::runtime::Tasks;

const MANAGER: &str = "manager_ServerManager";

/// What the id of a pipeline ends in; the ids of elements go on.
const PIPELINE: &str = ".MediaPipeline";

/// Watches the process `process` at `addr` from now until it ends.
///
/// # Errors
/// It does not answer as a media server does.
pub(super) async fn start(
    addr: SocketAddr,
    process: ProcessNumber,
    books: &Books,
    tasks: &Tasks,
) -> Result<(), SoakError> {
    let failed = |what: String| SoakError::Refused(format!("the watch of {addr}"), what);
    let url = format!("ws://{addr}/kurento");
    let (client, events) =
        Client::connect(&url).await.map_err(|error| failed(error.to_string()))?;
    let subscribed = client.subscribe(MANAGER, "ObjectCreated").await;
    subscribed.map_err(|error| failed(error.to_string()))?;
    // What was made before that is told by no event.
    let before = client.invoke(MANAGER, "getPipelines", json!({})).await;
    let before = before.map_err(|error| failed(error.to_string()))?;
    for pipeline in before.as_array().into_iter().flatten().filter_map(|id| id.as_str()) {
        books.enter(|ledger, now| ledger.placed(pipeline, process, now));
    }
    let stop = tasks.stop_token();
    let watching = watch(client, events, process, books.clone());
    tasks.spawn("watch", async move {
        stop.run_until_cancelled(watching).await;
    });
    Ok(())
}

async fn watch(client: Client, mut events: Events, process: ProcessNumber, books: Books) {
    while let Some(event) = events.next().await {
        let Some(object) = event.data["object"].as_str() else { continue };
        if event.kind == "ObjectCreated" && object.ends_with(PIPELINE) {
            books.enter(|ledger, now| ledger.placed(object, process, now));
        }
    }
    let dropped = client.events_dropped_count();
    if dropped > 0 {
        tracing::warn!(dropped, "a watcher was too slow: it has not seen every pipeline");
    }
}
