//! Reads a whole database once, before it is used.
//!
//! What passes is safe to look up in: no record is broken, and none takes long to read. The walk
//! itself ends soon whatever the file holds. `Reader::verify` is not used: it refuses the files of
//! DB-IP in npm packages, which describe themselves with nothing, and can be made to walk a small
//! tree for ever, because it passes over aliases of IPv4 without counting them.

use std::fmt;

use maxminddb::{Reader, WithinOptions};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::DatabaseError;
use crate::record::{Found, Layout};

/// Leaves of the tree by its nodes. One is usual; four where IPv4 has its three aliases within
/// IPv6.
const LEAVES_PER_NODE_MAX: usize = 8;

/// Values read by the bytes of the file. A value is a byte at least, but pointers let records share
/// it.
const VALUES_PER_BYTE_MAX: usize = 8;

/// Values within one record, a long text counted as several. Those of GeoIP2 Enterprise, the
/// largest known, are fewer than 300.
const VALUES_PER_RECORD_MAX: u32 = 4_096;

/// The layout of a database of `bytes` bytes, all of whose records are sound.
///
/// # Errors
/// `Broken`, `Endless`, `Bloated`, `OffEarth` or `NoPlaces` of [`DatabaseError`].
pub(crate) fn inspect<S: AsRef<[u8]>>(
    reader: &Reader<S>,
    bytes: usize,
) -> Result<Layout, DatabaseError> {
    let nodes = reader.metadata().node_count;
    // All leaves, so that every step of the walk is one we count.
    let options =
        WithinOptions::default().include_aliased_networks().include_networks_without_data();
    let leaves_max = (nodes as usize + 1).saturating_mul(LEAVES_PER_NODE_MAX);
    let values_max = bytes.saturating_mul(VALUES_PER_BYTE_MAX);
    let mut seen = Seen::of(bytes);
    let mut values = 0_usize;
    let mut layout: Option<Layout> = None;
    for (leaf, found) in reader.networks(options)?.enumerate() {
        let found = found?;
        if leaf >= leaves_max {
            return Err(DatabaseError::Endless { nodes });
        }
        if found.offset().is_some_and(|offset| seen.is_new(offset)) {
            values += found.decode::<Values>()?.map_or(0, |values| values.count as usize);
            if values > values_max {
                return Err(DatabaseError::Bloated { bytes });
            }
            layout = better(layout, layout_of(&found)?);
        }
    }
    layout.ok_or_else(|| DatabaseError::NoPlaces(reader.metadata().database_type.clone()))
}

/// The layout of one record, whose coordinates are sound; `None` if it has no place.
fn layout_of<S: AsRef<[u8]>>(found: &Found<'_, S>) -> Result<Option<Layout>, DatabaseError> {
    for layout in Layout::ALL {
        if layout.coordinates(found)?.is_some() {
            return Ok(Some(layout));
        }
    }
    let by_country = [Layout::Country, Layout::FlatCountry];
    Ok(by_country.into_iter().find(|layout| layout.country(found).is_some()))
}

/// The one of two layouts that tells more.
fn better(a: Option<Layout>, b: Option<Layout>) -> Option<Layout> {
    Layout::ALL.into_iter().find(|of| a == Some(*of) || b == Some(*of))
}

/// One bit for each offset there can be.
struct Seen(Vec<u64>);

impl Seen {
    fn of(len: usize) -> Self {
        Self(vec![0; len / 64 + 1])
    }

    /// Whether `offset` has not been asked for before; also if it is beyond all there can be.
    fn is_new(&mut self, offset: usize) -> bool {
        let Some(word) = self.0.get_mut(offset / 64) else { return true };
        let bit = 1 << (offset % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// How many values a value holds, itself included; a text counts as one more for every 32 bytes.
struct Values {
    count: u32,
}

impl Values {
    const ONE: Self = Self { count: 1 };

    fn of_text(len: usize) -> Self {
        Self { count: u32::try_from(len / 32).unwrap_or(u32::MAX).saturating_add(1) }
    }

    fn add<E: serde::de::Error>(&mut self, other: &Self) -> Result<(), E> {
        self.count = self.count.saturating_add(other.count);
        if self.count > VALUES_PER_RECORD_MAX {
            return Err(E::custom("the record holds too many values"));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Counter)
    }
}

/// Visits all of a record; every type the format has.
struct Counter;

impl<'de> Visitor<'de> for Counter {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        let mut values = Values::ONE;
        while let Some((name, value)) = map.next_entry::<Values, Values>()? {
            values.add(&name)?;
            values.add(&value)?;
        }
        Ok(values)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = Values::ONE;
        while let Some(value) = list.next_element::<Values>()? {
            values.add(&value)?;
        }
        Ok(values)
    }

    fn visit_str<E>(self, text: &str) -> Result<Values, E> {
        Ok(Values::of_text(text.len()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Values, E> {
        Ok(Values::of_text(bytes.len()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Values, E> {
        Ok(Values::ONE)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Values, E> {
        Ok(Values::ONE)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Values, E> {
        Ok(Values::ONE)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Values, E> {
        Ok(Values::ONE)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Values, E> {
        Ok(Values::ONE)
    }
}
