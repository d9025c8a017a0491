//! The processes of the bench.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use pinfold::load::Client;

/// Longest wait for the edge to find its backend healthy.
const READY_BOUND: Duration = Duration::from_secs(20);

/// A child process, killed when dropped.
struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinfold"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().context("standard output is a pipe")?);
        Ok(Self { child, stdout })
    }

    /// What follows `mark` in the first line that holds it.
    fn line_after(&mut self, mark: &str) -> anyhow::Result<String> {
        for line in self.stdout.by_ref().lines() {
            if let Some((_, rest)) = line?.split_once(mark) {
                return Ok(rest.to_owned());
            }
        }
        bail!("ended without a line with {mark:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The backend.
pub(crate) struct KmsSim {
    pub(crate) url: String,
    _process: Process,
}

impl KmsSim {
    /// `more` are further arguments.
    pub(crate) fn start(more: &[&str]) -> anyhow::Result<Self> {
        let arguments = ["kms-sim", "--timed", "false", "--name", "a"];
        let mut process = Process::start(&[&arguments[..], more].concat())?;
        let url = process.line_after("listening on ")?;
        Ok(Self { url, _process: process })
    }
}

/// The edge before it.
pub(crate) struct Edge {
    pub(crate) url: String,
    _process: Process,
}

impl Edge {
    pub(crate) fn start(backend_url: &str) -> anyhow::Result<Self> {
        let config = format!(
            "[[listeners]]\naddr = \"127.0.0.1:0\"\n[admin]\naddr = \"127.0.0.1:0\"\n\
             [[backends]]\nid = \"a\"\nurl = \"{backend_url}\"\n[log]\nfilter = \"warn\"\n"
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("relay-{}.toml", std::process::id()));
        std::fs::write(&path, config)?;
        let path_text = path.to_str().context("the path of the configuration is UTF-8")?;
        let mut process = Process::start(&["serve", "--config", path_text])?;
        let url = process.line_after("listening on ")?;
        std::fs::remove_file(&path)?;
        Ok(Self { url, _process: process })
    }

    /// Waits until a pipeline can be placed.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let (client, _events) = Client::connect(&self.url).await?;
        let placing = async {
            while client.create_pipeline(None).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(READY_BOUND, placing).await.context("no backend became healthy")
    }
}
