//! Hides who a client is, and leaves where it comes from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of a client's address, fit for logs: the first 24 bits of an IPv4 address, the first
/// 48 of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNet(IpAddr);

impl ClientNet {
    /// The network of `addr`. An IPv4 address inside an IPv6 one counts as what it is.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        Self(match addr.to_canonical() {
            IpAddr::V4(addr) => {
                let [a, b, c, _] = addr.octets();
                Ipv4Addr::new(a, b, c, 0).into()
            }
            IpAddr::V6(addr) => {
                let [a, b, c, ..] = addr.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
            }
        })
    }
}

impl fmt::Display for ClientNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = if self.0.is_ipv4() { 24 } else { 48 };
        write!(f, "{}/{len}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_network_of_an_address_is_shown() {
        for (addr, net) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("::1", "::/48"),
        ] {
            let shown = ClientNet::of(addr.parse().unwrap());
            assert_eq!(shown.to_string(), net);
            assert!(!format!("{shown:?}").contains("77"));
        }
    }
}
