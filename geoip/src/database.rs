//! A database of places by address.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use maxminddb::Reader;

use crate::country::{Continent, Country};
use crate::error::DatabaseError;
use crate::inspect::inspect;
use crate::place::Place;
use crate::record::{Found, Layout};

/// DB-IP City Lite, reduced by `examples/world`. The README tells its licence and what was lost.
static WORLD: &[u8] = include_bytes!("../data/world.mmdb");

/// What a database knows about an address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Location {
    /// The coordinates of the record, else the centre of its country.
    pub place: Place,
    /// If the record names one.
    pub country: Option<Country>,
    /// That of the record, else that of its country.
    pub continent: Option<Continent>,
}

/// What a database says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Such as `GeoLite2-City`.
    pub database_type: String,
    /// In English; empty if there is none.
    pub description: String,
    /// When it was built, in seconds since 1970.
    pub build_epoch: u64,
    /// 4 if it holds no address of IPv6, else 6.
    pub ip_version: u16,
    /// How its records are laid out.
    pub layout: Layout,
}

/// A database of places by address, held in memory.
///
/// A file is never mapped into memory: whoever cut it short would end the process.
#[derive(Debug)]
pub struct Database {
    reader: Reader<Cow<'static, [u8]>>,
    layout: Layout,
}

impl Database {
    /// The most a file may be, in bytes. The largest known, GeoIP2 Enterprise, has about 400 MB.
    pub const BYTES_MAX: u64 = 512 * 1024 * 1024;

    /// The built-in database of the world: DB-IP City Lite, reduced. Costs no more than a look at
    /// its end.
    ///
    /// Whoever shows what it says must show <https://db-ip.com> as its source; see the README.
    #[must_use]
    pub fn builtin() -> Self {
        let reader = Reader::from_source(Cow::Borrowed(WORLD));
        Self { reader: reader.expect("a test has inspected the file"), layout: Layout::City }
    }

    /// Reads the file at `path` and inspects all of it: about a second for 100 MB.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        Self::read(&mut File::open(path)?)
    }

    /// Reads an open file from where it stands, and inspects all of it.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub(crate) fn read(file: &mut File) -> Result<Self, DatabaseError> {
        let len = file.metadata()?.len();
        if len > Self::BYTES_MAX {
            return Err(DatabaseError::TooLarge(len));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        file.take(Self::BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Self::from_bytes(bytes)
    }

    /// Takes the content of a file and inspects all of it.
    ///
    /// # Errors
    /// All but `Io` and `Changed` of [`DatabaseError`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        let len = bytes.len();
        if len as u64 > Self::BYTES_MAX {
            return Err(DatabaseError::TooLarge(len as u64));
        }
        let reader = Reader::from_source(Cow::Owned(bytes))?;
        let layout = inspect(&reader, len)?;
        Ok(Self { reader, layout })
    }

    /// The place of `ip`; decodes nothing but the coordinates, unless there are none.
    ///
    /// `None` if the database does not know the address. One of IPv4 mapped into IPv6 counts as
    /// IPv4.
    #[must_use]
    pub fn place(&self, ip: IpAddr) -> Option<Place> {
        self.layout.place(&self.find(ip)?)
    }

    /// All that is known of `ip`; `None` where [`Database::place`] is.
    #[must_use]
    pub fn location(&self, ip: IpAddr) -> Option<Location> {
        let found = self.find(ip)?;
        Some(Location {
            place: self.layout.place(&found)?,
            country: self.layout.country(&found),
            continent: self.layout.continent(&found),
        })
    }

    /// What the database says of itself.
    #[must_use]
    pub fn about(&self) -> About {
        let metadata = self.reader.metadata();
        About {
            database_type: metadata.database_type.clone(),
            description: metadata.description.get("en").cloned().unwrap_or_default(),
            build_epoch: metadata.build_epoch,
            ip_version: metadata.ip_version,
            layout: self.layout,
        }
    }

    fn find(&self, ip: IpAddr) -> Option<Found<'_, Cow<'static, [u8]>>> {
        let found = self.reader.lookup(ip.to_canonical()).ok()?;
        found.has_data().then_some(found)
    }
}
