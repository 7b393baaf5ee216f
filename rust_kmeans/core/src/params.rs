//! Parameters of a fit: `Params` as a user writes them, `ValidParams` as the loop may rely on them.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::kernel::Isa;
use crate::pool::{Pool, default_threads, useful_threads};

/// How labels are found; none of them changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// Chooses between the others, for each iteration anew.
    #[default]
    Auto,
    /// Distances to all centers, for every sample.
    Lloyd,
    /// Samples whose label bounds prove are skipped.
    Hamerly,
    /// The same, and the others are compared only with the groups of centers that bounds do not exclude. It takes memory
    /// for one more bound a group: all bounds of a sample fill at most 16 bytes, or a sixteenth of a row. As [`Algorithm::Hamerly`]
    /// where that leaves fewer than two groups, with fewer than eight centers, and where the features of a row do not lie one
    /// after the other.
    Yinyang,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Auto, Self::Lloyd, Self::Hamerly, Self::Yinyang];

    /// Its name: `auto`, `lloyd`, `hamerly`, `yinyang`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Lloyd => "lloyd",
            Self::Hamerly => "hamerly",
            Self::Yinyang => "yinyang",
        }
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| {
                parameter(
                    "algorithm",
                    name,
                    "it must be auto, lloyd, hamerly or yinyang",
                )
            })
    }
}

/// More threads than any machine this runs on has cores: starting them would take longer than the fit.
const MAX_THREADS: usize = 1024;

/// Parameters of [`crate::lloyd`], unchecked.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Most iterations; at least 1.
    pub max_iter: usize,
    /// Stop when the summed squared shift of all centers is at most this; absolute, in squared units of the data.
    /// 0 stops only when no label changes (or no center moves).
    pub tol: f64,
    /// How labels are found. Results do not depend on it.
    pub algorithm: Algorithm,
    /// Whether centers are means scaled to unit length, for samples of unit length: spherical k-means.
    pub spherical: bool,
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
            algorithm: Algorithm::Auto,
            spherical: false,
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
            Some(n_threads) if n_threads > MAX_THREADS => {
                return Err(parameter("n_threads", n_threads, "it must be at most 1024"));
            }
            n_threads => n_threads,
        };
        let isa = match self.isa {
            Some(isa) => isa.check()?,
            None => Isa::choose()?,
        };
        Ok(ValidParams {
            max_iter: self.max_iter,
            tol: self.tol,
            algorithm: self.algorithm,
            spherical: self.spherical,
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
    pub(crate) algorithm: Algorithm,
    pub(crate) spherical: bool,
    /// `None` for [`default_threads`], counted when they are needed: to ask the system takes as long as a tiny fit.
    n_threads: Option<usize>,
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
            .unwrap_or_else(|| default_threads().min(MAX_THREADS))
    }

    /// Threads for some rows of `cost` operations each: no more than they are worth, and, unless their number was asked for,
    /// no more than other pools of this process leave of it.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system refuses.
    pub(crate) fn pool_for(&self, rows: usize, cost: usize) -> Result<Pool> {
        match useful_threads(MAX_THREADS, rows, cost) {
            1 => Pool::sharing(1, 1),
            useful => self.pool_of(useful),
        }
    }

    /// As many threads as the fit may use, unless their number was not asked for and other pools of this process are at work.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system refuses.
    pub fn pool(&self) -> Result<Pool> {
        self.pool_of(MAX_THREADS)
    }

    /// So many threads, or all that the fit may use.
    fn pool_of(&self, most: usize) -> Result<Pool> {
        let n_threads = self.n_threads();
        match self.n_threads {
            Some(_) => Pool::new(n_threads.min(most)),
            None => Pool::sharing(n_threads.min(most), n_threads),
        }
    }
}

fn parameter(name: &'static str, value: impl ToString, rule: &'static str) -> Error {
    Error::Parameter {
        name,
        value: value.to_string(),
        rule,
    }
}
