//! The naive oracle and data to try it on.

use ndarray::{Array2, ArrayView2};
use proptest::prelude::ProptestConfig;
use rust_kmeans_core::{Algorithm, Element, Isa, Params, ValidParams};

/// Labels by their definition: float64, sequential, ties to the lowest index.
pub(crate) fn labels<T: Element>(data: ArrayView2<'_, T>, centers: ArrayView2<'_, T>) -> Vec<i32> {
    let distance = |x: ndarray::ArrayView1<'_, T>, c: ndarray::ArrayView1<'_, T>| {
        let mut sum = 0.0_f64;
        for (&x, &c) in x.iter().zip(c) {
            let difference: f64 = x.into() - c.into();
            sum += difference * difference;
        }
        sum
    };
    data.rows()
        .into_iter()
        .map(|x| {
            let mut best = 0;
            for c in 1..centers.nrows() {
                if distance(x, centers.row(c)) < distance(x, centers.row(best)) {
                    best = c;
                }
            }
            i32::try_from(best).expect("few centers")
        })
        .collect()
}

/// Weighted sums and counts in plain float64.
pub(crate) fn sums<T: Element>(
    data: ArrayView2<'_, T>,
    labels: &[i32],
    k: usize,
    weights: Option<&[f64]>,
) -> (Array2<f64>, Vec<f64>) {
    let (mut sums, mut counts) = (Array2::zeros((k, data.ncols())), vec![0.0; k]);
    for (i, (x, &label)) in data.rows().into_iter().zip(labels).enumerate() {
        let label = usize::try_from(label).expect("assigned");
        let weight = weights.map_or(1.0, |weights| weights[i]);
        counts[label] += weight;
        for (sum, &x) in sums.row_mut(label).iter_mut().zip(x) {
            let x: f64 = x.into();
            *sum += x * weight;
        }
    }
    (sums, counts)
}

/// Checked parameters.
pub(crate) fn params(isa: Option<Isa>, n_threads: usize, max_iter: usize) -> ValidParams {
    Params {
        max_iter,
        tol: 0.0,
        n_threads: Some(n_threads),
        isa,
        ..Params::default()
    }
    .check()
    .expect("valid parameters")
}

/// The same with an algorithm.
pub(crate) fn params_of(
    algorithm: Algorithm,
    isa: Option<Isa>,
    n_threads: usize,
    max_iter: usize,
) -> ValidParams {
    Params {
        max_iter,
        algorithm,
        n_threads: Some(n_threads),
        isa,
        ..Params::default()
    }
    .check()
    .expect("valid parameters")
}

/// How a property test runs: on so many cases, unless `PROPTEST_CASES` says how many (memcheck wants few).
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { usual },
        failure_persistence: None,
        ..default
    }
}

/// Never interrupts.
pub(crate) fn go_on() -> impl FnMut() -> bool {
    || false
}

/// Reproducible noise in [-1, 1).
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut random = rust_kmeans_core::Random::new(seed);
    move || random.unit() * 2.0 - 1.0
}

/// Overlapping clusters of noise.
pub(crate) fn blobs<T: Element>(n: usize, d: usize, blobs: usize, seed: u64) -> Array2<T> {
    let mut noise = noise(seed);
    let places = Array2::from_shape_fn((blobs, d), |_| noise() * 3.0);
    Array2::from_shape_fn((n, d), |(i, j)| {
        T::from_f64(places[(i % blobs, j)] + noise())
    })
}

/// The bits of an array.
pub(crate) fn bits<T: Element>(array: &Array2<T>) -> Vec<u64> {
    array
        .iter()
        .map(|&x| Into::<f64>::into(x).to_bits())
        .collect()
}
