//! Lloyd's algorithm on sparse rows.

use ndarray::{Array2, ArrayView2};

use super::across::Across;
use super::distance::OwnDistances;
use super::problem::SparseProblem;
use super::view::{Csr, Index};
use crate::assign::{check_labels, check_rows, row_major, squared_distance, widen};
use crate::bounds::squared_shift;
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, ExactTable, Grid, Grids};
use crate::history::History;
use crate::interrupt::{self, Convergence, Interrupt, Seen};
use crate::kernel::{Isa, Move};
use crate::lloyd::Fit;
use crate::params::Algorithm;
use crate::pool::{Pool, cost, rows_per_piece};
use crate::update::{Farthest, means, relocate_empty_clusters, to_unit_length};

/// [`crate::predict`] for sparse data: the same labels.
///
/// # Errors
/// As [`crate::predict`].
pub fn sparse_predict<T: Element, I: Index>(
    data: &Csr<'_, T, I>,
    centers: ArrayView2<'_, T>,
    (pool, isa): (&Pool, Isa),
) -> Result<Vec<i32>> {
    let d = data.n_columns();
    let centers = row_major(centers, d)?;
    data.scale(None)?;
    let mut screen = Screen::new(isa, centers.len() / d, d)?;
    screen.load(&centers);
    let mut labels = try_vec("the labels", data.n_rows(), -1)?;
    let mut workers = Worker::team((data, pool), screen.k, false)?;
    assign(data, (&screen, None), &mut labels, (pool, &mut workers));
    Ok(labels)
}

/// [`crate::inertia`] for sparse data, up to rounding: the distance of a row that has a nonzero in less than every
/// sixteenth feature is taken from those and the norm of its center, with a relative error below `n_features`·2⁻⁴⁶.
///
/// # Errors
/// As [`crate::inertia`].
pub fn sparse_inertia<T: Element, I: Index>(
    data: &Csr<'_, T, I>,
    centers: ArrayView2<'_, T>,
    weights: Option<&[f64]>,
    labels: &[i32],
    (pool, isa): (&Pool, Isa),
) -> Result<f64> {
    check_rows("labels", labels.len(), data.n_rows())?;
    let exact = widen(&row_major(centers, data.n_columns())?)?;
    check_labels(labels, data.n_rows(), centers.nrows())?;
    let grid = data.scale(weights)?.distance_grid(&exact);
    let own = OwnDistances::new(&exact, data.n_columns(), isa.check()?);
    let mut workers = Worker::team((data, pool), 0, false)?;
    let weighted = (data, weights);
    Ok(total_distance(
        weighted,
        &own,
        grid,
        labels,
        (pool, &mut workers),
    ))
}

/// [`SparseProblem::label`].
pub(super) fn label<T: Element, I: Index>(
    problem: &SparseProblem<'_, T, I>,
    centers: ArrayView2<'_, T>,
) -> Result<(Vec<i32>, f64)> {
    let SparseProblem {
        data,
        weights,
        scale,
        pool,
        params,
    } = problem;
    let d = data.n_columns();
    let centers = row_major(centers, d)?;
    let mut screen = Screen::new(params.isa, centers.len() / d, d)?;
    screen.load(&centers);
    let mut labels = try_vec("the labels", data.n_rows(), -1)?;
    let mut workers = Worker::team((data, pool), screen.k, false)?;
    assign(data, (&screen, None), &mut labels, (pool, &mut workers));
    let own = OwnDistances::new(&screen.exact, d, params.isa);
    let grid = scale.distance_grid(&screen.exact);
    let weighted = (data, *weights);
    let inertia = total_distance(weighted, &own, grid, &labels, (pool, &mut workers));
    Ok((labels, inertia))
}

/// Moves centers as [`crate::lloyd`] does.
pub(super) fn lloyd<T: Element, I: Index>(
    problem: &SparseProblem<'_, T, I>,
    (run, centers): (usize, ArrayView2<'_, T>),
    tol: f64,
    interrupt: &mut Interrupt<'_>,
) -> Result<Fit<T>> {
    let SparseProblem {
        data,
        weights,
        scale,
        pool,
        params,
    } = problem;
    let (n, d, k) = (data.n_rows(), data.n_columns(), centers.nrows());
    let mut centers = row_major(centers, d)?;
    if k > n {
        let (rows, clusters) = (n, k);
        return Err(Error::TooFewRows { rows, clusters });
    }
    let grids = scale.grids()?;
    let moving = Moving {
        data,
        weights: *weights,
        grids: &grids,
    };
    let mut screen = Screen::new(params.isa, k, d)?;
    let mut next = try_vec("the centers", k * d, T::default())?;
    let mut labels = try_vec("the labels", n, -1)?;
    let mut sums = ExactTable::new(k, d + 1)?;
    let mut workers = Worker::team((data, pool), k, true)?;
    let mut history = History::new(scale)?;
    let (mut n_iter, mut strict) = (0, false);
    let watched = interrupt.sees();
    if watched {
        interrupt.started(run);
    }
    let weighted = (data, *weights);
    let settled = loop {
        interrupt::check(interrupt)?;
        screen.load(&centers);
        let how = (&screen, Some(&moving));
        let changed = assign(data, how, &mut labels, (pool, &mut workers));
        take_sums(&mut workers, &mut sums);
        history.note(&centers, &sums)?;
        let own = OwnDistances::new(&screen.exact, d, params.isa);
        let relocated = relocate_empty_clusters(
            &sums,
            (&labels, d),
            |count| farthest(data, &own, &labels, count, (pool, &mut workers)),
            |sums, row_move| moving.apply(sums, row_move),
        );
        means(relocated.as_ref().unwrap_or(&sums), d, &mut next);
        if params.spherical {
            to_unit_length(&centers, d, &mut next);
        }
        n_iter += 1;
        let shift = squared_shift(&centers, &next);
        let converged = Convergence::of(changed, shift, tol);
        let stopped = watched && {
            let grid = scale.distance_grid(&screen.exact);
            let seen = Seen {
                run,
                number: n_iter - 1,
                inertia: total_distance(weighted, &own, grid, &labels, (pool, &mut workers)),
                shift,
                tol,
                converged,
            };
            seen.show(interrupt, &next, d)?
        };
        let still = next == centers;
        std::mem::swap(&mut centers, &mut next);
        if converged == Some(Convergence::Strict) {
            strict = true;
            break still;
        }
        if converged.is_some() || stopped || n_iter >= params.max_iter {
            break false;
        }
    };
    interrupt::check(interrupt)?;
    if !settled {
        screen.load(&centers);
        // Sums too: the history is relative to those of the last labels.
        let how = (&screen, Some(&moving));
        assign(data, how, &mut labels, (pool, &mut workers));
        take_sums(&mut workers, &mut sums);
    }
    let own = OwnDistances::new(&screen.exact, d, params.isa);
    let grid = scale.distance_grid(&screen.exact);
    let inertia = total_distance(weighted, &own, grid, &labels, (pool, &mut workers));
    let history = history.finish((&centers, &sums), inertia);
    let centers = Array2::from_shape_vec((k, d), centers).map_err(|_| Error::TooLarge {
        what: "the centers",
        rows: k,
        columns: d,
    })?;
    Ok(Fit {
        centers,
        labels,
        inertia,
        history,
        n_iter,
        strict,
        algorithm: Algorithm::Lloyd,
    })
}

/// Centers as screening needs them.
pub(super) struct Screen {
    k: usize,
    d: usize,
    across: Across,
    /// As they are, row-major.
    pub(super) exact: Vec<f64>,
}

impl Screen {
    pub(super) fn new(isa: Isa, k: usize, d: usize) -> Result<Self> {
        let too_large = Error::TooLarge {
            what: "the centers",
            rows: k,
            columns: d,
        };
        let cells = k.checked_mul(d).filter(|_| i32::try_from(k).is_ok());
        Ok(Self {
            k,
            d,
            across: Across::new(isa, k, d)?,
            exact: try_vec("the centers", cells.ok_or(too_large)?, 0.0)?,
        })
    }

    pub(super) fn load<T: Element>(&mut self, centers: &[T]) {
        for (exact, &c) in self.exact.iter_mut().zip(centers) {
            *exact = c.into();
        }
        self.across.load_dense(&self.exact);
    }

    /// The label of a row: that of the least score if no other is near, else by the definition.
    pub(super) fn label<T: Element, I: Index>(
        &self,
        data: &Csr<'_, T, I>,
        row: usize,
        worker: &mut Worker,
    ) -> i32 {
        let (_, error) = self.across.scores(data, row, &mut worker.scores);
        let (mut label, mut best, mut second) = (0, f64::INFINITY, f64::INFINITY);
        for (c, &score) in (0..).zip(&worker.scores) {
            if score < best {
                (label, best, second) = (c, score, best);
            } else {
                second = second.min(score);
            }
        }
        if second - best > error {
            return label;
        }
        data.scatter(row, &mut worker.row);
        let mut least = f64::INFINITY;
        let centers = self.exact.chunks_exact(self.d);
        for ((c, center), score) in (0..).zip(centers).zip(&worker.scores) {
            if score - best <= error {
                let distance = squared_distance(&worker.row, center);
                if distance < least {
                    (label, least) = (c, distance);
                }
            }
        }
        data.clear(row, &mut worker.row);
        label
    }
}

/// What one thread has to itself.
pub(super) struct Worker {
    scores: Vec<f64>,
    /// Zero but while a row is made dense.
    pub(super) row: Vec<f64>,
    /// Added and taken away since that was last taken; without rows where no sums are wanted.
    pub(super) sums: ExactTable,
    changed: usize,
    pub(super) inertia: ExactSum,
    farthest: Farthest,
}

impl Worker {
    /// As many as there is work for with all rows and `k` centers.
    fn team<T: Element, I: Index>(
        (data, pool): (&Csr<'_, T, I>, &Pool),
        k: usize,
        sums: bool,
    ) -> Result<Vec<Self>> {
        Self::team_for(data.n_rows(), (data, pool), k, sums)
    }

    /// As many as there is work for with `rows` rows and `k` centers.
    pub(super) fn team_for<T: Element, I: Index>(
        rows: usize,
        (data, pool): (&Csr<'_, T, I>, &Pool),
        k: usize,
        sums: bool,
    ) -> Result<Vec<Self>> {
        let d = data.n_columns();
        let threads = pool.useful_threads(rows, cost(data.per_row(), k));
        (0..threads)
            .map(|_| {
                Ok(Self {
                    scores: try_vec("the scores", k, 0.0)?,
                    row: try_vec("a row", d, 0.0)?,
                    sums: ExactTable::new(if sums { k } else { 0 }, d + 1)?,
                    changed: 0,
                    inertia: ExactSum::default(),
                    farthest: Farthest::new(0),
                })
            })
            .collect()
    }
}

/// What moving rows between sums reads.
pub(super) struct Moving<'a, 'd, T, I> {
    pub(super) data: &'a Csr<'d, T, I>,
    pub(super) weights: Option<&'a [f64]>,
    pub(super) grids: &'a Grids,
}

impl<T: Element, I: Index> Moving<'_, '_, T, I> {
    pub(super) fn apply(&self, sums: &mut ExactTable, Move { row, old, new }: Move) {
        let weight = self.weights.map_or(1.0, |weights| weights[row]);
        // A weight less than 0 takes the row away again: cutting is symmetric.
        for (cluster, weight) in [(old, -weight), (new, weight)] {
            if let Ok(cluster) = usize::try_from(cluster) {
                self.add_row(sums.row_mut(cluster), row, weight);
            }
        }
    }

    fn add_row(&self, (high, low): (&mut [f64], &mut [f64]), row: usize, weight: f64) {
        let (grid_high, grid_low) = self.grids.steps();
        let one = [(self.data.n_columns(), 1.0)];
        for (column, x) in self.data.row(row).chain(one) {
            let grid = Grid::from_parts((grid_high[column], grid_low[column]));
            let parts = grid.split(x * weight);
            high[column] += parts.0;
            low[column] += parts.1;
        }
    }
}

/// Labels all rows; where sums are wanted, moves each whose label changed. Returns how many did.
fn assign<T: Element, I: Index>(
    data: &Csr<'_, T, I>,
    (screen, moving): (&Screen, Option<&Moving<'_, '_, T, I>>),
    labels: &mut [i32],
    (pool, workers): (&Pool, &mut [Worker]),
) -> usize {
    let piece = rows_per_piece(labels.len(), workers.len());
    pool.for_each(
        labels.chunks_mut(piece).enumerate(),
        workers,
        |worker, (at, labels)| {
            for (row, label) in (at * piece..).zip(labels) {
                let new = screen.label(data, row, worker);
                let old = std::mem::replace(label, new);
                if old == new {
                    continue;
                }
                worker.changed += 1;
                if let Some(moving) = moving {
                    moving.apply(&mut worker.sums, Move { row, old, new });
                }
            }
        },
    );
    let changed = workers.iter_mut().map(|worker| &mut worker.changed);
    changed.map(std::mem::take).sum()
}

/// Adds what all threads have found to the sums.
pub(super) fn take_sums(workers: &mut [Worker], sums: &mut ExactTable) {
    for worker in workers {
        sums.merge(&worker.sums);
        worker.sums.clear();
    }
}

/// The weighted sum of the squared distances of all rows to their own centers.
fn total_distance<T: Element, I: Index>(
    (data, weights): (&Csr<'_, T, I>, Option<&[f64]>),
    own: &OwnDistances<'_>,
    grid: Grid,
    labels: &[i32],
    (pool, workers): (&Pool, &mut [Worker]),
) -> f64 {
    let piece = rows_per_piece(labels.len(), workers.len());
    pool.for_each(
        labels.chunks(piece).enumerate(),
        workers,
        |worker, (at, labels)| {
            for (row, &label) in (at * piece..).zip(labels) {
                let distance = own.distance(data, (row, label), &mut worker.row);
                let weight = weights.map_or(1.0, |weights| weights[row]);
                worker.inertia.add(grid, distance * weight);
            }
        },
    );
    take_inertia(workers)
}

/// Adds what all threads have found to the inertia.
pub(super) fn take_inertia(workers: &mut [Worker]) -> f64 {
    let mut total = ExactSum::default();
    for worker in workers {
        total.merge(std::mem::take(&mut worker.inertia));
    }
    total.value()
}

/// The `count` rows farthest from their centers with their squared distances, farthest first: those of the dense data.
///
/// Distances that are known up to rounding say which rows may be among them; these alone are made dense.
fn farthest<T: Element, I: Index>(
    data: &Csr<'_, T, I>,
    own: &OwnDistances<'_>,
    labels: &[i32],
    count: usize,
    (pool, workers): (&Pool, &mut [Worker]),
) -> Vec<(f64, usize)> {
    let piece = rows_per_piece(labels.len(), workers.len());
    let mut search = |least: f64| {
        for worker in &mut *workers {
            worker.farthest = Farthest::new(count);
        }
        pool.for_each(
            labels.chunks(piece).enumerate(),
            &mut *workers,
            |worker, (at, labels)| {
                for at in (at * piece..).zip(labels.iter().copied()) {
                    let mut distance = own.distance(data, at, &mut worker.row);
                    if distance >= least {
                        distance = own.dense(data, at, &mut worker.row);
                    }
                    worker.farthest.consider(distance, at.0);
                }
            },
        );
        let kept = workers.iter_mut();
        let kept = kept.map(|worker| std::mem::replace(&mut worker.farthest, Farthest::new(0)));
        Farthest::first(kept.collect(), count)
    };
    let least = search(f64::INFINITY).pop().map_or(0.0, |(least, _)| least);
    search(least * (1.0 - 2.0 * own.slack()))
}
