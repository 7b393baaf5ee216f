//! `Scale` and `Partial`: immutable, picklable values.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rust_kmeans_core as core;

use crate::arrays::Vector;
use crate::run::to_python;

/// Ranges of the features, largest weight and number of rows of some blocks.
///
/// Made by `block_scale`. Immutable; can be pickled and compared.
///
/// Attributes
/// ----------
/// n_rows : int
///     Number of rows.
/// n_features : int
///     Number of features.
/// max_weight : float
///     Largest weight; 1 without weights.
/// lowest : ndarray of shape (n_features,), float64
///     Smallest value of each feature, in units of X.
/// highest : ndarray of shape (n_features,), float64
///     Largest value of each feature, in units of X.
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
    /// Number of rows.
    #[getter]
    fn n_rows(&self) -> u64 {
        self.0.n_rows
    }

    /// Number of features.
    #[getter]
    fn n_features(&self) -> usize {
        self.0.n_features()
    }

    /// Largest weight; 1 without weights.
    #[getter]
    fn max_weight(&self) -> f64 {
        self.0.max_weight
    }

    /// Smallest value of each feature, shape (n_features,), in units of X.
    #[getter]
    fn lowest<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.lowest.clone().into_pyarray(py)
    }

    /// Largest value of each feature, shape (n_features,), in units of X.
    #[getter]
    fn highest<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.highest.clone().into_pyarray(py)
    }

    /// Return the scale of the rows of both.
    ///
    /// Parameters
    /// ----------
    /// other : Scale
    ///     The scale of other rows.
    ///
    /// Returns
    /// -------
    /// Scale
    ///     The widest ranges and the sum of the rows, in whichever order scales are merged.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If the number of features differs.
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

/// Sums, counts and inertia of some rows under some centers.
///
/// Made by `assign_block`. Immutable; can be pickled and compared.
///
/// Attributes
/// ----------
/// n_rows : int
///     Number of rows.
/// sums : ndarray of shape (n_clusters, n_features), float64
///     Weighted sums of the rows of each cluster, in units of X.
/// counts : ndarray of shape (n_clusters,), float64
///     Weight of the rows of each cluster.
/// inertia : float
///     Weighted sum of squared distances to the centers used, in squared units of X. ``ValueError`` if it was not asked
///     for.
#[pyclass(frozen, eq, module = "rust_kmeans._core")]
#[derive(PartialEq)]
pub(crate) struct Partial(pub(crate) core::Partial);

type Pair<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);
type RestorePair<'py> = (Vector<'py, f64>, Vector<'py, f64>);

#[pymethods]
impl Partial {
    /// Number of rows.
    #[getter]
    fn n_rows(&self) -> u64 {
        self.0.n_rows()
    }

    /// Weighted sums of the rows of each cluster, shape (n_clusters, n_features), in units of X.
    #[getter]
    fn sums<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.0.sums().into_pyarray(py)
    }

    /// Weight of the rows of each cluster, shape (n_clusters,).
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.counts().into_pyarray(py)
    }

    /// Weighted sum of squared distances to the centers used, in squared units of X.
    #[getter]
    fn inertia(&self) -> PyResult<f64> {
        self.0.inertia().ok_or_else(|| {
            PyValueError::new_err(
                "the partial was computed without its inertia: ask for it in the step",
            )
        })
    }

    /// Return the partial of the rows of both.
    ///
    /// Parameters
    /// ----------
    /// other : Partial
    ///     The partial of other rows.
    ///
    /// Returns
    /// -------
    /// Partial
    ///     The same bits in whichever order partials are merged.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     Unless scale and centers were the same, and both have an inertia or neither.
    fn merge(&self, other: &Self) -> PyResult<Self> {
        let mut merged = self.0.clone();
        merged.merge(&other.0).map_err(|error| to_python(&error))?;
        Ok(Self(merged))
    }

    /// Return the means of the clusters.
    ///
    /// Parameters
    /// ----------
    /// old : ndarray of shape (n_clusters, n_features), float32 or float64
    ///     The centers that clusters without weight keep.
    ///
    /// Returns
    /// -------
    /// ndarray of shape (n_clusters, n_features), dtype of `old`
    ///     The centers of the next iteration.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If the shape differs from that of the centers used.
    /// TypeError
    ///     For what is no array of float32 or float64.
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
            self.0
                .inertia()
                .map_or_else(|| "None".to_owned(), |inertia| inertia.to_string())
        )
    }

    #[staticmethod]
    fn _restore(
        shape: (usize, usize),
        rows: (u64, u64),
        sums: RestorePair<'_>,
        grids: RestorePair<'_>,
        inertia: Option<(f64, f64)>,
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
