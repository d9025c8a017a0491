//! An edge whose sockets somebody else has opened, as systemd does.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use crate::e2e::harness::{Edge, KmsSim, Process, TempDir, wait_for, write_config};

/// Starts an edge with those sockets as descriptors from 3 on, as `sd_listen_fds(3)` wants it.
fn start(sockets: &[(&TcpListener, &str)], config: &str) -> Process {
    let mut script = String::new();
    let mut inherited = Vec::new();
    for (number, (socket, _)) in sockets.iter().enumerate() {
        // One that is inherited by the shell, which gives it the number that it must have.
        let copy = rustix::io::fcntl_dupfd_cloexec(socket.as_fd(), 100).unwrap();
        rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
        script += &format!("exec {}<&{}; ", number + 3, copy.as_raw_fd());
        inherited.push(copy);
    }
    script += "LISTEN_PID=$$ exec \"$0\" serve --config \"$1\"";
    let names: Vec<_> = sockets.iter().map(|(_, name)| *name).collect();
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_pinfold"), config]);
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    Process::start("edge", &mut command)
}

fn socket() -> (TcpListener, String) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    (socket, addr)
}

/// A config whose listener and admin API are at those addresses.
fn config(sims: &[KmsSim], (listener, admin): (&str, &str), dir: &TempDir) -> String {
    let urls: Vec<_> = sims.iter().map(|one| (one.id.as_str(), one.url.as_str())).collect();
    let path = write_config(&urls, "", dir);
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replacen("127.0.0.1:0", listener, 1).replacen("127.0.0.1:0", admin, 1);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn sockets_that_are_open_already_are_served_by_their_addresses() {
    let sims = KmsSim::start_all(["a"]).await;
    let ((web, web_addr), (admin, admin_addr)) = (socket(), socket());
    let dir = TempDir::create();
    let config = config(&sims, (&web_addr, &admin_addr), &dir);
    // Whoever connects before there is an edge waits for it.
    let url = format!("ws://{web_addr}/kurento");
    let early = pinfold::load::Client::connect(&url);
    // In the other order than the config has them.
    let process = start(&[(&admin, "admin"), (&web, "web")], &config);
    let (edge, early) = tokio::join!(Edge::of(process, dir), early);
    assert_eq!((edge.addr(), edge.admin_addr()), (&*web_addr, &*admin_addr));
    edge.becomes_ready().await;
    let (early, _events) = early.unwrap();
    early.create_pipeline(Some("standup")).await.unwrap();
}

#[tokio::test]
async fn a_socket_at_no_address_of_the_config_is_told() {
    let sims = KmsSim::start_all(["a"]).await;
    let ((web, _), (_, admin_addr)) = (socket(), socket());
    let dir = TempDir::create();
    let config = config(&sims, ("127.0.0.1:0", &admin_addr), &dir);
    let mut process = start(&[(&web, "web")], &config);
    assert_eq!(process.exited().await.code(), Some(1));
    let told = || async { process.stderr().contains("(\"web\") is at no address").then_some(()) };
    wait_for("the reason", told).await;
}
