//! `[geoip]`: where on Earth an address is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use geoip::{Cidr, Database, Overrides};

use super::Settings;
use super::declare::{Keys, Kind, Mismatch, Section};
use super::field::{Parsed, Texts};
use super::place::PlaceSettings;
use super::reader::Findings;

/// Most databases there may be: each costs every unknown address a look-up.
const DATABASES_MAX: usize = 16;

/// How the place of an address is found: `[geoip]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GeoipSettings {
    /// Files in MaxMind DB form, in the order in which they are asked; absolute paths if the settings
    /// were read from a file.
    pub databases: Vec<PathBuf>,
    /// Whether the built-in database of the world is asked last.
    pub builtin: bool,
    /// Seconds between two looks at the files; 0 for never.
    reload_seconds: u32,
    /// Places of networks that no database knows, or knows better than these.
    pub overrides: Vec<OverrideSettings>,
}

/// The place of one network: an entry of `geoip.overrides`.
#[derive(Clone, Debug, PartialEq)]
pub struct OverrideSettings {
    /// The range of addresses.
    pub net: Cidr,
    /// Where all of them are.
    pub place: PlaceSettings,
}

impl GeoipSettings {
    /// Time between two looks whether a file was replaced; `None` for never.
    #[must_use]
    pub fn reload(&self) -> Option<Duration> {
        (self.reload_seconds > 0).then(|| Duration::from_secs(self.reload_seconds.into()))
    }

    /// The overrides, for look-ups.
    ///
    /// # Errors
    /// Too many, or the same range twice.
    pub fn overrides(&self) -> Result<Overrides, geoip::OverridesError> {
        let places = self.overrides.iter();
        Overrides::new(places.filter_map(|one| Some((one.net, one.place.to_place()?))))
    }
}

impl Section for GeoipSettings {
    fn example() -> Self {
        Self { databases: Vec::new(), builtin: true, reload_seconds: 60, overrides: Vec::new() }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        let show = |paths: &Vec<PathBuf>| {
            paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()
        };
        keys.value(
            "databases",
            &mut Texts::new(&mut self.databases, parse_paths, show),
            Kind::Texts("paths of at most 16 files"),
            "City or Country databases in MaxMind DB form, such as GeoLite2 or DB-IP, asked in this \
             order. Relative paths start at the directory of this file.",
        );
        keys.value(
            "builtin",
            &mut self.builtin,
            Kind::Flag,
            "Ask the built-in database of the world last. IP Geolocation by DB-IP, https://db-ip.com.",
        );
        keys.integer(
            "reload_seconds",
            &mut self.reload_seconds,
            ("s", 0..=86_400),
            "Time between two looks whether a file was replaced, which is then used; 0 for never. A \
             file that is no good changes nothing.",
        );
        keys.tables(
            "overrides",
            "Places of networks, above all private ones; the longest prefix wins, and no database is \
             asked.",
            &mut self.overrides,
        );
    }
}

impl Section for OverrideSettings {
    fn example() -> Self {
        let net = "10.1.0.0/16".parse().expect("a range");
        Self { net, place: PlaceSettings::example() }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.required(
            "net",
            &mut Parsed::new(&mut self.net, parse_net),
            Kind::Text(NET_FORM),
            "The range of addresses.",
        );
        self.place.keys(keys);
    }
}

/// What [`parse_net`] expects.
pub(super) const NET_FORM: &str = "a range of addresses like \"10.1.0.0/16\"";

/// Reads a range of addresses.
pub(super) fn parse_net(text: &str) -> Result<Cidr, Mismatch> {
    text.parse().map_err(|error: geoip::CidrError| Mismatch::Because(error.to_string()))
}

fn parse_paths(texts: &[String]) -> Result<Vec<PathBuf>, Mismatch> {
    if texts.len() > DATABASES_MAX || texts.iter().any(String::is_empty) {
        return Err(Mismatch::Kind);
    }
    Ok(texts.iter().map(PathBuf::from).collect())
}

/// Makes the paths in `settings` absolute; relative ones start at `directory`.
pub(super) fn resolve(settings: &mut Settings, directory: &Path) {
    for path in &mut settings.geoip.databases {
        *path = directory.join(&*path);
    }
}

/// Adds to `findings` the files that cannot be used.
pub(super) fn check_files(settings: &Settings, findings: &mut Findings<'_>) {
    for path in &settings.geoip.databases {
        if let Err(error) = Database::open(path) {
            let expected = format!("a City or Country database in MaxMind DB form ({error})");
            findings.refuse("geoip.databases", &format!("\"{}\"", path.display()), &expected);
        }
    }
}

/// Adds to `findings` ranges that stand there twice, or too many of them.
pub(super) fn check_overrides(settings: &Settings, findings: &mut Findings<'_>) {
    if let Err(error) = settings.geoip.overrides() {
        let expected = format!("each range once, {} at most", Overrides::COUNT_MAX);
        findings.refuse("geoip.overrides", &error.to_string(), &expected);
    }
}
