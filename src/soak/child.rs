//! A child process: its lines, its signals, its end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

use super::error::SoakError;

/// Time to say what is waited for.
const LINE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two looks whether it has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A child. Dropping it kills it, also while it is stopped or a panic unwinds, and waits for its end.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: process::Child,
    lines: Lines<BufReader<pipe::Receiver>>,
}

impl Child {
    /// Starts `program` with `arguments`. What it writes to standard error is added to `NAME.log` in
    /// `dir`.
    ///
    /// # Errors
    /// The log cannot be written, or the program not be started.
    pub(super) fn start(
        name: &str,
        program: &Path,
        arguments: &[&str],
        dir: &Path,
    ) -> Result<Self, SoakError> {
        let failed = |error| SoakError::Process(name.to_owned(), error);
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log(name, dir)?);
        let mut process = command.spawn().map_err(failed)?;
        let lines = match lines_of(&mut process) {
            Ok(lines) => lines,
            Err(error) => {
                end(&mut process);
                return Err(failed(error));
            }
        };
        Ok(Self { name: name.to_owned(), process, lines })
    }

    /// Waits for the next line on standard output that holds `mark`; gives what follows.
    ///
    /// # Errors
    /// The output ends before, or 30 seconds have passed.
    pub(super) async fn line_after(&mut self, mark: &'static str) -> Result<String, SoakError> {
        let looking = async {
            loop {
                match self.lines.next_line().await {
                    Ok(Some(line)) => {
                        if let Some((_, rest)) = line.split_once(mark) {
                            return Ok(rest.to_owned());
                        }
                    }
                    Ok(None) => return Err(SoakError::Ended(self.name.clone(), mark)),
                    Err(error) => return Err(SoakError::Process(self.name.clone(), error)),
                }
            }
        };
        let late = |_| SoakError::Late(format!("{:?} from {}", mark, self.name), LINE_TIMEOUT);
        tokio::time::timeout(LINE_TIMEOUT, looking).await.map_err(late)?
    }

    /// Sends `signal`. One that has ended already has no use for it.
    pub(super) fn signal(&self, signal: Signal) {
        // It was not waited for yet, so the number is still its own.
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::warn!(name = self.name, %error, "a signal could not be sent");
        }
    }

    /// Waits until it has ended; says how.
    ///
    /// # Errors
    /// It has not after `limit`.
    pub(super) async fn ended(&mut self, limit: Duration) -> Result<ExitStatus, SoakError> {
        let what = format!("the end of {}", self.name);
        let (name, process) = (&self.name, &mut self.process);
        let failed = |error| SoakError::Process(name.clone(), error);
        let looking = async {
            loop {
                if let Some(status) = process.try_wait().map_err(failed)? {
                    return Ok(status);
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let ended = tokio::time::timeout(limit, looking).await;
        ended.map_err(|_| SoakError::Late(what, limit))?
    }

    /// Waits until it has ended, as it should.
    ///
    /// # Errors
    /// It has not after `limit`, or its status tells of a failure.
    pub(super) async fn succeeded(&mut self, limit: Duration) -> Result<(), SoakError> {
        let status = self.ended(limit).await?;
        let failed = || SoakError::Failed(self.name.clone(), status.to_string());
        status.success().then_some(()).ok_or_else(failed)
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Kills it, if it lives, and waits.
fn end(process: &mut process::Child) {
    // Either fails if it has ended already, which is what is wanted.
    let _ = process.kill();
    let _ = process.wait();
}

fn lines_of(process: &mut process::Child) -> io::Result<Lines<BufReader<pipe::Receiver>>> {
    let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
    Ok(BufReader::new(stdout).lines())
}

fn log(name: &str, dir: &Path) -> Result<File, SoakError> {
    let path = dir.join(format!("{name}.log"));
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    opened.map_err(|error| SoakError::File(path, error))
}
