//! The variance of the data, to which scikit-learn's tolerance is relative.

use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::pool::Pool;
use crate::scale::Scale;
use crate::view::Rows;

/// Rows summed on their own: fixed, so that the result does not depend on threads.
const PIECE: usize = 4096;

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
    let (n, d) = (data.n_rows(), data.n_columns());
    let middle: Vec<_> = scale.middle().collect();
    let what = "the sums of the features";
    let mut sums = try_vec(what, n.div_ceil(PIECE).saturating_mul(2 * d), 0.0)?;
    let mut threads = try_vec(what, pool.useful_threads(n, d * 8), ())?;
    pool.for_each(
        sums.chunks_exact_mut(2 * d).enumerate(),
        &mut threads,
        |(), (at, sums)| {
            let first = at * PIECE;
            add_piece(
                &data,
                first,
                PIECE.min(n - first),
                &middle,
                sums.split_at_mut(d),
            );
        },
    );
    let mut variances = 0.0;
    for j in 0..d {
        let total = |start: usize| sums.iter().skip(start).step_by(2 * d).sum::<f64>() / n as f64;
        let (mean, square) = (total(j), total(d + j));
        variances += (square - mean * mean).max(0.0);
    }
    Ok(variances / d as f64)
}

/// Adds x − middle and its square for each feature of some rows.
fn add_piece<T: Element>(
    data: &Rows<'_, T>,
    first: usize,
    count: usize,
    middle: &[f64],
    (sums, squares): (&mut [f64], &mut [f64]),
) {
    let mut add = |j: usize, x: T| {
        let x: f64 = x.into();
        let x = x - middle[j];
        sums[j] += x;
        squares[j] += x * x;
    };
    if let Some(values) = data.packed(first, count) {
        for row in values.chunks_exact(middle.len()) {
            for (j, &x) in row.iter().enumerate() {
                add(j, x);
            }
        }
    } else {
        let block = data
            .as_array()
            .slice_move(ndarray::s![first..first + count, ..]);
        for (j, column) in block.columns().into_iter().enumerate() {
            for &x in column {
                add(j, x);
            }
        }
    }
}
