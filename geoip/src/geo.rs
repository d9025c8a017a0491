//! The place of an address, from all that is known.

use std::net::IpAddr;
use std::sync::Arc;

use crate::database::Database;
use crate::overrides::Overrides;
use crate::place::Place;

/// The place of an address: that of an override, else that of the first database that knows it.
///
/// Several databases, because some publishers have a file for each family of addresses, and because
/// the built-in one may stand behind one that holds a few countries.
#[derive(Clone, Debug, Default)]
pub struct Geo {
    overrides: Overrides,
    databases: Vec<Arc<Database>>,
}

/// Who knew the place of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An override.
    Override,
    /// A database.
    Database,
}

impl Geo {
    /// Overrides, and databases for all other addresses, in the order in which they are asked.
    #[must_use]
    pub fn new(overrides: Overrides, databases: Vec<Arc<Database>>) -> Self {
        Self { overrides, databases }
    }

    /// The place of `ip`; `None` if nobody knows: the caller's own place is as good as any.
    #[must_use]
    pub fn place(&self, ip: IpAddr) -> Option<Place> {
        self.find(ip).map(|(place, _)| place)
    }

    /// The same, and who knew it.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<(Place, Source)> {
        if let Some(place) = self.overrides.place(ip) {
            return Some((place, Source::Override));
        }
        let place = self.databases.iter().find_map(|database| database.place(ip))?;
        Some((place, Source::Database))
    }

    /// The same overrides with other databases.
    #[must_use]
    pub fn with_databases(&self, databases: Vec<Arc<Database>>) -> Self {
        Self { overrides: self.overrides.clone(), databases }
    }

    /// The databases in use, in the order in which they are asked.
    #[must_use]
    pub fn databases(&self) -> &[Arc<Database>] {
        &self.databases
    }
}
