//! What processes use: processor time and memory, as Linux tells it in `/proc`.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::BenchError;

/// Files that a run has open besides its connections.
const OTHER_FILES: u64 = 64;

/// What a process has used so far, and uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) pid: u32,
    /// Time its threads were on a processor, those that have ended not counted.
    pub(super) cpu_nanos: u64,
    /// Memory that is resident.
    pub(super) memory_bytes: u64,
}

/// Reads the usage of each of `pids`.
///
/// # Errors
/// One of them is not there, or is not to be looked at.
pub(super) fn usages(pids: &[u32]) -> Result<Vec<Usage>, BenchError> {
    let read = |pid: &u32| usage(*pid).map_err(|error| BenchError::Process(*pid, error));
    pids.iter().map(read).collect()
}

/// Source: "schedstat" of the kernel's scheduler documentation: its first number is nanoseconds on a
/// processor. `stat` counts ticks of 10 ms, which is too coarse for a short run.
fn usage(pid: u32) -> io::Result<Usage> {
    let mut cpu_nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two.
        let Ok(schedstat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        cpu_nanos += first_number(&schedstat)?;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory_kib = memory.map_or(Ok(0), first_number)?;
    Ok(Usage { pid, cpu_nanos, memory_bytes: memory_kib * 1024 })
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_whitespace().next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Allows this process to have as many files open as it ever may, and checks that `connections` are
/// among them.
///
/// # Errors
/// They are not.
pub fn raise_open_files(connections: usize) -> Result<(), BenchError> {
    let needed = connections as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // If that fails the old limit holds, which may do.
    let allowed = setrlimit(Resource::Nofile, most).map_or(limit.current, |()| limit.maximum);
    match allowed {
        Some(allowed) if allowed < needed => Err(BenchError::OpenFiles(needed, allowed)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = usages(&[std::process::id()]).unwrap()[0];
        assert!(usage.cpu_nanos > 0 && usage.memory_bytes > 1 << 20, "{usage:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(matches!(usages(&[u32::MAX]), Err(BenchError::Process(u32::MAX, _))));
    }

    #[test]
    fn too_many_connections_are_refused_in_words() {
        raise_open_files(1).unwrap();
        let Err(error) = raise_open_files(usize::MAX / 2) else { return }; // no limit at all
        assert!(error.to_string().contains("ulimit"), "{error}");
    }
}
