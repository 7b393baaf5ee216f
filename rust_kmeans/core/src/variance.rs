//! The variance of the data, to which scikit-learn's tolerance is relative.

use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::kernel::FeatureSums;
use crate::pool::Pool;
use crate::scale::Scale;
use crate::view::Rows;

/// Rows summed on their own: fixed, so that the result does not depend on threads.
const PIECE: usize = 4096;

/// What memory is asked for.
const SUMS: &str = "the sums of the features";

/// The mean over the features of their variances (divided by n, not n − 1), in float64, in squared units of the data.
///
/// One pass after that of [`Scale::of`]: with xᵢ' = xᵢ − (lowest + highest) / 2, mean(x'²) − mean(x')², whose relative
/// error is at most about n·2⁻⁵³ times the square of range over standard deviation, and far less in practice.
///
/// # Errors
/// Those of [`Scale::of`].
pub fn mean_variance<T: Element>(data: Rows<'_, T>, pool: &Pool) -> Result<f64> {
    let scale = Scale::of(data, None, pool)?;
    variance_within(data, &scale, pool)
}

/// The same for data whose scale is known.
pub(crate) fn variance_within<T: Element>(
    data: Rows<'_, T>,
    scale: &Scale,
    pool: &Pool,
) -> Result<f64> {
    let mut moments = Moments::new(scale)?;
    moments.add(data, pool)?;
    Ok(moments.mean_variance())
}

/// The sums from which [`mean_variance`] follows, for data that come in blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Subtracted from the features, so that squares stay small.
    middle: Vec<f64>,
    /// Sums of the features, then of their squares.
    sums: Vec<f64>,
    n_rows: u64,
}

impl Moments {
    /// Of no rows yet; `scale` is that of all rows to come.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(scale: &Scale) -> Result<Self> {
        Ok(Self {
            middle: scale.middle().collect(),
            sums: try_vec(SUMS, 2 * scale.n_features(), 0.0)?,
            n_rows: 0,
        })
    }

    /// Adds a block. The result is the same bits for any split of the rows into blocks that start at multiples of 4096.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of features; [`Error::Memory`].
    pub fn add<T: Element>(&mut self, data: Rows<'_, T>, pool: &Pool) -> Result<()> {
        let (n, d) = (data.n_rows(), data.n_columns());
        if d != self.middle.len() {
            return Err(Error::Shape {
                what: "the block",
                axis: "features",
                found: d,
                expected: self.middle.len(),
            });
        }
        let mut sums = try_vec(SUMS, n.div_ceil(PIECE).saturating_mul(2 * d), 0.0)?;
        let n_threads = pool.useful_threads(n, d * 8);
        let mut threads = Vec::with_capacity(n_threads);
        for _ in 0..n_threads {
            threads.push(FeatureSums::new(&data, &self.middle)?);
        }
        pool.for_each(
            sums.chunks_exact_mut(2 * d).enumerate(),
            &mut threads,
            |thread, (at, sums)| {
                let first = at * PIECE;
                let rows = (first, PIECE.min(n - first));
                thread.add_to(sums.split_at_mut(d), &data, rows);
            },
        );
        for piece in sums.chunks_exact(2 * d) {
            for (sum, &more) in self.sums.iter_mut().zip(piece) {
                *sum += more;
            }
        }
        self.n_rows += n as u64;
        Ok(())
    }

    /// The mean over the features of their variances.
    #[must_use]
    pub fn mean_variance(&self) -> f64 {
        let n = self.n_rows as f64;
        let (sums, squares) = self.sums.split_at(self.middle.len());
        let mut variances = 0.0;
        for (sum, square) in sums.iter().zip(squares) {
            let mean = sum / n;
            variances += (square / n - mean * mean).max(0.0);
        }
        variances / self.middle.len() as f64
    }
}
