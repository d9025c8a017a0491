//! One simulated backend: a process that is killed, stopped and filled, and started again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::books::Books;
use super::child::Child;
use super::control;
use super::error::SoakError;
use super::ledger::{ProcessNumber, Trouble};
use super::watch;
use crate::runtime::Tasks;

/// Time that a killed process may take to be gone.
const END_MAX: Duration = Duration::from_secs(10);

/// How a backend is started.
#[derive(Clone, Debug)]
pub(super) struct Nursery {
    pub(super) program: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) books: Books,
    /// What the watchers belong to.
    pub(super) tasks: Tasks,
}

/// A backend: an address, and the process that is there, if one is.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) addr: SocketAddr,
    /// Address of its control API.
    control: String,
    child: Option<Child>,
    process: ProcessNumber,
    starts: u32,
    /// Something is being done to it, so that nothing else is.
    pub(super) is_troubled: bool,
}

impl Backend {
    /// Starts number `number` for the first time.
    ///
    /// Each has a loopback address of its own, which is nobody's source: a port of 127.0.0.1 could be
    /// taken by an outgoing connection while the process is down.
    ///
    /// # Errors
    /// It cannot be started, or watched.
    pub(super) async fn start(number: u8, nursery: &Nursery) -> Result<Self, SoakError> {
        let name = format!("kms-{number}");
        let addr = SocketAddr::from((Ipv4Addr::new(127, 0, 1, number + 1), 0));
        let (child, addr, control) = start_process(&name, addr, nursery).await?;
        let process = nursery.books.enter(|ledger, _| ledger.process_started(format!("{name}.1")));
        let this = Self {
            name,
            addr,
            control,
            child: Some(child),
            process,
            starts: 1,
            is_troubled: false,
        };
        watch::start(addr, process, &nursery.books, &nursery.tasks).await?;
        Ok(this)
    }

    /// Starts it again at the same address.
    ///
    /// # Errors
    /// It cannot be started, or watched.
    pub(super) async fn start_again(&mut self, nursery: &Nursery) -> Result<(), SoakError> {
        let (child, _, control) = start_process(&self.name, self.addr, nursery).await?;
        self.starts += 1;
        let name = format!("{}.{}", self.name, self.starts);
        self.process = nursery.books.enter(|ledger, _| ledger.process_started(name));
        (self.child, self.control) = (Some(child), control);
        watch::start(self.addr, self.process, &nursery.books, &nursery.tasks).await
    }

    /// Kills it without a warning.
    ///
    /// # Errors
    /// It does not end.
    pub(super) async fn kill(&mut self, books: &Books) -> Result<(), SoakError> {
        books.enter(|ledger, now| ledger.troubled(self.process, Trouble::Killed, now));
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.signal(Signal::KILL);
        child.ended(END_MAX).await?;
        Ok(())
    }

    /// Stops it, as by a debugger.
    pub(super) fn freeze(&self, books: &Books) {
        books.enter(|ledger, now| ledger.troubled(self.process, Trouble::Frozen, now));
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Makes it refuse every `create`, or no longer.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn fill(&self, is_full: bool) -> Result<(), SoakError> {
        let path = format!("/servers/{}/full?on={is_full}", self.name);
        control::post(&self.control, &path).await
    }

    /// The edge is about to let its meetings go.
    pub(super) fn is_let_go(&self, books: &Books) {
        books.enter(|ledger, now| ledger.troubled(self.process, Trouble::LetGo, now));
    }

    /// Nothing is done to it any more, and the edge has had time to see that.
    pub(super) fn calm(&mut self, books: &Books) {
        self.is_troubled = false;
        books.enter(|ledger, now| ledger.calmed(self.process, now));
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            child.signal(signal);
        }
    }
}

async fn start_process(
    name: &str,
    addr: SocketAddr,
    nursery: &Nursery,
) -> Result<(Child, SocketAddr, String), SoakError> {
    let listen = addr.to_string();
    let control = SocketAddr::new(addr.ip(), 0).to_string();
    let arguments = [
        "kms-sim",
        "--name",
        name,
        "--listen",
        &listen,
        "--control",
        &control,
        "--latency-ms",
        "2",
        "--first-events-lost",
        "0",
    ];
    let dir: &Path = &nursery.dir;
    let mut child = Child::start(name, &nursery.program, &arguments, dir)?;
    let url = child.line_after(" listening on ws://").await?;
    let control = child.line_after("control on http://").await?;
    let addr = url.split('/').next().and_then(|addr| addr.parse().ok());
    let addr = addr.ok_or_else(|| SoakError::Ended(name.to_owned(), "an address"))?;
    Ok((child, addr, control))
}
