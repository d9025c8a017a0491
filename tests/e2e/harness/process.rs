//! One child process, its lines, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use super::wait_for;

/// Lines that a child has written so far, in order.
type Lines = Arc<Mutex<Vec<String>>>;

/// A child process. Dropping it kills it, and shows its standard error if the test has failed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
    read_count: usize,
}

impl Process {
    /// Starts `command`; `name` stands before its lines in the output of a failed test.
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("{name} starts: {error}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { name: name.to_owned(), child, stdout, stderr, read_count: 0 }
    }

    /// The binary under test, with its arguments.
    pub(crate) fn pinfold(name: &str, arguments: &[&str]) -> Self {
        Self::start(name, Command::new(env!("CARGO_BIN_EXE_pinfold")).args(arguments))
    }

    /// Waits for the next line on standard output.
    pub(crate) async fn next_line(&mut self) -> String {
        let what = format!("a line from {}", self.name);
        let line = wait_for(&what, || {
            let line = self.stdout.lock().unwrap().get(self.read_count).cloned();
            let is_gone = line.is_none() && self.child.try_wait().unwrap().is_some();
            assert!(!is_gone, "{} ended before it wrote the line waited for", self.name);
            async move { line }
        });
        let line = line.await;
        self.read_count += 1;
        line
    }

    /// Waits for its first `count` lines; `None` if it ends before it has written them.
    pub(crate) async fn lines_unless_ended(&mut self, count: usize) -> Option<Vec<String>> {
        let what = format!("{count} lines from {}, or its end", self.name);
        let looking = wait_for(&what, || {
            let has_ended = self.child.try_wait().unwrap().is_some();
            let lines = self.stdout.lock().unwrap();
            let found = lines.get(..count).map(<[String]>::to_vec);
            let looked = (found.is_some() || has_ended).then_some(found);
            async move { looked }
        });
        looking.await
    }

    /// Waits for the next line that holds `mark`, and gives what follows the mark.
    pub(crate) async fn line_after(&mut self, mark: &str) -> String {
        loop {
            if let Some((_, rest)) = self.next_line().await.split_once(mark) {
                return rest.to_owned();
            }
        }
    }

    /// Stops it, as by a debugger; returns when it stands still.
    pub(crate) async fn freeze(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.id());
        let stands = || async {
            let stat = std::fs::read_to_string(&stat).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T').then_some(())
        };
        super::wait_for("it stands still", stands).await;
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().join("\n")
    }

    /// Writes one line to standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(status.success(), "{command} for {}", self.name);
    }

    /// Stops it, and waits until none of its threads runs: the signal is news to one of them first.
    /// Source: the third field of `stat` in proc(5).
    pub(crate) async fn stop(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: &std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
        };
        let stopped = || {
            let mut tasks = std::fs::read_dir(&tasks).unwrap().map(Result::unwrap);
            let are_stopped = tasks.all(|task| is_stopped(&task));
            async move { are_stopped.then_some(()) }
        };
        wait_for(&format!("{} stands still", self.name), stopped).await;
    }

    /// The most memory it has had so far, in bytes. Source: `VmHWM` of proc(5).
    pub(crate) fn memory_peak_bytes(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: usize = line.trim().trim_end_matches("kB").trim().parse().unwrap();
        kib * 1024
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let waiting = wait_for(&what, || {
            let status = self.child.try_wait().unwrap();
            async move { status }
        });
        waiting.await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.stderr.lock().unwrap().iter() {
                eprintln!("[{}] {line}", self.name);
            }
        }
    }
}

/// Reads lines in a thread of their own until the pipe ends.
fn collect(pipe: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let collected = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            collected.lock().unwrap().push(line);
        }
    });
    lines
}
