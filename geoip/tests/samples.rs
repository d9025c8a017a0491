//! Small databases of each layout.

use std::net::IpAddr;

use geoip::writer::{Description, Value, tree, write};

/// A database whose only network is `network`, with `record`; IPv4 stands below `::/96`.
pub(crate) fn database(network: &str, record: Value) -> Vec<u8> {
    databases(&[(network, record)], 6, "Test")
}

/// A database of `networks`; of IPv4 only if `ip_version` is 4.
pub(crate) fn databases(networks: &[(&str, Value)], ip_version: u16, kind: &str) -> Vec<u8> {
    let leaves: Vec<(u128, u8, u32)> = (0..)
        .zip(networks)
        .map(|(record, (network, _))| {
            let (bits, prefix_len) = bits_of(network, ip_version);
            (bits, prefix_len, record)
        })
        .collect();
    let records: Vec<Value> = networks.iter().map(|(_, record)| record.clone()).collect();
    let about = Description {
        database_type: kind.into(),
        text: "A test".into(),
        build_epoch: 1_780_000_000,
        ip_version,
    };
    write(&about, &tree(&leaves), &records).unwrap()
}

fn bits_of(network: &str, ip_version: u16) -> (u128, u8) {
    let (first, len) = network.split_once('/').unwrap();
    let len: u8 = len.parse().unwrap();
    match first.parse().unwrap() {
        IpAddr::V4(first) if ip_version == 4 => (u128::from(first.to_bits()) << 96, len),
        IpAddr::V4(first) => (u128::from(first.to_bits()), len + 96),
        IpAddr::V6(first) => (first.to_bits(), len),
    }
}

/// A record of `GeoLite2` City, with some of what we do not read.
pub(crate) fn city(latitude: f64, longitude: f64, country: &str) -> Value {
    let names = |name: &str| Value::Map(vec![("en", text(name)), ("de", text(name))]);
    Value::Map(vec![
        ("city", Value::Map(vec![("geoname_id", Value::U32(1)), ("names", names("A city"))])),
        ("continent", shared(Value::Map(vec![("code", text("EU")), ("names", names("Europe"))]))),
        ("country", shared(Value::Map(vec![("iso_code", text(country))]))),
        (
            "location",
            Value::Map(vec![
                ("accuracy_radius", Value::U16(20)),
                ("latitude", Value::Double(latitude)),
                ("longitude", Value::Double(longitude)),
                ("time_zone", text("Europe/Paris")),
            ]),
        ),
        ("subdivisions", Value::Array(vec![Value::Map(vec![("iso_code", text("X"))])])),
    ])
}

/// A record of DB-IP City in the npm package.
pub(crate) fn flat_city(latitude: f32, longitude: f32, country: &str) -> Value {
    Value::Map(vec![
        ("city", text("A city")),
        ("country_code", text(country)),
        ("latitude", Value::Float(latitude)),
        ("longitude", Value::Float(longitude)),
        ("postcode", text("")),
    ])
}

/// A record of `GeoLite2` Country.
pub(crate) fn country(code: &str) -> Value {
    Value::Map(vec![("country", Value::Map(vec![("iso_code", text(code))]))])
}

/// A record of DB-IP Country in the npm package.
pub(crate) fn flat_country(code: &str) -> Value {
    Value::Map(vec![("country_code", text(code))])
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn shared(value: Value) -> Value {
    Value::Shared(Box::new(value))
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
