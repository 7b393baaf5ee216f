//! Margins: how much farther than its own center every other center of a sample is, at least.
//!
//! # The bound
//! With X, C, u and γ as in [`super`], the kernel knows q ≈ ‖X‖² (a sum of squares of rounded entries, relative error at
//! most γ_{d+3}) and the two least scores, so that q + 2·score differs from the squared distance by at most
//!
//! E = γ_{d+16}·(‖X‖ + max‖C‖)² + underflow,
//!
//! the rounding of that sum and of the next one included. Hence √(q + 2·best + E) is at least the distance to the
//! nearest center, √(q + 2·second − E) at most the distance to any other, and their difference, rounded down, is the
//! margin. Both are moved apart by a relative η more. As the float64 distance that defines labels has a relative error
//! below η and, from the underflow term on, no underflow worth mentioning, a margin above all that the centers
//! moved since proves the label, not only the order of the true distances: see [`crate::bounds`].
//!
//! Anything that is not a number, or too large for the type, makes the lower distance 0 and so proves nothing.

use super::{BLOCK, gamma};
use crate::element::Element;

/// What margins need to know of the centers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MarginBound<T> {
    largest: T,
    /// Of the norm of a row, from its sum of squares: factor and summand, below the root.
    norm: (T, T),
    /// A quarter of γ_{d+16} with slack for the rounding of E itself; and underflow.
    error_parts: (T, T),
    /// Factors for rounding up and down.
    up: T,
    down: T,
}

/// How much distances are moved apart, relatively, for `d` features: more than the relative error of a distance
/// computed in float64 with all that is done to it here.
pub(crate) fn slack(d: usize) -> f64 {
    (d + 16) as f64 * f64::EPSILON
}

impl<T: Element> MarginBound<T> {
    /// From a bound on the norms of the shifted centers.
    pub(super) fn new(d: usize, largest: f64) -> Self {
        // The second term keeps float64 distances away from their own underflow.
        let underflow =
            4.0 * (d + 8) as f64 * T::TINY.max(f64::MIN_POSITIVE * (1_u64 << 60) as f64);
        let error = gamma(T::UNIT, d + 16);
        let rounding = slack(d) + 8.0 * T::UNIT;
        Self {
            largest: T::from_f64(largest * 1.001),
            norm: (T::from_f64(1.01 + 2.0 * error), T::from_f64(underflow)),
            error_parts: (
                T::from_f64(error * 1.05 / 4.0),
                T::from_f64(underflow * 1.01),
            ),
            up: T::from_f64(1.0 + rounding),
            down: T::from_f64(1.0 - rounding),
        }
    }

    /// The margin of each sample, from its two least scores and the negative of its sum of squares.
    #[inline(always)]
    pub(super) fn margins(
        &self,
        (best, second): (&[T; BLOCK], &[T; BLOCK]),
        negated: &[T; BLOCK],
        out: &mut [T; BLOCK],
    ) {
        for (i, out) in out.iter_mut().enumerate() {
            let squares = T::default() - negated[i];
            let error = self.error(squares);
            let own = self.at_most(squares, best[i], error);
            let other = self.at_least(squares, second[i], error);
            *out = other - own;
        }
    }

    /// E for a sum of squares; not finite where some score may have overflowed.
    #[inline(always)]
    pub(super) fn error(&self, squares: T) -> T {
        let two = T::from_f64(2.0);
        let reach = root(squares * self.norm.0 + self.norm.1) + self.largest;
        // Four times too large first: where that overflows, some score may have.
        (two * reach) * (two * reach) * self.error_parts.0
            + (reach + T::from_f64(1.0)) * self.error_parts.1
    }

    /// No distance with this score is larger, if the error is finite.
    #[inline(always)]
    pub(super) fn at_most(&self, squares: T, score: T, error: T) -> T {
        root(squares + T::from_f64(2.0) * score + error) * self.up
    }

    /// No distance with this score is smaller.
    #[inline(always)]
    pub(super) fn at_least(&self, squares: T, score: T, error: T) -> T {
        root(squares + T::from_f64(2.0) * score - error) * self.down
    }
}

/// The square root; of what is negative or not a number, 0.
#[inline(always)]
fn root<T: Element>(x: T) -> T {
    if x > T::default() {
        x.sqrt()
    } else {
        T::default()
    }
}
