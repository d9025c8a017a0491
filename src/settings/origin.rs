//! Keys of `[[listeners]]` that say how the address and the place of its clients are found.

use geoip::Cidr;

use super::Settings;
use super::declare::{Keys, Kind, Mismatch, Section};
use super::field::Texts;
use super::geoip::parse_net;
use super::place::PlaceSettings;
use super::reader::Findings;

/// Most ranges of trusted proxies: each connection is compared with them.
const PROXIES_MAX: usize = 256;

/// How the address and the place of a listener's clients are found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OriginSettings {
    /// The place of clients whose own is not known.
    pub place: Option<PlaceSettings>,
    /// Who is believed to say where a connection comes from.
    pub trusted_proxies: Vec<Cidr>,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// In which header of HTTP a proxy tells the client's address.
    pub forwarded: Forwarded,
    /// Whether `create` may say where people are.
    pub trusts_client_place: bool,
}

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None does.
    #[default]
    Off,
    /// Each does, version 1 or 2; who sends none, or is not trusted, is disconnected.
    Required,
}

/// In which header of HTTP a proxy tells the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// In none.
    #[default]
    None,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Rfc7239,
}

impl Section for OriginSettings {
    fn example() -> Self {
        Self::default()
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.optional(
            "place",
            "Where clients are whose address has no place, in degrees.",
            &mut self.place,
        );
        let show = |nets: &Vec<Cidr>| nets.iter().map(ToString::to_string).collect();
        keys.value(
            "trusted_proxies",
            &mut Texts::new(&mut self.trusted_proxies, parse_nets, show),
            Kind::Texts("at most 256 ranges of addresses like \"10.0.0.0/8\""),
            "Proxies that are believed to say which client a connection comes from, in the ways that \
             the next two keys allow.",
        );
        keys.choice(
            "proxy_protocol",
            &mut self.proxy_protocol,
            &[("off", ProxyProtocol::Off), ("required", ProxyProtocol::Required)],
            "Whether each connection begins with a PROXY header, version 1 or 2, which stands before \
             TLS. If \"required\", one without is closed, and one that is not from trusted_proxies too.",
        );
        keys.choice(
            "forwarded",
            &mut self.forwarded,
            &[
                ("none", Forwarded::None),
                ("x-forwarded-for", Forwarded::XForwardedFor),
                ("forwarded", Forwarded::Rfc7239),
            ],
            "Header of HTTP in which trusted_proxies tell the client's address: the last one in it \
             that is not itself trusted. From others it is ignored.",
        );
        keys.value(
            "trust_client_place",
            &mut self.trusts_client_place,
            Kind::Flag,
            "Whether clients, such as application servers, may say where people are: clientAddress, \
             or latitude and longitude, among the properties of a new MediaPipeline.",
        );
    }
}

fn parse_nets(texts: &[String]) -> Result<Vec<Cidr>, Mismatch> {
    if texts.len() > PROXIES_MAX {
        return Err(Mismatch::Kind);
    }
    texts.iter().map(|text| parse_net(text)).collect()
}

/// Adds to `findings` what would need a proxy that is trusted, where none is.
pub(super) fn check(settings: &Settings, findings: &mut Findings<'_>) {
    for (index, listener) in settings.listeners.iter().enumerate() {
        let origin = &listener.origin;
        let key = |name: &str| format!("listeners[{index}].{name}");
        // A list that could not be read is told already.
        if !origin.trusted_proxies.is_empty() || findings.refuses(&key("trusted_proxies")) {
            continue;
        }
        let wants = [
            ("proxy_protocol", origin.proxy_protocol != ProxyProtocol::Off, "\"off\""),
            ("forwarded", origin.forwarded != Forwarded::None, "\"none\""),
        ];
        for (name, is_wanted, default) in wants {
            if is_wanted {
                let expected = format!("{default}, or at least one of trusted_proxies");
                findings.refuse(&key(name), "it without trusted_proxies", &expected);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Settings, dump, parse};

    /// A config whose one listener has these keys, and these tables.
    fn read(keys: &str, tables: &str) -> Result<Settings, Vec<String>> {
        let backends = "[[backends]]\nid = \"a\"\nurl = \"ws://10.0.0.5\"\n";
        let text = format!("[[listeners]]\naddr = \"127.0.0.1:1\"\n{keys}\n{backends}{tables}");
        parse(&text).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn mistake(keys: &str, tables: &str) -> String {
        let mistakes = read(keys, tables).expect_err("a mistake");
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        mistakes[0].replace("<config>:", "")
    }

    #[test]
    fn what_is_set_is_dumped_and_reads_back() {
        let keys = "place = { latitude = -33.87, longitude = 151 }
            trusted_proxies = [\"10.0.0.0/8\", \"::1\"]
            proxy_protocol = \"required\"
            forwarded = \"x-forwarded-for\"
            trust_client_place = true";
        let tables = "[geoip]
            databases = [\"a.mmdb\"]
            builtin = false
            reload_seconds = 0
            overrides = [
              { net = \"10.1.0.0/16\", latitude = 48.86, longitude = 2.35 },
              { net = \"fd00::/8\", latitude = 1, longitude = -1 },
            ]";
        let settings = read(keys, tables).unwrap();
        assert!(settings.listeners[0].rules().trusts_client_place);
        assert_eq!(settings.geoip.reload(), None);
        let overrides = settings.geoip.overrides().unwrap();
        let place = overrides.place("10.1.2.3".parse().unwrap()).unwrap();
        assert!((place.latitude() - 48.86).abs() < 1e-9);
        assert_eq!(parse(&dump(&settings)), Ok(settings), "the dump reads back");
    }

    #[test]
    fn nothing_is_believed_without_a_trusted_proxy() {
        assert_eq!(
            mistake("proxy_protocol = \"required\"", ""),
            "3:18: listeners[0].proxy_protocol: found it without trusted_proxies, expected \"off\", \
             or at least one of trusted_proxies"
        );
        assert!(
            mistake("forwarded = \"forwarded\"", "").contains("expected \"none\", or at least")
        );
        let broken = "proxy_protocol = \"required\"\ntrusted_proxies = [\"10.0.0.1/8\"]";
        assert!(mistake(broken, "").contains("write 10.0.0.0/8 for the range"));
    }

    #[test]
    fn mistakes_in_places_are_told_where_they_stand() {
        for (keys, tables, told) in [
            ("place = { latitude = 91, longitude = 0 }", "", "3:22: listeners[0].place.latitude"),
            ("place = { latitude = 9 }", "", "listeners[0].place.longitude: found nothing"),
            ("", "[geoip]\noverrides = 5", "geoip.overrides: found 5, expected an array of tables"),
            ("", "[geoip]\noverrides = [5]", "geoip.overrides[0]: found 5, expected a table"),
            (
                "",
                "[geoip]\noverrides = [{ net = \"10.0.0.0/8\", latitude = 1, longitude = nan }]",
                "geoip.overrides[0].longitude: found nan",
            ),
            ("", "[geoip]\ndatabases = [\"\"]", "geoip.databases"),
        ] {
            let mistake = mistake(keys, tables);
            assert!(mistake.contains(told), "{mistake}");
        }
        let twice = "{ net = \"10.0.0.0/8\", latitude = 1, longitude = 1 }";
        let mistake = mistake("", &format!("[geoip]\noverrides = [{twice}, {twice}]"));
        assert!(mistake.contains("10.0.0.0/8 stands there twice"), "{mistake}");
    }
}
