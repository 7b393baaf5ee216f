//! Scores of a row with all centers at once.
//!
//! # Method
//! Centers lie feature by feature, eight side by side, so that one nonzero of a row is one multiply-add with eight
//! centers. The score of center c is ½‖c‖² − x·c, which is half the squared distance less ½‖x‖².
//!
//! # The bound
//! With u = 2⁻⁵³, C the largest norm of a center and γ = γ_{d+16}, a computed score is off by at most
//! γ·(½C² + ‖x‖·C), in any order of summation, and the float64 distance that defines labels by at most
//! γ·(‖x‖ + C)². So where one score exceeds another by more than
//!
//! E = 4γ·(‖x‖ + C)² + underflow,
//!
//! the computed distances are in the same order: both scores are off by no more than γ·(‖x‖ + C)² together, half the
//! distances likewise, and the rest is slack for the rounding of E.

use super::view::{Csr, Index};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{STEP, Step};
use crate::kernel::{Isa, gamma};

/// Centers as scores need them.
pub(super) struct Across {
    isa: Isa,
    k: usize,
    /// For each feature the centers' values, whole steps.
    values: Vec<Step>,
    /// ½‖c‖² of each center.
    half: Vec<f64>,
    largest: f64,
    error: f64,
    underflow: f64,
}

impl Across {
    /// Room for `k` centers of `d` features, all zero.
    pub(super) fn new(isa: Isa, k: usize, d: usize) -> Result<Self> {
        let what = "the centers";
        let steps = d.checked_mul(k.div_ceil(STEP)).ok_or(Error::TooLarge {
            what,
            rows: k,
            columns: d,
        })?;
        Ok(Self {
            isa: isa.check()?,
            k,
            values: try_vec(what, steps, Step([0.0; STEP]))?,
            half: try_vec(what, k, 0.0)?,
            largest: 0.0,
            error: 4.0 * gamma(f64::EPSILON / 2.0, d + 16),
            underflow: (d + 16) as f64 * f64::MIN_POSITIVE,
        })
    }

    /// Takes dense centers, row-major, all of them.
    pub(super) fn load_dense(&mut self, centers: &[f64]) {
        let (steps, d) = (self.k.div_ceil(STEP), centers.len() / self.k);
        for (c, center) in centers.chunks_exact(d).enumerate() {
            let lines = self.values.iter_mut().skip(c / STEP).step_by(steps);
            for (line, &x) in lines.zip(center) {
                line.0[c % STEP] = x;
            }
            self.half[c] = center.iter().map(|x| x * x).sum::<f64>() / 2.0;
        }
        self.find_largest();
    }

    /// Takes rows of the data, at most as many as there is room for, in the place of those in `before`, which it took
    /// last.
    pub(super) fn load_rows<T: Element, I: Index>(
        &mut self,
        data: &Csr<'_, T, I>,
        before: &[usize],
        rows: &[usize],
    ) {
        let steps = self.k.div_ceil(STEP);
        for (c, &row) in before.iter().enumerate() {
            for (column, _) in data.row(row) {
                self.values[column * steps + c / STEP].0[c % STEP] = 0.0;
            }
        }
        self.half.fill(0.0);
        for (c, &row) in rows.iter().enumerate() {
            let mut squares = 0.0;
            for (column, x) in data.row(row) {
                self.values[column * steps + c / STEP].0[c % STEP] = x;
                squares += x * x;
            }
            self.half[c] = squares / 2.0;
        }
        self.find_largest();
    }

    fn find_largest(&mut self) {
        let largest = self.half.iter().fold(0.0_f64, |m, &half| m.max(half));
        self.largest = (2.0 * largest).sqrt();
    }

    /// Writes the score of each center; returns ‖x‖² and E.
    #[inline]
    pub(super) fn scores<T: Element, I: Index>(
        &self,
        data: &Csr<'_, T, I>,
        row: usize,
        scores: &mut [f64],
    ) -> (f64, f64) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx512 | Isa::Avx512Vnni => unsafe { self.products_avx512(data, row, scores) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx2 => unsafe { self.products_avx2(data, row, scores) },
            _ => self.products(data, row, scores),
        }
        for (score, half) in scores.iter_mut().zip(&self.half) {
            *score = half - *score;
        }
        let squares: f64 = data.row(row).map(|(_, x)| x * x).sum();
        let reach = squares.sqrt() + self.largest;
        (squares, self.error * reach * reach + self.underflow)
    }

    /// [`Across::products`] in registers of eight numbers.
    ///
    /// # Safety
    /// The CPU must have AVX-512F.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn products_avx512<T: Element, I: Index>(
        &self,
        data: &Csr<'_, T, I>,
        row: usize,
        out: &mut [f64],
    ) {
        self.products(data, row, out);
    }

    /// [`Across::products`] in registers of four numbers.
    ///
    /// # Safety
    /// The CPU must have AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn products_avx2<T: Element, I: Index>(
        &self,
        data: &Csr<'_, T, I>,
        row: usize,
        out: &mut [f64],
    ) {
        self.products(data, row, out);
    }

    /// Writes x·c for each center: steps of them by fours on one walk over the row, the rest on another.
    #[inline(always)]
    fn products<T: Element, I: Index>(&self, data: &Csr<'_, T, I>, row: usize, out: &mut [f64]) {
        const MOST: usize = 4;
        for (walk, out) in out.chunks_mut(MOST * STEP).enumerate() {
            let first = walk * MOST;
            match out.len().div_ceil(STEP) {
                1 => self.walk::<1, T, I>(data, row, first, out),
                2 => self.walk::<2, T, I>(data, row, first, out),
                3 => self.walk::<3, T, I>(data, row, first, out),
                _ => self.walk::<MOST, T, I>(data, row, first, out),
            }
        }
    }

    /// x·c for `N` steps of centers from step `first` on.
    #[inline(always)]
    fn walk<const N: usize, T: Element, I: Index>(
        &self,
        data: &Csr<'_, T, I>,
        row: usize,
        first: usize,
        out: &mut [f64],
    ) {
        let steps = self.k.div_ceil(STEP);
        let mut products = [[0.0; STEP]; N];
        for (column, x) in data.row(row) {
            let start = column * steps + first;
            let values = &self.values[start..start + N];
            for (products, values) in products.iter_mut().zip(values) {
                for (product, value) in products.iter_mut().zip(&values.0) {
                    *product += x * value;
                }
            }
        }
        for (out, product) in out.iter_mut().zip(products.as_flattened()) {
            *out = *product;
        }
    }
}
