//! Screening along the rows: for few centers of many features, where transposing a block takes longer than scoring it.
//!
//! Four rows at a time run against up to five centers, sixteen (eight, four) features to a register, so that each register of
//! samples or centers is used several times; the sums over a register's lanes are taken last. A block's scores rest in a
//! line a center, from which best, second best and index are found as in [`super::generic`].

use super::generic::{Running, conclude};
use super::lanes::Lanes;
use super::{BLOCK, Packed, Scratch};
use crate::view::{Source, prefetch};

/// Rows scored side by side.
const ROWS: usize = 4;
/// Centers scored side by side: with four rows, their sums of squares and a center, 29 of 32 registers.
const MOST: usize = 5;
/// Least number of features. Below, much of a register is empty and summing over lanes costs as much as transposing.
const LEAST_FEATURES: usize = 32;
/// Features per center from which on this is faster.
const FEATURES_PER_CENTER: usize = 16;
/// Bytes between the rows that are read and those asked for: what arrives from memory in the time one answer takes.
const DISTANCE: usize = 8 << 10;

/// Against at most how many centers rows of `d` features, each contiguous, are screened this way.
pub(super) fn most_centers(d: usize) -> usize {
    if d >= LEAST_FEATURES {
        d / FEATURES_PER_CENTER
    } else {
        0
    }
}

/// As [`super::generic::screen`], for rows whose features lie one after the other and centers packed for it.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn screen<V: Lanes, const MARGINS: bool>(
    packed: &Packed<V::Elem>,
    source: &Source<'_, V::Elem>,
    scratch: &mut Scratch<V::Elem>,
) -> u64 {
    let rows = source.len().min(BLOCK);
    let row_bytes = packed.d * size_of::<V::Elem>();
    let distance = (DISTANCE / row_bytes).next_multiple_of(ROWS).min(BLOCK);
    let parts = packed.k.div_ceil(MOST);
    for first in (0..rows).step_by(ROWS) {
        let four = Four {
            // Lanes without a row get the last one.
            rows: std::array::from_fn(|i| source.row((first + i).min(rows - 1))),
            next: std::array::from_fn(|i| source.upcoming(first + i + distance)),
            at: first,
        };
        let mut center = 0;
        for part in 0..parts {
            let count = (packed.k - center).div_ceil(parts - part);
            // SAFETY: the caller vouches for the instruction set; rows and centers are checked in `score`.
            unsafe {
                match (count, part) {
                    (1, 0) => score::<V, 1, true>(packed, scratch, &four, center),
                    (2, 0) => score::<V, 2, true>(packed, scratch, &four, center),
                    (3, 0) => score::<V, 3, true>(packed, scratch, &four, center),
                    (4, 0) => score::<V, 4, true>(packed, scratch, &four, center),
                    (_, 0) => score::<V, MOST, true>(packed, scratch, &four, center),
                    (1, _) => score::<V, 1, false>(packed, scratch, &four, center),
                    (2, _) => score::<V, 2, false>(packed, scratch, &four, center),
                    (3, _) => score::<V, 3, false>(packed, scratch, &four, center),
                    (4, _) => score::<V, 4, false>(packed, scratch, &four, center),
                    (_, _) => score::<V, MOST, false>(packed, scratch, &four, center),
                }
            }
            center += count;
        }
    }
    let mut sure = 0;
    let mut lane = 0;
    while lane < BLOCK {
        // SAFETY: lane + WIDTH <= BLOCK, the length of a line; there is a line a center.
        unsafe {
            let mut running = Running::<V, 1>::new();
            for (c, line) in scratch.scores[..packed.k].iter().enumerate() {
                let half = V::splat(packed.half[c]);
                let score = half.plus(V::load(line.0.as_ptr().add(lane)));
                running.fold([score], c);
            }
            sure |= running.judge::<MARGINS>(packed, scratch, lane);
        }
        lane += V::WIDTH;
    }
    // SAFETY: the caller vouches for the instruction set.
    unsafe { conclude::<V, MARGINS>(packed, scratch, (sure, rows), true) }
}

/// Four rows, those that will be read somewhat later, and the place of the first in its block.
struct Four<T> {
    rows: [*const T; ROWS],
    next: [*const T; ROWS],
    at: usize,
}

/// Writes −x·c for four rows x and C centers c, both less the shift, to the lines of these centers; with SQUARES also
/// −x·x, and asks for what comes next.
#[inline(always)]
unsafe fn score<V: Lanes, const C: usize, const SQUARES: bool>(
    packed: &Packed<V::Elem>,
    scratch: &mut Scratch<V::Elem>,
    four: &Four<V::Elem>,
    first: usize,
) {
    let width = packed.width();
    let d = packed.d;
    assert!(packed.rows.len() >= (first + C) * width && scratch.scores.len() >= first + C);
    assert!(packed.shift.len() >= width && width >= d && width.is_multiple_of(V::WIDTH));
    assert!(four.at + ROWS <= BLOCK);
    // SAFETY: a row has d numbers, of which whole registers and then what is left are read; centers and shift have
    // `width`; lines have BLOCK.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut sums = [[zero; ROWS]; C];
        let mut squares = [zero; ROWS];
        let centers = packed.rows.as_ptr().add(first * width);
        // No closures: they would not be compiled for the instruction set.
        let mut j = 0;
        while j < d {
            let shift = V::load(packed.shift.as_ptr().add(j));
            let mut x = [zero; ROWS];
            for (x, &row) in x.iter_mut().zip(&four.rows) {
                // What is not read is 0, and so are the shift and the centers there.
                *x = if j + V::WIDTH <= d {
                    V::load(row.add(j))
                } else {
                    V::load_first(row.add(j), d - j)
                };
                *x = x.minus(shift);
            }
            if SQUARES {
                for i in 0..ROWS {
                    squares[i] = squares[i].minus_product(x[i], x[i]);
                    prefetch(four.next[i].wrapping_add(j).cast());
                }
            }
            for (c, sums) in sums.iter_mut().enumerate() {
                let center = V::load(centers.add(c * width + j));
                for (sum, &x) in sums.iter_mut().zip(&x) {
                    *sum = sum.minus_product(x, center);
                }
            }
            j += V::WIDTH;
        }
        for (c, sums) in sums.into_iter().enumerate() {
            V::sum_four(sums, scratch.scores[first + c].0.as_mut_ptr().add(four.at));
        }
        if SQUARES {
            V::sum_four(squares, scratch.negated.0.as_mut_ptr().add(four.at));
        }
    }
}
