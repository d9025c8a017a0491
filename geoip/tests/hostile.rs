//! A torn or hostile file is refused, or does no harm.

use geoip::writer::{Branch, Description, Value, write};
use geoip::{Database, DatabaseError, Place};

use crate::samples::{city, country, databases, flat_city, ip, text};

/// Bytes changed at random in each round of `flipped_bytes_do_no_harm`, for each sample.
const FLIP_ROUNDS: u32 = 4_000;

fn samples() -> [Vec<u8>; 2] {
    let nested = [
        ("192.0.2.0/24", city(48.86, 2.35, "FR")),
        ("198.51.100.0/24", city(35.7, 139.8, "JP")),
        ("2001:db8::/32", country("DE")),
    ];
    let flat = [("192.0.2.0/24", flat_city(1.0, 2.0, "FR"))];
    [databases(&nested, 6, "GeoLite2-City"), databases(&flat, 4, "city ipv4")]
}

/// Opens `bytes`, and if that works asks for some addresses.
fn try_out(bytes: Vec<u8>) -> Result<Vec<Option<Place>>, DatabaseError> {
    let database = Database::from_bytes(bytes)?;
    let asked = ["192.0.2.1", "198.51.100.7", "203.0.113.1", "2001:db8::1", "::1", "ffff::"];
    Ok(asked
        .map(|address| {
            let location = database.location(ip(address));
            assert_eq!(location.map(|found| found.place), database.place(ip(address)));
            database.place(ip(address))
        })
        .to_vec())
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for whole in samples() {
        try_out(whole.clone()).unwrap();
        for len in 0..whole.len() {
            assert!(try_out(whole[..len].to_vec()).is_err(), "{len} of {} bytes", whole.len());
        }
    }
}

#[test]
fn every_bit_may_be_flipped() {
    for whole in samples() {
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = try_out(bytes);
        }
    }
}

#[test]
fn flipped_bytes_do_no_harm() {
    let mut refused = 0;
    for whole in samples() {
        let mut draws = Draws(7);
        for _ in 0..FLIP_ROUNDS {
            let mut bytes = whole.clone();
            for _ in 0..=draws.below(8) {
                let at = draws.below(bytes.len());
                bytes[at] = u8::try_from(draws.below(256)).unwrap();
            }
            refused += u32::from(try_out(bytes).is_err());
        }
    }
    assert!(refused > FLIP_ROUNDS / 2, "{refused}: too many broken files pass");
}

#[test]
fn a_tree_that_goes_in_circles_is_refused() {
    let nodes = [[Branch::Node(0), Branch::Record(0)]];
    assert!(try_out(file(&nodes, &[country("FR")])).is_err());
}

#[test]
fn a_small_tree_with_2_to_the_97_leaves_is_refused() {
    // Both sides of each node lead to the next. Node 96 is where IPv4 begins, so whoever passes
    // over its aliases without counting them never comes to an end.
    let mut nodes: Vec<[Branch; 2]> = (1..=96).map(|next| [Branch::Node(next); 2]).collect();
    nodes.push([Branch::Record(0); 2]);
    let refused = try_out(file(&nodes, &[country("FR")])).unwrap_err();
    assert!(matches!(refused, DatabaseError::Endless { nodes: 97 }), "{refused}");
}

#[test]
fn records_that_multiply_through_pointers_are_refused() {
    // Each level holds the one below sixteen times, and costs some 70 bytes.
    let mut record = text("leaf");
    for _ in 0..4 {
        let shared = Value::Shared(Box::new(record));
        record = Value::Array(vec![shared; 16]);
    }
    let record = Value::Map(vec![("country_code", text("FR")), ("more", record)]);
    let refused = try_out(file(&[[Branch::Record(0); 2]], &[record])).unwrap_err();
    assert!(matches!(refused, DatabaseError::Broken(_)), "{refused}");
}

#[test]
fn many_records_that_share_a_large_one_are_refused() {
    let large = Value::Shared(Box::new(Value::Array(vec![Value::U16(0); 4_000])));
    let record = |number| {
        Value::Map(vec![
            ("country_code", text("FR")),
            ("more", large.clone()),
            ("number", Value::U32(number)),
        ])
    };
    let records: Vec<Value> = (0..1_024).map(record).collect();
    let node = |index: u32| {
        let below = |side| match index * 2 + 1 + side {
            child @ 0..1_023 => Branch::Node(child),
            leaf => Branch::Record(leaf - 1_023),
        };
        [below(0), below(1)]
    };
    let nodes: Vec<[Branch; 2]> = (0..1_023).map(node).collect();
    let refused = try_out(file(&nodes, &records)).unwrap_err();
    assert!(matches!(refused, DatabaseError::Bloated { .. }), "{refused}");
}

fn file(nodes: &[[Branch; 2]], records: &[Value]) -> Vec<u8> {
    let about = Description {
        database_type: "Hostile".into(),
        text: String::new(),
        build_epoch: 0,
        ip_version: 6,
    };
    write(&about, nodes, records).unwrap()
}

/// Numbers that look random and are the same each time. Source: Steele and others, `SplitMix64`,
/// 2014.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = usize::try_from(bits ^ (bits >> 31)).unwrap();
        bits % end
    }
}
