//! Mini-batch k-means: a whole fit in one call, or one step.

use ndarray::Array2;
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use rust_kmeans_core as core;
use rust_kmeans_core::{Element, Rows};

use crate::arrays::{self, Matrix, Vector, Weights};
use crate::fits::to_numpy;
use crate::functions::for_type;
use crate::run::{checked, run, settings};

/// Centers, counts, rows since the last reassignment.
type RunningTuple<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<f64>>, u64);
/// Number of steps and the smoothed inertia of the last one.
type LastTuple = (usize, f64);
type LabelsTuple<'py> = (Bound<'py, PyArray1<i32>>, f64);
type FitTuple<'py> = (RunningTuple<'py>, LastTuple, Option<LabelsTuple<'py>>);
type StepTuple<'py> = (RunningTuple<'py>, f64, usize);

#[pyfunction]
#[pyo3(
    signature = (
        X, centers, *, sample_weight=None, seed, batch_size, n_steps, tol=0.0, max_no_improvement=None,
        reassignment_ratio=0.01, compute_labels=true, watch=None, n_threads=None
    ),
    text_signature = "(X, centers, *, sample_weight=None, seed, batch_size, n_steps, tol=0.0, \
                      max_no_improvement=None, reassignment_ratio=0.01, compute_labels=True, watch=None, \
                      n_threads=None)"
)]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
#[expect(clippy::too_many_arguments, reason = "keywords of a Python function")]
pub(crate) fn minibatch_fit<'py>(
    X: &Bound<'py, PyAny>,
    centers: &Bound<'py, PyAny>,
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
    fn typed<'py, T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        centers: &Bound<'py, PyAny>,
        weights: Option<&[f64]>,
        (mut schedule, seed): (core::Schedule, u64),
        compute_labels: bool,
        watch: Option<&Py<PyAny>>,
        params: &core::ValidParams,
    ) -> PyResult<FitTuple<'py>> {
        let py = centers.py();
        let borrowed = arrays::centers::<T>(centers)?;
        let start = borrowed.as_array();
        let mut raised = None;
        let outcome = run(py, |interrupt| {
            let problem = core::Problem::new(rows, start.nrows(), weights, params)?;
            if schedule.tol > 0.0 {
                schedule.tol *= problem.mean_variance()?;
            }
            let fit = problem.minibatch(start, &schedule, seed, interrupt, &mut |progress| {
                let told = watch.map_or(Ok(()), |watch| tell(watch, progress));
                raised = told.err();
                raised.is_some()
            })?;
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
    let schedule = core::Schedule {
        batch_size,
        n_steps,
        tol,
        max_no_improvement,
        reassignment_ratio,
    };
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        weights,
        (schedule, seed),
        compute_labels,
        watch.as_ref(),
        &params
    ))
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
    fn typed<'py, T: Element + numpy::Element>(
        rows: Rows<'_, T>,
        centers: &Bound<'py, PyAny>,
        (counts, n_since_reassignment): (&[f64], u64),
        weights: Option<&[f64]>,
        (seed, reassignment_ratio): (u64, f64),
        params: &core::ValidParams,
    ) -> PyResult<StepTuple<'py>> {
        let py = centers.py();
        let mut running = core::Running {
            centers: arrays::centers::<T>(centers)?.as_array().to_owned(),
            counts: counts.to_vec(),
            n_since_reassignment,
        };
        let (inertia, n_reassigned) = run(py, |_| {
            core::minibatch_step(
                rows,
                weights,
                &mut running,
                reassignment_ratio,
                seed,
                params,
            )
        })?;
        Ok((running_tuple(py, running), inertia, n_reassigned))
    }
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let weights = arrays::weights(&sample_weight)?;
    let counts = counts.as_slice()?;
    for_type!(Matrix::new("X", X)?, |rows| typed(
        rows,
        centers,
        (counts, n_since_reassignment),
        weights,
        (seed, reassignment_ratio),
        &params
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
