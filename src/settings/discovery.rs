//! `[discovery]`: where backends come from that the config does not name.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use geoip::Cidr;

use super::Settings;
use super::declare::{Keys, Kind, Mismatch, Section};
use super::field::{ADDR_FORM, Parsed, Texts, parse_addr};
use super::geoip::{NET_FORM, parse_net};
use super::listener::{PATH_FORM, parse_path};
use super::reader::Findings;
use super::rule::RuleSettings;

/// Most ranges of addresses in one list: each connection is compared with them.
const NETS_MAX: usize = 256;

/// Most entries of `dns`, and of `files`: each is a task of its own.
const SOURCES_MAX: usize = 64;

/// Most rules: each backend that is found is compared with them.
const RULES_MAX: usize = 256;

/// Longest host name, in bytes. Source: RFC 1035, section 2.3.4.
const NAME_MAX_LEN: usize = 253;

const NETS_FORM: &str = "at most 256 ranges of addresses like \"10.0.0.0/8\"";

/// Where backends come from besides `[[backends]]`: `[discovery]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscoverySettings {
    /// How long a backend stays that its source does not name any more.
    pub hold: Duration,
    /// Where servers register; `None` if they may not.
    pub registrar: Option<RegistrarSettings>,
    /// Names that are looked up.
    pub dns: Vec<DnsSettings>,
    /// Files that list backends.
    pub files: Vec<FileSettings>,
    /// What is known of servers that registered or were looked up; the first that fits counts.
    pub rules: Vec<RuleSettings>,
}

/// Where servers register: `[discovery.registrar]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarSettings {
    /// The address to bind.
    pub addr: SocketAddr,
    /// The path of the URL, which may be a secret.
    pub path: String,
    /// Who may dial.
    pub allow: Vec<Cidr>,
    /// Which addresses they may claim to serve on; empty for those of `allow`.
    allow_backends: Vec<Cidr>,
}

/// A name that is looked up: an entry of `[[discovery.dns]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// The name.
    pub name: String,
    /// Which records of it are asked for.
    pub kind: DnsKind,
    /// The port of backends found by their address.
    pub port: u32,
    /// The path of their WebSocket URL.
    pub path: String,
    /// Time between two look-ups.
    pub interval: Duration,
    /// The name server; `None` for those of the system.
    pub server: Option<SocketAddr>,
}

/// Which records of a name are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsKind {
    /// A and AAAA: addresses.
    Address,
    /// SRV: host names with ports.
    Srv,
}

impl DnsKind {
    /// The word for it in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Srv => "srv",
        }
    }
}

/// A file that lists backends: an entry of `[[discovery.files]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// An absolute path if the settings were read from a file.
    pub path: PathBuf,
}

impl DiscoverySettings {
    /// Whether backends can come from anywhere but the config and the admin API.
    #[must_use]
    pub const fn has_source(&self) -> bool {
        self.registrar.is_some() || !self.dns.is_empty() || !self.files.is_empty()
    }
}

impl RegistrarSettings {
    /// Which addresses servers may claim to serve on.
    #[must_use]
    pub fn allow_backends(&self) -> &[Cidr] {
        if self.allow_backends.is_empty() { &self.allow } else { &self.allow_backends }
    }
}

impl Section for DiscoverySettings {
    fn example() -> Self {
        Self {
            hold: Duration::from_secs(60),
            registrar: None,
            dns: Vec::new(),
            files: Vec::new(),
            rules: Vec::new(),
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "hold_ms",
            &mut self.hold,
            ("ms", 0..=86_400_000),
            "Time a backend stays that its source does not name any more. One whose source says \
             nothing, or names none at all, stays longer: as long as it answers probes.",
        );
        keys.subtable(
            "registrar",
            "Where servers register: what registrar.address in their kurento.conf.json points to.",
            &mut self.registrar,
        );
        keys.subtables("dns", "Names that are looked up.", &mut self.dns);
        keys.subtables(
            "files",
            "Files that list backends, looked at each second. Relative paths start at the directory \
             of this file.",
            &mut self.files,
        );
        keys.subtables(
            "rules",
            "What servers are that registered or were looked up. The first rule that fits counts, and \
             nothing of the others; one with neither cidr nor name fits all.",
            &mut self.rules,
        );
    }
}

impl Section for RegistrarSettings {
    fn example() -> Self {
        let net = "10.0.0.0/8".parse().expect("a range");
        Self {
            addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8890)),
            path: "/registrar".to_owned(),
            allow: vec![net],
            allow_backends: Vec::new(),
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.required(
            "addr",
            &mut Parsed::new(&mut self.addr, parse_addr),
            Kind::Text(ADDR_FORM),
            "Address to bind; 0.0.0.0 or [::] for every interface.",
        );
        keys.value(
            "path",
            &mut Parsed::new(&mut self.path, parse_path),
            Kind::Text(PATH_FORM),
            "Path of the URL. Any other is answered with HTTP 404, so a long one that nobody can \
             guess is a password.",
        );
        let show = |nets: &Vec<Cidr>| nets.iter().map(ToString::to_string).collect();
        keys.required(
            "allow",
            &mut Texts::new(&mut self.allow, parse_nets, show),
            Kind::Texts(NETS_FORM),
            "Who may dial. Others are disconnected at once.",
        );
        keys.value(
            "allow_backends",
            &mut Texts::new(&mut self.allow_backends, parse_nets, show),
            Kind::Texts(NETS_FORM),
            "Addresses that they may say they serve on. [] for those of allow.",
        );
    }
}

impl Section for DnsSettings {
    fn example() -> Self {
        Self {
            name: "media.example".to_owned(),
            kind: DnsKind::Address,
            port: 8888,
            path: "/kurento".to_owned(),
            interval: Duration::from_secs(10),
            server: None,
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.required(
            "name",
            &mut Parsed::new(&mut self.name, parse_name),
            Kind::Text("a host name like \"media.example\" or \"_kms._tcp.media.example\""),
            "The name.",
        );
        keys.choice(
            "kind",
            &mut self.kind,
            &[("address", DnsKind::Address), ("srv", DnsKind::Srv)],
            "\"address\" for A and AAAA records, each a backend; \"srv\" for SRV records, whose target \
             and port are a backend.",
        );
        keys.integer(
            "port",
            &mut self.port,
            ("port", 1..=65_535),
            "Port of backends that are found by address.",
        );
        keys.value(
            "path",
            &mut Parsed::new(&mut self.path, parse_path),
            Kind::Text(PATH_FORM),
            "Path of their WebSocket URL.",
        );
        keys.integer(
            "interval_ms",
            &mut self.interval,
            ("ms", 100..=3_600_000),
            "Time between two look-ups.",
        );
        keys.value(
            "server",
            &mut Parsed::optional(&mut self.server, parse_server),
            Kind::Text("an IP address and port like \"127.0.0.1:53\", or \"\""),
            "The name server to ask. \"\" for those of the system, in /etc/resolv.conf.",
        );
    }
}

impl Section for FileSettings {
    fn example() -> Self {
        Self { path: "backends.json".into() }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.required(
            "path",
            &mut Parsed::path(&mut self.path),
            Kind::Text("the path of a file"),
            "A list like [[backends]] here: TOML, or JSON with the same keys if its name ends in \
             .json. A file that is missing or no good changes nothing.",
        );
    }
}

fn parse_nets(texts: &[String]) -> Result<Vec<Cidr>, Mismatch> {
    if texts.len() > NETS_MAX {
        return Err(Mismatch::Kind);
    }
    texts.iter().map(|text| parse_net(text)).collect()
}

fn parse_name(text: &str) -> Result<String, Mismatch> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = !text.is_empty() && text.len() <= NAME_MAX_LEN && text.chars().all(is_plain);
    if is_name { Ok(text.to_ascii_lowercase()) } else { Err(Mismatch::Kind) }
}

fn parse_server(text: &str) -> Result<Option<SocketAddr>, Mismatch> {
    if text.is_empty() { Ok(None) } else { parse_addr(text).map(Some) }
}

/// Makes the paths in `settings` absolute; relative ones start at `directory`.
pub(super) fn resolve(settings: &mut Settings, directory: &Path) {
    for file in &mut settings.discovery.files {
        file.path = directory.join(&file.path);
    }
}

/// Adds to `findings` what cannot be, or is too much.
pub(super) fn check(settings: &Settings, findings: &mut Findings<'_>) {
    let discovery = &settings.discovery;
    for (name, found, max) in [
        ("dns", discovery.dns.len(), SOURCES_MAX),
        ("files", discovery.files.len(), SOURCES_MAX),
        ("rules", discovery.rules.len(), RULES_MAX),
    ] {
        if found > max {
            let expected = format!("at most {max}");
            findings.refuse(&format!("discovery.{name}"), &found.to_string(), &expected);
        }
    }
    check_registrar(settings, findings);
    let names = discovery.dns.iter().map(|dns| format!("{} ({})", dns.name, dns.kind.as_str()));
    super::check::refuse_repeated(findings, names, |i| format!("discovery.dns[{i}].name"));
    let paths = discovery.files.iter().map(|file| file.path.display().to_string());
    super::check::refuse_repeated(findings, paths, |i| format!("discovery.files[{i}].path"));
}

fn check_registrar(settings: &Settings, findings: &mut Findings<'_>) {
    let Some(registrar) = &settings.discovery.registrar else { return };
    let key = "discovery.registrar.allow";
    if registrar.allow.is_empty() && !findings.refuses(key) {
        let expected = format!("at least one range; {NET_FORM}");
        findings.refuse(key, "an empty array", &expected);
    }
    let key = "discovery.registrar.addr";
    let is_fixed = findings.has(key) && registrar.addr.port() != 0;
    let is_taken = settings.admin.addr == registrar.addr
        || settings.listeners.iter().any(|listener| listener.addr == registrar.addr);
    if is_fixed && is_taken {
        let expected = "another address than those of [admin] and [[listeners]]";
        findings.refuse(key, &format!("\"{}\"", registrar.addr), expected);
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Settings, dump, parse};

    /// A config without `[[backends]]`, with these lines.
    fn read(lines: &str) -> Result<Settings, Vec<String>> {
        let text = format!("[[listeners]]\naddr = \"127.0.0.1:1\"\n{lines}");
        parse(&text).map_err(|errors| {
            errors.iter().map(|error| error.to_string().replace("<config>:", "")).collect()
        })
    }

    const ALL: &str = r#"
[discovery]
hold_ms = 5000
[discovery.registrar]
addr = "0.0.0.0:8890"
path = "/registrar/secret"
allow = ["10.0.0.0/8", "fd00::/8"]
[[discovery.dns]]
name = "Media.example"
server = "127.0.0.1:5353"
[[discovery.dns]]
name = "media.example"
kind = "srv"
[[discovery.files]]
path = "backends.json"
[[discovery.rules]]
cidr = "10.1.0.0/16"
labels = ["region=eu", "tier=gold"]
place = { latitude = 48.86, longitude = 2.35 }
[[discovery.rules]]
name = "kms-us-*"
capacity = 90
weight = 2
price = 1.5
memory_mb = 2048
"#;

    #[test]
    fn what_is_set_is_dumped_and_reads_back_and_needs_no_backend() {
        let settings = read(ALL).unwrap();
        assert!(settings.backends.is_empty());
        let registrar = settings.discovery.registrar.as_ref().unwrap();
        assert_eq!(registrar.allow_backends(), registrar.allow, "the same unless told");
        assert_eq!(settings.discovery.dns[0].name, "media.example");
        let dumped = dump(&settings);
        assert_eq!(parse(&dumped), Ok(settings), "{dumped}");
    }

    #[test]
    fn without_a_source_a_backend_must_be_named() {
        let told = "at least one [[backends]], or a source in [discovery]";
        assert!(read("").unwrap_err()[0].ends_with(told));
        assert!(read("[discovery]\nhold_ms = 0").unwrap_err()[0].ends_with(told));
        assert!(read("[[discovery.files]]\npath = \"a.toml\"").is_ok());
    }

    #[test]
    fn mistakes_are_told_where_they_stand() {
        let registrar = "[discovery.registrar]\naddr = \"127.0.0.1:1\"\n";
        for (lines, told) in [
            (
                format!("{registrar}allow = []"),
                "5:9: discovery.registrar.allow: found an empty array, expected at least one range",
            ),
            (
                format!("{registrar}allow = [\"10.0.0.0/8\"]"),
                "4:8: discovery.registrar.addr: found \"127.0.0.1:1\", expected another address",
            ),
            (
                registrar.to_owned(),
                "3:1: discovery.registrar.allow: found nothing, expected at most 256 ranges",
            ),
            (
                format!("{registrar}allow = [\"10.0.0.1/8\"]"),
                "5:9: discovery.registrar.allow: found an array",
            ),
            (
                "[[discovery.dns]]\nname = \"a b\"".to_owned(),
                "4:8: discovery.dns[0].name: found \"a b\"",
            ),
            (
                "[discovery]\ndns = [{ name = \"a\" }, { name = \"a\" }]".to_owned(),
                "discovery.dns[1].name: found \"a (address)\", expected another value",
            ),
            (
                "[discovery]\nfiles = [{ path = \"\" }]".to_owned(),
                "discovery.files[0].path: found \"\", expected the path of a file",
            ),
            (
                "[discovery]\nrules = [{ cidr = \"10.0.0.1/8\" }]".to_owned(),
                "discovery.rules[0].cidr: found \"10.0.0.1/8\"",
            ),
        ] {
            let mistakes = read(&lines).unwrap_err();
            assert!(mistakes.iter().any(|mistake| mistake.contains(told)), "{told}: {mistakes:?}");
        }
    }
}
