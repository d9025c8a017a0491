//! The config of the edge that is tried, and what a reload changes of it.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::Backend;
use super::error::SoakError;

/// Time between two probes. What a client is told of a loss is measured against this and the next.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(1_000);

/// Time that a probe may take.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Time over which the edge closes its connections when it ends.
const CLOSE_WINDOW: Duration = Duration::from_millis(1_000);

/// What never changes. Losses are found soon and clients come back soon, because much is to happen in
/// little time; a backend that was killed before is soon used again, so that it can be killed again.
/// A stop is longer than `give_up_ms` or much shorter. All else is as by default.
const FIXED: &str = "\
    [admin]\naddr = \"127.0.0.1:0\"\n\
    [pins]\nstate_dir = \"pins\"\n\
    [health]\ngive_up_ms = 4000\nbackoff_ms = 1000\nbackoff_second_ms = 2000\n\
    backoff_further_ms = 3000\nforgive_ms = 15000\n\
    [placement]\nslow_start_ms = 5000\nwait_ms = 5000\n\
    [pacing]\nwait_max_ms = 5000\n\
    [drain]\nmoves_per_second = 5\n\
    [reload]\nwatch_ms = 0\n";

/// Roomy, because the load is of no importance here.
const CAPACITY: usize = 10_000;

/// The config file, as it is written next.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) path: PathBuf,
    /// Where the edge listens.
    pub(super) listen: SocketAddr,
    /// Name and address of each backend.
    backends: Vec<(String, SocketAddr)>,
    /// Changes so far: weights, limits and the capacity of a backend in turn.
    changes: usize,
}

impl Config {
    /// The first config: the edge listens on `listen`, before `backends`.
    pub(super) fn new(dir: &Path, listen: SocketAddr, backends: &[Backend]) -> Self {
        let backends = backends.iter().map(|one| (one.name.clone(), one.addr)).collect();
        Self { path: dir.join("pinfold.toml"), listen, backends, changes: 0 }
    }

    /// The next change.
    pub(super) fn change(&mut self) {
        self.changes += 1;
    }

    /// Writes the file beside and puts it in its place, so that nobody reads half of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self) -> Result<(), SoakError> {
        let failed = |error| SoakError::File(self.path.clone(), error);
        let beside = self.path.with_extension("new");
        fs::write(&beside, self.text()).map_err(failed)?;
        fs::rename(&beside, &self.path).map_err(failed)
    }

    fn text(&self) -> String {
        // The first change is one of the weights, the second of the limits, the third of a capacity.
        let [weights, limits, capacities] = [2, 1, 0].map(|ahead| (self.changes + ahead) / 3);
        let mut text = format!(
            "[[listeners]]\naddr = \"{}\"\n{FIXED}\
             [probe]\ninterval_ms = {}\ntimeout_ms = {}\n\
             [weights]\nreceive_legs = {}\n\
             [limits]\ncall_timeout_ms = 5000\ncalls_max = {}\n\
             [shutdown]\nclose_window_ms = {}\ndeadline_ms = 5000\n",
            self.listen,
            PROBE_INTERVAL.as_millis(),
            PROBE_TIMEOUT.as_millis(),
            1 + weights % 2,
            4_096 - 2_048 * (limits % 2),
            CLOSE_WINDOW.as_millis(),
        );
        let count = self.backends.len();
        for (at, (name, addr)) in self.backends.iter().enumerate() {
            // Those with lower numbers change first.
            let capacity = CAPACITY + (capacities + count - 1 - at) / count;
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "[[backends]]\nid = \"{name}\"\nurl = \"ws://{addr}/kurento\"\ncapacity = {capacity}\n"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    #[test]
    fn every_config_can_be_used_and_differs_from_the_one_before_in_one_line() {
        let addr: SocketAddr = "127.0.0.1:8888".parse().unwrap();
        let backend = |port| (format!("kms-{port}"), SocketAddr::new(addr.ip(), port));
        let backends = [1, 2, 3].map(backend).to_vec();
        let mut config = Config { path: "pinfold.toml".into(), listen: addr, backends, changes: 0 };
        let mut before = config.text();
        let mut changed = Vec::new();
        for _ in 0..9 {
            config.change();
            let text = config.text();
            settings::parse(&text).unwrap();
            let pairs = before.lines().zip(text.lines());
            let lines: Vec<String> =
                pairs.filter(|(old, new)| old != new).map(|(_, new)| new.to_owned()).collect();
            assert_eq!(lines.len(), 1, "{lines:?}");
            changed.extend(lines);
            before = text;
        }
        let [weights, limits] = ["receive_legs = 2", "calls_max = 2048"];
        assert_eq!(changed[..4], [weights, limits, "capacity = 10001", "receive_legs = 1"]);
    }
}
