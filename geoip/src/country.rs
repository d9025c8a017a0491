//! Countries: their codes, continents and centres.

use std::fmt;
use std::sync::LazyLock;

use crate::place::Place;

/// One line for each country: code, continent, latitude and longitude of its centre.
///
/// The centre is the mean of the places of its IPv4 addresses in DB-IP City Lite (CC BY 4.0), so it
/// is where the people are and not the middle of the map; made by `examples/world`. Continents:
/// GeoNames.
const TABLE: &str = include_str!("../data/countries.txt");

/// A two-letter country code. Source: ISO 3166-1 alpha-2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads two ASCII letters of either case; `None` for anything else. Whether such a country
    /// exists is not asked.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 2] = text.as_bytes().try_into().ok()?;
        code.iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(code.map(|of| of.to_ascii_uppercase())))
    }

    /// The two letters, in upper case.
    #[must_use]
    pub fn code(self) -> [u8; 2] {
        self.0
    }

    /// Where the people of the country are, on average; `None` if it is not in the table.
    #[must_use]
    pub fn centre(self) -> Option<Place> {
        self.row().map(|row| row.centre)
    }

    /// The continent on which the country lies; `None` if it is not in the table.
    #[must_use]
    pub fn continent(self) -> Option<Continent> {
        self.row().map(|row| row.continent)
    }

    fn row(self) -> Option<&'static Row> {
        let index = ROWS.binary_search_by_key(&self, |row| row.country).ok()?;
        ROWS.get(index)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.0.map(char::from);
        write!(f, "{first}{second}")
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({self})")
    }
}

/// A continent, as in the `continent.code` of GeoIP2 databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Continent {
    /// `AF`
    Africa,
    /// `AN`
    Antarctica,
    /// `AS`
    Asia,
    /// `EU`
    Europe,
    /// `NA`
    NorthAmerica,
    /// `OC`
    Oceania,
    /// `SA`
    SouthAmerica,
}

impl Continent {
    /// Reads a code of two upper-case letters; `None` if there is no such continent.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "AF" => Self::Africa,
            "AN" => Self::Antarctica,
            "AS" => Self::Asia,
            "EU" => Self::Europe,
            "NA" => Self::NorthAmerica,
            "OC" => Self::Oceania,
            "SA" => Self::SouthAmerica,
            _ => return None,
        })
    }

    /// The code of two letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Africa => "AF",
            Self::Antarctica => "AN",
            Self::Asia => "AS",
            Self::Europe => "EU",
            Self::NorthAmerica => "NA",
            Self::Oceania => "OC",
            Self::SouthAmerica => "SA",
        }
    }
}

struct Row {
    country: Country,
    continent: Continent,
    centre: Place,
}

/// The rows of the table, by country.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let mut rows: Vec<Row> = TABLE.lines().filter_map(parse_row).collect();
    rows.sort_by_key(|row| row.country);
    rows
});

/// Reads a line such as `FR EU 47.08 2.70`; `None` if it is none.
fn parse_row(line: &str) -> Option<Row> {
    let mut words = line.split_ascii_whitespace();
    let country = Country::parse(words.next()?)?;
    let continent = Continent::parse(words.next()?)?;
    let centre = Place::from_degrees(words.next()?.parse().ok()?, words.next()?.parse().ok()?)?;
    Some(Row { country, continent, centre })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_but_its_notes_is_a_row() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(ROWS.len(), lines);
        assert!(lines > 240, "{lines}");
        assert!(ROWS.is_sorted_by(|a, b| a.country < b.country), "a country stands twice");
    }

    #[test]
    fn countries_are_where_they_should_be() {
        for (code, continent, latitude, longitude) in [
            ("FR", Continent::Europe, 47.0, 3.0),
            ("br", Continent::SouthAmerica, -20.0, -47.0),
            ("JP", Continent::Asia, 35.6, 138.0),
            ("ZA", Continent::Africa, -28.0, 25.0),
            ("NZ", Continent::Oceania, -39.0, 175.0),
            ("US", Continent::NorthAmerica, 39.0, -92.0),
        ] {
            let country = Country::parse(code).unwrap();
            let expected = Place::from_degrees(latitude, longitude).unwrap();
            assert_eq!(country.continent(), Some(continent));
            let off_km = country.centre().unwrap().distance_km(expected);
            assert!(off_km < 500.0, "{country}: {off_km}");
        }
    }

    #[test]
    fn what_is_no_country_code_is_refused() {
        for text in ["", "F", "FRA", "F1", "é", "  "] {
            assert_eq!(Country::parse(text), None, "{text:?}");
        }
        assert_eq!(Country::parse("ZZ").unwrap().centre(), None);
    }

    #[test]
    fn a_continent_survives_its_code() {
        for code in ["AF", "AN", "AS", "EU", "NA", "OC", "SA"] {
            assert_eq!(Continent::parse(code).unwrap().code(), code);
        }
        assert_eq!(Continent::parse("XX"), None);
    }
}
