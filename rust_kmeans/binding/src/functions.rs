//! The functions of the module: each borrows its arrays, picks the element type and goes through [`run`].

use ndarray::{Array2, ArrayView2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayLike1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;
use rust_kmeans_core as core;
use rust_kmeans_core::{Element, Isa, Rows};

use crate::arrays::{self, Matrix, Weights};
use crate::partial::{Partial, Scale};
use crate::run::{engine, params, run, to_python};

type FitTuple<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyArray1<i32>>,
    f64,
    usize,
    bool,
    &'static str,
);
type BestTuple<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyArray1<i32>>,
    f64,
    usize,
    &'static str,
    usize,
);
type SeedsTuple<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>);

/// Calls a generic function for the element type of a matrix.
macro_rules! for_type {
    ($matrix:expr, |$view:ident| $call:expr) => {
        match &$matrix {
            Matrix::F32(array) => {
                let $view = Rows::new(array.as_array());
                $call
            }
            Matrix::F64(array) => {
                let $view = Rows::new(array.as_array());
                $call
            }
        }
    };
}

#[pyfunction]
#[pyo3(signature = (X, centers, *, sample_weight=None, max_iter=300, tol=0.0, algorithm="auto", n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn lloyd<'py>(
    X: &Bound<'py, PyAny>,
    centers: &Bound<'py, PyAny>,
    sample_weight: Weights<'py>,
    max_iter: usize,
    tol: f64,
    algorithm: &str,
    n_threads: Option<usize>,
) -> PyResult<FitTuple<'py>> {
    fn typed<'py, T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        centers: &Bound<'py, PyAny>,
        weights: Option<&[f64]>,
        params: &core::ValidParams,
    ) -> PyResult<FitTuple<'py>> {
        let py = centers.py();
        let mut borrowed: Option<PyReadonlyArray2<'_, T>> = None;
        let centers = arrays::centers(centers, &mut borrowed)?;
        let fit = run(py, |interrupt| {
            core::lloyd(rows, centers, weights, params, interrupt)
        })?;
        Ok((
            to_numpy(py, fit.centers),
            fit.labels.into_pyarray(py),
            fit.inertia,
            fit.n_iter,
            fit.strict,
            fit.algorithm.name(),
        ))
    }
    let params = params(max_iter, tol, algorithm, n_threads)?;
    let weights = arrays::weights(&sample_weight);
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        weights.as_deref(),
        &params
    ))
}

/// Where a fit starts.
enum Start<'a, T> {
    Centers(ArrayView2<'a, T>),
    Plusplus,
    Parallel,
    Random,
}

#[pyfunction]
#[pyo3(signature = (X, init, n_clusters, *, seeds, sample_weight=None, max_iter=300, tol=0.0, algorithm="auto", n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn fit<'py>(
    X: &Bound<'py, PyAny>,
    init: &Bound<'py, PyAny>,
    n_clusters: usize,
    seeds: Vec<u64>,
    sample_weight: Weights<'py>,
    max_iter: usize,
    tol: f64,
    algorithm: &str,
    n_threads: Option<usize>,
) -> PyResult<BestTuple<'py>> {
    fn typed<'py, T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        init: &Bound<'py, PyAny>,
        (n_clusters, seeds): (usize, &[u64]),
        weights: Option<&[f64]>,
        tol: f64,
        params: &core::ValidParams,
    ) -> PyResult<BestTuple<'py>> {
        let py = init.py();
        let mut borrowed: Option<PyReadonlyArray2<'_, T>> = None;
        let start = match init.extract::<PyBackedStr>() {
            Ok(name) if &*name == "k-means++" => Start::Plusplus,
            Ok(name) if &*name == "k-means||" => Start::Parallel,
            Ok(name) if &*name == "random" => Start::Random,
            _ => Start::Centers(arrays::centers(init, &mut borrowed)?),
        };
        let (best, distinct) = run(py, |interrupt| {
            best_fit(
                rows,
                &start,
                (n_clusters, seeds),
                weights,
                tol,
                params,
                interrupt,
            )
        })?;
        Ok((
            to_numpy(py, best.centers),
            best.labels.into_pyarray(py),
            best.inertia,
            best.n_iter,
            best.algorithm.name(),
            distinct,
        ))
    }
    let params = params(max_iter, 0.0, algorithm, n_threads)?;
    let weights = arrays::weights(&sample_weight);
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        init,
        (n_clusters, &seeds),
        weights.as_deref(),
        tol,
        &params
    ))
}

/// The fit of least inertia, the first of equals, and how many clusters of it have samples. `tol` is relative to the
/// mean variance.
fn best_fit<T: Element>(
    rows: Rows<'_, T>,
    start: &Start<'_, T>,
    (n_clusters, seeds): (usize, &[u64]),
    weights: Option<&[f64]>,
    tol: f64,
    params: &core::ValidParams,
    interrupt: &mut core::Interrupt<'_>,
) -> core::Result<(core::Fit<T>, usize)> {
    let problem = core::Problem::new(rows, n_clusters, weights, params)?;
    let tol = if tol > 0.0 {
        tol * problem.mean_variance()?
    } else {
        0.0
    };
    let mut one = |seed: u64| match start {
        Start::Centers(centers) => problem.lloyd(*centers, tol, interrupt),
        Start::Plusplus => {
            let seeds = problem.kmeans_plusplus(n_clusters, seed, None, interrupt)?;
            problem.lloyd(seeds.centers.view(), tol, interrupt)
        }
        Start::Parallel => {
            let seeds = problem.kmeans_parallel(n_clusters, seed, interrupt)?;
            problem.lloyd(seeds.centers.view(), tol, interrupt)
        }
        Start::Random => {
            let seeds = problem.random_rows(n_clusters, seed)?;
            problem.lloyd(seeds.centers.view(), tol, interrupt)
        }
    };
    let (&first, rest) = seeds.split_first().unwrap_or((&0, &[]));
    let mut best = one(first)?;
    for &seed in rest {
        let next = one(seed)?;
        if next.inertia < best.inertia {
            best = next;
        }
    }
    let distinct = best.n_distinct();
    Ok((best, distinct))
}

#[pyfunction]
#[pyo3(
    signature = (X, centers, *, sample_weight=None, scale=None, check=true, n_threads=Some(1)),
    text_signature = "(X, centers, *, sample_weight=None, scale=None, check=True, n_threads=1)"
)]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn assign_block<'py>(
    X: &Bound<'py, PyAny>,
    centers: &Bound<'py, PyAny>,
    sample_weight: Weights<'py>,
    scale: Option<&Bound<'py, Scale>>,
    check: bool,
    n_threads: Option<usize>,
) -> PyResult<(Bound<'py, PyArray1<i32>>, Partial)> {
    fn typed<'py, T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        centers: &Bound<'py, PyAny>,
        weights: Option<&[f64]>,
        scale: Option<&core::Scale>,
        check: bool,
        (pool, isa): (&core::Pool, Isa),
    ) -> PyResult<(Bound<'py, PyArray1<i32>>, Partial)> {
        let py = centers.py();
        let mut borrowed: Option<PyReadonlyArray2<'_, T>> = None;
        let centers = arrays::centers(centers, &mut borrowed)?;
        let (labels, partial) = run(py, |_| {
            core::assign_block(rows, centers, weights, scale, check, (pool, isa))
        })?;
        Ok((labels.into_pyarray(py), Partial(partial)))
    }
    let (pool, isa) = engine(n_threads)?;
    let weights = arrays::weights(&sample_weight);
    let scale = scale.map(|scale| &scale.get().0);
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        weights.as_deref(),
        scale,
        check,
        (&pool, isa)
    ))
}

#[pyfunction]
#[pyo3(
    signature = (X, sample_weight=None, *, n_threads=Some(1)),
    text_signature = "(X, sample_weight=None, *, n_threads=1)"
)]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn block_scale(
    X: &Bound<'_, PyAny>,
    sample_weight: Weights<'_>,
    n_threads: Option<usize>,
) -> PyResult<Scale> {
    let py = X.py();
    let (pool, _) = engine(n_threads)?;
    let weights = arrays::weights(&sample_weight);
    let weights = weights.as_deref();
    for_type!(Matrix::new("X", X)?, |rows| run(py, |_| core::Scale::of(
        rows, weights, &pool
    )))
    .map(Scale)
}

#[pyfunction]
#[pyo3(signature = (X, *, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn mean_variance(X: &Bound<'_, PyAny>, n_threads: Option<usize>) -> PyResult<f64> {
    let py = X.py();
    let (pool, _) = engine(n_threads)?;
    for_type!(Matrix::new("X", X)?, |rows| run(py, |_| {
        core::mean_variance(rows, &pool)
    }))
}

#[pyfunction]
#[pyo3(signature = (X, centers, *, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn predict<'py>(
    X: &Bound<'py, PyAny>,
    centers: &Bound<'py, PyAny>,
    n_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    fn typed<T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        centers: &Bound<'_, PyAny>,
        (pool, isa): (&core::Pool, Isa),
    ) -> PyResult<Vec<i32>> {
        let mut borrowed: Option<PyReadonlyArray2<'_, T>> = None;
        let view = arrays::centers(centers, &mut borrowed)?;
        run(centers.py(), |_| core::predict(rows, view, (pool, isa)))
    }
    let (pool, isa) = engine(n_threads)?;
    let labels = for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        (&pool, isa)
    ))?;
    Ok(labels.into_pyarray(X.py()))
}

#[pyfunction]
#[pyo3(signature = (X, centers, labels, *, sample_weight=None, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn inertia<'py>(
    X: &Bound<'py, PyAny>,
    centers: &Bound<'py, PyAny>,
    labels: PyArrayLike1<'py, i32>,
    sample_weight: Weights<'py>,
    n_threads: Option<usize>,
) -> PyResult<f64> {
    fn typed<T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        centers: &Bound<'_, PyAny>,
        weights: Option<&[f64]>,
        labels: &[i32],
        pool: &core::Pool,
    ) -> PyResult<f64> {
        let mut borrowed: Option<PyReadonlyArray2<'_, T>> = None;
        let view = arrays::centers(centers, &mut borrowed)?;
        run(centers.py(), |_| {
            core::inertia(rows, view, weights, labels, pool)
        })
    }
    let (pool, _) = engine(n_threads)?;
    let weights = arrays::weights(&sample_weight);
    let labels = labels.as_array().to_vec();
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        weights.as_deref(),
        &labels,
        &pool
    ))
}

#[pyfunction]
#[pyo3(signature = (X, n_clusters, *, sample_weight=None, seed, n_local_trials=None, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn kmeans_plusplus<'py>(
    X: &Bound<'py, PyAny>,
    n_clusters: usize,
    sample_weight: Weights<'py>,
    seed: u64,
    n_local_trials: Option<usize>,
    n_threads: Option<usize>,
) -> PyResult<SeedsTuple<'py>> {
    let py = X.py();
    let params = params(1, 0.0, "auto", n_threads)?;
    let weights = arrays::weights(&sample_weight);
    let weights = weights.as_deref();
    for_type!(Matrix::new("X", X)?, |rows| run(py, |interrupt| {
        core::kmeans_plusplus(
            rows,
            n_clusters,
            weights,
            seed,
            n_local_trials,
            &params,
            interrupt,
        )
    })
    .map(|seeds| seeds_tuple(py, seeds)))
}

#[pyfunction]
#[pyo3(signature = (X, n_clusters, *, sample_weight=None, seed))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn random_rows<'py>(
    X: &Bound<'py, PyAny>,
    n_clusters: usize,
    sample_weight: Weights<'py>,
    seed: u64,
) -> PyResult<SeedsTuple<'py>> {
    let py = X.py();
    let weights = arrays::weights(&sample_weight);
    let weights = weights.as_deref();
    for_type!(Matrix::new("X", X)?, |rows| run(py, |_| core::random_rows(
        rows, n_clusters, weights, seed
    ))
    .map(|seeds| seeds_tuple(py, seeds)))
}

#[pyfunction]
pub(crate) fn kernel_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    let available: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item(
        "isa",
        Isa::choose().map_err(|error| to_python(&error))?.name(),
    )?;
    info.set_item("isa_available", available)?;
    info.set_item("n_threads", core::default_threads())?;
    info.set_item(
        "profile",
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
    )?;
    Ok(info)
}

fn seeds_tuple<T: numpy::Element>(py: Python<'_>, seeds: core::Seeds<T>) -> SeedsTuple<'_> {
    // Row numbers fit into i64: the data are in memory.
    let indices: Vec<_> = seeds
        .indices
        .into_iter()
        .map(|row| row.cast_signed() as i64)
        .collect();
    (to_numpy(py, seeds.centers), indices.into_pyarray(py))
}

fn to_numpy<T: numpy::Element>(py: Python<'_>, array: Array2<T>) -> Bound<'_, PyAny> {
    let array: Bound<'_, PyArray2<T>> = array.into_pyarray(py);
    array.into_any()
}
