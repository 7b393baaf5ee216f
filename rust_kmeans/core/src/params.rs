//! Parameters of a fit: `Params` as a user writes them, `ValidParams` as the loop may rely on them.

use crate::error::{Error, Result};
use crate::kernel::Isa;
use crate::pool::default_threads;

/// Parameters of [`crate::lloyd`], unchecked.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Most iterations; at least 1.
    pub max_iter: usize,
    /// Stop when the summed squared shift of all centers is at most this; absolute, in squared units of the data.
    /// 0 stops only when no label changes (or no center moves).
    pub tol: f64,
    /// Threads to use; `None` for [`default_threads`]. Results do not depend on it.
    pub n_threads: Option<usize>,
    /// Instruction set; `None` for the one `RUST_KMEANS_ISA` names, or the best of this machine. Labels and centers
    /// do not depend on it.
    pub isa: Option<Isa>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            max_iter: 300,
            tol: 0.0,
            n_threads: None,
            isa: None,
        }
    }
}

impl Params {
    /// Checks every parameter.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a value outside its range, [`Error::Isa`] for an instruction set that is not here.
    pub fn check(self) -> Result<ValidParams> {
        if self.max_iter == 0 {
            return Err(parameter(
                "max_iter",
                self.max_iter,
                "it must be at least 1",
            ));
        }
        if !(self.tol >= 0.0 && self.tol.is_finite()) {
            return Err(parameter(
                "tol",
                self.tol,
                "it must be finite and not negative",
            ));
        }
        let n_threads = match self.n_threads {
            Some(0) => return Err(parameter("n_threads", 0, "it must be at least 1")),
            Some(n_threads) => n_threads,
            None => default_threads(),
        };
        let isa = match self.isa {
            Some(isa) => isa.check()?,
            None => Isa::choose()?,
        };
        Ok(ValidParams {
            max_iter: self.max_iter,
            tol: self.tol,
            n_threads,
            isa,
        })
    }
}

/// Parameters that passed [`Params::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct ValidParams {
    pub(crate) max_iter: usize,
    pub(crate) tol: f64,
    pub(crate) n_threads: usize,
    pub(crate) isa: Isa,
}

impl ValidParams {
    /// The instruction set the fit will use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads the fit may use.
    #[must_use]
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }
}

fn parameter(name: &'static str, value: impl ToString, rule: &'static str) -> Error {
    Error::Parameter {
        name,
        value: value.to_string(),
        rule,
    }
}
