//! `[[backends]]`: the fleet.

use std::fmt;
use std::net::Ipv6Addr;

use geoip::Place;

use crate::model::{BackendId, Labels, Legs};
use crate::policy::choose::{Profile, WEIGHT_MAX};

use super::declare::{Keys, Kind, Mismatch, Section};
use super::field::{Parsed, Texts};
use super::place::PlaceSettings;

const ID_FORM: &str = "1 to 64 letters, digits, '.', '_' or '-'";
const REPORT_FORM: &str = "a URL like \"http://10.0.0.5:9100/report\", or \"\"";
const URL_FORM: &str = "a URL like \"ws://10.0.0.5:8888/kurento\"";

/// One Kurento Media Server: an entry of `[[backends]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSettings {
    /// Its name in logs, metrics and the admin API.
    pub id: BackendId,
    /// Where it listens.
    pub url: BackendUrl,
    /// The load it can bear.
    pub capacity: Legs,
    /// Its tickets in the draw among equals: 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// What it costs, in units of the operator's choice.
    pub price: f64,
    /// What it may be asked for.
    pub labels: Labels,
    /// Where it stands.
    pub place: Option<PlaceSettings>,
    /// Memory it may use at most, in units of 1,048,576 bytes; 0 if that is not known.
    pub memory_mb: u32,
    /// Where an agent tells how busy its machine is.
    pub report_url: Option<ReportUrl>,
    /// Whether it is to get no new meetings.
    pub drain: bool,
}

/// The `ws://` URL of a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendUrl {
    /// Host name in lower case or IP address; an IPv6 address stands without brackets.
    pub host: String,
    /// Port, 80 if the URL names none.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
}

/// The `http://` URL of an agent beside a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportUrl(BackendUrl);

impl ReportUrl {
    /// Reads `http://host[:port][/path]`; `None` if the text is not of that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let has_path = rest.contains('/');
        let mut url = BackendUrl::parse(&format!("ws://{rest}")).ok()?;
        if !has_path {
            "/".clone_into(&mut url.path);
        }
        Some(Self(url))
    }

    /// Host name in lower case or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Port, 80 if the URL names none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.0.port
    }

    /// Path and query, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Host and port as in a `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        self.0.authority()
    }
}

impl fmt::Display for ReportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path())
    }
}

/// Why a text is not the URL of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendUrlError {
    /// Not of the form `ws://host[:port][/path]`.
    #[error("not a URL of the form ws://host[:port][/path]")]
    Malformed,
    /// A `wss://` URL.
    #[error("wss:// to a backend is not supported yet")]
    Tls,
}

impl Section for BackendSettings {
    fn example() -> Self {
        let url = BackendUrl { host: "127.0.0.1".into(), port: 9001, path: "/kurento".into() };
        let id = BackendId::parse("kms-a").expect("five letters and a hyphen");
        Self::new(id, url, Legs(400))
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.required(
            "id",
            &mut Parsed::new(&mut self.id, parse_id),
            Kind::Text(ID_FORM),
            "Its name in logs, metrics and the admin API. No two backends have the same.",
        );
        keys.required(
            "url",
            &mut Parsed::new(&mut self.url, parse_url),
            Kind::Text(URL_FORM),
            "Where it listens. Port 80 and path /kurento if the URL has none. No two backends have \
             the same.",
        );
        keys.integer(
            "capacity",
            &mut self.capacity,
            ("legs", 1..=1_000_000),
            "Load it can bear. A leg is one media stream in or out; four people who all see each \
             other make 16.",
        );
        self.choice_keys(keys);
    }
}

impl BackendSettings {
    /// A backend without place, price or labels, of weight 1.
    #[must_use]
    pub fn new(id: BackendId, url: BackendUrl, capacity: Legs) -> Self {
        let labels = Labels::default();
        Self {
            id,
            url,
            capacity,
            weight: 1,
            price: 0.0,
            labels,
            place: None,
            memory_mb: 0,
            report_url: None,
            drain: false,
        }
    }

    /// What a choice needs to know of it.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let place = self.place.and_then(|at| Place::from_degrees(at.latitude, at.longitude));
        let weight = u8::try_from(self.weight).unwrap_or(WEIGHT_MAX).min(WEIGHT_MAX);
        let mut profile = Profile::new(self.id.clone());
        (profile.place, profile.weight) = (place, weight);
        (profile.price, profile.labels) = (self.price, self.labels.clone());
        profile
    }

    fn choice_keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "weight",
            &mut self.weight,
            ("tickets", 1..=u64::from(WEIGHT_MAX)),
            "Tickets it has in the draw among backends that are equally good. Capacity counts \
             anyway: this is to give one more, or less, than its share.",
        );
        keys.decimal(
            "price",
            &mut self.price,
            ("any", 0.0..=1_000_000.0),
            "What it costs. See price_weight_km of [placement]; the unit is yours.",
        );
        keys.value(
            "labels",
            &mut Texts::new(&mut self.labels, parse_labels, |labels| labels.rows().collect()),
            Kind::Texts("labels like \"residency=eu\""),
            "What it may be asked for. A meeting that demands a label goes only to a backend that \
             has it.",
        );
        keys.optional(
            "place",
            "Where it stands, in degrees. Without it, it counts as far from every meeting whose \
             place is known: give all backends one, or none.",
            &mut self.place,
        );
        keys.integer(
            "memory_mb",
            &mut self.memory_mb,
            ("MB", 0..=1_000_000_000),
            "Memory that its server may use at most. What it says that it uses counts against it as \
             load. 0: memory does not count.",
        );
        keys.value(
            "report_url",
            &mut Parsed::optional(&mut self.report_url, parse_report_url),
            Kind::Text(REPORT_FORM),
            "Where an agent beside it tells how busy the machine is, asked as often as sample_ms of \
             [probe] says: a JSON object with cpu_percent, memory_percent and network_percent, or \
             some of them, 0 to 100. \"\": there is none.",
        );
        keys.value(
            "drain",
            &mut self.drain,
            Kind::Flag,
            "Give it no new meetings; those on it run out.",
        );
    }
}

impl BackendUrl {
    /// Reads `ws://host[:port][/path]`.
    ///
    /// # Errors
    /// Not of that form, or `wss://`.
    pub fn parse(text: &str) -> Result<Self, BackendUrlError> {
        let malformed = || BackendUrlError::Malformed;
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        if scheme.eq_ignore_ascii_case("wss") {
            return Err(BackendUrlError::Tls);
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'@' | b'\\');
        if !scheme.eq_ignore_ascii_case("ws") || !rest.bytes().all(is_plain) {
            return Err(malformed());
        }
        let (authority, path) = match rest.find(['/', '?']) {
            Some(end) if rest[end..].starts_with('/') => rest.split_at(end),
            Some(_) => return Err(malformed()),
            None => (rest, "/kurento"),
        };
        let (host, port) = parse_authority(authority).ok_or_else(malformed)?;
        Ok(Self { host, port, path: path.to_owned() })
    }

    /// Host and port as in a `Host` header: an IPv6 address in brackets, the port always there.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority(), self.path)
    }
}

fn parse_report_url(text: &str) -> Result<Option<ReportUrl>, Mismatch> {
    if text.is_empty() {
        return Ok(None);
    }
    ReportUrl::parse(text).map(Some).ok_or(Mismatch::Kind)
}

fn parse_url(text: &str) -> Result<BackendUrl, Mismatch> {
    BackendUrl::parse(text).map_err(|error| match error {
        BackendUrlError::Malformed => Mismatch::Kind,
        BackendUrlError::Tls => Mismatch::Because(error.to_string()),
    })
}

pub(super) fn parse_labels(texts: &[String]) -> Result<Labels, Mismatch> {
    Labels::parse(texts).map_err(|error| Mismatch::Because(error.to_string()))
}

fn parse_id(text: &str) -> Result<BackendId, Mismatch> {
    BackendId::parse(text).map_err(|_| Mismatch::Kind)
}

/// Splits `host[:port]`; `None` if it is not of that form.
fn parse_authority(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            let addr: Ipv6Addr = host.parse().ok()?;
            (addr.to_string(), rest)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(is_plain) {
                return None;
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        None if port.is_empty() => 80,
        Some(_) | None => return None,
    };
    (port != 0).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_url_fills_in_port_and_path() {
        let cases = [
            ("ws://kms", "ws://kms:80/kurento"),
            ("WS://KMS-1.example:8888", "ws://kms-1.example:8888/kurento"),
            ("ws://10.0.0.5:8888/", "ws://10.0.0.5:8888/"),
            ("ws://[2001:DB8::5]:8888/a/b?c=d", "ws://[2001:db8::5]:8888/a/b?c=d"),
            ("ws://[::1]", "ws://[::1]:80/kurento"),
        ];
        for (text, full) in cases {
            let url = BackendUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), full);
            assert_eq!(BackendUrl::parse(full), Ok(url), "{full}");
        }
    }

    #[test]
    fn the_url_of_an_agent_is_plain_http() {
        let cases = [
            ("http://Agent", "http://agent:80/"),
            ("http://10.0.0.5:9100/report?of=kms", "http://10.0.0.5:9100/report?of=kms"),
            ("http://[::1]:1/", "http://[::1]:1/"),
        ];
        for (text, full) in cases {
            assert_eq!(ReportUrl::parse(text).unwrap().to_string(), full);
        }
        for text in ["", "https://a", "ws://a", "http://", "http://u@a", "http://a b", "http://a?b"]
        {
            assert_eq!(ReportUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_backend_url_is_refused() {
        let cases = [
            "",
            "kms:8888",
            "http://kms",
            "ws://",
            "ws://:80",
            "ws://kms:",
            "ws://kms:0",
            "ws://kms:+80",
            "ws://kms:70000",
            "ws://u:p@kms",
            "ws://kms/#a",
            "ws://kms?a",
            "ws://k ms",
            "ws://[kms]",
            "ws://[::1",
            "ws://::1",
            "ws://[::1]80",
            "ws://kms/é",
        ];
        for text in cases {
            assert!(BackendUrl::parse(text).is_err(), "{text}");
        }
        assert!(
            BackendUrl::parse("wss://kms").unwrap_err().to_string().contains("not supported yet")
        );
    }
}
