//! Batches of sparse rows, read where they lie.

use super::distance::OwnDistances;
use super::lloyd::{Moving, Screen, Worker, take_inertia, take_sums};
use super::problem::SparseProblem;
use super::view::{Csr, Index};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::exact_sum::{ExactTable, Grids};
use crate::kernel::{Isa, Move};
use crate::minibatch::{Batches, Running, step_once};
use crate::params::ValidParams;
use crate::pool::{Pool, rows_per_piece};
use crate::scale::Scale;

/// [`crate::minibatch_step`] for sparse data: the same centers.
///
/// # Errors
/// As [`crate::minibatch_step`].
pub fn sparse_minibatch_step<T: Element, I: Index>(
    data: Csr<'_, T, I>,
    weights: Option<&[f64]>,
    running: &mut Running<T>,
    reassignment_ratio: f64,
    seed: u64,
    params: &ValidParams,
) -> Result<(f64, usize)> {
    let problem = SparseProblem::new(data, running.centers.nrows(), weights, params)?;
    let mut batches = SparseBatches::new(&problem, running.centers.nrows(), None)?;
    step_once(&mut batches, running, reassignment_ratio, seed)
}

/// Batches of sparse data.
pub(super) struct SparseBatches<'a, 'd, T, I> {
    data: &'a Csr<'d, T, I>,
    weights: Option<&'a [f64]>,
    /// Those of the batch.
    rows: Vec<usize>,
    /// Of the batch.
    scale: Scale,
    grids: Grids,
    isa: Isa,
    pool: &'a Pool,
    screen: Screen,
    workers: Vec<Worker>,
}

impl<'a, 'd, T: Element, I: Index> SparseBatches<'a, 'd, T, I> {
    /// Batches of `drawn` rows for `k` centers; `None` for all of the data as the batch.
    pub(super) fn new(
        problem: &'a SparseProblem<'d, T, I>,
        k: usize,
        drawn: Option<usize>,
    ) -> Result<Self> {
        let (data, pool, isa) = (&problem.data, &problem.pool, problem.params.isa);
        let mut rows = try_vec("the batch", drawn.unwrap_or(data.n_rows()), 0)?;
        for (i, row) in rows.iter_mut().enumerate() {
            *row = i;
        }
        let scale = match drawn {
            Some(rows) => problem.scale.of_drawn(rows),
            None => problem.scale.clone(),
        };
        Ok(Self {
            data,
            weights: problem.weights.filter(|_| drawn.is_none()),
            grids: scale.grids()?,
            scale,
            isa,
            pool,
            screen: Screen::new(isa, k, data.n_columns())?,
            workers: Worker::team_for(rows.len(), (data, pool), k, true)?,
            rows,
        })
    }
}

impl<T: Element, I: Index> Batches<T> for SparseBatches<'_, '_, T, I> {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn n_columns(&self) -> usize {
        self.data.n_columns()
    }

    fn take(&mut self, rows: &[usize]) {
        self.rows.copy_from_slice(rows);
    }

    fn add_to(&mut self, sums: &mut ExactTable, centers: &[T]) -> f64 {
        self.screen.load(centers);
        let (data, screen, weights) = (self.data, &self.screen, self.weights);
        let own = OwnDistances::new(&screen.exact, data.n_columns(), self.isa);
        let grid = self.scale.distance_grid(&screen.exact);
        let moving = Moving {
            data,
            weights,
            grids: &self.grids,
        };
        let piece = rows_per_piece(self.rows.len(), self.workers.len());
        let pieces = self.rows.chunks(piece);
        self.pool
            .for_each(pieces, &mut self.workers, |worker, rows| {
                for &row in rows {
                    let new = screen.label(data, row, worker);
                    let weight = weights.map_or(1.0, |weights| weights[row]);
                    let distance = own.distance(data, (row, new), &mut worker.row);
                    worker.inertia.add(grid, distance * weight);
                    moving.apply(&mut worker.sums, Move { row, old: -1, new });
                }
            });
        take_sums(&mut self.workers, sums);
        take_inertia(&mut self.workers)
    }

    fn copy_row(&self, row: usize, to: &mut [T]) {
        to.fill(T::default());
        for (column, x) in self.data.row(self.rows[row]) {
            to[column] = T::from_f64(x);
        }
    }
}
