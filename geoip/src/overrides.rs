//! Places that no database knows: those of private networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::cidr::{Cidr, masked};
use crate::place::Place;

/// Places by range of addresses; the longest prefix wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    v4: Ranges,
    v6: Ranges,
}

/// Why a list is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverridesError {
    /// The same range stands there twice.
    #[error("{0} stands there twice")]
    Twice(Cidr),
    /// More than `Overrides::COUNT_MAX`. Carries that limit.
    #[error("more than {0} ranges")]
    TooMany(usize),
}

impl Overrides {
    /// How many ranges there may be at most.
    pub const COUNT_MAX: usize = 65_536;

    /// Takes a list, in any order.
    ///
    /// # Errors
    /// See [`OverridesError`].
    pub fn new(list: impl IntoIterator<Item = (Cidr, Place)>) -> Result<Self, OverridesError> {
        let mut overrides = Self::default();
        for (count, (cidr, place)) in list.into_iter().enumerate() {
            if count == Self::COUNT_MAX {
                return Err(OverridesError::TooMany(Self::COUNT_MAX));
            }
            let ranges = if cidr.first().is_ipv4() { &mut overrides.v4 } else { &mut overrides.v6 };
            if ranges.insert(cidr, place).is_some() {
                return Err(OverridesError::Twice(cidr));
            }
        }
        Ok(overrides)
    }

    /// The place of the smallest range that holds `ip`; one of IPv4 mapped into IPv6 counts as
    /// IPv4.
    #[must_use]
    pub fn place(&self, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        if ip.is_ipv4() { self.v4.find(ip) } else { self.v6.find(ip) }
    }
}

/// The ranges of one family, by length of their prefix, then by their first address.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ranges(BTreeMap<u8, BTreeMap<IpAddr, Place>>);

impl Ranges {
    fn insert(&mut self, cidr: Cidr, place: Place) -> Option<Place> {
        self.0.entry(cidr.prefix_len()).or_default().insert(cidr.first(), place)
    }

    fn find(&self, ip: IpAddr) -> Option<Place> {
        let longest_first = self.0.iter().rev();
        longest_first
            .filter_map(|(prefix_len, places)| places.get(&masked(ip, *prefix_len)?))
            .next()
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let (all, office, desk) = (place(0.0), place(10.0), place(20.0));
        let list = [("10.1.0.0/16", office), ("0.0.0.0/0", all), ("10.1.2.3", desk)];
        let overrides = Overrides::new(list.map(|(of, at)| (of.parse().unwrap(), at))).unwrap();
        let find = |ip: &str| overrides.place(ip.parse().unwrap());
        assert_eq!(find("10.1.2.3"), Some(desk));
        assert_eq!(find("::ffff:10.1.2.3"), Some(desk));
        assert_eq!(find("10.1.2.4"), Some(office));
        assert_eq!(find("10.2.0.0"), Some(all));
        assert_eq!(find("fd00::1"), None);
    }

    #[test]
    fn a_range_that_stands_there_twice_is_refused() {
        let mapped = ["10.0.0.0/8", "::ffff:10.0.0.0/104"];
        let refused = Overrides::new(mapped.map(|of| (of.parse().unwrap(), place(0.0))));
        assert_eq!(refused.unwrap_err().to_string(), "10.0.0.0/8 stands there twice");
    }

    #[test]
    fn a_list_has_an_end() {
        let addresses = (0..=Overrides::COUNT_MAX).map(|index| {
            let ip = IpAddr::V6((index as u128).into());
            (Cidr::around(ip, 128).unwrap(), place(0.0))
        });
        assert_eq!(Overrides::new(addresses), Err(OverridesError::TooMany(65_536)));
    }

    fn place(latitude: f64) -> Place {
        Place::from_degrees(latitude, 0.0).unwrap()
    }
}
