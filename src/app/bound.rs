//! The addresses of the config, as sockets that listen.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::StartError;
use crate::proxy::Listener;
use crate::runtime::Inherited;
use crate::settings::Settings;

/// Every listener, and the socket of the admin API. Nothing is accepted yet.
pub(super) struct Bound {
    pub(super) listeners: Vec<Listener>,
    pub(super) admin: TcpListener,
}

impl Bound {
    /// Takes sockets of `inherited` for the addresses they are at and binds the others.
    ///
    /// # Errors
    /// An address or a TLS file cannot be used.
    pub(super) async fn new(
        settings: &Settings,
        inherited: &mut Inherited,
    ) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for listener in &settings.listeners {
            listeners.push(match inherited.take(listener.addr) {
                Some(socket) => Listener::inherit(listener, socket)?,
                None => Listener::bind(listener)?,
            });
        }
        let admin = admin(settings.admin.addr, inherited).await?;
        Ok(Self { listeners, admin })
    }
}

async fn admin(addr: SocketAddr, inherited: &mut Inherited) -> Result<TcpListener, StartError> {
    let socket = match inherited.take(addr) {
        Some(socket) => TcpListener::from_std(socket),
        None => TcpListener::bind(addr).await,
    };
    socket.map_err(|source| StartError::Admin { addr, source })
}
