//! Lloyd's algorithm, step by step that of scikit-learn's `KMeans(algorithm="lloyd")`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ndarray::{Array2, ArrayView2};

use crate::assign::{Worker, assign, row_major, squared_distance, sum_of_distances, weighted_row};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactTable, Grids};
use crate::interrupt::{self, Interrupt};
use crate::kernel::Packed;
use crate::params::ValidParams;
use crate::pool::Pool;
use crate::scale::Scale;
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
    data.check_shape()?;
    let (n, d) = (data.n_rows(), data.n_columns());
    let mut centers = row_major(centers, d)?;
    let k = centers.len() / d;
    if k > n {
        return Err(Error::TooFewRows {
            rows: n,
            clusters: k,
        });
    }
    let pool = Pool::new(params.n_threads)?;
    let scale = Scale::of(data, weights, &pool)?;
    if !scale.weighty {
        return Err(Error::NoWeight);
    }

    let mut packed = Packed::new(params.isa, k, d)?;
    let mut workers = Worker::team(&pool, &data, k, true)?;
    let mut labels = try_vec("the labels", n, -1)?;
    let mut next = try_vec("the centers", k * d, T::default())?;
    let mut sums = ExactTable::new(k, d + 1)?;
    let grids = scale.grids();
    let (mut n_iter, mut strict) = (0, false);
    // Whether the labels are those of the centers.
    let mut settled = false;
    while n_iter < params.max_iter {
        interrupt::check(interrupt)?;
        packed.load(&centers, &scale);
        let changed = assign(
            &packed,
            &data,
            weights,
            Some(&grids),
            &mut labels,
            (&pool, &mut workers),
        );
        for worker in &mut workers {
            worker.drain_into(&mut sums);
        }
        let step = Step {
            data: &data,
            weights,
            grids: &grids,
            labels: &labels,
            centers: packed.exact(),
        };
        match step.relocate_empty_clusters(&sums)? {
            Some(relocated) => means(&relocated, d, &mut next),
            None => means(&sums, d, &mut next),
        }
        let shift = squared_shift(&centers, &next);
        std::mem::swap(&mut centers, &mut next);
        n_iter += 1;
        if changed == 0 {
            strict = true;
            // Without relocation the same labels give the same sums, so the centers did not move either.
            settled = centers == next;
            break;
        }
        if shift <= params.tol {
            break;
        }
    }
    packed.load(&centers, &scale);
    if !settled {
        interrupt::check(interrupt)?;
        assign(
            &packed,
            &data,
            None,
            None,
            &mut labels,
            (&pool, &mut workers),
        );
    }
    let grid = scale.distance_grid(packed.exact());
    let inertia = sum_of_distances(
        &data,
        weights,
        packed.exact(),
        &labels,
        (grid, &pool, &mut workers),
    )
    .value();
    let centers = Array2::from_shape_vec((k, d), centers).map_err(|_| Error::TooLarge {
        what: "the centers",
        rows: k,
        columns: d,
    })?;
    Ok(Fit {
        centers,
        labels,
        inertia,
        n_iter,
        strict,
    })
}

/// What the update of one iteration reads.
struct Step<'a, 'd, T> {
    data: &'a Rows<'d, T>,
    weights: Option<&'a [f64]>,
    grids: &'a Grids,
    labels: &'a [i32],
    /// The centers the labels belong to.
    centers: &'a [f64],
}

impl<T: Element> Step<'_, '_, T> {
    /// Sums in which each cluster without weight has got one of the samples farthest from their centers (farthest
    /// first, ties to the lowest index), taken from the sum of its cluster. Labels stay. `None` if no cluster is empty
    /// or all samples lie on their centers.
    fn relocate_empty_clusters(&self, sums: &ExactTable) -> Result<Option<ExactTable>> {
        let d = self.data.n_columns();
        let k = self.centers.len() / d;
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
        let mut row = try_vec("a row", d + 1, 0.0)?;
        for (&cluster, &(_, sample)) in empty.iter().zip(&farthest) {
            weighted_row(self.data, sample, self.weights, &mut row);
            let old = usize::try_from(self.labels[sample]).unwrap_or(0);
            relocated.subtract(self.grids, old, &row);
            relocated.clear_row(cluster);
            relocated.add(self.grids, cluster, &row);
        }
        Ok(Some(relocated))
    }

    /// The `count` samples farthest from their centers with their squared distances, farthest first.
    fn farthest(&self, count: usize) -> Result<Vec<(f64, usize)>> {
        let d = self.data.n_columns();
        let mut row = try_vec("a row", d, 0.0)?;
        // Distances are not negative, and the bits of such numbers are ordered as the numbers are. The heap's top is
        // the nearest kept so far, of equals the one with the highest index.
        let mut kept: BinaryHeap<Reverse<(u64, Reverse<usize>)>> =
            BinaryHeap::with_capacity(count + 1);
        for (i, &label) in self.labels.iter().enumerate() {
            self.data.read_row(i, &mut row);
            let center = usize::try_from(label).unwrap_or(0) * d;
            let distance = squared_distance(&row, &self.centers[center..center + d]);
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

/// Σ over centers of ‖new − old‖², in float64.
fn squared_shift<T: Element>(old: &[T], new: &[T]) -> f64 {
    old.iter()
        .zip(new)
        .map(|(&old, &new)| {
            let (old, new): (f64, f64) = (old.into(), new.into());
            (new - old) * (new - old)
        })
        .sum()
}
