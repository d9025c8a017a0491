//! The smallest tree for a given loss.
//!
//! A subtree becomes one leaf if what that loses, in weight of addresses that would be told a place
//! too far off, is less than the price of the nodes it saves. With one price for all nodes, found
//! by bisection, this gives the least loss of all trees of its size whose leaves have the best site
//! we consider.

use geoip::writer::Branch;

use crate::sites::Sites;
use crate::source::{Network, Source};

/// A leaf may be so far from the site that it stands for. The spots of a site lie up to 40 km off.
const NEAR_KM: f64 = 280.0;

/// Radius of the Earth, in kilometres.
const EARTH_KM: f64 = 6_371.0;

/// Part of an address's weight that is lost when its country is wrong, though its place is near.
const COUNTRY_SHARE: f32 = 0.05;

/// Sites of a subtree that are considered, the heaviest; all others count as lost.
const ITEMS_MAX: usize = 24;

/// Addresses that must have no record: the caller knows better where they are.
pub(crate) struct Reserved {
    pub(crate) bits: u128,
    pub(crate) prefix_len: u8,
}

/// A pruned tree.
pub(crate) struct Pruned {
    /// The nodes, children before their parents.
    pub(crate) nodes: Vec<[Branch; 2]>,
    /// Where the tree begins.
    pub(crate) root: Branch,
}

/// Prunes the tree of a source.
pub(crate) struct Pruner<'a> {
    source: &'a Source,
    sites: &'a Sites,
    site_of: &'a [u32],
    near_cosine: f32,
    /// Weight that may be lost to save a node.
    price: f64,
    nodes: Vec<[Branch; 2]>,
}

/// A part of the address space, not yet looked at.
#[derive(Clone, Copy)]
struct Part<'a> {
    bits: u128,
    depth: u8,
    networks: &'a [Network],
    reserved: &'a [Reserved],
}

/// The subtree of a part.
struct Subtree {
    root: Branch,
    /// Price of its nodes and weight lost in it.
    cost: f64,
    /// Sum of the weights of its addresses.
    weight: f64,
    /// Sites with their weights, the heaviest first.
    items: Vec<(u32, f32)>,
    /// It holds reserved addresses, so it must not become a leaf.
    reserved: bool,
}

impl<'a> Pruner<'a> {
    pub(crate) fn new(source: &'a Source, sites: &'a Sites, site_of: &'a [u32]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "0.5 km are precise enough here")]
        let near_cosine = (NEAR_KM / EARTH_KM).cos() as f32;
        Self { source, sites, site_of, near_cosine, price: 0.0, nodes: vec![] }
    }

    /// The tree of at most `nodes_max` nodes with about the least loss; `reserved` is sorted.
    pub(crate) fn prune(&mut self, nodes_max: usize, reserved: &[Reserved]) -> Pruned {
        let total: f64 = self.source.spots.iter().map(|spot| spot.weight).sum();
        // Prices are searched on a scale of powers of two.
        let (mut low, mut high) = ((total * 1e-12).log2(), (total * 1e-3).log2());
        let mut best = None;
        for _ in 0..14 {
            let middle = f64::midpoint(low, high);
            self.price = middle.exp2();
            let pruned = self.once(reserved);
            let fits = pruned.nodes.len() <= nodes_max;
            eprintln!(
                "{:?}: price {:.3e}, {} nodes",
                self.source.family,
                self.price,
                pruned.nodes.len()
            );
            if fits {
                high = middle;
                let tight = pruned.nodes.len() * 1000 > nodes_max * 997;
                best = Some(pruned);
                if tight {
                    break;
                }
            } else {
                low = middle;
            }
        }
        best.expect("the highest price leaves next to no nodes")
    }

    fn once(&mut self, reserved: &[Reserved]) -> Pruned {
        self.nodes.clear();
        let networks = &self.source.networks;
        let whole = self.solve(Part { bits: 0, depth: 0, networks, reserved });
        Pruned { nodes: std::mem::take(&mut self.nodes), root: whole.root }
    }

    fn solve(&mut self, part: Part<'_>) -> Subtree {
        if part.reserved.iter().any(|of| of.prefix_len <= part.depth) {
            return Subtree { reserved: true, ..Subtree::empty() };
        }
        match part.networks {
            [] if part.reserved.is_empty() => Subtree::empty(),
            [one] if one.prefix_len <= part.depth && part.reserved.is_empty() => {
                self.leaf(*one, part.depth)
            }
            _ => self.branch(part),
        }
    }

    fn leaf(&self, network: Network, depth: u8) -> Subtree {
        let site = self.site_of[network.spot as usize];
        let halvings = f64::from(depth - network.prefix_len);
        let weight = self.source.family.weight(network.prefix_len) * (-halvings).exp2();
        #[expect(clippy::cast_possible_truncation, reason = "a weight need not be exact")]
        let items = vec![(site, weight as f32)];
        Subtree { root: Branch::Record(site), cost: 0.0, weight, items, reserved: false }
    }

    fn branch(&mut self, part: Part<'_>) -> Subtree {
        let mark = self.nodes.len();
        let [left, right] = part.halves().map(|half| self.solve(half));
        let reserved = left.reserved || right.reserved;
        let weight = left.weight + right.weight;
        let kept = left.cost + right.cost + self.price;
        if left.root == Branch::Empty && right.root == Branch::Empty {
            return Subtree { reserved, ..Subtree::empty() };
        }
        let items = merged(&left.items, &right.items);
        if !reserved {
            let (site, held) = self.best_site(&items);
            let lost = weight - f64::from(held);
            if lost <= kept {
                self.nodes.truncate(mark);
                return Subtree { root: Branch::Record(site), cost: lost, weight, items, reserved };
            }
        }
        self.nodes.push([left.root, right.root]);
        let root =
            Branch::Node(u32::try_from(self.nodes.len() - 1).expect("fewer nodes than 2^32"));
        Subtree { root, cost: kept, weight, items, reserved }
    }

    /// The site that is near to the most of the weight of `items`, and that weight.
    fn best_site(&self, items: &[(u32, f32)]) -> (u32, f32) {
        let mut best = (items[0].0, 0.0);
        for &(candidate, _) in items {
            let mut held = 0.0;
            for &(site, weight) in items {
                if self.sites.near(candidate, site, self.near_cosine) {
                    let same = self.sites.country(candidate) == self.sites.country(site);
                    held += weight * if same { 1.0 } else { 1.0 - COUNTRY_SHARE };
                }
            }
            if held > best.1 {
                best = (candidate, held);
            }
        }
        best
    }
}

impl<'a> Part<'a> {
    fn halves(self) -> [Self; 2] {
        let depth = self.depth + 1;
        let middle = self.bits | 1 << (127 - self.depth);
        if let [one] = self.networks
            && one.prefix_len <= self.depth
        {
            // Larger than this part, which is cut only because of what is reserved in it.
            let [left, right] = split(self.reserved, |of| of.bits < middle);
            let half = |bits, reserved| Part { bits, depth, networks: self.networks, reserved };
            return [half(self.bits, left), half(middle, right)];
        }
        let [low, high] = split(self.networks, |of| of.bits < middle);
        let [left, right] = split(self.reserved, |of| of.bits < middle);
        [
            Part { bits: self.bits, depth, networks: low, reserved: left },
            Part { bits: middle, depth, networks: high, reserved: right },
        ]
    }
}

fn split<T>(list: &[T], is_low: impl Fn(&T) -> bool) -> [&[T]; 2] {
    let (low, high) = list.split_at(list.partition_point(is_low));
    [low, high]
}

impl Subtree {
    fn empty() -> Self {
        Self { root: Branch::Empty, cost: 0.0, weight: 0.0, items: vec![], reserved: false }
    }
}

/// The sites of both lists, the heaviest first.
fn merged(a: &[(u32, f32)], b: &[(u32, f32)]) -> Vec<(u32, f32)> {
    let mut all = a.to_vec();
    for &(site, weight) in b {
        match all.iter_mut().find(|(of, _)| *of == site) {
            Some((_, sum)) => *sum += weight,
            None => all.push((site, weight)),
        }
    }
    all.sort_unstable_by(|(_, a), (_, b)| b.total_cmp(a));
    all.truncate(ITEMS_MAX);
    all
}
