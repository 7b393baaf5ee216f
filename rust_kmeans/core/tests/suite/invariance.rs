//! Labels, centers and inertia are the same bits for any threads, instruction set, layout and split of the rows.

use crate::common;
use ndarray::{Array2, ShapeBuilder, s};
use proptest::prelude::*;
use rust_kmeans_core::{
    Element, Error, Isa, Partial, Pool, Rows, Scale, assign_block, inertia, kmeans_plusplus, lloyd,
    random_rows,
};

fn fit_bits<T: Element>(
    rows: Rows<'_, T>,
    start: &Array2<T>,
    weights: Option<&[f64]>,
    isa: Isa,
    threads: usize,
) -> (Vec<u64>, Vec<i32>, u64, usize) {
    let params = common::params(Some(isa), threads, 20);
    let fit =
        lloyd(rows, start.view(), weights, &params, &mut common::go_on()).expect("valid input");
    (
        common::bits(&fit.centers),
        fit.labels,
        fit.inertia.to_bits(),
        fit.n_iter,
    )
}

fn check_fit<T: Element>(n: usize, d: usize, k: usize) {
    let data = common::blobs::<T>(n, d, 7, 11);
    let start = data.slice(s![..k, ..]).to_owned();
    let mut noise = common::noise(12);
    let weights: Vec<_> = (0..n).map(|_| (noise() + 1.0) * 1e3).collect();
    let mut fortran = Array2::from_elem(data.dim().f(), T::default());
    fortran.assign(&data);
    for weights in [None, Some(weights.as_slice())] {
        let expected = fit_bits(Rows::new(data.view()), &start, weights, Isa::Scalar, 1);
        for isa in Isa::available() {
            for threads in [1, 2, 3, 5] {
                assert!(
                    fit_bits(Rows::new(data.view()), &start, weights, isa, threads) == expected,
                    "{isa:?} {threads}"
                );
            }
            assert!(
                fit_bits(Rows::new(fortran.view()), &start, weights, isa, 2) == expected,
                "Fortran order, {isa:?}"
            );
        }
    }
}

#[test]
fn a_fit_is_the_same_bits_for_any_threads_and_instruction_set() {
    check_fit::<f32>(8_000, 13, 9);
    check_fit::<f64>(8_000, 13, 9);
    check_fit::<f64>(60_000, 2, 3);
}

#[test]
fn a_permutation_of_the_rows_gives_the_same_centers_and_inertia() {
    let data = common::blobs::<f64>(3000, 5, 4, 21);
    let start = data.slice(s![..6, ..]).to_owned();
    let reversed = data.slice(s![..;-1, ..]);
    let forward = fit_bits(Rows::new(data.view()), &start, None, Isa::Scalar, 1);
    let backward = fit_bits(Rows::new(reversed), &start, None, Isa::Scalar, 2);
    assert_eq!((&forward.0, forward.2), (&backward.0, backward.2));
}

#[test]
fn seeds_are_the_same_for_any_threads_and_instruction_set() {
    let data = common::blobs::<f32>(30_000, 6, 10, 31);
    let weights: Vec<_> = (0..30_000_u32).map(|i| f64::from(i % 7)).collect();
    for weights in [None, Some(weights.as_slice())] {
        let seeds = |isa, threads| {
            let params = common::params(Some(isa), threads, 1);
            kmeans_plusplus(
                Rows::new(data.view()),
                12,
                weights,
                5,
                None,
                &params,
                &mut common::go_on(),
            )
            .expect("valid input")
        };
        let expected = seeds(Isa::Scalar, 1);
        for isa in Isa::available() {
            for threads in [1, 2, 4] {
                assert_eq!(seeds(isa, threads), expected, "{isa:?} {threads}");
            }
        }
    }
}

fn partial<T: Element>(
    data: &Array2<T>,
    rows: std::ops::Range<usize>,
    centers: &Array2<T>,
    weights: &[f64],
    scale: &Scale,
) -> (Vec<i32>, Partial) {
    let pool = Pool::new(2).expect("two threads");
    let block = data.slice(s![rows.clone(), ..]);
    assign_block(
        Rows::new(block),
        centers.view(),
        Some(&weights[rows]),
        Some(scale),
        true,
        (&pool, Isa::Scalar),
    )
    .expect("valid input")
}

proptest! {
    #![proptest_config(common::cases(60))]

    #[test]
    fn partials_of_any_split_merge_to_the_partial_of_all(
        seed in any::<u64>(), n in 3_usize..400, d in 1_usize..9, k in 1_usize..6, cut in (0.01..0.5_f64, 0.51..0.99_f64),
        huge in any::<bool>(),
    ) {
        let mut noise = common::noise(seed);
        let size = if huge { 1e30 } else { 1.0 };
        let data = Array2::from_shape_fn((n, d), |_| noise() * noise().powi(9) * size);
        let centers = Array2::from_shape_fn((k, d), |_| noise() * size);
        let weights: Vec<_> = (0..n).map(|i| if i % 5 == 0 { 0.0 } else { noise().abs() * 1e6 }).collect();
        let pool = Pool::new(1).expect("no threads to start");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a row number")]
        let at = |part: f64| ((n as f64 * part) as usize).clamp(1, n - 1);
        let (a, b) = (at(cut.0), at(cut.1).max(at(cut.0)));
        let ranges: Vec<_> = [0..a, a..b, b..n].into_iter().filter(|range| !range.is_empty()).collect();

        let whole = Scale::of(Rows::new(data.view()), Some(&weights), &pool).expect("valid input");
        let mut merged = None::<Scale>;
        for range in &ranges {
            let block = data.slice(s![range.clone(), ..]);
            let scale = Scale::of(Rows::new(block), Some(&weights[range.clone()]), &pool).expect("valid input");
            match &mut merged {
                None => merged = Some(scale),
                Some(merged) => merged.merge(&scale).expect("same features"),
            }
        }
        prop_assert_eq!(merged.as_ref(), Some(&whole));

        let (labels, expected) = partial(&data, 0..n, &centers, &weights, &whole);
        let mut parts: Vec<_> = ranges.into_iter().map(|range| partial(&data, range, &centers, &weights, &whole)).collect();
        let joined: Vec<_> = parts.iter().flat_map(|(labels, _)| labels.clone()).collect();
        prop_assert_eq!(joined, labels.clone());
        // From the right, then from the left.
        let mut right = parts.last().expect("at least one").1.clone();
        for (_, part) in parts.iter().rev().skip(1) {
            let mut sum = part.clone();
            sum.merge(&right).expect("same scale");
            right = sum;
        }
        let mut left = parts.remove(0).1;
        for (_, part) in &parts {
            left.merge(part).expect("same scale");
        }
        prop_assert_eq!(&left, &expected);
        prop_assert_eq!(&right, &expected);
        let stored = Partial::from_parts(left.clone().into_parts()).expect("consistent");
        prop_assert_eq!(stored, left);

        let (sums, counts) = common::sums(data.view(), &labels, k, Some(&weights));
        for ((exact, naive), column) in expected.sums().iter().zip(&sums).zip((0..d).cycle()) {
            let largest = whole.highest[column].abs().max(whole.lowest[column].abs()) * whole.max_weight;
            prop_assert!((exact - naive).abs() <= largest * n as f64 * 1e-15);
        }
        for (exact, naive) in expected.counts().iter().zip(&counts) {
            prop_assert!((exact - naive).abs() <= whole.max_weight * n as f64 * 1e-15);
        }
        for isa in Isa::available() {
            let direct = inertia(Rows::new(data.view()), centers.view(), Some(&weights), &labels, (&pool, isa)).expect("valid input");
            prop_assert_eq!(direct.to_bits(), expected.inertia().map_or(0, f64::to_bits));
        }
    }
}

#[test]
fn partials_of_different_scales_do_not_merge() {
    let data = common::blobs::<f32>(50, 3, 2, 41);
    let pool = Pool::new(1).expect("no threads to start");
    let block = |range: std::ops::Range<usize>| {
        assign_block(
            Rows::new(data.slice(s![range, ..])),
            data.slice(s![..2, ..]),
            None,
            None,
            true,
            (&pool, Isa::Scalar),
        )
        .expect("valid input")
        .1
    };
    assert!(matches!(
        block(0..20).merge(&block(20..50)),
        Err(Error::ScaleMismatch(_))
    ));
}

#[test]
fn a_block_outside_its_scale_is_refused() {
    let data = common::blobs::<f32>(50, 3, 2, 42);
    let pool = Pool::new(1).expect("no threads to start");
    let scale = Scale::of(Rows::new(data.slice(s![..5, ..])), None, &pool).expect("valid input");
    let refused = assign_block(
        Rows::new(data.view()),
        data.slice(s![..2, ..]),
        None,
        Some(&scale),
        true,
        (&pool, Isa::Scalar),
    );
    assert!(matches!(refused, Err(Error::ScaleMismatch(_))));
}

#[test]
fn random_rows_are_distinct_and_follow_the_weights() {
    let data = common::blobs::<f64>(100, 2, 2, 51);
    let all = random_rows(Rows::new(data.view()), 100, None, 3).expect("valid input");
    let mut sorted = all.indices.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    assert_ne!(sorted, all.indices);
    let weights: Vec<_> = (0..100_u8)
        .map(|i| if i < 90 { 0.0 } else { 1.0 })
        .collect();
    let ten = random_rows(Rows::new(data.view()), 10, Some(&weights), 3).expect("valid input");
    assert!(ten.indices.iter().all(|&row| row >= 90));
    assert!(matches!(
        random_rows(Rows::new(data.view()), 11, Some(&weights), 3),
        Err(Error::TooFewRows {
            rows: 10,
            clusters: 11
        })
    ));
}
