//! What holds for a connection from the moment it is accepted: one config's, as a whole.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use tokio_rustls::TlsAcceptor;

use super::edge::Edge;
use super::origin::Origin;
use crate::policy::guard::Rules;
use crate::settings::{ListenerSettings, TlsError, TlsFiles, TlsIdentity};

/// What a listener leads to. Whoever has taken one sees nothing of any other config.
pub struct Entrance {
    /// What connections share.
    pub edge: Arc<Edge>,
    /// What holds at this listener.
    pub terms: Arc<Terms>,
}

/// What holds for the connections of one listener.
pub struct Terms {
    pub(super) path: Arc<str>,
    tls: Option<Tls>,
    pub(super) rules: Arc<Rules>,
    pub(super) origin: Arc<Origin>,
}

#[derive(Clone)]
struct Tls {
    identity: TlsIdentity,
    acceptor: TlsAcceptor,
}

/// Why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TermsError {
    /// The certificate or key cannot be used.
    #[error("cannot speak TLS on {addr}: {source}")]
    Tls {
        /// As configured.
        addr: SocketAddr,
        /// What is wrong with the files.
        source: TlsError,
    },
    /// There are no keys to make session tickets with.
    #[error("cannot make TLS session tickets on {addr}: {source}")]
    Tickets {
        /// As configured.
        addr: SocketAddr,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

impl Terms {
    /// Those of `settings`; reads the TLS files. If they hold the certificate that was used `before`,
    /// what clients keep of their last handshake goes on to be of use to them.
    ///
    /// # Errors
    /// The TLS files cannot be used.
    pub fn load(settings: &ListenerSettings, before: Option<&Self>) -> Result<Self, TermsError> {
        let addr = settings.addr;
        let before = before.and_then(|terms| terms.tls.as_ref());
        let tls = settings.tls.as_ref().map(|files| Tls::load(files, addr, before)).transpose()?;
        Ok(Self {
            path: settings.path.as_str().into(),
            tls,
            rules: Arc::new(settings.rules()),
            origin: Arc::new(Origin(settings.origin.clone())),
        })
    }

    /// Whether `other` shows clients another certificate. Not so if one of them shows none.
    #[must_use]
    pub fn has_other_certificate(&self, other: &Self) -> bool {
        let both = self.tls.as_ref().zip(other.tls.as_ref());
        both.is_some_and(|(one, other)| one.identity.cert != other.identity.cert)
    }

    /// The scheme of the URLs that clients connect to, and the path.
    #[must_use]
    pub fn url(&self, addr: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{addr}{}", self.path)
    }

    pub(super) fn acceptor(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref().map(|tls| &tls.acceptor)
    }
}

impl Tls {
    fn load(files: &TlsFiles, addr: SocketAddr, before: Option<&Self>) -> Result<Self, TermsError> {
        let identity = files.load().map_err(|source| TermsError::Tls { addr, source })?;
        if let Some(before) = before.filter(|before| before.identity.cert == identity.cert) {
            return Ok(before.clone());
        }
        let resolver = rustls::sign::SingleCertAndKey::from(identity.clone());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // The client keeps what its next handshake is shortened by, so none is forgotten here. Another
        // certificate comes with other keys, so that everybody gets to see it.
        config.ticketer = Ticketer::new().map_err(|source| TermsError::Tickets { addr, source })?;
        Ok(Self { identity, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
