//! What holds for every place, range and address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geoip::{Cidr, Database, Overrides, Place};
use proptest::prelude::*;

/// A dot product cannot tell places apart that are nearer than about this.
const PRECISION_KM: f64 = 0.2;

/// Half of the way around the Earth.
const FARTHEST_KM: f64 = 20_016.0;

fn any_place() -> impl Strategy<Value = Place> {
    (-90.0..=90.0, -180.0..=180.0)
        .prop_map(|(north, east)| Place::from_degrees(north, east).unwrap())
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from_bits(bits).to_ipv6_mapped())),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits >> 3 | 1 << 125))),
    ]
}

/// Addresses and ranges out of few, so that they meet.
fn near_ip() -> impl Strategy<Value = IpAddr> {
    (any::<bool>(), 0..64_u32).prop_map(|(is_v4, low)| {
        let bits = low.reverse_bits() | low;
        let v6 = Ipv6Addr::from_bits(u128::from(bits) << 96);
        if is_v4 { IpAddr::V4(Ipv4Addr::from_bits(bits)) } else { IpAddr::V6(v6) }
    })
}

fn near_cidr() -> impl Strategy<Value = Cidr> {
    (near_ip(), 0..=32_u8).prop_map(|(ip, prefix_len)| Cidr::around(ip, prefix_len).unwrap())
}

proptest! {
    #[test]
    fn a_place_keeps_its_degrees(north in -89.9..=89.9, east in -179.9..=179.9) {
        let place = Place::from_degrees(north, east).unwrap();
        prop_assert!((place.latitude() - north).abs() < 1e-9);
        prop_assert!((place.longitude() - east).abs() < 1e-9);
        prop_assert!(place.distance_km(place) < PRECISION_KM);
    }

    #[test]
    fn distance_is_a_metric(a in any_place(), b in any_place(), c in any_place()) {
        let (ab, bc, ac) = (a.distance_km(b), b.distance_km(c), a.distance_km(c));
        prop_assert!((0.0..=FARTHEST_KM).contains(&ab));
        prop_assert_eq!(ab.to_bits(), b.distance_km(a).to_bits());
        prop_assert!(ac <= ab + bc + PRECISION_KM);
    }

    #[test]
    fn the_middle_of_two_places_is_as_far_from_both(a in any_place(), b in any_place()) {
        prop_assume!(a.distance_km(b) < FARTHEST_KM - 100.0);
        let middle = Place::mean([(a, 2.0), (b, 2.0)]).unwrap();
        prop_assert!((middle.distance_km(a) - middle.distance_km(b)).abs() < PRECISION_KM);
        prop_assert!((middle.distance_km(a) - a.distance_km(b) / 2.0).abs() < PRECISION_KM);
    }

    #[test]
    fn no_address_breaks_a_look_up(ip in any_ip()) {
        let world = Database::builtin();
        let location = world.location(ip);
        prop_assert_eq!(world.place(ip), location.map(|found| found.place));
        prop_assert_eq!(world.place(ip), world.place(ip.to_canonical()));
    }

    #[test]
    fn the_longest_prefix_wins(
        cidrs in proptest::collection::btree_set(near_cidr(), 0..24),
        ip in near_ip(),
    ) {
        let place = |index: usize| {
            let degrees = u8::try_from(index).unwrap();
            Place::from_degrees(f64::from(degrees), 0.0).unwrap()
        };
        let list = cidrs.iter().enumerate().map(|(index, cidr)| (*cidr, place(index)));
        let overrides = Overrides::new(list).unwrap();
        let holding = cidrs.iter().enumerate().filter(|(_, cidr)| cidr.contains(ip));
        let longest = holding.max_by_key(|(_, cidr)| cidr.prefix_len());
        prop_assert_eq!(overrides.place(ip), longest.map(|(index, _)| place(index)));
    }

    #[test]
    fn a_range_survives_its_text(ip in any_ip(), prefix_len in 0..=128_u8) {
        if let Some(cidr) = Cidr::around(ip, prefix_len) {
            prop_assert!(cidr.contains(cidr.first()));
            prop_assert_eq!(cidr.to_string().parse(), Ok(cidr));
        }
    }

    #[test]
    fn no_text_breaks_the_reader_of_ranges(text in "[0-9a-f:./]{0,24}") {
        if let Ok(cidr) = text.parse::<Cidr>() {
            prop_assert_eq!(cidr.to_string().parse(), Ok(cidr));
        }
    }
}
