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
