//! Everything that can go wrong, each with what, where and the remedy.

use thiserror::Error;

use crate::memory::{Number, zeros};

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A refused input, a lack of memory, or a request to stop.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The data have no rows or no columns.
    #[error(
        "the data are empty ({rows} rows, {columns} columns): at least one row and one column are needed"
    )]
    Empty {
        /// Rows of the data.
        rows: usize,
        /// Columns of the data.
        columns: usize,
    },
    /// No cluster was asked for.
    #[error("n_clusters is 0: it must be at least 1")]
    NoClusters,
    /// More clusters than rows.
    #[error("n_samples={rows} should be >= n_clusters={clusters}: ask for fewer clusters")]
    TooFewRows {
        /// Rows of the data.
        rows: usize,
        /// Clusters asked for.
        clusters: usize,
    },
    /// An array is larger than addresses or labels can count.
    #[error("{what} of shape ({rows}, {columns}) is too large to be addressed")]
    TooLarge {
        /// The array.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// The arrays of a CSR matrix do not describe one.
    #[error(
        "X is no CSR matrix with sorted indices ({reason} in row {row}): call X.check_format() and X.sum_duplicates()"
    )]
    Sparse {
        /// What is wrong.
        reason: &'static str,
        /// The first row where it is.
        row: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what} contains {value} at row {row}, column {column}: replace or drop it first")]
    NotFinite {
        /// The array.
        what: &'static str,
        /// `NaN`, `inf` or `-inf`.
        value: f64,
        /// Row of the first such value.
        row: usize,
        /// Column of the first such value in that row.
        column: usize,
    },
    /// Squared distances between values of this size overflow float64.
    #[error("values up to {largest:e} make squared distances overflow float64: rescale the data")]
    Overflow {
        /// Largest absolute value seen.
        largest: f64,
    },
    /// Two arrays do not fit together.
    #[error("{what} has {found} {axis}, expected {expected}")]
    Shape {
        /// The array.
        what: &'static str,
        /// The axis that does not fit.
        axis: &'static str,
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: usize,
    },
    /// A weight is negative, NaN or infinite.
    #[error("sample_weight[{row}] is {value}: weights must be finite and not negative")]
    Weight {
        /// Its position.
        row: usize,
        /// Its value.
        value: f64,
    },
    /// All weights are zero.
    #[error("every sample_weight is zero: at least one weight must be positive")]
    NoWeight,
    /// A parameter is outside its range.
    #[error("{name}={value} is not valid: {rule}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// Its value as given.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// `RUST_KMEANS_ISA` names an instruction set that does not exist or that this machine lacks.
    #[error("RUST_KMEANS_ISA={value} is not available here: unset it or use one of {available}")]
    Isa {
        /// The value as given.
        value: String,
        /// The names that would be accepted.
        available: String,
    },
    /// A block does not lie within the scale it was given, or two partials have different scales.
    #[error(
        "{0}: compute one scale over all blocks and the same centers, and use it for every block"
    )]
    ScaleMismatch(&'static str),
    /// A scale or a partial was stored or sent, and what came back is none.
    #[error("{what} is damaged ({reason}): compute it again")]
    Damaged {
        /// What was stored.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Memory could not be allocated.
    #[error(
        "{bytes} bytes for {what} could not be allocated: use fewer rows at a time or fewer clusters"
    )]
    Memory {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        bytes: usize,
    },
    /// The worker threads could not be started.
    #[error("could not start {n_threads} threads ({reason}): use fewer")]
    Threads {
        /// Threads asked for.
        n_threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The interrupt callback asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A vector of `len` copies of `value`, or [`Error::Memory`] instead of an abort.
pub(crate) fn try_vec<T: Clone>(what: &'static str, len: usize, value: T) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| Error::Memory {
        what,
        bytes: len.saturating_mul(size_of::<T>()),
    })?;
    vec.resize(len, value);
    Ok(vec)
}

/// A vector of `len` zeros, or [`Error::Memory`]: for many, which threads then fill.
pub(crate) fn try_zeros<T: Number>(what: &'static str, len: usize) -> Result<Vec<T>> {
    zeros(len).ok_or(Error::Memory {
        what,
        bytes: len.saturating_mul(size_of::<T>()),
    })
}
