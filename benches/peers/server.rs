//! A server process, from start to end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// Looks that a server that was asked to end gets, each [`LOOK`] after the last, before it is made to.
const LOOKS: usize = 300;

/// Time between two of them.
const LOOK: Duration = Duration::from_millis(10);

/// How a server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is killed: nothing outlives it, and waiting for good manners would only take time.
    Kill,
    /// It is asked first, and ends its workers, which would outlive it.
    Ask,
}

/// A process that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    ending: Ending,
    log: PathBuf,
}

impl Server {
    /// Starts `command` with all it prints going to the file `log`.
    pub(crate) fn start(
        command: &mut Command,
        ending: Ending,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let out = File::create(&log)?;
        let errors = out.try_clone()?;
        let program = command.get_program().to_owned();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn();
        let child = child.with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, ending, log })
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what it printed.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The processes that do the work: its children, or itself if it has none.
    pub(crate) fn workers(&self) -> anyhow::Result<Vec<u32>> {
        let children = children(self.child.id())?;
        Ok(if children.is_empty() { vec![self.child.id()] } else { children })
    }

    fn ask_to_end(&mut self) {
        // If it has ended by itself it is gone anyhow; the number is ours until it is waited for.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        for _ in 0..LOOKS {
            if !self.is_running() {
                return;
            }
            pause();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ending == Ending::Ask {
            self.ask_to_end();
        }
        // It may have ended; either way it is gone after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a destructor cannot wait any other way")]
fn pause() {
    std::thread::sleep(LOOK);
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let pid =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(pid) = pid else { continue };
        if parent_of(&path) == Some(parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// The second field behind the name, which is in brackets and may have any letters.
fn parent_of(proc_dir: &Path) -> Option<u32> {
    let stat = fs::read_to_string(proc_dir.join("stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(1)?.parse().ok()
}
