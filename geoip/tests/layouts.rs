//! Files of every layout are understood.

use std::sync::Arc;

use geoip::writer::Value;
use geoip::{Continent, Country, Database, DatabaseError, Geo, Layout, Overrides, Place};

use crate::samples::{city, country, database, databases, flat_city, flat_country, ip, text};

#[test]
fn a_city_file_of_maxmind_tells_place_country_and_continent() {
    let file = database("192.0.2.0/24", city(48.86, 2.35, "FR"));
    let database = Database::from_bytes(file).unwrap();
    assert_eq!(database.about().layout, Layout::City);
    let found = database.location(ip("192.0.2.9")).unwrap();
    assert_near(found.place, 48.86, 2.35);
    assert_eq!(found.country, Country::parse("FR"));
    assert_eq!(found.continent, Some(Continent::Europe));
    assert_eq!(database.place(ip("192.0.2.9")), Some(found.place));
    assert_eq!(database.place(ip("::ffff:192.0.2.9")), Some(found.place));
    assert_eq!(database.place(ip("192.0.3.0")), None);
    assert_eq!(database.location(ip("2001:db8::1")), None);
}

#[test]
fn a_city_file_of_dbip_from_npm_is_flat_and_of_one_family() {
    let records = [("198.51.0.0/16", flat_city(-33.87, 151.2, "AU"))];
    let database = Database::from_bytes(databases(&records, 4, "city ipv4")).unwrap();
    assert_eq!((database.about().layout, database.about().ip_version), (Layout::FlatCity, 4));
    let found = database.location(ip("198.51.100.1")).unwrap();
    assert_near(found.place, -33.87, 151.2);
    assert_eq!(found.country, Country::parse("AU"));
    assert_eq!(found.continent, Some(Continent::Oceania));
    assert_eq!(database.place(ip("2001:db8::1")), None);
}

#[test]
fn a_country_file_tells_where_the_people_of_a_country_are() {
    for (record, layout) in
        [(country("JP"), Layout::Country), (flat_country("JP"), Layout::FlatCountry)]
    {
        let database = Database::from_bytes(database("2001:db8::/32", record)).unwrap();
        assert_eq!(database.about().layout, layout);
        let found = database.location(ip("2001:db8::1")).unwrap();
        assert_eq!(Some(found.place), Country::parse("JP").unwrap().centre());
        assert_eq!(found.continent, Some(Continent::Asia));
        assert_eq!(database.place(ip("2001:db9::1")), None);
    }
}

#[test]
fn a_city_record_without_coordinates_falls_back_to_its_country() {
    let records = [("192.0.2.0/25", city(48.86, 2.35, "FR")), ("192.0.2.128/25", country("DE"))];
    let database = Database::from_bytes(databases(&records, 6, "GeoLite2-City")).unwrap();
    assert_eq!(database.about().layout, Layout::City);
    let centre = Country::parse("DE").unwrap().centre();
    assert_eq!(database.place(ip("192.0.2.200")), centre);
}

#[test]
fn what_has_no_place_is_refused() {
    let record = Value::Map(vec![("autonomous_system_number", Value::U32(64_496))]);
    let refused = Database::from_bytes(databases(&[("192.0.2.0/24", record)], 6, "ASN"));
    assert!(matches!(refused.unwrap_err(), DatabaseError::NoPlaces(kind) if kind == "ASN"));
}

#[test]
fn coordinates_off_the_earth_are_refused() {
    for record in [
        city(91.0, 0.0, "FR"),
        city(f64::NAN, 0.0, "FR"),
        flat_city(0.0, 181.0, "FR"),
        Value::Map(vec![("latitude", Value::Float(1.0))]),
    ] {
        let refused = Database::from_bytes(database("192.0.2.0/24", record));
        assert!(matches!(refused.unwrap_err(), DatabaseError::OffEarth { .. }));
    }
    let record = Value::Map(vec![("latitude", text("1.0")), ("longitude", text("1.0"))]);
    let refused = Database::from_bytes(database("192.0.2.0/24", record));
    assert!(matches!(refused.unwrap_err(), DatabaseError::Broken(_)));
}

#[test]
fn overrides_come_first_then_databases_in_their_order() {
    let at = |latitude, network| {
        Arc::new(Database::from_bytes(database(network, city(latitude, 0.0, "FR"))).unwrap())
    };
    let list = [("192.0.2.0/28".parse().unwrap(), Place::from_degrees(1.0, 0.0).unwrap())];
    let overrides = Overrides::new(list).unwrap();
    let geo = Geo::new(overrides, vec![at(2.0, "192.0.2.0/24"), at(3.0, "192.0.0.0/16")]);
    assert_near(geo.place(ip("192.0.2.1")).unwrap(), 1.0, 0.0);
    assert_near(geo.place(ip("192.0.2.16")).unwrap(), 2.0, 0.0);
    assert_near(geo.place(ip("192.0.3.1")).unwrap(), 3.0, 0.0);
    assert_eq!(geo.place(ip("192.1.0.0")), None);
    let other = geo.with_databases(vec![at(4.0, "192.0.2.0/24")]);
    assert_near(other.place(ip("192.0.2.1")).unwrap(), 1.0, 0.0);
    assert_near(other.place(ip("192.0.2.16")).unwrap(), 4.0, 0.0);
    assert_eq!((geo.databases().len(), other.databases().len()), (2, 1));
}

#[test]
fn a_file_says_what_it_is() {
    let records = [("192.0.2.0/24", country("FR"))];
    let about = Database::from_bytes(databases(&records, 6, "Some-Country")).unwrap().about();
    assert_eq!(
        (about.database_type.as_str(), about.description.as_str()),
        ("Some-Country", "A test")
    );
    assert_eq!((about.build_epoch, about.ip_version), (1_780_000_000, 6));
}

fn assert_near(place: Place, latitude: f64, longitude: f64) {
    let off_km = place.distance_km(Place::from_degrees(latitude, longitude).unwrap());
    assert!(off_km < 0.2, "{off_km} km off");
}
