//! TLS connections, one after another: full handshakes, or resumed ones.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, RootCertStore, SignatureScheme,
};

use super::Tally;
use super::connection::Connection;
use super::crew::{Plan, gather};
use super::error::BenchError;
use super::latency::PATIENCE;
use super::process;
use super::report::{Measured, Report, Unit};
use super::stream::Stream;
use super::target::{Clients, Target, Trust};
use crate::runtime::Clock;

/// Servers that one client keeps tickets for: there is one.
const TICKETS_MAX: usize = 1;

/// Connections over TLS, each opened when the one before has ended.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Who connects: so many at once. The URL is `wss://`.
    pub clients: Clients,
    /// Whether each goes on with a session that the one before was given a ticket for.
    pub resumes: bool,
    /// Time that is measured.
    pub time: Duration,
}

/// One client after the other, with the tickets that they leave to the next.
struct Seat {
    target: Target,
    meeting: usize,
}

impl TlsSettings {
    /// Runs it. A connection is counted from TCP to the answer of the WebSocket handshake, behind
    /// which the tickets have come.
    ///
    /// # Errors
    /// There is no TLS in the URL, or a first connection to get a ticket fails.
    pub fn run(&self) -> Result<Report, BenchError> {
        let clients = &self.clients;
        process::raise_open_files(clients.connections)?;
        let target = Target::find(clients)?;
        if target.tls.is_none() {
            return Err(BenchError::Url(clients.url.clone()));
        }
        let plan = Plan {
            prepare: async |thread| self.seat(&target, clients.of_thread(thread)).await,
            work: async |seats: &mut Vec<Seat>, time| self.connect_all(seats, time).await,
            end: async |_| {},
        };
        let (measured, failures) = gather(clients.threads, &plan, |crew| {
            let before = clients.usages()?;
            let (clock, mut tally, mut failures) = (Clock::start(), Tally::new(), 0);
            for (one, failed) in crew.run(&self.time)? {
                tally.add(&one);
                failures += failed;
            }
            let took = Duration::from_nanos(clock.now_nanos());
            let after = clients.usages()?;
            Ok((Measured { tally, took, before, after }, failures))
        })?;
        let mode = if self.resumes { "tls resumed" } else { "tls full" };
        let report = Report::new(mode, clients, Unit::Connection, measured);
        Ok(report.with_failures(failures))
    }

    /// Seats for clients of these meetings, with a first ticket where one is wanted.
    async fn seat(&self, target: &Target, meetings: Vec<usize>) -> Result<Vec<Seat>, BenchError> {
        let mut seats = Vec::new();
        for meeting in meetings {
            let target = target.with_own_tickets(&self.clients.trust, self.resumes)?;
            let seat = Seat { target, meeting };
            if self.resumes {
                let failed = |error| BenchError::Connect(seat.target.authority.clone(), error);
                seat.connect().await.map_err(failed)?;
            }
            seats.push(seat);
        }
        Ok(seats)
    }

    /// Connects on every seat until `time` is over; returns also how many failed.
    async fn connect_all(&self, seats: &[Seat], time: Duration) -> (Tally, u64) {
        let tally = RefCell::new(Tally::new());
        let clock = Clock::start();
        let connecting = seats.iter().map(|seat| async {
            let mut failures = 0;
            while clock.now().since(crate::model::Time::ZERO) < time {
                let began = clock.now_nanos();
                let connected = tokio::time::timeout(PATIENCE, seat.connect()).await;
                match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                    Ok(kind) if (kind == HandshakeKind::Resumed) == self.resumes => {
                        tally.borrow_mut().record(clock.now_nanos() - began);
                    }
                    Ok(_) | Err(_) => failures += 1,
                }
            }
            failures
        });
        let failures = join_all(connecting).await.into_iter().sum();
        (tally.into_inner(), failures)
    }
}

impl Seat {
    /// Opens a connection and closes it.
    async fn connect(&self) -> io::Result<HandshakeKind> {
        let mut stream = Stream::connect(&self.target).await?;
        let meeting = self.target.meeting(self.meeting);
        let rest = stream.upgrade(&self.target, &meeting).await?;
        let kind = stream.handshake_kind().ok_or(io::ErrorKind::InvalidData)?;
        Connection::new(stream, &rest).close().await;
        Ok(kind)
    }
}

/// A configuration that trusts as told, and keeps tickets for sessions of its own if it `resumes`.
pub(super) fn config(trust: &Trust, resumes: bool) -> Result<Arc<ClientConfig>, BenchError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions");
    let mut config = match trust {
        Trust::Nobody => return Err(BenchError::NoTrust),
        Trust::Ca(path) => {
            let bad = |why: String| BenchError::Ca(path.display().to_string(), why);
            let found = CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))?;
            let mut roots = RootCertStore::empty();
            for certificate in found {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("there is none".to_owned()));
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth(),
    };
    config.resumption =
        if resumes { Resumption::in_memory_sessions(TICKETS_MAX) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// Takes any certificate, with a signature that belongs to it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
