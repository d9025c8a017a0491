//! The built-in database.

use std::fs;
use std::path::Path;

use geoip::{Continent, Country, Database, Layout, Place};

use crate::samples::ip;

#[test]
fn it_is_sound_small_and_names_its_source() {
    let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/world.mmdb")).unwrap();
    assert!(file.len() <= 12_000_000, "{}", file.len());
    let reader = maxminddb::Reader::from_source(file.as_slice()).unwrap();
    reader.verify().unwrap();
    let inspected = Database::from_bytes(file).unwrap().about();
    assert_eq!(inspected, Database::builtin().about());
    assert_eq!(inspected.layout, Layout::City);
    assert!(inspected.description.contains("IP Geolocation by DB-IP (https://db-ip.com)"));
}

#[test]
fn networks_that_hardly_move_are_where_they_belong() {
    let world = Database::builtin();
    for (address, country, latitude, longitude) in [
        // Universities and states, which use their own addresses at home.
        ("131.111.8.46", "GB", 52.2, 0.12),
        ("129.132.19.216", "CH", 47.38, 8.54),
        ("133.11.0.1", "JP", 35.7, 139.76),
        ("200.144.248.41", "BR", -23.55, -46.6),
        ("2001:630:200::1", "GB", 52.2, 0.12),
        ("2001:200::1", "JP", 35.7, 139.76),
    ] {
        let found = world.location(ip(address)).unwrap();
        let off_km = found.place.distance_km(Place::from_degrees(latitude, longitude).unwrap());
        assert_eq!(found.country, Country::parse(country), "{address}");
        assert_eq!(found.continent, found.country.unwrap().continent(), "{address}");
        assert!(off_km < 600.0, "{address}: {off_km} km off");
    }
}

#[test]
fn what_is_not_on_the_public_internet_has_no_place() {
    let world = Database::builtin();
    for address in [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "2001:db8::1",
        "2002:a00:1::",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "ff02::1",
    ] {
        assert_eq!(world.location(ip(address)), None, "{address}");
    }
}

#[test]
fn its_continents_are_those_of_the_table() {
    let world = Database::builtin();
    let found = world.location(ip("129.132.19.216")).unwrap();
    assert_eq!(found.continent, Some(Continent::Europe));
}
