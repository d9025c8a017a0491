//! The place of an address in the built-in database.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use geoip::{Database, Overrides, Place};

/// Addresses asked in turn: too many for the caches of a processor to hold all their ways.
const ADDRESSES: usize = 65_536;

fn lookup(c: &mut Criterion) {
    let world = Database::builtin();
    let v4 = known(&world, |bits| IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)));
    let v6 = known(&world, |bits| IpAddr::V6(Ipv6Addr::from_bits(bits >> 3 | 1 << 125)));
    for (name, addresses) in [("v4", &v4), ("v6", &v6)] {
        let mut turns = addresses.iter().cycle();
        c.bench_function(&format!("geoip/place/{name}, random"), |b| {
            b.iter(|| world.place(black_box(*turns.next().expect("never ends"))));
        });
    }
    c.bench_function("geoip/place/v4, the same", |b| b.iter(|| world.place(black_box(v4[0]))));
    c.bench_function("geoip/location/v4, the same", |b| {
        b.iter(|| world.location(black_box(v4[0])));
    });
}

fn overrides(c: &mut Criterion) {
    let place = Place::from_degrees(52.52, 13.4).expect("on Earth");
    let list =
        (0..256).map(|third| (format!("10.0.{third}.0/24").parse().expect("a range"), place));
    let overrides = Overrides::new(list).expect("no range stands there twice");
    let (inside, outside) = (IpAddr::from([10, 0, 77, 1]), IpAddr::from([192, 0, 2, 1]));
    c.bench_function("geoip/overrides/found among 256", |b| {
        b.iter(|| overrides.place(black_box(inside)));
    });
    c.bench_function("geoip/overrides/not among 256", |b| {
        b.iter(|| overrides.place(black_box(outside)));
    });
}

/// Random addresses that have a place.
fn known(world: &Database, address: impl Fn(u128) -> IpAddr) -> Vec<IpAddr> {
    let mut state = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835_u128;
    let mut draw = || {
        state = state.wrapping_mul(0xda94_2042_e4dd_58b5).wrapping_add(1);
        state ^ state.rotate_left(64)
    };
    std::iter::repeat_with(|| address(draw()))
        .filter(|ip| world.place(*ip).is_some())
        .take(ADDRESSES)
        .collect()
}

criterion_group!(benches, lookup, overrides);
criterion_main!(benches);
