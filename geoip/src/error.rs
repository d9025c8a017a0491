//! Why a database cannot be used.

use maxminddb::MaxMindDbError;

/// Why a database cannot be used. Whoever put the file there must act.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Larger than `Database::BYTES_MAX`. Carries the size found, in bytes; of a file that grows, a
    /// part.
    #[error("larger than {max} bytes: {0}", max = crate::Database::BYTES_MAX)]
    TooLarge(u64),
    /// The file changed while it was read.
    #[error("changed while it was read")]
    Changed,
    /// Not in the MaxMind DB format, or broken.
    #[error("not a sound MaxMind DB file: {0}")]
    Broken(#[from] MaxMindDbError),
    /// Parts of the search tree are shared or go in circles, so that it has no end.
    #[error("the search tree has more leaves than its {nodes} nodes allow")]
    Endless {
        /// Nodes of the tree.
        nodes: u32,
    },
    /// The records refer to one another so that they would never be read to the end.
    #[error("the records hold more values than their {bytes} bytes allow")]
    Bloated {
        /// Size of the file.
        bytes: usize,
    },
    /// A latitude or longitude is not on Earth, or one is there without the other.
    #[error("no place on Earth: latitude {latitude:?}, longitude {longitude:?}")]
    OffEarth {
        /// As it stands in the record, in degrees.
        latitude: Option<f64>,
        /// As it stands in the record, in degrees.
        longitude: Option<f64>,
    },
    /// No record has coordinates or a country: a database of something else, such as networks'
    /// owners.
    #[error("no record has a place or a country; the type of the database is {0:?}")]
    NoPlaces(String),
}
