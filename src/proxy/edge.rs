//! What all client connections of a process share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::blocking::BlockingCalls;
use super::placement::{PlaceError, Placed, Placement, Where};
use crate::fleet::{BackendView, FleetHandle};
use crate::model::{BackendId, Draws, Time};
use crate::pins::Registry;
use crate::protocol::error::Failure;
use crate::runtime::Clock;
use crate::session::Wish;
use crate::settings::Limits;
use crate::telemetry::Metrics;

/// What a stock Kurento server says of itself. Told only until the first backend was heard from,
/// because clients ask it before anything else and refuse to start without these three modules.
const STOCK_SERVER_INFO: &str = include_str!("server_info.json");

/// Everything a client connection needs besides its own state.
pub struct Edge {
    /// What `connect` tells as the server's identity: new at each start.
    pub server_id: String,
    /// The bounds of connections.
    pub limits: Limits,
    /// The clock.
    pub clock: Clock,
    /// Where everything is counted.
    pub metrics: Metrics,
    /// The backends.
    pub fleet: FleetHandle,
    /// Calls that block a thread of their backend.
    pub blocking: BlockingCalls,
    /// Places new pipelines.
    pub placement: Placement,
    /// Cancelled when client connections are to be closed.
    pub closing: CancellationToken,
    /// Over which time they are closed.
    pub close_window: Duration,
    /// Draws of masks and of the moment in that window. Taken once for a link or a connection.
    pub draws: Mutex<Draws>,
}

impl Edge {
    /// The value of `getInfo`, JSON.
    pub(super) fn server_info(&self) -> Arc<str> {
        let info = self.fleet.snapshot().server_info.clone();
        info.unwrap_or_else(|| STOCK_SERVER_INFO.trim_end().into())
    }

    /// What the fleet knows of `backend`.
    pub(crate) fn backend(&self, backend: &BackendId) -> Option<Arc<BackendView>> {
        self.fleet.snapshot().backend(backend).cloned()
    }

    /// Pipelines and meetings of this process.
    pub(crate) fn registry(&self) -> &Registry {
        &self.placement.keeper.registry
    }

    /// The time, as the core takes it.
    pub(super) fn now(&self) -> Time {
        self.placement.timer.now()
    }

    /// A random number, not for secrets.
    pub(super) fn draw(&self) -> u64 {
        self.draws.lock().expect("nothing panics while holding it").next()
    }

    /// Finds a place for what a session wishes.
    ///
    /// # Errors
    /// What the client is to be told.
    pub(super) async fn place(&self, wish: Wish) -> Result<Placed, Failure> {
        let placed = match wish {
            Wish::Anywhere { avoid } => self.placement.anywhere(avoid.as_ref()),
            Wish::Pipeline { hints, on, avoid } => {
                self.placement.place(hints, Where { on, avoid }).await
            }
        };
        placed.map_err(PlaceError::into_failure)
    }

    /// Waits until one connection is to be closed: some time within the window after the signal, so
    /// that not all clients come back at once.
    pub(super) fn closing(&self) -> impl Future<Output = ()> + use<> {
        let closing = self.closing.clone();
        let fraction = Draws::seeded(self.draw()).fraction();
        let delay = self.close_window.mul_f64(fraction);
        async move {
            closing.cancelled().await;
            tokio::time::sleep(delay).await;
        }
    }
}
