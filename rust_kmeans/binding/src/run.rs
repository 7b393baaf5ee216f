//! The one way into the core: detach from Python, run, convert what went wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use numpy::ToPyArray;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rust_kmeans_core::{
    Convergence, Error, Interrupt, Isa, Iteration, Params, Pool, Result, ValidParams, Watch,
};

/// Attaching to Python may wait for another thread's turn to end, so it is not done at every question.
const BETWEEN_SIGNAL_CHECKS: Duration = Duration::from_millis(50);

/// Runs `work` detached from Python. Its errors become `ValueError`, `MemoryError` or what a signal handler raised
/// (`KeyboardInterrupt`), a panic becomes `RuntimeError`.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&mut Interrupt<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    run_watched(py, None, work)
}

/// The same while `watch`, an object with the methods `started` and `iterated` of `_Watch` in `_core.pyi`, sees what happens.
/// What it raises ends the work.
pub(crate) fn run_watched<T: Send>(
    py: Python<'_>,
    watch: Option<Py<PyAny>>,
    work: impl FnOnce(&mut Interrupt<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let mut caller = Caller {
        checked: Instant::now(),
        watch,
        raised: None,
    };
    let outcome = py.detach(|| catch_unwind(AssertUnwindSafe(|| work(&mut caller))));
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(caller.raised.unwrap_or_else(|| to_python(&error))),
        Err(panic) => Err(PyRuntimeError::new_err(format!(
            "internal error in rust_kmeans ({}): please report it",
            panic_message(panic.as_ref())
        ))),
    }
}

/// Python, as a fit asks it and tells it.
struct Caller {
    checked: Instant,
    watch: Option<Py<PyAny>>,
    /// What a signal handler or the watch raised.
    raised: Option<PyErr>,
}

impl Caller {
    /// Calls a method of the watch; true also if it raises, which the next question then stops.
    fn tell(&mut self, call: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<bool>) -> bool {
        let Some(watch) = &self.watch else {
            return false;
        };
        let told = Python::attach(|py| call(watch.bind(py)));
        told.unwrap_or_else(|error| {
            self.raised = Some(error);
            true
        })
    }
}

impl Watch for Caller {
    fn stops(&mut self) -> bool {
        if self.raised.is_none() && self.checked.elapsed() >= BETWEEN_SIGNAL_CHECKS {
            self.checked = Instant::now();
            self.raised = Python::attach(|py| -> PyResult<()> { py.check_signals() }).err();
        }
        self.raised.is_some()
    }

    fn sees(&self) -> bool {
        self.watch.is_some()
    }

    fn started(&mut self, _run: usize) {
        self.tell(|watch| watch.call_method0("started").map(|_| false));
    }

    fn iterated(&mut self, iteration: &Iteration<'_>) -> bool {
        self.tell(|watch| {
            let converged = iteration.converged.map(|convergence| match convergence {
                Convergence::Strict => "strict",
                Convergence::Shift => "shift",
            });
            let arguments = (
                iteration.number,
                iteration.inertia,
                iteration.centers.to_pyarray(watch.py()),
                iteration.shift,
                iteration.tol,
                converged,
            );
            watch.call_method1("iterated", arguments)?.is_truthy()
        })
    }
}

/// The parameters of a fit, unchecked but for the name of the algorithm.
pub(crate) fn settings(
    max_iter: usize,
    tol: f64,
    algorithm: &str,
    n_threads: Option<usize>,
) -> PyResult<Params> {
    let algorithm = algorithm.parse().map_err(|error| to_python(&error))?;
    Ok(Params {
        max_iter,
        tol,
        algorithm,
        n_threads,
        ..Params::default()
    })
}

/// The parameters of a fit, checked.
pub(crate) fn checked(settings: Params) -> PyResult<ValidParams> {
    settings.check().map_err(|error| to_python(&error))
}

/// Threads and instruction set for a function without a loop.
pub(crate) fn engine(n_threads: Option<usize>) -> PyResult<(Pool, Isa)> {
    let params = checked(settings(1, 0.0, "auto", n_threads)?)?;
    let pool = params.pool().map_err(|error| to_python(&error))?;
    Ok((pool, params.isa()))
}

pub(crate) fn to_python(error: &Error) -> PyErr {
    match error {
        Error::Memory { .. } => PyMemoryError::new_err(error.to_string()),
        Error::Threads { .. } => PyRuntimeError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
