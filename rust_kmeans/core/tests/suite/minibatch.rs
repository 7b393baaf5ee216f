//! Mini-batch k-means: running means, reassignment, draws by weight, stopping rules.

use crate::common;
use ndarray::{Array2, Axis, ShapeBuilder, array, s};
use proptest::prelude::*;
use rust_kmeans_core::{
    Element, Error, Isa, MiniBatchFit, Pool, Problem, Rows, Running, Schedule, Stop, inertia,
    minibatch_step, predict,
};

const SCHEDULE: Schedule = Schedule {
    batch_size: 100,
    n_steps: 30,
    tol: 0.0,
    max_no_improvement: None,
    reassignment_ratio: 0.01,
};

fn start<T: Element>(centers: Array2<T>) -> Running<T> {
    Running {
        counts: vec![0.0; centers.nrows()],
        centers,
        n_since_reassignment: 0,
    }
}

fn fit<T: Element>(
    rows: Rows<'_, T>,
    centers: &Array2<T>,
    weights: Option<&[f64]>,
    schedule: &Schedule,
    (isa, threads): (Option<Isa>, usize),
) -> Result<MiniBatchFit<T>, Error> {
    let params = common::params(isa, threads, 1);
    let problem = Problem::new(rows, centers.nrows(), weights, &params)?;
    let mut go_on = common::go_on();
    let sampler = problem.sampler()?;
    let centers = centers.view();
    problem.minibatch(&sampler, centers, schedule, 3, &mut go_on, &mut |_| false)
}

proptest! {
    #![proptest_config(common::cases(64))]

    #[test]
    fn a_center_is_the_weighted_mean_of_all_rows_it_has_taken_in(
        seed in 0_u64..1000, k in 1_usize..6, d in 1_usize..9, weighted in any::<bool>(),
    ) {
        let data = common::blobs::<f64>(400, d, 5, seed);
        let mut noise = common::noise(seed);
        let weights: Vec<_> = (0..400).map(|_| (noise() + 1.0) * 5.0).collect();
        let params = common::params(None, 2, 1);
        let mut running = start(data.slice(s![..k, ..]).to_owned());
        let (mut sums, mut counts) = (Array2::<f64>::zeros((k, d)), vec![0.0; k]);
        for batch in 0..4 {
            let rows = batch * 100..(batch + 1) * 100;
            let view = data.slice(s![rows.clone(), ..]);
            let weights = weighted.then(|| &weights[rows]);
            let labels = common::labels(view, running.centers.view());
            let (more, weight) = common::sums(view, &labels, k, weights);
            sums += &more;
            for (count, weight) in counts.iter_mut().zip(weight) {
                *count += weight;
            }
            minibatch_step(Rows::new(view), weights, &mut running, 0.0, 0, &params).expect("valid");
            for (c, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
                prop_assert!((running.counts[c] - count).abs() <= 1e-9 * count);
                for j in 0..d {
                    prop_assert!((running.centers[(c, j)] - sums[(c, j)] / count).abs() < 1e-9);
                }
            }
        }
    }
}

fn check_bits<T: Element>() {
    let data = common::blobs::<T>(5_000, 9, 7, 1);
    let mut fortran = Array2::from_elem(data.dim().f(), T::default());
    fortran.assign(&data);
    let centers = data.slice(s![..12, ..]).to_owned();
    let weights: Vec<_> = (0..5_000_u32).map(|i| f64::from(i % 5)).collect();
    let schedule = Schedule {
        batch_size: 700,
        ..SCHEDULE
    };
    for weights in [None, Some(weights.as_slice())] {
        let bits = |rows, engine| {
            let fit = fit(rows, &centers, weights, &schedule, engine).expect("valid");
            (common::bits(&fit.running.centers), fit.running.counts)
        };
        let expected = bits(Rows::new(data.view()), (Some(Isa::Scalar), 1));
        for isa in Isa::available() {
            for threads in [1, 2, 3] {
                assert!(bits(Rows::new(data.view()), (Some(isa), threads)) == expected);
            }
            assert!(bits(Rows::new(fortran.view()), (Some(isa), 2)) == expected);
        }
    }
}

#[test]
fn a_fit_is_the_same_bits_for_any_threads_instruction_set_and_layout() {
    check_bits::<f32>();
    check_bits::<f64>();
}

#[test]
fn labels_and_inertia_are_those_of_predict_and_inertia() -> Result<(), Error> {
    let data = common::blobs::<f32>(3_000, 4, 5, 2);
    let centers = data.slice(s![..7, ..]).to_owned();
    let weights: Vec<_> = (0..3_000_u32).map(|i| f64::from(i % 3)).collect();
    let params = common::params(None, 2, 1);
    let rows = Rows::new(data.view());
    let problem = Problem::new(rows, 7, Some(&weights), &params)?;
    let (labels, sum) = problem.label(centers.view())?;
    let (pool, isa) = (Pool::new(2)?, params.isa());
    assert_eq!(labels, predict(rows, centers.view(), (&pool, isa))?);
    let weights = Some(weights.as_slice());
    let expected = inertia(rows, centers.view(), weights, &labels, (&pool, isa))?;
    assert_eq!(sum.to_bits(), expected.to_bits());
    Ok(())
}

#[test]
fn a_center_that_took_in_nothing_is_put_on_a_row_with_the_least_count_of_the_others() {
    let data = common::blobs::<f64>(50, 2, 2, 3);
    let params = common::params(None, 1, 1);
    let far = array![[0.0, 0.0], [1e6, 1e6], [1.0, 0.0]];
    let mut running = start(far.clone());
    let step = |running: &mut Running<f64>, ratio| {
        minibatch_step(Rows::new(data.view()), None, running, ratio, 5, &params).expect("valid")
    };
    assert_eq!(step(&mut running, 0.01).1, 1);
    assert!(
        data.rows()
            .into_iter()
            .any(|row| row == running.centers.row(1))
    );
    assert_eq!(
        running.counts[1].to_bits(),
        running.counts[0].min(running.counts[2]).to_bits()
    );
    let mut running = start(far);
    assert_eq!(step(&mut running, 0.0).1, 0);
    assert_eq!(running.centers.row(1), array![1e6, 1e6]);
}

#[test]
fn at_most_half_as_many_centers_as_the_batch_has_rows_are_reassigned() {
    let data = common::blobs::<f64>(10, 2, 2, 3);
    let params = common::params(None, 1, 1);
    let mut running = start(Array2::from_shape_fn((9, 2), |(c, _)| {
        if c == 0 { 0.0 } else { 1e6 }
    }));
    let rows = Rows::new(data.view());
    let (_, reassigned) =
        minibatch_step(rows, None, &mut running, 0.01, 5, &params).expect("valid");
    assert_eq!(reassigned, 5);
}

#[test]
fn rows_are_drawn_by_weight() -> Result<(), Error> {
    let data = Array2::from_shape_fn((1_000, 1), |(i, _)| if i % 10 == 0 { 1.0 } else { 0.0 });
    let schedule = Schedule {
        reassignment_ratio: 0.0,
        ..SCHEDULE
    };
    let centers = array![[0.9], [0.1]];
    let rows = Rows::new(data.view());
    for (weight, low, high) in [
        (0.0, 3_000.0, 3_000.0),
        (1.0, 200.0, 400.0),
        (9.0, 1_350.0, 1_650.0),
    ] {
        let ones = if weight == 0.0 { 1.0 } else { weight };
        let others = if weight == 0.0 { 0.0 } else { 1.0 };
        let weights: Vec<_> = (0..1_000)
            .map(|i| if i % 10 == 0 { ones } else { others })
            .collect();
        let fit = fit(rows, &centers, Some(&weights), &schedule, (None, 1))?;
        assert!(
            (low..=high).contains(&fit.running.counts[0]),
            "{:?}",
            fit.running.counts
        );
    }
    let fit = fit(rows, &centers, None, &schedule, (None, 1))?;
    assert!(
        (200.0..400.0).contains(&fit.running.counts[0]),
        "{:?}",
        fit.running.counts
    );
    Ok(())
}

proptest! {
    #![proptest_config(common::cases(32))]

    #[test]
    fn a_fit_knows_rows_by_their_values_and_weights_alone(
        seed in 0_u64..1000, n in 8_usize..3_000, batch_size in 1_usize..200, d in 1_usize..5,
    ) {
        // Few values, so that different rows have the same height and equal rows abound.
        let data = common::blobs::<f64>(n, d, 5, seed).mapv(|x| (x * 2.0).round());
        let mut noise = common::noise(seed);
        let mut weights: Vec<f64> = (0..n).map(|_| ((noise() + 1.0) * 2.0).floor()).collect();
        weights[0] = 3.0;
        let mut repeated: Vec<_> = weights
            .iter()
            .enumerate()
            .flat_map(|(row, &weight)| (0..4).filter(move |&i| f64::from(i) < weight).map(move |_| row))
            .collect();
        repeated.sort_by_cached_key(|_| noise().to_bits());
        let repeated = data.select(Axis(0), &repeated);
        let mut order: Vec<_> = (0..n).collect();
        order.sort_by_cached_key(|_| noise().to_bits());
        let shuffled = data.select(Axis(0), &order);
        let shuffled_weights: Vec<_> = order.iter().map(|&row| weights[row]).collect();
        let schedule = Schedule { batch_size, max_no_improvement: Some(5), ..SCHEDULE };
        let centers = data.slice(s![..3, ..]).to_owned();
        let last = |data: &Array2<f64>, weights| {
            fit(Rows::new(data.view()), &centers, weights, &schedule, (None, 2)).expect("valid")
        };
        let expected = last(&repeated, None);
        prop_assert_eq!(&last(&data, Some(&weights)), &expected);
        prop_assert_eq!(&last(&shuffled, Some(&shuffled_weights)), &expected);
    }
}

#[test]
fn weights_stand_for_their_sum_of_samples_but_for_no_less_than_are_positive() -> Result<(), Error> {
    let data = common::blobs::<f64>(100, 2, 2, 3);
    let n_samples = |weight: f64| {
        let mut weights = vec![weight; 100];
        weights[7] = 0.0;
        let params = common::params(None, 1, 1);
        let sampler =
            Problem::new(Rows::new(data.view()), 1, Some(&weights), &params)?.sampler()?;
        assert!(!sampler.draw_many(1_000, 0)?.contains(&7));
        Ok::<_, Error>((sampler.n_rows(), sampler.n_samples()))
    };
    assert_eq!(n_samples(1e-9)?, (100, 99));
    assert_eq!(n_samples(2.0)?, (100, 198));
    assert_eq!(n_samples(1e100)?, (100, 1_000_000_000_000_000));
    Ok(())
}

#[test]
fn a_sampler_of_other_data_is_refused() -> Result<(), Error> {
    let data = common::blobs::<f64>(100, 2, 2, 3);
    let params = common::params(None, 1, 1);
    let few = Problem::new(Rows::new(data.slice(s![..99, ..])), 1, None, &params)?.sampler()?;
    let problem = Problem::new(Rows::new(data.view()), 1, None, &params)?;
    let centers = data.slice(s![..2, ..]);
    let refused = problem.minibatch(
        &few,
        centers,
        &SCHEDULE,
        3,
        &mut common::go_on(),
        &mut |_| false,
    );
    let what = "the sampler";
    assert!(matches!(refused, Err(Error::Shape { what: found, .. }) if found == what));
    Ok(())
}

#[test]
fn a_fit_stops_for_the_reason_it_says() -> Result<(), Error> {
    let data = common::blobs::<f64>(1_000, 3, 4, 7);
    let centers = data.slice(s![..4, ..]).to_owned();
    let stop = |schedule: Schedule| {
        let rows = Rows::new(data.view());
        fit(rows, &centers, None, &schedule, (None, 1)).map(|fit| (fit.last.step, fit.last.stop))
    };
    assert_eq!(stop(SCHEDULE)?, (30, None));
    let tol = Schedule {
        tol: 1e9,
        ..SCHEDULE
    };
    assert_eq!(stop(tol)?, (2, Some(Stop::Shift)));
    let at_once = Schedule {
        max_no_improvement: Some(0),
        ..SCHEDULE
    };
    assert_eq!(stop(at_once)?, (2, Some(Stop::NoImprovement)));
    let patient = Schedule {
        max_no_improvement: Some(3),
        n_steps: 100_000,
        ..SCHEDULE
    };
    let (step, reason) = stop(patient)?;
    assert!(step > 4 && reason == Some(Stop::NoImprovement));
    Ok(())
}

#[test]
fn a_watcher_sees_every_step_and_can_end_the_fit() -> Result<(), Error> {
    let data = common::blobs::<f64>(1_000, 3, 4, 7);
    let params = common::params(None, 1, 1);
    let problem = Problem::new(Rows::new(data.view()), 2, None, &params)?;
    let centers = data.slice(s![..2, ..]);
    let sampler = problem.sampler()?;
    let mut seen = Vec::new();
    let ended = problem.minibatch(
        &sampler,
        centers,
        &SCHEDULE,
        3,
        &mut common::go_on(),
        &mut |progress| {
            seen.push((progress.step, progress.ewa_inertia.is_some()));
            progress.step == 3
        },
    );
    assert_eq!(ended, Err(Error::Interrupted));
    assert_eq!(seen, [(1, false), (2, true), (3, true)]);
    let ended = problem.minibatch(&sampler, centers, &SCHEDULE, 3, &mut || true, &mut |_| {
        false
    });
    assert_eq!(ended, Err(Error::Interrupted));
    Ok(())
}

#[test]
fn wrong_schedules_and_counts_are_refused_by_name() {
    let data = common::blobs::<f64>(100, 3, 4, 7);
    let rows = Rows::new(data.view());
    let centers = data.slice(s![..2, ..]).to_owned();
    let wrong = [
        (
            "batch_size",
            Schedule {
                batch_size: 0,
                ..SCHEDULE
            },
        ),
        (
            "n_steps",
            Schedule {
                n_steps: 0,
                ..SCHEDULE
            },
        ),
        (
            "tol",
            Schedule {
                tol: f64::NAN,
                ..SCHEDULE
            },
        ),
        (
            "reassignment_ratio",
            Schedule {
                reassignment_ratio: -1.0,
                ..SCHEDULE
            },
        ),
    ];
    for (expected, schedule) in wrong {
        let refused = fit(rows, &centers, None, &schedule, (None, 1));
        assert!(matches!(refused, Err(Error::Parameter { name, .. }) if name == expected));
    }
    let params = common::params(None, 1, 1);
    let mut running = start(centers);
    running.counts[1] = -1.0;
    let refused = minibatch_step(rows, None, &mut running, 0.0, 0, &params);
    assert!(matches!(
        refused,
        Err(Error::Parameter { name: "counts", .. })
    ));
    running.counts = vec![0.0; 3];
    let refused = minibatch_step(rows, None, &mut running, 0.0, 0, &params);
    assert!(matches!(refused, Err(Error::Shape { what: "counts", .. })));
}
