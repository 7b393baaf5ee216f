//! Starting centers: greedy k-means++ and random rows.

use std::collections::BinaryHeap;

use ndarray::Array2;

use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::interrupt::{self, Interrupt};
use crate::kernel::{BLOCK, Candidates, Closer, ones, slack};
use crate::params::ValidParams;
use crate::pool::{Pool, cost, rows_per_piece};
use crate::problem::Problem;
use crate::scale::Scale;
use crate::view::{Rows, Source};

/// Rows whose potential is kept as one sum, so that sampling need not walk all rows; any value gives the same seeds,
/// since prefix sums are exact.
pub(crate) const SEGMENT: usize = 2 * BLOCK;

/// More trials than help: memory grows with them as with centers.
const MAX_TRIALS: usize = 1024;

/// Starting centers.
#[derive(Debug, Clone, PartialEq)]
pub struct Seeds<T> {
    /// Shape (`n_clusters`, `n_features`): rows of the data.
    pub centers: Array2<T>,
    /// Which rows.
    pub indices: Vec<usize>,
}

/// `SplitMix64`: G. L. Steele, D. Lea, C. H. Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// A sequence that depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(Self::STEP);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// What [`Random::unit`] would return after `skipped` calls: in any order, on any thread.
    #[must_use]
    pub fn unit_at(&self, skipped: u64) -> f64 {
        let state = self.state.wrapping_add(skipped.wrapping_mul(Self::STEP));
        Self { state }.unit()
    }

    /// The next number in [0, 1), a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

/// Greedy k-means++: the first center a row drawn by weight; each next one the best of `n_local_trials` rows (`None`:
/// 2 + ⌊ln k⌋) drawn with probability proportional to weight times squared distance to the nearest center so far, best
/// meaning the least potential. Distances are float64; each step reads at most once, for all its trials, the rows that one of
/// them may be nearer to.
///
/// `data` has shape (`n_samples`, `n_features`), `weights` one number a sample. The result depends on the data, the
/// weights and the seed, not on threads or the instruction set.
///
/// Sources: D. Arthur, S. Vassilvitskii, *k-means++: the advantages of careful seeding*, SODA 2007 (the greedy variant
/// of its section 6, with scikit-learn's number of trials); E. Raff, *Exact acceleration of k-means++ and k-means‖*, IJCAI 2021 (pruning).
///
/// # Errors
/// [`Error::NoClusters`], [`Error::TooFewRows`], [`Error::NoWeight`], [`Error::Interrupted`], and those of
/// [`Scale::of`].
pub fn kmeans_plusplus<T: Element>(
    data: Rows<'_, T>,
    n_clusters: usize,
    weights: Option<&[f64]>,
    seed: u64,
    n_local_trials: Option<usize>,
    params: &ValidParams,
    interrupt: &mut Interrupt<'_>,
) -> Result<Seeds<T>> {
    check_clusters(&data, n_clusters)?;
    Problem::new(data, n_clusters, weights, params)?.kmeans_plusplus(
        n_clusters,
        seed,
        n_local_trials,
        interrupt,
    )
}

/// [`kmeans_plusplus`] on a problem.
pub(crate) fn spread<T: Element>(
    problem: &Problem<'_, T>,
    n_clusters: usize,
    seed: u64,
    n_local_trials: Option<usize>,
    interrupt: &mut Interrupt<'_>,
) -> Result<Seeds<T>> {
    let Problem {
        data,
        weights,
        scale,
        pool,
        params,
    } = problem;
    let (data, weights) = (*data, *weights);
    check_clusters(&data, n_clusters)?;
    let trials = checked_trials(n_local_trials, n_clusters)?;
    let mut random = Random::new(seed);
    if i32::try_from(n_clusters).is_err() {
        return Err(Error::TooLarge {
            what: "the centers",
            rows: n_clusters,
            columns: data.n_columns(),
        });
    }
    let mut search = Search::new(data, weights, scale, (n_clusters, trials), (pool, params))?;
    let mut indices = try_vec("the seeds", n_clusters, 0)?;
    let mut drawn = try_vec("the trials", trials, 0)?;
    indices[0] = first_row(data.n_rows(), weights, scale, &mut random);
    search.start(indices[0]);
    for c in 1..n_clusters {
        interrupt::check(interrupt)?;
        let total = total(&search.current).value();
        for row in &mut drawn {
            let target = draw_below(total, &mut random);
            *row = search
                .row_at(target, indices[c - 1])
                .unwrap_or_else(|| unused(&indices[..c]));
        }
        search.evaluate(&indices[..c], &drawn);
        indices[c] = drawn[search.choose()];
    }
    Ok(seeds(&data, indices))
}

/// Distinct rows, drawn one after the other with probability proportional to weight.
///
/// Source: P. S. Efraimidis, P. G. Spirakis, *Weighted random sampling with a reservoir*, Information Processing
/// Letters 97 (2006), algorithm A.
///
/// # Errors
/// [`Error::NoClusters`]; [`Error::TooFewRows`] if fewer rows than clusters have a positive weight;
/// [`Error::Shape`] and [`Error::Weight`] for bad weights.
pub fn random_rows<T: Element>(
    data: Rows<'_, T>,
    n_clusters: usize,
    weights: Option<&[f64]>,
    seed: u64,
) -> Result<Seeds<T>> {
    check_clusters(&data, n_clusters)?;
    Ok(seeds(
        &data,
        draw_rows(data.n_rows(), n_clusters, weights, seed)?,
    ))
}

/// [`random_rows`] of `n` rows, by their numbers.
pub(crate) fn draw_rows(
    n: usize,
    n_clusters: usize,
    weights: Option<&[f64]>,
    seed: u64,
) -> Result<Vec<usize>> {
    crate::scale::check_weights(weights, n)?;
    let mut random = Random::new(seed);
    // The rows with the least keys; keys are not negative, so their bits are ordered as they are.
    let mut kept: BinaryHeap<(u64, usize)> = BinaryHeap::new();
    let mut positive = 0;
    for row in 0..n {
        let unit = random.unit();
        let key = match weights.map(|weights| weights[row]) {
            None => unit,
            Some(weight) if weight > 0.0 => -(1.0 - unit).ln() / weight,
            Some(_) => continue,
        };
        positive += 1;
        kept.push((key.abs().to_bits(), row));
        if kept.len() > n_clusters {
            kept.pop();
        }
    }
    if positive < n_clusters {
        return Err(Error::TooFewRows {
            rows: positive,
            clusters: n_clusters,
        });
    }
    let rows = kept.into_sorted_vec().into_iter().map(|(_, row)| row);
    Ok(rows.collect())
}

/// What the steps of k-means++ share.
///
/// Each step compares the center chosen before and the trials with the samples in one pass. Potentials are exact sums, so
/// that of a trial is the one before less the distances of the samples it is nearer to, plus their new ones: the same
/// bits as if all samples were summed. A sample is not read where the triangle inequality shows that no trial is nearer
/// ([`Search::reach`]), and float64 distances are computed only where the kernel cannot rule out that one is
/// ([`Closer`]).
struct Search<'a, 'd, T> {
    data: Rows<'d, T>,
    weights: Option<&'a [f64]>,
    grid: Grid,
    pool: &'a Pool,
    workers: Vec<Worker<T>>,
    /// Negative squared distance of each row to the nearest center up to, but without, the last one chosen.
    negated: Vec<f64>,
    /// Which center that is.
    labels: Vec<i32>,
    /// Potential of each segment with all centers, the last one included.
    current: Vec<ExactSum>,
    /// Potential of each segment for each trial of the last step.
    potentials: Vec<ExactSum>,
    trials: usize,
    /// The center chosen before, if there are others, and the trials.
    candidates: Candidates<T>,
    /// For each center, the negative of the squared distance up to which its samples are nearer to it than to any
    /// candidate.
    reach: Vec<f64>,
}

/// What one thread works with.
struct Worker<T> {
    closer: Closer<T>,
    /// Rows of the current piece to be compared.
    listed: Vec<usize>,
}

/// Rows that one thread works on at a time: what is known of them, and the potentials of their segments.
struct Piece<'p> {
    first: usize,
    negated: &'p mut [f64],
    labels: &'p mut [i32],
    potentials: &'p mut [ExactSum],
}

/// How the candidates of a step are compared with the rows.
#[derive(Clone, Copy)]
struct Step {
    /// Label of the first candidate, if it is a center.
    fold: Option<i32>,
    /// Potentials a segment.
    trials: usize,
}

impl<'a, 'd, T: Element> Search<'a, 'd, T> {
    fn new(
        data: Rows<'d, T>,
        weights: Option<&'a [f64]>,
        scale: &Scale,
        (n_clusters, trials): (usize, usize),
        (pool, params): (&'a Pool, &ValidParams),
    ) -> Result<Self> {
        let (n, d) = (data.n_rows(), data.n_columns());
        let threads = pool.useful_threads(n, cost(d, 4 * trials));
        let what = "the potentials";
        let most = trials.checked_add(1).ok_or(Error::Memory {
            what,
            bytes: usize::MAX,
        })?;
        let worker = |_| {
            Ok(Worker {
                closer: Closer::new(params.isa, d, most)?,
                listed: Vec::with_capacity(BLOCK),
            })
        };
        let segments = n.div_ceil(SEGMENT);
        let none = ExactSum::default();
        Ok(Self {
            data,
            weights,
            grid: scale.distance_grid(&[]),
            pool,
            workers: (0..threads).map(worker).collect::<Result<_>>()?,
            negated: try_vec(what, n, 0.0)?,
            labels: try_vec(what, n, 0)?,
            current: try_vec(what, segments, none)?,
            potentials: try_vec(what, segments.saturating_mul(trials), none)?,
            trials,
            candidates: Candidates::new(params.isa, most, &data, scale)?,
            reach: try_vec(what, n_clusters, 0.0)?,
        })
    }

    /// Distances to the first center, and the potentials with it.
    fn start(&mut self, center: usize) {
        let (data, weights, grid) = (self.data, self.weights, self.grid);
        self.candidates.load(&data, [center].into_iter());
        let center = self.candidates.exact();
        let piece = rows_per_piece(data.n_rows(), self.workers.len()).next_multiple_of(SEGMENT);
        let pieces = self
            .negated
            .chunks_mut(piece)
            .zip(self.current.chunks_mut(piece / SEGMENT));
        self.pool.for_each(
            pieces.enumerate(),
            &mut self.workers,
            |worker, (at, (negated, sums))| {
                let dense = &mut worker.closer.dense;
                for (block, negated) in negated.chunks_mut(BLOCK).enumerate() {
                    let first = at * piece + block * BLOCK;
                    dense.compute(&data.source(first, BLOCK), center);
                    let mut terms = dense.out[0].0;
                    for (negated, &distance) in negated.iter_mut().zip(&terms) {
                        *negated = -distance;
                    }
                    if let Some(weights) = weights {
                        for (term, &weight) in terms.iter_mut().zip(&weights[first..]) {
                            *term *= weight;
                        }
                    }
                    sums[block * BLOCK / SEGMENT].add_all(grid, &terms[..negated.len()]);
                }
            },
        );
    }

    /// Potential of each segment for each of the rows `drawn`, given the `centers` so far.
    fn evaluate(&mut self, centers: &[usize], drawn: &[usize]) {
        // The first center is known to all samples from the start.
        let (known, chosen) = match centers {
            [known @ .., chosen] if !known.is_empty() => (known, Some(*chosen)),
            _ => (centers, None),
        };
        let rows = chosen.into_iter().chain(drawn.iter().copied());
        self.candidates.load(&self.data, rows);
        self.find_reach(known);
        let (data, weights, grid) = (self.data, self.weights, self.grid);
        let (candidates, reach) = (&self.candidates, &self.reach[..known.len()]);
        let step = Step {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                reason = "checked by `spread`"
            )]
            fold: chosen.map(|_| known.len() as i32),
            trials: self.trials,
        };
        let length = rows_per_piece(data.n_rows(), self.workers.len()).next_multiple_of(SEGMENT);
        let pieces = self
            .negated
            .chunks_mut(length)
            .zip(self.labels.chunks_mut(length))
            .zip(self.potentials.chunks_mut(length / SEGMENT * self.trials))
            .zip(self.current.chunks(length / SEGMENT));
        self.pool.for_each(
            pieces.enumerate(),
            &mut self.workers,
            |worker, (at, (((negated, labels), potentials), current))| {
                for (sums, &current) in potentials.chunks_exact_mut(step.trials).zip(current) {
                    sums.fill(current);
                }
                let mut piece = Piece {
                    first: at * length,
                    negated,
                    labels,
                    potentials,
                };
                worker.compare(
                    &mut piece,
                    (&data, weights, grid),
                    (candidates, reach),
                    step,
                );
            },
        );
    }

    /// Up to which distance the samples of each center are out of the candidates' reach. With computed squared distances
    /// N of a sample to its center and A of that center to a candidate, the triangle inequality makes the candidate no
    /// nearer, in computed distances, where N ≤ A/4 less rounding: relative errors below half of [`slack`] each, and
    /// underflow.
    fn find_reach(&mut self, centers: &[usize]) {
        let (data, candidates) = (self.data, &self.candidates);
        let d = data.n_columns();
        let shrink = (1.0 - 2.0 * slack(d)) / 4.0;
        let underflow = 8.0 * (d + 8) as f64 * f64::MIN_POSITIVE;
        let threads = self
            .pool
            .useful_threads(centers.len(), d * candidates.len())
            .min(self.workers.len());
        let blocks = self.reach.chunks_mut(BLOCK).zip(centers.chunks(BLOCK));
        self.pool.for_each(
            blocks,
            &mut self.workers[..threads],
            |worker, (reach, centers)| {
                let dense = &mut worker.closer.dense;
                dense.compute(&data.listed(centers, &[]), candidates.exact());
                let lines = &dense.out[..candidates.len()];
                for (i, reach) in reach.iter_mut().enumerate().take(centers.len()) {
                    let nearest = lines.iter().fold(f64::INFINITY, |m, line| m.min(line.0[i]));
                    *reach = underflow - nearest * shrink;
                }
            },
        );
    }

    fn segment_sums(&self, trial: usize) -> impl Iterator<Item = ExactSum> + '_ {
        self.potentials
            .iter()
            .skip(trial)
            .step_by(self.trials)
            .copied()
    }

    /// Takes the trial with the least potential, the first of equals.
    fn choose(&mut self) -> usize {
        let mut best = (f64::INFINITY, 0);
        for trial in 0..self.trials {
            let mut sum = ExactSum::default();
            for segment in self.segment_sums(trial) {
                sum.merge(segment);
            }
            if sum.value() < best.0 {
                best = (sum.value(), trial);
            }
        }
        let sums = self.potentials.iter().skip(best.1).step_by(self.trials);
        for (current, &sum) in self.current.iter_mut().zip(sums) {
            *current = sum;
        }
        best.1
    }

    /// The first row up to which the potential, `chosen` included in the centers, sums to more than `target`. Prefix
    /// sums are exact and rounding is monotone, so the answer does not depend on the segments.
    fn row_at(&mut self, target: f64, chosen: usize) -> Option<usize> {
        let mut prefix = ExactSum::default();
        let segment = self.current.iter().position(|&segment| {
            let mut through = prefix;
            through.merge(segment);
            let found = through.value() > target;
            if !found {
                prefix = through;
            }
            found
        })?;
        let mut center = vec![0.0; self.data.n_columns()];
        self.data.read_row(chosen, &mut center);
        let dense = &mut self.workers.first_mut()?.closer.dense;
        let end = self.data.n_rows().min((segment + 1) * SEGMENT);
        for first in (segment * SEGMENT..end).step_by(BLOCK) {
            dense.compute(&self.data.source(first, BLOCK), &center);
            let rows = first..end.min(first + BLOCK);
            for (row, &distance) in rows.zip(&dense.out[0].0) {
                let nearest = (-self.negated[row]).min(distance);
                prefix.add(
                    self.grid,
                    nearest * self.weights.map_or(1.0, |weights| weights[row]),
                );
                if prefix.value() > target {
                    return Some(row);
                }
            }
        }
        None
    }
}

impl<T: Element> Worker<T> {
    /// Compares the rows of a piece with the candidates: blocks with many rows in reach as they lie, rows of others
    /// gathered into full blocks.
    fn compare(
        &mut self,
        piece: &mut Piece<'_>,
        data: (&Rows<'_, T>, Option<&[f64]>, Grid),
        (candidates, reach): (&Candidates<T>, &[f64]),
        step: Step,
    ) {
        /// Rows in reach from which on a block is read as it lies.
        const MANY: u32 = 32;
        let rows = data.0;
        self.listed.clear();
        let mut first = 0;
        while first < piece.labels.len() {
            let end = piece.labels.len().min(first + BLOCK);
            let near = candidates.within_reach(
                &piece.labels[first..end],
                &piece.negated[first..end],
                reach,
            );
            if near.count_ones() >= MANY {
                self.block(
                    piece,
                    data,
                    candidates,
                    &rows.source(piece.first + first, end - first),
                    step,
                );
            } else {
                for i in ones(near) {
                    rows.prefetch(piece.first + first + i);
                    self.listed.push(piece.first + first + i);
                    if self.listed.len() == BLOCK {
                        self.block_listed(piece, data, candidates, step);
                    }
                }
            }
            first = end;
        }
        if !self.listed.is_empty() {
            self.block_listed(piece, data, candidates, step);
        }
    }

    fn block_listed(
        &mut self,
        piece: &mut Piece<'_>,
        data: (&Rows<'_, T>, Option<&[f64]>, Grid),
        candidates: &Candidates<T>,
        step: Step,
    ) {
        let listed = std::mem::take(&mut self.listed);
        self.block(piece, data, candidates, &data.0.listed(&listed, &[]), step);
        self.listed = listed;
        self.listed.clear();
    }

    /// Compares one block of rows of a piece.
    fn block(
        &mut self,
        piece: &mut Piece<'_>,
        (rows, weights, grid): (&Rows<'_, T>, Option<&[f64]>, Grid),
        candidates: &Candidates<T>,
        source: &Source<'_, T>,
        step: Step,
    ) {
        let closer = &mut self.closer;
        let count = source.len();
        let samples = &mut closer.samples;
        for (i, nearest) in samples.nearest.0.iter_mut().enumerate() {
            *nearest = if i < count {
                -piece.negated[source.index(i) - piece.first]
            } else {
                0.0
            };
        }
        if let Some(weights) = weights {
            for (i, weight) in samples.weights.0.iter_mut().enumerate().take(count) {
                *weight = weights[source.index(i)];
            }
        }
        closer.compare(candidates, (rows, source), step.fold.is_some(), grid);
        let mut nearer = closer.nearer[..candidates.len()].iter();
        let (mut changes, mut lines) = (closer.changes.iter(), closer.distances.iter());
        if let Some(label) = step.fold {
            if let (Some(&nearer), Some(line)) = (nearer.next(), lines.next()) {
                for i in ones(nearer) {
                    let at = source.index(i) - piece.first;
                    piece.negated[at] = -line.0[i];
                    piece.labels[at] = label;
                }
            }
            changes.next();
        }
        if source.down().is_some() {
            // A block as it lies is within one segment.
            let segment = (source.index(0) - piece.first) / SEGMENT;
            let sums = &mut piece.potentials[segment * step.trials..][..step.trials];
            for (sum, &change) in sums.iter_mut().zip(changes) {
                sum.merge(change);
            }
            return;
        }
        let samples = &closer.samples;
        for (trial, (&nearer, line)) in nearer.zip(lines).enumerate() {
            for i in ones(nearer) {
                let segment = (source.index(i) - piece.first) / SEGMENT;
                let sum = &mut piece.potentials[segment * step.trials + trial];
                sum.add(grid, line.0[i] * samples.weights.0[i]);
                sum.subtract(grid, samples.nearest.0[i] * samples.weights.0[i]);
            }
        }
    }
}

pub(crate) fn total(sums: &[ExactSum]) -> ExactSum {
    let mut total = ExactSum::default();
    for &sum in sums {
        total.merge(sum);
    }
    total
}

/// A row drawn by weight.
pub(crate) fn first_row(
    n: usize,
    weights: Option<&[f64]>,
    scale: &Scale,
    random: &mut Random,
) -> usize {
    let unit = random.unit();
    let Some(weights) = weights else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below n, and n < 2^53"
        )]
        return ((unit * n as f64) as usize).min(n - 1);
    };
    let grid = Grid::new(scale.max_weight, scale.n_rows);
    let mut sum = ExactSum::default();
    for &weight in weights {
        sum.add(grid, weight);
    }
    let target = (unit * sum.value()).min(sum.value().next_down());
    let mut prefix = ExactSum::default();
    let found = weights.iter().position(|&weight| {
        prefix.add(grid, weight);
        prefix.value() > target
    });
    found.unwrap_or(n - 1)
}

/// The number of trials of greedy k-means++.
pub(crate) fn checked_trials(n_local_trials: Option<usize>, n_clusters: usize) -> Result<usize> {
    let trials = n_local_trials.unwrap_or(2 + floor_ln(n_clusters));
    if (1..=MAX_TRIALS).contains(&trials) {
        Ok(trials)
    } else {
        Err(Error::Parameter {
            name: "n_local_trials",
            value: trials.to_string(),
            rule: "it must be from 1 to 1024",
        })
    }
}

/// A number below `total`, so that some row's prefix exceeds it; a total of 0 means that all rows lie on centers.
pub(crate) fn draw_below(total: f64, random: &mut Random) -> f64 {
    (random.unit() * total).min(total.next_down()).max(0.0)
}

/// The lowest row not among `used`, for when every row already lies on a center.
pub(crate) fn unused(used: &[usize]) -> usize {
    (0..=used.len())
        .find(|row| !used.contains(row))
        .unwrap_or(0)
}

fn floor_ln(n: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 44"
    )]
    let floor = (n as f64).ln() as usize;
    floor
}

pub(crate) fn check_clusters<T: Element>(data: &Rows<'_, T>, n_clusters: usize) -> Result<()> {
    data.check_shape()?;
    check_enough_rows(data.n_rows(), n_clusters)
}

pub(crate) fn check_enough_rows(rows: usize, n_clusters: usize) -> Result<()> {
    if n_clusters == 0 {
        return Err(Error::NoClusters);
    }
    if n_clusters > rows {
        return Err(Error::TooFewRows {
            rows,
            clusters: n_clusters,
        });
    }
    Ok(())
}

pub(crate) fn seeds<T: Element>(data: &Rows<'_, T>, indices: Vec<usize>) -> Seeds<T> {
    Seeds {
        centers: data.as_array().select(ndarray::Axis(0), &indices),
        indices,
    }
}
