//! Choosing a backend for a new meeting, by the score, with distances.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use geoip::Place;
use pinfold::model::{BackendId, Draws, Labels, Legs};
use pinfold::policy::choose::{Candidate, Chooser, Profile, Request, Rules, Standing, key_of};
use pinfold::policy::load::Load;

fn any_place(draws: &mut Draws) -> Option<Place> {
    Place::from_degrees(draws.fraction() * 120.0 - 60.0, draws.fraction() * 360.0 - 180.0)
}

fn any_backend(index: usize, draws: &mut Draws) -> (Profile, Standing, Load) {
    let id = BackendId::parse(&format!("kms-{index}")).expect("letters and digits");
    let mut profile = Profile::new(id);
    profile.place = any_place(draws);
    let is_open = draws.below(10) > 0;
    let standing = if is_open { Standing::Open } else { Standing::Unhealthy };
    let used = Legs(u32::try_from(draws.below(400)).expect("below 400"));
    (profile, standing, Load::of_legs(used, Legs(400)))
}

fn choose_among(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/choose");
    for count in [10, 1_000] {
        let mut draws = Draws::seeded(1);
        let fleet: Vec<_> = (0..count).map(|index| any_backend(index, &mut draws)).collect();
        let rules = Rules::default();
        let mut chooser = Chooser::default();
        for is_placed in [true, false] {
            let place = any_place(&mut draws).filter(|_| is_placed);
            let demands = Labels::default();
            let mut request =
                Request { key: key_of("standup"), place, reserve: Legs(4), demands, turn: 0 };
            let what = if is_placed { "placed" } else { "of no place" };
            let name = BenchmarkId::from_parameter(format!("{count} backends, {what}"));
            group.bench_function(name, |b| {
                b.iter(|| {
                    request.key = draws.next();
                    let candidates = fleet.iter().map(|(profile, standing, load)| Candidate {
                        profile,
                        standing: *standing,
                        load: *load,
                    });
                    black_box(chooser.choose(black_box(&request), &rules, candidates))
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, choose_among);
criterion_main!(benches);
