//! From what is known of a backend to what the fleet is told.

use std::net::IpAddr;

use super::{Found, Origin};
use crate::geo::Atlas;
use crate::model::BackendId;
use crate::policy::roster::Offer;
use crate::settings::{BackendSettings, BackendUrl, PlaceSettings, RuleSettings};

impl Origin {
    /// The backend as a source names it; `None` if its address makes no id.
    pub(super) fn into_offer(self) -> Option<Offer<Self>> {
        let (id, url) = match &self {
            Self::Told(backend) => (backend.id.clone(), backend.url.to_string()),
            Self::Found(found) => (id_of(&found.url)?, found.url.to_string()),
        };
        Some(Offer { id, url, backend: self })
    }
}

/// What the fleet is told of the backend that `offer` is.
pub(super) fn describe(
    offer: &Offer<Origin>,
    rules: &[RuleSettings],
    atlas: &Atlas,
) -> BackendSettings {
    let found = match &offer.backend {
        Origin::Told(backend) => return (**backend).clone(),
        Origin::Found(found) => found,
    };
    let addr: Option<IpAddr> = found.url.host.parse().ok();
    let names: Vec<&str> =
        found.name.as_deref().into_iter().chain([found.url.host.as_str()]).collect();
    let plain = RuleSettings::default();
    let rule = rules.iter().find(|rule| rule.fits(addr, &names)).unwrap_or(&plain);
    let mut backend = rule.backend(offer.id.clone(), found.url.clone());
    if backend.place.is_none() {
        let place = addr.and_then(|addr| atlas.look_up(addr));
        backend.place = place.map(|place| PlaceSettings {
            latitude: place.latitude(),
            longitude: place.longitude(),
        });
    }
    backend
}

/// The id of a server at `url`: host and port, `10.0.0.7-8888`. A host name that is too long loses
/// labels at its end. `None` if its first label alone is.
fn id_of(url: &BackendUrl) -> Option<BackendId> {
    let mut host = url.host.trim_end_matches('.').replace(':', "_");
    loop {
        match BackendId::parse(&format!("{host}-{}", url.port)) {
            Ok(id) => return Some(id),
            Err(_) => host.truncate(host.rfind('.')?),
        }
    }
}

impl Found {
    /// A server at that place in the network, found under `name`.
    pub(crate) const fn new(url: BackendUrl, name: Option<String>) -> Self {
        Self { url, name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::parse;
    use crate::telemetry::Metrics;

    fn id(url: &str) -> Option<String> {
        id_of(&BackendUrl::parse(url).unwrap()).map(|id| id.to_string())
    }

    #[test]
    fn an_id_is_made_of_host_and_port() {
        let is = |url, expected: &str| assert_eq!(id(url).as_deref(), Some(expected));
        is("ws://10.0.0.7:8888", "10.0.0.7-8888");
        is("ws://[2001:db8::7]:8888", "2001_db8__7-8888");
        is("ws://kms-1.example", "kms-1.example-80");
        let long = "a".repeat(40);
        is(&format!("ws://{long}.{long}.example:1"), &format!("{long}-1"));
        assert_eq!(id(&format!("ws://{}.example", "a".repeat(63))), None);
    }

    #[test]
    fn the_first_rule_that_fits_says_all_and_geoip_the_place_that_is_left() {
        let text = r#"
            [[listeners]]
            addr = "127.0.0.1:1"
            [discovery.registrar]
            addr = "127.0.0.1:2"
            allow = ["10.0.0.0/8"]
            [[discovery.rules]]
            cidr = "10.1.0.0/16"
            labels = ["region=eu"]
            place = { latitude = 1, longitude = 2 }
            [[discovery.rules]]
            name = "media.*"
            capacity = 90
            [[discovery.rules]]
            cidr = "10.0.0.0/8"
            weight = 3
            [geoip]
            overrides = [{ net = "10.2.0.0/16", latitude = 48.86, longitude = 2.35 }]
        "#;
        let settings = parse(text).unwrap();
        let (atlas, _) =
            Atlas::new(crate::geo::Maps::open(&settings.geoip).unwrap(), Metrics::new());
        let described = |url: &str, name: Option<&str>| {
            let url = BackendUrl::parse(url).unwrap();
            let found = Origin::Found(Found::new(url, name.map(str::to_owned)));
            describe(&found.into_offer().unwrap(), &settings.discovery.rules, &atlas)
        };
        let latitude = |backend: &BackendSettings| backend.place.map(|place| place.latitude);
        let eu = described("ws://10.1.0.7:8888", Some("media.example"));
        assert_eq!((eu.labels.to_string(), eu.capacity.0), ("region=eu".to_owned(), 400));
        assert_eq!(latitude(&eu), Some(1.0));
        let named = described("ws://10.2.0.7:8888", Some("media.example"));
        assert_eq!((named.capacity.0, named.weight), (90, 1));
        assert!((latitude(&named).unwrap() - 48.86).abs() < 1e-9);
        assert_eq!(described("ws://10.3.0.7:8888", None).weight, 3);
        let srv = described("ws://media.7.example:8888", None);
        assert_eq!((srv.capacity.0, latitude(&srv)), (90, None));
        assert_eq!(described("ws://192.168.0.7:8888", None).capacity.0, 400, "no rule fits");
    }
}
