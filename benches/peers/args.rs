//! The arguments.

use crate::group::Group;

/// What `--only` calls the counting of system calls, which is no group of figures.
const SYSCALLS: &str = "syscalls";

/// Measure Pinfold beside HAProxy and nginx
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// Rounds, each with a turn of all three; odd, so that the median is one of them
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = odd)]
    pub(crate) rounds: usize,
    /// Seconds that a load is measured
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Measure only what has a name that begins so; may be given several times
    #[arg(long, value_name = "NAME", value_parser = known)]
    only: Vec<String>,
    /// Processor that steady loads are pinned to; if left out, the last this process may use
    #[arg(long, value_name = "CPU")]
    pub(crate) cpu: Option<usize>,
    /// Write docs/PERFORMANCE.md, which needs everything measured
    #[arg(long, conflicts_with = "only")]
    pub(crate) write: bool,
    /// What `cargo bench` gives every bench
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Args {
    /// The groups to measure, in order.
    pub(crate) fn groups(&self) -> Vec<Group> {
        Group::ALL.into_iter().filter(|group| self.wants(group.name())).collect()
    }

    /// Whether system calls are to be counted.
    pub(crate) fn counts_system_calls(&self) -> bool {
        self.wants(SYSCALLS)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|begin| name.starts_with(begin))
    }
}

fn odd(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| number % 2 == 1 && (1..100).contains(number));
    number.ok_or_else(|| "expected an odd number from 1 to 99".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.1..=600.0).contains(number));
    number.ok_or_else(|| "expected seconds from 0.1 to 600".to_owned())
}

fn known(text: &str) -> Result<String, String> {
    let names: Vec<&str> = Group::ALL.into_iter().map(Group::name).chain([SYSCALLS]).collect();
    let is_known = names.iter().any(|name| name.starts_with(text));
    is_known.then(|| text.to_owned()).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}
