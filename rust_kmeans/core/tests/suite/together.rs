//! Runs that share passes give the bits of runs made one after the other.

use crate::common;
use ndarray::{Array2, ArrayView2, s};
use proptest::prelude::*;
use rust_kmeans_core::{Algorithm, Element, Error, Fit, Params, Problem, Rows, ValidParams};

type Outcome = (Vec<u64>, Vec<i32>, u64, usize, bool, Algorithm);

fn outcome<T: Element>(fit: &Fit<T>) -> Outcome {
    (
        common::bits(&fit.centers),
        fit.labels.clone(),
        fit.inertia.to_bits(),
        fit.n_iter,
        fit.strict,
        fit.algorithm,
    )
}

/// All starts together, each for itself and each as its own list, against one after the other.
fn check<T: Element>(
    data: &Array2<T>,
    starts: &[Array2<T>],
    weights: Option<&[f64]>,
    tol: f64,
    params: &ValidParams,
) {
    let most = starts.iter().map(Array2::nrows).max().expect("a start");
    let problem = Problem::new(Rows::new(data.view()), most, weights, params).expect("valid");
    let alone: Vec<_> = starts
        .iter()
        .map(|start| {
            let fit = problem.lloyd(start.view(), tol, &mut common::go_on());
            outcome(&fit.expect("valid"))
        })
        .collect();
    let lists: Vec<_> = starts.iter().map(|start| vec![start.view()]).collect();
    let together = problem
        .lloyd_many(&lists, tol, &mut common::go_on())
        .expect("valid");
    assert!(together.iter().map(outcome).eq(alone.iter().cloned()));

    let all = vec![starts.iter().map(|start| start.view()).collect()];
    let best = problem
        .lloyd_many(&all, tol, &mut common::go_on())
        .expect("valid");
    let least = alone
        .iter()
        .min_by(|a, b| f64::from_bits(a.2).total_cmp(&f64::from_bits(b.2)))
        .expect("a start");
    assert!(best.iter().map(outcome).eq([least.clone()]));
}

/// Starts with different numbers of centers: rows of the data, and now and then a center far from all of them, which
/// gets no sample.
fn starts<T: Element>(data: &Array2<T>, sizes: &[usize], seed: u64) -> Vec<Array2<T>> {
    let mut random = rust_kmeans_core::Random::new(seed);
    sizes
        .iter()
        .enumerate()
        .map(|(i, &k)| {
            let rows: Vec<_> = (0..k)
                .map(|_| usize::try_from(random.bits() >> 32).expect("32 bits") % data.nrows())
                .collect();
            let mut start = data.select(ndarray::Axis(0), &rows);
            if i % 3 == 1 {
                start.row_mut(k - 1).fill(T::from_f64(1e4));
            }
            start
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_together_are_the_same_bits_as_runs_alone(
        seed in any::<u64>(), n in 1_usize..3000, d in 1_usize..12, sizes in prop::collection::vec(1_usize..20, 1..7),
        weighted in any::<bool>(), rounded in any::<bool>(), algorithm in 0_usize..4, threads in 1_usize..5,
        max_iter in prop::sample::select(vec![1_usize, 2, 5, 300]), tol in prop::sample::select(vec![0.0, 1e-3, 1.0]),
    ) {
        let mut data = common::blobs::<f64>(n, d, 5, seed);
        if rounded {
            // Ties and duplicates.
            data.mapv_inplace(f64::round);
        }
        let mut noise = common::noise(seed);
        let weights: Vec<_> = (0..n).map(|i| if i == 0 { 1.0 } else { noise().max(0.0) }).collect();
        let weights = weighted.then_some(weights.as_slice());
        let sizes: Vec<_> = sizes.into_iter().map(|k| k.min(n)).collect();
        let params = Params {
            max_iter,
            algorithm: [Algorithm::Auto, Algorithm::Lloyd, Algorithm::Hamerly, Algorithm::Yinyang][algorithm],
            n_threads: Some(threads),
            ..Params::default()
        }.check().expect("valid");
        check(&data, &starts(&data, &sizes, seed), weights, tol, &params);
        let narrow = data.mapv(f32::from_f64);
        check(&narrow, &starts(&narrow, &sizes, seed), weights, tol, &params);
    }
}

#[test]
fn runs_of_wide_rows_with_few_and_many_centers_are_the_same_bits_as_well() {
    for d in [96, 600] {
        let data = common::blobs::<f32>(500, d, 6, 2);
        let params = common::params(None, 2, 300);
        check(
            &data,
            &starts(&data, &[2, 1, 40, 6, 7], 3),
            None,
            0.0,
            &params,
        );
    }
}

#[test]
fn runs_with_many_centers_of_which_some_are_more_are_the_same_bits_as_well() {
    // Noise, of which much stays unclear at a first look; scores of the larger runs lie where the smaller ones write theirs.
    let mut noise = common::noise(4);
    let data = Array2::from_shape_simple_fn((3000, 65), || noise() - 0.5).mapv(f32::from_f64);
    for algorithm in [Algorithm::Lloyd, Algorithm::Hamerly] {
        let params = common::params_of(algorithm, None, 1, 6);
        for sizes in [[96, 48, 70], [48, 96, 30]] {
            check(&data, &starts(&data, &sizes, 5), None, 0.0, &params);
        }
    }
}

#[test]
fn runs_that_do_not_fit_into_memory_together_are_the_same_bits_as_well() {
    // 8 bytes a sample and run: nine runs do not fit into 64 MiB, two go beyond the caches.
    let data = common::blobs::<f32>(1_000_000, 1, 3, 1);
    let sizes = [3, 2, 4, 1, 5, 3, 2, 4, 3, 2];
    let params = common::params_of(Algorithm::Auto, None, 2, 12);
    check(&data, &starts(&data, &sizes, 2), None, 1e-6, &params);
}

#[test]
fn of_equal_fits_the_first_is_kept() {
    let data = common::blobs::<f64>(300, 2, 3, 4);
    let start = data.slice(s![..3, ..]).to_owned();
    let mut turned = start.clone();
    turned.invert_axis(ndarray::Axis(0));
    let params = common::params(None, 1, 300);
    let problem = Problem::new(Rows::new(data.view()), 3, None, &params).expect("valid");
    let fits = problem
        .lloyd_many(
            &[
                vec![start.view(), turned.view()],
                vec![turned.view(), start.view()],
            ],
            0.0,
            &mut common::go_on(),
        )
        .expect("valid");
    assert_eq!(fits[0].inertia.to_bits(), fits[1].inertia.to_bits());
    let mut back = fits[1].centers.clone();
    back.invert_axis(ndarray::Axis(0));
    assert_eq!(fits[0].centers, back);
    assert_ne!(fits[0].labels, fits[1].labels);
}

#[test]
fn one_bad_start_refuses_all_and_an_interrupt_ends_all() {
    let data = common::blobs::<f64>(20, 2, 3, 5);
    let params = common::params(None, 2, 300);
    let problem = Problem::new(Rows::new(data.view()), 3, None, &params).expect("valid");
    let good = data.slice(s![..3, ..]);
    let run = |bad: ArrayView2<'_, f64>| {
        let mut asked = false;
        let mut interrupt = || {
            asked = true;
            false
        };
        let fits = problem.lloyd_many(&[vec![good], vec![bad]], 0.0, &mut interrupt);
        assert!(!asked, "work was begun");
        fits.expect_err("refused")
    };
    let wide = Array2::zeros((2, 3));
    assert!(matches!(
        run(wide.view()),
        Error::Shape {
            found: 3,
            expected: 2,
            ..
        }
    ));
    let many = Array2::zeros((21, 2));
    let clusters = 21;
    assert_eq!(run(many.view()), Error::TooFewRows { rows: 20, clusters });
    assert_eq!(run(good.slice(s![..0, ..])), Error::NoClusters);
    let nothing = problem.lloyd_many(&[vec![good], vec![]], 0.0, &mut common::go_on());
    assert_eq!(nothing, Err(Error::NoClusters));
    let stopped = problem.lloyd_many(&[vec![good], vec![good]], 0.0, &mut || true);
    assert_eq!(stopped, Err(Error::Interrupted));
    let none = problem.lloyd_many(&[], 0.0, &mut common::go_on());
    assert_eq!(none, Ok(Vec::new()));
}
