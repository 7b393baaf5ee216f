//! How a caller watches a running fit and stops it.

use ndarray::ArrayView2;

use crate::element::Element;
use crate::error::{Error, Result, try_vec};

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

impl Convergence {
    /// After an iteration that has changed as many labels and shifted the centers as much.
    pub(crate) fn of(changed: usize, shift: f64, tol: f64) -> Option<Self> {
        if changed == 0 {
            Some(Self::Strict)
        } else {
            (shift <= tol).then_some(Self::Shift)
        }
    }
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

/// What a run knows of an iteration that is watched; as in [`Iteration`].
pub(crate) struct Seen {
    pub(crate) run: usize,
    pub(crate) number: usize,
    pub(crate) inertia: f64,
    pub(crate) shift: f64,
    pub(crate) tol: f64,
    pub(crate) converged: Option<Convergence>,
}

impl Seen {
    /// Shows the iteration with the centers it has led to (row-major, `d` columns); whether the run is to end.
    pub(crate) fn show<T: Element>(
        self,
        watch: &mut Interrupt<'_>,
        centers: &[T],
        d: usize,
    ) -> Result<bool> {
        let mut wide = try_vec("the centers", centers.len(), 0.0)?;
        for (wide, &center) in wide.iter_mut().zip(centers) {
            *wide = center.into();
        }
        let k = centers.len() / d;
        let centers = ArrayView2::from_shape((k, d), &wide).map_err(|_| Error::TooLarge {
            what: "the centers",
            rows: k,
            columns: d,
        })?;
        Ok(watch.iterated(&Iteration {
            run: self.run,
            number: self.number,
            inertia: self.inertia,
            centers,
            shift: self.shift,
            tol: self.tol,
            converged: self.converged,
        }))
    }
}
