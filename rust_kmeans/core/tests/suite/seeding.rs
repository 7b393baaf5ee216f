//! Pruning and screening never change which rows greedy k-means++ chooses; what k-means|| promises.

use crate::common;
use ndarray::Array2;
use proptest::prelude::*;
use rust_kmeans_core::exact_sum::{ExactSum, Grid};
use rust_kmeans_core::{
    Element, Error, Isa, Pool, Problem, Random, Rows, Scale, kmeans_parallel, kmeans_plusplus,
    lloyd, squared_distance,
};

/// The rows in order of the sums of their features times fixed factors from 1 to 2, equal ones by their values.
fn in_order(rows: &[Vec<f64>]) -> Vec<usize> {
    let mut random = Random::new(0);
    let factors: Vec<_> = rows[0].iter().map(|_| 1.0 + random.unit()).collect();
    let height = |row: &[f64]| {
        let mut lanes = [0.0; 8];
        for (j, (x, factor)) in row.iter().zip(&factors).enumerate() {
            lanes[j % 8] += x * factor;
        }
        lanes.iter().fold(0.0, |sum: f64, lane| sum + lane)
    };
    let mut order: Vec<_> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| {
        let heights = height(&rows[a]).total_cmp(&height(&rows[b]));
        heights.then(rows[a].partial_cmp(&rows[b]).expect("finite"))
    });
    order
}

/// Greedy k-means++ by its definition: all distances in float64, all potentials summed over all rows.
fn reference<T: Element>(
    data: &Array2<T>,
    k: usize,
    weights: Option<&[f64]>,
    seed: u64,
    trials: usize,
) -> Vec<usize> {
    let n = data.nrows();
    let rows: Vec<Vec<f64>> = data
        .rows()
        .into_iter()
        .map(|row| row.iter().map(|&x| x.into()).collect())
        .collect();
    let weight = |i: usize| weights.map_or(1.0, |weights| weights[i]);
    let pool = Pool::new(1).expect("no threads to start");
    let scale = Scale::of(Rows::new(data.view()), weights, &pool).expect("valid input");
    let ranges = scale.lowest.iter().zip(&scale.highest);
    let bound: f64 = ranges.map(|(a, b)| (b - a) * (b - a)).sum();
    let grid = Grid::new(
        (bound * scale.max_weight * 1.01).min(f64::MAX),
        scale.n_rows,
    );
    let sum = |grid: Grid, terms: &[f64]| {
        let mut sum = ExactSum::default();
        for &term in terms {
            sum.add(grid, term);
        }
        sum.value()
    };
    let order = in_order(&rows);
    let row_at = |grid: Grid, terms: &[f64], target: f64| {
        let mut prefix = ExactSum::default();
        order.iter().copied().find(|&row| {
            prefix.add(grid, terms[row]);
            prefix.value() > target
        })
    };
    let mut random = Random::new(seed);
    let unit = random.unit();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a row number"
    )]
    let first = match weights {
        None => order[((unit * n as f64) as usize).min(n - 1)],
        Some(weights) => {
            let grid = Grid::new(scale.max_weight, scale.n_rows);
            let total = sum(grid, weights);
            row_at(grid, weights, (unit * total).min(total.next_down())).unwrap_or(n - 1)
        }
    };
    let mut chosen = vec![first];
    let mut nearest: Vec<_> = (0..n)
        .map(|i| squared_distance(&rows[i], &rows[first]))
        .collect();
    while chosen.len() < k {
        let weighted = |nearest: &[f64]| -> Vec<_> {
            nearest
                .iter()
                .enumerate()
                .map(|(i, distance)| distance * weight(i))
                .collect()
        };
        let terms = weighted(&nearest);
        let total = sum(grid, &terms);
        let drawn: Vec<_> = (0..trials)
            .map(|_| {
                let target = (random.unit() * total).min(total.next_down()).max(0.0);
                row_at(grid, &terms, target).unwrap_or_else(|| {
                    (0..n)
                        .find(|row| !chosen.contains(row))
                        .expect("k is at most n")
                })
            })
            .collect();
        let mut best = (f64::INFINITY, drawn[0], nearest.clone());
        for row in drawn {
            let with: Vec<_> = nearest
                .iter()
                .enumerate()
                .map(|(i, distance)| distance.min(squared_distance(&rows[i], &rows[row])))
                .collect();
            let potential = sum(grid, &weighted(&with));
            if potential < best.0 {
                best = (potential, row, with);
            }
        }
        chosen.push(best.1);
        nearest = best.2;
    }
    chosen
}

fn check<T: Element>(
    data: &Array2<T>,
    k: usize,
    weights: Option<&[f64]>,
    seed: u64,
    trials: usize,
) {
    let expected = reference(data, k, weights, seed, trials);
    let mut fortran = Array2::from_elem(ndarray::ShapeBuilder::f(data.dim()), T::default());
    fortran.assign(data);
    let (n, d) = data.dim();
    // What lies between the rows would spoil any sum it got into.
    let mut wider = Array2::from_elem((2 * n, d + 3), T::from_f64(f64::NAN));
    let mut apart = wider.slice_mut(ndarray::s![..;2, 1..=d]);
    apart.assign(data);
    for isa in Isa::available() {
        for threads in 1..=4 {
            let params = common::params(Some(isa), threads, 1);
            let layout = match threads {
                2 => apart.view(),
                3 => fortran.view(),
                _ => data.view(),
            };
            let seeds = kmeans_plusplus(
                Rows::new(layout),
                k,
                weights,
                seed,
                Some(trials),
                &params,
                &mut common::go_on(),
            )
            .expect("valid input");
            assert_eq!(seeds.indices, expected, "{isa:?}, {threads} threads");
        }
    }
}

/// Data of several kinds, all hard for a bound: ties, duplicates, an offset, outliers, sizes at the ends of the range.
fn hard<T: Element>(kind: usize, n: usize, d: usize, seed: u64) -> Array2<T> {
    let mut noise = common::noise(seed);
    let blobs = common::blobs::<f64>(n, d, 9, seed);
    Array2::from_shape_fn((n, d), |(i, j)| {
        T::from_f64(match kind {
            0 => blobs[(i, j)],
            1 => (blobs[(i, j)] * 0.7).round(),
            2 => blobs[(i % 7, j)],
            3 => 1e4 + blobs[(i, j)] * 1e-2,
            4 if i % 50 == 7 => blobs[(i, j)] * 1e6,
            5 => blobs[(i, j)] * 1e18,
            6 => blobs[(i, j)] * 1e-38,
            7 => blobs[(i, j)] * 1e-22,
            8 => noise(),
            _ => blobs[(i, j)] * 3.0,
        })
    })
}

/// [`check`] for both types of such data, with weights if wanted.
fn check_both(
    (kind, n, d): (usize, usize, usize),
    k: usize,
    weighted: bool,
    seed: u64,
    trials: usize,
) {
    let k = k.min(n);
    let mut noise = common::noise(seed ^ 1);
    let weights: Vec<_> = (0..n)
        .map(|i| (noise() + 1.0) * if i % 3 == 1 { 0.0 } else { 1e3 })
        .collect();
    let weights = weighted.then_some(weights.as_slice());
    check(&hard::<f32>(kind, n, d, seed), k, weights, seed, trials);
    check(&hard::<f64>(kind, n, d, seed), k, weights, seed, trials);
}

proptest! {
    #![proptest_config(common::cases(120))]

    #[test]
    fn pruned_seeds_are_those_of_all_float64_distances(
        kind in 0_usize..10, n in 1_usize..700, d in 1_usize..35, k in 1_usize..24, seed in any::<u64>(), trials in 1_usize..9,
        weighted in any::<bool>(),
    ) {
        check_both((kind, n, d), k, weighted, seed, trials);
    }

    #[test]
    fn pruned_seeds_of_wide_rows_are_those_of_all_float64_distances(
        kind in 0_usize..10, n in 1_usize..200, d in 28_usize..131, k in 1_usize..16, seed in any::<u64>(), trials in 1_usize..10,
        weighted in any::<bool>(),
    ) {
        check_both((kind, n, d), k, weighted, seed, trials);
    }
}

#[test]
fn pruned_seeds_of_many_rows_and_many_clusters_are_those_of_all_float64_distances() {
    for kind in [0, 1, 9] {
        check(&hard::<f32>(kind, 20_000, 5, 3), 12, None, 8, 4);
        check(&hard::<f32>(kind, 1_500, 3, 4), 300, None, 9, 3);
        check(&hard::<f64>(kind, 1_500, 3, 5), 300, None, 10, 3);
    }
    check(&hard::<f32>(0, 400, 400, 6), 20, None, 11, 6);
    // More rows than 16 bits tell apart.
    check(&hard::<f32>(0, 70_000, 2, 7), 5, None, 12, 2);
}

#[test]
fn what_exact_sums_cut_off_decides_between_no_trials() {
    // The last two are as far from 0 as one quantum and some more, which is cut off: their potentials are equal.
    let data = ndarray::array![[1e10], [-1e10], [0.0], [6.851e-5], [-6.986e-5]];
    for seed in 0..100 {
        check::<f64>(&data, 4, None, seed, 3);
    }
}

#[test]
fn seeds_do_not_depend_on_what_was_drawn_before() {
    let data = common::blobs::<f32>(20_000, 3, 10, 15);
    let weights: Vec<_> = (0..20_000_u32).map(|i| f64::from(i % 5)).collect();
    let params = common::params(None, 2, 1);
    for weights in [None, Some(weights.as_slice())] {
        let rows = Rows::new(data.view());
        let problem = Problem::new(rows, 12, weights, &params).expect("valid input");
        let mut seeder = problem.seeder();
        for (k, seed) in [(12, 1), (1, 2), (30, 3), (12, 1)] {
            let go_on = &mut common::go_on();
            let alone = kmeans_plusplus(rows, k, weights, seed, None, &params, go_on);
            assert_eq!(seeder.kmeans_plusplus(k, seed, None, go_on), alone);
        }
    }
}

/// The centers of greedy k-means++, in order.
fn greedy(data: &Array2<f64>, k: usize, weights: Option<&[f64]>, seed: u64) -> Array2<f64> {
    let params = common::params(None, 2, 1);
    let rows = Rows::new(data.view());
    kmeans_plusplus(rows, k, weights, seed, None, &params, &mut common::go_on())
        .expect("valid input")
        .centers
}

/// The numbers below `n` in an order that follows from `seed`.
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let random = Random::new(seed);
    let mut rows: Vec<_> = (0..n).collect();
    rows.sort_by(|&a, &b| {
        random
            .unit_at(a as u64)
            .total_cmp(&random.unit_at(b as u64))
    });
    rows
}

proptest! {
    #![proptest_config(common::cases(60))]

    #[test]
    fn seeds_are_the_same_for_any_order_of_the_rows(
        kind in 0_usize..10, n in 1_usize..2_000, d in 1_usize..20, k in 1_usize..12, seed in any::<u64>(),
    ) {
        let data = hard::<f64>(kind, n, d, seed);
        // Not more centers than there are values, of which 0 and −0 are one.
        let distinct = data.rows().into_iter().map(|row| format!("{:?}", row.mapv(|x| x + 0.0)));
        let k = k.min(distinct.collect::<std::collections::BTreeSet<_>>().len());
        let other = data.select(ndarray::Axis(0), &shuffled(n, seed));
        prop_assert_eq!(greedy(&data, k, None, seed), greedy(&other, k, None, seed));
    }

    #[test]
    fn a_weight_draws_like_as_many_rows(
        n in 20_usize..600, d in 1_usize..20, k in 1_usize..12, seed in any::<u64>(),
    ) {
        let data = common::blobs::<f64>(n, d, 5, seed);
        let times: Vec<_> = (0..n).map(|i| i * 7 % 5).collect();
        let weights: Vec<_> = times.iter().map(|&times| times as f64).collect();
        let repeated: Vec<_> = (0..n).flat_map(|row| std::iter::repeat_n(row, times[row])).collect();
        let repeated = data.select(ndarray::Axis(0), &repeated);
        prop_assert_eq!(greedy(&data, k, Some(&weights), seed), greedy(&repeated, k, None, seed));
    }
}

#[test]
fn denormal_data_and_huge_float64_data_are_seeded_like_any_other() {
    for factor in [1e-310, 1e-160, 1e140] {
        let data = common::blobs::<f64>(300, 4, 5, 12).mapv(|x| x * factor);
        check(&data, 6, None, 13, 3);
    }
}

fn parallel<T: Element>(
    data: &Array2<T>,
    k: usize,
    weights: Option<&[f64]>,
    seed: u64,
    (isa, threads): (Option<Isa>, usize),
) -> Vec<usize> {
    let params = common::params(isa, threads, 1);
    let rows = Rows::new(data.view());
    let seeds = kmeans_parallel(rows, k, weights, seed, &params, &mut common::go_on())
        .expect("valid input");
    for (&row, center) in seeds.indices.iter().zip(seeds.centers.rows()) {
        assert_eq!(center, data.row(row));
    }
    seeds.indices
}

fn distinct(indices: &[usize]) -> usize {
    indices
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}

#[test]
fn oversampled_seeds_are_the_same_for_any_threads_and_instruction_set() {
    let data = common::blobs::<f32>(30_000, 6, 10, 31);
    let weights: Vec<_> = (0..30_000_u32).map(|i| f64::from(i % 7)).collect();
    for weights in [None, Some(weights.as_slice())] {
        let expected = parallel(&data, 12, weights, 5, (Some(Isa::Scalar), 1));
        assert_eq!(distinct(&expected), 12);
        for isa in Isa::available() {
            for threads in 1..=4 {
                let again = parallel(&data, 12, weights, 5, (Some(isa), threads));
                assert_eq!(again, expected, "{isa:?}, {threads} threads");
            }
        }
        assert_ne!(parallel(&data, 12, weights, 6, (None, 2)), expected);
    }
}

#[test]
fn fits_from_oversampled_seeds_are_as_good_as_from_greedy_ones() {
    let data = common::blobs::<f64>(6_000, 4, 20, 61);
    let params = common::params(None, 2, 100);
    let rows = Rows::new(data.view());
    let inertia = |start: Array2<f64>| {
        let fit = lloyd(rows, start.view(), None, &params, &mut common::go_on());
        fit.expect("valid input").inertia
    };
    let (mut oversampled, mut greedy) = (0.0, 0.0);
    for seed in 0..8 {
        let seeds = kmeans_parallel(rows, 20, None, seed, &params, &mut common::go_on());
        oversampled += inertia(seeds.expect("valid input").centers);
        let seeds = kmeans_plusplus(rows, 20, None, seed, None, &params, &mut common::go_on());
        greedy += inertia(seeds.expect("valid input").centers);
    }
    assert!(oversampled < 1.05 * greedy, "{oversampled} {greedy}");
}

#[test]
fn rows_without_weight_are_never_oversampled() {
    let data = common::blobs::<f64>(2_000, 3, 5, 62);
    let weights: Vec<_> = (0..2_000_u32)
        .map(|i| f64::from(u8::from(i % 2 == 1)) * 1e-3)
        .collect();
    for seed in 0..5 {
        let rows = parallel(&data, 9, Some(&weights), seed, (None, 2));
        assert!(rows.iter().all(|row| row % 2 == 1));
    }
}

#[test]
fn oversampling_as_many_clusters_as_rows_takes_every_row() {
    for n in [1, 2, 5, 40] {
        let data = common::blobs::<f32>(n, 3, 4, 63);
        assert_eq!(distinct(&parallel(&data, n, None, 1, (None, 1))), n);
    }
}

#[test]
fn oversampling_few_rows_or_duplicates_still_gives_as_many_centers() {
    let few = common::blobs::<f64>(15, 2, 3, 64);
    assert_eq!(distinct(&parallel(&few, 10, None, 2, (None, 1))), 10);
    let equal = Array2::from_elem((50, 2), 3.5_f32);
    assert_eq!(distinct(&parallel(&equal, 4, None, 3, (None, 1))), 4);
    let places = common::blobs::<f64>(6, 2, 6, 65);
    let repeated = Array2::from_shape_fn((600, 2), |(i, j)| places[(i % 6, j)]);
    let rows = parallel(&repeated, 6, None, 4, (None, 2));
    let found: Vec<_> = rows.iter().map(|row| row % 6).collect();
    assert_eq!(distinct(&found), 6);
}

#[test]
fn oversampling_refuses_what_greedy_seeding_refuses() {
    let data = common::blobs::<f64>(5, 2, 2, 66);
    let params = common::params(None, 1, 1);
    let run = |k, weights: Option<&[f64]>, go_on: bool| {
        let rows = Rows::new(data.view());
        kmeans_parallel(rows, k, weights, 1, &params, &mut || !go_on).expect_err("refused")
    };
    assert_eq!(run(0, None, true), Error::NoClusters);
    assert!(matches!(run(6, None, true), Error::TooFewRows { .. }));
    assert_eq!(run(2, Some(&[0.0; 5]), true), Error::NoWeight);
    assert_eq!(run(2, None, false), Error::Interrupted);
}
