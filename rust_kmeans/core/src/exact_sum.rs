//! Sums of float64 numbers whose bits do not depend on the order of the terms.
//!
//! # Method
//! Let every term satisfy |x| ≤ B, let there be at most n additions and n subtractions, and let
//! L = ⌈log₂ n⌉ + 2. A [`Grid`] fixes two quanta, powers of two:
//! q₁ ≥ 2^(L−53)·B and q₂ ≥ 2^(L−53)·q₁/2. Each term is cut into
//!
//! - hi = x rounded to a multiple of q₁, computed as (x + M₁) − M₁ with M₁ = 1.5·2⁵²·q₁,
//! - lo = (x − hi) rounded to a multiple of q₂, computed likewise with M₂,
//!
//! and the hi and the lo parts are summed apart.
//!
//! # Why it is exact
//! x + M₁ lies in [2⁵²·q₁, 2⁵³·q₁), where float64 numbers are the multiples of q₁, because
//! |x| ≤ B ≤ 2^(53−L)·q₁ ≤ 2⁵¹·q₁ (L ≥ 2). So the sum is rounded to a multiple of q₁, the subtraction of M₁ is exact,
//! |x − hi| ≤ q₁/2, and x − hi is exact too (it needs no bit that x does not have). Any sum of at most 2n hi parts is
//! a multiple of q₁ of size at most 2n·(B + q₁/2) ≤ 2⁵³·q₁, hence a float64 number: no addition or subtraction of hi
//! parts ever rounds, and integer addition is associative. The same holds for lo parts with q₁/2 in the place of B.
//!
//! # What is lost
//! Only x − hi − lo, at most q₂/2 ≤ 2^(2L−107)·B a term (rounding to powers of two included at most four times
//! that): for n = 10⁶ terms the total is off by less than 2⁻⁴⁰ of the rounding of one float64 addition of terms of
//! size n·B. The cut depends on x and the grid alone, so the loss is the same in any order as well.
//!
//! Source: the pre-rounding ("binned") summation of J. Demmel and H. D. Nguyen, *Parallel Reproducible Summation*,
//! IEEE Trans. Computers 64 (2015), with two bins and a bound known in advance.

use std::ops::{Deref, DerefMut, Range};

/// Smallest exponent of a quantum: below it every float64 number is a multiple of the quantum anyway.
const SMALLEST_QUANTUM: i32 = -1074;
/// Largest exponent of a quantum for which 1.5·2⁵²·q is finite.
const LARGEST_QUANTUM: i32 = 970;

/// How terms of one quantity are cut: computed from a bound on the terms and on their number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    high: f64,
    low: f64,
}

impl Grid {
    /// A grid for at most `n` additions and `n` subtractions of terms of absolute value at most `bound` (finite).
    ///
    /// Bounds so large that sums of `n` terms could overflow float64 are cut at the largest grid there is; callers
    /// refuse such data before.
    #[must_use]
    pub fn new(bound: f64, n: u64) -> Self {
        let count_bits = ceil_log2(n.max(1)) + 2;
        let quantum = |exponent: i32| exponent.clamp(SMALLEST_QUANTUM, LARGEST_QUANTUM);
        let high = quantum(exponent_above(bound) + count_bits - 53);
        let low = quantum(high - 1 + count_bits - 53);
        Self {
            high: 1.5 * power_of_two(high + 52),
            low: 1.5 * power_of_two(low + 52),
        }
    }

    /// Cuts a term into its parts, multiples of the two quanta.
    #[inline(always)]
    #[must_use]
    pub fn split(self, x: f64) -> (f64, f64) {
        let high = (x + self.high) - self.high;
        let low = ((x - high) + self.low) - self.low;
        (high, low)
    }

    /// The most that a cut takes off a term.
    #[must_use]
    pub(crate) fn loss(self) -> f64 {
        // Half of the lower quantum.
        self.low / (1.5 * power_of_two(53))
    }

    /// The two numbers that define the grid, for storage.
    #[must_use]
    pub fn parts(self) -> (f64, f64) {
        (self.high, self.low)
    }

    /// Inverse of [`Grid::parts`].
    #[must_use]
    pub fn from_parts((high, low): (f64, f64)) -> Self {
        Self { high, low }
    }
}

/// One sum. Its value is the same bits for any order of the additions and subtractions that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ExactSum {
    /// Sum of the high parts.
    pub high: f64,
    /// Sum of the low parts.
    pub low: f64,
}

impl ExactSum {
    /// Adds a term.
    #[inline(always)]
    pub fn add(&mut self, grid: Grid, x: f64) {
        let (high, low) = grid.split(x);
        self.high += high;
        self.low += low;
    }

    /// Takes a term away that is part of this sum or of the one it will be merged into.
    #[inline(always)]
    pub fn subtract(&mut self, grid: Grid, x: f64) {
        let (high, low) = grid.split(x);
        self.high -= high;
        self.low -= low;
    }

    /// Takes all terms of another sum over the same grid away.
    #[inline(always)]
    pub fn take(&mut self, other: Self) {
        self.high -= other.high;
        self.low -= other.low;
    }

    /// Adds many terms, several side by side.
    #[inline(always)]
    pub fn add_all(&mut self, grid: Grid, terms: &[f64]) {
        const SIDE_BY_SIDE: usize = 8;
        let mut sums = [Self::default(); SIDE_BY_SIDE];
        let (groups, rest) = terms.as_chunks::<SIDE_BY_SIDE>();
        for group in groups {
            for (sum, &x) in sums.iter_mut().zip(group) {
                sum.add(grid, x);
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            sum.add(grid, x);
        }
        for sum in sums {
            self.merge(sum);
        }
    }

    /// Adds all terms of another sum over the same grid.
    #[inline(always)]
    pub fn merge(&mut self, other: Self) {
        self.high += other.high;
        self.low += other.low;
    }

    /// The sum, rounded once.
    #[inline(always)]
    #[must_use]
    pub fn value(self) -> f64 {
        self.high + self.low
    }
}

/// Sums that are changed side by side: rows of tables are padded to whole steps.
pub(crate) const STEP: usize = 8;

/// Numbers in whole steps, each in one line of the cache: a step that lies in two lines cannot be read until it has been
/// written to both.
#[derive(Debug, Clone, PartialEq, Default)]
struct Aligned(Vec<Step>);

#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub(crate) struct Step(pub(crate) [f64; STEP]);

impl Aligned {
    /// `len` numbers, a multiple of a step.
    fn new(len: usize, value: f64) -> crate::error::Result<Self> {
        let steps = crate::error::try_vec("the sums", len / STEP, Step([value; STEP]))?;
        Ok(Self(steps))
    }
}

impl Deref for Aligned {
    type Target = [f64];

    #[inline(always)]
    fn deref(&self) -> &[f64] {
        // SAFETY: a step is as large as eight numbers and holds nothing else.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * STEP) }
    }
}

impl DerefMut for Aligned {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f64] {
        // SAFETY: a step is as large as eight numbers and holds nothing else.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * STEP) }
    }
}

/// Grids of several quantities side by side, laid out for vector loops: whole steps, the last one padded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grids {
    high: Aligned,
    low: Aligned,
    columns: usize,
}

impl Grids {
    /// From the high and low numbers ([`Grid::parts`]) of each quantity.
    pub(crate) fn from_parts(high: &[f64], low: &[f64]) -> crate::error::Result<Self> {
        let columns = high.len();
        // Zero is cut into zeros by any grid.
        let mut grids = Self {
            high: Aligned::new(columns.next_multiple_of(STEP), 1.0)?,
            low: Aligned::new(columns.next_multiple_of(STEP), 1.0)?,
            columns,
        };
        grids.high[..columns].copy_from_slice(high);
        grids.low[..columns].copy_from_slice(low);
        Ok(grids)
    }

    /// Inverse of [`Grids::from_parts`].
    pub(crate) fn to_parts(&self) -> (Vec<f64>, Vec<f64>) {
        let parts = [&self.high, &self.low].map(|part| part[..self.columns].to_vec());
        parts.into()
    }

    /// Number of quantities.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// High and low numbers, whole steps.
    #[inline(always)]
    pub(crate) fn steps(&self) -> (&[f64], &[f64]) {
        (&self.high, &self.low)
    }
}

/// Sums of `columns` quantities for each of some groups: high parts and low parts, a padded row a group.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ExactTable {
    high: Aligned,
    low: Aligned,
    columns: usize,
}

impl ExactTable {
    pub(crate) fn new(rows: usize, columns: usize) -> crate::error::Result<Self> {
        let len = rows.checked_mul(columns.next_multiple_of(STEP)).ok_or(
            crate::error::Error::TooLarge {
                what: "the sums",
                rows,
                columns,
            },
        )?;
        Ok(Self {
            high: Aligned::new(len, 0.0)?,
            low: Aligned::new(len, 0.0)?,
            columns,
        })
    }

    /// Number of groups.
    pub(crate) fn rows(&self) -> usize {
        self.high.len() / self.columns.next_multiple_of(STEP).max(STEP)
    }

    /// From row-major high and low parts without padding.
    pub(crate) fn from_parts(
        (high, low): (&[f64], &[f64]),
        columns: usize,
    ) -> crate::error::Result<Self> {
        let mut table = Self::new(high.len() / columns, columns)?;
        for (to, from) in [(&mut table.high, high), (&mut table.low, low)] {
            let padded = to.chunks_exact_mut(columns.next_multiple_of(STEP));
            for (to, from) in padded.zip(from.chunks_exact(columns)) {
                to[..columns].copy_from_slice(from);
            }
        }
        Ok(table)
    }

    /// Inverse of [`ExactTable::from_parts`].
    pub(crate) fn to_parts(&self) -> (Vec<f64>, Vec<f64>) {
        let packed = |padded: &[f64]| {
            padded
                .chunks_exact(self.columns.next_multiple_of(STEP))
                .flat_map(|row| &row[..self.columns])
                .copied()
                .collect()
        };
        (packed(&self.high), packed(&self.low))
    }

    pub(crate) fn clear(&mut self) {
        self.high.fill(0.0);
        self.low.fill(0.0);
    }

    pub(crate) fn clear_row(&mut self, row: usize) {
        let range = self.row(row);
        self.high[range.clone()].fill(0.0);
        self.low[range].fill(0.0);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        add_all(&mut self.high, &other.high);
        add_all(&mut self.low, &other.low);
    }

    #[inline(always)]
    fn row(&self, row: usize) -> Range<usize> {
        let padded = self.columns.next_multiple_of(STEP);
        row * padded..(row + 1) * padded
    }

    /// High and low parts of a row, whole steps.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, row: usize) -> (&mut [f64], &mut [f64]) {
        let range = self.row(row);
        (&mut self.high[range.clone()], &mut self.low[range])
    }

    /// High and low parts of all rows, each whole steps.
    pub(crate) fn parts_mut(&mut self) -> (&mut [f64], &mut [f64]) {
        (&mut self.high, &mut self.low)
    }

    /// The sum in one cell, rounded once.
    #[inline]
    pub(crate) fn value(&self, row: usize, column: usize) -> f64 {
        let at = row * self.columns.next_multiple_of(STEP) + column;
        self.high[at] + self.low[at]
    }

    /// High and low parts of one row.
    pub(crate) fn parts(&self, row: usize) -> (&[f64], &[f64]) {
        let start = self.row(row).start;
        let range = start..start + self.columns;
        (&self.high[range.clone()], &self.low[range])
    }

    /// The sums of one row, rounded once each.
    pub(crate) fn values(&self, row: usize) -> impl Iterator<Item = f64> + '_ {
        let (high, low) = self.parts(row);
        high.iter().zip(low).map(|(high, low)| high + low)
    }
}

fn add_all(into: &mut [f64], from: &[f64]) {
    for (into, &from) in into.iter_mut().zip(from) {
        *into += from;
    }
}

/// The least e with |x| ≤ 2^e, or the least exponent of all for 0.
fn exponent_above(x: f64) -> i32 {
    let bits = x.abs().to_bits();
    // Rounding the fraction up can only carry into the exponent; a subnormal is below the least normal number.
    ((bits + ((1 << 52) - 1)) >> 52) as i32 - 1023
}

#[expect(clippy::cast_possible_wrap, reason = "at most 64")]
fn ceil_log2(n: u64) -> i32 {
    (u64::BITS - (n - 1).leading_zeros()) as i32
}

/// 2^exponent for exponents from -1074 to 1023.
#[expect(
    clippy::cast_sign_loss,
    reason = "both branches are within their range"
)]
fn power_of_two(exponent: i32) -> f64 {
    if exponent >= -1022 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent + 1074) as u64)
    }
}
