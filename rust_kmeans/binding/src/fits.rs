//! Fits with any start, of data of any kind, and how results become Python's.

use std::str::FromStr;

use ndarray::{Array2, ArrayView2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyList;
use rust_kmeans_core as core;
use rust_kmeans_core::{
    Element, Fit, Index, Interrupt, MiniBatchFit, Problem, Progress, Result, Sampler, Schedule,
    Seeds, SparseProblem,
};

use crate::arrays;
use crate::run::run_watched;

pub(crate) type BestTuple<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyArray1<i32>>,
    f64,
    Bound<'py, PyArray1<f64>>,
    usize,
    &'static str,
    usize,
);
pub(crate) type SeedsTuple<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>);

/// How starting centers are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    Plusplus,
    Parallel,
    Random,
}

impl FromStr for Init {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "k-means++" => Ok(Self::Plusplus),
            "k-means||" => Ok(Self::Parallel),
            "random" => Ok(Self::Random),
            _ => Err(format!(
                "init={name} is not valid: it must be k-means++, k-means|| or random"
            )),
        }
    }
}

/// Where the runs of a fit start, of which the best is kept.
pub(crate) enum Start<'py> {
    Drawn {
        init: Init,
        n_clusters: usize,
        seeds: Vec<u64>,
    },
    Given(Vec<Bound<'py, PyAny>>),
}

/// Each from a list of arrays, or a name, a number of clusters and seeds.
pub(crate) fn starts<'py>(objects: &Bound<'py, PyAny>) -> PyResult<Vec<Start<'py>>> {
    objects
        .try_iter()?
        .map(|object| Start::new(&object?))
        .collect()
}

impl<'py> Start<'py> {
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
        Ok(Self::Drawn {
            init: name.parse().map_err(PyValueError::new_err)?,
            n_clusters,
            seeds,
        })
    }
}

/// The same with centers of a type.
enum TypedStart<'a, T> {
    Drawn(Init, usize, &'a [u64]),
    Given(Vec<ArrayView2<'a, T>>),
}

/// Data that were read, dense or sparse.
pub(crate) trait Solver<T: Element> {
    fn mean_variance(&self) -> Result<f64>;
    /// Starting centers, each by some way, a number of clusters and a seed.
    fn draw(
        &self,
        draws: &[(Init, usize, u64)],
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Vec<Seeds<T>>>;
    fn lloyd_many(
        &self,
        starts: &[Vec<ArrayView2<'_, T>>],
        tol: f64,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Vec<Fit<T>>>;
    fn minibatch(
        &self,
        sampler: &Sampler,
        centers: ArrayView2<'_, T>,
        schedule: &Schedule,
        seed: u64,
        interrupt: &mut Interrupt<'_>,
        watch: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<MiniBatchFit<T>>;
    fn label(&self, centers: ArrayView2<'_, T>) -> Result<(Vec<i32>, f64)>;
}

impl<T: Element> Solver<T> for Problem<'_, T> {
    fn mean_variance(&self) -> Result<f64> {
        self.mean_variance()
    }

    fn draw(
        &self,
        draws: &[(Init, usize, u64)],
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Vec<Seeds<T>>> {
        let mut seeder = self.seeder();
        let draws = draws.iter().map(|&(init, n_clusters, seed)| match init {
            Init::Plusplus => seeder.kmeans_plusplus(n_clusters, seed, None, interrupt),
            Init::Parallel => self.kmeans_parallel(n_clusters, seed, interrupt),
            Init::Random => self.random_rows(n_clusters, seed),
        });
        draws.collect()
    }

    fn lloyd_many(
        &self,
        starts: &[Vec<ArrayView2<'_, T>>],
        tol: f64,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Vec<Fit<T>>> {
        self.lloyd_many(starts, tol, interrupt)
    }

    fn minibatch(
        &self,
        sampler: &Sampler,
        centers: ArrayView2<'_, T>,
        schedule: &Schedule,
        seed: u64,
        interrupt: &mut Interrupt<'_>,
        watch: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<MiniBatchFit<T>> {
        self.minibatch(sampler, centers, schedule, seed, interrupt, watch)
    }

    fn label(&self, centers: ArrayView2<'_, T>) -> Result<(Vec<i32>, f64)> {
        self.label(centers)
    }
}

impl<T: Element, I: Index> Solver<T> for SparseProblem<'_, T, I> {
    fn mean_variance(&self) -> Result<f64> {
        self.mean_variance()
    }

    fn draw(
        &self,
        draws: &[(Init, usize, u64)],
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Vec<Seeds<T>>> {
        let draws = draws.iter().map(|&(init, n_clusters, seed)| match init {
            Init::Plusplus => self.kmeans_plusplus(n_clusters, seed, None, interrupt),
            Init::Parallel => Err(core::Error::Parameter {
                name: "init",
                value: "k-means||".to_owned(),
                rule: "it takes dense data, for sparse data use k-means++",
            }),
            Init::Random => self.random_rows(n_clusters, seed),
        });
        draws.collect()
    }

    fn lloyd_many(
        &self,
        starts: &[Vec<ArrayView2<'_, T>>],
        tol: f64,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Vec<Fit<T>>> {
        self.lloyd_many(starts, tol, interrupt)
    }

    fn minibatch(
        &self,
        sampler: &Sampler,
        centers: ArrayView2<'_, T>,
        schedule: &Schedule,
        seed: u64,
        interrupt: &mut Interrupt<'_>,
        watch: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<MiniBatchFit<T>> {
        self.minibatch(sampler, centers, schedule, seed, interrupt, watch)
    }

    fn label(&self, centers: ArrayView2<'_, T>) -> Result<(Vec<i32>, f64)> {
        self.label(centers)
    }
}

/// For each start the fit of least inertia, the first of equals, and how many clusters of it have samples. `read` makes the
/// problem for the largest number of clusters; `tol` is relative to the mean variance.
pub(crate) fn best_fits<'py, T: Element + numpy::Element, P: Solver<T>>(
    py: Python<'py>,
    starts: &[Start<'py>],
    tol: f64,
    watch: Option<Py<PyAny>>,
    read: impl FnOnce(usize) -> Result<P> + Send,
) -> PyResult<Vec<BestTuple<'py>>> {
    let given = starts.iter().flat_map(|start| match start {
        Start::Given(centers) => centers.as_slice(),
        Start::Drawn { .. } => &[],
    });
    let borrowed: Vec<_> = given.map(arrays::centers::<T>).collect::<PyResult<_>>()?;
    let mut views = borrowed.iter().map(PyReadonlyArray2::as_array);
    let starts: Vec<_> = starts
        .iter()
        .map(|start| match start {
            Start::Drawn {
                init,
                n_clusters,
                seeds,
            } => TypedStart::Drawn(*init, *n_clusters, seeds),
            Start::Given(centers) => {
                TypedStart::Given(views.by_ref().take(centers.len()).collect())
            }
        })
        .collect();
    let fits = run_watched(py, watch, |interrupt| solve(read, &starts, tol, interrupt))?;
    Ok(fits
        .into_iter()
        .map(|fit| {
            let distinct = fit.n_distinct();
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

fn solve<T: Element, P: Solver<T>>(
    read: impl FnOnce(usize) -> Result<P>,
    starts: &[TypedStart<'_, T>],
    tol: f64,
    interrupt: &mut Interrupt<'_>,
) -> Result<Vec<Fit<T>>> {
    let sizes = starts.iter().map(|start| match start {
        TypedStart::Drawn(_, n_clusters, _) => *n_clusters,
        TypedStart::Given(centers) => centers.iter().map(ArrayView2::nrows).max().unwrap_or(0),
    });
    let problem = read(sizes.max().unwrap_or(0))?;
    let tol = if tol > 0.0 {
        tol * problem.mean_variance()?
    } else {
        0.0
    };
    let draws: Vec<_> = starts
        .iter()
        .flat_map(|start| match start {
            TypedStart::Drawn(init, n_clusters, seeds) => seeds
                .iter()
                .map(|&seed| (*init, *n_clusters, seed))
                .collect(),
            TypedStart::Given(_) => Vec::new(),
        })
        .collect();
    let drawn = problem.draw(&draws, interrupt)?;
    let mut views = drawn.iter().map(|seeds| seeds.centers.view());
    let centers: Vec<Vec<_>> = starts
        .iter()
        .map(|start| match start {
            TypedStart::Given(centers) => centers.clone(),
            TypedStart::Drawn(_, _, seeds) => views.by_ref().take(seeds.len()).collect(),
        })
        .collect();
    problem.lloyd_many(&centers, tol, interrupt)
}

pub(crate) fn seeds_tuple<T: numpy::Element>(py: Python<'_>, seeds: Seeds<T>) -> SeedsTuple<'_> {
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
