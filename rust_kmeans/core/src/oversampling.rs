//! Starting centers by k-means||: a few rounds that draw many candidates each, then greedy k-means++ on them.

use ndarray::Axis;

use crate::assign::{How, Job, Visit, Worker, assign, row_major};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::interrupt::{self, Interrupt};
use crate::kernel::{BLOCK, Packed, own_distances};
use crate::params::ValidParams;
use crate::pool::rows_per_piece;
use crate::problem::Problem;
use crate::random::Random;
use crate::scale::Scale;
use crate::seeding::{Seeds, check_clusters, seeds, spread};
use crate::view::Rows;

/// Rounds of drawing: the number with which Bahmani et al. reach the quality of k-means++ in all their experiments.
const ROUNDS: usize = 5;
/// Candidates expected of a round, in units of the number of clusters.
const OVERSAMPLING: f64 = 2.0;

/// k-means||: a first row drawn by weight, then 5 rounds in each of which every row becomes a candidate on its own, with
/// probability min(1, 2·`n_clusters`·w·D²/φ), where D² is its squared distance to the nearest candidate so far, w its weight
/// and φ the sum of w·D². Greedy k-means++ then chooses among the candidates, each with the weight of the rows nearest to
/// it. It reads the data 6 times instead of once a center. Where fewer than `n_clusters` candidates come out (few rows, or
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
    let mut nearest = Nearest::new(problem)?;
    nearest.add(vec![first])?;
    for _ in 0..ROUNDS {
        interrupt::check(interrupt)?;
        let expected = OVERSAMPLING * n_clusters as f64;
        let drawn = nearest.draw(expected, &Random::new(random.bits()));
        if !drawn.is_empty() {
            nearest.add(drawn)?;
        }
    }
    let (rows, weights) = nearest.weighted_candidates()?;
    if rows.len() < n_clusters {
        return spread(problem, n_clusters, seed, None, interrupt);
    }
    let candidates = data.as_array().select(Axis(0), &rows);
    let candidates = Rows::new(candidates.view());
    let chosen = Problem::new(candidates, n_clusters, Some(&weights), &problem.params)?
        .kmeans_plusplus(n_clusters, random.bits(), None, interrupt)?;
    let indices = chosen.indices.into_iter().map(|i| rows[i]).collect();
    Ok(seeds(data, indices))
}

/// A row drawn by weight, in the order of the data.
fn first_row(n: usize, weights: Option<&[f64]>, scale: &Scale, random: &mut Random) -> usize {
    let Some(weights) = weights else {
        return random.below(n);
    };
    let grid = Grid::new(scale.max_weight, scale.n_rows);
    let mut sum = ExactSum::default();
    for &weight in weights {
        sum.add(grid, weight);
    }
    let target = (random.unit() * sum.value()).min(sum.value().next_down());
    let mut prefix = ExactSum::default();
    let found = weights.iter().position(|&weight| {
        prefix.add(grid, weight);
        prefix.value() > target
    });
    found.unwrap_or(n - 1)
}

/// The nearest candidate of every row.
struct Nearest<'p, 'a, T> {
    problem: &'p Problem<'a, T>,
    candidates: Vec<usize>,
    /// Squared distance to it.
    distances: Vec<f64>,
    /// Its place among the candidates.
    owners: Vec<i32>,
    /// The nearest of those added last.
    labels: Vec<i32>,
    grid: Grid,
    potential: ExactSum,
}

impl<'p, 'a, T: Element> Nearest<'p, 'a, T> {
    fn new(problem: &'p Problem<'a, T>) -> Result<Self> {
        let n = problem.data.n_rows();
        let what = "the nearest candidates";
        Ok(Self {
            problem,
            candidates: Vec::new(),
            distances: try_vec(what, n, f64::INFINITY)?,
            owners: try_vec(what, n, -1)?,
            labels: try_vec(what, n, -1)?,
            grid: problem.scale.distance_grid(&[]),
            potential: ExactSum::default(),
        })
    }

    /// Adds candidates: of equally near ones the first stays the nearest.
    fn add(&mut self, added: Vec<usize>) -> Result<()> {
        let Problem {
            data,
            weights,
            scale,
            pool,
            params,
        } = self.problem;
        let d = data.n_columns();
        let centers = row_major(data.as_array().select(Axis(0), &added).view(), d)?;
        let mut packed = Packed::new(params.isa, added.len(), d)?;
        packed.load(&centers, scale);
        let mut workers = Worker::team(pool, data, packed.k(), 1)?;
        let job = Job {
            run: 0,
            packed: &packed,
            data,
            weights: None,
            moving: None,
        };
        self.labels.fill(-1);
        let visit = Visit::new(job, &mut self.labels, How::Dense, None);
        assign(vec![visit], (pool, &mut workers));
        let before = self.candidates.len();
        self.candidates.extend(added);
        let base = i32::try_from(before)
            .ok()
            .filter(|_| i32::try_from(self.candidates.len()).is_ok())
            .ok_or(Error::TooLarge {
                what: "the candidates",
                rows: self.candidates.len(),
                columns: d,
            })?;

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
                    own_distances(params.isa, data, first, (exact, labels), &mut fresh);
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
        self.potential = ExactSum::default();
        for sum in sums {
            self.potential.merge(sum);
        }
        Ok(())
    }

    /// Rows drawn each on its own, `expected` of them if no probability were cut at 1, in the order of the data.
    fn draw(&self, expected: f64, random: &Random) -> Vec<usize> {
        let Problem {
            data,
            weights,
            pool,
            ..
        } = self.problem;
        let total = self.potential.value();
        let threads = pool.useful_threads(data.n_rows(), 64);
        let piece = rows_per_piece(data.n_rows(), threads);
        let mut drawn = vec![Vec::new(); data.n_rows().div_ceil(piece)];
        pool.for_each(
            self.distances.chunks(piece).zip(&mut drawn).enumerate(),
            &mut vec![(); threads],
            |(), (at, (distances, drawn))| {
                for (row, &distance) in (at * piece..).zip(distances) {
                    let part = distance * weights.map_or(1.0, |weights| weights[row]) / total;
                    // Not a number where all rows lie on candidates.
                    if random.unit_at(row as u64) < expected * part {
                        drawn.push(row);
                    }
                }
            },
        );
        drawn.concat()
    }

    /// Candidates that are nearest to some weight, and that weight, as a part of all rows so that it cannot overflow where
    /// the weights do not.
    fn weighted_candidates(self) -> Result<(Vec<usize>, Vec<f64>)> {
        let Problem { weights, scale, .. } = self.problem;
        let grid = Grid::new(scale.max_weight, scale.n_rows);
        let mut sums = try_vec("the candidates", self.candidates.len(), ExactSum::default())?;
        for (row, &owner) in self.owners.iter().enumerate() {
            if let Some(sum) = usize::try_from(owner).ok().and_then(|at| sums.get_mut(at)) {
                sum.add(grid, weights.map_or(1.0, |weights| weights[row]));
            }
        }
        Ok(self
            .candidates
            .into_iter()
            .zip(sums)
            .map(|(row, sum)| (row, sum.value() / scale.n_rows as f64))
            .filter(|&(_, weight)| weight > 0.0)
            .unzip())
    }
}
