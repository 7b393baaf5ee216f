//! Which samples of a block may be nearer to one of a few candidates than to any center so far, and about how much: the
//! inside of seeding. A block is transposed and scored as in [`generic`], or where candidates are few and rows wide scored
//! along the rows as in [`along`].
//!
//! # The bound
//! With X, C, u and γ as in [`super`], q the computed ‖X‖² and N the float64 distance of a sample to its nearest center,
//!
//! |q + 2·score − ‖X − C‖²| ≤ 2γ_{d+16}·(‖X‖² + ‖C‖²) + underflow,
//!
//! as (‖X‖ + ‖C‖)² is at most twice the sum of the squares. The float64 distance is at least
//! ‖X − C‖²·(1 − γ⁶⁴_{d+3}) less underflow. So the candidate is no nearer than N, in the computed distances, where
//!
//! score − γ‖C‖² ≥ ½·N·(1 + slack) − ½·q·(1 − 2γ) + underflow:
//!
//! the left side is one number for a pair, the right one number for a sample. γ_{d+64} stands for γ_{d+16}, which covers the
//! rounding of both sides. Every sample for which this does not hold may be nearer.
//!
//! The bound holds for any order of the sums that adds no term more than d + 1 times to others. In a transposed block ½‖C‖²
//! is first, and a product follows a feature. Along rows, of at least 32 features and with registers of 2 to 16 lanes, a
//! product is added at most ⌈d / lanes⌉ times in its lane and once less than there are lanes in the sum over these, together
//! at most d times, and once more with ½‖C‖², which comes last; the zeros that fill up a row change no sum.
//!
//! # The gain
//! A candidate lowers the potential by the sum of w·max(0, N − distance) over all samples, w being weights. In the data's
//! type, with q + 2·score for the distance, each term is off by at most w times
//!
//! 4γ_{d+64}·(q + ‖C‖²) + (32u + slack)·N + underflow:
//!
//! twice the bound above for the distance and for what ½‖C‖² was lowered by, the rounding of the float64 distance, which is
//! below N where there is a gain, and that of N, of w, of the difference, of the product and of the few terms that are added
//! in the data's type before they go to float64 sums, whose rounding grows with the number of samples. What exact sums cut
//! off is added by the search, which knows their grid. A weight too small for the data's type is lost, which costs at most the type's
//! smallest normal number times N.
//! [`Closer::gain`] has the sums and [`Candidates::gain_error`] what bounds their errors, so that a candidate that gains
//! more beyond doubt is known without a float64 distance. Data whose scores could overflow are not screened, and have no gains.

use super::along::{self, Centers, Four, ROWS};
use super::generic;
use super::lanes::Lanes;
use super::{BLOCK, Distances, Isa, Line, WIDEST, gamma, padded, slack};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::scale::Scale;
use crate::view::{Rows, Source};

/// Candidates whose scores are in registers at a time, at most.
const MOST: usize = 5;

/// A few candidates, laid out for the kernel, and what does not change during a seeding.
#[derive(Debug)]
pub(crate) struct Candidates<T> {
    isa: Isa,
    d: usize,
    /// Any vector near the middle of the data, as wide as a row.
    shift: Vec<T>,
    /// Groups of at most [`MOST`] candidates less the shift, feature by feature.
    centers: Vec<T>,
    /// The same row by row, each filled up with 0 to [`padded`], if rows can be scored along their features; else empty.
    rows: Vec<T>,
    /// ½‖C‖²·(1 − 2γ) of each.
    half: Vec<T>,
    /// The candidates as they are, row-major; as many as were loaded.
    exact: Vec<f64>,
    /// Factor of N, factor of −q and summand of the right side of the bound; `None` where scores could overflow.
    limit: Option<(T, T, T)>,
    /// 1 − 2γ.
    shrink: f64,
    /// γ and the underflow of a gain.
    error: (f64, f64),
    /// ‖C‖² of each.
    squares: Vec<f64>,
    /// No two rows have a greater squared distance.
    farthest: f64,
}

impl<T: Element> Candidates<T> {
    /// Room for `most` candidates among the rows of `data`, whose scale is `scale`.
    pub(crate) fn new(isa: Isa, most: usize, data: &Rows<'_, T>, scale: &Scale) -> Result<Self> {
        /// Rows whose mean is the shift.
        const SAMPLE: usize = 256;
        let (n, d) = (data.n_rows(), data.n_columns());
        let what = "the candidates";
        let mut mean = try_vec(what, d, 0.0)?;
        let mut row = try_vec(what, d, 0.0)?;
        let taken = n.min(SAMPLE);
        for i in 0..taken {
            data.read_row(i * (n / taken), &mut row);
            for (mean, x) in mean.iter_mut().zip(&row) {
                *mean += x / taken as f64;
            }
        }
        let mut shift = try_vec(what, padded(d), T::default())?;
        for (shift, &mean) in shift.iter_mut().zip(&mean) {
            *shift = T::from_f64(mean);
        }
        let reach = shift
            .iter()
            .zip(scale.lowest.iter().zip(&scale.highest))
            .map(|(&shift, (lowest, highest))| {
                (highest - shift.into()).max(shift.into() - lowest).powi(2)
            })
            .sum::<f64>()
            .sqrt()
            * 1.01;
        let error = gamma(T::UNIT, d + 64);
        let underflow = 8.0
            * (d + 16) as f64
            * (T::TINY * (1.0 + 2.0 * reach)
                + T::TINY.max(f64::MIN_POSITIVE * (1_u64 << 60) as f64));
        let screens = error < 0.01 && 16.0 * reach * reach < T::HUGE && underflow < 1.0;
        let factor = 0.5 * (1.0 + slack(d) + 16.0 * T::UNIT);
        let shrink = 1.0 - 2.0 * error;
        Ok(Self {
            isa: isa.check()?,
            d,
            shift,
            centers: try_vec(what, most.saturating_mul(d), T::default())?,
            rows: if most <= along::most_centers(d) {
                try_vec(what, most.saturating_mul(padded(d)), T::default())?
            } else {
                Vec::new()
            },
            half: try_vec(what, most, T::default())?,
            exact: Vec::with_capacity(most.saturating_mul(d)),
            limit: screens.then(|| {
                (
                    T::from_f64(factor),
                    T::from_f64(0.5 * shrink),
                    T::from_f64(underflow),
                )
            }),
            shrink,
            error: (error, underflow),
            squares: try_vec(what, most, 0.0)?,
            farthest: 4.0 * reach * reach,
        })
    }

    /// Takes rows of the data, at most as many as there is room for.
    pub(crate) fn load(&mut self, (data, rows): (&Rows<'_, T>, &[usize])) {
        let d = self.d;
        self.exact.clear();
        for &row in rows.iter().take(self.half.len()) {
            let start = self.exact.len();
            self.exact.resize(start + d, 0.0);
            data.read_row(row, &mut self.exact[start..]);
        }
        let count = self.len();
        for group in 0..groups(count) {
            let (first, size) = members(group, count);
            let packed = &mut self.centers[first * d..(first + size) * d];
            for c in 0..size {
                let center = &self.exact[(first + c) * d..][..d];
                let mut squares = 0.0;
                for (j, (&x, &shift)) in center.iter().zip(&self.shift).enumerate() {
                    let x = x - shift.into();
                    squares += x * x;
                    packed[j * size + c] = T::from_f64(x);
                }
                if !self.rows.is_empty() {
                    let row = &mut self.rows[(first + c) * padded(d)..];
                    for (place, &x) in row.iter_mut().zip(packed[c..].iter().step_by(size)) {
                        *place = x;
                    }
                }
                self.half[first + c] = T::from_f64(0.5 * squares * self.shrink);
                self.squares[first + c] = squares;
            }
        }
    }

    /// For each block the bits of the samples that a candidate may be nearer to, after the triangle inequality alone:
    /// those for which `negated_reach[label] < negated_nearest` does not hold.
    #[inline]
    pub(crate) fn within_reach(
        &self,
        labels: &[i32],
        negated_nearest: &[f64],
        negated_reach: &[f64],
        out: &mut [u64],
    ) {
        // SAFETY: `new` checked that the CPU has the instruction set.
        unsafe { super::doubtful(self.isa, labels, negated_nearest, negated_reach, out) }
    }

    /// How many are loaded.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() / self.d
    }

    /// How far off a gain may be, if gains are known: given the weight and the weighted squares of the samples compared, and
    /// the number and the potential of all.
    pub(crate) fn gain_error(
        &self,
        candidate: usize,
        (weight, squares): (f64, f64),
        (count, potential): (f64, f64),
    ) -> Option<f64> {
        self.limit?;
        let (gamma, underflow) = self.error;
        let size = squares + self.squares[candidate] * weight;
        let rounding = 32.0 * T::UNIT + slack(self.d) + f64::EPSILON * (count + BLOCK as f64);
        let lost = T::TINY * count * (1.0 + self.farthest);
        let error =
            1.01 * (4.0 * gamma * size + rounding * potential) + 4.0 * (underflow * weight + lost);
        error.is_finite().then_some(error)
    }

    /// The candidates as they are, row-major.
    pub(crate) fn exact(&self) -> &[f64] {
        &self.exact
    }
}

fn groups(count: usize) -> usize {
    count.div_ceil(MOST)
}

/// The first candidate of a group and how many there are: groups of nearly the same size.
fn members(group: usize, count: usize) -> (usize, usize) {
    let groups = groups(count);
    let first = group * count / groups;
    (first, (group + 1) * count / groups - first)
}

/// At most one block of samples, whichever rows they are.
#[derive(Debug)]
pub(crate) struct Samples {
    /// Squared distance of each to its nearest center; 0 beyond the last sample.
    pub(crate) nearest: Line<f64>,
    /// Their weights.
    pub(crate) weights: Line<f64>,
}

/// Room for one block and what came out of it, one for each thread.
#[derive(Debug)]
pub(crate) struct Closer<T> {
    pub(crate) samples: Samples,
    /// Of each candidate, the samples that may be nearer to it than to any center so far.
    pub(crate) nearer: Vec<u64>,
    pub(crate) dense: Distances<T>,
    /// The scores along rows without their constant terms, a line a candidate.
    scores: Vec<Line<T>>,
    /// Of each candidate the negative of half its gain, in parts: sums over the samples compared since the last
    /// [`Closer::reset`].
    gains: Vec<[f64; WIDEST]>,
    /// The weights of these samples and their weighted squares.
    sizes: [[f64; WIDEST]; 2],
    /// For each sample, the score below which a candidate may be nearer, that at which it is as near, and the weight.
    limits: Line<T>,
    even: Line<T>,
    weights: Line<T>,
}

impl<T: Element> Closer<T> {
    /// Room for `most` candidates of `d` features.
    pub(crate) fn new(isa: Isa, d: usize, most: usize) -> Result<Self> {
        let what = "a block of samples";
        let zero = Line([T::default(); BLOCK]);
        Ok(Self {
            samples: Samples {
                nearest: Line([0.0; BLOCK]),
                weights: Line([1.0; BLOCK]),
            },
            nearer: try_vec(what, most, 0)?,
            dense: Distances::new(isa, d, most)?,
            scores: if most <= along::most_centers(d) {
                try_vec(what, most, zero)?
            } else {
                Vec::new()
            },
            gains: try_vec(what, most, [0.0; WIDEST])?,
            sizes: [[0.0; WIDEST]; 2],
            limits: zero,
            even: zero,
            weights: zero,
        })
    }

    /// Starts gains from 0.
    pub(crate) fn reset(&mut self) {
        self.gains.fill([0.0; WIDEST]);
        self.sizes = [[0.0; WIDEST]; 2];
    }

    /// About what a candidate lowers the potential by, the weight of the samples and their weighted squares: of those compared
    /// since the last reset.
    pub(crate) fn gain(&self, candidate: usize) -> [f64; 3] {
        let sum = |parts: &[f64; WIDEST]| parts.iter().sum::<f64>();
        let [weight, squares] = self.sizes.each_ref().map(sum);
        [-2.0 * sum(&self.gains[candidate]), weight, squares]
    }

    /// Compares the samples of `source`, at most one block, with all candidates.
    #[inline]
    pub(crate) fn compare(&mut self, candidates: &Candidates<T>, source: &Source<'_, T>) {
        match candidates.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Candidates::new` checked that the CPU has it.
            Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512(self, candidates, source) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Candidates::new` checked that the CPU has it.
            Isa::Avx2 => unsafe { avx2(self, candidates, source) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `Candidates::new` checked that the CPU has it.
            Isa::Neon => unsafe { neon(self, candidates, source) },
            // SAFETY: plain Rust needs no instruction set.
            _ => unsafe { compare::<T::Scalar, 2>(self, candidates, source) },
        }
    }
}

/// Declares the shell of [`compare`] for one instruction set.
macro_rules! shell {
    ($name:ident, $lanes:ident, $registers:literal, $feature:literal) => {
        /// As [`compare`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        unsafe fn $name<T: Element>(
            work: &mut Closer<T>,
            candidates: &Candidates<T>,
            source: &Source<'_, T>,
        ) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { compare::<T::$lanes, $registers>(work, candidates, source) };
        }
    };
}

#[cfg(target_arch = "x86_64")]
shell!(avx512, Avx512, 4, "avx512f,avx512vl");
#[cfg(target_arch = "x86_64")]
shell!(avx2, Avx2, 2, "avx2,fma");
#[cfg(target_arch = "aarch64")]
shell!(neon, Neon, 4, "neon");

/// As [`Closer::compare`].
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
unsafe fn compare<V: Lanes, const M: usize>(
    work: &mut Closer<V::Elem>,
    candidates: &Candidates<V::Elem>,
    source: &Source<'_, V::Elem>,
) {
    let k = candidates.len();
    let count = source.len().min(BLOCK);
    let all = u64::MAX >> (BLOCK - count);
    let Some((factor, shrink, underflow)) = candidates.limit else {
        work.nearer[..k].fill(all);
        return;
    };
    work.nearer[..k].fill(0);
    let is_along = source.across() == 1 && !candidates.rows.is_empty();
    // SAFETY: the caller vouches for the instruction set; the functions check every length they rely on.
    unsafe {
        let mut negated = Line([V::Elem::default(); BLOCK]);
        if is_along {
            let centers = Centers::new(&candidates.rows, &candidates.shift, candidates.d);
            for first in (0..count).step_by(ROWS) {
                let four = Four::of(source, first);
                centers.score_all::<V, true>(&four, &mut work.scores[..k], &mut negated);
            }
        } else {
            generic::fill_all::<V>(source, &candidates.shift, &mut work.dense.block);
            let mut lane = 0;
            while lane < BLOCK {
                squares::<V, M>(&work.dense.block, &mut negated, lane);
                lane += M * V::WIDTH;
            }
        }
        let zero = V::Elem::default();
        let half = V::Elem::from_f64(0.5);
        let nothing = V::Elem::from_f64(f64::NEG_INFINITY);
        for i in 0..BLOCK {
            let nearest = V::Elem::from_f64(work.samples.nearest.0[i]);
            let limit = nearest * factor + underflow + negated.0[i] * shrink;
            // Nothing is nearer than 0.
            let is_off = work.samples.nearest.0[i] > 0.0;
            work.limits.0[i] = if is_off { limit } else { nothing };
            work.even.0[i] = (nearest + negated.0[i]) * half;
            let weight = V::Elem::from_f64(work.samples.weights.0[i]);
            work.weights.0[i] = if i < count { weight } else { zero };
        }
        let mut sizes = [V::splat(zero); 2];
        for lane in (0..BLOCK).step_by(V::WIDTH) {
            let negated = V::load(negated.0.as_ptr().add(lane));
            let weight = V::load(work.weights.0.as_ptr().add(lane));
            sizes = [
                sizes[0].plus(weight),
                sizes[1].minus_product(negated, weight),
            ];
        }
        for (parts, size) in work.sizes.iter_mut().zip(sizes) {
            add_parts(parts, size);
        }
        if is_along {
            for candidate in 0..k {
                let mut lane = 0;
                while lane < BLOCK {
                    judge_rested::<V, M>(candidates, work, (candidate, lane));
                    lane += M * V::WIDTH;
                }
            }
        } else {
            for group in 0..groups(k) {
                let (first, size) = members(group, k);
                let mut lane = 0;
                while lane < BLOCK {
                    match size {
                        1 => scores::<V, M, 1>(candidates, work, (first, lane)),
                        2 => scores::<V, M, 2>(candidates, work, (first, lane)),
                        3 => scores::<V, M, 3>(candidates, work, (first, lane)),
                        4 => scores::<V, M, 4>(candidates, work, (first, lane)),
                        _ => scores::<V, M, MOST>(candidates, work, (first, lane)),
                    }
                    lane += M * V::WIDTH;
                }
            }
        }
    }
    for nearer in &mut work.nearer[..k] {
        *nearer &= all;
    }
}

/// The places of the bits that are set, lowest first.
#[inline(always)]
pub(crate) fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (place < BLOCK).then_some(place)
    })
}

/// The negatives of the sums of squares of M registers of samples from `lane` on.
#[inline(always)]
unsafe fn squares<V: Lanes, const M: usize>(
    block: &[Line<V::Elem>],
    negated: &mut Line<V::Elem>,
    lane: usize,
) {
    assert!(lane + M * V::WIDTH <= BLOCK);
    // SAFETY: the assertion bounds every access.
    unsafe {
        let mut sums = [V::splat(V::Elem::default()); M];
        for line in block {
            for (m, sum) in sums.iter_mut().enumerate() {
                let x = V::load(line.0.as_ptr().add(lane + m * V::WIDTH));
                *sum = sum.minus_product(x, x);
            }
        }
        for (m, sum) in sums.into_iter().enumerate() {
            sum.store(negated.0.as_mut_ptr().add(lane + m * V::WIDTH));
        }
    }
}

/// Scores C candidates from `first` on for M registers of samples from `lane` on, and judges them.
#[inline(always)]
unsafe fn scores<V: Lanes, const M: usize, const C: usize>(
    candidates: &Candidates<V::Elem>,
    work: &mut Closer<V::Elem>,
    (first, lane): (usize, usize),
) {
    let block = &work.dense.block;
    let d = block.len();
    assert!(
        lane + M * V::WIDTH <= BLOCK
            && candidates.half.len() >= first + C
            && candidates.centers.len() >= (first + C) * d
    );
    // SAFETY: the assertion bounds every access; groups are packed one after the other, feature by feature.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut scores = [[zero; M]; C];
        for (c, scores) in scores.iter_mut().enumerate() {
            *scores = [V::splat(*candidates.half.as_ptr().add(first + c)); M];
        }
        let mut center = candidates.centers.as_ptr().add(first * d);
        for line in block {
            let mut x = [zero; M];
            for (m, x) in x.iter_mut().enumerate() {
                *x = V::load(line.0.as_ptr().add(lane + m * V::WIDTH));
            }
            for (c, scores) in scores.iter_mut().enumerate() {
                let y = V::splat(*center.add(c));
                for (score, &x) in scores.iter_mut().zip(&x) {
                    *score = score.minus_product(x, y);
                }
            }
            center = center.add(C);
        }
        for (c, scores) in scores.iter().enumerate() {
            judge(work, (first + c, lane), scores);
        }
    }
}

/// Adds a register to sums of its lanes.
#[inline(always)]
unsafe fn add_parts<V: Lanes>(sums: &mut [f64; WIDEST], register: V) {
    let mut parts = [V::Elem::default(); WIDEST];
    // SAFETY: the caller vouches for the instruction set; no register is wider.
    unsafe { register.store(parts.as_mut_ptr()) };
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part.into();
    }
}

/// Judges a candidate by its scores along M registers of samples from `lane` on.
#[inline(always)]
unsafe fn judge_rested<V: Lanes, const M: usize>(
    candidates: &Candidates<V::Elem>,
    work: &mut Closer<V::Elem>,
    (candidate, lane): (usize, usize),
) {
    assert!(lane + M * V::WIDTH <= BLOCK);
    // SAFETY: the assertion bounds every access.
    unsafe {
        let half = V::splat(candidates.half[candidate]);
        let line = &work.scores[candidate];
        let mut scores = [half; M];
        for (m, score) in scores.iter_mut().enumerate() {
            *score = half.plus(V::load(line.0.as_ptr().add(lane + m * V::WIDTH)));
        }
        judge(work, (candidate, lane), &scores);
    }
}

/// Takes the scores of a candidate for M registers of samples from `lane` on: the bits of those below the limit, and gains.
#[inline(always)]
unsafe fn judge<V: Lanes, const M: usize>(
    work: &mut Closer<V::Elem>,
    (candidate, lane): (usize, usize),
    scores: &[V; M],
) {
    assert!(lane + M * V::WIDTH <= BLOCK);
    // SAFETY: the assertion bounds every access.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut gain = zero;
        let mut nearer = 0;
        for (m, &score) in scores.iter().enumerate() {
            let at = lane + m * V::WIDTH;
            let limit = V::load(work.limits.0.as_ptr().add(at));
            let even = V::load(work.even.0.as_ptr().add(at));
            let weight = V::load(work.weights.0.as_ptr().add(at));
            nearer |= V::bits(score.less(limit)) << at;
            gain = gain.minus_product(even.minus(score).max(zero), weight);
        }
        work.nearer[candidate] |= nearer;
        add_parts(&mut work.gains[candidate], gain);
    }
}
