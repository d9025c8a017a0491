//! A range of addresses by their first bits.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses by their first bits, such as `10.0.0.0/8`.
///
/// One of IPv4 mapped into IPv6 (`::ffff:10.0.0.0/104`) is the range of IPv4 itself, and an address
/// mapped so counts as IPv4. No other range of IPv6 holds an address of IPv4, not even `::/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    first: IpAddr,
    prefix_len: u8,
}

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// What stands before the `/` is no address.
    #[error("{0:?} is not an IP address")]
    NotAddress(String),
    /// What stands behind the `/` is not a number of bits that fits the address.
    #[error("{found:?} is not a prefix length from 0 to {max}")]
    PrefixLen {
        /// As it was found.
        found: String,
        /// 32 or 128.
        max: u8,
    },
    /// Bits are set behind the prefix: is a single address meant, or the range?
    #[error("{found} is not the first address of its range; write {first} for the range")]
    HostBits {
        /// As it was found.
        found: String,
        /// The range it lies in.
        first: Cidr,
    },
}

impl Cidr {
    /// The range of the addresses whose first `prefix_len` bits are those of `ip`.
    ///
    /// `None` if `prefix_len` is more than 32 for IPv4, 128 for IPv6.
    #[must_use]
    pub fn around(ip: IpAddr, prefix_len: u8) -> Option<Self> {
        let (ip, prefix_len) = match (ip, ip.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if (96..=128).contains(&prefix_len) => {
                (v4, prefix_len - 96)
            }
            _ => (ip, prefix_len),
        };
        let first = masked(ip, prefix_len)?;
        Some(Self { first, prefix_len })
    }

    /// Whether `ip` lies in the range.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && masked(ip, self.prefix_len) == Some(self.first)
    }

    /// The first address of the range.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// How many bits all addresses of the range share.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `ADDRESS/LENGTH`, or an address alone, which is a range of one.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| CidrError::NotAddress(address.to_owned()))?;
        let max = if ip.is_ipv4() { 32 } else { 128 };
        let bad_len = |len: &str| CidrError::PrefixLen { found: len.to_owned(), max };
        let cidr = match len {
            None => Self::around(ip, max),
            Some(len) => {
                let is_number = !len.is_empty() && len.bytes().all(|of| of.is_ascii_digit());
                let prefix_len = len.parse().ok().filter(|_| is_number);
                prefix_len.and_then(|prefix_len| Self::around(ip, prefix_len))
            }
        };
        let first = cidr.ok_or_else(|| bad_len(len.unwrap_or_default()))?;
        if first.first.to_canonical() != ip.to_canonical() {
            return Err(CidrError::HostBits { found: text.to_owned(), first });
        }
        Ok(first)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_len)
    }
}

/// `ip` with all bits behind the first `prefix_len` zero; `None` if it has not so many.
pub(crate) fn masked(ip: IpAddr, prefix_len: u8) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let behind = 32_u32.checked_sub(prefix_len.into())?;
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            Some(IpAddr::V4((ip.to_bits() & mask).into()))
        }
        IpAddr::V6(ip) => {
            let behind = 128_u32.checked_sub(prefix_len.into())?;
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_expected() {
        for (text, message) in [
            ("", "\"\" is not an IP address"),
            ("10.0.0/8", "\"10.0.0\" is not an IP address"),
            ("10.0.0.0/", "\"\" is not a prefix length from 0 to 32"),
            ("10.0.0.0/33", "\"33\" is not a prefix length from 0 to 32"),
            ("10.0.0.0/+8", "\"+8\" is not a prefix length from 0 to 32"),
            ("10.0.0.0/8/8", "\"8/8\" is not a prefix length from 0 to 32"),
            ("::/129", "\"129\" is not a prefix length from 0 to 128"),
            (
                "10.1.0.0/8",
                "10.1.0.0/8 is not the first address of its range; write 10.0.0.0/8 for the range",
            ),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_range_holds_its_own_and_mapped_addresses_only() {
        let holds =
            |range: &str, ip: &str| range.parse::<Cidr>().unwrap().contains(ip.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.255.0.1"));
        assert!(holds("0.0.0.0/0", "255.255.255.255"));
        assert!(holds("fd00::/8", "fdff::1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.0"));
        assert!(!holds("::/0", "10.0.0.1"));
        assert!(!holds("::/0", "::ffff:10.0.0.1"));
        assert!(!holds("0.0.0.0/0", "::1"));
    }
}
