//! What `io_uring` would bring: the same forwarder of WebSocket messages over tokio, over epoll and over
//! `io_uring`, measured in turns. It is a spike, not a part of the edge; what it found and what follows
//! is in `docs/decisions/0010-what-io-uring-brings.md`.
//!
//! The forwarder does what the edge does for every message: read, unmask, find what routes the message,
//! mask, write. It leaves out what the edge does once for a connection. Everything is on one processor,
//! so that messages come in batches as large as the load makes them: `taskset -c 1 cargo bench --bench
//! uring` takes about a minute.

#[cfg(target_os = "linux")]
mod spike;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    spike::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("io_uring is Linux's alone: nothing to measure");
}
