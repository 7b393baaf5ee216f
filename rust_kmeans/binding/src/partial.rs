//! `Scale` and `Partial`: immutable, picklable values.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rust_kmeans_core as core;

use crate::arrays::Vector;
use crate::run::to_python;

#[pyclass(frozen, eq, module = "rust_kmeans._core")]
#[derive(PartialEq)]
pub(crate) struct Scale(pub(crate) core::Scale);

type ScaleState<'py> = (
    u64,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    f64,
    bool,
);

#[pymethods]
impl Scale {
    #[getter]
    fn n_rows(&self) -> u64 {
        self.0.n_rows
    }

    #[getter]
    fn n_features(&self) -> usize {
        self.0.n_features()
    }

    #[getter]
    fn max_weight(&self) -> f64 {
        self.0.max_weight
    }

    #[getter]
    fn lowest<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.lowest.clone().into_pyarray(py)
    }

    #[getter]
    fn highest<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.highest.clone().into_pyarray(py)
    }

    fn merge(&self, other: &Self) -> PyResult<Self> {
        let mut merged = self.0.clone();
        merged.merge(&other.0).map_err(|error| to_python(&error))?;
        Ok(Self(merged))
    }

    fn __repr__(&self) -> String {
        format!(
            "Scale(n_rows={}, n_features={}, max_weight={})",
            self.0.n_rows,
            self.0.n_features(),
            self.0.max_weight
        )
    }

    #[staticmethod]
    fn _restore(
        n_rows: u64,
        lowest: Vector<'_, f64>,
        highest: Vector<'_, f64>,
        max_weight: f64,
        weighty: bool,
    ) -> PyResult<Self> {
        core::Scale::new(
            n_rows,
            lowest.as_slice()?.to_vec(),
            highest.as_slice()?.to_vec(),
            max_weight,
            weighty,
        )
        .map(Self)
        .map_err(|error| to_python(&error))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, ScaleState<'py>)> {
        let state = (
            self.0.n_rows,
            self.lowest(py),
            self.highest(py),
            self.0.max_weight,
            self.0.weighty,
        );
        Ok((py.get_type::<Self>().getattr("_restore")?, state))
    }
}

#[pyclass(frozen, eq, module = "rust_kmeans._core")]
#[derive(PartialEq)]
pub(crate) struct Partial(pub(crate) core::Partial);

type Pair<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);
type RestorePair<'py> = (Vector<'py, f64>, Vector<'py, f64>);

#[pymethods]
impl Partial {
    #[getter]
    fn n_rows(&self) -> u64 {
        self.0.n_rows()
    }

    #[getter]
    fn sums<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.0.sums().into_pyarray(py)
    }

    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.counts().into_pyarray(py)
    }

    #[getter]
    fn inertia(&self) -> f64 {
        self.0.inertia()
    }

    fn merge(&self, other: &Self) -> PyResult<Self> {
        let mut merged = self.0.clone();
        merged.merge(&other.0).map_err(|error| to_python(&error))?;
        Ok(Self(merged))
    }

    fn centers<'py>(&self, old: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = old.py();
        match crate::arrays::Matrix::new("old", old)? {
            crate::arrays::Matrix::F32(old) => {
                let centers = self
                    .0
                    .centers(old.as_array())
                    .map_err(|error| to_python(&error))?;
                Ok(centers.into_pyarray(py).into_any())
            }
            crate::arrays::Matrix::F64(old) => {
                let centers = self
                    .0
                    .centers(old.as_array())
                    .map_err(|error| to_python(&error))?;
                Ok(centers.into_pyarray(py).into_any())
            }
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "Partial(n_clusters={}, n_features={}, n_rows={}, inertia={})",
            self.0.n_clusters(),
            self.0.n_features(),
            self.0.n_rows(),
            self.0.inertia()
        )
    }

    #[staticmethod]
    fn _restore(
        shape: (usize, usize),
        rows: (u64, u64),
        sums: RestorePair<'_>,
        grids: RestorePair<'_>,
        inertia: (f64, f64),
        inertia_grid: (f64, f64),
    ) -> PyResult<Self> {
        let parts = core::PartialParts {
            n_clusters: shape.0,
            n_features: shape.1,
            n_rows: rows.0,
            most_rows: rows.1,
            sums: (sums.0.as_slice()?.to_vec(), sums.1.as_slice()?.to_vec()),
            grids: (grids.0.as_slice()?.to_vec(), grids.1.as_slice()?.to_vec()),
            inertia,
            inertia_grid,
        };
        core::Partial::from_parts(parts)
            .map(Self)
            .map_err(|error| to_python(&error))
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let parts = self.0.clone().into_parts();
        let pair = |(high, low): (Vec<f64>, Vec<f64>)| -> Pair<'py> {
            (high.into_pyarray(py), low.into_pyarray(py))
        };
        let state = (
            (parts.n_clusters, parts.n_features),
            (parts.n_rows, parts.most_rows),
            pair(parts.sums),
            pair(parts.grids),
            parts.inertia,
            parts.inertia_grid,
        );
        Ok((
            py.get_type::<Self>().getattr("_restore")?,
            state.into_pyobject(py)?,
        ))
    }
}
