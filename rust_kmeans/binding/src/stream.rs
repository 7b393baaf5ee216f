//! What a fit over a stream of blocks needs beside `block_scale`, `assign_block` and `Partial`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use rust_kmeans_core as core;
use rust_kmeans_core::{Element, Isa, Rows};

use crate::arrays::{self, Matrix, Vector, Weights};
use crate::fits::to_numpy;
use crate::functions::for_type;
use crate::partial::{Partial, Scale};
use crate::run::{engine, run, to_python};

type FarthestTuple<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>);

#[pyfunction]
#[pyo3(signature = (X, centers, labels, count, *, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn farthest_rows<'py>(
    X: &Bound<'py, PyAny>,
    centers: &Bound<'py, PyAny>,
    labels: Vector<'py, i32>,
    count: usize,
    n_threads: Option<usize>,
) -> PyResult<FarthestTuple<'py>> {
    fn typed<T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        centers: &Bound<'_, PyAny>,
        labels: &[i32],
        count: usize,
        (pool, isa): (&core::Pool, Isa),
    ) -> PyResult<Vec<(f64, usize)>> {
        let borrowed = arrays::centers::<T>(centers)?;
        let view = borrowed.as_array();
        run(centers.py(), |_| {
            core::farthest_rows(rows, view, labels, count, (pool, isa))
        })
    }
    let py = X.py();
    let (pool, isa) = engine(n_threads)?;
    let labels = labels.as_slice()?;
    let farthest = for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        labels,
        count,
        (&pool, isa)
    ))?;
    // Row numbers fit into i64: the data are in memory.
    let (distances, rows): (Vec<_>, Vec<_>) = farthest
        .into_iter()
        .map(|(distance, row)| (distance, row.cast_signed() as i64))
        .unzip();
    Ok((distances.into_pyarray(py), rows.into_pyarray(py)))
}

#[pyfunction]
#[pyo3(signature = (partial, centers, X, labels, *, sample_weight=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn next_centers<'py>(
    partial: &Bound<'py, Partial>,
    centers: &Bound<'py, PyAny>,
    X: &Bound<'py, PyAny>,
    labels: Vector<'py, i32>,
    sample_weight: Weights<'py>,
) -> PyResult<(Bound<'py, PyAny>, f64)> {
    fn typed<'py, T: Element + numpy::Element>(
        partial: &core::Partial,
        centers: &Bound<'py, PyAny>,
        rows: Rows<'_, T>,
        (labels, weights): (&[i32], Option<&[f64]>),
    ) -> PyResult<(Bound<'py, PyAny>, f64)> {
        let py = centers.py();
        let borrowed = arrays::centers::<T>(centers)?;
        let view = borrowed.as_array();
        let (_, isa) = engine(Some(1))?;
        let (centers, shift) = run(py, |_| {
            core::next_centers(partial, view, rows, labels, weights, isa)
        })?;
        Ok((to_numpy(py, centers), shift))
    }
    let weights = arrays::weights(&sample_weight)?;
    let labels = labels.as_slice()?;
    let partial = &partial.get().0;
    for_type!(Matrix::new("X", X)?, |rows| typed(
        partial,
        centers,
        rows,
        (labels, weights)
    ))
}

/// Sums from which the mean variance follows; it changes with every block.
#[pyclass(module = "rust_kmeans._core")]
pub(crate) struct Moments(core::Moments);

#[pymethods]
impl Moments {
    #[new]
    fn new(scale: &Bound<'_, Scale>) -> PyResult<Self> {
        core::Moments::new(&scale.get().0)
            .map(Self)
            .map_err(|error| to_python(&error))
    }

    #[pyo3(signature = (X, *, n_threads=None))]
    #[expect(non_snake_case, reason = "scikit-learn's name of the data")]
    fn add(&mut self, X: &Bound<'_, PyAny>, n_threads: Option<usize>) -> PyResult<()> {
        let (pool, _) = engine(n_threads)?;
        for_type!(Matrix::new("X", X)?, |rows| run(X.py(), |_| self
            .0
            .add(rows, &pool)))
    }

    fn mean_variance(&self) -> f64 {
        self.0.mean_variance()
    }
}
