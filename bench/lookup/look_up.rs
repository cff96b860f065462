//! What it costs to find the route of a session.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sluice::route::l4::Ask;

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("l4 look-up");
    for routes in [10, 10_000] {
        let table = lookup::table(routes);
        let mut each = |name: &str, asks: Vec<Ask>| {
            let mut asks = asks.iter().cycle();
            group.bench_function(BenchmarkId::new(name, routes), |bencher| {
                bencher.iter(|| black_box(asks.next().and_then(|ask| table.find(ask))));
            });
        };
        each("a route of its own", lookup::asks(routes));
        each("the last route", lookup::strangers());
    }
    group.finish();
}

criterion_group!(benches, find);
criterion_main!(benches);
