//! Where on Earth an address is: the databases in use, and their renewal.
//!
//! Look-ups are for the joining of a client or a meeting, never for a message.

mod renewal;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::runtime::Latest;
use crate::settings::GeoipSettings;
use crate::telemetry::{GeoipOutcome, Metrics};
use geoip::{Database, DatabaseError, Geo, OverridesError, Place, Source, Watched};
pub use renewal::Renewal;

/// Places by address, as they are known now. Clones share them.
#[derive(Clone, Debug)]
pub struct Atlas {
    geo: Arc<Latest<Geo>>,
    metrics: Metrics,
}

/// Why there is no atlas.
#[derive(Debug, thiserror::Error)]
pub enum AtlasError {
    /// A database cannot be used.
    #[error("cannot use the database {}: {source}", .path.display())]
    Database {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        source: DatabaseError,
    },
    /// The overrides cannot be used.
    #[error("cannot use geoip.overrides: {0}")]
    Overrides(#[from] OverridesError),
}

/// The databases and overrides of one config, opened.
#[derive(Debug)]
pub struct Maps {
    files: Vec<Watched>,
    builtin: Option<Arc<Database>>,
    geo: Arc<Geo>,
}

impl Maps {
    /// Opens all that `settings` name: about a second for each 100 MB.
    ///
    /// # Errors
    /// A file or the overrides cannot be used.
    pub fn open(settings: &GeoipSettings) -> Result<Self, AtlasError> {
        let open = |path: &PathBuf| {
            let failed = |source| AtlasError::Database { path: path.clone(), source };
            Watched::open(path.clone()).map_err(failed)
        };
        let files: Vec<_> = settings.databases.iter().map(open).collect::<Result<_, _>>()?;
        let builtin = settings.builtin.then(|| Arc::new(Database::builtin()));
        let databases = files.iter().map(Watched::database).chain(builtin.clone()).collect();
        let geo = Arc::new(Geo::new(settings.overrides()?, databases));
        Ok(Self { files, builtin, geo })
    }
}

impl Atlas {
    /// Places by `maps`. Who runs the [`Renewal`] keeps their files current.
    #[must_use]
    pub fn new(maps: Maps, metrics: Metrics) -> (Self, Renewal) {
        let geo = Arc::new(Latest::new(Geo::default()));
        let atlas = Self { geo, metrics };
        let renewal = atlas.turn_to(maps);
        (atlas, renewal)
    }

    /// From now on places are by `maps`, for all clones. What keeps the files current that were used
    /// before is of no effect any more, and may be stopped.
    #[must_use]
    pub fn turn_to(&self, maps: Maps) -> Renewal {
        let Maps { files, builtin, geo } = maps;
        self.geo.set(geo.clone());
        Renewal::new(files, builtin, (self.geo.clone(), geo))
    }

    /// One that never changes.
    #[must_use]
    pub fn of(geo: Geo, metrics: Metrics) -> Self {
        Self { geo: Arc::new(Latest::new(geo)), metrics }
    }

    /// The place of `addr`; `None` if nobody knows. Counted by who did.
    #[must_use]
    pub fn look_up(&self, addr: IpAddr) -> Option<Place> {
        let found = self.geo.get().find(addr);
        self.metrics.on_geoip_look_up(match found {
            Some((_, Source::Override)) => GeoipOutcome::Override,
            Some((_, Source::Database)) => GeoipOutcome::Database,
            None => GeoipOutcome::Unknown,
        });
        found.map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_is_counted_by_who_knew_the_place() {
        let metrics = Metrics::new();
        let here = Place::from_degrees(48.0, 2.0).unwrap();
        let overrides = geoip::Overrides::new([("10.0.0.0/8".parse().unwrap(), here)]).unwrap();
        let geo = Geo::new(overrides, vec![Database::builtin().into()]);
        let atlas = Atlas::of(geo, metrics.clone());
        let look_up = |addr: &str| atlas.look_up(addr.parse().unwrap());
        assert_eq!(look_up("10.1.2.3"), Some(here));
        assert_eq!(look_up("::ffff:10.1.2.3"), Some(here));
        assert!(look_up("8.8.8.8").is_some());
        assert_eq!(look_up("192.168.1.1"), None);
        let text = metrics.encode();
        for (outcome, count) in [("override", 2), ("database", 1), ("unknown", 1)] {
            let line = format!("pinfold_geoip_look_ups_total{{outcome=\"{outcome}\"}} {count}");
            assert!(text.contains(&line), "{line}:\n{text}");
        }
    }
}
