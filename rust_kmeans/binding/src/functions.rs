//! The functions of the module: each borrows its arrays, picks the element type and goes through [`run`].

use ndarray::{Array2, ArrayView2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyList};
use rust_kmeans_core as core;
use rust_kmeans_core::{Element, Isa, Rows};

use crate::arrays::{self, Matrix, Vector, Weights};
use crate::partial::{Partial, Scale};
use crate::run::{engine, params, run, run_watched, to_python};

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
    Bound<'py, PyArray1<f64>>,
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
    let params = params(max_iter, tol, algorithm, n_threads)?;
    let weights = arrays::weights(&sample_weight)?;
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows, centers, weights, &params
    ))
}

/// Where the runs of a fit start, of which the best is kept.
pub(crate) enum Start<'py> {
    Plusplus { n_clusters: usize, seeds: Vec<u64> },
    Parallel { n_clusters: usize, seeds: Vec<u64> },
    Random { n_clusters: usize, seeds: Vec<u64> },
    Given(Vec<Bound<'py, PyAny>>),
}

impl<'py> Start<'py> {
    /// From a list of arrays, or a name, a number of clusters and seeds.
    fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(centers) = object.cast::<PyList>() {
            return Ok(Self::Given(centers.iter().collect()));
        }
        let (name, n_clusters, seeds): (PyBackedStr, usize, Bound<'_, PyAny>) = object.extract()?;
        // One by one: room for as many as an object says it has may be more than there is.
        let seeds = seeds
            .try_iter()?
            .map(|seed| seed?.extract())
            .collect::<PyResult<Vec<_>>>()?;
        match &*name {
            "k-means++" => Ok(Self::Plusplus { n_clusters, seeds }),
            "k-means||" => Ok(Self::Parallel { n_clusters, seeds }),
            "random" => Ok(Self::Random { n_clusters, seeds }),
            _ => Err(PyValueError::new_err(format!(
                "init={name} is not valid: it must be k-means++, k-means|| or random"
            ))),
        }
    }
}

/// The same with centers of a type.
enum TypedStart<'a, T> {
    Plusplus(usize, &'a [u64]),
    Parallel(usize, &'a [u64]),
    Random(usize, &'a [u64]),
    Given(Vec<ArrayView2<'a, T>>),
}

#[pyfunction]
#[pyo3(signature = (
    X, starts, *, sample_weight=None, max_iter=300, tol=0.0, algorithm="auto", n_threads=None, watch=None
))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn fit<'py>(
    X: &Bound<'py, PyAny>,
    starts: &Bound<'py, PyAny>,
    sample_weight: Weights<'py>,
    max_iter: usize,
    tol: f64,
    algorithm: &str,
    n_threads: Option<usize>,
    watch: Option<Py<PyAny>>,
) -> PyResult<Vec<BestTuple<'py>>> {
    fn typed<'py, T: Element + numpy::Element>(
        py: Python<'py>,
        rows: Rows<'_, T>,
        starts: &[Start<'py>],
        weights: Option<&[f64]>,
        (tol, params): (f64, &core::ValidParams),
        watch: Option<Py<PyAny>>,
    ) -> PyResult<Vec<BestTuple<'py>>> {
        let given = starts.iter().flat_map(|start| match start {
            Start::Given(centers) => centers.as_slice(),
            _ => &[],
        });
        let borrowed: Vec<_> = given.map(arrays::centers::<T>).collect::<PyResult<_>>()?;
        let mut views = borrowed.iter().map(PyReadonlyArray2::as_array);
        let starts: Vec<_> = starts
            .iter()
            .map(|start| match start {
                Start::Plusplus { n_clusters, seeds } => TypedStart::Plusplus(*n_clusters, seeds),
                Start::Parallel { n_clusters, seeds } => TypedStart::Parallel(*n_clusters, seeds),
                Start::Random { n_clusters, seeds } => TypedStart::Random(*n_clusters, seeds),
                Start::Given(centers) => {
                    TypedStart::Given(views.by_ref().take(centers.len()).collect())
                }
            })
            .collect();
        let fits = run_watched(py, watch, |interrupt| {
            best_fits(rows, &starts, weights, tol, params, interrupt)
        })?;
        Ok(fits
            .into_iter()
            .map(|(fit, distinct)| {
                (
                    to_numpy(py, fit.centers),
                    fit.labels.into_pyarray(py),
                    fit.inertia,
                    fit.history.into_pyarray(py),
                    fit.n_iter,
                    fit.algorithm.name(),
                    distinct,
                )
            })
            .collect())
    }
    let params = params(max_iter, tol, algorithm, n_threads)?;
    let starts = starts
        .try_iter()?
        .map(|start| Start::new(&start?))
        .collect::<PyResult<Vec<_>>>()?;
    let weights = arrays::weights(&sample_weight)?;
    for_type!(Matrix::new("X", X)?, |rows| typed(
        X.py(),
        rows,
        &starts,
        weights,
        (tol, &params),
        watch
    ))
}

/// For each start the fit of least inertia, the first of equals, and how many clusters of it have samples. `tol` is
/// relative to the mean variance.
fn best_fits<T: Element>(
    rows: Rows<'_, T>,
    starts: &[TypedStart<'_, T>],
    weights: Option<&[f64]>,
    tol: f64,
    params: &core::ValidParams,
    interrupt: &mut core::Interrupt<'_>,
) -> core::Result<Vec<(core::Fit<T>, usize)>> {
    let sizes = starts.iter().map(|start| match start {
        TypedStart::Plusplus(k, _) | TypedStart::Parallel(k, _) | TypedStart::Random(k, _) => *k,
        TypedStart::Given(centers) => centers.iter().map(ArrayView2::nrows).max().unwrap_or(0),
    });
    let n_clusters = sizes.max().unwrap_or(0);
    let problem = core::Problem::new(rows, n_clusters, weights, params)?;
    let tol = if tol > 0.0 {
        tol * problem.mean_variance()?
    } else {
        0.0
    };
    let drawn: Vec<Vec<_>> = starts
        .iter()
        .map(|start| match start {
            TypedStart::Plusplus(k, seeds) => seeds
                .iter()
                .map(|&seed| problem.kmeans_plusplus(*k, seed, None, interrupt))
                .collect(),
            TypedStart::Parallel(k, seeds) => seeds
                .iter()
                .map(|&seed| problem.kmeans_parallel(*k, seed, interrupt))
                .collect(),
            TypedStart::Random(k, seeds) => seeds
                .iter()
                .map(|&seed| problem.random_rows(*k, seed))
                .collect(),
            TypedStart::Given(_) => Ok(Vec::new()),
        })
        .collect::<core::Result<_>>()?;
    let centers: Vec<_> = starts
        .iter()
        .zip(&drawn)
        .map(|(start, drawn)| match start {
            TypedStart::Given(centers) => centers.clone(),
            _ => drawn.iter().map(|seeds| seeds.centers.view()).collect(),
        })
        .collect();
    let fits = problem.lloyd_many(&centers, tol, interrupt)?;
    Ok(fits
        .into_iter()
        .map(|fit| {
            let distinct = fit.n_distinct();
            (fit, distinct)
        })
        .collect())
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
    let params = params(1, 0.0, "auto", n_threads)?;
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

pub(crate) fn to_numpy<T: numpy::Element>(py: Python<'_>, array: Array2<T>) -> Bound<'_, PyAny> {
    let array: Bound<'_, PyArray2<T>> = array.into_pyarray(py);
    array.into_any()
}
