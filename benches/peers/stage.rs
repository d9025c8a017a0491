//! A backend and one of the three before it, just started.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};

use crate::bench::Bench;
use crate::client::Client;
use crate::peer::Peer;
use crate::server::{Ending, Server};

/// Tries to come through to the backend, [`TRY_EVERY`] apart.
const TRIES: usize = 100;

/// Time between two.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Which processors server, backend and clients have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One for all of them, so that time waiting is never mistaken for time working.
    OneCpu,
    /// All there are.
    AllCpus,
}

/// Where everybody listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    pub(crate) admin: u16,
    pub(crate) backend: u16,
}

/// The backend and what stands before it. Both end when this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) layout: Layout,
    /// For `wss://`.
    pub(crate) ca: PathBuf,
    ports: Ports,
    /// The processes of the proxy that do its work.
    pub(crate) workers: Vec<u32>,
    _proxy: Server,
    _backend: Server,
}

impl Ports {
    /// Ports that are free now. Servers that cannot tell which port they took must be given one; should
    /// another process be faster, the server says so and the run fails.
    fn free() -> anyhow::Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let held = [bind()?, bind()?, bind()?, bind()?];
        let mut ports = [0; 4];
        for (port, listener) in ports.iter_mut().zip(&held) {
            *port = listener.local_addr()?.port();
        }
        let [plain, tls, admin, backend] = ports;
        Ok(Self { plain, tls, admin, backend })
    }
}

impl Stage {
    /// Starts both and waits until a call comes through.
    pub(crate) async fn start(bench: &Bench, peer: Peer, layout: Layout) -> anyhow::Result<Self> {
        let ports = Ports::free()?;
        let log = |name: &str| bench.dir.path().join(format!("{name}.log"));
        let mut backend = bench.command(layout, &Peer::Pinfold.program()?);
        backend.args(["bench", "backend", "--listen", &format!("127.0.0.1:{}", ports.backend)]);
        let backend = Server::start(&mut backend, Ending::Kill, log("backend"))?;
        let mut command = peer.command(bench, layout, ports)?;
        let ending = match peer {
            Peer::Pinfold | Peer::Haproxy => Ending::Kill,
            Peer::Nginx => Ending::Ask,
        };
        let mut proxy = Server::start(&mut command, ending, log(peer.name()))?;
        let ca = bench.dir.path().join("cert.pem");
        await_answer(bench, &mut proxy, ports, peer).await?;
        let workers = proxy.workers()?;
        ensure!(
            peer == Peer::Pinfold || workers.len() == 1 || workers.len() == bench.threads(layout),
            "{} has {} workers",
            peer.name(),
            workers.len()
        );
        Ok(Self { layout, ca, ports, workers, _proxy: proxy, _backend: backend })
    }

    /// Through the proxy.
    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/kurento", self.ports.plain)
    }

    /// The same with TLS.
    pub(crate) fn tls_url(&self) -> String {
        format!("wss://127.0.0.1:{}/kurento", self.ports.tls)
    }

    /// To the backend itself.
    pub(crate) fn direct_url(&self) -> String {
        format!("ws://127.0.0.1:{}/kurento", self.ports.backend)
    }
}

/// Tries until a client has a reply of the backend through the proxy.
async fn await_answer(
    bench: &Bench,
    proxy: &mut Server,
    ports: Ports,
    peer: Peer,
) -> anyhow::Result<()> {
    let url = format!("ws://127.0.0.1:{}/kurento", ports.plain);
    for _ in 0..TRIES {
        if !proxy.is_running() {
            break;
        }
        let client = Client::new(bench, Layout::AllCpus).args(["storm", "--url", &url]);
        if client.run().await.is_ok_and(|reports| reports.iter().all(|one| one.failures == 0)) {
            return Ok(());
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    bail!("{} does not answer:\n{}", peer.name(), proxy.last_words())
}
