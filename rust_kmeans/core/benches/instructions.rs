//! Instructions executed by fits, seeding, `assign_block` and `predict`, counted by Callgrind: the same number each
//! time, on a busy machine too, so that a change of the code shows as a change of a count. Run by `make instructions`.
//!
//! Valgrind has no AVX-512, so the counts are of the fastest of the other instruction sets. One thread: which thread
//! takes which rows is not defined. A count is no time: memory and the width of a port are not in it.

#![expect(
    missing_docs,
    reason = "the framework writes items of its own around each function"
)]

use std::hint::black_box;

use gungraun::{
    Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use ndarray::Array2;
use rust_kmeans_core::{
    Algorithm, Element, Fit, Isa, Params, Partial, Pool, Random, Rows, Seeds, ValidParams,
    assign_block, kmeans_plusplus, lloyd, predict,
};

/// Samples, features, clusters.
type Shape = (usize, usize, usize);

const NARROW: Shape = (20_000, 2, 8);
const USUAL: Shape = (20_000, 10, 10);
const SQUARE: Shape = (4_000, 64, 64);
const WIDE: Shape = (1_000, 784, 10);
const MANY: Shape = (1_000, 256, 64);

/// Input of one count, made outside of it.
struct Case<T> {
    data: Array2<T>,
    start: Array2<T>,
    params: ValidParams,
    pool: Pool,
    isa: Isa,
}

/// Blobs, half as many as clusters, and some of their rows to start from: centers that share a blob move on for more
/// iterations than are counted.
fn case<T: Element>((n, d, k): Shape, algorithm: Algorithm) -> Case<T> {
    let mut random = Random::new(0);
    let blobs = k / 2;
    let places = Array2::from_shape_fn((blobs, d), |_| random.unit() * 3.0);
    let data = Array2::from_shape_fn((n, d), |(i, j)| {
        T::from_f64(places[(i % blobs, j)] + random.unit())
    });
    let isa = Isa::available()
        .into_iter()
        .rfind(|&isa| !matches!(isa, Isa::Avx512 | Isa::Avx512Vnni))
        .unwrap_or(Isa::Scalar);
    let params = Params {
        max_iter: 10,
        algorithm,
        n_threads: Some(1),
        isa: Some(isa),
        ..Params::default()
    };
    Case {
        start: data.slice(ndarray::s![..k, ..]).to_owned(),
        data,
        params: params.check().expect("valid parameters"),
        pool: Pool::new(1).expect("one thread needs no pool"),
        isa,
    }
}

fn of_shape<T: Element>(shape: Shape) -> Case<T> {
    case(shape, Algorithm::Auto)
}

fn fit<T: Element>(case: &Case<T>) -> Fit<T> {
    let Case {
        data,
        start,
        params,
        ..
    } = black_box(case);
    lloyd(
        Rows::new(data.view()),
        start.view(),
        None,
        params,
        &mut || false,
    )
    .expect("valid input")
}

#[library_benchmark(setup = case)]
#[bench::dense_narrow(NARROW, Algorithm::Lloyd)]
#[bench::dense_usual(USUAL, Algorithm::Lloyd)]
#[bench::dense_square(SQUARE, Algorithm::Lloyd)]
#[bench::dense_wide(WIDE, Algorithm::Lloyd)]
#[bench::bounded_narrow(NARROW, Algorithm::Hamerly)]
#[bench::bounded_usual(USUAL, Algorithm::Hamerly)]
#[bench::bounded_square(SQUARE, Algorithm::Hamerly)]
#[bench::bounded_wide(WIDE, Algorithm::Hamerly)]
#[bench::grouped_many(MANY, Algorithm::Yinyang)]
#[bench::auto_usual(USUAL, Algorithm::Auto)]
#[bench::auto_square(SQUARE, Algorithm::Auto)]
fn fit_float32(case: Case<f32>) -> Fit<f32> {
    fit(&case)
}

#[library_benchmark(setup = case)]
#[bench::dense_usual(USUAL, Algorithm::Lloyd)]
#[bench::dense_square(SQUARE, Algorithm::Lloyd)]
#[bench::bounded_usual(USUAL, Algorithm::Hamerly)]
#[bench::bounded_square(SQUARE, Algorithm::Hamerly)]
fn fit_float64(case: Case<f64>) -> Fit<f64> {
    fit(&case)
}

#[library_benchmark(setup = of_shape)]
#[bench::narrow(NARROW)]
#[bench::usual(USUAL)]
#[bench::wide(WIDE)]
fn seeding(case: Case<f32>) -> Seeds<f32> {
    let Case {
        data,
        start,
        params,
        ..
    } = black_box(&case);
    kmeans_plusplus(
        Rows::new(data.view()),
        start.nrows(),
        None,
        0,
        None,
        params,
        &mut || false,
    )
    .expect("valid input")
}

#[library_benchmark(setup = of_shape)]
#[bench::usual(USUAL)]
#[bench::square(SQUARE)]
fn block(case: Case<f32>) -> (Vec<i32>, Partial) {
    let Case {
        data,
        start,
        pool,
        isa,
        ..
    } = black_box(&case);
    assign_block(
        Rows::new(data.view()),
        start.view(),
        None,
        None,
        true,
        (pool, *isa),
    )
    .expect("valid input")
}

#[library_benchmark(setup = of_shape)]
#[bench::usual(USUAL)]
#[bench::square(SQUARE)]
fn labels(case: Case<f32>) -> Vec<i32> {
    let Case {
        data,
        start,
        pool,
        isa,
        ..
    } = black_box(&case);
    predict(Rows::new(data.view()), start.view(), (pool, *isa)).expect("valid input")
}

library_benchmark_group!(
    name = kernel,
    benchmarks = [fit_float32, fit_float64, seeding, block, labels]
);
main!(
    // Instructions alone: a model of caches depends on the machine's.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = kernel
);
