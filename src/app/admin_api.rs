//! The admin API on its address, which a reload may change.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use super::views::EdgeViews;
use crate::admin::{self, Admin};
use crate::runtime::Inherited;

/// The admin API at work.
pub(super) struct AdminApi {
    /// As configured: with port 0 another is bound.
    addr: SocketAddr,
    /// Where it is.
    pub(super) url: String,
    shown: Arc<Admin<EdgeViews>>,
    /// Tells this listener alone to stop.
    stop: CancellationToken,
}

/// An address that was bound for it.
pub(super) struct Bound {
    addr: SocketAddr,
    url: String,
    listener: Arc<TcpListener>,
}

impl Bound {
    /// Binds `addr`, unless it is among `inherited`; nothing is accepted yet.
    pub(super) async fn at(addr: SocketAddr, inherited: &mut Inherited) -> io::Result<Self> {
        let listener = match inherited.take(addr) {
            Some(socket) => TcpListener::from_std(socket)?,
            None => TcpListener::bind(addr).await?,
        };
        let listener = Arc::new(listener);
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self { addr, url, listener })
    }

    /// Answers requests from now on.
    pub(super) fn open(self, shown: Arc<Admin<EdgeViews>>, parts: &Parts) -> AdminApi {
        let Self { addr, url, listener } = self;
        let stop = parts.ours.child_token();
        parts.sockets.add(&listener);
        let serving = admin::serve(listener, shown.clone(), stop.clone());
        parts.inner.spawn_vital_until("admin", stop.clone(), serving);
        AdminApi { addr, url, shown, stop }
    }
}

impl AdminApi {
    /// Binds `addr`, unless that is where it is already.
    pub(super) async fn prepare(&self, addr: SocketAddr) -> io::Result<Option<Bound>> {
        if addr == self.addr {
            return Ok(None);
        }
        Bound::at(addr, &mut Inherited::default()).await.map(Some)
    }

    /// Answers requests there from now on. Those at hand at the address before are still answered.
    pub(super) fn turn_to(&mut self, bound: Bound, parts: &Parts) {
        tracing::info!(url = bound.url, "the admin API has moved");
        let next = bound.open(self.shown.clone(), parts);
        std::mem::replace(self, next).stop.cancel();
    }
}
