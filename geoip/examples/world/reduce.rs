//! `reduce`: writes `world.mmdb` and `countries.txt`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use geoip::writer::{Branch, Description, Value, write};
use geoip::{Country, Place};

use crate::continents;
use crate::prune::{Pruned, Pruner, Reserved};
use crate::sites::{Site, Sites};
use crate::source::{Family, Source};

/// Nodes of the tree, 6 bytes each: with the data, both together are below 12,000,000 bytes.
const V4_NODES_MAX: usize = 1_420_000;
const V6_NODES_MAX: usize = 500_000;

/// Nodes that stand together: as many as a cache line of 64 bytes holds.
const CLUSTER_NODES: usize = 10;

/// The most the file may be.
const FILE_BYTES_MAX: usize = 12_000_000;

/// What is not on the public internet. Source: the IANA special-purpose address registries.
const V4_RESERVED: [&str; 13] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
];

/// All but `2000::/3`, and in it Teredo, documentation and 6to4.
const V6_RESERVED: [&str; 6] =
    ["::/3", "2001::/32", "2001:db8::/32", "2002::/16", "4000::/2", "8000::/1"];

/// Writes both files into `to`; `sources` are IPv4 and IPv6.
pub(crate) fn run(sources: &[Source; 2], to: &Path) -> Result<()> {
    fs::write(to.join("countries.txt"), countries(&sources[0]))?;
    let (sites, sites_of) = Sites::of(sources);
    let prune = |family: usize, nodes_max, reserved| -> Result<Pruned> {
        let mut pruner = Pruner::new(&sources[family], &sites, &sites_of[family]);
        Ok(pruner.prune(nodes_max, &parse_reserved(reserved)?))
    };
    let v4 = prune(0, V4_NODES_MAX, &V4_RESERVED)?;
    let v6 = prune(1, V6_NODES_MAX, &V6_RESERVED)?;
    let mut tree = Tree::default();
    let records = tree.join(&v4, &v6, &sites)?;
    let about = Description {
        database_type: "Pinfold-City".into(),
        text: "IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0, reduced for Pinfold".into(),
        build_epoch: sources[0].build_epoch,
        ip_version: 6,
    };
    let file = write(&about, &tree.nodes, &records)?;
    println!("{} nodes, {} records, {} bytes", tree.nodes.len(), records.len(), file.len());
    ensure!(file.len() <= FILE_BYTES_MAX, "the file is larger than {FILE_BYTES_MAX} bytes");
    Ok(fs::write(to.join("world.mmdb"), file)?)
}

fn parse_reserved(list: &[&str]) -> Result<Vec<Reserved>> {
    let list = list
        .iter()
        .map(|text| {
            let (first, len) = text.split_once('/').context("no prefix length")?;
            let bits = match first.parse()? {
                IpAddr::V4(first) => u128::from(first.to_bits()) << 96,
                IpAddr::V6(first) => first.to_bits(),
            };
            Ok(Reserved { bits, prefix_len: len.parse()? })
        })
        .collect::<Result<Vec<Reserved>>>()?;
    ensure!(list.is_sorted_by_key(|of| of.bits), "reserved networks out of order");
    Ok(list)
}

/// One tree for both families, its root first.
#[derive(Default)]
struct Tree {
    nodes: Vec<[Branch; 2]>,
    /// Record of each site that is used.
    record_of: BTreeMap<u32, u32>,
}

impl Tree {
    /// Puts IPv4 below `::/96`, and as an alias below `::ffff:0:0/96`, where other readers look for
    /// it. The records.
    fn join(&mut self, v4: &Pruned, v6: &Pruned, sites: &Sites) -> Result<Vec<Value>> {
        let root = self.copy(v6, v6.root)?;
        ensure!(root == Branch::Node(0), "IPv6 has no tree");
        let v4_root = self.copy(v4, v4.root)?;
        for (bits, len) in [(0, 96), (0xffff << 32, 96)] {
            self.graft(bits, len, v4_root)?;
        }
        let mut records = vec![Value::U16(0); self.record_of.len()];
        for (site, record) in &self.record_of {
            records[*record as usize] = record_value(&sites.list[*site as usize]);
        }
        Ok(records)
    }

    /// Copies the nodes below `from` in clusters of neighbours, so that a look-up meets few cache
    /// lines.
    fn copy(&mut self, pruned: &Pruned, from: Branch) -> Result<Branch> {
        let root = self.leaf_or(from, |tree| tree.nodes.len())?;
        let mut clusters = vec![(from, None)];
        while let Some(first) = clusters.pop() {
            let end = self.nodes.len() + CLUSTER_NODES;
            let mut waiting = VecDeque::from([first]);
            while let Some((branch, parent)) = waiting.pop_front() {
                let Branch::Node(index) = branch else { continue };
                if self.nodes.len() == end {
                    clusters.push((branch, parent));
                    continue;
                }
                let at = self.nodes.len();
                self.nodes.push([Branch::Empty; 2]);
                if let Some((parent, side)) = parent {
                    let parent: &mut [Branch; 2] = &mut self.nodes[parent];
                    parent[side] = Branch::Node(u32::try_from(at)?);
                }
                for (side, branch) in pruned.nodes[index as usize].into_iter().enumerate() {
                    self.nodes[at][side] = self.leaf_or(branch, |_| at)?;
                    waiting.push_back((branch, Some((at, side))));
                }
            }
        }
        Ok(root)
    }

    /// What stands for `branch` in this tree; for a node, the one `node` names.
    fn leaf_or(&mut self, branch: Branch, node: impl Fn(&Self) -> usize) -> Result<Branch> {
        Ok(match branch {
            Branch::Empty => Branch::Empty,
            Branch::Record(site) => {
                let next = u32::try_from(self.record_of.len())?;
                Branch::Record(*self.record_of.entry(site).or_insert(next))
            }
            Branch::Node(_) => Branch::Node(u32::try_from(node(self))?),
        })
    }

    fn graft(&mut self, bits: u128, len: u8, branch: Branch) -> Result<()> {
        let mut at = 0;
        for depth in 0..len {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == len {
                self.nodes[at][side] = branch;
                break;
            }
            if self.nodes[at][side] == Branch::Empty {
                self.nodes.push([Branch::Empty; 2]);
                self.nodes[at][side] = Branch::Node(u32::try_from(self.nodes.len() - 1)?);
            }
            let Branch::Node(next) = self.nodes[at][side] else {
                anyhow::bail!("a record in ::/8")
            };
            at = next as usize;
        }
        Ok(())
    }
}

/// In the layout of `GeoLite2-City`, so that any reader of that understands it.
fn record_value(site: &Site) -> Value {
    let rounded = |degrees: f64| Value::Double((degrees * 100.0).round() / 100.0);
    let (latitude, longitude) = (rounded(site.place.latitude()), rounded(site.place.longitude()));
    let mut members =
        vec![("location", Value::Map(vec![("latitude", latitude), ("longitude", longitude)]))];
    if let Some(country) = site.country {
        let text = |text: &str| Value::Text(text.to_owned());
        let value = Value::Map(vec![("iso_code", text(&country.to_string()))]);
        members.push(("country", Value::Shared(Box::new(value))));
        if let Some(continent) = continents::of(country) {
            let value = Value::Map(vec![("code", text(continent))]);
            members.push(("continent", Value::Shared(Box::new(value))));
        }
    }
    Value::Map(members)
}

/// The table of countries: the mean place of the addresses of each.
fn countries(source: &Source) -> String {
    assert!(source.family == Family::V4, "the table is made of IPv4");
    let mut spots: BTreeMap<Country, Vec<(Place, f64)>> = BTreeMap::new();
    for spot in &source.spots {
        if let Some(country) = spot.country {
            spots.entry(country).or_default().push((spot.place, spot.weight));
        }
    }
    let mut text = String::from(
        "# Country, continent, latitude and longitude of the mean place of its IPv4 addresses.\n\
         # Made by examples/world of DB-IP City Lite (https://db-ip.com, CC BY 4.0).\n",
    );
    for (country, spots) in spots {
        match (continents::of(country), Place::mean(spots)) {
            (Some(continent), Some(mean)) => {
                let (latitude, longitude) = (mean.latitude(), mean.longitude());
                writeln!(text, "{country} {continent} {latitude:.2} {longitude:.2}")
                    .expect("writing to a String does not fail");
            }
            (continent, _) => eprintln!("left out: {country}, continent {continent:?}"),
        }
    }
    text
}
