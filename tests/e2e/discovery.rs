//! Backends that the config does not name: they register, are looked up, listed or added; they die,
//! return, and are known to an edge that starts again.

mod added;
mod dns;
mod files;
mod name_server;
mod registrar;

use std::collections::BTreeSet;

use serde_json::Value;

use super::harness::{Edge, KmsSim, TempDir, wait_for};

/// Probes that find out soon, and a short hold; tables may follow.
const QUICK: &str = "[probe]\ninterval_ms = 100\ntimeout_ms = 500\nretry_ms = 20\n\
                     [discovery]\nhold_ms = 500\n";

/// An edge whose config names no backend, with these tables.
async fn edge_with(tables: &str, dir: TempDir) -> Edge {
    Edge::start_unready(&[], &format!("{QUICK}{tables}"), dir).await
}

/// The row of the backend with that id.
async fn row(edge: &Edge, id: &str) -> Option<Value> {
    edge.backends().await.into_iter().find(|row| row["id"] == id)
}

/// Waits until exactly the backends of those ids take pins, and no other is in the fleet.
async fn fleet_becomes(edge: &Edge, ids: &[&str]) {
    let expected: BTreeSet<&str> = ids.iter().copied().collect();
    wait_for(&format!("the fleet is {ids:?}"), || async {
        let rows = edge.backends().await;
        let there: BTreeSet<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
        (there == expected && rows.iter().all(|row| row["takes_pins"] == true)).then_some(())
    })
    .await;
}

/// Waits until the edge has logged that.
async fn logs(edge: &Edge, text: &str) {
    wait_for(&format!("the log says {text:?}"), || async {
        edge.process.stderr().contains(text).then_some(())
    })
    .await;
}

/// Host and port of a simulated backend, and the id it gets when it is found.
fn addr_and_id(sim: &KmsSim) -> (String, String) {
    let addr = sim.url.split('/').nth(2).unwrap();
    (addr.to_owned(), addr.replace(':', "-"))
}

/// Its port.
fn port(sim: &KmsSim) -> u16 {
    addr_and_id(sim).0.rsplit_once(':').unwrap().1.parse().unwrap()
}
