//! Whom the clients connect to, and who they are.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::error::BenchError;
use super::process::{self, Usage};
use super::tls;
use crate::runtime::random;

/// Most connections of a run.
pub const CONNECTIONS_MAX: usize = 60_000;

/// Whose certificate is taken for the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody's: `ws://` only.
    Nobody,
    /// One that a certificate in this PEM file vouches for.
    Ca(PathBuf),
    /// Anybody's. For tests: it proves nothing.
    Anybody,
}

/// The clients of a run.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Where they connect: `ws://` or `wss://`.
    pub url: String,
    /// How many: up to [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// How many of them share a meeting.
    pub meeting_size: usize,
    /// Threads that they are spread over, a meeting on one.
    pub threads: usize,
    /// For `wss://`.
    pub trust: Trust,
    /// Processes whose processor time and memory are reported, beside this one's own.
    pub pids: Vec<u32>,
}

/// Where to connect, looked up.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) addr: SocketAddr,
    /// For the header `Host`, and for messages.
    pub(super) authority: String,
    path: String,
    /// The name to find in the certificate, and how to check it.
    pub(super) tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    /// Keeps the meetings of two runs apart.
    run: u64,
}

impl Target {
    /// Looks up where `clients` connect.
    pub(super) fn find(clients: &Clients) -> Result<Self, BenchError> {
        let bad = || BenchError::Url(clients.url.clone());
        let uri: hyper::Uri = clients.url.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let (port, tls) = match uri.scheme_str() {
            Some("ws") => (80, None),
            Some("wss") => {
                let name = ServerName::try_from(bare.to_owned()).map_err(|_| bad())?;
                (443, Some((name, tls::config(&clients.trust, true)?)))
            }
            _ => return Err(bad()),
        };
        let port = uri.port_u16().unwrap_or(port);
        let unknown = |error| BenchError::Resolve(host.to_owned(), error);
        let mut found = (bare, port).to_socket_addrs().map_err(unknown)?;
        let addr = found.next().ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { addr, authority: format!("{host}:{port}"), path, tls, run: random::seed() })
    }

    /// The same with a memory of its own for TLS sessions, which is empty, or none if it never
    /// `resumes` one.
    pub(super) fn with_own_tickets(
        &self,
        trust: &Trust,
        resumes: bool,
    ) -> Result<Self, BenchError> {
        let own =
            |(name, _): &(ServerName<'static>, _)| Ok((name.clone(), tls::config(trust, resumes)?));
        let tls = self.tls.as_ref().map(own).transpose()?;
        Ok(Self { tls, ..self.clone() })
    }

    /// The name of meeting `number`, which no other run uses.
    pub(super) fn meeting(&self, number: usize) -> String {
        format!("bench-{:016x}-{number}", self.run)
    }

    /// Path and query for a client of `meeting`, which proxies can hash.
    pub(super) fn path_of(&self, meeting: &str) -> String {
        let sign = if self.path.contains('?') { '&' } else { '?' };
        let meeting = utf8_percent_encode(meeting, NON_ALPHANUMERIC);
        format!("{}{sign}meeting={meeting}", self.path)
    }
}

impl Clients {
    /// What the processes have used so far, this one's last: if it fills its processors, it is what was
    /// measured.
    pub(super) fn usages(&self) -> Result<Vec<Usage>, BenchError> {
        process::usages(&[&self.pids[..], &[std::process::id()]].concat())
    }

    /// The connections of thread `thread`, as the number of each one's meeting.
    pub(super) fn of_thread(&self, thread: usize) -> Vec<usize> {
        let meetings = (0..self.connections).map(|connection| connection / self.meeting_size);
        meetings.filter(|meeting| meeting % self.threads == thread).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(url: &str) -> Clients {
        Clients {
            url: url.to_owned(),
            connections: 10,
            meeting_size: 4,
            threads: 2,
            trust: Trust::Nobody,
            pids: Vec::new(),
        }
    }

    #[test]
    fn a_meeting_is_named_in_the_url_beside_what_is_there() {
        let target = Target::find(&clients("ws://127.0.0.1:9/kurento?a=b")).unwrap();
        assert_eq!(target.path_of("x-1"), "/kurento?a=b&meeting=x%2D1");
        assert_eq!((target.addr.port(), target.tls.is_none()), (9, true));
        let other = Target::find(&clients("ws://127.0.0.1:9/kurento")).unwrap();
        assert_ne!(target.meeting(1), other.meeting(1));
        assert_eq!(other.path_of("x"), "/kurento?meeting=x");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "http://a/", "ws:///kurento", "127.0.0.1:80", "ws://a b/"] {
            assert!(matches!(Target::find(&clients(url)), Err(BenchError::Url(_))), "{url}");
        }
        let secure = Target::find(&clients("wss://127.0.0.1/"));
        assert!(matches!(secure, Err(BenchError::NoTrust)));
    }

    #[test]
    fn meetings_stay_on_one_thread() {
        let clients = clients("");
        assert_eq!(clients.of_thread(0), [0, 0, 0, 0, 2, 2]);
        assert_eq!(clients.of_thread(1), [1, 1, 1, 1]);
    }
}
