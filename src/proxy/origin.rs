//! Who a connection is from: its socket, a PROXY header or headers of HTTP, as far as these are
//! believed.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::geo::Atlas;
use crate::protocol::forwarded::{Told, client_of_forwarded, client_of_list};
use crate::protocol::proxy_header::{header_len, parse_proxy_header};
use crate::protocol::request::Vantage;
use crate::settings::{Forwarded, OriginSettings, ProxyProtocol};
use crate::telemetry::HandshakeRejection;

/// `X-Forwarded-For`, which no standard has.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Bytes that are looked at in one go. All that proxies send by themselves fits.
const CHUNK_LEN: usize = 256;

/// What a header with other than visible characters is taken for: malformed in both forms.
const MALFORMED: &str = "?";

/// How the address and the place of a listener's clients are found.
#[derive(Debug)]
pub(super) struct Origin(pub(super) OriginSettings);

impl Origin {
    fn trusts(&self, addr: IpAddr) -> bool {
        self.0.trusted_proxies.iter().any(|net| net.contains(addr))
    }

    /// The other end of `stream`, which is `peer` unless a PROXY header must come first: then that is
    /// read, not a byte more, and says who it is.
    ///
    /// # Errors
    /// There must be a header, and there is none, or `peer` is not trusted.
    pub(super) async fn read_peer(
        &self,
        stream: &mut TcpStream,
        peer: IpAddr,
    ) -> Result<IpAddr, HandshakeRejection> {
        match self.0.proxy_protocol {
            ProxyProtocol::Off => return Ok(peer),
            ProxyProtocol::Required if !self.trusts(peer) => {
                return Err(HandshakeRejection::Proxy);
            }
            ProxyProtocol::Required => {}
        }
        let header = read_proxy_header(stream).await?;
        let told = parse_proxy_header(&header).map_err(|_| HandshakeRejection::Proxy)?;
        Ok(told.unwrap_or(peer))
    }

    /// The address of the client behind `peer`, by the headers of its request; `None` if it is hidden.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if self.0.forwarded == Forwarded::None || !self.trusts(peer) {
            return Some(peer);
        }
        let lines = |name| {
            let values = headers.get_all(name).iter();
            values.map(|value| value.to_str().unwrap_or(MALFORMED))
        };
        let trusts = |addr| self.trusts(addr);
        let told = match self.0.forwarded {
            Forwarded::None => Told::Nothing,
            Forwarded::XForwardedFor => client_of_list(lines(X_FORWARDED_FOR), trusts),
            Forwarded::Rfc7239 => client_of_forwarded(lines(header::FORWARDED), trusts),
        };
        match told {
            Told::Nothing => Some(peer),
            Told::Hidden => None,
            Told::Addr(addr) => Some(addr),
        }
    }

    /// Where a connection from `client` comes from.
    pub(super) fn vantage(&self, client: Option<IpAddr>, atlas: &Atlas) -> Option<Vantage> {
        let place = client.and_then(|addr| atlas.look_up(addr)).map(Vantage::Client);
        let listener = || self.0.place?.to_place().map(Vantage::Listener);
        place.or_else(listener)
    }
}

/// Reads a PROXY header and leaves all that follows it, which may be TLS.
async fn read_proxy_header(stream: &mut TcpStream) -> Result<Vec<u8>, HandshakeRejection> {
    let mut seen = Vec::new();
    let mut chunk = [0; CHUNK_LEN];
    loop {
        let len = stream.peek(&mut chunk).await.map_err(|_| HandshakeRejection::Io)?;
        if len == 0 {
            return Err(HandshakeRejection::Io);
        }
        let taken = seen.len();
        seen.extend_from_slice(&chunk[..len]);
        let end = header_len(&seen).map_err(|_| HandshakeRejection::Proxy)?;
        // Until the header is whole, all that has come belongs to it.
        seen.truncate(end.unwrap_or(seen.len()));
        let belongs = &mut chunk[..seen.len() - taken];
        stream.read_exact(belongs).await.map_err(|_| HandshakeRejection::Io)?;
        if end.is_some() {
            return Ok(seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn client(forwarded: Forwarded, peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let origin = Origin(OriginSettings { trusted_proxies, forwarded, ..Default::default() });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let client = origin.client(peer.parse().unwrap(), &map);
        client.map_or("hidden".to_owned(), |addr| addr.to_string())
    }

    #[test]
    fn only_the_header_that_is_configured_counts_and_only_from_a_trusted_proxy() {
        use Forwarded::{None, Rfc7239, XForwardedFor};
        let list = ("x-forwarded-for", "203.0.113.7");
        let standard = ("forwarded", "for=198.51.100.7");
        for (forwarded, peer, headers, expected) in [
            (None, "10.0.0.1", &[list, standard][..], "10.0.0.1"),
            (XForwardedFor, "10.0.0.1", &[list, standard], "203.0.113.7"),
            (Rfc7239, "10.0.0.1", &[list, standard], "198.51.100.7"),
            (XForwardedFor, "192.0.2.1", &[list], "192.0.2.1"),
            (XForwardedFor, "10.0.0.1", &[standard], "10.0.0.1"),
            (XForwardedFor, "10.0.0.1", &[list, ("x-forwarded-for", "1.2.3.4")], "1.2.3.4"),
            (XForwardedFor, "10.0.0.1", &[list, ("x-forwarded-for", "é")], "hidden"),
            (Rfc7239, "10.0.0.1", &[("forwarded", "é")], "hidden"),
        ] {
            assert_eq!(client(forwarded, peer, headers), expected, "{forwarded:?} {headers:?}");
        }
    }
}
