//! The sums of a block of which every row is new, as in a first iteration: lane by lane for all rows of a cluster, where
//! few centers and features make that cheaper than one row after the other.

use super::generic::fill;
use super::lanes::Lanes;
use super::{BLOCK, Line, Moving};
use crate::element::Element;
use crate::exact_sum::ExactTable;

/// Centers summed side by side.
const TOGETHER: usize = 4;
/// Most features.
const MOST_FEATURES: usize = 16;
/// Most sums, of features and weight of all centers, for which this is faster.
const MOST_SUMS: usize = 24;

/// What one thread works in.
#[derive(Debug)]
pub(crate) struct Room<T> {
    block: [Line<T>; MOST_FEATURES],
    /// −1 for the rows of a cluster, else 0: lanes subtract products.
    chosen: [Line<f64>; TOGETHER],
}

impl<T: Element> Room<T> {
    pub(crate) fn new() -> Self {
        Self {
            block: [Line([T::default(); BLOCK]); MOST_FEATURES],
            chosen: [Line([0.0; BLOCK]); TOGETHER],
        }
    }
}

/// Whether the sums of `k` centers of `d` features are made this way.
pub(super) fn is_faster(k: usize, d: usize) -> bool {
    d <= MOST_FEATURES && k.saturating_mul(d + 1) <= MOST_SUMS
}

/// Adds a block of rows from `first` on to the sums of their labels, which are less than the number of rows of the table.
/// All sums are exact, so their order is free.
///
/// # Safety
/// The CPU must have the instruction set of `V` and `W`.
#[inline(always)]
pub(super) unsafe fn add_block<V: Lanes, W: Lanes<Elem = f64>>(
    table: &mut ExactTable,
    moving: &Moving<'_, '_, V::Elem>,
    (first, labels): (usize, &[i32; BLOCK]),
    Room { block, chosen }: &mut Room<V::Elem>,
) {
    let (k, d) = (table.rows(), moving.data.n_columns());
    let shift = [V::Elem::default(); MOST_FEATURES];
    let source = moving.data.source(first, BLOCK);
    // SAFETY: the caller vouches for the instruction set.
    unsafe { fill::<V>(&source, BLOCK, (0, &shift), block, || ()) };
    let mut weights = Line([1.0; BLOCK]);
    if let Some(given) = moving.weights {
        weights.0.copy_from_slice(&given[first..first + BLOCK]);
    }
    for center in (0..k).step_by(TOGETHER) {
        for (c, chosen) in (center..k).zip(&mut *chosen) {
            let c = i32::try_from(c).unwrap_or(i32::MAX);
            for (chosen, &label) in chosen.0.iter_mut().zip(labels) {
                *chosen = if label == c { -1.0 } else { 0.0 };
            }
        }
        let sums = Sums {
            weights: &weights,
            chosen,
            grids: moving.grids.steps(),
        };
        for j in 0..=d {
            let values = block.get(j).filter(|_| j < d);
            let (mut high, mut low) = ([0.0; TOGETHER], [0.0; TOGETHER]);
            let out = (&mut high, &mut low);
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                match k - center {
                    1 => sums.column::<W, _, 1>((j, values), out),
                    2 => sums.column::<W, _, 2>((j, values), out),
                    3 => sums.column::<W, _, 3>((j, values), out),
                    _ => sums.column::<W, _, TOGETHER>((j, values), out),
                }
            }
            for (c, (high, low)) in (center..k).zip(high.into_iter().zip(low)) {
                let (highs, lows) = table.row_mut(c);
                highs[j] += high;
                lows[j] += low;
            }
        }
    }
}

/// What the sums of a block for a few centers are made of.
struct Sums<'a> {
    weights: &'a Line<f64>,
    chosen: &'a [Line<f64>; TOGETHER],
    grids: (&'a [f64], &'a [f64]),
}

impl Sums<'_> {
    /// The high and low sums of one feature, or of the weights where there are no values, for the first C centers.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `W`.
    #[inline(always)]
    unsafe fn column<W: Lanes<Elem = f64>, T: Element, const C: usize>(
        &self,
        (j, values): (usize, Option<&Line<T>>),
        (high, low): (&mut [f64; TOGETHER], &mut [f64; TOGETHER]),
    ) {
        let mut terms = *self.weights;
        if let Some(values) = values {
            for (term, &x) in terms.0.iter_mut().zip(&values.0) {
                let x: f64 = x.into();
                *term *= x;
            }
        }
        let (high_grid, low_grid) = self.grids;
        // SAFETY: the caller vouches for the instruction set; lines have BLOCK entries, `high` and `low` four.
        unsafe {
            let none = W::splat(0.0);
            let (mut highs, mut lows) = ([none; TOGETHER], [none; TOGETHER]);
            let (high_cut, low_cut) = (W::splat(high_grid[j]), W::splat(low_grid[j]));
            let mut lane = 0;
            while lane < BLOCK {
                let term = W::load(terms.0.as_ptr().add(lane));
                let high_part = term.plus(high_cut).minus(high_cut);
                for (high, chosen) in highs[..C].iter_mut().zip(self.chosen) {
                    let chosen = W::load(chosen.0.as_ptr().add(lane));
                    *high = high.minus_product(high_part, chosen);
                }
                if size_of::<T>() == size_of::<f64>() || !term.equals(high_part) {
                    let low_part = term.minus(high_part).plus(low_cut).minus(low_cut);
                    for (low, chosen) in lows[..C].iter_mut().zip(self.chosen) {
                        let chosen = W::load(chosen.0.as_ptr().add(lane));
                        *low = low.minus_product(low_part, chosen);
                    }
                }
                lane += W::WIDTH;
            }
            W::sum_four(highs, high.as_mut_ptr());
            W::sum_four(lows, low.as_mut_ptr());
        }
    }
}
