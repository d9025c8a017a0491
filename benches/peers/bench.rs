//! What all measurements share: a directory, a certificate, the limits of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::process::{Resource, getrlimit};

use crate::args::Args;
use crate::group::Group;
use crate::peer::{Peer, find_program};
use crate::stage::Layout;

/// Files that a proxy has open besides its connections.
const OTHER_FILES: u64 = 200;

/// More files than this no measurement needs, and servers make tables for as many as they may have.
const FILES_MAX: u64 = 65_536;

/// The setting of all measurements.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) dir: WorkDir,
    pub(crate) limits: Limits,
    /// The processor that steady loads are pinned to.
    pub(crate) cpu: usize,
    /// How many processors there are.
    pub(crate) cpu_count: usize,
    /// How long a load is measured.
    pub(crate) seconds: f64,
}

/// How much may be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Files that one process may have open.
    pub(crate) files: u64,
}

impl Limits {
    /// Connections that a proxy can carry: each has a file on either side.
    pub(crate) fn connections(self) -> u64 {
        self.files.saturating_sub(OTHER_FILES) / 2
    }
}

impl Bench {
    /// Checks that all programs are there, and makes what they share.
    pub(crate) fn prepare(args: &Args) -> anyhow::Result<Self> {
        for peer in Peer::ALL {
            peer.program()?;
        }
        find_program("taskset", "util-linux")?;
        // Servers raise the limit themselves as far as they may, which is the hard one.
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(FILES_MAX).min(FILES_MAX);
        let limits = Limits { files };
        let most = args.groups().into_iter().map(Group::connections_max).max();
        let most = most.unwrap_or_default();
        ensure!(
            limits.connections() >= most,
            "{most} connections through a proxy need {} open files, and {files} are allowed: raise \
             ulimit -n, or choose with --only",
            2 * most + OTHER_FILES,
        );
        let last_cpu = last_cpu().context("cannot read the processors allowed")?;
        let dir = WorkDir::create()?;
        write_certificate(dir.path())?;
        Ok(Self {
            dir,
            limits,
            cpu: args.cpu.unwrap_or(last_cpu),
            cpu_count: std::thread::available_parallelism()?.get(),
            seconds: args.seconds,
        })
    }

    /// `program`, to run on the processors of `layout`.
    pub(crate) fn command(&self, layout: Layout, program: &Path) -> Command {
        match layout {
            Layout::OneCpu => {
                let mut command = Command::new("taskset");
                command.arg("--cpu-list").arg(self.cpu.to_string()).arg(program);
                command
            }
            Layout::AllCpus => Command::new(program),
        }
    }

    /// Threads or workers that an operator would give a server.
    pub(crate) fn threads(&self, layout: Layout) -> usize {
        match layout {
            Layout::OneCpu => 1,
            Layout::AllCpus => self.cpu_count,
        }
    }
}

/// The last of the processors that this process may use.
fn last_cpu() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// Writes `cert.pem`, `key.pem`, and `both.pem` as HAProxy wants them: ECDSA on P-256.
fn write_certificate(dir: &Path) -> anyhow::Result<()> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(dir.join("cert.pem"), &cert)?;
    fs::write(dir.join("key.pem"), &key)?;
    fs::write(dir.join("both.pem"), cert + &key)?;
    Ok(())
}

/// A directory that goes when this is dropped.
#[derive(Debug)]
pub(crate) struct WorkDir(PathBuf);

impl WorkDir {
    /// Below the build's directory, which is on a disk, as the state of an edge would be.
    fn create() -> anyhow::Result<Self> {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = parent.join(format!("peers-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What is left of it lies among what `cargo clean` removes.
        let _ = fs::remove_dir_all(&self.0);
    }
}
