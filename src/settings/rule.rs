//! `[[discovery.rules]]`: what servers are that nobody described.

use std::net::IpAddr;

use geoip::Cidr;

use super::backend::{BackendSettings, BackendUrl, parse_labels};
use super::declare::{Keys, Kind, Mismatch, Section};
use super::field::{Parsed, Texts};
use super::geoip::parse_net;
use super::place::PlaceSettings;
use crate::model::{BackendId, Labels, Legs};
use crate::policy::choose::WEIGHT_MAX;

/// What is known of servers in some range of addresses, or with some names.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSettings {
    /// The addresses it is about; `None` for any, known or not.
    pub cidr: Option<Cidr>,
    /// The names it is about; `None` for any, or none.
    pub name: Option<NamePattern>,
    /// The load that such a backend can bear.
    capacity: Legs,
    /// Its tickets in the draw among equals.
    weight: u32,
    /// What it costs, in units of the operator's choice.
    price: f64,
    /// What it may be asked for.
    labels: Labels,
    /// Where it stands.
    place: Option<PlaceSettings>,
    /// Memory it may use at most, in units of 1,048,576 bytes; 0 if that is not known.
    memory_mb: u32,
}

impl RuleSettings {
    /// Whether it is about a server with this address and these names.
    #[must_use]
    pub fn fits(&self, addr: Option<IpAddr>, names: &[&str]) -> bool {
        let in_range = |cidr: Cidr| addr.is_some_and(|addr| cidr.contains(addr));
        self.cidr.is_none_or(in_range)
            && self.name.as_ref().is_none_or(|of| names.iter().any(|name| of.matches(name)))
    }

    /// The backend that a server at `url` is by this rule.
    #[must_use]
    pub fn backend(&self, id: BackendId, url: BackendUrl) -> BackendSettings {
        BackendSettings {
            weight: self.weight,
            price: self.price,
            labels: self.labels.clone(),
            place: self.place,
            memory_mb: self.memory_mb,
            ..BackendSettings::new(id, url, self.capacity)
        }
    }
}

impl Default for RuleSettings {
    /// What holds where no rule fits.
    fn default() -> Self {
        Self::example()
    }
}

impl Section for RuleSettings {
    fn example() -> Self {
        Self {
            cidr: None,
            name: None,
            capacity: Legs(400),
            weight: 1,
            price: 0.0,
            labels: Labels::default(),
            place: None,
            memory_mb: 0,
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.value(
            "cidr",
            &mut Parsed::optional(&mut self.cidr, parse_cidr),
            Kind::Text("a range of addresses like \"10.1.0.0/16\", or \"\""),
            "Addresses that it is about. \"\" for any.",
        );
        keys.value(
            "name",
            &mut Parsed::optional(&mut self.name, parse_pattern),
            Kind::Text("a host name in which * may stand for anything, or \"\""),
            "Names that it is about: the target of an SRV record, or the name that was looked up. \
             \"\" for any.",
        );
        keys.integer(
            "capacity",
            &mut self.capacity,
            ("legs", 1..=1_000_000),
            "As in [[backends]], like all that follows.",
        );
        keys.integer(
            "weight",
            &mut self.weight,
            ("tickets", 1..=u64::from(WEIGHT_MAX)),
            "Tickets in the draw among equals.",
        );
        let price = ("any", 0.0..=1_000_000.0);
        keys.decimal("price", &mut self.price, price, "What it costs.");
        keys.value(
            "labels",
            &mut Texts::new(&mut self.labels, parse_labels, |labels| labels.rows().collect()),
            Kind::Texts("labels like \"residency=eu\""),
            "What it may be asked for.",
        );
        keys.optional(
            "place",
            "Where it stands, in degrees. Without it, where [geoip] says that its address is.",
            &mut self.place,
        );
        let memory = ("MB", 0..=1_000_000_000);
        keys.integer("memory_mb", &mut self.memory_mb, memory, "Memory that it may use.");
    }
}

/// A name in which each `*` stands for any text, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Whether `name`, in lower case, is one of those meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The leftmost place for each part leaves most for those that follow.
        for part in middle.split('*') {
            match name.find(part) {
                Some(at) => name = &name[at + part.len()..],
                None => return false,
            }
        }
        name.ends_with(last)
    }
}

impl std::fmt::Display for NamePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse_cidr(text: &str) -> Result<Option<Cidr>, Mismatch> {
    if text.is_empty() { Ok(None) } else { parse_net(text).map(Some) }
}

fn parse_pattern(text: &str) -> Result<Option<NamePattern>, Mismatch> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*');
    match text {
        "" => Ok(None),
        text if text.chars().all(is_plain) => Ok(Some(NamePattern(text.to_ascii_lowercase()))),
        _ => Err(Mismatch::Kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fits) in [
            ("kms-a", "kms-a", true),
            ("kms-a", "kms-ab", false),
            ("kms-eu-*", "kms-eu-7.example", true),
            ("kms-eu-*", "kms-eu-", true),
            ("kms-eu-*", "kms-us-7", false),
            ("*.eu.*", "a.eu.example", true),
            ("*.eu.*", "a.eu", false),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("a*bc*d", "abcbd", true),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            let pattern = parse_pattern(pattern).unwrap().unwrap();
            assert_eq!(pattern.matches(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_rule_fits_by_address_and_name_together() {
        let mut rule = RuleSettings::default();
        assert!(rule.fits(None, &[]), "one that names neither");
        rule.cidr = parse_cidr("10.1.0.0/16").unwrap();
        let addr = Some("10.1.2.3".parse().unwrap());
        assert!(rule.fits(addr, &[]) && !rule.fits(None, &[]));
        assert!(!rule.fits(Some("10.2.0.1".parse().unwrap()), &[]));
        rule.name = parse_pattern("KMS-*").unwrap();
        assert!(rule.fits(addr, &["other", "kms-1"]) && !rule.fits(addr, &["other"]));
    }
}
