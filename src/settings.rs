//! The config file turned into checked settings.
//!
//! Every key is declared once, beside the type it fills (`declare`); reading, the effective
//! settings as a file, the commented example and the JSON schema all follow from that. Reading
//! finds every mistake at once, each with its place in the file.
//! Not here: what a change of settings does while the process runs.

mod backend;
mod check;
mod declare;
mod diff;
mod discovery;
mod error;
mod field;
mod geoip;
mod health;
mod json;
mod limits;
mod listed;
mod listener;
mod loss;
mod nearest;
mod origin;
mod pacing;
mod place;
mod placement;
mod probe;
mod process;
mod reader;
mod reload;
mod rule;
mod schema;
mod sessions;
mod tls;
mod weights;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use self::backend::{BackendSettings, BackendUrl, BackendUrlError, ReportUrl};
pub use self::diff::{Change, diff};
pub use self::discovery::{
    DiscoverySettings, DnsKind, DnsSettings, FileSettings, RegistrarSettings,
};
pub use self::error::{Place, SettingsError};
pub use self::geoip::{GeoipSettings, OverrideSettings};
pub use self::health::HealthSettings;
pub use self::limits::Limits;
pub use self::listed::{KeptBackend, parse_backend, read_backends, read_kept, write_kept};
pub use self::listener::{Dialect, ListenerSettings, TlsFiles};
pub use self::loss::{DrainSettings, LossSettings};
pub use self::origin::{Forwarded, OriginSettings, ProxyProtocol};
pub use self::pacing::PacingSettings;
pub use self::place::PlaceSettings;
pub use self::placement::{PinSettings, PlacementSettings, QueueBounds, StoreKind, WhenAway};
pub use self::probe::ProbeSettings;
pub use self::process::{AdminSettings, LogFormat, LogSettings, ShutdownSettings};
pub use self::reload::ReloadSettings;
pub use self::rule::{NamePattern, RuleSettings};
pub use self::schema::schema;
pub use self::sessions::SessionSettings;
pub use self::tls::{TlsError, TlsIdentity};
pub use self::writer::{dump, example};

use self::declare::{Keys, Section};
use self::error::Source;
use crate::policy::charge::Weights;

/// Name shown for settings that come from no file.
const NO_FILE: &str = "<config>";

/// Most backends of a fleet, wherever they come from. A config or a list with more is refused.
pub const BACKENDS_MAX: usize = 1_024;

/// Everything an operator can set, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where clients connect; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// Where the admin API listens.
    pub admin: AdminSettings,
    /// The fleet as far as the config names it: ids and URLs all different. At least one if there is
    /// no other source.
    pub backends: Vec<BackendSettings>,
    /// Where other backends come from.
    pub discovery: DiscoverySettings,
    /// How the health of backends is found out.
    pub probe: ProbeSettings,
    /// Where pins are kept, and how long.
    pub pins: PinSettings,
    /// What becomes of sessions whose client is away.
    pub sessions: SessionSettings,
    /// How a backend is chosen for a new meeting.
    pub placement: PlacementSettings,
    /// Where on Earth an address is.
    pub geoip: GeoipSettings,
    /// What the parts of a meeting cost.
    pub weights: Weights,
    /// How fast costly calls go to a backend.
    pub pacing: PacingSettings,
    /// How a backend is drained.
    pub drain: DrainSettings,
    /// How clients are told that a backend is lost.
    pub loss: LossSettings,
    /// The bounds of what clients and backends can fill.
    pub limits: Limits,
    /// How a change of the file is noticed.
    pub reload: ReloadSettings,
    /// How the process ends.
    pub shutdown: ShutdownSettings,
    /// What is logged.
    pub log: LogSettings,
}

/// Reads settings from `text`, a whole config file. Relative paths stay relative and no other file
/// is touched.
///
/// # Errors
/// Every mistake in `text`, in the order of their places.
pub fn parse(text: &str) -> Result<Settings, Vec<SettingsError>> {
    let source = Source { file: Path::new(NO_FILE), text };
    let (settings, errors) = parse_source(source, |_, _| ());
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// Settings that were read from a file, and where each of its keys stands.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// What it says.
    pub settings: Settings,
    /// The file itself, for mistakes in keys that do not stand there.
    top: Place,
    places: BTreeMap<String, Place>,
}

impl ConfigFile {
    /// A mistake in `key`, like `listeners[1].addr`, that shows only where it is used: it has the place
    /// of the key, or of its table, or the top of the file.
    #[must_use]
    pub fn mistake(&self, key: &str, found: &str, expected: &str) -> SettingsError {
        let table = key.rsplit_once('.').map_or("", |(table, _)| table);
        let place = self.places.get(key).or_else(|| self.places.get(table)).unwrap_or(&self.top);
        SettingsError::Value {
            place: place.clone(),
            key: key.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

/// Reads settings from the config file `path`, as [`open`] does.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> Result<Settings, Vec<SettingsError>> {
    open(path).map(|file| file.settings)
}

/// Reads settings from the config file `path`, resolves paths in it against its directory and
/// checks the files they name. Keeps where each key stands.
///
/// # Errors
/// Every mistake, in the order of their places; or the one that the file cannot be read.
pub fn open(path: &Path) -> Result<ConfigFile, Vec<SettingsError>> {
    let unreadable = |error: std::io::Error| {
        vec![SettingsError::Unreadable { file: path.to_owned(), reason: error.to_string() }]
    };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let full_path = std::path::absolute(path).map_err(unreadable)?;
    let directory = full_path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let source = Source { file: path, text: &text };
    let mut places = BTreeMap::new();
    let (settings, errors) = parse_source(source, |settings, findings| {
        tls::resolve(settings, &directory);
        geoip::resolve(settings, &directory);
        discovery::resolve(settings, &directory);
        settings.pins.state_dir = directory.join(&settings.pins.state_dir);
        tls::check(settings, findings);
        geoip::check_files(settings, findings);
        places = findings.places();
    });
    let top = source.place(&(0..0));
    if errors.is_empty() { Ok(ConfigFile { settings, top, places }) } else { Err(errors) }
}

/// Reads `source`, applies `finish` and returns what came out with every mistake in order.
fn parse_source(
    source: Source<'_>,
    finish: impl FnOnce(&mut Settings, &mut reader::Findings<'_>),
) -> (Settings, Vec<SettingsError>) {
    let (mut settings, mut findings) = reader::read_section::<Settings>(source);
    check::check(&settings, &mut findings);
    finish(&mut settings, &mut findings);
    let mut errors = findings.errors;
    errors.sort_by(|a, b| a.place().cmp(&b.place()));
    (settings, errors)
}

impl Section for Settings {
    fn example() -> Self {
        Self {
            listeners: vec![ListenerSettings::example()],
            admin: AdminSettings::example(),
            backends: vec![BackendSettings::example()],
            discovery: DiscoverySettings::example(),
            probe: ProbeSettings::example(),
            pins: PinSettings::example(),
            sessions: SessionSettings::example(),
            placement: PlacementSettings::example(),
            geoip: GeoipSettings::example(),
            weights: Weights::example(),
            pacing: PacingSettings::example(),
            drain: DrainSettings::example(),
            loss: LossSettings::example(),
            limits: Limits::example(),
            reload: ReloadSettings::example(),
            shutdown: ShutdownSettings::example(),
            log: LogSettings::example(),
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.list(
            "listeners",
            "Addresses that clients connect to. At least one.",
            &mut self.listeners,
        );
        keys.section("admin", "The admin API: health, metrics, state.", &mut self.admin);
        keys.entries(
            "backends",
            "The Kurento Media Servers. At least one, or a source in [discovery].",
            &mut self.backends,
        );
        keys.section(
            "discovery",
            "Where other backends come from. Those that are found are probed before they get \
             meetings, and listed in state_dir of [pins], so that a restart knows them.",
            &mut self.discovery,
        );
        keys.section("probe", "How the health of backends is found out.", &mut self.probe);
        keys.section(
            "health",
            "What probes and the calls of clients add up to.",
            &mut self.probe.health,
        );
        keys.section(
            "pins",
            "Where it is kept which backend a meeting is on, and how long.",
            &mut self.pins,
        );
        keys.section("sessions", "Clients that go away and come back.", &mut self.sessions);
        keys.section("placement", "How a new meeting gets its backend.", &mut self.placement);
        keys.section("geoip", "Where on Earth an address is.", &mut self.geoip);
        keys.section(
            "weights",
            "What the parts of a meeting cost, as Pinfold sees them made and connected. A meeting is \
             charged the sum, or what was reserved for it if that is more.",
            &mut self.weights,
        );
        keys.section(
            "pacing",
            "How fast calls that make or negotiate endpoints go to a backend.",
            &mut self.pacing,
        );
        keys.section("drain", "How a backend is drained.", &mut self.drain);
        keys.section("loss", "How clients are told that a backend is lost.", &mut self.loss);
        keys.section("limits", "Bounds of what clients and backends can fill.", &mut self.limits);
        keys.section("reload", "Taking up changes of this file.", &mut self.reload);
        keys.section("shutdown", "How the process ends after SIGTERM.", &mut self.shutdown);
        keys.section("log", "What is logged, on standard error.", &mut self.log);
    }
}
