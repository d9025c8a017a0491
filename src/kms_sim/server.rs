//! One address and the processes that serve it, one after another.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::model::Draws;
use crate::sim::kms::{Faults, Kms};

use super::KmsSimSettings;
use super::fault::{Fault, FaultError, ProcessRow, ServerRow, State};
use super::hub::{End, Hub, Sighting};
use super::process;

/// Questions that may wait. When full who asks waits.
const ASKS_MAX: usize = 16;

type Answer = Result<ServerRow, FaultError>;

/// What is asked of a server: to suffer a fault, if one is named, and to show itself.
struct Ask {
    fault: Option<Fault>,
    answer: oneshot::Sender<Answer>,
}

/// Where a server is asked.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) name: String,
    asks: mpsc::Sender<Ask>,
}

impl Handle {
    /// Has the server suffer `fault`, if there is one, and shows it afterwards.
    pub(super) async fn ask(&self, fault: Option<Fault>) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(Ask { fault, answer }).await.is_err() {
            return Err(FaultError::Ending);
        }
        answered.await.unwrap_or(Err(FaultError::Ending))
    }
}

/// A server.
pub(super) struct Server {
    settings: KmsSimSettings,
    addr: SocketAddr,
    asks: mpsc::Receiver<Ask>,
    /// Seeds of the processes after the first.
    seeds: Draws,
    life: Option<Life>,
    starts: u32,
    is_stopping: bool,
}

/// A process that serves.
struct Life {
    hub: Arc<Hub>,
    run: Pin<Box<dyn Future<Output = End> + Send>>,
}

impl Server {
    /// A server on `listener` whose first process is ready to run.
    ///
    /// # Errors
    /// If the listener's address cannot be read: it is then no listener.
    pub(super) fn new(
        listener: TcpListener,
        settings: KmsSimSettings,
    ) -> io::Result<(Self, Handle)> {
        let (sender, asks) = mpsc::channel(ASKS_MAX);
        let handle = Handle { name: settings.name.clone(), asks: sender };
        let mut server = Self {
            addr: listener.local_addr()?,
            asks,
            seeds: Draws::seeded(settings.seed),
            life: None,
            starts: 0,
            is_stopping: false,
            settings,
        };
        server.start(listener, server.settings.seed);
        Ok((server, handle))
    }

    /// Serves until `stop`, and then until the process has ended; or, if `is_only`, until the
    /// process ends by itself. One that was made to crash can be restarted and ends nothing.
    pub(super) async fn run(mut self, is_only: bool, stop: CancellationToken) -> End {
        loop {
            tokio::select! {
                end = ended(self.life.as_mut()) => {
                    self.life = None;
                    if end == End::Died {
                        tracing::error!(server = self.settings.name, "killed by a frame");
                    }
                    if is_only || self.is_stopping {
                        return end;
                    }
                }
                Some(ask) = self.asks.recv() => {
                    let answer = self.answer(ask.fault).await;
                    // Who asked may have gone.
                    let _ = ask.answer.send(answer);
                }
                () = stop.cancelled(), if !self.is_stopping => {
                    self.is_stopping = true;
                    let Some(life) = &self.life else { return End::Stopped };
                    life.hub.terminate();
                }
            }
            if self.is_stopping && self.life.is_none() {
                return End::Stopped;
            }
        }
    }

    fn start(&mut self, listener: TcpListener, seed: u64) {
        let KmsSimSettings { kms, clock, faults, registrar, .. } = &self.settings;
        let hub = Arc::new(Hub::new(Kms::new(kms.clone(), Draws::seeded(seed)), *clock));
        hub.set_faults(|own| *own = faults.kms);
        hub.refuse_handshakes(faults.refuses_handshakes);
        let run = Box::pin(process::run(listener, Arc::clone(&hub), registrar.clone()));
        self.life = Some(Life { hub, run });
        self.starts += 1;
    }

    async fn answer(&mut self, fault: Option<Fault>) -> Answer {
        match fault {
            None => {}
            Some(Fault::Crash) => self.crash().await?,
            Some(Fault::Restart) => self.restart().await?,
            Some(Fault::CutLinks) => self.hub()?.cut_links(),
            Some(Fault::RefuseHandshakes(is_on)) => self.hub()?.refuse_handshakes(is_on),
            Some(Fault::Slow(factor)) => self.set_faults(|faults| faults.slow = factor)?,
            Some(Fault::Full(is_on)) => self.set_faults(|faults| faults.is_full = is_on)?,
            Some(Fault::Freeze) => self.set_faults(|faults| faults.hang_after = Some(0))?,
            Some(Fault::HangAfter(n)) => self.set_faults(|faults| faults.hang_after = Some(n))?,
            Some(Fault::Thaw) => self.set_faults(|faults| faults.hang_after = None)?,
        }
        Ok(self.row())
    }

    fn hub(&self) -> Result<&Hub, FaultError> {
        self.life.as_ref().map(|life| &*life.hub).ok_or(FaultError::Down)
    }

    fn set_faults(&self, set: impl FnOnce(&mut Faults)) -> Result<(), FaultError> {
        self.hub()?.set_faults(set);
        Ok(())
    }

    /// Ends the process at once; when this returns its address refuses connections.
    async fn crash(&mut self) -> Result<(), FaultError> {
        let mut life = self.life.take().ok_or(FaultError::Down)?;
        life.hub.crash();
        ended(Some(&mut life)).await;
        Ok(())
    }

    /// Starts another process at the same address, instead of the one that may be there.
    async fn restart(&mut self) -> Result<(), FaultError> {
        if self.is_stopping {
            return Err(FaultError::Ending);
        }
        if self.life.is_some() {
            self.crash().await?;
        }
        let listener = super::listen(self.addr).map_err(FaultError::Address)?;
        let seed = self.seeds.next();
        self.start(listener, seed);
        Ok(())
    }

    fn row(&self) -> ServerRow {
        let process = self.life.as_ref().map(|life| life.hub.sighting());
        let state = match &process {
            None => State::Down,
            Some(process) if process.faults.hangs() => State::Hangs,
            Some(process) if process.is_ending => State::Ends,
            Some(_) => State::Runs,
        };
        ServerRow {
            name: self.settings.name.clone(),
            url: format!("ws://{}/kurento", self.addr),
            state,
            starts: self.starts,
            process: process.map(process_row),
        }
    }
}

/// Waits for the end of the process; without one there is none.
async fn ended(life: Option<&mut Life>) -> End {
    match life {
        Some(life) => (&mut life.run).await,
        None => pending().await,
    }
}

fn process_row(seen: Sighting) -> ProcessRow {
    ProcessRow {
        server_id: seen.server_id,
        connections: seen.conn_count,
        slow: seen.faults.slow,
        full: seen.faults.is_full,
        hang_after: seen.faults.hang_after,
        refuses_handshakes: seen.refuses_handshakes,
    }
}
