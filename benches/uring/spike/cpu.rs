//! Processor time, in the scheduler's nanoseconds.

use std::fs;

use anyhow::Context;

/// What the threads of this process but the calling one have used, those that the kernel runs for its
/// ring included.
pub(super) fn others_nanos() -> anyhow::Result<u64> {
    let own = fs::read_link("/proc/thread-self")?;
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if path.file_name() == own.file_name() {
            continue;
        }
        // One that has just ended is none of those that work.
        let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
        let nanos = text.split(' ').next().context("schedstat is empty")?;
        sum += nanos.parse::<u64>()?;
    }
    Ok(sum)
}
