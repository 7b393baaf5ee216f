//! Lloyd's algorithm, step by step that of scikit-learn's `KMeans(algorithm="lloyd")`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ndarray::{Array2, ArrayView2};

use crate::assign::{
    Count, Job, Worker, assign, assign_bounded, row_major, squared_distance, sum_of_distances,
};
use crate::bounds::{Bounds, squared_shift};
use crate::choice::{Choice, Way};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactTable, Grids};
use crate::interrupt::{self, Interrupt};
use crate::kernel::{Move, Moving, Packed};
use crate::params::{Algorithm, ValidParams};
use crate::problem::Problem;
use crate::view::Rows;

/// The outcome of [`lloyd`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fit<T> {
    /// Shape (`n_clusters`, `n_features`).
    pub centers: Array2<T>,
    /// Index of the nearest center for each sample: what [`crate::predict`] says of the same data.
    pub labels: Vec<i32>,
    /// Weighted sum of squared distances of the samples to their centers, in float64.
    pub inertia: f64,
    /// Iterations done.
    pub n_iter: usize,
    /// Whether the last iteration changed no label.
    pub strict: bool,
    /// What was used: [`Algorithm::Hamerly`] if bounds proved labels in some iteration, else [`Algorithm::Lloyd`].
    pub algorithm: Algorithm,
}

impl<T> Fit<T> {
    /// How many clusters have samples.
    #[must_use]
    pub fn n_distinct(&self) -> usize {
        let mut seen = vec![false; self.centers.nrows()];
        for &label in &self.labels {
            if let Some(seen) = usize::try_from(label).ok().and_then(|at| seen.get_mut(at)) {
                *seen = true;
            }
        }
        seen.into_iter().filter(|&seen| seen).count()
    }
}

/// Moves `centers` (`n_clusters`, `n_features`) to a local optimum for `data` (`n_samples`, `n_features`).
///
/// Each iteration assigns every sample to its nearest center, gives clusters without weight the samples farthest from
/// their centers, and moves centers to the (weighted) means. It stops when no label changes, when the summed squared
/// shift of the centers is at most `tol`, or after `max_iter` iterations; in the last two cases samples are assigned
/// once more, so that labels belong to the centers returned. The interrupt is asked once an iteration.
///
/// The result does not depend on the number of threads or the instruction set.
///
/// Sources: S. P. Lloyd, *Least squares quantization in PCM*, IEEE Trans. Information Theory 28 (1982);
/// scikit-learn's `_kmeans_single_lloyd` and `_relocate_empty_clusters_dense` for the rules.
///
/// # Errors
/// [`Error::TooFewRows`], [`Error::NoClusters`], [`Error::Shape`], [`Error::NotFinite`], [`Error::Weight`],
/// [`Error::NoWeight`], [`Error::Overflow`], [`Error::Memory`], [`Error::Interrupted`].
pub fn lloyd<T: Element>(
    data: Rows<'_, T>,
    centers: ArrayView2<'_, T>,
    weights: Option<&[f64]>,
    params: &ValidParams,
    interrupt: &mut Interrupt<'_>,
) -> Result<Fit<T>> {
    Problem::new(data, centers.nrows(), weights, params)?.lloyd(centers, params.tol, interrupt)
}

/// [`lloyd`] on a problem.
pub(crate) fn iterate<T: Element>(
    problem: &Problem<'_, T>,
    centers: ArrayView2<'_, T>,
    tol: f64,
    interrupt: &mut Interrupt<'_>,
) -> Result<Fit<T>> {
    let (n, d) = (problem.data.n_rows(), problem.data.n_columns());
    let centers = row_major(centers, d)?;
    let k = centers.len() / d;
    if k > n {
        return Err(Error::TooFewRows {
            rows: n,
            clusters: k,
        });
    }
    let mut state = State {
        problem,
        grids: problem.scale.grids(),
        packed: Packed::new(problem.params.isa, k, d)?,
        workers: Worker::team(&problem.pool, &problem.data, k, true)?,
        labels: try_vec("the labels", n, -1)?,
        next: try_vec("the centers", k * d, T::default())?,
        sums: ExactTable::new(k, d + 1)?,
        choice: Choice::new(problem.params.algorithm, n, d, k),
        bounds: None,
        centers,
    };
    let (mut n_iter, mut strict) = (0, false);
    // Whether the labels are those of the centers.
    let mut settled = false;
    while n_iter < problem.params.max_iter {
        interrupt::check(interrupt)?;
        let changed = state.step()?;
        n_iter += 1;
        if changed == 0 {
            strict = true;
            // Without relocation the same labels give the same sums, so the centers did not move either.
            settled = state.centers == state.next;
            break;
        }
        if squared_shift(&state.next, &state.centers) <= tol {
            break;
        }
    }
    if !settled {
        interrupt::check(interrupt)?;
    }
    let inertia = state.finish(settled)?;
    let centers = Array2::from_shape_vec((k, d), state.centers).map_err(|_| Error::TooLarge {
        what: "the centers",
        rows: k,
        columns: d,
    })?;
    Ok(Fit {
        centers,
        labels: state.labels,
        inertia,
        n_iter,
        strict,
        algorithm: state.choice.used(),
    })
}

/// All that changes from iteration to iteration.
struct State<'a, 'd, T> {
    problem: &'a Problem<'d, T>,
    grids: Grids,
    packed: Packed<T>,
    workers: Vec<Worker<T>>,
    labels: Vec<i32>,
    centers: Vec<T>,
    /// Room for new centers; after a step, the old ones.
    next: Vec<T>,
    sums: ExactTable,
    choice: Choice,
    bounds: Option<Bounds<T>>,
}

impl<T: Element> State<'_, '_, T> {
    /// One iteration. Returns how many labels changed.
    fn step(&mut self) -> Result<usize> {
        let Problem { data, weights, .. } = self.problem;
        self.packed.load(&self.centers, &self.problem.scale);
        let Count { changed, screened } = self.relabel(self.choice.next(), true)?;
        self.choice.observe(changed, screened);
        for worker in &mut self.workers {
            worker.drain_into(&mut self.sums);
        }
        let step = Step {
            moving: Moving {
                data,
                weights: *weights,
                grids: &self.grids,
            },
            packed: &self.packed,
            labels: &self.labels,
        };
        let d = data.n_columns();
        match step.relocate_empty_clusters(&self.sums)? {
            Some(relocated) => means(&relocated, d, &mut self.next),
            None => means(&self.sums, d, &mut self.next),
        }
        if let Some(bounds) = &mut self.bounds {
            bounds.drift.advance(&self.centers, &self.next);
        }
        std::mem::swap(&mut self.centers, &mut self.next);
        Ok(changed)
    }

    /// Labels of the centers as they are, unless the labels are `settled`; the inertia.
    fn finish(&mut self, settled: bool) -> Result<f64> {
        self.packed.load(&self.centers, &self.problem.scale);
        if !settled {
            // Margins stored now would not be read again.
            let way = match self.choice.next() {
                Way::Fill => Way::Dense,
                way => way,
            };
            self.relabel(way, false)?;
        }
        let Problem {
            data,
            weights,
            scale,
            pool,
            ..
        } = self.problem;
        let centers = self.packed.exact();
        let grid = scale.distance_grid(centers);
        let how = (grid, self.problem.params.isa);
        let team = (pool, self.workers.as_mut_slice());
        Ok(sum_of_distances(data, *weights, centers, &self.labels, how, team).value())
    }

    /// Relabels all rows in a given way, with sums if they are wanted; makes room for bounds when they are needed first.
    fn relabel(&mut self, way: Way, with_sums: bool) -> Result<Count> {
        let job = Job {
            packed: &self.packed,
            data: &self.problem.data,
            moving: with_sums.then_some(Moving {
                data: &self.problem.data,
                weights: self.problem.weights,
                grids: &self.grids,
            }),
        };
        let team = (&self.problem.pool, self.workers.as_mut_slice());
        if way == Way::Dense {
            return Ok(assign(&job, &mut self.labels, team));
        }
        let bounds = match &mut self.bounds {
            Some(bounds) => bounds,
            none => none.insert(Bounds::new(self.labels.len(), self.packed.k())?),
        };
        if way == Way::Fill {
            bounds.drift.reset();
        }
        let trust = way == Way::Bounded;
        Ok(assign_bounded(&job, &mut self.labels, bounds, trust, team))
    }
}

/// What the update of one iteration reads.
struct Step<'a, 'd, T> {
    moving: Moving<'a, 'd, T>,
    labels: &'a [i32],
    /// The centers the labels belong to.
    packed: &'a Packed<T>,
}

impl<T: Element> Step<'_, '_, T> {
    /// Sums in which each cluster without weight has got one of the samples farthest from their centers (farthest
    /// first, ties to the lowest index), taken from the sum of its cluster. Labels stay. `None` if no cluster is empty
    /// or all samples lie on their centers.
    fn relocate_empty_clusters(&self, sums: &ExactTable) -> Result<Option<ExactTable>> {
        let d = self.moving.data.n_columns();
        let k = self.packed.k();
        let empty: Vec<_> = (0..k).filter(|&c| sums.value(c, d) == 0.0).collect();
        if empty.is_empty() {
            return Ok(None);
        }
        let farthest = self.farthest(empty.len())?;
        if farthest
            .first()
            .is_none_or(|&(distance, _)| distance == 0.0)
        {
            return Ok(None);
        }
        let mut relocated = sums.clone();
        for (&new, &(_, row)) in empty.iter().zip(&farthest) {
            relocated.clear_row(new);
            let (old, new) = (self.labels[row], i32::try_from(new).unwrap_or(0));
            let moves = [Move { row, old, new }];
            self.packed.move_rows(&mut relocated, &self.moving, &moves);
        }
        Ok(Some(relocated))
    }

    /// The `count` samples farthest from their centers with their squared distances, farthest first.
    fn farthest(&self, count: usize) -> Result<Vec<(f64, usize)>> {
        let d = self.moving.data.n_columns();
        let mut row = try_vec("a row", d, 0.0)?;
        let centers = self.packed.exact();
        // Distances are not negative, and the bits of such numbers are ordered as the numbers are. The heap's top is
        // the nearest kept so far, of equals the one with the highest index.
        let mut kept: BinaryHeap<Reverse<(u64, Reverse<usize>)>> =
            BinaryHeap::with_capacity(count + 1);
        for (i, &label) in self.labels.iter().enumerate() {
            self.moving.data.read_row(i, &mut row);
            let center = usize::try_from(label).unwrap_or(0) * d;
            let distance = squared_distance(&row, &centers[center..center + d]);
            kept.push(Reverse((distance.to_bits(), Reverse(i))));
            if kept.len() > count {
                kept.pop();
            }
        }
        let sorted = kept.into_sorted_vec();
        Ok(sorted
            .into_iter()
            .map(|Reverse((bits, Reverse(i)))| (f64::from_bits(bits), i))
            .collect())
    }
}

/// The mean of each cluster; a cluster without weight goes to the center of the heaviest, as scikit-learn intends.
fn means<T: Element>(sums: &ExactTable, d: usize, out: &mut [T]) {
    let mut heaviest = (0.0, 0);
    let mut some_empty = false;
    for (c, out) in out.chunks_exact_mut(d).enumerate() {
        let weight = sums.value(c, d);
        if weight > heaviest.0 {
            heaviest = (weight, c);
        }
        if weight > 0.0 {
            for (out, sum) in out.iter_mut().zip(sums.values(c)) {
                *out = T::from_f64(sum / weight);
            }
        } else {
            some_empty = true;
        }
    }
    if some_empty {
        for c in (0..out.len() / d).filter(|&c| sums.value(c, d) <= 0.0) {
            out.copy_within(heaviest.1 * d..(heaviest.1 + 1) * d, c * d);
        }
    }
}
