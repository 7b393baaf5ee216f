//! `BlockRun` and `History`: what a fit over blocks on many machines keeps on each of them, and where it is driven from.

use numpy::{IntoPyArray, PyArray1, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use rust_kmeans_core as core;
use rust_kmeans_core::{Algorithm, Element, Rows};

use crate::arrays::{self, Matrix, Vector, Weights};
use crate::partial::{Partial, Scale};
use crate::run::{engine, run, to_python};

type FarthestTuple<'py> = (
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i32>>,
);

/// A run in the type of its block.
enum Typed {
    F32(core::BlockRun<f32>),
    F64(core::BlockRun<f64>),
}

/// What one run of k-means knows of one block of rows. The arrays are referred to, not copied.
#[pyclass(module = "rust_kmeans._core")]
pub(crate) struct BlockRun {
    data: Py<PyAny>,
    weights: Option<Py<PyArray1<f64>>>,
    run: Typed,
}

/// Calls a generic function with the rows of a matrix and the run of the same type; the type never differs, as both come
/// from one array.
macro_rules! for_run {
    ($matrix:expr, $run:expr, |$rows:ident, $typed:ident| $call:expr) => {
        match (&$matrix, $run) {
            (Matrix::F32(array), Typed::F32($typed)) => {
                let $rows = Rows::new(array.as_array());
                $call
            }
            (Matrix::F64(array), Typed::F64($typed)) => {
                let $rows = Rows::new(array.as_array());
                $call
            }
            _ => Err(PyTypeError::new_err("the dtype of X has changed")),
        }
    };
}

#[pymethods]
impl BlockRun {
    #[new]
    #[pyo3(signature = (X, sample_weight, scale, algorithm="auto", *, check=true, n_threads=Some(1)))]
    #[expect(non_snake_case, reason = "scikit-learn's name of the data")]
    fn new(
        X: &Bound<'_, PyAny>,
        sample_weight: Weights<'_>,
        scale: &Bound<'_, Scale>,
        algorithm: &str,
        check: bool,
        n_threads: Option<usize>,
    ) -> PyResult<Self> {
        let py = X.py();
        let algorithm: Algorithm = algorithm.parse().map_err(|error| to_python(&error))?;
        let (pool, isa) = engine(n_threads)?;
        let scale = &scale.get().0;
        let weights = arrays::weights(&sample_weight)?;
        let engine = (&pool, isa);
        let run = match Matrix::new("X", X)? {
            Matrix::F32(array) => {
                let rows = Rows::new(array.as_array());
                Typed::F32(run(py, |_| {
                    core::BlockRun::new(rows, weights, scale, check, algorithm, engine)
                })?)
            }
            Matrix::F64(array) => {
                let rows = Rows::new(array.as_array());
                Typed::F64(run(py, |_| {
                    core::BlockRun::new(rows, weights, scale, check, algorithm, engine)
                })?)
            }
        };
        Ok(Self {
            data: X.clone().unbind(),
            weights: sample_weight.as_ref().map(Vector::to_array),
            run,
        })
    }

    #[pyo3(signature = (centers, n_threads=Some(1), *, inertia=false))]
    fn step(
        &mut self,
        centers: &Bound<'_, PyAny>,
        n_threads: Option<usize>,
        inertia: bool,
    ) -> PyResult<(Partial, usize)> {
        fn typed<T: Element + numpy::Element>(
            block: &mut core::BlockRun<T>,
            rows: (Rows<'_, T>, Option<&[f64]>),
            centers: &Bound<'_, PyAny>,
            inertia: bool,
            pool: &core::Pool,
        ) -> PyResult<(Partial, usize)> {
            let borrowed = arrays::centers::<T>(centers)?;
            let view = borrowed.as_array();
            let (partial, changed) = run(centers.py(), |_| block.step(rows, view, inertia, pool))?;
            Ok((Partial(partial), changed))
        }
        let py = centers.py();
        let (pool, _) = engine(n_threads)?;
        let weights = self.weights.as_ref().map(|weights| weights.bind(py));
        let weights = weights.map(PyArrayMethods::try_readonly).transpose()?;
        let weights = weights
            .as_ref()
            .map(|weights| weights.as_slice())
            .transpose()?;
        for_run!(
            Matrix::new("X", self.data.bind(py))?,
            &mut self.run,
            |rows, block| typed(block, (rows, weights), centers, inertia, &pool)
        )
    }

    #[pyo3(signature = (count, n_threads=Some(1)))]
    fn farthest_rows<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        n_threads: Option<usize>,
    ) -> PyResult<FarthestTuple<'py>> {
        let (pool, _) = engine(n_threads)?;
        let farthest = for_run!(
            Matrix::new("X", self.data.bind(py))?,
            &self.run,
            |rows, block| run(py, |_| block.farthest_rows(rows, count, &pool))
        )?;
        // Row numbers fit into i64: the data are in memory.
        let rows: Vec<_> = farthest
            .iter()
            .map(|far| far.1.cast_signed() as i64)
            .collect();
        let distances: Vec<_> = farthest.iter().map(|far| far.0).collect();
        let labels: Vec<_> = farthest.iter().map(|far| far.2).collect();
        Ok((
            distances.into_pyarray(py),
            rows.into_pyarray(py),
            labels.into_pyarray(py),
        ))
    }

    /// Label of each row after the last step, shape (n_samples,); -1 before the first. A copy.
    #[getter]
    fn labels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let labels = match &self.run {
            Typed::F32(block) => block.labels(),
            Typed::F64(block) => block.labels(),
        };
        Ok(labels.map_err(|error| to_python(&error))?.into_pyarray(py))
    }

    /// The algorithm that bounds proved labels by, or "lloyd".
    #[getter]
    fn algorithm(&self) -> &'static str {
        match &self.run {
            Typed::F32(block) => block.algorithm().name(),
            Typed::F64(block) => block.algorithm().name(),
        }
    }
}

/// What the inertia of each iteration follows from.
#[pyclass(module = "rust_kmeans._core")]
pub(crate) struct History(core::History);

#[pymethods]
impl History {
    #[new]
    fn new(scale: &Bound<'_, Scale>) -> PyResult<Self> {
        core::History::new(&scale.get().0)
            .map(Self)
            .map_err(|error| to_python(&error))
    }

    fn add(&mut self, centers: &Bound<'_, PyAny>, partial: &Bound<'_, Partial>) -> PyResult<()> {
        let partial = &partial.get().0;
        match Matrix::new("centers", centers)? {
            Matrix::F32(centers) => self.0.add(centers.as_array(), partial),
            Matrix::F64(centers) => self.0.add(centers.as_array(), partial),
        }
        .map_err(|error| to_python(&error))
    }

    fn inertias<'py>(
        &self,
        centers: &Bound<'py, PyAny>,
        partial: &Bound<'py, Partial>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let py = centers.py();
        let partial = &partial.get().0;
        let inertias = match Matrix::new("centers", centers)? {
            Matrix::F32(centers) => self.0.inertias(centers.as_array(), partial),
            Matrix::F64(centers) => self.0.inertias(centers.as_array(), partial),
        };
        Ok(inertias
            .map_err(|error| to_python(&error))?
            .into_pyarray(py))
    }
}
