//! The arguments.

use std::time::Duration;

/// Measure a forwarder over tokio, over epoll and over `io_uring`
#[derive(Debug, clap::Parser)]
pub(super) struct Args {
    /// Rounds, each with a turn of all three
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..))]
    pub(super) rounds: u8,
    /// Milliseconds that a load is measured
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    length: u64,
    /// What `cargo bench` gives every bench
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Args {
    pub(super) fn length(&self) -> Duration {
        Duration::from_millis(self.length)
    }
}
