//! The place of an IP address on Earth, and how far places are from one another.
//!
//! Knows nothing of the router: it turns addresses into places, and places into distances.
//!
//! ```
//! use geoip::{Database, Geo, Overrides, Place};
//!
//! let office = Place::from_degrees(52.52, 13.40).expect("on Earth");
//! let overrides = Overrides::new([("10.0.0.0/8".parse()?, office)])?;
//! let geo = Geo::new(overrides, vec![Database::builtin().into()]);
//!
//! assert_eq!(geo.place("10.1.2.3".parse()?), Some(office));
//! assert_eq!(geo.place("192.168.1.1".parse()?), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod place;
mod country;
mod error;
mod record;
mod inspect;
mod database;
mod watched;
mod cidr;
mod overrides;
mod geo;
pub mod writer;

pub use cidr::{Cidr, CidrError};
pub use country::{Continent, Country};
pub use database::{About, Database, Location};
pub use error::DatabaseError;
pub use geo::{Geo, Source};
pub use overrides::{Overrides, OverridesError};
pub use place::Place;
pub use record::Layout;
pub use watched::{Change, Watched};
