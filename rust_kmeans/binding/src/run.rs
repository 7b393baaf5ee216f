//! The one way into the core: detach from Python, run, convert what went wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rust_kmeans_core::{Error, Interrupt, Isa, Params, Pool, Result, ValidParams};

/// Attaching to Python may wait for another thread's turn to end, so it is not done at every question.
const BETWEEN_SIGNAL_CHECKS: Duration = Duration::from_millis(50);

/// Runs `work` detached from Python. Its errors become `ValueError`, `MemoryError` or what a signal handler raised
/// (`KeyboardInterrupt`), a panic becomes `RuntimeError`.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&mut Interrupt<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let mut raised = None;
    let outcome = py.detach(|| {
        let mut checked = Instant::now();
        let mut interrupt = || {
            if checked.elapsed() < BETWEEN_SIGNAL_CHECKS {
                return false;
            }
            checked = Instant::now();
            raised = Python::attach(|py| -> PyResult<()> { py.check_signals() }).err();
            raised.is_some()
        };
        catch_unwind(AssertUnwindSafe(|| work(&mut interrupt)))
    });
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(raised.unwrap_or_else(|| to_python(&error))),
        Err(panic) => Err(PyRuntimeError::new_err(format!(
            "internal error in rust_kmeans ({}): please report it",
            panic_message(panic.as_ref())
        ))),
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
    let pool = Pool::new(params.n_threads()).map_err(|error| to_python(&error))?;
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
