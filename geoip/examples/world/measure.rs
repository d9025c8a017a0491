//! `measure`: how far the reduced database is from the full one. Prints tables in Markdown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::Result;
use geoip::Database;

use crate::source::{Family, Network, Source};

/// What counts as near, in kilometres.
const NEAR_KM: f64 = 300.0;

/// What a network counts, and how the table calls that.
type Weighing = (&'static str, fn(Family, u8) -> f64);

/// Prints a line for each way to count the networks of `sources`.
pub(crate) fn run(sources: &[Source; 2], reduced: &Path) -> Result<()> {
    let bytes = std::fs::metadata(reduced)?.len();
    let database = Database::open(reduced)?;
    println!("{bytes} bytes, built {} s after 1970\n", database.about().build_epoch);
    println!(
        "| Counted | within 300 km | median | 90 % | 99 % | 99.9 % | right country | no place |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for source in sources {
        let rows = source.networks.iter().map(|network| row(&database, source, *network));
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by(|a, b| a.off_km.total_cmp(&b.off_km));
        for (name, weight) in weighings(source.family) {
            print_line(name, &rows, |row| weight(source.family, row.prefix_len));
        }
    }
    Ok(())
}

fn weighings(family: Family) -> Vec<Weighing> {
    match family {
        Family::V4 => {
            vec![("IPv4, each address", Family::size), ("IPv4, each network", |_, _| 1.0)]
        }
        Family::V6 => vec![
            ("IPv6, each /48, at most 256 of a network", |family, prefix_len| {
                family.size(prefix_len).min(256.0)
            }),
            ("IPv6, each /48, at most 4,096 of a network", Family::weight),
            ("IPv6, each /48, at most 65,536 of a network", |family, prefix_len| {
                family.size(prefix_len).min(65_536.0)
            }),
            ("IPv6, each /48", Family::size),
            ("IPv6, each network", |_, _| 1.0),
        ],
    }
}

/// A network of the full database, compared.
struct Row {
    prefix_len: u8,
    /// Between the places of both databases; infinite if the reduced one has none.
    off_km: f64,
    same_country: bool,
}

/// Compares at the first address: the reduced tree is nowhere finer than the full one.
fn row(database: &Database, source: &Source, network: Network) -> Row {
    let ip = match source.family {
        Family::V4 => {
            let bits = (network.bits >> 96).try_into().expect("32 bits are left");
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(network.bits)),
    };
    let spot = &source.spots[network.spot as usize];
    let location = database.location(ip);
    Row {
        prefix_len: network.prefix_len,
        off_km: location.map_or(f64::INFINITY, |found| found.place.distance_km(spot.place)),
        same_country: location.is_some_and(|found| found.country == spot.country),
    }
}

/// Prints the line of `rows`, the nearest first.
fn print_line(name: &str, rows: &[Row], weight: impl Fn(&Row) -> f64) {
    let sum = |holds: &dyn Fn(&Row) -> bool| -> f64 {
        rows.iter().filter(|row| holds(row)).map(&weight).sum::<f64>() + 0.0
    };
    let total = sum(&|_| true);
    let percent = |part: f64| format!("{:.2} %", 100.0 * part / total);
    let quantile = |share: f64| {
        let mut left = share * total;
        let at = rows.iter().find(|row| {
            left -= weight(row);
            left <= 0.0
        });
        at.map_or_else(|| "none".to_owned(), |row| format!("{:.0} km", row.off_km))
    };
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} |",
        percent(sum(&|row| row.off_km <= NEAR_KM)),
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        percent(sum(&|row| row.same_country)),
        percent(sum(&|row| row.off_km.is_infinite())),
    );
}
