//! What a record says, in each layout.

use std::fmt;

use maxminddb::{LookupResult, PathElement};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::country::{Continent, Country};
use crate::error::DatabaseError;
use crate::place::Place;

/// A record found by its address.
pub(crate) type Found<'a, S> = LookupResult<'a, S>;

/// Where the members stand that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `location.latitude`, `country.iso_code`: GeoIP2 and GeoLite2 City, DB-IP's own City files.
    City,
    /// `latitude`, `country_code`: the City files of DB-IP in the npm packages `@ip-location-db/…`.
    FlatCity,
    /// `country.iso_code` and no coordinates: Country files of either.
    Country,
    /// `country_code` and no coordinates: Country files in the npm packages.
    FlatCountry,
}

impl Layout {
    /// All layouts, the one that tells the most first.
    pub(crate) const ALL: [Self; 4] =
        [Self::City, Self::FlatCity, Self::Country, Self::FlatCountry];

    /// The place of a record: its coordinates, else the centre of its country. `None` if it has
    /// neither.
    pub(crate) fn place<S: AsRef<[u8]>>(self, found: &Found<'_, S>) -> Option<Place> {
        let own = self.coordinates(found).ok().flatten();
        own.or_else(|| self.country(found)?.centre())
    }

    /// The place at the coordinates of a record; `None` if it has none.
    pub(crate) fn coordinates<S: AsRef<[u8]>>(
        self,
        found: &Found<'_, S>,
    ) -> Result<Option<Place>, DatabaseError> {
        let coordinates = match self {
            Self::City => found.decode_path::<Coordinates>(&[key("location")])?,
            Self::FlatCity => found.decode::<Coordinates>()?,
            Self::Country | Self::FlatCountry => None,
        };
        let Coordinates { latitude, longitude } = coordinates.unwrap_or_default();
        match (latitude, longitude) {
            (None, None) => Ok(None),
            (Some(north), Some(east)) => Place::from_degrees(north, east)
                .map(Some)
                .ok_or(DatabaseError::OffEarth { latitude, longitude }),
            (Some(_), None) | (None, Some(_)) => {
                Err(DatabaseError::OffEarth { latitude, longitude })
            }
        }
    }

    /// The country of a record; `None` if it names none, or in no way we know.
    pub(crate) fn country<S: AsRef<[u8]>>(self, found: &Found<'_, S>) -> Option<Country> {
        let path: &[PathElement<'_>] = match self {
            Self::City | Self::Country => &[key("country"), key("iso_code")],
            Self::FlatCity | Self::FlatCountry => &[key("country_code")],
        };
        Country::parse(found.decode_path::<&str>(path).ok()??)
    }

    /// The continent of a record: what it says itself, else that of its country.
    pub(crate) fn continent<S: AsRef<[u8]>>(self, found: &Found<'_, S>) -> Option<Continent> {
        let own = match self {
            Self::City | Self::Country => {
                let code = found.decode_path::<&str>(&[key("continent"), key("code")]);
                code.ok().flatten().and_then(Continent::parse)
            }
            Self::FlatCity | Self::FlatCountry => None,
        };
        own.or_else(|| self.country(found)?.continent())
    }
}

fn key(name: &str) -> PathElement<'_> {
    PathElement::Key(name)
}

/// The coordinates among the members of a map, read in one pass.
#[derive(Default)]
struct Coordinates {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(CoordinatesVisitor)
    }
}

struct CoordinatesVisitor;

impl<'de> Visitor<'de> for CoordinatesVisitor {
    type Value = Coordinates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with latitude and longitude")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Coordinates, A::Error> {
        let mut found = Coordinates::default();
        while let Some(name) = map.next_key::<&str>()? {
            match name {
                "latitude" => found.latitude = Some(map.next_value::<Degrees>()?.0),
                "longitude" => found.longitude = Some(map.next_value::<Degrees>()?.0),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// A number of any type: MaxMind writes doubles, DB-IP floats.
struct Degrees(f64);

impl<'de> Deserialize<'de> for Degrees {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(DegreesVisitor)
    }
}

struct DegreesVisitor;

impl Visitor<'_> for DegreesVisitor {
    type Value = Degrees;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a double or a float")
    }

    fn visit_f64<E>(self, degrees: f64) -> Result<Degrees, E> {
        Ok(Degrees(degrees))
    }

    fn visit_f32<E>(self, degrees: f32) -> Result<Degrees, E> {
        Ok(Degrees(degrees.into()))
    }
}
