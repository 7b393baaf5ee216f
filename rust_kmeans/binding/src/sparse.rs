//! The functions for sparse data: as those for dense data, with the three arrays of a CSR matrix in the place of one.

use numpy::{IntoPyArray, PyArray1, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use rust_kmeans_core as core;
use rust_kmeans_core::Csr;

use crate::arrays::{self, Vector, Weights};
use crate::fits::{self, BestTuple, SeedsTuple, best_fits, seeds_tuple};
use crate::minibatch::{self, FitTuple, Sampler, Settings, StepTuple};
use crate::run::{checked, engine, run, settings, to_python};

/// Data, indices, indptr and the number of columns of a CSR matrix, as Python hands them over.
type Arrays<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    usize,
);

/// The arrays of one type of data and one of indices.
struct Typed<'py, T: numpy::Element, I: numpy::Element> {
    data: Vector<'py, T>,
    indices: Vector<'py, I>,
    indptr: Vector<'py, I>,
    n_columns: usize,
}

impl<'py, T: core::Element + numpy::Element, I: core::Index + numpy::Element> Typed<'py, T, I> {
    fn new((data, indices, indptr, n_columns): &Arrays<'py>) -> PyResult<Self> {
        Ok(Self {
            data: data.extract()?,
            indices: indices.extract()?,
            indptr: indptr.extract()?,
            n_columns: *n_columns,
        })
    }

    fn csr(&self) -> PyResult<Csr<'_, T, I>> {
        let (data, indices) = (self.data.as_slice()?, self.indices.as_slice()?);
        Csr::new(data, indices, self.indptr.as_slice()?, self.n_columns)
            .map_err(|error| to_python(&error))
    }
}

/// A CSR matrix of one of the types that there are.
enum Sparse<'py> {
    F32I32(Typed<'py, f32, i32>),
    F32I64(Typed<'py, f32, i64>),
    F64I32(Typed<'py, f64, i32>),
    F64I64(Typed<'py, f64, i64>),
}

impl<'py> Sparse<'py> {
    fn new(arrays: &Arrays<'py>) -> PyResult<Self> {
        let (data, indices, indptr, _) = arrays;
        let code = |array: &Bound<'py, PyAny>| -> PyResult<(u8, usize)> {
            let dtype = array.cast::<PyUntypedArray>()?.dtype();
            Ok((dtype.kind(), dtype.itemsize()))
        };
        let types = [code(data)?, code(indices)?, code(indptr)?];
        match types {
            [(b'f', 4), (b'i', 4), (b'i', 4)] => Typed::new(arrays).map(Self::F32I32),
            [(b'f', 4), (b'i', 8), (b'i', 8)] => Typed::new(arrays).map(Self::F32I64),
            [(b'f', 8), (b'i', 4), (b'i', 4)] => Typed::new(arrays).map(Self::F64I32),
            [(b'f', 8), (b'i', 8), (b'i', 8)] => Typed::new(arrays).map(Self::F64I64),
            _ => Err(PyTypeError::new_err(
                "X must have data of float32 or float64, and indices and indptr both of int32 or both of int64",
            )),
        }
    }
}

/// Calls a generic function for the types of a matrix.
macro_rules! for_types {
    ($sparse:expr, |$csr:ident| $call:expr) => {
        match &$sparse {
            Sparse::F32I32(arrays) => for_types!(@one arrays, |$csr| $call),
            Sparse::F32I64(arrays) => for_types!(@one arrays, |$csr| $call),
            Sparse::F64I32(arrays) => for_types!(@one arrays, |$csr| $call),
            Sparse::F64I64(arrays) => for_types!(@one arrays, |$csr| $call),
        }
    };
    (@one $arrays:ident, |$csr:ident| $call:expr) => {{
        let $csr = $arrays.csr()?;
        $call
    }};
}

#[pyfunction]
#[pyo3(signature = (
    X, starts, *, sample_weight=None, max_iter=300, tol=0.0, spherical=false, n_threads=None, watch=None
))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn sparse_fit<'py>(
    X: Arrays<'py>,
    starts: &Bound<'py, PyAny>,
    sample_weight: Weights<'py>,
    max_iter: usize,
    tol: f64,
    spherical: bool,
    n_threads: Option<usize>,
    watch: Option<Py<PyAny>>,
) -> PyResult<Vec<BestTuple<'py>>> {
    let mut settings = settings(max_iter, tol, "auto", n_threads)?;
    settings.spherical = spherical;
    let params = checked(settings)?;
    let py = starts.py();
    let starts = fits::starts(starts)?;
    let weights = arrays::weights(&sample_weight)?;
    for_types!(Sparse::new(&X)?, |csr| best_fits(
        py,
        &starts,
        tol,
        watch,
        |k| core::SparseProblem::new(csr, k, weights, &params)
    ))
}

#[pyfunction]
#[pyo3(signature = (X, centers, *, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn sparse_predict<'py>(
    X: Arrays<'py>,
    centers: &Bound<'py, PyAny>,
    n_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    fn typed<T: core::Element + numpy::Element, I: core::Index>(
        csr: &Csr<'_, T, I>,
        centers: &Bound<'_, PyAny>,
        (pool, isa): (&core::Pool, core::Isa),
    ) -> PyResult<Vec<i32>> {
        let borrowed = arrays::centers::<T>(centers)?;
        let view = borrowed.as_array();
        run(centers.py(), |_| {
            core::sparse_predict(csr, view, (pool, isa))
        })
    }
    let (pool, isa) = engine(n_threads)?;
    let labels = for_types!(Sparse::new(&X)?, |csr| typed(&csr, centers, (&pool, isa)))?;
    Ok(labels.into_pyarray(centers.py()))
}

#[pyfunction]
#[pyo3(signature = (X, centers, labels, *, sample_weight=None, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn sparse_inertia<'py>(
    X: Arrays<'py>,
    centers: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyArray1<i32>>,
    sample_weight: Weights<'py>,
    n_threads: Option<usize>,
) -> PyResult<f64> {
    fn typed<T: core::Element + numpy::Element, I: core::Index>(
        csr: &Csr<'_, T, I>,
        centers: &Bound<'_, PyAny>,
        (weights, labels): (Option<&[f64]>, &[i32]),
        (pool, isa): (&core::Pool, core::Isa),
    ) -> PyResult<f64> {
        let borrowed = arrays::centers::<T>(centers)?;
        let view = borrowed.as_array();
        run(centers.py(), |_| {
            core::sparse_inertia(csr, view, weights, labels, (pool, isa))
        })
    }
    let (pool, isa) = engine(n_threads)?;
    let labels: Vector<'_, i32> = labels.extract()?;
    let given = (arrays::weights(&sample_weight)?, labels.as_slice()?);
    for_types!(Sparse::new(&X)?, |csr| typed(
        &csr,
        centers,
        given,
        (&pool, isa)
    ))
}

#[pyfunction]
#[pyo3(signature = (X, n_clusters, *, sample_weight=None, seed, n_local_trials=None, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn sparse_kmeans_plusplus<'py>(
    py: Python<'py>,
    X: Arrays<'py>,
    n_clusters: usize,
    sample_weight: Weights<'py>,
    seed: u64,
    n_local_trials: Option<usize>,
    n_threads: Option<usize>,
) -> PyResult<SeedsTuple<'py>> {
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
    for_types!(Sparse::new(&X)?, |csr| run(py, |interrupt| {
        core::SparseProblem::new(csr, n_clusters, weights, &params)?.kmeans_plusplus(
            n_clusters,
            seed,
            n_local_trials,
            interrupt,
        )
    })
    .map(|seeds| seeds_tuple(py, seeds)))
}

#[pyfunction]
#[pyo3(signature = (X, *, sample_weight=None, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn sparse_sampler<'py>(
    py: Python<'py>,
    X: Arrays<'py>,
    sample_weight: Weights<'py>,
    n_threads: Option<usize>,
) -> PyResult<Sampler> {
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
    for_types!(Sparse::new(&X)?, |csr| run(py, |_| {
        core::SparseProblem::new(csr, 1, weights, &params)?.sampler()
    })
    .map(Sampler))
}

#[pyfunction]
#[pyo3(
    signature = (
        X, centers, sampler, *, sample_weight=None, seed, batch_size, n_steps, tol=0.0, max_no_improvement=None,
        reassignment_ratio=0.01, compute_labels=true, watch=None, n_threads=None
    ),
    text_signature = "(X, centers, sampler, *, sample_weight=None, seed, batch_size, n_steps, tol=0.0, \
                      max_no_improvement=None, reassignment_ratio=0.01, compute_labels=True, watch=None, \
                      n_threads=None)"
)]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn sparse_minibatch_fit<'py>(
    X: Arrays<'py>,
    centers: &Bound<'py, PyAny>,
    sampler: &Bound<'py, Sampler>,
    sample_weight: Weights<'py>,
    seed: u64,
    batch_size: usize,
    n_steps: usize,
    tol: f64,
    max_no_improvement: Option<usize>,
    reassignment_ratio: f64,
    compute_labels: bool,
    watch: Option<Py<PyAny>>,
    n_threads: Option<usize>,
) -> PyResult<FitTuple<'py>> {
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
    let settings = Settings {
        sampler: &sampler.get().0,
        schedule: core::Schedule {
            batch_size,
            n_steps,
            tol,
            max_no_improvement,
            reassignment_ratio,
        },
        seed,
        compute_labels,
        watch,
    };
    for_types!(Sparse::new(&X)?, |csr| minibatch::fit(
        centers,
        settings,
        |k| { core::SparseProblem::new(csr, k, weights, &params) }
    ))
}

#[pyfunction]
#[pyo3(signature = (X, centers, counts, n_since_reassignment, *, sample_weight=None, seed,
                    reassignment_ratio=0.01, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn sparse_minibatch_step<'py>(
    X: Arrays<'py>,
    centers: &Bound<'py, PyAny>,
    counts: Vector<'py, f64>,
    n_since_reassignment: u64,
    sample_weight: Weights<'py>,
    seed: u64,
    reassignment_ratio: f64,
    n_threads: Option<usize>,
) -> PyResult<StepTuple<'py>> {
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
    for_types!(Sparse::new(&X)?, |csr| minibatch::step(
        centers,
        &counts,
        n_since_reassignment,
        |running| {
            core::sparse_minibatch_step(csr, weights, running, reassignment_ratio, seed, &params)
        }
    ))
}
