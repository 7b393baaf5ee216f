//! Assignment: labels of blocks of rows, and the sums that go with them.

use std::ops::Range;

use ndarray::ArrayView2;

use crate::bounds::{Drift, Totals};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, ExactTable, Grid};
use crate::kernel::{
    BLOCK, Grouped, Isa, Move, Moving, Packed, Scratch, WholeBlock, differing, own_distances,
};
use crate::partial::Partial;
use crate::pool::{Pool, cost, rows_per_piece};
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
    let mut workers = Worker::team(pool, &data, (packed.k(), isa), 1)?;
    Worker::open(&mut workers, 0, packed.k())?;
    let grids = partial.grids.clone();
    let job = Job {
        run: 0,
        packed: &packed,
        data: &data,
        weights,
        moving: Some(Moving {
            data: &data,
            weights,
            grids: &grids,
        }),
    };
    let inertia = Some(partial.inertia_grid);
    let visit = Visit::new(job, &mut labels, How::Dense, inertia);
    assign(vec![visit], (pool, &mut workers));
    partial.n_rows = data.n_rows() as u64;
    partial.inertia = Some(Found::take(&mut workers, 0, &mut partial.sums).inertia);
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
    let mut workers = Worker::team(pool, &data, (packed.k(), isa), 1)?;
    let job = Job {
        run: 0,
        packed: &packed,
        data: &data,
        weights: None,
        moving: None,
    };
    let visit = Visit::new(job, &mut labels, How::Dense, None);
    assign(vec![visit], (pool, &mut workers));
    Ok(labels)
}

/// The weighted sum of squared distances of each row to the center its label names, in float64; the same bits for any
/// number of threads and any instruction set. A distance of 16 features or more is summed as sixteen sums side by side.
///
/// # Errors
/// As [`assign_block`]; [`Error::Parameter`] for a label outside `0..n_clusters`.
pub fn inertia<T: Element>(
    data: Rows<'_, T>,
    centers: ArrayView2<'_, T>,
    weights: Option<&[f64]>,
    labels: &[i32],
    (pool, isa): (&Pool, Isa),
) -> Result<f64> {
    data.check_shape()?;
    let exact = widen(&row_major(centers, data.n_columns())?)?;
    check_labels(labels, data.n_rows(), exact.len() / data.n_columns())?;
    let grid = Scale::of(data, weights, pool)?.distance_grid(&exact);
    let mut workers = Worker::team(pool, &data, (0, isa), 1)?;
    let piece = rows_per_piece(labels.len(), workers.len());
    let own = Own {
        data: &data,
        weights,
        centers: &exact,
        isa: isa.check()?,
    };
    pool.for_each(
        labels.chunks(piece).enumerate(),
        &mut workers,
        |worker, (at, labels)| {
            own.add_distances(grid, at * piece, labels, &mut worker.tallies[0].inertia);
        },
    );
    let found = Found::take(&mut workers, 0, &mut ExactTable::default());
    Ok(found.inertia.value())
}

/// What one thread has to itself.
pub(crate) struct Worker<T> {
    scratch: Scratch<T>,
    /// Labels and margins of the last block screened.
    fresh: [i32; BLOCK],
    margins: [T; BLOCK],
    /// Rows of the block that change their cluster.
    moves: [Move; BLOCK],
    row: Vec<f64>,
    whole: WholeBlock<T>,
    /// One for each run.
    tallies: Vec<Tally>,
}

/// What one thread has counted and summed for one run since that was last taken.
#[derive(Default)]
struct Tally {
    /// Added and taken away: columns of weighted features, then the weight.
    sums: ExactTable,
    changed: usize,
    screened: usize,
    pairs: usize,
    inertia: ExactSum,
}

impl<T: Element> Worker<T> {
    /// As many as there is work for with at most `k` centers, with a tally for each of `runs`, none with room for sums.
    pub(crate) fn team(
        pool: &Pool,
        data: &Rows<'_, T>,
        (k, isa): (usize, Isa),
        runs: usize,
    ) -> Result<Vec<Self>> {
        let d = data.n_columns();
        let threads = pool.useful_threads(data.n_rows(), cost(d, k));
        (0..threads)
            .map(|_| {
                Ok(Self {
                    scratch: Scratch::new(isa, k, d)?,
                    fresh: [0; BLOCK],
                    margins: [T::default(); BLOCK],
                    moves: [Move::default(); BLOCK],
                    row: try_vec("a row", d, 0.0)?,
                    whole: WholeBlock::new(),
                    tallies: (0..runs).map(|_| Tally::default()).collect(),
                })
            })
            .collect()
    }

    /// Makes room for the sums of a run with `k` centers.
    pub(crate) fn open(team: &mut [Self], run: usize, k: usize) -> Result<()> {
        for worker in team {
            worker.tallies[run].sums = ExactTable::new(k, worker.row.len() + 1)?;
        }
        Ok(())
    }

    /// Gives back the room of a run that is over.
    pub(crate) fn close(team: &mut [Self], run: usize) {
        for worker in team {
            worker.tallies[run] = Tally::default();
        }
    }
}

/// What a pass found for one run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// Rows whose label changed.
    pub(crate) changed: usize,
    /// Rows the kernel screened.
    pub(crate) screened: usize,
    /// What comparing them with centers cost, for all rows together, in scores computed in the type of the data.
    pub(crate) pairs: usize,
    /// Where it was wanted.
    pub(crate) inertia: ExactSum,
}

impl Found {
    /// Takes what all threads found for a run; what they added and took away goes into `sums`.
    pub(crate) fn take<T>(team: &mut [Worker<T>], run: usize, sums: &mut ExactTable) -> Self {
        let mut found = Self::default();
        for tally in team.iter_mut().map(|worker| &mut worker.tallies[run]) {
            found.changed += std::mem::take(&mut tally.changed);
            found.screened += std::mem::take(&mut tally.screened);
            found.pairs += std::mem::take(&mut tally.pairs);
            found.inertia.merge(std::mem::take(&mut tally.inertia));
            sums.merge(&tally.sums);
            tally.sums.clear();
        }
        found
    }
}

/// What relabelling reads.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a, 'd, T> {
    /// Which of a worker's tallies counts.
    pub(crate) run: usize,
    pub(crate) packed: &'a Packed<T>,
    pub(crate) data: &'a Rows<'d, T>,
    pub(crate) weights: Option<&'a [f64]>,
    /// Where sums are wanted.
    pub(crate) moving: Option<Moving<'a, 'd, T>>,
}

/// How a pass finds the labels of one run.
pub(crate) enum How<'a, T> {
    /// They stand as they are.
    Kept,
    /// All rows are screened.
    Dense,
    /// As dense, storing margins: for all rows, or with `trust` in the margins stored before, for those alone whose
    /// label the bounds do not prove.
    Bounded {
        margins: &'a mut [T],
        drift: &'a Drift<T>,
        groups: Option<Visited<'a, T>>,
        trust: bool,
    },
}

/// The bounds of some rows by groups of centers ([`crate::bounds::GroupBounds`]).
pub(crate) struct Visited<'a, T> {
    pub(crate) lower: &'a mut [T],
    pub(crate) drift: &'a Totals<T>,
    pub(crate) grouped: &'a Grouped<T>,
}

impl<T: Element> Visited<'_, T> {
    /// Takes the first rows off.
    fn split_off(&mut self, rows: usize) -> Self {
        let bounds = rows * self.grouped.n_groups();
        Self {
            lower: self.lower.split_off_mut(..bounds).unwrap_or_default(),
            ..*self
        }
    }
}

/// What one run does on a pass over some rows: it relabels them and, with the job's grids, moves each row whose label
/// changed from the sums of its old label (if any, -1 is none) to those of its new one.
pub(crate) struct Visit<'a, 'd, T> {
    job: Job<'a, 'd, T>,
    first: usize,
    labels: &'a mut [i32],
    how: How<'a, T>,
    /// Where the inertia of the labels is wanted.
    inertia: Option<Grid>,
    /// Whether there are no labels yet, whatever is in their place.
    is_first: bool,
}

/// Blocks whose bounds are tested at a time.
pub(crate) const TESTED: usize = 16;

/// Bytes of X that stay in a core's second-level cache while several runs look at them, beside the centers and sums of
/// all, for which there is as much room again.
const SHARED_BYTES: usize = 256 << 10;

/// One pass over the rows for any number of runs. Runs that look at all rows do so together, on pieces of X small enough
/// to stay in the cache between two runs; those that skip rows read little of X, and want pieces with enough rows left to
/// fill blocks.
pub(crate) fn assign<T: Element>(
    visits: Vec<Visit<'_, '_, T>>,
    (pool, workers): (&Pool, &mut [Worker<T>]),
) {
    let rows = visits.first().map_or(0, |visit| visit.labels.len());
    let piece = rows_per_piece(rows, workers.len());
    let (whole, skipping): (Vec<_>, Vec<_>) = visits.into_iter().partition(Visit::reads_all);
    let shared = rows_per_shared_piece(&whole).map_or(piece, |shared| shared.min(piece));
    pool.for_each(
        pieces(whole, shared).chain(pieces(skipping, piece)),
        workers,
        |worker, visits| {
            for visit in visits {
                visit.work(worker);
            }
        },
    );
}

/// Rows for which a piece of X stays in the cache, if more than one look is taken at it and the centers leave room.
fn rows_per_shared_piece<T: Element>(visits: &[Visit<'_, '_, T>]) -> Option<usize> {
    let looks: usize = visits.iter().map(Visit::looks).sum();
    let columns = visits.first()?.job.data.n_columns();
    let centers: usize = visits.iter().map(|visit| visit.job.packed.k()).sum();
    let bytes = columns * size_of::<T>();
    let center = bytes + (columns + 1) * 2 * size_of::<f64>();
    let fits = centers.saturating_mul(center) <= SHARED_BYTES;
    (looks > 1 && fits).then(|| (SHARED_BYTES / bytes / BLOCK).max(1) * BLOCK)
}

/// The visits of one piece of the rows after the other.
fn pieces<'a, 'd, T: Element>(
    mut visits: Vec<Visit<'a, 'd, T>>,
    piece: usize,
) -> impl Iterator<Item = Vec<Visit<'a, 'd, T>>> {
    std::iter::from_fn(move || {
        visits.first().filter(|visit| !visit.labels.is_empty())?;
        Some(
            visits
                .iter_mut()
                .map(|visit| visit.split_off(piece))
                .collect(),
        )
    })
}

impl<'a, 'd, T: Element> Visit<'a, 'd, T> {
    /// A visit of all rows.
    pub(crate) fn new(
        job: Job<'a, 'd, T>,
        labels: &'a mut [i32],
        how: How<'a, T>,
        inertia: Option<Grid>,
    ) -> Self {
        Self {
            job,
            first: 0,
            labels,
            how,
            inertia,
            is_first: false,
        }
    }

    /// This visit as the first one: nothing has written to the labels, whose pages are then found by the threads that use them.
    pub(crate) fn unlabelled(self) -> Self {
        Self {
            is_first: true,
            ..self
        }
    }

    /// Whether it reads all of X, or only some rows (but for the inertia).
    fn reads_all(&self) -> bool {
        !matches!(self.how, How::Bounded { trust: true, .. })
    }

    /// How often it reads all rows.
    fn looks(&self) -> usize {
        usize::from(matches!(
            self.how,
            How::Dense | How::Bounded { trust: false, .. }
        )) + usize::from(self.inertia.is_some())
    }

    /// Takes the first rows (all, if there are fewer) off this visit.
    fn split_off(&mut self, rows: usize) -> Self {
        let rows = rows.min(self.labels.len());
        let first = self.first;
        self.first += rows;
        Self {
            job: self.job,
            first,
            labels: self.labels.split_off_mut(..rows).unwrap_or_default(),
            how: match &mut self.how {
                How::Kept => How::Kept,
                How::Dense => How::Dense,
                How::Bounded {
                    margins,
                    drift,
                    groups,
                    trust,
                } => How::Bounded {
                    margins: margins.split_off_mut(..rows).unwrap_or_default(),
                    drift,
                    groups: groups.as_mut().map(|groups| groups.split_off(rows)),
                    trust: *trust,
                },
            },
            inertia: self.inertia,
            is_first: self.is_first,
        }
    }

    fn work(self, worker: &mut Worker<T>) {
        let Self {
            job, first, labels, ..
        } = self;
        worker.scratch.restart();
        if self.is_first {
            labels.fill(-1);
        }
        match self.how {
            How::Kept => {}
            How::Dense => job.screen_dense(first, labels, worker),
            How::Bounded {
                margins,
                drift,
                groups,
                trust,
            } => {
                let mut part = Part {
                    first,
                    labels,
                    margins,
                    drift,
                    groups,
                };
                if trust {
                    part.screen_doubtful(&job, worker);
                } else {
                    part.screen_all(&job, worker);
                }
            }
        }
        if let Some(grid) = self.inertia {
            let own = Own {
                data: job.data,
                weights: job.weights,
                centers: job.packed.exact(),
                isa: job.packed.isa(),
            };
            let sum = &mut worker.tallies[job.run].inertia;
            own.add_distances(grid, first, labels, sum);
        }
    }
}

/// A piece of the rows with their bounds.
struct Part<'a, T> {
    first: usize,
    labels: &'a mut [i32],
    margins: &'a mut [T],
    drift: &'a Drift<T>,
    groups: Option<Visited<'a, T>>,
}

impl<T: Element> Part<'_, T> {
    /// Screens all rows. Bounds by groups are left to when a row is first in doubt: many rows never are.
    fn screen_all(&mut self, job: &Job<'_, '_, T>, worker: &mut Worker<T>) {
        if let Some(groups) = &mut self.groups {
            groups.lower.fill(T::from_f64(f64::NEG_INFINITY));
        }
        for first in (0..self.labels.len()).step_by(BLOCK) {
            let rows = first..self.labels.len().min(first + BLOCK);
            self.screen_block(rows, job, worker);
        }
    }

    /// Screens the rows of one block as they lie.
    fn screen_block(&mut self, rows: Range<usize>, job: &Job<'_, '_, T>, worker: &mut Worker<T>) {
        let first = self.first + rows.start;
        job.screen::<true>(job.data.source(first, BLOCK), worker);
        job.relabel(first, &mut self.labels[rows.clone()], worker);
        let found = worker.fresh.iter().zip(&worker.margins);
        for (stored, (&label, &margin)) in self.margins[rows].iter_mut().zip(found) {
            *stored = self.drift.store(label, margin);
        }
    }

    /// Screens blocks with many rows that are not proven as they lie, unless there are bounds by groups, and collects those of
    /// others into full blocks, each screened when the next one is known.
    fn screen_doubtful(&mut self, job: &Job<'_, '_, T>, worker: &mut Worker<T>) {
        /// Of a block, rows in doubt from which on all are screened: reading rows in their order costs less.
        const MANY: u32 = 48;
        let mut listed = [0; 3 * BLOCK];
        let mut count = 0;
        let mut tested = [0; TESTED];
        for first in (0..self.labels.len()).step_by(BLOCK) {
            let rows = first..self.labels.len().min(first + BLOCK);
            let at = first / BLOCK % TESTED;
            if at == 0 {
                let rows = first..self.labels.len().min(first + TESTED * BLOCK);
                let (labels, margins) = (&self.labels[rows.clone()], &self.margins[rows]);
                let table = self.drift.high();
                (job.packed).doubtful(labels, margins, table, &mut tested);
            }
            let mut doubtful = tested[at];
            if doubtful.count_ones() >= MANY && self.groups.is_none() {
                self.screen_block(rows, job, worker);
                continue;
            }
            while doubtful != 0 {
                let row = self.first + first + doubtful.trailing_zeros() as usize;
                doubtful &= doubtful - 1;
                listed[count] = row;
                count += 1;
            }
            if count >= 2 * BLOCK {
                self.screen_listed(listed[..count].split_at(BLOCK), job, worker);
                listed.copy_within(BLOCK.., 0);
                count -= BLOCK;
            }
        }
        let (first, rest) = listed[..count].split_at(count.min(BLOCK));
        if !first.is_empty() {
            self.screen_listed((first, rest), job, worker);
        }
        if !rest.is_empty() {
            self.screen_listed((rest, &[]), job, worker);
        }
    }

    fn screen_listed(
        &mut self,
        (rows, following): (&[usize], &[usize]),
        job: &Job<'_, '_, T>,
        worker: &mut Worker<T>,
    ) {
        let source = job.data.listed(rows, following);
        match &mut self.groups {
            None => job.screen::<true>(source, worker),
            Some(groups) => {
                let mut labels = [0; BLOCK];
                for (label, &row) in labels.iter_mut().zip(rows) {
                    *label = self.labels[row - self.first];
                }
                groups.screen((self.first, rows, &labels), source, job, worker);
            }
        }
        let mut count = 0;
        for (i, &row) in rows.iter().enumerate() {
            let (at, new) = (row - self.first, worker.fresh[i]);
            let old = std::mem::replace(&mut self.labels[at], new);
            worker.moves[count] = Move { row, old, new };
            count += usize::from(old != new);
            self.margins[at] = self.drift.store(new, worker.margins[i]);
        }
        job.move_rows(count, worker);
    }
}

impl<T: Element> Visited<'_, T> {
    /// Labels and margins of listed rows, the first of all being row `first`, proven, into the worker; renews their bounds.
    fn screen(
        &mut self,
        (first, rows, labels): (usize, &[usize], &[i32; BLOCK]),
        source: Source<'_, T>,
        job: &Job<'_, '_, T>,
        worker: &mut Worker<T>,
    ) {
        let count = self.grouped.n_groups();
        let (lines, _) = worker.scratch.lower();
        for (i, &row) in rows.iter().enumerate() {
            let bounds = &self.lower[(row - first) * count..][..count];
            for (group, (line, &bound)) in lines.iter_mut().zip(bounds).enumerate() {
                line.0[i] = self.drift.now(group, bound);
            }
        }
        let found = (job.packed).screen_groups(self.grouped, &source, labels, &mut worker.scratch);
        let tally = &mut worker.tallies[job.run];
        tally.screened += rows.len();
        tally.pairs += found.pairs;
        let (lines, renewed) = worker.scratch.lower();
        for (i, &row) in rows.iter().enumerate() {
            let bounds = &mut self.lower[(row - first) * count..][..count];
            if found.unproven >> i & 1 == 1 {
                bounds.fill(T::from_f64(f64::NEG_INFINITY));
                continue;
            }
            let mut left = renewed[i];
            while left != 0 {
                let group = left.trailing_zeros() as usize;
                left &= left - 1;
                bounds[group] = self.drift.store(group, lines[group].0[i]);
            }
        }
        job.take_screened::<true>(found.unproven, &source, worker);
    }
}

impl<T: Element> Job<'_, '_, T> {
    /// Relabels rows, each screened.
    fn screen_dense(&self, first: usize, labels: &mut [i32], worker: &mut Worker<T>) {
        for (block, labels) in labels.chunks_mut(BLOCK).enumerate() {
            let first = first + block * BLOCK;
            self.screen::<false>(self.data.source(first, BLOCK), worker);
            self.relabel(first, labels, worker);
        }
    }

    /// Labels (and margins) of at most a block of rows, proven, into the worker.
    #[inline]
    fn screen<const MARGINS: bool>(&self, source: Source<'_, T>, worker: &mut Worker<T>) {
        let unproven = self.packed.screen::<MARGINS>(&source, &mut worker.scratch);
        let tally = &mut worker.tallies[self.run];
        tally.screened += source.len();
        tally.pairs += source.len() * self.packed.pairs_a_row(&source);
        self.take_screened::<MARGINS>(unproven, &source, worker);
    }

    /// Takes labels (and margins) from the worker's scratch, and decides those that are not proven.
    #[inline]
    fn take_screened<const MARGINS: bool>(
        &self,
        mut unproven: u64,
        source: &Source<'_, T>,
        worker: &mut Worker<T>,
    ) {
        worker.scratch.write_labels(&mut worker.fresh);
        if MARGINS {
            worker.margins = worker.scratch.margins();
        }
        while unproven != 0 {
            let i = unproven.trailing_zeros() as usize;
            unproven &= unproven - 1;
            self.data.read_row(source.index(i), &mut worker.row);
            worker.fresh[i] = nearest(&worker.row, self.packed.exact());
            worker.margins[i] = T::from_f64(f64::NEG_INFINITY);
        }
    }

    /// Gives the rows from `first` on the worker's fresh labels.
    fn relabel(&self, first: usize, labels: &mut [i32], worker: &mut Worker<T>) {
        let mut changed = differing(self.packed.isa(), labels, &worker.fresh);
        let tally = &mut worker.tallies[self.run];
        if let Some(moving) = &self.moving
            && changed == u64::MAX
            && labels.iter().all(|&label| label < 0)
            && (self.packed).add_block(
                &mut tally.sums,
                moving,
                (first, &worker.fresh),
                &mut worker.whole,
            )
        {
            labels.copy_from_slice(&worker.fresh);
            tally.changed += BLOCK;
            return;
        }
        let mut count = 0;
        while changed != 0 {
            let i = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            let (row, new) = (first + i, worker.fresh[i]);
            let old = std::mem::replace(&mut labels[i], new);
            worker.moves[count] = Move { row, old, new };
            count += 1;
        }
        self.move_rows(count, worker);
    }

    /// Brings the sums up to date with the worker's first `count` moves.
    fn move_rows(&self, count: usize, worker: &mut Worker<T>) {
        let tally = &mut worker.tallies[self.run];
        tally.changed += count;
        if let (Some(moving), true) = (&self.moving, count > 0) {
            let moves = &worker.moves[..count];
            self.packed.move_rows(&mut tally.sums, moving, moves);
        }
    }
}

/// Centers whose distances are summed side by side: one alone would wait for each addition.
const TOGETHER: usize = 8;

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

/// What distances of rows to their own centers are computed from.
struct Own<'a, 'd, T> {
    data: &'a Rows<'d, T>,
    weights: Option<&'a [f64]>,
    centers: &'a [f64],
    isa: Isa,
}

impl<T: Element> Own<'_, '_, T> {
    /// Adds the weighted squared distances of rows to the centers their labels name ([`own_distances`]).
    fn add_distances(&self, grid: Grid, first: usize, labels: &[i32], sum: &mut ExactSum) {
        let mut distances = [0.0; BLOCK];
        for (block, labels) in labels.chunks(BLOCK).enumerate() {
            let first = first + block * BLOCK;
            let centers = (self.centers, labels);
            own_distances(self.isa, self.data, first, centers, &mut distances);
            if let Some(weights) = self.weights {
                for (distance, &weight) in distances.iter_mut().zip(&weights[first..]) {
                    *distance *= weight;
                }
            }
            sum.add_all(grid, &distances[..labels.len()]);
        }
    }
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

pub(crate) fn check_columns(what: &'static str, found: usize, expected: usize) -> Result<()> {
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

/// Refuses labels that are not one a row, or name no center.
pub(crate) fn check_labels(labels: &[i32], rows: usize, k: usize) -> Result<()> {
    check_rows("labels", labels.len(), rows)?;
    let is_center = |&label: &i32| usize::try_from(label).is_ok_and(|label| label < k);
    match labels.iter().find(|label| !is_center(label)) {
        None => Ok(()),
        Some(label) => Err(Error::Parameter {
            name: "labels",
            value: label.to_string(),
            rule: "each must be at least 0 and less than n_clusters",
        }),
    }
}

pub(crate) fn check_rows(what: &'static str, found: usize, expected: usize) -> Result<()> {
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
