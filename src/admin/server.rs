//! The admin API on its listener.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

use super::orders::Orders;
use super::readiness::Readiness;
use super::views::Views;
use super::{api, http};

/// What the admin API shows.
#[derive(Debug)]
pub struct Admin<V> {
    /// Rows of backends and meetings; carries out orders too.
    pub views: V,
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/metrics`.
    pub metrics: Metrics,
}

/// Answers requests on `listener` until `stop`; then ends once the requests at hand are answered,
/// within 2 seconds.
pub async fn serve<V>(
    listener: impl Into<Arc<TcpListener>>,
    admin: Arc<Admin<V>>,
    stop: CancellationToken,
) where
    V: Views + Orders,
{
    let answer = move |request| {
        let admin = Arc::clone(&admin);
        async move { api::answer(&admin, request).await }
    };
    http::serve(listener, answer, stop).await;
}

#[cfg(test)]
mod tests;
