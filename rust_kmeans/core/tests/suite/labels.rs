//! Labels are those of the naive float64 oracle, on every instruction set and for both types.

use crate::common;
use std::ops::Range;

use ndarray::{Array2, ArrayView2, ShapeBuilder, array, s};
use proptest::prelude::*;
use rust_kmeans_core::{Element, Error, Isa, Pool, Rows, predict, squared_distance};

fn check<T: Element>(data: ArrayView2<'_, T>, centers: ArrayView2<'_, T>) {
    let expected = common::labels(data, centers);
    for isa in Isa::available() {
        let pool = Pool::new(1).expect("no threads to start");
        let labels = predict(Rows::new(data), centers, (&pool, isa)).expect("valid input");
        assert_eq!(
            labels,
            expected,
            "{} {} {:?} {:?}",
            isa.name(),
            T::NAME,
            data.dim(),
            centers.dim()
        );
    }
}

/// As float64 and as float32.
fn check_both(data: &Array2<f64>, centers: &Array2<f64>) {
    check(data.view(), centers.view());
    check(
        data.mapv(f32::from_f64).view(),
        centers.mapv(f32::from_f64).view(),
    );
}

/// Numbers of every awkward kind, within what squared float64 distances can hold.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -2.0..2.0_f64,
        2 => (-3_i32..4).prop_map(f64::from),
        1 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(1e30),
        1 => Just(-1e30),
        1 => Just(1e-30),
        1 => Just(1e-40),
        1 => Just(-1e-44),
        1 => 999.0..1001.0_f64,
    ]
}

/// Data and centers; the kinds of value are mixed within one feature, or one kind throughout.
fn problem() -> impl Strategy<Value = (Array2<f64>, Array2<f64>)> {
    filled((1..200, 1..40, 1..20))
}

/// Rows wide enough for their few centers that they are not transposed.
fn wide_problem() -> impl Strategy<Value = (Array2<f64>, Array2<f64>)> {
    filled((1..70, 32..130, 1..7))
}

/// Rows and centers for which bytes are looked at first, where the instruction set has such an instruction.
fn large_problem() -> impl Strategy<Value = (Array2<f64>, Array2<f64>)> {
    filled((1..140, 64..150, 48..90))
}

fn filled(
    sizes: (Range<usize>, Range<usize>, Range<usize>),
) -> impl Strategy<Value = (Array2<f64>, Array2<f64>)> {
    (sizes, 0_u8..4).prop_flat_map(|((n, d, k), kind)| {
        let cell = match kind {
            0 => value().boxed(),
            1 => (-2_i32..3).prop_map(f64::from).boxed(),
            2 => (-1.0..1.0_f64).boxed(),
            _ => (-1.0..1.0_f64).prop_map(|x| 1000.0 + x * 1e-3).boxed(),
        };
        (
            prop::collection::vec(cell.clone(), n * d),
            prop::collection::vec(cell, k * d),
        )
            .prop_map(move |(data, centers)| {
                (
                    Array2::from_shape_vec((n, d), data).expect("n × d"),
                    Array2::from_shape_vec((k, d), centers).expect("k × d"),
                )
            })
    })
}

proptest! {
    #![proptest_config(common::cases(300))]

    #[test]
    fn labels_are_the_oracles((data, centers) in problem()) {
        check_both(&data, &centers);
    }

    #[test]
    fn duplicated_centers_give_the_lowest_index((data, centers) in problem()) {
        let twice = ndarray::concatenate![ndarray::Axis(0), centers, centers];
        check(data.view(), twice.view());
        check(data.mapv(f32::from_f64).view(), twice.mapv(f32::from_f64).view());
    }
}

proptest! {
    #![proptest_config(common::cases(40))]

    #[test]
    fn labels_of_wide_rows_are_the_oracles((data, centers) in wide_problem()) {
        check_both(&data, &centers);
    }

    #[test]
    fn labels_of_wide_rows_among_many_centers_are_the_oracles((data, centers) in large_problem()) {
        check_both(&data, &centers);
    }

    #[test]
    fn many_centers_close_to_rows_and_to_each_other_are_told_apart(
        (data, _) in large_problem(),
        scale in prop_oneof![Just(0.0), Just(1e-9), Just(1e-6), Just(1e-3), Just(0.1)],
        copies in 1_usize..40,
    ) {
        // Centers that are rows, several times each, moved by next to nothing: gaps about as large as each bound.
        let rows = data.nrows();
        let centers = Array2::from_shape_fn((48 + copies, data.ncols()), |(i, j)| {
            let step = f64::from(u32::try_from((i * 31 + j * 17) % 13).expect("small")) - 6.0;
            data[(i % rows, j)] * (1.0 + scale * step)
        });
        check_both(&data, &centers);
    }
}

#[test]
fn one_large_feature_does_not_hide_the_others() {
    // As bytes all rows are the same: nothing but the first feature is more than half a unit.
    let data = Array2::from_shape_fn((200, 70), |(i, j)| match j {
        0 => 1e6,
        _ => f64::from(u32::try_from((i * 7 + j * 3) % 11).expect("small")),
    });
    let centers = data.slice(s![..;3, ..]).to_owned() + 0.25;
    check_both(&data, &centers);
}

#[test]
fn rows_far_apart_in_size_are_told_apart() {
    // One row far out, and rows much smaller than the centers or nothing but 0.
    let mut noise = common::noise(3);
    let mut data = Array2::from_shape_simple_fn((300, 66), || noise() - 0.5);
    let centers = data.slice(s![..100;2, ..]).to_owned();
    data.row_mut(299).fill(1e6);
    for (i, mut row) in data.outer_iter_mut().enumerate().skip(100).take(190) {
        row *= [1.0, 1e-3, 1e-9, 1e-25, 1e-35, 0.0][i % 6];
    }
    let mut wide = Array2::zeros((300, 90));
    wide.slice_mut(s![.., 11..77]).assign(&data);
    for data in [data.view(), wide.slice(s![.., 11..77])] {
        check(data, centers.view());
    }
    let wide = wide.mapv(f32::from_f64);
    check(
        wide.slice(s![.., 11..77]),
        centers.mapv(f32::from_f64).view(),
    );
}

/// Centers of which the first is the nearest to a row of ones, and the second nearer to what bytes leave of it: opposites, for
/// which a shift is 0, that differ by `small` in most features.
fn misleading(d: usize, k: usize, small: f64) -> Array2<f64> {
    Array2::from_shape_fn((k, d), |(c, j)| {
        let opposite = if c % 2 == 0 { 1.0 } else { -1.0 };
        match (c / 2, j) {
            (0, 1) => -opposite,
            (_, 0 | 1) => 0.0,
            (0, _) => opposite * small,
            (other, j) if (j * other) % 3 == j % 2 => opposite * small,
            _ => -opposite * small,
        }
    })
}

/// All rows belong to the first center, by the oracle and by the kernel.
fn check_all_first(data: &Array2<f64>, centers: &Array2<f64>) {
    let labels = common::labels(data.view(), centers.view());
    assert!(labels.iter().all(|&label| label == 0));
    check_both(data, centers);
}

#[test]
fn what_bytes_leave_out_of_a_row_is_not_forgotten() {
    // In units of its largest feature all but the second one are 0.
    for d in [64, 79, 81, 128] {
        let data = Array2::from_shape_fn((70, d), |(_, j)| match j {
            0 => 127.0,
            1 => 1.0,
            _ => 0.49,
        });
        let centers = misleading(d, 50, 1.0);
        check_all_first(&data, &centers);
    }
}

#[test]
fn what_bytes_leave_out_of_a_center_is_not_forgotten() {
    // The largest feature of the centers, the first, matters to no row.
    for d in [64, 79, 81, 128] {
        let data = Array2::from_shape_fn((70, d), |(_, j)| if j == 0 { 0.0 } else { 1.0 });
        let mut centers = misleading(d, 50, 0.49);
        for (c, first) in centers.column_mut(0).iter_mut().enumerate() {
            *first = if c % 2 == 0 { 127.0 } else { -127.0 };
        }
        check_all_first(&data, &centers);
    }
}

#[test]
fn every_size_around_the_lanes_and_groups_is_right() {
    for d in [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 239] {
        for k in [1, 2, 3, 4, 5, 7, 8, 9, 13, 48, 50] {
            for n in [1, 2, 15, 16, 17, 63, 64, 65, 130] {
                let data = common::blobs::<f64>(n, d, 5, 1);
                let centers = common::blobs::<f64>(k, d, 5, 2);
                check_both(&data, &centers);
            }
        }
    }
}

#[test]
fn any_strides_are_read_in_place() {
    let data = common::blobs::<f32>(150, 12, 4, 3);
    let centers = common::blobs::<f32>(6, 12, 4, 4);
    let mut fortran = Array2::zeros(data.dim().f());
    fortran.assign(&data);
    check(fortran.view(), centers.view());
    check(data.slice(s![.., ..;-1]), centers.view());
    check(data.slice(s![..;-2, ..]), centers.view());
    check(data.slice(s![1..;3, ..5]), centers.slice(s![.., ..5]));
    check(data.slice(s![.., ..;2]), centers.slice(s![.., ..;2]));
    check(fortran.slice(s![5..;2, 3..4]), centers.slice(s![.., 3..4]));
    // What lies beyond a row is no part of it.
    let mut wide = common::blobs::<f32>(70, 50, 4, 5);
    wide.slice_mut(s![.., 37..]).fill(f32::NAN);
    check(wide.slice(s![.., ..37]), wide.slice(s![..2, ..37]));
    let row = data.slice(s![..1, ..]);
    check(
        row.broadcast((100, 12)).expect("repeats a row"),
        centers.view(),
    );
}

#[test]
fn a_float32_gap_below_its_rounding_is_decided_in_float64() {
    // Relative to the shift the two distances differ by one part in 10^8.
    let data = array![[1.0_f32, 0.0], [1.0, 1e-8], [1.0, -1e-8]];
    let centers = array![[0.0_f32, 1.0], [0.0, -1.0], [0.0, 1.0]];
    check(data.view(), centers.view());
    let pool = Pool::new(1).expect("no threads to start");
    let labels =
        predict(Rows::new(data.view()), centers.view(), (&pool, Isa::Scalar)).expect("valid input");
    assert_eq!(labels, [0, 0, 1]);
}

#[test]
fn one_far_outlier_does_not_change_the_other_labels() {
    let mut data = common::blobs::<f32>(500, 9, 6, 5);
    data[(77, 3)] = 3e18;
    data[(78, 3)] = -1e30;
    check(data.view(), common::blobs::<f32>(11, 9, 6, 6).view());
}

#[test]
fn points_on_bisectors_are_ties() {
    let data = Array2::from_shape_fn((400, 3), |(i, j)| {
        f32::from(u8::try_from((i >> (2 * j)) % 5).expect("small"))
    });
    check(data.view(), data.slice(s![..;13, ..]));
}

#[test]
fn the_distance_sums_from_first_to_last() {
    assert_eq!(
        squared_distance(&[1e8, 1.0, 1.0], &[0.0, 0.0, 0.0]).to_bits(),
        ((1e16_f64 + 1.0) + 1.0).to_bits()
    );
}

#[test]
fn an_unknown_instruction_set_is_refused() {
    let here = Isa::available();
    for isa in [Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni, Isa::Neon]
        .into_iter()
        .filter(|isa| !here.contains(isa))
    {
        let pool = Pool::new(1).expect("no threads to start");
        let data = array![[1.0_f32]];
        let refused = predict(Rows::new(data.view()), data.view(), (&pool, isa));
        assert!(matches!(refused, Err(Error::Isa { .. })));
    }
}
