//! Choosing a backend for a new meeting.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use pinfold::model::{Draws, Legs};
use pinfold::policy::choose::{Candidate, choose};

fn choose_among(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/choose");
    for count in [10, 1_000] {
        let mut draws = Draws::seeded(1);
        let fleet: Vec<Candidate> = (0..count)
            .map(|_| Candidate {
                takes_pins: draws.below(10) > 0,
                load: Legs(u32::try_from(draws.below(400)).expect("below 400")),
                capacity: Legs(400),
            })
            .collect();
        group.bench_function(BenchmarkId::from_parameter(format!("{count} backends")), |b| {
            b.iter(|| choose(black_box(&fleet), Legs(4), 0.05, draws.next()));
        });
    }
    group.finish();
}

criterion_group!(benches, choose_among);
criterion_main!(benches);
