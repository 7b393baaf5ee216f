//! Which samples of a block are nearer to one of a few candidates than to any center so far: the inside of seeding.
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
//! rounding of both sides. Every sample for which this does not hold gets its float64 distance, so that screening decides
//! about work alone. Data whose scores could overflow are not screened.

use super::generic;
use super::lanes::{Lanes, LanesOf};
use super::{BLOCK, Distances, Isa, Line, gamma, slack};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::scale::Scale;
use crate::view::{Rows, Source};

/// Candidates whose scores are in registers at a time, at most.
const MOST: usize = 5;
/// Fewer samples than this get their float64 distances one by one, more get them for the whole block.
const FEW: u32 = 6;
/// Distances that are summed side by side: one alone would wait for each addition.
const TOGETHER: usize = 4;

/// A few candidates, laid out for the kernel, and what does not change during a seeding.
#[derive(Debug)]
pub(crate) struct Candidates<T> {
    isa: Isa,
    d: usize,
    /// Any vector near the middle of the data.
    shift: Vec<T>,
    /// Whether that is 0, so that screening and float64 distances share one block.
    unshifted: bool,
    /// Groups of at most [`MOST`] candidates less the shift, feature by feature.
    centers: Vec<T>,
    /// ½‖C‖²·(1 − 2γ) of each.
    half: Vec<T>,
    /// The candidates as they are, row-major; as many as were loaded.
    exact: Vec<f64>,
    /// Factor of N, factor of −q and summand of the right side of the bound; `None` where scores could overflow.
    limit: Option<(T, T, T)>,
    /// 1 − 2γ.
    shrink: f64,
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
        let mut shift: Vec<_> = mean.iter().copied().map(T::from_f64).collect();
        // A shift pays where the data lie far from 0, compared with their extent: there it makes the bound less.
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let extent = scale.lowest.iter().zip(&scale.highest).map(|(a, b)| b - a);
        let unshifted = squares(&mut mean.iter().copied()) <= squares(&mut extent.into_iter());
        if unshifted {
            shift.fill(T::default());
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
            unshifted,
            centers: try_vec(what, most.saturating_mul(d), T::default())?,
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
        })
    }

    /// Takes rows of the data, at most as many as there is room for.
    pub(crate) fn load(&mut self, data: &Rows<'_, T>, rows: impl Iterator<Item = usize>) {
        let d = self.d;
        self.exact.clear();
        for row in rows.take(self.half.len()) {
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
                self.half[first + c] = T::from_f64(0.5 * squares * self.shrink);
            }
        }
    }

    /// The bits of the samples (at most a block) that a candidate may be nearer to, after the triangle inequality alone:
    /// those for which `negated_reach[label] < negated_nearest` does not hold.
    #[inline]
    pub(crate) fn within_reach(
        &self,
        labels: &[i32],
        negated_nearest: &[f64],
        negated_reach: &[f64],
    ) -> u64 {
        // SAFETY: `new` checked that the CPU has the instruction set.
        unsafe { super::doubtful(self.isa, labels, negated_nearest, negated_reach) }
    }

    /// How many are loaded.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() / self.d
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

impl Default for Samples {
    fn default() -> Self {
        Self {
            nearest: Line([0.0; BLOCK]),
            weights: Line([1.0; BLOCK]),
        }
    }
}

/// Room for one block and what came out of it, one for each thread.
#[derive(Debug)]
pub(crate) struct Closer<T> {
    pub(crate) samples: Samples,
    /// Of each candidate, the samples that are nearer to it than to any center so far.
    pub(crate) nearer: Vec<u64>,
    /// Of each candidate, squared distances of the samples that are nearer to it.
    pub(crate) distances: Vec<Line<f64>>,
    /// Of each candidate, what the potential of the block changes by with it.
    pub(crate) changes: Vec<ExactSum>,
    pub(crate) dense: Distances<T>,
    limits: Line<T>,
    /// Candidates whose distances are computed for the whole block: which, and where.
    chosen: Vec<usize>,
    centers: Vec<f64>,
}

impl<T: Element> Closer<T> {
    /// Room for `most` candidates of `d` features.
    pub(crate) fn new(isa: Isa, d: usize, most: usize) -> Result<Self> {
        let what = "a block of samples";
        Ok(Self {
            samples: Samples::default(),
            nearer: try_vec(what, most, 0)?,
            distances: try_vec(what, most, Line([0.0; BLOCK]))?,
            changes: try_vec(what, most, ExactSum::default())?,
            dense: Distances::new(isa, d, most)?,
            limits: Line([T::default(); BLOCK]),
            chosen: Vec::with_capacity(most),
            centers: Vec::with_capacity(most.saturating_mul(d)),
        })
    }

    /// Compares the samples of `source`, at most one block, with all candidates; `changes` are sums over `grid`.
    #[inline]
    pub(crate) fn compare(
        &mut self,
        candidates: &Candidates<T>,
        (rows, source): (&Rows<'_, T>, &Source<'_, T>),
        grid: Grid,
    ) {
        match candidates.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Candidates::new` checked that the CPU has it.
            Isa::Avx512 => unsafe { avx512(self, candidates, (rows, source), grid) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Candidates::new` checked that the CPU has it.
            Isa::Avx2 => unsafe { avx2(self, candidates, (rows, source), grid) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `Candidates::new` checked that the CPU has it.
            Isa::Neon => unsafe { neon(self, candidates, (rows, source), grid) },
            // SAFETY: plain Rust needs no instruction set.
            _ => unsafe {
                compare::<T::Scalar, <f64 as LanesOf>::Scalar, 2>(
                    self,
                    candidates,
                    (rows, source),
                    grid,
                );
            },
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
            rows: (&Rows<'_, T>, &Source<'_, T>),
            grid: Grid,
        ) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                compare::<T::$lanes, <f64 as LanesOf>::$lanes, $registers>(
                    work, candidates, rows, grid,
                );
            }
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
/// The CPU must have the instruction set of `V` and `W`.
#[inline(always)]
unsafe fn compare<V: Lanes, W: Lanes<Elem = f64>, const M: usize>(
    work: &mut Closer<V::Elem>,
    candidates: &Candidates<V::Elem>,
    (rows, source): (&Rows<'_, V::Elem>, &Source<'_, V::Elem>),
    grid: Grid,
) {
    let count = source.len().min(BLOCK);
    let all = u64::MAX >> (BLOCK - count);
    // SAFETY: the caller vouches for the instruction set.
    unsafe { screen::<V, M>(work, candidates, source) };
    let few = match rows.row(source.index(0)) {
        Some(_) => FEW,
        None => 0,
    };
    let d = candidates.d;
    work.chosen.clear();
    work.centers.clear();
    for (c, nearer) in work.nearer[..candidates.len()].iter_mut().enumerate() {
        *nearer &= all;
        if nearer.count_ones() > few {
            work.chosen.push(c);
            work.centers
                .extend_from_slice(&candidates.exact[c * d..(c + 1) * d]);
        } else if *nearer != 0 {
            let center = &candidates.exact[c * d..(c + 1) * d];
            work.distances[c] = Line([f64::INFINITY; BLOCK]);
            one_by_one((rows, source), *nearer, center, &mut work.distances[c]);
        }
    }
    if !work.chosen.is_empty() {
        let filled = candidates.limit.is_some() && candidates.unshifted;
        // SAFETY: the caller vouches for the instruction sets.
        unsafe {
            if !filled {
                generic::fill_all::<V>(source, &work.dense.zero, &mut work.dense.block);
            }
            generic::distances::<W, V::Elem, M>(&mut work.dense, &work.centers);
        }
        for (&c, line) in work.chosen.iter().zip(&work.dense.out) {
            work.distances[c] = *line;
        }
    }
    let nearest = &work.samples.nearest;
    let weights = &work.samples.weights;
    let mut before = None;
    for c in 0..candidates.len() {
        work.changes[c] = ExactSum::default();
        if work.nearer[c] == 0 {
            continue;
        }
        let mut least = work.distances[c];
        // SAFETY: the caller vouches for the instruction set.
        let nearer = unsafe { fold_least::<W>(nearest, &mut least) } & all;
        work.nearer[c] = nearer;
        if nearer != 0 {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                let before = match before {
                    Some(before) => before,
                    None => *before.insert(potential::<W>(grid, nearest, weights)),
                };
                work.changes[c] = potential::<W>(grid, &least, weights);
                work.changes[c].take(before);
            }
        }
    }
}

/// Lowers `least` to `nearest` where that is less or equal; the bits of the others.
#[inline(always)]
unsafe fn fold_least<W: Lanes<Elem = f64>>(nearest: &Line<f64>, least: &mut Line<f64>) -> u64 {
    let mut bits = 0;
    let mut lane = 0;
    while lane < BLOCK {
        // SAFETY: lane + WIDTH <= BLOCK, the length of a line; the caller vouches for the instruction set.
        unsafe {
            let (old, new) = (
                W::load(nearest.0.as_ptr().add(lane)),
                W::load(least.0.as_ptr().add(lane)),
            );
            let nearer = new.less(old);
            bits |= W::bits(nearer) << lane;
            W::select(nearer, new, old).store(least.0.as_mut_ptr().add(lane));
        }
        lane += W::WIDTH;
    }
    bits
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

/// The exact sum of weighted distances: [`ExactSum::add`] in lanes.
#[inline(always)]
unsafe fn potential<W: Lanes<Elem = f64>>(
    grid: Grid,
    distances: &Line<f64>,
    weights: &Line<f64>,
) -> ExactSum {
    // SAFETY: lane + WIDTH <= BLOCK, the length of a line; the caller vouches for the instruction set.
    let (highs, lows) = unsafe {
        let zero = W::splat(0.0);
        let (high, low) = grid.parts();
        // Lanes subtract only: x + m is x - (-m), to the bit.
        let (high, minus_high) = (W::splat(high), W::splat(-high));
        let (low, minus_low) = (W::splat(low), W::splat(-low));
        let (mut highs, mut lows) = (zero, zero);
        let mut lane = 0;
        while lane < BLOCK {
            let distance = W::load(distances.0.as_ptr().add(lane));
            let weight = W::load(weights.0.as_ptr().add(lane));
            let term = zero.minus(zero.minus_product(distance, weight));
            let part = term.minus(minus_high).minus(high);
            highs = highs.minus(part);
            lows = lows.minus(term.minus(part).minus(minus_low).minus(low));
            lane += W::WIDTH;
        }
        let mut sums = (Line([0.0; BLOCK]), Line([0.0; BLOCK]));
        highs.store(sums.0.0.as_mut_ptr());
        lows.store(sums.1.0.as_mut_ptr());
        sums
    };
    let total = |sums: &Line<f64>| -sums.0[..W::WIDTH].iter().sum::<f64>();
    ExactSum {
        high: total(&highs),
        low: total(&lows),
    }
}

/// The bits of the samples that each candidate may be nearer to, into `work.nearer`.
#[inline(always)]
unsafe fn screen<V: Lanes, const M: usize>(
    work: &mut Closer<V::Elem>,
    candidates: &Candidates<V::Elem>,
    source: &Source<'_, V::Elem>,
) {
    let k = candidates.len();
    let nearer = &mut work.nearer[..k];
    let Some((factor, shrink, underflow)) = candidates.limit else {
        nearer.fill(u64::MAX);
        return;
    };
    nearer.fill(0);
    // SAFETY: the caller vouches for the instruction set; the functions check every length they rely on.
    unsafe {
        generic::fill_all::<V>(source, &candidates.shift, &mut work.dense.block);
        let mut negated = Line([V::Elem::default(); BLOCK]);
        let mut lane = 0;
        while lane < BLOCK {
            squares::<V, M>(&work.dense.block, &mut negated, lane);
            lane += M * V::WIDTH;
        }
        let nothing = V::Elem::from_f64(f64::NEG_INFINITY);
        let limits = work.limits.0.iter_mut().zip(&negated.0);
        for ((limit, &negated), &nearest) in limits.zip(&work.samples.nearest.0) {
            let least = V::Elem::from_f64(nearest) * factor + underflow + negated * shrink;
            // Nothing is nearer than 0.
            *limit = if nearest > 0.0 { least } else { nothing };
        }
        for group in 0..groups(k) {
            let (first, size) = members(group, k);
            let part = &mut nearer[first..first + size];
            let mut lane = 0;
            while lane < BLOCK {
                match size {
                    1 => scores::<V, M, 1>(
                        candidates,
                        &work.dense.block,
                        &work.limits,
                        (first, lane),
                        part,
                    ),
                    2 => scores::<V, M, 2>(
                        candidates,
                        &work.dense.block,
                        &work.limits,
                        (first, lane),
                        part,
                    ),
                    3 => scores::<V, M, 3>(
                        candidates,
                        &work.dense.block,
                        &work.limits,
                        (first, lane),
                        part,
                    ),
                    4 => scores::<V, M, 4>(
                        candidates,
                        &work.dense.block,
                        &work.limits,
                        (first, lane),
                        part,
                    ),
                    _ => scores::<V, M, MOST>(
                        candidates,
                        &work.dense.block,
                        &work.limits,
                        (first, lane),
                        part,
                    ),
                }
                lane += M * V::WIDTH;
            }
        }
    }
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

/// Scores C candidates from `first` on for M registers of samples from `lane` on: the bits of those below the limit.
#[inline(always)]
unsafe fn scores<V: Lanes, const M: usize, const C: usize>(
    candidates: &Candidates<V::Elem>,
    block: &[Line<V::Elem>],
    limits: &Line<V::Elem>,
    (first, lane): (usize, usize),
    nearer: &mut [u64],
) {
    let d = block.len();
    assert!(
        lane + M * V::WIDTH <= BLOCK
            && candidates.half.len() >= first + C
            && candidates.centers.len() >= (first + C) * d
            && nearer.len() >= C
    );
    // SAFETY: the assertion bounds every access; groups are packed one after the other, feature by feature.
    unsafe {
        let mut scores = [[V::splat(V::Elem::default()); M]; C];
        for (c, scores) in scores.iter_mut().enumerate() {
            *scores = [V::splat(*candidates.half.as_ptr().add(first + c)); M];
        }
        let mut center = candidates.centers.as_ptr().add(first * d);
        for line in block {
            let mut x = [V::splat(V::Elem::default()); M];
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
        for m in 0..M {
            let at = lane + m * V::WIDTH;
            let limit = V::load(limits.0.as_ptr().add(at));
            for (scores, nearer) in scores.iter().zip(nearer.iter_mut()) {
                *nearer |= V::bits(scores[m].less(limit)) << at;
            }
        }
    }
}

/// Squared distances of the samples named by `wanted` to one center, each as [`crate::squared_distance`].
#[inline(always)]
fn one_by_one<T: Element>(
    (rows, source): (&Rows<'_, T>, &Source<'_, T>),
    wanted: u64,
    center: &[f64],
    out: &mut Line<f64>,
) {
    let mut wanted = ones(wanted);
    while let Some(first) = wanted.next() {
        // Where fewer are left, the first stands in.
        let mut places = [first; TOGETHER];
        for (place, wanted) in places[1..].iter_mut().zip(&mut wanted) {
            *place = wanted;
        }
        let mut samples: [&[T]; TOGETHER] = [&[]; TOGETHER];
        for (sample, &i) in samples.iter_mut().zip(&places) {
            *sample = &rows.row(source.index(i)).unwrap_or_default()[..center.len()];
        }
        let mut sums = [0.0; TOGETHER];
        for (j, &c) in center.iter().enumerate() {
            for (sum, sample) in sums.iter_mut().zip(&samples) {
                let difference: f64 = sample[j].into() - c;
                *sum += difference * difference;
            }
        }
        for (&place, sum) in places.iter().zip(sums) {
            out.0[place] = sum;
        }
    }
}
