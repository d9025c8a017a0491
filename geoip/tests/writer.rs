//! Files are written as the format says, and what it cannot hold is refused.

use geoip::writer::{Branch, Description, Value, WriteError, tree, write};
use maxminddb::{Reader, path};

use crate::samples::{ip, text};

#[test]
fn values_of_every_length_and_pointers_of_every_size_are_read_back() {
    let lengths = [0, 1, 28, 29, 284, 285, 65_820];
    let name = |len: usize| "x".repeat(len);
    let filler = Value::Array((0..10).map(|_| text(&name(60_000))).collect());
    let mut records: Vec<Value> = vec![];
    // The second turn points at what the first wrote, from behind the filler.
    for _ in 0..2 {
        for len in lengths {
            let shared = Value::Shared(Box::new(text(&name(len))));
            records.push(Value::Map(vec![("own", text(&name(len))), ("shared", shared)]));
        }
        records.push(Value::Map(vec![("filler", filler.clone())]));
        let late = Value::Shared(Box::new(Value::Map(vec![("late", text("after 600 kB"))])));
        records.push(Value::Map(vec![("own", late.clone()), ("shared", late)]));
    }
    let leaves: Vec<(u128, u8, u32)> =
        (0..).zip(&records).map(|(record, _)| (u128::from(record) << 120, 8, record)).collect();
    let file = write(&about(4), &tree(&leaves), &records).unwrap();
    let reader = Reader::from_source(file).unwrap();
    reader.verify().unwrap();
    for (first, len) in lengths.iter().chain(&[0, 0]).chain(&lengths).enumerate() {
        if (7..9).contains(&first) {
            continue;
        }
        let found = reader.lookup(ip(&format!("{first}.1.2.3"))).unwrap();
        for member in ["own", "shared"] {
            let read: Option<&str> = found.decode_path(&path![member]).unwrap();
            assert_eq!(read, Some(name(*len).as_str()), "record {first}, {member}");
        }
    }
    let late = reader.lookup(ip("17.1.2.3")).unwrap();
    let read: Option<&str> = late.decode_path(&path!["shared", "late"]).unwrap();
    assert_eq!(read, Some("after 600 kB"));
}

#[test]
fn a_later_network_takes_its_part_out_of_a_larger_one() {
    let records = [Value::U16(7), Value::U32(70_000), Value::U64(u64::MAX)];
    let nodes = tree(&[(0, 1, 0), (0x10 << 120, 8, 1), (0x1001 << 112, 16, 2)]);
    let reader = Reader::from_source(write(&about(4), &nodes, &records).unwrap()).unwrap();
    let found = |address: &str| reader.lookup(ip(address)).unwrap().decode::<u64>().unwrap_or(None);
    assert!(reader.lookup(ip("1.0.0.0")).unwrap().decode::<u16>().unwrap() == Some(7));
    assert!(reader.lookup(ip("16.0.0.0")).unwrap().decode::<u32>().unwrap() == Some(70_000));
    assert_eq!(found("16.1.0.0"), Some(u64::MAX));
    assert_eq!(found("128.0.0.0"), None);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let record = [Value::U16(1)];
    assert!(matches!(write(&about(4), &[], &record), Err(WriteError::NoTree)));
    for branch in [Branch::Node(1), Branch::Record(1)] {
        let refused = write(&about(4), &[[Branch::Empty, branch]], &record);
        assert!(matches!(refused, Err(WriteError::Nowhere(of)) if of == branch));
    }
    let long = [text(&"x".repeat(65_821))];
    let refused = write(&about(4), &[[Branch::Record(0); 2]], &long);
    assert!(matches!(refused, Err(WriteError::TooLong(65_821))));
    let much: Vec<Value> = (0..300).map(|_| text(&"x".repeat(60_000))).collect();
    let refused = write(&about(4), &[[Branch::Record(299); 2]], &much);
    assert!(matches!(refused, Err(WriteError::TooLarge(at)) if at > 1 << 24));
}

fn about(ip_version: u16) -> Description {
    Description { database_type: "T".into(), text: "T".into(), build_epoch: 0, ip_version }
}
