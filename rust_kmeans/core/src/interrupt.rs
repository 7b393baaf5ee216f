//! How a caller watches a running fit and stops it.

use ndarray::ArrayView2;

use crate::error::{Error, Result};

/// What looks after a running fit, from the calling thread. A closure that returns a `bool` is one that only stops.
pub trait Watch {
    /// Asked at least once an iteration; `true` ends the work with [`Error::Interrupted`].
    fn stops(&mut self) -> bool;

    /// Whether it wants to see runs. They then go one after the other, and the inertia of each iteration is computed,
    /// which makes a fit slower and changes nothing that it returns.
    fn sees(&self) -> bool {
        false
    }

    /// A run has its starting centers and is about to begin.
    fn started(&mut self, _run: usize) {}

    /// A run has done an iteration; `true` ends that run as `max_iter` would.
    fn iterated(&mut self, _iteration: &Iteration<'_>) -> bool {
        false
    }
}

impl<F: FnMut() -> bool> Watch for F {
    fn stops(&mut self) -> bool {
        self()
    }
}

/// What a [`Watch`] sees of an iteration.
#[derive(Debug)]
pub struct Iteration<'a> {
    /// Number of the run, in the order of the starts.
    pub run: usize,
    /// Iterations of this run before.
    pub number: usize,
    /// Inertia of the labels found, under the centers they were found with; in squared units of the data, exact.
    pub inertia: f64,
    /// The centers after the iteration, shape (`n_clusters`, `n_features`), in float64.
    pub centers: ArrayView2<'a, f64>,
    /// Summed squared shift of the centers.
    pub shift: f64,
    /// The shift that ends a run, in squared units of the data.
    pub tol: f64,
    /// Why the run ends here, if it has converged.
    pub converged: Option<Convergence>,
}

/// Why a run ends before `max_iter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convergence {
    /// No label changed.
    Strict,
    /// The shift of the centers is at most the tolerance.
    Shift,
}

/// What a fit asks and tells.
pub type Interrupt<'a> = dyn Watch + 'a;

pub(crate) fn check(interrupt: &mut Interrupt<'_>) -> Result<()> {
    if interrupt.stops() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
