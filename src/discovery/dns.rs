//! Names that are looked up again and again.
//!
//! Each look-up is made with a resolver of its own, without a cache: it follows a change of
//! `/etc/resolv.conf`, and how old an answer may be is the interval alone. Priorities and weights of
//! SRV records are of no importance: every target is a backend, which `policy::choose` weighs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::sync::mpsc;

use super::{Found, Heard, Message, Origin};
use crate::policy::roster::Source;
use crate::settings::{BACKENDS_MAX, BackendUrl, DnsKind, DnsSettings};
use crate::telemetry::{DiscoverySource, Metrics};

/// Time that one name server may take; it is asked twice.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What was found out about a name.
#[derive(Debug, Default)]
struct Looked {
    /// The records, as places in the network; without those that repeat.
    found: Vec<BackendUrl>,
    /// Why some of them, or all, could not be had.
    failure: Option<NetError>,
}

/// Looks the name up until stopped, and tells what was found each time.
pub(super) async fn run(
    (source, settings): (Source, DnsSettings),
    messages: mpsc::Sender<Message>,
    metrics: Metrics,
) {
    let mut is_failing = false;
    loop {
        let looked = look_up(&settings).await;
        let is_whole = looked.failure.is_none();
        if let Some(error) = &looked.failure {
            metrics.on_discovery_failure(DiscoverySource::Dns);
            if !is_failing {
                tracing::warn!(%source, %error, "look-up of backends failed; those it named before stay");
            }
        } else if is_failing {
            tracing::info!(%source, "look-up of backends works again");
        }
        is_failing = !is_whole;
        let name = Some(settings.name.clone());
        let origin = |url| Origin::Found(Found::new(url, name.clone()));
        let found = looked.found.into_iter().map(origin).collect();
        let heard = Heard { source: source.clone(), found, is_whole };
        if messages.send(Message::Heard(heard)).await.is_err() {
            return;
        }
        tokio::time::sleep(settings.interval).await;
    }
}

async fn look_up(settings: &DnsSettings) -> Looked {
    let resolver = match resolver(settings.server) {
        Ok(resolver) => resolver,
        Err(error) => return Looked { found: Vec::new(), failure: Some(error) },
    };
    let asked: &[RecordType] = match settings.kind {
        DnsKind::Address => &[RecordType::A, RecordType::AAAA],
        DnsKind::Srv => &[RecordType::SRV],
    };
    let mut looked = Looked::default();
    for kind in asked {
        match resolver.lookup(settings.name.as_str(), *kind).await {
            Ok(answer) => looked.add(answer.answers(), settings),
            // The name has no such records, or is none: an answer like others.
            Err(error) if error.is_no_records_found() => {}
            Err(error) => looked.failure = Some(error),
        }
    }
    looked.found.truncate(BACKENDS_MAX);
    looked
}

impl Looked {
    fn add(&mut self, records: &[Record], settings: &DnsSettings) {
        let at = |host: String, port: u16| BackendUrl { host, port, path: settings.path.clone() };
        let by_addr = |addr: IpAddr| {
            let port = u16::try_from(settings.port).ok()?;
            Some(at(addr.to_canonical().to_string(), port))
        };
        for record in records {
            let url = match &record.data {
                RData::A(addr) => by_addr(IpAddr::V4(addr.0)),
                RData::AAAA(addr) => by_addr(IpAddr::V6(addr.0)),
                RData::SRV(service) => {
                    // A target of "." says that there is no such service. Source: RFC 2782.
                    let host = service.target.to_ascii().to_ascii_lowercase();
                    let host = host.trim_end_matches('.').to_owned();
                    let url = at(host, service.port);
                    // As it would have to be written in the config.
                    BackendUrl::parse(&url.to_string()).ok()
                }
                _ => None,
            };
            self.found.extend(url.filter(|url| !self.found.contains(url)));
        }
    }
}

/// A resolver that asks `server`, or else those of the system.
fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => {
            let to = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = vec![to(ConnectionConfig::udp()), to(ConnectionConfig::tcp())];
            let name_server = NameServerConfig::new(server.ip(), true, connections);
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options: &mut ResolverOpts = builder.options_mut();
    (options.timeout, options.attempts, options.cache_size) = (TIMEOUT, 2, 0);
    builder.build()
}
