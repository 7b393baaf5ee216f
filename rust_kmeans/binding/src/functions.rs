//! The functions of the module: each borrows its arrays, picks the element type and goes through [`run`].

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rust_kmeans_core as core;
use rust_kmeans_core::{Element, Isa, Rows};

use crate::arrays::{self, Matrix, Vector, Weights};
use crate::fits::{self, BestTuple, SeedsTuple, best_fits, seeds_tuple, to_numpy};
use crate::partial::{Partial, Scale};
use crate::run::{checked, engine, run, settings, to_python};

type FitTuple<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyArray1<i32>>,
    f64,
    usize,
    bool,
    &'static str,
);

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
pub(crate) use for_type;

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
        let borrowed = arrays::centers::<T>(centers)?;
        let centers = borrowed.as_array();
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
    let params = checked(settings(max_iter, tol, algorithm, n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows, centers, weights, &params
    ))
}

#[pyfunction]
#[pyo3(signature = (
    X, starts, *, sample_weight=None, max_iter=300, tol=0.0, algorithm="auto", spherical=false, n_threads=None,
    watch=None
))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
#[expect(
    clippy::too_many_arguments,
    reason = "one for each argument in Python, all but two by name"
)]
pub(crate) fn fit<'py>(
    X: &Bound<'py, PyAny>,
    starts: &Bound<'py, PyAny>,
    sample_weight: Weights<'py>,
    max_iter: usize,
    tol: f64,
    algorithm: &str,
    spherical: bool,
    n_threads: Option<usize>,
    watch: Option<Py<PyAny>>,
) -> PyResult<Vec<BestTuple<'py>>> {
    let mut settings = settings(max_iter, tol, algorithm, n_threads)?;
    settings.spherical = spherical;
    let params = checked(settings)?;
    let starts = fits::starts(starts)?;
    let weights = arrays::weights(&sample_weight)?;
    for_type!(Matrix::new("X", X)?, |rows| best_fits(
        X.py(),
        &starts,
        tol,
        watch,
        |k| core::Problem::new(rows, k, weights, &params)
    ))
}

/// Find the labels of a block of rows, and its sums: what an iteration of k-means needs of it.
///
/// Parameters
/// ----------
/// X : ndarray of shape (n_samples, n_features), float32 or float64
///     The block; any strides.
/// centers : ndarray of shape (n_clusters, n_features), dtype of X
///     The centers.
/// sample_weight : ndarray of shape (n_samples,), default=None
///     Weights, finite and not negative; None for 1 each.
/// scale : Scale, default=None
///     The merged `block_scale` of all blocks whose partials will be merged; None for that of this block alone.
/// check : bool, default=True
///     Whether a pass proves first that the block is finite and within `scale`. False is for a block whose own scale
///     is in it.
/// n_threads : int or None, default=1
///     Threads; None for the default of `KMeans`. The result does not depend on it.
///
/// Returns
/// -------
/// labels : ndarray of shape (n_samples,), int32
///     Nearest center of each row by float64 distances; of equal distances the lowest index.
/// partial : Partial
///     Sums, counts and inertia of the block.
///
/// Raises
/// ------
/// ValueError
///     For shapes, weights and values that are not valid, the first NaN or infinity by its row and column.
/// TypeError
///     For what is no array of float32 or float64.
/// MemoryError
///     If there is no memory for the result.
///
/// Notes
/// -----
/// Sums do not depend on the order of their terms (Demmel and Nguyen): merged partials of blocks are the same bits as
/// the partial of all rows at once.
///
/// References
/// ----------
/// J. Demmel, H. D. Nguyen, Parallel reproducible summation, IEEE Trans. Computers 64 (2015).
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> from rust_kmeans import assign_block, block_scale
/// >>> X = np.array([[1.0, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
/// >>> centers = X[[0, 3]]
/// >>> scale = block_scale(X[:4]).merge(block_scale(X[4:]))
/// >>> labels, partial = assign_block(X[:4], centers, scale=scale)
/// >>> labels
/// array([0, 0, 0, 1], dtype=int32)
/// >>> _, other = assign_block(X[4:], centers, scale=scale)
/// >>> partial.merge(other).centers(centers)
/// array([[ 1.,  2.],
///        [10.,  2.]])
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
        let borrowed = arrays::centers::<T>(centers)?;
        let centers = borrowed.as_array();
        let (labels, partial) = run(py, |_| {
            core::assign_block(rows, centers, weights, scale, check, (pool, isa))
        })?;
        Ok((labels.into_pyarray(py), Partial(partial)))
    }
    let (pool, isa) = engine(n_threads)?;
    let weights = arrays::weights(&sample_weight)?;
    let scale = scale.map(|scale| &scale.get().0);
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        weights,
        scale,
        check,
        (&pool, isa)
    ))
}

/// Find the ranges of a block of rows, which `assign_block` needs so that partials of blocks can be merged.
///
/// Parameters
/// ----------
/// X : ndarray of shape (n_samples, n_features), float32 or float64
///     The block; any strides.
/// sample_weight : ndarray of shape (n_samples,), default=None
///     Weights, finite and not negative; None for 1 each.
/// n_threads : int or None, default=1
///     Threads; None for the default of `KMeans`.
///
/// Returns
/// -------
/// Scale
///     The ranges; those of several blocks are merged by `Scale.merge`.
///
/// Raises
/// ------
/// ValueError
///     For shapes, weights and values that are not valid, the first NaN or infinity by its row and column.
/// TypeError
///     For what is no array of float32 or float64.
///
/// Examples
/// --------
/// >>> import numpy as np
/// >>> from rust_kmeans import block_scale
/// >>> block_scale(np.array([[1.0, 2], [10, 0]])).highest
/// array([10.,  2.])
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
    let weights = arrays::weights(&sample_weight)?;
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
        let borrowed = arrays::centers::<T>(centers)?;
        let view = borrowed.as_array();
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
    labels: &Bound<'py, PyArray1<i32>>,
    sample_weight: Weights<'py>,
    n_threads: Option<usize>,
) -> PyResult<f64> {
    fn typed<T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        centers: &Bound<'_, PyAny>,
        weights: Option<&[f64]>,
        labels: &[i32],
        (pool, isa): (&core::Pool, Isa),
    ) -> PyResult<f64> {
        let borrowed = arrays::centers::<T>(centers)?;
        let view = borrowed.as_array();
        run(centers.py(), |_| {
            core::inertia(rows, view, weights, labels, (pool, isa))
        })
    }
    let (pool, isa) = engine(n_threads)?;
    let weights = arrays::weights(&sample_weight)?;
    let labels: Vector<'_, i32> = labels.extract()?;
    let labels = labels.as_slice()?;
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        weights,
        labels,
        (&pool, isa)
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
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
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
#[pyo3(signature = (candidates, n_clusters, sample_weight, n_rows, *, seed, n_threads=None))]
pub(crate) fn choose_seeds<'py>(
    candidates: &Bound<'py, PyAny>,
    n_clusters: usize,
    sample_weight: Vector<'py, f64>,
    n_rows: u64,
    seed: u64,
    n_threads: Option<usize>,
) -> PyResult<SeedsTuple<'py>> {
    let py = candidates.py();
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = sample_weight.as_slice()?;
    for_type!(Matrix::new("candidates", candidates)?, |rows| run(
        py,
        |interrupt| {
            core::choose_seeds(
                (rows, weights),
                n_clusters,
                n_rows,
                seed,
                &params,
                interrupt,
            )
        }
    )
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
    let weights = arrays::weights(&sample_weight)?;
    for_type!(Matrix::new("X", X)?, |rows| run(py, |_| core::random_rows(
        rows, n_clusters, weights, seed
    ))
    .map(|seeds| seeds_tuple(py, seeds)))
}

/// Say which kernel runs here, and how.
///
/// Returns
/// -------
/// dict
///     ``version``; ``isa``, the instruction set used ("scalar", "neon", "avx2" or "avx512"); ``isa_available``,
///     a list of those of this machine; ``n_threads``, the number of threads when none is asked for; ``profile``,
///     how the kernel was built ("release" or "debug").
///
/// Examples
/// --------
/// >>> from rust_kmeans import kernel_info
/// >>> kernel_info()["isa"] in kernel_info()["isa_available"]
/// True
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
