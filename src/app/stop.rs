//! The ordered end of an edge.
//!
//! Not ready; accepting for a while, until load balancers have noticed; accepting no more, but for what
//! has connected by then; each client closed at its own moment within the window, once it has its
//! answers; what is left at the deadline cut; then all else. When another process has taken over, the
//! sockets are that one's, so the clients are closed at once.

use std::time::Duration;

use tokio::time::interval;

use super::{App, JOIN_MAX};
use crate::settings::ShutdownSettings;

/// Time between two lines that tell how many clients are left.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

impl App {
    /// Stops in order, within the deadline of the settings and 5 seconds for all that is no client.
    pub async fn stop(self) {
        let parts = &self.parts;
        let ShutdownSettings { accept, close_window, deadline } = parts.settings.get().shutdown;
        let mut waited = Duration::ZERO;
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
        parts.inner.stop();
        if !parts.inner.join(JOIN_MAX).await {
            tracing::warn!("some tasks did not end in time");
        }
        tracing::info!("stopped");
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
