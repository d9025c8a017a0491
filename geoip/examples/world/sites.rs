//! Few sites that stand for the many spots of the full database.

use std::collections::HashMap;

use geoip::{Country, Place};

use crate::source::{Source, Spot};

/// A spot this near to a site of its country becomes part of it.
const JOIN_KM: f64 = 40.0;

/// Places that stand for all spots.
pub(crate) struct Sites {
    pub(crate) list: Vec<Site>,
    /// Unit vectors of `list`, of single precision: the tool compares very many of them.
    vectors: Vec<[f32; 3]>,
}

/// A place that stands for spots around it.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    pub(crate) place: Place,
    pub(crate) country: Option<Country>,
}

impl Sites {
    /// Makes sites of the spots of `sources`, the heaviest first. The site of each spot, by source.
    pub(crate) fn of(sources: &[Source]) -> (Self, Vec<Vec<u32>>) {
        let mut order: Vec<(usize, usize, Spot)> = vec![];
        for (of, source) in sources.iter().enumerate() {
            let total: f64 = source.spots.iter().map(|spot| spot.weight).sum();
            for (index, spot) in source.spots.iter().enumerate() {
                order.push((of, index, Spot { weight: spot.weight / total, ..*spot }));
            }
        }
        order.sort_by(|(_, _, a), (_, _, b)| b.weight.total_cmp(&a.weight));
        let mut growing = Growing::default();
        let mut sites_of: Vec<Vec<u32>> =
            sources.iter().map(|source| vec![0; source.spots.len()]).collect();
        for (of, index, spot) in order {
            sites_of[of][index] = growing.site_of(&spot);
        }
        let vectors = growing.list.iter().map(|site| vector(site.place)).collect();
        (Self { list: growing.list, vectors }, sites_of)
    }

    /// Whether two sites lie within the distance whose cosine, on the unit sphere, is `cosine`.
    pub(crate) fn near(&self, a: u32, b: u32, cosine: f32) -> bool {
        let (a, b) = (self.vectors[a as usize], self.vectors[b as usize]);
        a[0] * b[0] + a[1] * b[1] + a[2] * b[2] >= cosine
    }

    pub(crate) fn country(&self, site: u32) -> Option<Country> {
        self.list[site as usize].country
    }
}

#[expect(clippy::cast_possible_truncation, reason = "0.5 km are precise enough here")]
fn vector(place: Place) -> [f32; 3] {
    place.unit_vector().map(|part| part as f32)
}

/// Sites as they are made, found by the cell of a grid.
#[derive(Default)]
struct Growing {
    list: Vec<Site>,
    cells: HashMap<(i64, i64), Vec<u32>>,
}

impl Growing {
    fn site_of(&mut self, spot: &Spot) -> u32 {
        let (row, column) = cell(spot.place);
        // Cells of half a degree are 55 km high; towards the poles, where they are narrow, a spot
        // may miss a site that is near enough, and becomes one of its own.
        for row in row - 1..=row + 1 {
            for column in column - 2..=column + 2 {
                for &site in self.cells.get(&(row, column)).map_or(&[][..], Vec::as_slice) {
                    let of = &self.list[site as usize];
                    if of.country == spot.country && of.place.distance_km(spot.place) <= JOIN_KM {
                        return site;
                    }
                }
            }
        }
        let site = u32::try_from(self.list.len()).expect("fewer sites than 2^32");
        self.list.push(Site { place: spot.place, country: spot.country });
        self.cells.entry((row, column)).or_default().push(site);
        site
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most 720 cells")]
fn cell(place: Place) -> (i64, i64) {
    let index = |degrees: f64| (degrees * 2.0).floor() as i64;
    (index(place.latitude()), index(place.longitude()))
}
