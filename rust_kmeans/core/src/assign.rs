//! Assignment: labels of blocks of rows, and the sums that go with them.

use ndarray::ArrayView2;

use crate::bounds::{Bounds, Drift};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, ExactTable, Grid, Grids};
use crate::kernel::{BLOCK, Isa, Packed, Scratch};
use crate::partial::Partial;
use crate::pool::{Pool, rows_per_piece};
use crate::scale::{Scale, check_centers};
use crate::view::{Rows, Source};

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
    let job = Job {
        packed: &packed,
        data: &data,
        weights,
        grids: Some(&grids),
    };
    assign(&job, &mut labels, (pool, &mut workers));
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
    let job = Job {
        packed: &packed,
        data: &data,
        weights: None,
        grids: None,
    };
    assign(&job, &mut labels, (pool, &mut workers));
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
    screened: usize,
    /// Labels and margins of the last block screened.
    fresh: [i32; BLOCK],
    margins: [T; BLOCK],
    row: Vec<f64>,
    terms: Vec<f64>,
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
                    screened: 0,
                    fresh: [0; BLOCK],
                    margins: [T::default(); BLOCK],
                    row: try_vec("a row", d + 1, 0.0)?,
                    terms: try_vec("a row", d + 1, 0.0)?,
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

/// What relabelling reads.
pub(crate) struct Job<'a, 'd, T> {
    pub(crate) packed: &'a Packed<T>,
    pub(crate) data: &'a Rows<'d, T>,
    pub(crate) weights: Option<&'a [f64]>,
    /// Where sums are wanted.
    pub(crate) grids: Option<&'a Grids>,
}

/// What relabelling found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// Rows whose label changed.
    pub(crate) changed: usize,
    /// Rows the kernel screened.
    pub(crate) screened: usize,
}

/// Relabels all rows; with grids, moves each row whose label changed from the sums of its old label (if any, -1 is
/// none) to those of its new one.
pub(crate) fn assign<T: Element>(
    job: &Job<'_, '_, T>,
    labels: &mut [i32],
    (pool, workers): (&Pool, &mut [Worker<T>]),
) -> Count {
    let piece = rows_per_piece(labels.len(), workers.len());
    pool.for_each(
        labels.chunks_mut(piece).enumerate(),
        workers,
        |worker, (at, labels)| {
            for (block, labels) in labels.chunks_mut(BLOCK).enumerate() {
                let first = at * piece + block * BLOCK;
                job.screen::<false>(job.data.source(first, BLOCK), worker);
                let mut changed = differing(labels, &worker.fresh);
                while changed != 0 {
                    let i = changed.trailing_zeros() as usize;
                    changed &= changed - 1;
                    job.relabel(first + i, &mut labels[i], i, worker);
                }
            }
        },
    );
    count(workers)
}

/// As [`assign`], storing margins: for all rows, or for those alone whose label `bounds` do not prove, with `trust` in
/// the margins stored before.
pub(crate) fn assign_bounded<T: Element>(
    job: &Job<'_, '_, T>,
    labels: &mut [i32],
    bounds: &mut Bounds<T>,
    trust: bool,
    (pool, workers): (&Pool, &mut [Worker<T>]),
) -> Count {
    let Bounds { margins, drift } = bounds;
    let drift = &*drift;
    let piece = rows_per_piece(labels.len(), workers.len());
    pool.for_each(
        labels
            .chunks_mut(piece)
            .zip(margins.chunks_mut(piece))
            .enumerate(),
        workers,
        |worker, (at, (labels, margins))| {
            let mut part = Part {
                first: at * piece,
                labels,
                margins,
                drift,
            };
            if trust {
                part.screen_doubtful(job, worker);
            } else {
                part.screen_all(job, worker);
            }
        },
    );
    count(workers)
}

fn count<T>(workers: &mut [Worker<T>]) -> Count {
    let mut total = Count {
        changed: 0,
        screened: 0,
    };
    for worker in workers {
        total.changed += std::mem::take(&mut worker.changed);
        total.screened += std::mem::take(&mut worker.screened);
    }
    total
}

/// A piece of the rows with their bounds.
struct Part<'a, T> {
    first: usize,
    labels: &'a mut [i32],
    margins: &'a mut [T],
    drift: &'a Drift<T>,
}

impl<T: Element> Part<'_, T> {
    fn screen_all(&mut self, job: &Job<'_, '_, T>, worker: &mut Worker<T>) {
        for first in (0..self.labels.len()).step_by(BLOCK) {
            let source = job.data.source(self.first + first, BLOCK);
            job.screen::<true>(source, worker);
            let rows = first..self.labels.len().min(first + BLOCK);
            let labels = &mut self.labels[rows.clone()];
            let mut changed = differing(labels, &worker.fresh);
            while changed != 0 {
                let i = changed.trailing_zeros() as usize;
                changed &= changed - 1;
                job.relabel(self.first + first + i, &mut labels[i], i, worker);
            }
            let found = worker.fresh.iter().zip(&worker.margins);
            for (stored, (&label, &margin)) in self.margins[rows].iter_mut().zip(found) {
                *stored = self.drift.store(label, margin);
            }
        }
    }

    /// Collects the rows that are not proven into full blocks.
    fn screen_doubtful(&mut self, job: &Job<'_, '_, T>, worker: &mut Worker<T>) {
        let mut listed = [0; 2 * BLOCK];
        let mut count = 0;
        for first in (0..self.labels.len()).step_by(BLOCK) {
            let rows = first..self.labels.len().min(first + BLOCK);
            let mut doubtful = job.packed.doubtful(
                &self.labels[rows.clone()],
                &self.margins[rows],
                self.drift.high(),
            );
            while doubtful != 0 {
                let row = self.first + first + doubtful.trailing_zeros() as usize;
                doubtful &= doubtful - 1;
                job.data.prefetch(row);
                listed[count] = row;
                count += 1;
            }
            if count >= BLOCK {
                self.screen_listed(&listed[..BLOCK], job, worker);
                listed.copy_within(BLOCK.., 0);
                count -= BLOCK;
            }
        }
        if count > 0 {
            self.screen_listed(&listed[..count], job, worker);
        }
    }

    fn screen_listed(&mut self, rows: &[usize], job: &Job<'_, '_, T>, worker: &mut Worker<T>) {
        job.screen::<true>(job.data.listed(rows), worker);
        for (i, &row) in rows.iter().enumerate() {
            let at = row - self.first;
            if self.labels[at] != worker.fresh[i] {
                job.relabel(row, &mut self.labels[at], i, worker);
            }
            self.margins[at] = self.drift.store(worker.fresh[i], worker.margins[i]);
        }
    }
}

impl<T: Element> Job<'_, '_, T> {
    /// Labels (and margins) of at most a block of rows, proven, into the worker.
    #[inline]
    fn screen<const MARGINS: bool>(&self, source: Source<'_, T>, worker: &mut Worker<T>) {
        let mut unproven = self.packed.screen::<MARGINS>(&source, &mut worker.scratch);
        worker.screened += source.len();
        worker.fresh = worker.scratch.labels();
        if MARGINS {
            worker.margins = worker.scratch.margins();
        }
        while unproven != 0 {
            let i = unproven.trailing_zeros() as usize;
            unproven &= unproven - 1;
            let d = self.data.n_columns();
            self.data.read_row(source.index(i), &mut worker.row);
            worker.fresh[i] = nearest(&worker.row[..d], self.packed.exact());
            worker.margins[i] = T::from_f64(f64::NEG_INFINITY);
        }
    }

    /// Gives a row the label in place `i` of the worker's block, which is another one.
    fn relabel(&self, row: usize, label: &mut i32, i: usize, worker: &mut Worker<T>) {
        let fresh = worker.fresh[i];
        worker.changed += 1;
        if let Some(grids) = self.grids {
            let clusters = (
                usize::try_from(*label).ok(),
                usize::try_from(fresh).unwrap_or(0),
            );
            let weight = self.weights.map_or(1.0, |weights| weights[row]);
            let (sums, terms) = (&mut worker.sums, &mut worker.terms);
            if let Some(values) = self.data.row(row) {
                self.packed
                    .move_row(sums, grids, clusters, (values, weight), terms);
            } else {
                self.data.read_row(row, &mut worker.row);
                self.packed
                    .move_row(sums, grids, clusters, (&worker.row, weight), terms);
            }
        }
        *label = fresh;
    }
}

/// The bits of the labels that are not the fresh ones.
#[inline]
fn differing(labels: &[i32], fresh: &[i32; BLOCK]) -> u64 {
    let bytes = |labels: &[i32]| {
        let mut different = [0_u8; BLOCK];
        for (out, (a, b)) in different.iter_mut().zip(labels.iter().zip(fresh)) {
            *out = u8::from(a != b);
        }
        different
    };
    let different = match <&[i32; BLOCK]>::try_from(labels) {
        Ok(labels) => bytes(labels),
        Err(_) => bytes(labels),
    };
    if different == [0; BLOCK] {
        return 0;
    }
    let mut bits = 0;
    for (i, &different) in different.iter().enumerate() {
        bits |= u64::from(different) << i;
    }
    bits
}

/// The label of one row by its definition.
fn nearest(x: &[f64], centers: &[f64]) -> i32 {
    let d = x.len();
    let mut best = (f64::INFINITY, 0);
    let mut label = 0;
    let mut consider = |distance: f64| {
        if distance < best.0 {
            best = (distance, label);
        }
        label += 1;
    };
    // Several centers side by side, each summed from first to last: one alone would wait for each addition.
    let mut groups = centers.chunks_exact(TOGETHER * d);
    for group in groups.by_ref() {
        let centers: [&[f64]; TOGETHER] = std::array::from_fn(|i| &group[i * d..(i + 1) * d]);
        let mut sums = [0.0; TOGETHER];
        for (j, &x) in x.iter().enumerate() {
            for (sum, center) in sums.iter_mut().zip(&centers) {
                let difference = x - center[j];
                *sum += difference * difference;
            }
        }
        sums.into_iter().for_each(&mut consider);
    }
    for center in groups.remainder().chunks_exact(d) {
        consider(squared_distance(x, center));
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

/// Distances that are summed side by side: one alone would wait for each addition.
pub(crate) const TOGETHER: usize = 8;

/// Squared distances of at most [`TOGETHER`] rows to the centers their labels name, each as [`squared_distance`].
pub(crate) fn own_distances<T: Element>(
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
