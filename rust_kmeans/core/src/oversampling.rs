//! Starting centers by k-means||: a few rounds that draw many candidates each, then the best of several greedy k-means++
//! on them.

use ndarray::{ArrayView2, Axis};

use crate::assign::{How, Job, Visit, Worker, assign, check_columns, check_rows, row_major};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::interrupt::{self, Interrupt};
use crate::kernel::{BLOCK, Isa, Packed, own_distances};
use crate::params::ValidParams;
use crate::pool::{Pool, rows_per_piece};
use crate::problem::Problem;
use crate::random::Random;
use crate::scale::Scale;
use crate::seeding::{Seeds, check_clusters, seeds};
use crate::view::Rows;

/// Rounds of drawing: the number with which Bahmani et al. reach the quality of k-means++ in all their experiments.
pub const ROUNDS: usize = 5;
/// Candidates expected of a round, in units of the number of clusters.
pub const OVERSAMPLING: f64 = 2.0;

/// Most choices among the candidates.
const CHOICES: u64 = 8;
/// Iterations over the candidates that judge a choice.
const JUDGING: usize = 20;
/// Of less than so many rows, judging may cost more than a pass over all.
const FEW_ROWS: u64 = 100_000;

/// k-means||: a first row drawn by weight, then 5 rounds in each of which every row becomes a candidate on its own, with
/// probability min(1, 2·`n_clusters`·w·D²/φ), where D² is its squared distance to the nearest candidate so far, w its weight
/// and φ the sum of w·D². [`choose_seeds`] then chooses among the candidates, each with the weight of the rows nearest to it. It
/// reads the data 6 times instead of once a center. Where fewer than `n_clusters` candidates come out (few rows, or
/// few distinct ones), the centers are those of [`crate::kmeans_plusplus`] on all rows.
///
/// `data` has shape (`n_samples`, `n_features`), `weights` one number a sample. The result depends on the data, the
/// weights and the seed, not on threads or the instruction set: whether a row is drawn follows from seed, round and row
/// number alone.
///
/// Source: B. Bahmani, B. Moseley, A. Vattani, R. Kumar, S. Vassilvitskii, *Scalable k-means++*, PVLDB 5 (2012),
/// algorithm 2.
///
/// # Errors
/// As [`crate::kmeans_plusplus`].
pub fn kmeans_parallel<T: Element>(
    data: Rows<'_, T>,
    n_clusters: usize,
    weights: Option<&[f64]>,
    seed: u64,
    params: &ValidParams,
    interrupt: &mut Interrupt<'_>,
) -> Result<Seeds<T>> {
    check_clusters(&data, n_clusters)?;
    Problem::new(data, n_clusters, weights, params)?.kmeans_parallel(n_clusters, seed, interrupt)
}

/// [`kmeans_parallel`] on a problem.
pub(crate) fn oversample<T: Element>(
    problem: &Problem<'_, T>,
    n_clusters: usize,
    seed: u64,
    interrupt: &mut Interrupt<'_>,
) -> Result<Seeds<T>> {
    let Problem { data, weights, .. } = problem;
    check_clusters(data, n_clusters)?;
    let mut random = Random::new(seed);
    let first = first_row(data.n_rows(), *weights, &problem.scale, &mut random);
    let mut nearest = Nearest::new(data.n_rows(), &problem.scale)?;
    let engine = (&problem.pool, problem.params.isa);
    let samples = (*data, *weights);
    let rows_of = |rows: &[usize]| data.as_array().select(Axis(0), rows);
    let mut candidates = vec![first];
    let mut potential = nearest.add(samples, rows_of(&[first]).view(), 0, engine)?;
    for _ in 0..ROUNDS {
        interrupt::check(interrupt)?;
        let drawing = Drawing {
            expected: OVERSAMPLING * n_clusters as f64,
            potential: potential.value(),
            bits: random.bits(),
            first_row: 0,
        };
        let drawn = nearest.draw(*weights, &drawing, &problem.pool)?;
        if !drawn.is_empty() {
            let (before, rows) = (candidates.len(), rows_of(&drawn));
            candidates.extend(drawn);
            potential = nearest.add(samples, rows.view(), before, engine)?;
        }
    }
    let (rows, weights): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .zip(nearest.weights(*weights)?)
        .map(|(row, sum)| (row, sum.value() / problem.scale.n_rows as f64))
        .filter(|&(_, weight)| weight > 0.0)
        .unzip();
    if rows.len() < n_clusters {
        return problem.kmeans_plusplus(n_clusters, seed, None, interrupt);
    }
    let candidates = data.as_array().select(Axis(0), &rows);
    let chosen = choose_seeds(
        (Rows::new(candidates.view()), &weights),
        n_clusters,
        problem.scale.n_rows,
        random.bits(),
        &problem.params,
        interrupt,
    )?;
    let indices = chosen.indices.into_iter().map(|i| rows[i]).collect();
    Ok(seeds(data, indices))
}

/// Of several greedy k-means++ on candidates, shape (`n_candidates`, `n_features`) with a weight each, the one from which
/// 20 iterations over the candidates end with the least inertia. The candidates are few, so that this costs little beside
/// the passes over all `n_rows` rows that drew them: as many are tried, 8 at most, as take together no more than one such
/// pass (or one over 100,000 rows). A single greedy k-means++ misses a cluster now and then, which no number of iterations
/// over the rows makes good.
///
/// # Errors
/// As [`crate::kmeans_plusplus`].
pub fn choose_seeds<T: Element>(
    (candidates, weights): (Rows<'_, T>, &[f64]),
    n_clusters: usize,
    n_rows: u64,
    seed: u64,
    params: &ValidParams,
    interrupt: &mut Interrupt<'_>,
) -> Result<Seeds<T>> {
    check_clusters(&candidates, n_clusters)?;
    let affordable = n_rows.max(FEW_ROWS) / (JUDGING * candidates.n_rows()) as u64;
    let mut params = params.clone();
    params.max_iter = JUDGING;
    let problem = Problem::new(candidates, n_clusters, Some(weights), &params)?;
    let mut random = Random::new(seed);
    let mut seeder = problem.seeder();
    let mut best = seeder.kmeans_plusplus(n_clusters, random.bits(), None, interrupt)?;
    if affordable < 2 {
        return Ok(best);
    }
    let judge = |seeds: &Seeds<T>, interrupt: &mut Interrupt<'_>| {
        // Who watches may stop it, but sees the runs over the rows alone.
        problem
            .lloyd(seeds.centers.view(), 0.0, &mut || interrupt.stops())
            .map(|fit| fit.inertia)
    };
    let mut least = judge(&best, interrupt)?;
    for _ in 1..affordable.min(CHOICES) {
        let other = seeder.kmeans_plusplus(n_clusters, random.bits(), None, interrupt)?;
        let inertia = judge(&other, interrupt)?;
        if inertia < least {
            (best, least) = (other, inertia);
        }
    }
    Ok(best)
}

/// A row drawn by weight, in the order of the data.
fn first_row(n: usize, weights: Option<&[f64]>, scale: &Scale, random: &mut Random) -> usize {
    let Some(weights) = weights else {
        return random.below(n);
    };
    let target = random.part_of(weight_of_rows(weights, scale).value());
    let found = row_at_weight(weights, scale, ExactSum::default(), target);
    found.unwrap_or(n - 1)
}

/// The sum of the weights of a block of rows; those of all blocks, merged, are the sum of all.
#[must_use]
pub fn weight_of_rows(weights: &[f64], scale: &Scale) -> ExactSum {
    let grid = Grid::new(scale.max_weight, scale.n_rows);
    let mut sum = ExactSum::default();
    for &weight in weights {
        sum.add(grid, weight);
    }
    sum
}

/// The first row of a block up to which weights, with that of the rows `before` the block, sum to more than `target`.
#[must_use]
pub fn row_at_weight(
    weights: &[f64],
    scale: &Scale,
    before: ExactSum,
    target: f64,
) -> Option<usize> {
    let grid = Grid::new(scale.max_weight, scale.n_rows);
    let mut prefix = before;
    weights.iter().position(|&weight| {
        prefix.add(grid, weight);
        prefix.value() > target
    })
}

/// The nearest candidate of every row of a block: the part of [`kmeans_parallel`] that stays with the rows. Any split of the
/// rows gives the same candidates.
pub struct Nearest {
    scale: Scale,
    grid: Grid,
    /// How many candidates there are.
    count: usize,
    /// Squared distance to the nearest.
    distances: Vec<f64>,
    /// Its place among the candidates.
    owners: Vec<i32>,
    /// The nearest of those added last.
    labels: Vec<i32>,
}

/// What a round draws with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawing {
    /// Rows drawn of all blocks, if no probability were cut at 1.
    pub expected: f64,
    /// The potential of all blocks: their weighted squared distances.
    pub potential: f64,
    /// The random number of the round.
    pub bits: u64,
    /// Rows in the blocks before this one.
    pub first_row: u64,
}

impl Nearest {
    /// Without candidates, for a block of so many rows; `scale` is that of all blocks.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(n_rows: usize, scale: &Scale) -> Result<Self> {
        let what = "the nearest candidates";
        Ok(Self {
            scale: scale.clone(),
            grid: scale.distance_grid(&[]),
            count: 0,
            distances: try_vec(what, n_rows, f64::INFINITY)?,
            owners: try_vec(what, n_rows, -1)?,
            labels: try_vec(what, n_rows, -1)?,
        })
    }

    /// Adds candidates (`n_added`, `n_features`), `before` being how many were there: of equally near ones the first stays
    /// the nearest. Returns the potential of the block, whose rows are `data` (`n_samples`, `n_features`). To add the same
    /// again changes nothing.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::NoClusters`], [`Error::Shape`], [`Error::NotFinite`] (candidates), [`Error::TooLarge`],
    /// [`Error::Memory`].
    pub fn add<T: Element>(
        &mut self,
        (data, weights): (Rows<'_, T>, Option<&[f64]>),
        added: ArrayView2<'_, T>,
        before: usize,
        (pool, isa): (&Pool, Isa),
    ) -> Result<ExactSum> {
        data.check_shape()?;
        let d = data.n_columns();
        check_columns("the scale", self.scale.n_features(), d)?;
        check_rows("the block", data.n_rows(), self.owners.len())?;
        self.check_weights(weights)?;
        let centers = row_major(added, d)?;
        let count = before.saturating_add(added.nrows());
        let base = i32::try_from(before)
            .ok()
            .filter(|_| i32::try_from(count).is_ok())
            .ok_or(Error::TooLarge {
                what: "the candidates",
                rows: count,
                columns: d,
            })?;
        let mut packed = Packed::new(isa.check()?, added.nrows(), d)?;
        packed.load(&centers, &self.scale);
        let mut workers = Worker::team(pool, &data, (packed.k(), isa), 1)?;
        let job = Job {
            run: 0,
            packed: &packed,
            data: &data,
            weights: None,
            moving: None,
        };
        self.labels.fill(-1);
        let visit = Visit::new(job, &mut self.labels, How::Dense, None);
        assign(vec![visit], (pool, &mut workers));
        self.count = count;

        let (grid, exact) = (self.grid, packed.exact());
        let threads = pool.useful_threads(data.n_rows(), d * 8);
        let piece = rows_per_piece(data.n_rows(), threads);
        let mut sums = vec![ExactSum::default(); threads];
        let pieces = self
            .distances
            .chunks_mut(piece)
            .zip(self.owners.chunks_mut(piece))
            .zip(self.labels.chunks(piece));
        pool.for_each(
            pieces.enumerate(),
            &mut sums,
            |sum, (at, ((distances, owners), labels))| {
                let blocks = distances
                    .chunks_mut(BLOCK)
                    .zip(owners.chunks_mut(BLOCK))
                    .zip(labels.chunks(BLOCK));
                for (block, ((distances, owners), labels)) in blocks.enumerate() {
                    let first = at * piece + block * BLOCK;
                    let mut fresh = [0.0; BLOCK];
                    own_distances(isa, &data, first, (exact, labels), &mut fresh);
                    let known = distances.iter_mut().zip(owners);
                    for (i, ((distance, owner), (fresh, &label))) in
                        known.zip(fresh.into_iter().zip(labels)).enumerate()
                    {
                        if fresh < *distance {
                            (*distance, *owner) = (fresh, base + label);
                        }
                        let weight = weights.map_or(1.0, |weights| weights[first + i]);
                        sum.add(grid, *distance * weight);
                    }
                }
            },
        );
        let mut potential = ExactSum::default();
        for sum in sums {
            potential.merge(sum);
        }
        Ok(potential)
    }

    /// Rows of the block drawn each on its own, in the order of the data: whether a row is follows from the round's random
    /// number and the number of the row among those of all blocks.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of weights.
    pub fn draw(
        &self,
        weights: Option<&[f64]>,
        drawing: &Drawing,
        pool: &Pool,
    ) -> Result<Vec<usize>> {
        self.check_weights(weights)?;
        let Drawing {
            expected,
            potential,
            bits,
            first_row,
        } = *drawing;
        let random = Random::new(bits);
        let n = self.distances.len();
        let threads = pool.useful_threads(n, 64);
        let piece = rows_per_piece(n, threads);
        let mut drawn = vec![Vec::new(); n.div_ceil(piece)];
        pool.for_each(
            self.distances.chunks(piece).zip(&mut drawn).enumerate(),
            &mut vec![(); threads],
            |(), (at, (distances, drawn))| {
                for (row, &distance) in (at * piece..).zip(distances) {
                    let part = distance * weights.map_or(1.0, |weights| weights[row]) / potential;
                    // Not a number where all rows lie on candidates.
                    let unit = random.unit_at(first_row.wrapping_add(row as u64));
                    if unit < expected * part {
                        drawn.push(row);
                    }
                }
            },
        );
        Ok(drawn.concat())
    }

    /// The weight of the rows of the block that are nearest to each candidate.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of weights, [`Error::Memory`].
    pub fn weights(&self, weights: Option<&[f64]>) -> Result<Vec<ExactSum>> {
        self.check_weights(weights)?;
        let grid = Grid::new(self.scale.max_weight, self.scale.n_rows);
        let mut sums = try_vec("the candidates", self.count, ExactSum::default())?;
        for (row, &owner) in self.owners.iter().enumerate() {
            if let Some(sum) = usize::try_from(owner).ok().and_then(|at| sums.get_mut(at)) {
                sum.add(grid, weights.map_or(1.0, |weights| weights[row]));
            }
        }
        Ok(sums)
    }

    fn check_weights(&self, weights: Option<&[f64]>) -> Result<()> {
        weights.map_or(Ok(()), |weights| {
            check_rows("sample_weight", weights.len(), self.owners.len())
        })
    }
}
