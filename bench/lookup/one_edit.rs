//! What it costs to build the snapshot of one edit.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use lookup::{Hall, Reader};

/// The changed route is read already; what is measured stores, compiles and links it.
fn edit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build of one edit");
    let reader = Reader::new();
    for routes in [10, 10_000, 100_000] {
        let mut hall = Hall::new(&reader, routes);
        let mut turn = 0_u32;
        let mut next = || {
            turn = turn.wrapping_add(1);
            // in no order, so that caches do not tell the answer
            reader.route(turn.wrapping_mul(2_654_435_761) % routes, turn)
        };
        group.bench_function(BenchmarkId::from_parameter(routes), |bencher| {
            bencher.iter_batched(&mut next, |route| assert_eq!(hall.apply([route]), 1), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, edit);
criterion_main!(benches);
