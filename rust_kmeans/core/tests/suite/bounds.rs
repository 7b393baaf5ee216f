//! Bounds never change a result: every algorithm gives the bits of the dense one, at every iteration.

use crate::common;
use ndarray::{Array2, ShapeBuilder, s};
use proptest::prelude::*;
use rust_kmeans_core::{Algorithm, Element, Error, Isa, Rows, lloyd};

type Outcome = (Vec<u64>, Vec<i32>, u64, usize, bool);

fn fit<T: Element>(
    rows: Rows<'_, T>,
    start: &Array2<T>,
    weights: Option<&[f64]>,
    algorithm: Algorithm,
    (isa, threads, max_iter): (Isa, usize, usize),
) -> (Outcome, Algorithm) {
    let params = common::params_of(algorithm, Some(isa), threads, max_iter);
    let fit =
        lloyd(rows, start.view(), weights, &params, &mut common::go_on()).expect("valid input");
    let outcome = (
        common::bits(&fit.centers),
        fit.labels,
        fit.inertia.to_bits(),
        fit.n_iter,
        fit.strict,
    );
    (outcome, fit.algorithm)
}

/// Every algorithm on every instruction set, stopped after each of some numbers of iterations, against the dense one.
fn check<T: Element>(data: &Array2<T>, start: &Array2<T>, weights: Option<&[f64]>, most: usize) {
    let rows = Rows::new(data.view());
    for max_iter in (1..=most).chain([300]) {
        let how = (Isa::Scalar, 1, max_iter);
        let (expected, used) = fit(rows, start, weights, Algorithm::Lloyd, how);
        assert_eq!(used, Algorithm::Lloyd);
        for isa in Isa::available() {
            for algorithm in [
                Algorithm::Lloyd,
                Algorithm::Hamerly,
                Algorithm::Yinyang,
                Algorithm::Auto,
            ] {
                let (found, _) = fit(rows, start, weights, algorithm, (isa, 1, max_iter));
                assert!(
                    found == expected,
                    "{} {} {} {:?} {max_iter}",
                    algorithm.name(),
                    isa.name(),
                    T::NAME,
                    data.dim()
                );
            }
        }
    }
}

fn check_both(data: &Array2<f64>, start: &Array2<f64>, weights: Option<&[f64]>, most: usize) {
    check(data, start, weights, most);
    check(
        &data.mapv(f32::from_f64),
        &start.mapv(f32::from_f64),
        weights,
        most,
    );
}

proptest! {
    #![proptest_config(common::cases(40))]

    #[test]
    fn every_algorithm_gives_the_labels_of_the_dense_one_at_every_iteration(
        seed in any::<u64>(), n in 20_usize..300, (d, k) in prop_oneof![4 => (1_usize..20, 1_usize..20), 1 => (64_usize..120, 2_usize..5),
            1 => (64_usize..120, 8_usize..40), 1 => (64_usize..120, 48_usize..70)],
        kind in 0_u8..6, weighted in any::<bool>(),
    ) {
        let mut noise = common::noise(seed);
        let data = common::blobs::<f64>(n, d, 5, seed);
        let data = match kind {
            // Ties and duplicates.
            0 => data.mapv(f64::round),
            // Far from the origin, close together.
            1 => data.mapv(|x| 1000.0 + x * 1e-3),
            2 => data * 1e30,
            3 => data * 1e-30,
            // An outlier.
            4 => {
                let mut data = data;
                data[(0, 0)] = 1e17;
                data
            }
            _ => data,
        };
        let k = k.min(n);
        let start = data.slice(s![n - k.., ..]).to_owned();
        let weights: Vec<_> = (0..n).map(|_| (noise() * 2.0).max(0.0) + 1e-6).collect();
        check_both(&data, &start, weighted.then_some(&weights), 4);
    }
}

#[test]
fn tiny_and_huge_numbers_are_bounded_as_well() {
    let data = common::blobs::<f64>(300, 3, 4, 5);
    for size in [1e-160, 1e-154, 1e-150, 1e120] {
        let data = &data * size;
        check(&data, &data.slice(s![..7, ..]).to_owned(), None, 3);
    }
    for size in [1e-22, 1e-19, 1e-17, 1e17, 1e19] {
        let data = (&data * size).mapv(f32::from_f64);
        check(&data, &data.slice(s![..7, ..]).to_owned(), None, 3);
    }
}

#[test]
fn relocated_centers_break_the_bounds_of_their_cluster() {
    // Centers 3 and 4 are empty at first: they take the samples farthest from their centers.
    let data = common::blobs::<f64>(400, 4, 3, 6);
    let mut start = data.slice(s![..5, ..]).to_owned();
    start.slice_mut(s![3.., ..]).fill(1e6);
    check_both(&data, &start, None, 5);
}

#[test]
fn tables_larger_than_registers_are_looked_up() {
    let data = common::blobs::<f64>(2000, 3, 40, 7);
    for k in [8, 9, 16, 17, 32, 33, 150] {
        check_both(&data, &data.slice(s![..k, ..]).to_owned(), None, 2);
    }
}

#[test]
fn noise_among_many_centers_moves_for_many_iterations() {
    // Gaps are small everywhere, and labels change late: margins that are too large would show.
    let mut noise = common::noise(9);
    let data = Array2::from_shape_simple_fn((3000, 65), || noise() - 0.5);
    for k in [48, 70] {
        check_both(&data, &data.slice(s![..k, ..]).to_owned(), None, 3);
    }
    for size in [1e-25, 1e-17, 1e-9, 1e-8, 1e15, 1e17] {
        let data = (&data.slice(s![..500, ..]) * size).mapv(f32::from_f64);
        check(&data, &data.slice(s![..50, ..]).to_owned(), None, 2);
    }
}

#[test]
fn threads_and_strides_do_not_matter_with_bounds() {
    let data = common::blobs::<f32>(20_000, 7, 6, 8);
    let start = data.slice(s![..8, ..]).to_owned();
    let mut fortran = Array2::zeros(data.dim().f());
    fortran.assign(&data);
    let mut wide = Array2::zeros((20_000, 11));
    wide.slice_mut(s![.., 2..9]).assign(&data);
    let views = [data.view(), fortran.view(), wide.slice(s![.., 2..9])];
    let how = (Isa::Scalar, 1, 30);
    let (expected, _) = fit(Rows::new(data.view()), &start, None, Algorithm::Lloyd, how);
    for isa in Isa::available() {
        for threads in [1, 2, 5] {
            for view in views {
                let how = (isa, threads, 30);
                let (found, used) = fit(Rows::new(view), &start, None, Algorithm::Auto, how);
                assert!(found == expected, "{isa:?} {threads}");
                assert_eq!(used, Algorithm::Hamerly);
            }
        }
    }
}

#[test]
fn an_algorithm_is_known_by_its_name() {
    for algorithm in [
        Algorithm::Auto,
        Algorithm::Lloyd,
        Algorithm::Hamerly,
        Algorithm::Yinyang,
    ] {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
    }
    assert!(matches!(
        "elkan".parse::<Algorithm>(),
        Err(Error::Parameter {
            name: "algorithm",
            ..
        })
    ));
}
