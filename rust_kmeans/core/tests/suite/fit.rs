//! The loop: scikit-learn's rules, on examples computed by hand, and against a naive loop.

use crate::common;
use ndarray::{Array2, array, s};
use rust_kmeans_core::{Element, Error, Params, Rows, kmeans_plusplus, lloyd, predict};

#[test]
fn a_small_example_is_as_computed_by_hand() {
    let data = array![
        [1.0_f64, 2.0],
        [1.0, 4.0],
        [1.0, 0.0],
        [10.0, 2.0],
        [10.0, 4.0],
        [10.0, 0.0]
    ];
    let start = array![[0.0, 0.0], [4.0, 4.0]];
    let fit = lloyd(
        Rows::new(data.view()),
        start.view(),
        None,
        &common::params(None, 1, 300),
        &mut common::go_on(),
    )
    .expect("valid");
    assert_eq!(fit.centers, array![[1.0, 2.0], [10.0, 2.0]]);
    assert_eq!(fit.labels, [0, 0, 0, 1, 1, 1]);
    assert!((fit.inertia - 16.0).abs() < 1e-12);
    assert!(fit.strict);
}

#[test]
fn an_empty_cluster_takes_the_farthest_sample_and_its_donor_loses_it() {
    // All samples are nearest to center 0; 9 is the farthest, then 3.
    let data = array![[0.0_f32], [3.0], [-1.0], [9.0]];
    let start = array![[0.0_f32], [100.0], [-100.0]];
    let one = common::params(None, 1, 1);
    let fit = lloyd(
        Rows::new(data.view()),
        start.view(),
        None,
        &one,
        &mut common::go_on(),
    )
    .expect("valid");
    // Center 1 (the first empty) takes 9, center 2 takes 3; 0 and -1 remain.
    assert_eq!(fit.centers, array![[-0.5_f32], [9.0], [3.0]]);
    assert_eq!(fit.labels, [0, 2, 0, 1]);
    assert!(!fit.strict);

    let weights = [1.0, 2.0, 3.0, 4.0];
    let fit = lloyd(
        Rows::new(data.view()),
        start.view(),
        Some(&weights),
        &one,
        &mut common::go_on(),
    )
    .expect("valid");
    assert_eq!(fit.centers, array![[-0.75_f32], [9.0], [3.0]]);
}

#[test]
fn among_equally_far_samples_the_lowest_index_is_relocated() {
    let data = array![[1.0_f64], [-5.0], [5.0], [-1.0]];
    let start = array![[0.0], [50.0]];
    let fit = lloyd(
        Rows::new(data.view()),
        start.view(),
        None,
        &common::params(None, 1, 1),
        &mut common::go_on(),
    )
    .expect("valid");
    assert_eq!(fit.centers, array![[5.0 / 3.0], [-5.0]]);
}

#[test]
fn with_fewer_distinct_samples_than_clusters_nothing_is_relocated() {
    let data = Array2::from_elem((10, 3), 2.5_f32);
    let start = Array2::from_elem((4, 3), 2.5_f32);
    let fit = lloyd(
        Rows::new(data.view()),
        start.view(),
        None,
        &common::params(None, 2, 10),
        &mut common::go_on(),
    )
    .expect("valid");
    assert_eq!(fit.centers, start);
    assert!(fit.labels.iter().all(|&label| label == 0));
    assert_eq!(fit.inertia.to_bits(), 0);
}

#[test]
fn weights_count_as_repeated_rows() {
    let data = common::blobs::<f64>(200, 3, 4, 7);
    let weights: Vec<_> = (0..200_u8).map(|i| f64::from(i % 4)).collect();
    let repeated: Vec<_> = (0..200)
        .flat_map(|i| std::iter::repeat_n(i, i % 4))
        .collect();
    let repeated = data.select(ndarray::Axis(0), &repeated);
    let start = data.slice(s![1..5, ..]);
    let params = common::params(None, 1, 100);
    let weighted = lloyd(
        Rows::new(data.view()),
        start,
        Some(&weights),
        &params,
        &mut common::go_on(),
    )
    .expect("valid");
    let plain = lloyd(
        Rows::new(repeated.view()),
        start,
        None,
        &params,
        &mut common::go_on(),
    )
    .expect("valid");
    assert!(
        (&weighted.centers - &plain.centers)
            .iter()
            .all(|x| x.abs() < 1e-12)
    );
    assert!((weighted.inertia - plain.inertia).abs() < 1e-9);
}

fn naive<T: Element>(
    data: &Array2<T>,
    start: &Array2<T>,
    max_iter: usize,
) -> (Array2<T>, Vec<i32>, usize) {
    let (mut centers, mut labels) = (start.clone(), vec![-1; data.nrows()]);
    for iteration in 1..=max_iter {
        let fresh = common::labels(data.view(), centers.view());
        let (sums, counts) = common::sums(data.view(), &fresh, start.nrows(), None);
        assert!(
            counts.iter().all(|&count| count > 0.0),
            "the naive loop does not relocate"
        );
        let old = centers;
        centers =
            Array2::from_shape_fn(start.dim(), |(c, j)| T::from_f64(sums[(c, j)] / counts[c]));
        // With tol = 0 centers that do not move end the loop, as labels that do not change.
        if fresh == labels || centers == old {
            labels = fresh;
            return (centers, labels, iteration);
        }
        labels = fresh;
    }
    (centers, labels, max_iter)
}

#[test]
fn fits_follow_the_naive_loop() {
    for (n, d, k) in [
        (500, 4, 5),
        (1000, 17, 8),
        (300, 1, 3),
        (64, 2, 2),
        (40, 3, 40),
    ] {
        let data = common::blobs::<f32>(n, d, k.min(6), 8);
        let start = data.slice(s![..k, ..]).to_owned();
        let (centers, labels, n_iter) = naive(&data, &start, 200);
        let fit = lloyd(
            Rows::new(data.view()),
            start.view(),
            None,
            &common::params(None, 2, 200),
            &mut common::go_on(),
        )
        .expect("valid");
        // float32 centers absorb the rounding of the naive sums.
        assert_eq!(
            (fit.centers, fit.labels, fit.n_iter),
            (centers, labels, n_iter)
        );
    }
}

#[test]
fn labels_are_those_of_predict_however_the_fit_ends() {
    let data = common::blobs::<f64>(2000, 5, 6, 9);
    let start = data.slice(s![..9, ..]);
    for (max_iter, tol) in [(1, 0.0), (3, 0.0), (300, 0.0), (300, 1e-2)] {
        let params = Params {
            max_iter,
            tol,
            n_threads: Some(2),
            ..Params::default()
        }
        .check()
        .expect("valid");
        let fit = lloyd(
            Rows::new(data.view()),
            start,
            None,
            &params,
            &mut common::go_on(),
        )
        .expect("valid");
        let pool = rust_kmeans_core::Pool::new(1).expect("no threads to start");
        let labels = predict(
            Rows::new(data.view()),
            fit.centers.view(),
            (&pool, params.isa()),
        )
        .expect("valid");
        assert_eq!(fit.labels, labels);
        assert_eq!(fit.strict, max_iter == 300 && tol == 0.0);
    }
}

#[test]
fn an_interrupt_ends_the_fit_and_the_seeding() {
    let data = common::blobs::<f64>(500, 3, 4, 10);
    let params = common::params(None, 2, 300);
    let mut asked = 0;
    let mut third_time = || {
        asked += 1;
        asked == 3
    };
    let fit = lloyd(
        Rows::new(data.view()),
        data.slice(s![..4, ..]),
        None,
        &params,
        &mut third_time,
    );
    assert_eq!(fit, Err(Error::Interrupted));
    assert_eq!(asked, 3);
    let seeds = kmeans_plusplus(
        Rows::new(data.view()),
        4,
        None,
        0,
        None,
        &params,
        &mut || true,
    );
    assert_eq!(seeds, Err(Error::Interrupted));
}

#[test]
fn seeding_spreads_over_separate_clusters() {
    let data = Array2::from_shape_fn((400, 2), |(i, j)| {
        if j == 0 {
            (i % 8) as f32 * 100.0
        } else {
            (i / 8) as f32 * 0.01
        }
    });
    let params = common::params(None, 1, 1);
    for seed in 0..20 {
        let seeds = kmeans_plusplus(
            Rows::new(data.view()),
            8,
            None,
            seed,
            None,
            &params,
            &mut common::go_on(),
        )
        .expect("valid");
        let mut found: Vec<_> = seeds.indices.iter().map(|row| row % 8).collect();
        found.sort_unstable();
        assert_eq!(found, (0..8).collect::<Vec<_>>());
        assert_eq!(seeds.centers, data.select(ndarray::Axis(0), &seeds.indices));
    }
}

#[test]
fn seeding_identical_rows_takes_distinct_rows() {
    let data = Array2::from_elem((10, 2), 1.0_f64);
    let params = common::params(None, 1, 1);
    let mut seeds = kmeans_plusplus(
        Rows::new(data.view()),
        10,
        None,
        1,
        None,
        &params,
        &mut common::go_on(),
    )
    .expect("valid");
    seeds.indices.sort_unstable();
    assert_eq!(seeds.indices, (0..10).collect::<Vec<_>>());
}

#[test]
fn the_mean_variance_is_that_of_the_definition() {
    for (n, d) in [(1, 3), (100, 1), (9000, 7)] {
        let data = common::blobs::<f32>(n, d, 3, 12) + 100.0;
        let wide = data.mapv(f64::from);
        let expected = wide
            .var_axis(ndarray::Axis(0), 0.0)
            .mean()
            .expect("features");
        for (threads, view) in [
            (1, data.view()),
            (3, data.view()),
            (2, data.slice(s![..;-1, ..])),
        ] {
            let pool = rust_kmeans_core::Pool::new(threads).expect("threads");
            let found = rust_kmeans_core::mean_variance(Rows::new(view), &pool).expect("valid");
            assert!(
                (found - expected).abs() <= 1e-10 * expected,
                "{found} {expected}"
            );
        }
    }
}
