//! Assignment: labels of blocks of rows, and the sums that go with them.

use ndarray::ArrayView2;

use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, ExactTable, Grid, Grids};
use crate::kernel::{BLOCK, Isa, Packed, Scratch};
use crate::partial::Partial;
use crate::pool::{Pool, rows_per_piece};
use crate::scale::{Scale, check_centers};
use crate::view::Rows;

/// The squared distance that defines labels and inertia: float64, Σⱼ (xⱼ − cⱼ)² summed from the first feature to
/// the last, no fused operations.
#[inline]
#[must_use]
pub fn squared_distance(x: &[f64], center: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (x, c) in x.iter().zip(center) {
        let difference = x - c;
        sum += difference * difference;
    }
    sum
}

/// Labels of a block of rows and its sums: the step that a local fit, a distributed fit and a streaming fit share.
///
/// `data` has shape (`n_samples`, `n_features`), `centers` (`n_clusters`, `n_features`), `weights` one number a sample.
/// `scale` covers all blocks whose partials will be merged ([`Scale::merge`]); `None` takes the block's own. With
/// `check` the block is read once more first, to prove that it is finite and lies within `scale`; a caller that has
/// computed the block's own scale before may leave that out.
///
/// # Errors
/// [`Error::NoClusters`], [`Error::Shape`], [`Error::NotFinite`], [`Error::ScaleMismatch`], and those of
/// [`Scale::of`].
pub fn assign_block<T: Element>(
    data: Rows<'_, T>,
    centers: ArrayView2<'_, T>,
    weights: Option<&[f64]>,
    scale: Option<&Scale>,
    check: bool,
    (pool, isa): (&Pool, Isa),
) -> Result<(Vec<i32>, Partial)> {
    data.check_shape()?;
    let centers = row_major(centers, data.n_columns())?;
    let own = if check || scale.is_none() {
        Some(Scale::of(data, weights, pool)?)
    } else {
        None
    };
    let scale = match (scale, &own) {
        (Some(scale), own) => {
            check_columns("the scale", scale.n_features(), data.n_columns())?;
            if let Some(own) = own {
                scale.check_covers(own)?;
            } else if let Some(weights) = weights {
                check_rows("sample_weight", weights.len(), data.n_rows())?;
            }
            scale
        }
        (None, Some(own)) => own,
        (None, None) => return Err(Error::ScaleMismatch("no scale")),
    };
    let mut packed = Packed::new(isa, centers.len() / data.n_columns(), data.n_columns())?;
    packed.load(&centers, scale);
    let mut labels = try_vec("the labels", data.n_rows(), -1)?;
    let mut partial = Partial::empty(scale, &packed)?;
    let mut workers = Worker::team(pool, &data, packed.k(), true)?;
    let grids = partial.grids.clone();
    assign(
        &packed,
        &data,
        weights,
        Some(&grids),
        &mut labels,
        (pool, &mut workers),
    );
    for worker in &mut workers {
        worker.drain_into(&mut partial.sums);
    }
    partial.n_rows = data.n_rows() as u64;
    partial.inertia = sum_of_distances(
        &data,
        weights,
        packed.exact(),
        &labels,
        (partial.inertia_grid, pool, &mut workers),
    );
    Ok((labels, partial))
}

/// The label of each row: the index of the nearest center, ties to the lowest.
///
/// # Errors
/// As [`assign_block`].
pub fn predict<T: Element>(
    data: Rows<'_, T>,
    centers: ArrayView2<'_, T>,
    (pool, isa): (&Pool, Isa),
) -> Result<Vec<i32>> {
    data.check_shape()?;
    let centers = row_major(centers, data.n_columns())?;
    let scale = Scale::of(data, None, pool)?;
    let mut packed = Packed::new(isa, centers.len() / data.n_columns(), data.n_columns())?;
    packed.load(&centers, &scale);
    let mut labels = try_vec("the labels", data.n_rows(), -1)?;
    let mut workers = Worker::team(pool, &data, packed.k(), false)?;
    assign(
        &packed,
        &data,
        None,
        None,
        &mut labels,
        (pool, &mut workers),
    );
    Ok(labels)
}

/// The weighted sum of squared distances of each row to the center its label names, in float64; the same bits for any
/// number of threads.
///
/// # Errors
/// As [`assign_block`]; [`Error::Parameter`] for a label outside `0..n_clusters`.
pub fn inertia<T: Element>(
    data: Rows<'_, T>,
    centers: ArrayView2<'_, T>,
    weights: Option<&[f64]>,
    labels: &[i32],
    pool: &Pool,
) -> Result<f64> {
    data.check_shape()?;
    check_rows("labels", labels.len(), data.n_rows())?;
    let exact = widen(&row_major(centers, data.n_columns())?)?;
    let k = exact.len() / data.n_columns();
    if let Some(label) = labels
        .iter()
        .find(|&&label| usize::try_from(label).is_ok_and(|l| l >= k) || label < 0)
    {
        return Err(Error::Parameter {
            name: "labels",
            value: label.to_string(),
            rule: "each must be at least 0 and less than n_clusters",
        });
    }
    let grid = Scale::of(data, weights, pool)?.distance_grid(&exact);
    let mut workers = Worker::team(pool, &data, 0, false)?;
    Ok(sum_of_distances(&data, weights, &exact, labels, (grid, pool, &mut workers)).value())
}

/// What one thread has to itself.
pub(crate) struct Worker<T> {
    scratch: Scratch<T>,
    /// What this thread added and took away since it was last drained: columns of weighted features, then the weight.
    sums: ExactTable,
    changed: usize,
    row: Vec<f64>,
    inertia: ExactSum,
}

impl<T: Element> Worker<T> {
    /// As many as there is work for; with room for sums only if they are wanted.
    pub(crate) fn team(
        pool: &Pool,
        data: &Rows<'_, T>,
        k: usize,
        with_sums: bool,
    ) -> Result<Vec<Self>> {
        let d = data.n_columns();
        let threads = pool.useful_threads(data.n_rows(), d * (k + 4));
        (0..threads)
            .map(|_| {
                Ok(Self {
                    scratch: Scratch::new(d)?,
                    sums: ExactTable::new(if with_sums { k } else { 0 }, d + 1)?,
                    changed: 0,
                    row: try_vec("a row", d + 1, 0.0)?,
                    inertia: ExactSum::default(),
                })
            })
            .collect()
    }

    /// Adds this thread's sums to `total` and forgets them.
    pub(crate) fn drain_into(&mut self, total: &mut ExactTable) {
        total.merge(&self.sums);
        self.sums.clear();
    }
}

/// Relabels all rows; with `grids`, moves each row whose label changed from the sums of its old label (if any, -1 is
/// none) to those of its new one. Returns how many changed.
pub(crate) fn assign<T: Element>(
    packed: &Packed<T>,
    data: &Rows<'_, T>,
    weights: Option<&[f64]>,
    grids: Option<&Grids>,
    labels: &mut [i32],
    (pool, workers): (&Pool, &mut [Worker<T>]),
) -> usize {
    let piece = rows_per_piece(labels.len(), workers.len());
    pool.for_each(
        labels.chunks_mut(piece).enumerate(),
        workers,
        |worker, (at, labels)| {
            for (block, labels) in labels.chunks_mut(BLOCK).enumerate() {
                let first = at * piece + block * BLOCK;
                assign_one_block(packed, data, first, weights, grids, labels, worker);
            }
        },
    );
    workers
        .iter_mut()
        .map(|worker| std::mem::take(&mut worker.changed))
        .sum()
}

fn assign_one_block<T: Element>(
    packed: &Packed<T>,
    data: &Rows<'_, T>,
    first: usize,
    weights: Option<&[f64]>,
    grids: Option<&Grids>,
    labels: &mut [i32],
    worker: &mut Worker<T>,
) {
    let mut unproven = packed.screen(data, first, &mut worker.scratch);
    let mut fresh = worker.scratch.labels();
    while unproven != 0 {
        let i = unproven.trailing_zeros() as usize;
        unproven &= unproven - 1;
        data.read_row(first + i, &mut worker.row);
        fresh[i] = nearest(&worker.row[..data.n_columns()], packed.exact());
    }
    for (i, (label, &fresh)) in labels.iter_mut().zip(&fresh).enumerate() {
        if *label == fresh {
            continue;
        }
        worker.changed += 1;
        if let Some(grids) = grids {
            weighted_row(data, first + i, weights, &mut worker.row);
            if let Ok(old) = usize::try_from(*label) {
                worker.sums.subtract(grids, old, &worker.row);
            }
            worker
                .sums
                .add(grids, usize::try_from(fresh).unwrap_or(0), &worker.row);
        }
        *label = fresh;
    }
}

/// The label of one row by its definition.
fn nearest(x: &[f64], centers: &[f64]) -> i32 {
    let mut best = (f64::INFINITY, 0);
    for (label, center) in (0..).zip(centers.chunks_exact(x.len())) {
        let distance = squared_distance(x, center);
        if distance < best.0 {
            best = (distance, label);
        }
    }
    best.1
}

/// Weighted features of a row, then its weight: what it adds to the sums of its cluster.
pub(crate) fn weighted_row<T: Element>(
    data: &Rows<'_, T>,
    row: usize,
    weights: Option<&[f64]>,
    out: &mut [f64],
) {
    data.read_row(row, out);
    let weight = weights.map_or(1.0, |weights| weights[row]);
    if let Some((last, features)) = out.split_last_mut() {
        if weights.is_some() {
            for x in features {
                *x *= weight;
            }
        }
        *last = weight;
    }
}

/// The weighted sum of squared distances of each row to its center.
pub(crate) fn sum_of_distances<T: Element>(
    data: &Rows<'_, T>,
    weights: Option<&[f64]>,
    centers: &[f64],
    labels: &[i32],
    (grid, pool, workers): (Grid, &Pool, &mut [Worker<T>]),
) -> ExactSum {
    let piece = rows_per_piece(labels.len(), workers.len());
    pool.for_each(
        labels.chunks(piece).enumerate(),
        workers,
        |worker, (at, labels)| {
            for (group, labels) in labels.chunks(TOGETHER).enumerate() {
                let first = at * piece + group * TOGETHER;
                let mut distances = own_distances(data, first, centers, labels, &mut worker.row);
                if let Some(weights) = weights {
                    for (distance, &weight) in distances.iter_mut().zip(&weights[first..]) {
                        *distance *= weight;
                    }
                }
                worker.inertia.add_all(grid, &distances[..labels.len()]);
            }
        },
    );
    let mut total = ExactSum::default();
    for worker in workers {
        total.merge(std::mem::take(&mut worker.inertia));
    }
    total
}

/// Rows whose distances are summed side by side: one alone would wait for each addition.
const TOGETHER: usize = 8;

/// Squared distances of at most [`TOGETHER`] rows to the centers their labels name, each as [`squared_distance`].
fn own_distances<T: Element>(
    data: &Rows<'_, T>,
    first: usize,
    centers: &[f64],
    labels: &[i32],
    row: &mut [f64],
) -> [f64; TOGETHER] {
    let d = data.n_columns();
    let center = |label: i32| {
        let start = usize::try_from(label).unwrap_or(0) * d;
        &centers[start..start + d]
    };
    let mut sums = [0.0; TOGETHER];
    match (
        data.packed(first, TOGETHER),
        <[i32; TOGETHER]>::try_from(labels),
    ) {
        (Some(values), Ok(labels)) => {
            let centers = labels.map(center);
            let rows: [&[T]; TOGETHER] = std::array::from_fn(|i| &values[i * d..(i + 1) * d]);
            for j in 0..d {
                for (sum, (x, center)) in sums.iter_mut().zip(rows.iter().zip(&centers)) {
                    let difference: f64 = x[j].into() - center[j];
                    *sum += difference * difference;
                }
            }
        }
        _ => {
            for (i, (sum, &label)) in sums.iter_mut().zip(labels).enumerate() {
                data.read_row(first + i, row);
                *sum = squared_distance(&row[..d], center(label));
            }
        }
    }
    sums
}

/// The centers in row-major order, checked: at least one, as many columns as the data, finite.
pub(crate) fn row_major<T: Element>(centers: ArrayView2<'_, T>, columns: usize) -> Result<Vec<T>> {
    if centers.nrows() == 0 {
        return Err(Error::NoClusters);
    }
    check_columns("the centers", centers.ncols(), columns)?;
    let mut out = try_vec("the centers", centers.len(), T::default())?;
    for (out, &c) in out.iter_mut().zip(centers) {
        *out = c;
    }
    check_centers(&widen(&out)?, columns)?;
    Ok(out)
}

pub(crate) fn widen<T: Element>(values: &[T]) -> Result<Vec<f64>> {
    let mut out = try_vec("the centers", values.len(), 0.0)?;
    for (out, &x) in out.iter_mut().zip(values) {
        *out = x.into();
    }
    Ok(out)
}

fn check_columns(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Shape {
            what,
            axis: "features",
            found,
            expected,
        })
    }
}

fn check_rows(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Shape {
            what,
            axis: "entries",
            found,
            expected,
        })
    }
}
