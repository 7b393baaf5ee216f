//! Scoring along the rows: for few centers of many features, where transposing a block takes longer than scoring it.
//!
//! Four rows at a time run against up to five centers, sixteen (eight, four) features to a register, so that each register of
//! samples or centers is used several times; the sums over a register's lanes are taken last. A block's scores rest in a
//! line a center, from which screening finds best, second best and index as in [`super::generic`], and seeding what is nearer.

use super::generic::{Running, conclude};
use super::lanes::Lanes;
use super::{BLOCK, Line, Packed, Scratch, padded};
use crate::element::Element;
use crate::view::{AHEAD, Source, prefetch};

/// Rows scored side by side.
pub(super) const ROWS: usize = 4;
/// Centers scored side by side: with four rows, their sums of squares and a center, 29 of 32 registers.
const MOST: usize = 5;
/// Least number of features. Below, much of a register is empty and summing over lanes costs as much as transposing.
const LEAST_FEATURES: usize = 32;
/// Features per center from which on this is faster.
const FEATURES_PER_CENTER: usize = 8;
/// Centers up to which it is: all are read again for every four rows, and those of wide rows do not stay in a small cache.
const MOST_CENTERS: usize = 48;

/// Against at most how many centers rows of `d` features, each contiguous, are scored this way.
pub(super) fn most_centers(d: usize) -> usize {
    if d >= LEAST_FEATURES {
        (d / FEATURES_PER_CENTER).min(MOST_CENTERS)
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
    let centers = Centers::new(&packed.rows, &packed.shift, packed.d);
    for first in (0..rows).step_by(ROWS) {
        let four = Four::of(source, first);
        let Scratch {
            scores, negated, ..
        } = &mut *scratch;
        // SAFETY: the caller vouches for the instruction set; the rows are those of the source.
        unsafe { centers.score_all::<V, true>(&four, &mut scores[..packed.k], negated) };
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

/// Four rows of the data, those that will be read somewhat later, and the place of the first in the lines of scores.
pub(super) struct Four<T> {
    pub(super) rows: [*const T; ROWS],
    pub(super) next: [*const T; ROWS],
    pub(super) at: usize,
}

impl<T: Element> Four<T> {
    /// The rows of a block from `first` on; places without a row get the last one.
    #[inline(always)]
    pub(super) fn of(source: &Source<'_, T>, first: usize) -> Self {
        let row_bytes = source.columns() * size_of::<T>();
        let distance = (AHEAD / row_bytes).next_multiple_of(ROWS).min(BLOCK);
        let last = source.len().min(BLOCK) - 1;
        Self {
            rows: std::array::from_fn(|i| source.row((first + i).min(last))),
            next: std::array::from_fn(|i| source.upcoming(first + i + distance)),
            at: first,
        }
    }
}

/// Centers less the shift, each filled up with 0 to the width of the shift.
#[derive(Clone, Copy)]
pub(super) struct Centers<'a, T> {
    rows: &'a [T],
    shift: &'a [T],
    d: usize,
}

impl<'a, T: Element> Centers<'a, T> {
    /// As many as there are rows, of `d` features; rows and the shift are filled up with 0 to [`padded`].
    #[inline(always)]
    pub(super) fn new(rows: &'a [T], shift: &'a [T], d: usize) -> Self {
        Self {
            rows,
            shift: &shift[..padded(d)],
            d,
        }
    }

    /// Writes −x·c for four rows x and each of the centers c, both less the shift, to one of `lines` a center; with SQUARES
    /// also −x·x, and asks for what comes next.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`; rows are valid for reads of all features.
    #[inline(always)]
    pub(super) unsafe fn score_all<V: Lanes<Elem = T>, const SQUARES: bool>(
        self,
        four: &Four<T>,
        lines: &mut [Line<T>],
        negated: &mut Line<T>,
    ) {
        let parts = lines.len().div_ceil(MOST);
        let mut center = 0;
        for part in 0..parts {
            let count = (lines.len() - center).div_ceil(parts - part);
            let rows = &self.rows[center * self.shift.len()..];
            let (part, lines) = (Self { rows, ..self }, &mut lines[center..]);
            // SAFETY: the caller vouches for the instruction set and the rows.
            unsafe {
                match (count, SQUARES && center == 0) {
                    (1, true) => part.score::<V, 1, true>(four, lines, negated),
                    (2, true) => part.score::<V, 2, true>(four, lines, negated),
                    (3, true) => part.score::<V, 3, true>(four, lines, negated),
                    (4, true) => part.score::<V, 4, true>(four, lines, negated),
                    (_, true) => part.score::<V, MOST, true>(four, lines, negated),
                    (1, false) => part.score::<V, 1, false>(four, lines, negated),
                    (2, false) => part.score::<V, 2, false>(four, lines, negated),
                    (3, false) => part.score::<V, 3, false>(four, lines, negated),
                    (4, false) => part.score::<V, 4, false>(four, lines, negated),
                    (_, false) => part.score::<V, MOST, false>(four, lines, negated),
                }
            }
            center += count;
        }
    }

    /// [`Centers::score_all`] for the first C centers.
    #[inline(always)]
    unsafe fn score<V: Lanes<Elem = T>, const C: usize, const SQUARES: bool>(
        self,
        four: &Four<T>,
        lines: &mut [Line<T>],
        negated: &mut Line<T>,
    ) {
        let (width, d) = (self.shift.len(), self.d);
        assert!(self.rows.len() >= C * width && lines.len() >= C);
        assert!(width >= d && width.is_multiple_of(V::WIDTH));
        assert!(four.at + ROWS <= BLOCK);
        // SAFETY: a row has d numbers, of which whole registers and then what is left are read; centers and shift have
        // `width`; lines have BLOCK.
        unsafe {
            let zero = V::splat(T::default());
            let mut sums = [[zero; ROWS]; C];
            let mut squares = [zero; ROWS];
            let centers = self.rows.as_ptr();
            // No closures: they would not be compiled for the instruction set.
            let mut j = 0;
            while j < d {
                let shift = V::load(self.shift.as_ptr().add(j));
                let mut x = [zero; ROWS];
                for (x, &row) in x.iter_mut().zip(&four.rows) {
                    *x = shifted(row, (j, d), shift);
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
                V::sum_four(sums, lines[c].0.as_mut_ptr().add(four.at));
            }
            if SQUARES {
                V::sum_four(squares, negated.0.as_mut_ptr().add(four.at));
            }
        }
    }

    /// Writes −x·c for four rows x, each with the center c of its own at one of `places`; with SQUARES also −x·x, and asks for
    /// what comes next.
    ///
    /// # Safety
    /// As [`Centers::score_all`].
    #[inline(always)]
    pub(super) unsafe fn score_own<V: Lanes<Elem = T>, const SQUARES: bool>(
        self,
        four: &Four<T>,
        places: [usize; ROWS],
        line: &mut Line<T>,
        negated: &mut Line<T>,
    ) {
        let (width, d) = (self.shift.len(), self.d);
        assert!(
            places
                .iter()
                .all(|&place| (place + 1) * width <= self.rows.len())
        );
        assert!(width >= d && width.is_multiple_of(V::WIDTH));
        assert!(four.at + ROWS <= BLOCK);
        // SAFETY: as in `score`; the places are those of centers.
        unsafe {
            let zero = V::splat(T::default());
            let (mut sums, mut squares) = ([zero; ROWS], [zero; ROWS]);
            let centers = self.rows.as_ptr();
            let mut j = 0;
            while j < d {
                let shift = V::load(self.shift.as_ptr().add(j));
                for i in 0..ROWS {
                    let x = shifted(four.rows[i], (j, d), shift);
                    let center = V::load(centers.add(places[i] * width + j));
                    sums[i] = sums[i].minus_product(x, center);
                    if SQUARES {
                        squares[i] = squares[i].minus_product(x, x);
                        prefetch(four.next[i].wrapping_add(j).cast());
                    }
                }
                j += V::WIDTH;
            }
            V::sum_four(sums, line.0.as_mut_ptr().add(four.at));
            if SQUARES {
                V::sum_four(squares, negated.0.as_mut_ptr().add(four.at));
            }
        }
    }
}

/// The register of a row from feature j of d on, less the shift.
///
/// # Safety
/// The CPU must have the instruction set of `V`; the row is valid for reads of d numbers.
#[inline(always)]
unsafe fn shifted<V: Lanes>(row: *const V::Elem, (j, d): (usize, usize), shift: V) -> V {
    // SAFETY: the caller vouches for both.
    unsafe {
        // What is not read is 0, and so are the shift and the centers there.
        let x = if j + V::WIDTH <= d {
            V::load(row.add(j))
        } else {
            V::load_first(row.add(j), d - j)
        };
        x.minus(shift)
    }
}
