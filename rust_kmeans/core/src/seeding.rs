//! Starting centers: greedy k-means++ and random rows.

use std::collections::BinaryHeap;

use ndarray::Array2;

use crate::assign::TESTED;
use crate::element::Element;
use crate::error::{Error, Result, try_vec, try_zeros};
use crate::exact_sum::{ExactSum, Grid};
use crate::interrupt::{self, Interrupt};
use crate::kernel::{BLOCK, Candidates, Closer, Isa, ones, slack};
use crate::order::{Order, Ordered};
use crate::params::ValidParams;
use crate::pool::{Pool, cost, rows_per_piece};
use crate::problem::Problem;
use crate::random::Random;
use crate::scale::Scale;
use crate::view::{Rows, Source, prefetch};

/// More trials than help: memory grows with them as with centers.
const MAX_TRIALS: usize = 1024;

/// Rows listed before the first block of them is computed: what was asked for arrives in the meantime.
const LISTED: usize = 2 * BLOCK;

/// Starting centers.
#[derive(Debug, Clone, PartialEq)]
pub struct Seeds<T> {
    /// Shape (`n_clusters`, `n_features`): rows of the data.
    pub centers: Array2<T>,
    /// Which rows.
    pub indices: Vec<usize>,
}

/// Greedy k-means++: the first center a row drawn by weight; each next one the best of `n_local_trials` rows (`None`:
/// 2 + ⌊ln k⌋) drawn with probability proportional to weight times squared distance to the nearest center so far, best
/// meaning the least potential. Distances are float64; each step reads at most once, for all its trials, the rows that one of
/// them may be nearer to, and then those that the best one is nearer to.
///
/// `data` has shape (`n_samples`, `n_features`), `weights` one number a sample. The result depends on the data, the
/// weights and the seed, not on threads or the instruction set, nor on the order of the rows: a random number stands for a
/// part of the weight of the rows in the order of their values. A row repeated w times is drawn like one of weight w, but
/// for rounding.
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

/// Draws starting centers of one problem: as often as is wanted, with one order of the rows.
pub struct Seeder<'p, 'a, T> {
    problem: &'p Problem<'a, T>,
    /// The order of the rows and the bucket of each, once they were needed.
    ordered: Option<(Order, Vec<u16>)>,
}

impl<'p, 'a, T: Element> Seeder<'p, 'a, T> {
    pub(crate) fn new(problem: &'p Problem<'a, T>) -> Self {
        Self {
            problem,
            ordered: None,
        }
    }

    /// As [`kmeans_plusplus`]; seeds do not depend on what was drawn before.
    ///
    /// # Errors
    /// As [`kmeans_plusplus`].
    pub fn kmeans_plusplus(
        &mut self,
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
        } = self.problem;
        let (data, weights) = (*data, *weights);
        check_clusters(&data, n_clusters)?;
        let trials = checked_trials(n_local_trials, n_clusters)?;
        check_number(n_clusters, data.n_columns())?;
        let mut random = Random::new(seed);
        let (order, buckets) = match &mut self.ordered {
            Some(ordered) => ordered,
            none => none.insert(Order::new(data, pool)?),
        };
        let mut indices = try_vec("the seeds", n_clusters, 0)?;
        let mut drawn = try_vec("the trials", trials, 0)?;
        let mut targets = try_vec("the trials", trials, 0.0)?;
        indices[0] = first_row((order, data, pool), (buckets, weights), scale, &mut random)?;
        let shape = (n_clusters, trials);
        let mut search = Search::new(&data, scale, order.n_buckets(), shape, (pool, params.isa))?;
        let samples = Samples {
            data,
            weights,
            buckets,
            pool,
        };
        search.start(samples, (&data, &indices[..1]));
        for c in 1..n_clusters {
            interrupt::check(interrupt)?;
            let total = search.potential().value();
            targets.fill_with(|| random.part_of(total));
            let sums = (search.potentials(), search.grid);
            let found = order.find((data, pool), sums, &targets, |row| {
                search.term(&samples, row)
            })?;
            for (row, found) in drawn.iter_mut().zip(found) {
                *row = found.unwrap_or_else(|| unused(&indices[..c]));
            }
            search.evaluate(samples, (&data, &indices[..c]), (&data, &drawn));
            let best = search.choose(samples, (&data, &drawn));
            indices[c] = drawn[best];
            if c + 1 < n_clusters {
                search.accept(samples, (&data, &indices[c..=c]), (c, best));
            }
        }
        Ok(seeds(&data, indices))
    }
}

/// Refuses more centers than labels can tell apart.
pub(crate) fn check_number(n_clusters: usize, n_features: usize) -> Result<()> {
    if i32::try_from(n_clusters).is_ok() {
        return Ok(());
    }
    Err(Error::TooLarge {
        what: "the centers",
        rows: n_clusters,
        columns: n_features,
    })
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
/// Each step compares the trials with the samples in one pass. Potentials are exact sums, so that of a trial is the one
/// before less the distances of the samples it is nearer to, plus their new ones: the same bits as if all samples were
/// summed. A sample is not read where the triangle inequality shows that no trial is nearer ([`Search::reach`]), and float64
/// distances are computed only where the kernel cannot rule out that one is ([`Closer`]).
///
/// The rows may be a block of many: centers and trials are then rows of other blocks too.
pub(crate) struct Search<T> {
    grid: Grid,
    workers: Vec<Worker<T>>,
    /// Negative squared distance of each row to the nearest center.
    negated: Vec<f64>,
    /// Which center that is.
    labels: Vec<i32>,
    /// Potential of each bucket of the order.
    potentials: Vec<ExactSum>,
    /// For each block of rows and each trial of the last step, the rows that are nearer to it than to any center.
    nearer: Vec<u64>,
    trials: usize,
    candidates: Candidates<T>,
    /// For each center, the negative of the squared distance up to which its samples are nearer to it than to any
    /// candidate.
    reach: Vec<f64>,
}

/// The samples of a search, which every step is given again.
#[derive(Clone, Copy)]
pub(crate) struct Samples<'a, 'd, T> {
    pub(crate) data: Rows<'d, T>,
    pub(crate) weights: Option<&'a [f64]>,
    /// The bucket of each row.
    pub(crate) buckets: &'a [u16],
    pub(crate) pool: &'a Pool,
}

impl<T> Samples<'_, '_, T> {
    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }
}

/// Some rows of some data.
pub(crate) type Chosen<'a, 'd, T> = (&'a Rows<'d, T>, &'a [usize]);

/// What one thread works with.
struct Worker<T> {
    closer: Closer<T>,
    /// Rows of the current piece to be compared.
    listed: Vec<usize>,
    /// What the potential changes by with a trial.
    change: ExactSum,
    /// What the potential of each bucket changes by with an accepted center.
    potentials: Vec<ExactSum>,
}

/// Rows that one thread works on at a time: what is known of them, and what the trials are nearer to.
struct Piece<'p> {
    first: usize,
    negated: &'p [f64],
    labels: &'p [i32],
    nearer: &'p mut [u64],
}

/// What is known of the rows that one thread works on at a time.
struct Known<'p> {
    first: usize,
    negated: &'p mut [f64],
    labels: &'p mut [i32],
}

impl<T: Element> Search<T> {
    /// For the rows of `data`, a part of those of `scale`, and an order of so many buckets.
    pub(crate) fn new(
        data: &Rows<'_, T>,
        scale: &Scale,
        buckets: usize,
        (n_clusters, trials): (usize, usize),
        (pool, isa): (&Pool, Isa),
    ) -> Result<Self> {
        let (n, d) = (data.n_rows(), data.n_columns());
        let threads = pool.useful_threads(n, cost(d, 4 * trials));
        let what = "the potentials";
        let none = ExactSum::default();
        let worker = |_| {
            Ok(Worker {
                closer: Closer::new(isa, d, trials)?,
                listed: Vec::with_capacity(LISTED),
                change: none,
                potentials: try_vec(what, buckets, none)?,
            })
        };
        Ok(Self {
            grid: scale.distance_grid(&[]),
            workers: (0..threads).map(worker).collect::<Result<_>>()?,
            negated: try_zeros(what, n)?,
            labels: try_zeros(what, n)?,
            potentials: try_vec(what, buckets, none)?,
            nearer: try_vec(what, n.div_ceil(BLOCK).saturating_mul(trials), 0)?,
            trials,
            candidates: Candidates::new(isa, trials, data, scale)?,
            reach: try_vec(what, n_clusters, 0.0)?,
        })
    }

    /// Distances to the first center, and the potentials with it.
    pub(crate) fn start(&mut self, samples: Samples<'_, '_, T>, center: Chosen<'_, '_, T>) {
        let Samples {
            data,
            buckets,
            pool,
            ..
        } = samples;
        let grid = self.grid;
        self.candidates.load(center);
        let center = self.candidates.exact();
        let length = rows_per_piece(data.n_rows(), self.workers.len());
        let pieces = self.negated.chunks_mut(length).zip(buckets.chunks(length));
        pool.for_each(
            pieces.enumerate(),
            &mut self.workers,
            |worker, (at, (negated, buckets))| {
                let dense = &mut worker.closer.dense;
                let blocks = negated.chunks_mut(BLOCK).zip(buckets.chunks(BLOCK));
                for (block, (negated, buckets)) in blocks.enumerate() {
                    let first = at * length + block * BLOCK;
                    dense.compute(&data.source(first, BLOCK), center);
                    let rows = negated.iter_mut().zip(buckets).zip(&dense.out[0].0);
                    for (row, ((negated, &bucket), &distance)) in (first..).zip(rows) {
                        *negated = -distance;
                        let term = distance * samples.weight(row);
                        worker.potentials[usize::from(bucket)].add(grid, term);
                    }
                }
            },
        );
        self.gather();
    }

    /// Adds what the workers found to the potentials.
    fn gather(&mut self) {
        for worker in &mut self.workers {
            for (potential, change) in self.potentials.iter_mut().zip(&mut worker.potentials) {
                potential.merge(std::mem::take(change));
            }
        }
    }

    /// Compares the rows `drawn` with the samples, given the `centers` so far.
    pub(crate) fn evaluate(
        &mut self,
        samples: Samples<'_, '_, T>,
        centers: Chosen<'_, '_, T>,
        drawn: Chosen<'_, '_, T>,
    ) {
        self.candidates.load(drawn);
        self.find_reach(centers, samples.pool);
        let Samples {
            data,
            weights,
            pool,
            ..
        } = samples;
        let (candidates, reach) = (&self.candidates, &self.reach[..centers.1.len()]);
        for worker in &mut self.workers {
            worker.closer.reset();
        }
        let length = rows_per_piece(data.n_rows(), self.workers.len());
        let pieces = self
            .negated
            .chunks(length)
            .zip(self.labels.chunks(length))
            .zip(self.nearer.chunks_mut(length.div_ceil(BLOCK) * self.trials));
        pool.for_each(
            pieces.enumerate(),
            &mut self.workers,
            |worker, (at, ((negated, labels), nearer))| {
                nearer.fill(0);
                let mut piece = Piece {
                    first: at * length,
                    negated,
                    labels,
                    nearer,
                };
                worker.compare(&mut piece, (&data, weights), (candidates, reach));
            },
        );
    }

    /// The trial with the least potential, the first of equals.
    fn choose(&mut self, samples: Samples<'_, '_, T>, drawn: Chosen<'_, '_, T>) -> usize {
        let (data, drawn) = drawn;
        let current = self.potential();
        let count = samples.data.n_rows() as f64;
        // What exact sums leave out of the old and the new terms, and potentials are compared as rounded: what lies within is no
        // difference.
        let lost = 2.0 * count * self.grid.loss();
        let rounding = 1.01 * lost + 4.0 * f64::EPSILON * current.value();
        let all = (count, current.value() + lost);
        let gain = |trial| {
            let [mut gain, mut weight, mut squares] = [0.0; 3];
            for worker in &self.workers {
                let part = worker.closer.gain(trial);
                gain += part[0];
                weight += part[1];
                squares += part[2];
            }
            let error = rounding + self.candidates.gain_error(trial, (weight, squares), all)?;
            gain.is_finite().then_some((gain - error, gain + error))
        };
        let gains: Vec<_> = (0..drawn.len())
            .map(|trial| gain(trial).unwrap_or((f64::NEG_INFINITY, f64::INFINITY)))
            .collect();
        let sure = gains
            .iter()
            .fold(f64::NEG_INFINITY, |m, gain| m.max(gain.0));
        let contenders: Vec<_> = (0..drawn.len())
            .filter(|&trial| gains[trial].1 >= sure && !drawn[..trial].contains(&drawn[trial]))
            .collect();
        if let [only] = contenders[..] {
            return only;
        }
        let mut best = (f64::INFINITY, 0);
        for trial in contenders {
            let potential = self.potential_with(samples, (data, &drawn[trial..=trial]), trial);
            if potential.value() < best.0 {
                best = (potential.value(), trial);
            }
        }
        best.1
    }

    /// The potential if a trial, which is row `center`, became one.
    pub(crate) fn potential_with(
        &mut self,
        samples: Samples<'_, '_, T>,
        center: Chosen<'_, '_, T>,
        trial: usize,
    ) -> ExactSum {
        self.settle(samples, center, trial, None);
        let mut potential = self.potential();
        for worker in &mut self.workers {
            potential.merge(std::mem::take(&mut worker.change));
        }
        potential
    }

    /// Makes a trial, which is row `center`, the center of that number.
    pub(crate) fn accept(
        &mut self,
        samples: Samples<'_, '_, T>,
        center: Chosen<'_, '_, T>,
        (number, trial): (usize, usize),
    ) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "checked by `check_number`"
        )]
        let label = number as i32;
        self.settle(samples, center, trial, Some(label));
        self.gather();
    }

    /// Computes the float64 distances of the samples that may be nearer to a trial, which is row `center`: for what the
    /// potential changes by, or to make it the center that `label` names.
    fn settle(
        &mut self,
        samples: Samples<'_, '_, T>,
        center: Chosen<'_, '_, T>,
        trial: usize,
        label: Option<i32>,
    ) {
        let Samples {
            data,
            buckets,
            pool,
            ..
        } = samples;
        self.candidates.load(center);
        let center = self.candidates.exact();
        let (grid, trials) = (self.grid, self.trials);
        let length = rows_per_piece(data.n_rows(), self.workers.len());
        let pieces = self
            .negated
            .chunks_mut(length)
            .zip(self.labels.chunks_mut(length))
            .zip(self.nearer.chunks(length.div_ceil(BLOCK) * trials));
        pool.for_each(
            pieces.enumerate(),
            &mut self.workers,
            |worker, (at, ((negated, labels), nearer))| {
                let first = at * length;
                let mut known = Known {
                    first,
                    negated,
                    labels,
                };
                worker.listed.clear();
                for (block, nearer) in nearer.chunks_exact(trials).enumerate() {
                    for i in ones(nearer[trial]) {
                        let row = first + block * BLOCK + i;
                        data.prefetch(row);
                        prefetch((&raw const known.negated[row - first]).cast());
                        prefetch((&raw const buckets[row]).cast());
                        worker.listed.push(row);
                        if worker.listed.len() == LISTED {
                            worker.settle(&mut known, &samples, (center, grid), label);
                        }
                    }
                }
                while !worker.listed.is_empty() {
                    worker.settle(&mut known, &samples, (center, grid), label);
                }
            },
        );
    }

    /// Up to which distance the samples of each center are out of the candidates' reach. With computed squared distances
    /// N of a sample to its center and A of that center to a candidate, the triangle inequality makes the candidate no
    /// nearer, in computed distances, where N ≤ A/4 less rounding: relative errors below half of [`slack`] each, and
    /// underflow.
    fn find_reach(&mut self, (data, centers): Chosen<'_, '_, T>, pool: &Pool) {
        let candidates = &self.candidates;
        let d = data.n_columns();
        let shrink = (1.0 - 2.0 * slack(d)) / 4.0;
        let underflow = 8.0 * (d + 8) as f64 * f64::MIN_POSITIVE;
        let threads = pool
            .useful_threads(centers.len(), d * candidates.len())
            .min(self.workers.len());
        let blocks = self.reach.chunks_mut(BLOCK).zip(centers.chunks(BLOCK));
        pool.for_each(
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

    fn potential(&self) -> ExactSum {
        total(&self.potentials)
    }

    /// Potential of each bucket of the order.
    pub(crate) fn potentials(&self) -> &[ExactSum] {
        &self.potentials
    }

    /// What a row adds to the potential.
    pub(crate) fn term(&self, samples: &Samples<'_, '_, T>, row: usize) -> f64 {
        -self.negated[row] * samples.weight(row)
    }
}

impl<T: Element> Worker<T> {
    /// Compares the rows of a piece with the candidates: blocks with many rows in reach as they lie, rows of others
    /// gathered into full blocks.
    fn compare(
        &mut self,
        piece: &mut Piece<'_>,
        data: (&Rows<'_, T>, Option<&[f64]>),
        (candidates, reach): (&Candidates<T>, &[f64]),
    ) {
        /// Bytes of a row from which on it takes longer to read some in vain than to gather many.
        const WIDE: usize = 256;
        let rows = data.0;
        let is_wide = rows.n_columns() * size_of::<T>() >= WIDE;
        // Rows in reach from which on a block is read as it lies.
        let many = if is_wide { 48 } else { 32 };
        self.listed.clear();
        let mut first = 0;
        let mut tested = [0; TESTED];
        while first < piece.labels.len() {
            let end = piece.labels.len().min(first + BLOCK);
            let at = first / BLOCK % TESTED;
            if at == 0 {
                let rows = first..piece.labels.len().min(first + TESTED * BLOCK);
                let (labels, negated) = (&piece.labels[rows.clone()], &piece.negated[rows]);
                candidates.within_reach(labels, negated, reach, &mut tested);
            }
            let near = tested[at];
            if near.count_ones() >= many {
                self.block(
                    piece,
                    data.1,
                    candidates,
                    &rows.source(piece.first + first, end - first),
                );
            } else {
                for i in ones(near) {
                    rows.prefetch(piece.first + first + i);
                    self.listed.push(piece.first + first + i);
                    if self.listed.len() == LISTED {
                        self.block_listed(piece, data, candidates);
                    }
                }
            }
            first = end;
        }
        while !self.listed.is_empty() {
            self.block_listed(piece, data, candidates);
        }
    }

    /// Computes the float64 distances of the rows listed to a center, and takes in what follows.
    fn settle(
        &mut self,
        known: &mut Known<'_>,
        samples: &Samples<'_, '_, T>,
        (center, grid): (&[f64], Grid),
        label: Option<i32>,
    ) {
        let dense = &mut self.closer.dense;
        let count = self.listed.len().min(BLOCK);
        let listed = &self.listed[..count];
        dense.compute(&samples.data.listed(listed, &[]), center);
        let distances = &dense.out[0].0;
        let (mut nearest, mut weights) = ([0.0; BLOCK], [1.0; BLOCK]);
        for (nearest, &row) in nearest.iter_mut().zip(listed) {
            *nearest = -known.negated[row - known.first];
        }
        if samples.weights.is_some() {
            for (weight, &row) in weights.iter_mut().zip(listed) {
                *weight = samples.weight(row);
            }
        }
        let changes = changes(grid, (&nearest, distances), &weights);
        for (i, &row) in listed.iter().enumerate() {
            if distances[i] >= nearest[i] {
                continue;
            }
            let Some(label) = label else {
                self.change.merge(changes[i]);
                continue;
            };
            self.potentials[usize::from(samples.buckets[row])].merge(changes[i]);
            known.negated[row - known.first] = -distances[i];
            known.labels[row - known.first] = label;
        }
        self.listed.drain(..count);
    }

    fn block_listed(
        &mut self,
        piece: &mut Piece<'_>,
        data: (&Rows<'_, T>, Option<&[f64]>),
        candidates: &Candidates<T>,
    ) {
        let mut listed = std::mem::take(&mut self.listed);
        let count = listed.len().min(BLOCK);
        let source = data.0.listed(&listed[..count], &[]);
        self.block(piece, data.1, candidates, &source);
        listed.drain(..count);
        self.listed = listed;
    }

    /// Compares one block of rows of a piece.
    fn block(
        &mut self,
        piece: &mut Piece<'_>,
        weights: Option<&[f64]>,
        candidates: &Candidates<T>,
        source: &Source<'_, T>,
    ) {
        let closer = &mut self.closer;
        let count = source.len();
        let samples = &mut closer.samples;
        let (nearest, beyond) = samples.nearest.0.split_at_mut(count);
        if source.down().is_some() {
            let first = source.index(0) - piece.first;
            for (nearest, negated) in nearest.iter_mut().zip(&piece.negated[first..]) {
                *nearest = -negated;
            }
        } else {
            for (i, nearest) in nearest.iter_mut().enumerate() {
                *nearest = -piece.negated[source.index(i) - piece.first];
            }
        }
        beyond.fill(0.0);
        if let Some(weights) = weights {
            for (i, weight) in samples.weights.0.iter_mut().enumerate().take(count) {
                *weight = weights[source.index(i)];
            }
        }
        closer.compare(candidates, source);
        let trials = candidates.len();
        for (trial, &nearer) in closer.nearer[..trials].iter().enumerate() {
            if source.down().is_some() {
                let block = (source.index(0) - piece.first) / BLOCK;
                piece.nearer[block * trials + trial] = nearer;
                continue;
            }
            for i in ones(nearer) {
                let at = source.index(i) - piece.first;
                piece.nearer[at / BLOCK * trials + trial] |= 1 << (at % BLOCK);
            }
        }
    }
}

/// A row drawn by weight.
pub(crate) fn first_row<D: Ordered>(
    (order, data, pool): (&mut Order, D, &Pool),
    (buckets, weights): (&[u16], Option<&[f64]>),
    scale: &Scale,
    random: &mut Random,
) -> Result<usize> {
    let n = data.n_rows();
    let Some(weights) = weights else {
        return order.nth(data, random.below(n));
    };
    let grid = Grid::new(scale.max_weight, scale.n_rows);
    let mut sums = try_vec("the weights", order.n_buckets(), ExactSum::default())?;
    for (&bucket, &weight) in buckets.iter().zip(weights) {
        sums[usize::from(bucket)].add(grid, weight);
    }
    let target = random.part_of(total(&sums).value());
    let found = order.find((data, pool), (&sums, grid), &[target], |row| weights[row])?;
    Ok(found[0].unwrap_or(n - 1))
}

/// What sums change by where samples get another distance: the new term less the old one, which is exact.
fn changes(
    grid: Grid,
    (nearest, distances): (&[f64; BLOCK], &[f64; BLOCK]),
    weights: &[f64; BLOCK],
) -> [ExactSum; BLOCK] {
    std::array::from_fn(|i| {
        let (old_high, old_low) = grid.split(nearest[i] * weights[i]);
        let (high, low) = grid.split(distances[i] * weights[i]);
        ExactSum {
            high: high - old_high,
            low: low - old_low,
        }
    })
}

/// The sum of all.
pub(crate) fn total(sums: &[ExactSum]) -> ExactSum {
    let mut total = ExactSum::default();
    for &sum in sums {
        total.merge(sum);
    }
    total
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
