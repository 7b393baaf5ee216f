//! Greedy k-means++ on sparse rows.

use std::cmp::Ordering;

use super::across::Across;
use super::distance::between;
use super::problem::SparseProblem;
use super::view::{Csr, Index};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::interrupt::{self, Interrupt};
use crate::kernel::PARTS;
use crate::order::{Batch, Order, Ordered};
use crate::pool::{cost, rows_per_piece};
use crate::random::Random;
use crate::seeding::{checked_trials, first_row, total, unused};

/// [`crate::kmeans_plusplus`]: the rows it draws, by the same distances and sums.
pub(super) fn spread<T: Element, I: Index>(
    problem: &SparseProblem<'_, T, I>,
    n_clusters: usize,
    seed: u64,
    n_local_trials: Option<usize>,
    interrupt: &mut Interrupt<'_>,
) -> Result<Vec<usize>> {
    let trials = checked_trials(n_local_trials, n_clusters)?;
    let mut random = Random::new(seed);
    let (mut order, buckets) = Order::new(&problem.data, &problem.pool)?;
    let mut indices = try_vec("the seeds", n_clusters, 0)?;
    let mut drawn = try_vec("the trials", trials, 0)?;
    let mut targets = try_vec("the trials", trials, 0.0)?;
    indices[0] = first_row(
        (&mut order, &problem.data, &problem.pool),
        (&buckets, problem.weights),
        &problem.scale,
        &mut random,
    )?;
    let mut search = Search::new(problem, (order, buckets), trials)?;
    search.add(indices[0]);
    for c in 1..n_clusters {
        interrupt::check(interrupt)?;
        let potential = total(&search.potentials).value();
        targets.fill_with(|| random.part_of(potential));
        for (row, found) in drawn.iter_mut().zip(search.rows_at(&targets)?) {
            *row = found.unwrap_or_else(|| unused(&indices[..c]));
        }
        indices[c] = search.best(&drawn);
        search.add(indices[c]);
    }
    Ok(indices)
}

/// What the steps of k-means++ share.
struct Search<'p, 'a, T, I> {
    problem: &'p SparseProblem<'a, T, I>,
    grid: Grid,
    /// Squared distance of each row to the nearest center so far.
    nearest: Vec<f64>,
    order: Order,
    /// The bucket of each row in it.
    buckets: Vec<u16>,
    /// Σ weight · distance of each bucket of the order.
    potentials: Vec<ExactSum>,
    /// The rows that scores are with.
    loaded: Vec<usize>,
    across: Across,
    workers: Vec<Worker>,
}

/// What one thread works with: scores, how much less the potential is with each trial, and what that of each bucket
/// changes by with a center.
struct Worker {
    scores: Vec<f64>,
    changes: Vec<ExactSum>,
    potentials: Vec<ExactSum>,
}

impl<'p, 'a, T: Element, I: Index> Search<'p, 'a, T, I> {
    fn new(
        problem: &'p SparseProblem<'a, T, I>,
        (order, buckets): (Order, Vec<u16>),
        trials: usize,
    ) -> Result<Self> {
        let (n, d) = (problem.data.n_rows(), problem.data.n_columns());
        let cost = cost(problem.data.per_row(), 4 * trials);
        let what = "the potentials";
        let worker = |_| {
            Ok(Worker {
                scores: try_vec(what, trials, 0.0)?,
                changes: try_vec(what, trials, ExactSum::default())?,
                potentials: try_vec(what, order.n_buckets(), ExactSum::default())?,
            })
        };
        let threads = problem.pool.useful_threads(n, cost);
        Ok(Self {
            problem,
            grid: problem.scale.distance_grid(&[]),
            nearest: try_vec(what, n, f64::INFINITY)?,
            potentials: try_vec(what, order.n_buckets(), ExactSum::default())?,
            loaded: Vec::new(),
            across: Across::new(problem.params.isa, trials, d)?,
            workers: (0..threads).map(worker).collect::<Result<_>>()?,
            order,
            buckets,
        })
    }

    fn piece(&self) -> usize {
        rows_per_piece(self.nearest.len(), self.workers.len())
    }

    /// Makes scores those with some rows.
    fn load(&mut self, rows: &[usize]) {
        self.across
            .load_rows(&self.problem.data, &self.loaded, rows);
        self.loaded.clear();
        self.loaded.extend_from_slice(rows);
    }

    /// Takes a row as a center.
    fn add(&mut self, center: usize) {
        self.load(&[center]);
        let (piece, across, buckets) = (self.piece(), &self.across, &self.buckets);
        let (data, grid, weights) = (&self.problem.data, self.grid, self.problem.weights);
        self.problem.pool.for_each(
            self.nearest.chunks_mut(piece).enumerate(),
            &mut self.workers,
            |worker, (at, nearest)| {
                for (row, nearest) in (at * piece..).zip(nearest) {
                    let seen = across.scores(data, row, &mut worker.scores);
                    if !may_be_nearer(worker.scores[0], seen, *nearest) {
                        continue;
                    }
                    let distance = between(data, row, center);
                    if distance < *nearest {
                        let weight = weights.map_or(1.0, |weights| weights[row]);
                        let potential = &mut worker.potentials[usize::from(buckets[row])];
                        potential.add(grid, distance * weight);
                        if nearest.is_finite() {
                            potential.subtract(grid, *nearest * weight);
                        }
                        *nearest = distance;
                    }
                }
            },
        );
        for worker in &mut self.workers {
            for (potential, change) in self.potentials.iter_mut().zip(&mut worker.potentials) {
                potential.merge(std::mem::take(change));
            }
        }
    }

    /// Of some rows the one with which the potential is least, the first of equals.
    fn best(&mut self, drawn: &[usize]) -> usize {
        self.load(drawn);
        let (piece, across) = (self.piece(), &self.across);
        let (data, grid, weights) = (&self.problem.data, self.grid, self.problem.weights);
        self.problem.pool.for_each(
            self.nearest.chunks(piece).enumerate(),
            &mut self.workers,
            |worker, (at, nearest)| {
                for (row, &nearest) in (at * piece..).zip(nearest) {
                    let seen = across.scores(data, row, &mut worker.scores);
                    let scores = worker.scores.iter().zip(drawn);
                    for ((&score, &trial), change) in scores.zip(&mut worker.changes) {
                        if !may_be_nearer(score, seen, nearest) {
                            continue;
                        }
                        let distance = between(data, row, trial);
                        if distance < nearest {
                            let weight = weights.map_or(1.0, |weights| weights[row]);
                            change.add(grid, distance * weight);
                            change.subtract(grid, nearest * weight);
                        }
                    }
                }
            },
        );
        let potential = total(&self.potentials);
        let mut best = (f64::INFINITY, 0);
        for trial in 0..drawn.len() {
            let mut sum = potential;
            for worker in &mut self.workers {
                sum.merge(std::mem::take(&mut worker.changes[trial]));
            }
            if sum.value() < best.0 {
                best = (sum.value(), trial);
            }
        }
        drawn[best.1]
    }

    /// For each target the first row, in order, up to which the potential sums to more than it.
    fn rows_at(&mut self, targets: &[f64]) -> Result<Vec<Option<usize>>> {
        let (nearest, weights) = (&self.nearest, self.problem.weights);
        let (data, pool) = (&self.problem.data, &self.problem.pool);
        self.order.find(
            (data, pool),
            (&self.potentials, self.grid),
            targets,
            |row| nearest[row] * weights.map_or(1.0, |weights| weights[row]),
        )
    }
}

impl<T: Element, I: Index> Ordered for &Csr<'_, T, I> {
    type Scratch = ();

    fn n_rows(&self) -> usize {
        Csr::n_rows(self)
    }

    fn n_columns(&self) -> usize {
        Csr::n_columns(self)
    }

    fn scratch(&self) -> Result<Self::Scratch> {
        Ok(())
    }

    fn heights(&self, batch: Batch<'_>, factors: &[f64], (): &mut (), out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            let mut parts = [0.0; PARTS];
            for (column, value) in self.row(batch.row(i)) {
                parts[column % PARTS] += value * factors[column];
            }
            *out = parts.iter().fold(0.0, |sum, part| sum + part);
        }
    }

    fn compare(&self, row: usize, other: usize) -> Ordering {
        let (mut ours, mut theirs) = (self.row(row).peekable(), self.row(other).peekable());
        loop {
            // What is missing is 0.
            let (x, y) = match (ours.peek(), theirs.peek()) {
                (None, None) => return Ordering::Equal,
                (Some(&(i, _)), Some(&(j, _))) if i == j => (ours.next(), theirs.next()),
                (Some(&(i, _)), Some(&(j, _))) if i > j => (None, theirs.next()),
                (None, Some(_)) => (None, theirs.next()),
                _ => (ours.next(), None),
            };
            let value = |entry: Option<(usize, f64)>| entry.map_or(0.0, |(_, value)| value);
            match value(x).partial_cmp(&value(y)) {
                None | Some(Ordering::Equal) => {}
                Some(order) => return order,
            }
        }
    }
}

/// Whether a row may be nearer than `nearest`, a squared distance, to the center with which it has `score`, by what comes
/// with the scores: half the squared distance is the score and half of ‖x‖².
fn may_be_nearer(score: f64, (squares, error): (f64, f64), nearest: f64) -> bool {
    score + squares / 2.0 - error < nearest / 2.0
}
