//! What a server says that registers. Source: Kurento protocol notes, section 10.

use std::net::IpAddr;

use geoip::Cidr;
use serde::Deserialize;

use crate::settings::{BackendUrl, BackendUrlError};

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClaimError {
    /// It is none.
    #[error("not a registration: {0}")]
    Malformed(String),
    /// The address is of no use.
    #[error("its address: {0}")]
    Url(BackendUrlError),
    /// The address is a name. Whose it is would have to be found out, and may change.
    #[error("its address is the name {0:?}: set registrar.localAddress to an IP address")]
    Name(String),
    /// The address is not among those allowed.
    #[error("its address {0} is not in allow_backends")]
    NotAllowed(IpAddr),
}

/// The only message a server sends.
#[derive(Deserialize)]
struct Registration {
    method: String,
    params: Address,
}

#[derive(Deserialize)]
struct Address {
    ws: String,
}

/// Reads the address that a server claims to serve on; it must be in one of `allowed`.
pub(super) fn read_claim(text: &str, allowed: &[Cidr]) -> Result<BackendUrl, ClaimError> {
    let read: Registration =
        serde_json::from_str(text).map_err(|error| ClaimError::Malformed(error.to_string()))?;
    if read.method != "register" {
        return Err(ClaimError::Malformed("its method is not register".to_owned()));
    }
    let mut url = BackendUrl::parse(&read.params.ws).map_err(ClaimError::Url)?;
    let Ok(addr) = url.host.parse::<IpAddr>() else { return Err(ClaimError::Name(url.host)) };
    let addr = addr.to_canonical();
    if !allowed.iter().any(|net| net.contains(addr)) {
        return Err(ClaimError::NotAllowed(addr));
    }
    url.host = addr.to_string();
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(ws: &str) -> Result<String, String> {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"register","params":{{"ws":"{ws}"}}}}"#);
        let allowed = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        read_claim(&text, &allowed).map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_in_range_is_taken() {
        assert_eq!(claim("ws://10.0.0.7:8888/kurento").unwrap(), "ws://10.0.0.7:8888/kurento");
        assert_eq!(claim("ws://[fd00::7]:8888/k").unwrap(), "ws://[fd00::7]:8888/k");
        assert_eq!(claim("ws://[::ffff:10.0.0.7]:8888/k").unwrap(), "ws://10.0.0.7:8888/k");
    }

    #[test]
    fn what_else_is_claimed_is_refused_with_the_reason() {
        for (ws, reason) in [
            ("ws://11.0.0.7:8888/kurento", "11.0.0.7 is not in allow_backends"),
            ("ws://[::1]:8888/kurento", "::1 is not in allow_backends"),
            ("wss://10.0.0.7:8433/kurento", "wss:// to a backend is not supported"),
            (
                "ws://kms.example:8888/kurento",
                "name \\\"kms.example\\\": set registrar.localAddress",
            ),
            ("ws://10.0.0.7:0/kurento", "not a URL of the form"),
            ("", "not a URL of the form"),
        ] {
            let refused = claim(ws).unwrap_err();
            assert!(refused.contains(&reason.replace('\\', "")), "{ws}: {refused}");
        }
        for text in ["", "[]", "{}", r#"{"method":"ping","params":{"ws":"ws://10.0.0.7"}}"#] {
            assert!(matches!(read_claim(text, &[]), Err(ClaimError::Malformed(_))), "{text}");
        }
    }
}
