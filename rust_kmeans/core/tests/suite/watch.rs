//! What a fit tells of its iterations: the inertia of each, and who watches changes nothing.

use crate::common;
use ndarray::{Array2, ArrayView2, s};
use proptest::prelude::*;
use rust_kmeans_core::{
    Algorithm, Convergence, Element, Error, Fit, Iteration, Params, Problem, Rows, ValidParams,
    Watch, lloyd,
};

/// Weighted squared distances to the centers of the labels, plainly summed.
fn inertia<T: Element>(
    data: ArrayView2<'_, T>,
    centers: ArrayView2<'_, T>,
    weights: Option<&[f64]>,
) -> f64 {
    let labels = common::labels(data, centers);
    let mut total = 0.0;
    for (i, (x, label)) in data.rows().into_iter().zip(labels).enumerate() {
        let center = centers.row(usize::try_from(label).expect("assigned"));
        let squares = x.iter().zip(center).map(|(&x, &c)| {
            let difference: f64 = x.into() - c.into();
            difference * difference
        });
        total += squares.sum::<f64>() * weights.map_or(1.0, |weights| weights[i]);
    }
    total
}

/// What the error of a history is relative to: the weight of all samples times the sum over the features of their squared
/// range; with weights, by which samples are multiplied and rounded, of range times largest value.
fn extent(data: ArrayView2<'_, f64>, weights: Option<&[f64]>) -> f64 {
    let weight = weights.map_or(data.nrows() as f64, |weights| weights.iter().sum());
    let squares = data.columns().into_iter().map(|column| {
        let low = column.iter().copied().fold(f64::MAX, f64::min);
        let high = column.iter().copied().fold(f64::MIN, f64::max);
        let value = if weights.is_some() {
            low.abs().max(high.abs())
        } else {
            0.0
        };
        (high - low) * (high - low).max(value)
    });
    weight * squares.sum::<f64>()
}

fn fit_of<T: Element>(
    data: ArrayView2<'_, T>,
    k: usize,
    weights: Option<&[f64]>,
    params: &ValidParams,
) -> Fit<T> {
    let start = data.slice(s![..k, ..]);
    lloyd(
        Rows::new(data),
        start,
        weights,
        params,
        &mut common::go_on(),
    )
    .expect("valid")
}

/// The fit, and for each of its iterations the inertia by definition: iteration t finds the labels of the centers that a
/// fit of t iterations ends with.
fn history<T: Element>(
    data: ArrayView2<'_, T>,
    k: usize,
    weights: Option<&[f64]>,
    params: &ValidParams,
) -> (Fit<T>, Vec<f64>) {
    let fit = fit_of(data, k, weights, params);
    let mut expected = vec![inertia(data, data.slice(s![..k, ..]), weights)];
    for max_iter in 1..fit.n_iter {
        let shorter = fit_of(data, k, weights, &common::params(None, 1, max_iter));
        expected.push(inertia(data, shorter.centers.view(), weights));
    }
    (fit, expected)
}

proptest! {
    #![proptest_config(common::cases(40))]

    #[test]
    fn the_history_is_the_inertia_of_each_iteration_by_definition(
        (n, d, k) in (20..300_usize, 1..5_usize, 1..9_usize),
        seed in any::<u64>(),
        weighted in any::<bool>(),
        offset in prop::sample::select(vec![0.0, 1.0, -1e6]),
        // A power of two, by which rounding does not change.
        exponent in prop::sample::select(vec![0, -498, 480]),
        max_iter in prop::sample::select(vec![1, 2, 300]),
    ) {
        let scale = 2.0_f64.powi(exponent);
        let data = (common::blobs::<f64>(n, d, 4, seed) + offset) * scale;
        let mut noise = common::noise(seed);
        let weights: Vec<_> = (0..n).map(|_| noise() + 1.0).collect();
        let weights = weighted.then_some(weights.as_slice());
        let (fit, expected) = history(data.view(), k, weights, &common::params(None, 2, max_iter));
        prop_assert_eq!(fit.history.len(), fit.n_iter);
        let tolerance = 1e-14 * extent(data.view(), weights);
        for (found, expected) in fit.history.iter().zip(&expected) {
            prop_assert!((found - expected).abs() <= tolerance, "{} {}", found, expected);
        }
        for pair in fit.history.windows(2) {
            prop_assert!(pair[1] <= pair[0] + tolerance);
        }
        let last = fit.history[fit.n_iter - 1];
        if fit.strict {
            prop_assert_eq!(last.to_bits(), fit.inertia.to_bits());
        } else {
            prop_assert!(fit.inertia <= last + tolerance);
        }
    }
}

#[test]
fn the_history_is_the_same_bits_for_any_threads_and_algorithm() {
    let data = common::blobs::<f32>(3000, 6, 40, 3);
    for max_iter in [5, 300] {
        let bits = |algorithm, threads| -> Vec<_> {
            let params = common::params_of(algorithm, None, threads, max_iter);
            let fit = fit_of(data.view(), 12, None, &params);
            fit.history.iter().map(|x| x.to_bits()).collect()
        };
        let expected = bits(Algorithm::Lloyd, 1);
        assert!(expected.len() >= 5);
        for (algorithm, threads) in [
            (Algorithm::Lloyd, 3),
            (Algorithm::Hamerly, 1),
            (Algorithm::Yinyang, 1),
            (Algorithm::Auto, 2),
        ] {
            assert_eq!(bits(algorithm, threads), expected);
        }
    }
}

#[test]
fn the_history_has_labels_before_relocation() {
    // Two starts at one place: the second gets no sample and is moved to one after the first iteration.
    let data = Array2::from_shape_vec((4, 1), vec![0.0_f64, 1.0, 10.0, 11.0]).expect("4 rows");
    let start = ndarray::array![[0.0], [0.0]];
    let params = common::params(None, 1, 300);
    let fit = lloyd(
        Rows::new(data.view()),
        start.view(),
        None,
        &params,
        &mut common::go_on(),
    )
    .expect("valid");
    let ends = [fit.history[0], fit.history[fit.n_iter - 1]].map(f64::to_bits);
    assert_eq!(ends, [222.0, 1.0].map(f64::to_bits));
}

/// Notes what it sees.
#[derive(Default)]
struct Notes {
    seen: Vec<String>,
    inertias: Vec<f64>,
    centers: Vec<Array2<f64>>,
    converged: Vec<Option<Convergence>>,
    ends_after: Option<usize>,
    stops_after: Option<usize>,
}

impl Watch for Notes {
    fn stops(&mut self) -> bool {
        self.stops_after
            .is_some_and(|most| self.inertias.len() >= most)
    }

    fn sees(&self) -> bool {
        true
    }

    fn started(&mut self, run: usize) {
        self.seen.push(format!("start {run}"));
    }

    fn iterated(&mut self, iteration: &Iteration<'_>) -> bool {
        self.seen
            .push(format!("{} {}", iteration.run, iteration.number));
        self.inertias.push(iteration.inertia);
        self.centers.push(iteration.centers.to_owned());
        self.converged.push(iteration.converged);
        assert_eq!(
            iteration.shift <= iteration.tol,
            iteration.converged.is_some()
        );
        self.ends_after == Some(iteration.number + 1)
    }
}

#[test]
fn who_watches_sees_each_iteration_of_run_after_run_and_changes_nothing() {
    let data = common::blobs::<f32>(2000, 3, 9, 5);
    let params = common::params(None, 2, 300);
    let problem = Problem::new(Rows::new(data.view()), 9, None, &params).expect("valid");
    let starts = [(0..9), (9..18), (18..27)].map(|rows| data.slice(s![rows, ..]));
    let alone = starts.map(|start| {
        problem
            .lloyd(start, 0.0, &mut common::go_on())
            .expect("valid")
    });
    let mut notes = Notes::default();
    let best = problem
        .lloyd_many(&[starts.to_vec()], 0.0, &mut notes)
        .expect("valid");
    assert!(alone.contains(&best[0]));

    let mut expected = Vec::new();
    for (run, fit) in alone.iter().enumerate() {
        expected.push(format!("start {run}"));
        expected.extend((0..fit.n_iter).map(|i| format!("{run} {i}")));
    }
    assert_eq!(notes.seen, expected);
    let tolerance = 1e-12 * extent(data.mapv(f64::from).view(), None);
    let history = alone.iter().flat_map(|fit| &fit.history);
    for (seen, noted) in notes.inertias.iter().zip(history) {
        assert!((seen - noted).abs() <= tolerance);
    }
    let last = alone[0].n_iter - 1;
    assert_eq!(notes.inertias[last].to_bits(), alone[0].inertia.to_bits());
    assert_eq!(notes.centers[last], alone[0].centers.mapv(f64::from));
    assert_eq!(notes.converged[last], Some(Convergence::Strict));
    assert_eq!(notes.converged[..last], vec![None; last]);
}

#[test]
fn a_tolerance_that_ends_a_run_is_seen() {
    let data = common::blobs::<f64>(2000, 3, 9, 5);
    let params = Params {
        tol: 1e-2,
        n_threads: Some(1),
        ..Params::default()
    }
    .check()
    .expect("valid");
    let mut notes = Notes::default();
    let fit = lloyd(
        Rows::new(data.view()),
        data.slice(s![..9, ..]),
        None,
        &params,
        &mut notes,
    )
    .expect("valid");
    assert_eq!(fit, fit_of(data.view(), 9, None, &params));
    assert_eq!(notes.converged[fit.n_iter - 1], Some(Convergence::Shift));
}

#[test]
fn who_watches_ends_a_run_as_max_iter_does_or_stops_all() {
    let data = common::blobs::<f64>(2000, 3, 9, 5);
    let params = common::params(None, 1, 300);
    let rows = Rows::new(data.view());
    let start = data.slice(s![..9, ..]);
    let mut ends = Notes {
        ends_after: Some(2),
        ..Notes::default()
    };
    let ended = lloyd(rows, start, None, &params, &mut ends).expect("valid");
    assert_eq!(
        ended,
        fit_of(data.view(), 9, None, &common::params(None, 1, 2))
    );
    let mut stops = Notes {
        stops_after: Some(2),
        ..Notes::default()
    };
    let stopped = lloyd(rows, start, None, &params, &mut stops);
    assert_eq!(stopped, Err(Error::Interrupted));
    assert_eq!(stops.inertias.len(), 2);
}
