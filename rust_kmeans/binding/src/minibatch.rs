//! Mini-batch k-means: a whole fit in one call, one step, and what draws batches.

use ndarray::Array2;
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use rust_kmeans_core as core;
use rust_kmeans_core::{Element, Rows};

use crate::arrays::{self, Matrix, Vector, Weights};
use crate::fits::{Solver, to_numpy};
use crate::functions::for_type;
use crate::run::{checked, run, settings};

/// Centers, counts, rows since the last reassignment.
type RunningTuple<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<f64>>, u64);
/// Number of steps and the smoothed inertia of the last one.
type LastTuple = (usize, f64);
type LabelsTuple<'py> = (Bound<'py, PyArray1<i32>>, f64);
pub(crate) type FitTuple<'py> = (RunningTuple<'py>, LastTuple, Option<LabelsTuple<'py>>);
pub(crate) type StepTuple<'py> = (RunningTuple<'py>, f64, usize);

/// Draws rows of one data set.
#[pyclass(frozen, module = "rust_kmeans._core")]
pub(crate) struct Sampler(pub(crate) core::Sampler);

#[pymethods]
impl Sampler {
    #[getter]
    fn n_samples(&self) -> usize {
        self.0.n_samples()
    }

    fn draw<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        seed: u64,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let rows = run(py, |_| self.0.draw_many(count, seed))?;
        // Row numbers fit into i64: the data are in memory.
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| row.cast_signed() as i64)
            .collect();
        Ok(rows.into_pyarray(py))
    }
}

#[pyfunction]
#[pyo3(signature = (X, *, sample_weight=None, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn sampler<'py>(
    X: &Bound<'py, PyAny>,
    sample_weight: Weights<'py>,
    n_threads: Option<usize>,
) -> PyResult<Sampler> {
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
    for_type!(Matrix::new("X", X)?, |rows| run(X.py(), |_| {
        core::Problem::new(rows, 1, weights, &params)?.sampler()
    })
    .map(Sampler))
}

/// What a fit needs beside the data and the centers.
pub(crate) struct Settings<'a> {
    pub(crate) sampler: &'a core::Sampler,
    /// With a tolerance relative to the mean variance.
    pub(crate) schedule: core::Schedule,
    pub(crate) seed: u64,
    pub(crate) compute_labels: bool,
    pub(crate) watch: Option<Py<PyAny>>,
}

/// A fit; `read` makes the problem for a number of clusters.
pub(crate) fn fit<'py, T: Element + numpy::Element, P: Solver<T>>(
    centers: &Bound<'py, PyAny>,
    settings: Settings<'_>,
    read: impl FnOnce(usize) -> core::Result<P> + Send,
) -> PyResult<FitTuple<'py>> {
    let Settings {
        sampler,
        mut schedule,
        seed,
        compute_labels,
        watch,
    } = settings;
    let py = centers.py();
    let borrowed = arrays::centers::<T>(centers)?;
    let start = borrowed.as_array();
    let mut raised = None;
    let outcome = run(py, |interrupt| {
        let problem = read(start.nrows())?;
        if schedule.tol > 0.0 {
            schedule.tol *= problem.mean_variance()?;
        }
        let mut watch = |progress: &core::Progress| {
            let told = (watch.as_ref()).map_or(Ok(()), |watch| tell(watch, progress));
            raised = told.err();
            raised.is_some()
        };
        let fit = problem.minibatch(sampler, start, &schedule, seed, interrupt, &mut watch)?;
        let labels = compute_labels
            .then(|| problem.label(fit.running.centers.view()))
            .transpose()?;
        Ok((fit, labels))
    });
    if let Some(raised) = raised {
        return Err(raised);
    }
    let (fit, labels) = outcome?;
    let inertia = fit.last.ewa_inertia.unwrap_or(fit.last.mean_inertia);
    Ok((
        running_tuple(py, fit.running),
        (fit.last.step, inertia),
        labels.map(|(labels, inertia)| (labels.into_pyarray(py), inertia)),
    ))
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
#[expect(clippy::too_many_arguments, reason = "keywords of a Python function")]
pub(crate) fn minibatch_fit<'py>(
    X: &Bound<'py, PyAny>,
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
    for_type!(Matrix::new("X", X)?, |rows| fit(centers, settings, |k| {
        core::Problem::new(rows, k, weights, &params)
    }))
}

/// A step from centers and counts, which `take` makes.
pub(crate) fn step<'py, T: Element + numpy::Element>(
    centers: &Bound<'py, PyAny>,
    counts: &Vector<'py, f64>,
    n_since_reassignment: u64,
    take: impl FnOnce(&mut core::Running<T>) -> core::Result<(f64, usize)> + Send,
) -> PyResult<StepTuple<'py>> {
    let py = centers.py();
    let mut running = core::Running {
        centers: arrays::centers::<T>(centers)?.as_array().to_owned(),
        counts: counts.as_slice()?.to_vec(),
        n_since_reassignment,
    };
    let (inertia, n_reassigned) = run(py, |_| take(&mut running))?;
    Ok((running_tuple(py, running), inertia, n_reassigned))
}

#[pyfunction]
#[pyo3(signature = (X, centers, counts, n_since_reassignment, *, sample_weight=None, seed,
                    reassignment_ratio=0.01, n_threads=None))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
#[expect(clippy::too_many_arguments, reason = "keywords of a Python function")]
pub(crate) fn minibatch_step<'py>(
    X: &Bound<'py, PyAny>,
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
    for_type!(Matrix::new("X", X)?, |rows| step(
        centers,
        &counts,
        n_since_reassignment,
        |running| core::minibatch_step(rows, weights, running, reassignment_ratio, seed, &params)
    ))
}

/// Calls Python with what a step did.
fn tell(watch: &Py<PyAny>, progress: &core::Progress) -> PyResult<()> {
    let stop = progress.stop.map(|stop| match stop {
        core::Stop::Shift => "shift",
        core::Stop::NoImprovement => "no improvement",
    });
    let core::Progress {
        step,
        n_reassigned,
        mean_inertia,
        ewa_inertia,
        ..
    } = *progress;
    let told = (step, n_reassigned, mean_inertia, ewa_inertia, stop);
    Python::attach(|py| watch.call1(py, told).map(drop))
}

fn running_tuple<T: numpy::Element>(py: Python<'_>, running: core::Running<T>) -> RunningTuple<'_> {
    let centers: Array2<T> = running.centers;
    (
        to_numpy(py, centers),
        running.counts.into_pyarray(py),
        running.n_since_reassignment,
    )
}
