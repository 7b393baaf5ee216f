//! Sparse rows give the bits of the dense data: labels, centers and seeds; the inertia up to rounding.

use crate::common;
use ndarray::{Array2, array, s};
use proptest::prelude::*;
use rust_kmeans_core::{
    Csr, Element, Error, Fit, Index, Isa, Params, Pool, Problem, Rows, Schedule, SparseProblem,
    inertia, minibatch_step, sparse_inertia, sparse_minibatch_step, sparse_predict,
};

/// The three arrays of a CSR matrix.
struct Parts<T, I> {
    data: Vec<T>,
    indices: Vec<I>,
    indptr: Vec<I>,
    n_columns: usize,
}

impl<T: Element, I: Index + TryFrom<usize>> Parts<T, I> {
    /// The cells that are not zero.
    fn of(dense: &Array2<T>) -> Self {
        let number = |n: usize| I::try_from(n).unwrap_or_else(|_| unreachable!("small data"));
        let mut parts = Self {
            data: Vec::new(),
            indices: Vec::new(),
            indptr: vec![number(0)],
            n_columns: dense.ncols(),
        };
        for row in dense.rows() {
            for (column, &x) in row.iter().enumerate() {
                if x != T::default() {
                    parts.data.push(x);
                    parts.indices.push(number(column));
                }
            }
            parts.indptr.push(number(parts.data.len()));
        }
        parts
    }

    fn view(&self) -> Result<Csr<'_, T, I>, Error> {
        Csr::new(&self.data, &self.indices, &self.indptr, self.n_columns)
    }
}

fn csr<T: Element>(dense: &Array2<T>) -> Parts<T, i32> {
    Parts::of(dense)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-10 * a.abs().max(b.abs())
}

fn same_fit<T: Element>(sparse: &Fit<T>, dense: &Fit<T>) {
    assert_eq!(common::bits(&sparse.centers), common::bits(&dense.centers));
    assert_eq!(sparse.labels, dense.labels);
    assert_eq!((sparse.n_iter, sparse.strict), (dense.n_iter, dense.strict));
    assert!(
        close(sparse.inertia, dense.inertia),
        "{} {}",
        sparse.inertia,
        dense.inertia
    );
}

/// Everything that a fit does, on sparse and on dense data.
fn agree<T: Element>(dense: &Array2<T>, k: usize, weights: Option<&[f64]>, spherical: bool) {
    for n_threads in [1, 3] {
        let params = Params {
            max_iter: 20,
            spherical,
            n_threads: Some(n_threads),
            ..Params::default()
        };
        let params = params.check().expect("valid parameters");
        let parts = csr(dense);
        let data = parts.view().expect("a CSR matrix");
        let full = Problem::new(Rows::new(dense.view()), k, weights, &params).expect("valid data");
        let sparse = SparseProblem::new(data, k, weights, &params).expect("valid data");
        let variances = [full.mean_variance(), sparse.mean_variance()].map(|x| x.expect("finite"));
        assert!(close(variances[0], variances[1]), "{variances:?}");
        let go_on = &mut common::go_on();
        let seeds = full
            .kmeans_plusplus(k, 7, None, go_on)
            .expect("enough rows");
        assert_eq!(
            sparse
                .kmeans_plusplus(k, 7, None, go_on)
                .expect("enough rows"),
            seeds
        );
        assert_eq!(sparse.random_rows(k, 7), full.random_rows(k, 7));
        let start = [vec![seeds.centers.view()]];
        let fit = full.lloyd_many(&start, 0.0, go_on).expect("a fit");
        let sparse_fit = sparse.lloyd_many(&start, 0.0, go_on).expect("a fit");
        same_fit(&sparse_fit[0], &fit[0]);
    }
}

/// Data with many zeros, rows without any number, duplicates and ties among them.
fn problem() -> impl Strategy<Value = (Array2<f64>, usize, Option<Vec<f64>>)> {
    (1_usize..120, 1_usize..60, 1_u32..9, any::<bool>()).prop_flat_map(|(n, d, tenths, whole)| {
        let number = if whole {
            (-2_i32..3).prop_map(f64::from).boxed()
        } else {
            (-3.0..3.0_f64).boxed()
        };
        let cell = prop_oneof![10 - tenths => Just(0.0), tenths => number];
        let weights = prop::option::of(prop::collection::vec(0.1..4.0_f64, n));
        (prop::collection::vec(cell, n * d), 1..=n.min(20), weights).prop_map(
            move |(cells, k, weights)| {
                let dense = Array2::from_shape_vec((n, d), cells).expect("n × d");
                (dense, k, weights)
            },
        )
    })
}

proptest! {
    #![proptest_config(common::cases(150))]

    #[test]
    fn a_fit_is_that_of_the_dense_data((dense, k, weights) in problem(), spherical in any::<bool>()) {
        agree(&dense, k, weights.as_deref(), spherical);
        agree(&dense.mapv(f32::from_f64), k, weights.as_deref(), spherical);
    }

    #[test]
    fn labels_and_inertia_are_those_of_the_dense_data((dense, k, weights) in problem()) {
        let centers = dense.slice(ndarray::s![..k, ..]).to_owned() * 0.75;
        let parts = csr(&dense);
        let data = parts.view().expect("a CSR matrix");
        let pool = Pool::new(2).expect("threads");
        let labels = common::labels(dense.view(), centers.view());
        for isa in Isa::available() {
            let found = sparse_predict(&data, centers.view(), (&pool, isa));
            assert_eq!(found.expect("labels"), labels, "{}", isa.name());
        }
        let engine = (&pool, Isa::Scalar);
        let rows = Rows::new(dense.view());
        let expected = inertia(rows, centers.view(), weights.as_deref(), &labels, engine);
        let found = sparse_inertia(&data, centers.view(), weights.as_deref(), &labels, engine);
        assert!(close(found.expect("finite"), expected.expect("finite")));
    }
}

/// Few nonzeros in many features, where distances are not taken from dense rows.
fn wide(n: usize, d: usize) -> Array2<f64> {
    let mut noise = common::noise(5);
    let mut dense = Array2::zeros((n, d));
    for mut row in dense.rows_mut() {
        for _ in 0..4 {
            let place = (noise() * 0.5 + 0.5) * d as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to d"
            )]
            let column = place as usize;
            row[column] = noise();
        }
    }
    dense
}

#[test]
fn wide_data_with_few_nonzeros_agree_too() {
    agree(&wide(1_500, 300), 12, None, false);
    agree(&wide(1_500, 300), 12, None, true);
}

#[test]
fn empty_clusters_get_the_rows_that_dense_data_give_them() {
    let dense = wide(400, 200);
    let mut start = Array2::<f64>::from_elem((5, 200), 50.0);
    start.row_mut(0).assign(&dense.row(0));
    let params = common::params(None, 2, 30);
    let parts = csr(&dense);
    let data = parts.view().expect("a CSR matrix");
    let sparse = SparseProblem::new(data, 5, None, &params).expect("valid data");
    let full = Problem::new(Rows::new(dense.view()), 5, None, &params).expect("valid data");
    let starts = [vec![start.view()]];
    let go_on = &mut common::go_on();
    let fits = sparse.lloyd_many(&starts, 0.0, go_on).expect("a fit");
    assert_eq!(fits[0].n_distinct(), 5);
    same_fit(
        &fits[0],
        &full.lloyd_many(&starts, 0.0, go_on).expect("a fit")[0],
    );
}

#[test]
fn both_types_of_indices_give_the_same_fit() {
    let dense = wide(100, 50).mapv(f32::from_f64);
    let (narrow, long) = (csr(&dense), Parts::<f32, i64>::of(&dense));
    let pool = Pool::new(1).expect("no threads to start");
    let centers = dense.slice(ndarray::s![..3, ..]);
    assert_eq!(
        sparse_predict(
            &narrow.view().expect("a CSR matrix"),
            centers,
            (&pool, Isa::Scalar)
        ),
        sparse_predict(
            &long.view().expect("a CSR matrix"),
            centers,
            (&pool, Isa::Scalar)
        )
    );
}

#[test]
fn every_row_a_cluster_of_its_own_leaves_no_inertia() {
    let dense = wide(40, 100);
    let params = common::params(None, 1, 10);
    let parts = csr(&dense);
    let sparse = SparseProblem::new(parts.view().expect("a CSR matrix"), 40, None, &params);
    let starts = [vec![dense.view()]];
    let fits = sparse
        .expect("valid data")
        .lloyd_many(&starts, 0.0, &mut common::go_on())
        .expect("a fit");
    assert_eq!(fits[0].inertia.to_bits(), 0);
}

#[test]
fn arrays_that_are_no_matrix_are_refused_by_row() {
    let data = [1.0_f64, 2.0, 3.0];
    let new = |indices: &[i32], indptr: &[i32]| Csr::new(&data, indices, indptr, 4).map(|_| ());
    let wrong = |reason, row| Err(Error::Sparse { reason, row });
    assert_eq!(new(&[0, 3, 1], &[0, 2, 3]), Ok(()));
    assert_eq!(
        new(&[3, 0, 1], &[0, 2, 3]),
        wrong("columns do not rise strictly", 0)
    );
    assert_eq!(
        new(&[0, 1, 1], &[0, 1, 3]),
        wrong("columns do not rise strictly", 1)
    );
    assert_eq!(
        new(&[0, 1, 4], &[0, 2, 3]),
        wrong("a column is too high", 1)
    );
    assert_eq!(
        new(&[-1, 1, 1], &[0, 2, 3]),
        wrong("a column is negative", 0)
    );
    for indptr in [&[0, 2, 1, 3], &[0, 1, 2, 4], &[0, -1, 2, 3]] {
        assert!(matches!(new(&[0, 1, 2], indptr), Err(Error::Sparse { .. })));
    }
    assert_eq!(
        new(&[0, 1, 2], &[0]),
        Err(Error::Empty {
            rows: 0,
            columns: 4
        })
    );
    assert!(matches!(new(&[0, 1], &[0, 2]), Err(Error::Shape { .. })));
}

#[test]
fn a_value_that_is_not_finite_is_named_by_row_and_column() {
    let dense = array![[0.0, 1.0, 0.0], [0.0, 0.0, f64::INFINITY]];
    let parts = csr(&dense);
    let problem = SparseProblem::new(
        parts.view().expect("a CSR matrix"),
        1,
        None,
        &common::params(None, 1, 1),
    );
    assert_eq!(
        problem.err(),
        Some(Error::NotFinite {
            what: "X",
            value: f64::INFINITY,
            row: 1,
            column: 2
        })
    );
}

/// Dense and sparse fits, and steps, from the same start.
fn check_batches<T: Element>(weighted: bool) -> Result<(), Error> {
    let mut noise = common::noise(11);
    let mut data = common::blobs::<T>(3_000, 40, 6, 3);
    data.mapv_inplace(|x| if noise() < 0.8 { T::default() } else { x });
    let weights: Vec<_> = (0..3_000_u32).map(|i| f64::from(i % 4)).collect();
    let weights = weighted.then_some(weights.as_slice());
    let schedule = Schedule {
        batch_size: 300,
        n_steps: 40,
        tol: 0.0,
        max_no_improvement: Some(10),
        reassignment_ratio: 0.1,
    };
    let start = data.slice(s![..9, ..]).to_owned();
    for threads in [1, 3] {
        let params = common::params(None, threads, 1);
        let parts = csr(&data);
        let dense = Problem::new(Rows::new(data.view()), 9, weights, &params)?;
        let sparse = SparseProblem::new(parts.view()?, 9, weights, &params)?;
        let (drawn, draws) = (dense.sampler()?, sparse.sampler()?);
        assert_eq!(drawn, draws);
        let mut go_on = common::go_on();
        let expected =
            dense.minibatch(&drawn, start.view(), &schedule, 3, &mut go_on, &mut |_| {
                false
            })?;
        let found =
            sparse.minibatch(&draws, start.view(), &schedule, 3, &mut go_on, &mut |_| {
                false
            })?;
        assert_eq!(found.running, expected.running);
        assert_eq!(found.last.step, expected.last.step);
        assert!(close(found.last.mean_inertia, expected.last.mean_inertia));
        let centers = expected.running.centers.view();
        let (labels, sum) = dense.label(centers)?;
        let (sparse_labels, sparse_sum) = sparse.label(centers)?;
        assert_eq!(sparse_labels, labels);
        assert!(close(sparse_sum, sum));
        let (mut running, mut sparse_running) = (expected.running.clone(), expected.running);
        let rows = Rows::new(data.view());
        let (sum, reassigned) = minibatch_step(rows, weights, &mut running, 0.5, 1, &params)?;
        let (sparse_sum, sparse_reassigned) =
            sparse_minibatch_step(parts.view()?, weights, &mut sparse_running, 0.5, 1, &params)?;
        assert_eq!(sparse_running, running);
        assert_eq!(sparse_reassigned, reassigned);
        assert!(close(sparse_sum, sum));
    }
    Ok(())
}

#[test]
fn batches_move_centers_to_the_bits_of_the_dense_data() -> Result<(), Error> {
    for weighted in [false, true] {
        check_batches::<f32>(weighted)?;
        check_batches::<f64>(weighted)?;
    }
    Ok(())
}
