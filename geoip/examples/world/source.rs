//! A full database as a sorted list of networks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use geoip::{Country, Place};
use maxminddb::{Reader, path};

/// A network of IPv6 counts as its /48s, but at most as those of a /36.
pub(crate) const V6_WEIGHT_MAX: f64 = 4_096.0;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// How much a network counts: its addresses (IPv4), or its /48s, at most those of a /36 (IPv6).
    ///
    /// Uncapped, the few blocks of a /20 and larger that some states and providers hold would be
    /// nearly all of IPv6, and where the people are would count for nothing.
    pub(crate) fn weight(self, prefix_len: u8) -> f64 {
        match self {
            Self::V4 => f64::from(32 - i32::from(prefix_len)).exp2(),
            Self::V6 => self.size(prefix_len).min(V6_WEIGHT_MAX),
        }
    }

    /// Addresses (IPv4) or /48s (IPv6) of a network.
    pub(crate) fn size(self, prefix_len: u8) -> f64 {
        match self {
            Self::V4 => self.weight(prefix_len),
            Self::V6 => f64::from(48 - i32::from(prefix_len)).exp2(),
        }
    }
}

/// A network and the place of its addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    /// First address; one of IPv4 in the highest 32 bits.
    pub(crate) bits: u128,
    /// Number of bits all its addresses share; the bits behind them are zero.
    pub(crate) prefix_len: u8,
    /// Index into `Source::spots`.
    pub(crate) spot: u32,
}

/// A place as the full database has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) place: Place,
    pub(crate) country: Option<Country>,
    /// Sum of the weights of its networks.
    pub(crate) weight: f64,
}

/// All networks of one family that have a place, in the order of their addresses.
pub(crate) struct Source {
    pub(crate) family: Family,
    pub(crate) networks: Vec<Network>,
    pub(crate) spots: Vec<Spot>,
    pub(crate) build_epoch: u64,
}

impl Source {
    /// Reads all of the file at `path`, which has the layout of the npm packages.
    pub(crate) fn read(path: &Path, family: Family) -> Result<Self> {
        let reader = Reader::open_readfile(path).with_context(|| path.display().to_string())?;
        let build_epoch = reader.metadata().build_epoch;
        let mut source = Self { family, networks: vec![], spots: vec![], build_epoch };
        let mut known = HashMap::new();
        for found in reader.networks(maxminddb::WithinOptions::default())? {
            let found = found?;
            let net = found.network()?;
            let offset = found.offset().context("a network without a record")?;
            let spot = match known.get(&offset) {
                Some(spot) => *spot,
                None => {
                    let spot = source.add_spot(&found)?;
                    known.insert(offset, spot);
                    spot
                }
            };
            source.add_network(net.network(), net.prefix(), spot);
        }
        ensure!(source.networks.is_sorted_by_key(|of| of.bits), "networks out of order");
        Ok(source)
    }

    /// The spot of a record; `None` if it has no place.
    fn add_spot(&mut self, found: &maxminddb::LookupResult<'_, Vec<u8>>) -> Result<Option<u32>> {
        let latitude: Option<f32> = found.decode_path(&path!["latitude"])?;
        let longitude: Option<f32> = found.decode_path(&path!["longitude"])?;
        let country: Option<&str> = found.decode_path(&path!["country_code"])?;
        let Some(place) = latitude.zip(longitude).and_then(|(latitude, longitude)| {
            Place::from_degrees(latitude.into(), longitude.into())
        }) else {
            return Ok(None);
        };
        let country = country.and_then(Country::parse).filter(|of| of.code() != *b"ZZ");
        self.spots.push(Spot { place, country, weight: 0.0 });
        Ok(Some(u32::try_from(self.spots.len() - 1)?))
    }

    fn add_network(&mut self, first: IpAddr, prefix_len: u8, spot: Option<u32>) {
        let (bits, in_v6) = match first {
            IpAddr::V4(first) => (u128::from(first.to_bits()) << 96, false),
            IpAddr::V6(first) => (first.to_bits(), true),
        };
        let Some(spot) = spot else { return };
        if in_v6 == (self.family == Family::V6) {
            self.spots[spot as usize].weight += self.family.weight(prefix_len);
            self.networks.push(Network { bits, prefix_len, spot });
        }
    }
}
