//! The ordered end of an edge.
//!
//! Not ready; accepting for a while, until load balancers have noticed; accepting no more, but for what
//! has connected by then; each client closed at its own moment within the window, once it has its
//! answers; what is left at the deadline cut; then all else. When another process has taken over, the
//! sockets are that one's, so the clients are closed at once; and what one before this one still tells
//! is passed on until that has ended.

use std::pin::pin;
use std::time::Duration;

use futures_util::poll;
use tokio::time::{interval, timeout};

use super::{App, JOIN_MAX};
use crate::settings::ShutdownSettings;

/// Time between two lines that tell how many clients are left.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

impl App {
    /// Stops in order, within the deadline of the settings and 5 seconds for all that is no client.
    pub async fn stop(self) {
        let parts = &self.parts;
        let ShutdownSettings { accept, close_window, deadline } = parts.settings.get().shutdown;
        let (mut waited, began) = (Duration::ZERO, parts.clock.now());
        parts.readiness.stop();
        if parts.moved.is_cancelled() {
            tracing::info!("another process has taken over: accepting no more");
        } else if accept.is_zero() {
            tracing::info!("stopping: not ready, accepting no more");
        } else {
            let accept_ms = accept.as_millis();
            tracing::info!(accept_ms, "stopping: not ready, still accepting");
            tokio::time::sleep(accept).await;
            waited = accept;
            tracing::info!("accepting no more");
        }
        parts.clients.stop();
        parts.accepting.cancel();
        parts.closing.cancel();
        let window_ms = close_window.as_millis();
        tracing::info!(clients = parts.metrics.connections_open(), window_ms, "closing clients");
        if !self.join_clients(deadline.saturating_sub(waited)).await {
            let clients = parts.metrics.connections_open();
            tracing::warn!(clients, "deadline reached, cutting what is left");
        }
        if parts.moved.is_cancelled() {
            let left = deadline.saturating_sub(parts.clock.now().since(began));
            self.pass_on(left).await;
        }
        parts.inner.stop();
        if !parts.inner.join(JOIN_MAX).await {
            tracing::warn!("some tasks did not end in time");
        }
        tracing::info!("stopped");
    }

    /// Waits until the process before this one has ended, too, for it tells nobody else what becomes of
    /// its pipelines; for so long at most.
    async fn pass_on(&self, limit: Duration) {
        let alone = self.parts.placement.keeper.is_alone();
        let mut alone = pin!(alone);
        if poll!(alone.as_mut()).is_ready() {
            return;
        }
        tracing::info!("waiting for the process before this one, which still has clients");
        if timeout(limit, alone).await.is_err() {
            tracing::warn!("deadline reached: what the process before still does is not passed on");
        }
    }

    /// Waits for the end of all clients until `deadline`, and tells how many are left; says whether all
    /// have ended.
    async fn join_clients(&self, deadline: Duration) -> bool {
        let parts = &self.parts;
        let told = async {
            let mut ticks = interval(PROGRESS_INTERVAL);
            let mut before = parts.metrics.connections_open();
            loop {
                ticks.tick().await;
                let clients = parts.metrics.connections_open();
                if clients != before {
                    tracing::info!(clients, "clients left");
                    before = clients;
                }
            }
        };
        tokio::select! {
            is_over = parts.clients.join(deadline) => is_over,
            () = told => false,
        }
    }
}
