//! Many servers in one process, and what they take.

use std::collections::BTreeSet;

use pinfold::load::Client;
use serde_json::json;

use crate::e2e::harness::{Process, raw_socket, wait_for, within_bound};

use super::faults::nothing_comes;
use super::sim::{PING, PONG, Sim, ask};

/// Bound on 500 idle servers, in kilobytes of resident memory.
const RESIDENT_MAX_KB: u64 = 200 * 1024;

/// Resident memory of a process in kilobytes, where the system tells.
fn resident_kb(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[tokio::test]
async fn five_hundred_idle_servers_fit_in_200_mb() {
    let sim = Sim::start_many(500, false, &[]).await;
    let addrs: BTreeSet<&String> = sim.addrs.iter().collect();
    assert_eq!(addrs.len(), 500);
    let mut ids = BTreeSet::new();
    for addr in [&sim.addrs[0], &sim.addrs[250], &sim.addrs[499]] {
        let (client, _events) = Client::connect(&format!("ws://{addr}/kurento")).await.unwrap();
        ids.insert(client.call("connect", json!({})).await.unwrap()["serverId"].to_string());
    }
    assert_eq!(ids.len(), 3, "each server is one of its own");
    let resident = resident_kb(sim.process.id());
    assert!(resident < RESIDENT_MAX_KB, "{resident} kB");
}

#[tokio::test]
async fn ports_are_consecutive_from_the_one_given() {
    let started = || async {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (listen, second) = (free.to_string(), free.port().checked_add(1)?);
        let args = ["kms-sim", "--count", "2", "--name", "k", "--listen", &listen];
        let mut process = Process::pinfold("kms-sim", &args);
        // Someone else may have taken either port meanwhile; then it ends, and others are tried.
        let lines = process.lines_unless_ended(2).await?;
        Some((free.port(), second, lines))
    };
    let (first, second, lines) = wait_for("two free ports in a row", started).await;
    let line = |name, port| format!("kms-sim {name} listening on ws://127.0.0.1:{port}/kurento");
    assert_eq!(lines, [line("k-1", first), line("k-2", second)]);
}

#[tokio::test]
async fn a_seed_decides_the_ids_of_all_servers() {
    let mut seen = Vec::new();
    for seed in ["7", "7", "8"] {
        let sim = Sim::start_many(2, true, &["--seed", seed]).await;
        let (_, list) = sim.control("GET", "/servers").await;
        let restarted = sim.suffer("restart").await;
        seen.push([
            list["servers"][0]["process"]["server_id"].clone(),
            list["servers"][1]["process"]["server_id"].clone(),
            restarted["process"]["server_id"].clone(),
        ]);
    }
    assert_eq!(seen[0], seen[1]);
    let ids: BTreeSet<String> = seen[1..].iter().flatten().map(ToString::to_string).collect();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn a_capacity_is_a_number_of_endpoints() {
    let sim = Sim::start(&["--capacity", "1", "--cpus", "7"]).await;
    let (client, _events) = Client::connect(&sim.url()).await.unwrap();
    let cpus = client.invoke("manager_ServerManager", "getCpuCount", json!({})).await.unwrap();
    assert_eq!(cpus, 7);
    let pipeline = client.create_pipeline(None).await.unwrap();
    client.create_endpoint(&pipeline).await.unwrap();
    assert_eq!(client.create_endpoint(&pipeline).await.unwrap_err().code(), Some(40009));
}

#[tokio::test]
async fn without_a_descriptor_no_handshake_is_answered_until_there_is_one() {
    // Twenty-four are taken by the server itself.
    let sim = Sim::start_many(2, false, &["--files-max", "26"]).await;
    let (first, mut second) = (sim.connect().await, sim.connect().await);
    let url = sim.url();
    let mut third = std::pin::pin!(raw_socket(&url));
    nothing_comes(&sim, third.as_mut()).await;
    assert_eq!(ask(&mut second, PING).await, PONG);
    drop(first);
    let mut third = within_bound("the third connection", third).await;
    assert_eq!(ask(&mut third, PING).await, PONG);
}

#[tokio::test]
async fn a_server_emptied_above_its_kill_limit_ends_itself() {
    let mut sim = Sim::start(&["--files-max", "100", "--kill-percent", "10"]).await;
    let (client, _events) = Client::connect(&sim.url()).await.unwrap();
    let pipeline = client.create_pipeline(None).await.unwrap();
    // It may be gone before it answers.
    let _ = client.release(&pipeline).await;
    assert!(sim.process.exited().await.success());
}
