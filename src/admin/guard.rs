//! Keeps web pages away from the admin API.
//!
//! A page in an operator's browser can send requests to loopback addresses. With an `Origin` it is a
//! script of another site; with a name for a host, a site may have pointed its own name at this
//! address (DNS rebinding) to read the answers. Neither is ever needed here.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{Request, Uri};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Sent by a web page.
    #[error("requests of web pages are refused: there is an Origin header")]
    Origin,
    /// Sent to a name that is not ours, or to several hosts.
    #[error("the Host must be an IP address or localhost")]
    Host,
}

/// Refuses a request that a web page may have sent. One without `Host` is no browser's.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.headers().contains_key(ORIGIN) {
        return Err(Refusal::Origin);
    }
    if has_local_hosts(request.headers()) && has_local_target(request.uri()) {
        Ok(())
    } else {
        Err(Refusal::Host)
    }
}

fn has_local_hosts(headers: &HeaderMap) -> bool {
    let is_local = |text: &str| text.parse().is_ok_and(|host: Authority| is_local(&host));
    headers.get_all(HOST).iter().all(|value| value.to_str().is_ok_and(is_local))
}

/// Whether the target is a path alone or, as proxies get it, begins with a host of ours.
fn has_local_target(uri: &Uri) -> bool {
    uri.authority().is_none_or(is_local)
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let addr = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || addr.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::get("/healthz");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap())
    }

    #[test]
    fn addresses_and_localhost_are_hosts_of_ours() {
        for host in ["127.0.0.1:9901", "10.0.0.7", "[::1]:9901", "localhost:9901", "LOCALHOST"] {
            assert_eq!(checked(&[("Host", host)]), Ok(()), "{host}");
        }
        assert_eq!(checked(&[]), Ok(()));
    }

    #[test]
    fn names_and_origins_are_refused() {
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""] {
            assert_eq!(checked(&[("Host", host)]), Err(Refusal::Host), "{host}");
        }
        let both = [("Host", "127.0.0.1"), ("Host", "evil.example")];
        assert_eq!(checked(&both), Err(Refusal::Host));
        let page = [("Host", "127.0.0.1"), ("Origin", "null")];
        assert_eq!(checked(&page), Err(Refusal::Origin));
        let absolute = Request::get("http://evil.example/healthz").body(()).unwrap();
        assert_eq!(check(&absolute), Err(Refusal::Host));
    }
}
