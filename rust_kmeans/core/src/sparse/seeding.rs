//! Greedy k-means++ on sparse rows.

use super::across::Across;
use super::distance::between;
use super::problem::SparseProblem;
use super::view::Index;
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::interrupt::{self, Interrupt};
use crate::pool::{cost, rows_per_piece};
use crate::seeding::{Random, SEGMENT, checked_trials, draw_below, first_row, total, unused};

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
    let mut search = Search::new(problem, trials)?;
    let mut indices = try_vec("the seeds", n_clusters, 0)?;
    let mut drawn = try_vec("the trials", trials, 0)?;
    let (n, weights) = (problem.data.n_rows(), problem.weights);
    indices[0] = first_row(n, weights, &problem.scale, &mut random);
    search.add(indices[0]);
    for c in 1..n_clusters {
        interrupt::check(interrupt)?;
        let potential = total(&search.potentials).value();
        for row in &mut drawn {
            let target = draw_below(potential, &mut random);
            *row = search
                .row_at(target)
                .unwrap_or_else(|| unused(&indices[..c]));
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
    /// Σ weight · distance of each segment of rows.
    potentials: Vec<ExactSum>,
    /// The rows that scores are with.
    loaded: Vec<usize>,
    across: Across,
    workers: Vec<Worker>,
}

/// What one thread works with: scores, and how much less the potential is with each trial.
struct Worker {
    scores: Vec<f64>,
    changes: Vec<ExactSum>,
}

impl<'p, 'a, T: Element, I: Index> Search<'p, 'a, T, I> {
    fn new(problem: &'p SparseProblem<'a, T, I>, trials: usize) -> Result<Self> {
        let (n, d) = (problem.data.n_rows(), problem.data.n_columns());
        let cost = cost(problem.data.per_row(), 4 * trials);
        let what = "the potentials";
        let worker = |_| {
            Ok(Worker {
                scores: try_vec(what, trials, 0.0)?,
                changes: try_vec(what, trials, ExactSum::default())?,
            })
        };
        let threads = problem.pool.useful_threads(n, cost);
        Ok(Self {
            problem,
            grid: problem.scale.distance_grid(&[]),
            nearest: try_vec(what, n, f64::INFINITY)?,
            potentials: try_vec(what, n.div_ceil(SEGMENT), ExactSum::default())?,
            loaded: Vec::new(),
            across: Across::new(problem.params.isa, trials, d)?,
            workers: (0..threads).map(worker).collect::<Result<_>>()?,
        })
    }

    fn weight(&self, row: usize) -> f64 {
        self.problem.weights.map_or(1.0, |weights| weights[row])
    }

    fn piece(&self) -> usize {
        rows_per_piece(self.nearest.len(), self.workers.len()).next_multiple_of(SEGMENT)
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
        let (piece, across) = (self.piece(), &self.across);
        let (data, grid, weights) = (&self.problem.data, self.grid, self.problem.weights);
        let pieces = self.nearest.chunks_mut(piece);
        let pieces = pieces.zip(self.potentials.chunks_mut(piece / SEGMENT));
        self.problem.pool.for_each(
            pieces.enumerate(),
            &mut self.workers,
            |worker, (at, (nearest, potentials))| {
                let segments = nearest.chunks_mut(SEGMENT).zip(potentials);
                for (segment, (nearest, potential)) in segments.enumerate() {
                    *potential = ExactSum::default();
                    let first = at * piece + segment * SEGMENT;
                    for (row, nearest) in (first..).zip(nearest) {
                        let seen = across.scores(data, row, &mut worker.scores);
                        if may_be_nearer(worker.scores[0], seen, *nearest) {
                            *nearest = nearest.min(between(data, row, center));
                        }
                        potential.add(grid, *nearest * weights.map_or(1.0, |w| w[row]));
                    }
                }
            },
        );
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

    /// The first row up to which the potential sums to more than `target`.
    fn row_at(&self, target: f64) -> Option<usize> {
        let mut prefix = ExactSum::default();
        let segment = self.potentials.iter().position(|&segment| {
            let mut through = prefix;
            through.merge(segment);
            let found = through.value() > target;
            if !found {
                prefix = through;
            }
            found
        })?;
        (segment * SEGMENT..self.nearest.len()).find(|&row| {
            prefix.add(self.grid, self.nearest[row] * self.weight(row));
            prefix.value() > target
        })
    }
}

/// Whether a row may be nearer than `nearest`, a squared distance, to the center with which it has `score`, by what comes
/// with the scores: half the squared distance is the score and half of ‖x‖².
fn may_be_nearer(score: f64, (squares, error): (f64, f64), nearest: f64) -> bool {
    score + squares / 2.0 - error < nearest / 2.0
}
