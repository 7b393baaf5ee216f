//! Every refusal says what and where.

use crate::common;
use ndarray::{Array2, array, s};
use rust_kmeans_core::{
    Error, Isa, Params, Partial, PartialParts, Pool, Rows, Scale, assign_block, kmeans_plusplus,
    lloyd, predict,
};

fn fit(data: &Array2<f32>, centers: &Array2<f32>, weights: Option<&[f64]>) -> Error {
    lloyd(
        Rows::new(data.view()),
        centers.view(),
        weights,
        &common::params(None, 1, 5),
        &mut common::go_on(),
    )
    .expect_err("to be refused")
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let data = common::blobs::<f32>(5, 3, 2, 1);
    assert_eq!(
        fit(&Array2::zeros((0, 3)), &data, None),
        Error::Empty {
            rows: 0,
            columns: 3
        }
    );
    assert_eq!(
        fit(&Array2::zeros((3, 0)), &data, None),
        Error::Empty {
            rows: 3,
            columns: 0
        }
    );
    assert_eq!(fit(&data, &Array2::zeros((0, 3)), None), Error::NoClusters);
    assert_eq!(
        fit(&data, &Array2::zeros((6, 3)), None),
        Error::TooFewRows {
            rows: 5,
            clusters: 6
        }
    );
    assert!(matches!(
        fit(&data, &Array2::zeros((2, 4)), None),
        Error::Shape {
            found: 4,
            expected: 3,
            ..
        }
    ));
    assert!(matches!(
        fit(&data, &data, Some(&[1.0])),
        Error::Shape {
            found: 1,
            expected: 5,
            ..
        }
    ));
}

#[test]
fn the_first_value_that_is_not_finite_is_named_by_row_and_column() {
    for (order, name) in [(false, "rows"), (true, "columns")] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut data = common::blobs::<f32>(3000, 7, 3, 2);
            data[(2500, 1)] = bad;
            data[(1234, 5)] = bad;
            data[(1234, 6)] = bad;
            let reversed;
            let (view, row) = if order {
                reversed = data.slice(s![..;-1, ..]);
                (reversed, 499)
            } else {
                (data.view(), 1234)
            };
            let column = if order { 1 } else { 5 };
            for threads in [1, 3] {
                let pool = Pool::new(threads).expect("threads");
                let error = Scale::of(Rows::new(view), None, &pool).expect_err("to be refused");
                assert!(
                    matches!(error, Error::NotFinite { row: r, column: c, .. } if (r, c) == (row, column)),
                    "{name}: {error}"
                );
            }
        }
    }
    let data = array![[1.0_f32], [2.0]];
    assert!(matches!(
        fit(&data, &array![[0.0], [f32::NAN]], None),
        Error::NotFinite {
            row: 1,
            column: 0,
            ..
        }
    ));
}

#[test]
fn bad_weights_are_refused() {
    let data = array![[1.0_f32], [2.0]];
    assert_eq!(
        fit(&data, &data, Some(&[1.0, -1.0])),
        Error::Weight {
            row: 1,
            value: -1.0
        }
    );
    assert!(matches!(
        fit(&data, &data, Some(&[f64::NAN, 1.0])),
        Error::Weight { row: 0, .. }
    ));
    assert_eq!(fit(&data, &data, Some(&[0.0, 0.0])), Error::NoWeight);
}

#[test]
fn data_whose_squares_overflow_float64_are_refused() {
    let data = array![[1e200_f64], [2.0]];
    let refused = lloyd(
        Rows::new(data.view()),
        data.view(),
        None,
        &common::params(None, 1, 5),
        &mut common::go_on(),
    );
    assert!(matches!(refused, Err(Error::Overflow { .. })));
}

#[test]
fn parameters_outside_their_range_are_refused() {
    for params in [
        Params {
            max_iter: 0,
            ..Params::default()
        },
        Params {
            tol: -1.0,
            ..Params::default()
        },
        Params {
            tol: f64::NAN,
            ..Params::default()
        },
        Params {
            n_threads: Some(0),
            ..Params::default()
        },
    ] {
        assert!(matches!(params.check(), Err(Error::Parameter { .. })));
    }
    let data = array![[1.0_f32], [2.0]];
    let params = common::params(None, 1, 1);
    for (k, expected) in [
        (0, Error::NoClusters),
        (
            3,
            Error::TooFewRows {
                rows: 2,
                clusters: 3,
            },
        ),
    ] {
        let refused = kmeans_plusplus(
            Rows::new(data.view()),
            k,
            None,
            0,
            None,
            &params,
            &mut common::go_on(),
        );
        assert_eq!(refused, Err(expected));
    }
}

#[test]
fn no_or_countless_local_trials_are_refused() {
    let data = array![[1.0_f32], [2.0]];
    let params = common::params(None, 1, 1);
    for trials in [0, 1025, usize::MAX] {
        let refused = kmeans_plusplus(
            Rows::new(data.view()),
            2,
            None,
            0,
            Some(trials),
            &params,
            &mut common::go_on(),
        );
        let Err(Error::Parameter { name, .. }) = refused else {
            panic!("{trials} trials were not refused");
        };
        assert_eq!(name, "n_local_trials");
    }
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    let data = array![[1.0_f32], [2.0]];
    let one = array![[1.0_f32]];
    let many = one.broadcast((1 << 60, 1)).expect("rows of one");
    let pool = Pool::new(1).expect("one thread");
    let refused = predict(Rows::new(data.view()), many, (&pool, Isa::Scalar));
    assert!(matches!(refused, Err(Error::Memory { .. })));
}

#[test]
fn a_damaged_scale_is_refused() {
    for (rows, low, high, weight) in [
        (0, 0.0, 1.0, 1.0),
        (1, 1.0, 0.0, 1.0),
        (1, f64::NAN, 1.0, 1.0),
        (1, 0.0, f64::NAN, 1.0),
        (1, 0.0, 1.0, f64::NAN),
        (1, 0.0, 1.0, -1.0),
    ] {
        let refused = Scale::new(rows, vec![low], vec![high], weight, true);
        assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    }
    let refused = Scale::new(1, Vec::new(), Vec::new(), 1.0, true);
    assert!(matches!(refused, Err(Error::Damaged { .. })));
}

#[test]
fn a_damaged_partial_is_refused() {
    let data = array![[1.0_f32], [2.0]];
    let pool = Pool::new(1).expect("one thread");
    let engine = (&pool, Isa::Scalar);
    let (_, partial) = assign_block(
        Rows::new(data.view()),
        data.view(),
        None,
        None,
        true,
        engine,
    )
    .expect("valid input");
    for damage in [
        |parts: &mut PartialParts| parts.n_rows = 3,
        |parts: &mut PartialParts| parts.sums.1[0] = f64::NAN,
        |parts: &mut PartialParts| parts.grids.0[0] = f64::INFINITY,
        |parts: &mut PartialParts| parts.inertia = Some((f64::NAN, 0.0)),
        |parts: &mut PartialParts| parts.inertia_grid.1 = f64::NAN,
    ] {
        let mut parts = partial.clone().into_parts();
        damage(&mut parts);
        let refused = Partial::from_parts(parts);
        assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    }
}
