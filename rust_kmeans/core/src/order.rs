//! Rows in an order that follows from their values alone, so that what is drawn from it does not depend on the order of
//! the data.
//!
//! # The order
//! By height: the sum of the features, each times a fixed factor from 1 to 2. Rows of the same height lie in the order of
//! their values, the first feature first; equal rows in that of the data. Rounding the data moves a row past few others.
//!
//! To sort all rows would take longer than to draw some from them. They are distributed to buckets of neighbouring heights,
//! and a bucket is sorted once a draw falls into it, or all are side by side where draws will be many.

use std::cmp::Ordering;

use crate::element::Element;
use crate::error::{Result, try_vec, try_zeros};
use crate::exact_sum::{ExactSum, Grid};
use crate::kernel::{BLOCK, Heights};
use crate::pool::{Pool, rows_per_piece};
use crate::random::Random;
use crate::view::Rows;

/// Rows of a bucket, about; any number gives the same order.
const ROWS: usize = 256;
/// Buckets at most, so that a number of 16 bits tells them apart and what is known of each stays in a core's cache.
const MOST: usize = 2048;
/// Heights whose quantiles part the buckets, in units of the number of buckets.
const SAMPLED: usize = 4;
/// Rows of a piece at most, so that 16 bits name a row of it.
const PIECE: usize = 1 << 15;

const WHAT: &str = "the order of the rows";

/// Data whose rows have an order.
pub(crate) trait Ordered: Copy + Sync {
    /// What heights are computed in.
    type Scratch: Send;

    fn n_rows(&self) -> usize;
    fn n_columns(&self) -> usize;
    fn scratch(&self) -> Result<Self::Scratch>;
    /// Of as many rows of a batch as there is room for, at most a block, the sum of the values times the factors: those of
    /// every eighth feature from first to last, then these sums.
    fn heights(
        &self,
        batch: Batch<'_>,
        factors: &[f64],
        scratch: &mut Self::Scratch,
        out: &mut [f64],
    );
    /// Compares the values of two rows, the first feature first.
    fn compare(&self, row: usize, other: usize) -> Ordering;
}

/// Some rows: those from one on, or any.
#[derive(Clone, Copy)]
pub(crate) enum Batch<'a> {
    From(usize),
    Listed(&'a [usize]),
}

impl Batch<'_> {
    pub(crate) fn row(self, i: usize) -> usize {
        match self {
            Self::From(first) => first + i,
            Self::Listed(rows) => rows[i],
        }
    }
}

/// The order of the rows of a data set, which every method is given again.
pub(crate) struct Order {
    factors: Vec<f64>,
    n_buckets: usize,
    /// The rows are listed piece by piece, which threads do on their own and 16 bits a row suffice for.
    piece: usize,
    /// The rows of each piece by bucket, counted from the first of the piece.
    listed: Vec<u16>,
    /// For each piece where each bucket begins among them, and where the last one ends.
    starts: Vec<u16>,
    /// How many rows each bucket has.
    sizes: Vec<usize>,
    /// The rows of a bucket in order, once they were asked for.
    sorted: Vec<Option<Vec<usize>>>,
}

impl Order {
    /// The order, and the bucket of each row. Reads all data once.
    pub(crate) fn new<D: Ordered>(data: D, pool: &Pool) -> Result<(Self, Vec<u16>)> {
        let count = n_buckets(data.n_rows());
        if count == 1 {
            return Self::parted(data, Vec::new(), pool);
        }
        let sample = sample_heights(data, count * SAMPLED)?;
        Self::parted(data, quantiles(sample), pool)
    }

    /// The same with the heights that part the buckets given, in ascending order and fewer than 2¹⁵.
    pub(crate) fn parted<D: Ordered>(
        data: D,
        splits: Vec<f64>,
        pool: &Pool,
    ) -> Result<(Self, Vec<u16>)> {
        let (n, d) = (data.n_rows(), data.n_columns());
        let n_buckets = splits.len() + 1;
        let threads = pool.useful_threads(n, d * 2 + 64);
        let piece = rows_per_piece(n, threads).min(PIECE);
        let mut order = Self {
            factors: factors(d)?,
            n_buckets,
            piece,
            listed: try_zeros(WHAT, n)?,
            starts: try_vec(WHAT, n.div_ceil(piece) * (n_buckets + 1), 0)?,
            sizes: try_vec(WHAT, n_buckets, 0)?,
            sorted: try_vec(WHAT, n_buckets, None)?,
        };
        let mut buckets = try_zeros(WHAT, n)?;
        let splits = Splits::new(splits)?;
        let mut scratch = Vec::with_capacity(threads);
        for _ in 0..threads {
            scratch.push(data.scratch()?);
        }
        let factors = order.factors.as_slice();
        let pieces = buckets
            .chunks_mut(piece)
            .zip(order.listed.chunks_mut(piece))
            .zip(order.starts.chunks_mut(n_buckets + 1));
        pool.for_each(
            pieces.enumerate(),
            &mut scratch,
            |scratch, (at, ((buckets, listed), starts))| {
                if n_buckets > 1 {
                    distribute((data, factors), &splits, scratch, (at * piece, buckets));
                }
                list(buckets, listed, starts);
            },
        );
        for starts in order.starts.chunks(n_buckets + 1) {
            let ends = starts[1..].iter().zip(starts);
            for (size, (&end, &start)) in order.sizes.iter_mut().zip(ends) {
                *size += usize::from(end - start);
            }
        }
        Ok((order, buckets))
    }

    /// Number of buckets.
    pub(crate) fn n_buckets(&self) -> usize {
        self.n_buckets
    }

    /// The row at a place of the order, which is less than the number of rows.
    pub(crate) fn nth<D: Ordered>(&mut self, data: D, place: usize) -> Result<usize> {
        let (mut bucket, mut place) = (0, place);
        while self.sizes[bucket] <= place {
            place -= self.sizes[bucket];
            bucket += 1;
        }
        Ok(self.in_bucket(data, bucket)?[place])
    }

    /// For each target the first row up to which the terms, not negative, sum to more than it; `sums` are those of the
    /// buckets. Prefix sums are exact and rounding is monotone, so the answer does not depend on the buckets.
    pub(crate) fn find<D: Ordered>(
        &mut self,
        (data, pool): (D, &Pool),
        (sums, grid): (&[ExactSum], Grid),
        targets: &[f64],
        term: impl Fn(usize) -> f64,
    ) -> Result<Vec<Option<usize>>> {
        let mut places = Vec::with_capacity(targets.len());
        for &target in targets {
            let mut prefix = ExactSum::default();
            let bucket = sums.iter().position(|&sum| {
                let mut through = prefix;
                through.merge(sum);
                let found = through.value() > target;
                if !found {
                    prefix = through;
                }
                found
            });
            places.push(bucket.map(|bucket| (bucket, prefix)));
        }
        let buckets: Vec<_> = places.iter().flatten().map(|&(bucket, _)| bucket).collect();
        self.sort(data, buckets, pool)?;
        let found = places.into_iter().zip(targets).map(|(place, &target)| {
            let (bucket, mut prefix) = place?;
            let rows = self.sorted[bucket].iter().flatten();
            rows.copied().find(|&row| {
                prefix.add(grid, term(row));
                prefix.value() > target
            })
        });
        Ok(found.collect())
    }

    /// Sorts those of some buckets that were not yet, side by side.
    fn sort<D: Ordered>(&mut self, data: D, mut buckets: Vec<usize>, pool: &Pool) -> Result<()> {
        /// Operations it takes to fetch a row from anywhere and to sort it, about.
        const COST: usize = 6_000;
        buckets.retain(|&bucket| self.sorted[bucket].is_none());
        buckets.sort_unstable();
        buckets.dedup();
        let sizes = buckets.iter().map(|&bucket| self.sizes[bucket]);
        let threads = pool
            .useful_threads(sizes.clone().sum(), COST)
            .min(buckets.len());
        let largest = sizes.clone().max().unwrap_or(0);
        let mut sorters = Vec::with_capacity(threads);
        for _ in 0..threads {
            sorters.push(Sorter::new(data, largest)?);
        }
        let mut sorted = Vec::with_capacity(buckets.len());
        for size in sizes {
            sorted.push(try_vec(WHAT, size, 0)?);
        }
        let pairs = buckets.iter().zip(&mut sorted);
        pool.for_each(pairs, &mut sorters, |sorter, (&bucket, rows)| {
            self.collect(bucket, rows);
            sorter.sort((data, &self.factors), rows);
        });
        for (bucket, rows) in buckets.into_iter().zip(sorted) {
            self.sorted[bucket] = Some(rows);
        }
        Ok(())
    }

    /// The rows of a bucket in order.
    pub(crate) fn in_bucket<D: Ordered>(&mut self, data: D, bucket: usize) -> Result<&[usize]> {
        if self.sorted[bucket].is_none() {
            let mut rows = try_vec(WHAT, self.sizes[bucket], 0)?;
            self.collect(bucket, &mut rows);
            Sorter::new(data, rows.len())?.sort((data, &self.factors), &mut rows);
            self.sorted[bucket] = Some(rows);
        }
        Ok(self.sorted[bucket].as_deref().unwrap_or_default())
    }

    /// The heights of some rows.
    pub(crate) fn heights<D: Ordered>(&self, data: D, rows: &[usize]) -> Result<Vec<f64>> {
        heights(data, &self.factors, rows)
    }

    /// All rows in order.
    pub(crate) fn into_rows<D: Ordered>(self, data: D, pool: &Pool) -> Result<Vec<usize>> {
        let (n, d) = (data.n_rows(), data.n_columns());
        let threads = pool.useful_threads(n, d * 2 + 256);
        let largest = self.sizes.iter().copied().max().unwrap_or(0);
        let mut sorters = Vec::with_capacity(threads);
        for _ in 0..threads {
            sorters.push(Sorter::new(data, largest)?);
        }
        let mut rows = try_vec(WHAT, n, 0)?;
        let mut rest = rows.as_mut_slice();
        let buckets = self.sizes.iter().map(|&size| {
            let (bucket, after) = std::mem::take(&mut rest).split_at_mut(size);
            rest = after;
            bucket
        });
        pool.for_each(
            buckets.enumerate(),
            &mut sorters,
            |sorter, (bucket, rows)| {
                self.collect(bucket, rows);
                sorter.sort((data, &self.factors), rows);
            },
        );
        Ok(rows)
    }

    /// The rows of a bucket, in those of each piece.
    fn parts(&self, bucket: usize) -> impl Iterator<Item = &[u16]> {
        let starts = self.starts.chunks(self.n_buckets + 1);
        self.listed
            .chunks(self.piece)
            .zip(starts)
            .map(move |(listed, starts)| {
                &listed[usize::from(starts[bucket])..usize::from(starts[bucket + 1])]
            })
    }

    /// Writes the rows of a bucket, as many as there is room for, in the order of the data.
    fn collect(&self, bucket: usize, rows: &mut [usize]) {
        let parts = self.parts(bucket).zip((0..).step_by(self.piece));
        let all = parts.flat_map(|(part, first)| part.iter().map(move |&i| first + usize::from(i)));
        for (to, row) in rows.iter_mut().zip(all) {
            *to = row;
        }
    }
}

/// Finds the buckets of the rows from `first` on.
fn distribute<D: Ordered>(
    (data, factors): (D, &[f64]),
    splits: &Splits,
    scratch: &mut D::Scratch,
    (first, buckets): (usize, &mut [u16]),
) {
    let mut heights = [0.0; BLOCK];
    for (first, buckets) in (first..).step_by(BLOCK).zip(buckets.chunks_mut(BLOCK)) {
        let heights = &mut heights[..buckets.len()];
        data.heights(Batch::From(first), factors, scratch, heights);
        for (bucket, &height) in buckets.iter_mut().zip(&*heights) {
            *bucket = splits.up_to(height);
        }
    }
}

/// Lists the rows of a piece by bucket.
fn list(buckets: &[u16], listed: &mut [u16], starts: &mut [u16]) {
    for &bucket in buckets {
        starts[usize::from(bucket)] += 1;
    }
    let mut end = 0;
    for start in starts.iter_mut() {
        end += *start;
        *start = end;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a piece has at most PIECE rows"
    )]
    for (row, &bucket) in buckets.iter().enumerate().rev() {
        let start = &mut starts[usize::from(bucket)];
        *start -= 1;
        listed[usize::from(*start)] = row as u16;
    }
}

/// How many buckets the rows of a data set are distributed to.
fn n_buckets(n_rows: usize) -> usize {
    (n_rows / ROWS).clamp(1, MOST)
}

/// What heights are computed with.
fn factors(d: usize) -> Result<Vec<f64>> {
    let mut random = Random::new(0);
    let mut factors = try_vec(WHAT, d, 0.0)?;
    factors.fill_with(|| 1.0 + random.unit());
    Ok(factors)
}

/// The heights of at most so many rows, spread evenly over the data.
pub(crate) fn sample_heights<D: Ordered>(data: D, most: usize) -> Result<Vec<f64>> {
    let n = data.n_rows();
    let taken = most.min(n);
    let mut rows = try_vec(WHAT, taken, 0)?;
    for (i, row) in rows.iter_mut().enumerate() {
        *row = i * (n / taken);
    }
    heights(data, &factors(data.n_columns())?, &rows)
}

fn heights<D: Ordered>(data: D, factors: &[f64], rows: &[usize]) -> Result<Vec<f64>> {
    let mut scratch = data.scratch()?;
    let mut heights = try_vec(WHAT, rows.len(), 0.0)?;
    for (rows, heights) in rows.chunks(BLOCK).zip(heights.chunks_mut(BLOCK)) {
        data.heights(Batch::Listed(rows), factors, &mut scratch, heights);
    }
    Ok(heights)
}

/// Of a sample of heights, those that part it into buckets of [`SAMPLED`] each.
fn quantiles(mut sample: Vec<f64>) -> Vec<f64> {
    sample.sort_unstable_by(f64::total_cmp);
    sample.into_iter().step_by(SAMPLED).skip(1).collect()
}

/// The heights that part the buckets of all rows of some blocks, given those of a sample of them. Any sample makes buckets
/// that give the same order.
pub(crate) fn splits(mut sample: Vec<f64>, n_rows: usize) -> Vec<f64> {
    sample.sort_unstable_by(f64::total_cmp);
    let count = n_buckets(n_rows).min(sample.len());
    (1..count)
        .map(|i| sample[i * sample.len() / count])
        .collect()
}

/// What sorting a bucket needs.
struct Sorter<S> {
    scratch: S,
    /// Heights and rows.
    keyed: Vec<(f64, usize)>,
}

impl<S> Sorter<S> {
    /// For at most so many rows.
    fn new<D: Ordered<Scratch = S>>(data: D, rows: usize) -> Result<Self> {
        Ok(Self {
            scratch: data.scratch()?,
            keyed: try_vec(WHAT, rows, (0.0, 0))?,
        })
    }

    fn sort<D: Ordered<Scratch = S>>(&mut self, (data, factors): (D, &[f64]), rows: &mut [usize]) {
        let keyed = &mut self.keyed[..rows.len()];
        let mut heights = [0.0; BLOCK];
        for (keyed, rows) in keyed.chunks_mut(BLOCK).zip(rows.chunks(BLOCK)) {
            let heights = &mut heights[..rows.len()];
            data.heights(Batch::Listed(rows), factors, &mut self.scratch, heights);
            for (keyed, (&height, &row)) in keyed.iter_mut().zip(heights.iter().zip(rows)) {
                *keyed = (height, row);
            }
        }
        keyed.sort_unstable_by(|(height, row), (other_height, other)| {
            height.total_cmp(other_height).then(row.cmp(other))
        });
        // Rows of one height are nearly always equal, which is found sooner than they are sorted.
        for level in keyed.chunk_by_mut(|(height, _), (other, _)| height.total_cmp(other).is_eq()) {
            if level
                .iter()
                .any(|&(_, row)| data.compare(level[0].1, row).is_ne())
            {
                level.sort_unstable_by(|&(_, row), &(_, other)| {
                    data.compare(row, other).then(row.cmp(&other))
                });
            }
        }
        for (row, &mut (_, sorted)) in rows.iter_mut().zip(keyed) {
            *row = sorted;
        }
    }
}

/// Heights that part the buckets, and where to look for one among them: a search through all would take longer than to
/// compute the height.
struct Splits {
    /// In ascending order, then infinity.
    heights: Vec<f64>,
    lowest: f64,
    cells_per_height: f64,
    /// How many splits lie in cells before each one, cells being equal parts of their range.
    before: Vec<u16>,
}

impl Splits {
    /// Cells a split.
    const CELLS: usize = 4;

    /// Of fewer than 2¹⁵ heights.
    fn new(mut heights: Vec<f64>) -> Result<Self> {
        let [lowest, highest] =
            [heights.first(), heights.last()].map(|end| end.map_or(0.0, |&end| end));
        let cells = heights.len() * Self::CELLS;
        heights.push(f64::INFINITY);
        let mut splits = Self {
            lowest,
            cells_per_height: cells as f64 / (highest - lowest),
            before: try_vec(WHAT, cells + 1, 0)?,
            heights,
        };
        for at in 0..splits.heights.len() - 1 {
            let cell = splits.cell(splits.heights[at]);
            splits.before[cell + 1] += 1;
        }
        for cell in 0..cells {
            splits.before[cell + 1] += splits.before[cell];
        }
        Ok(splits)
    }

    /// The cell of a height: none lies in an earlier one than a lesser height. Where all splits are the same, there are two.
    #[inline(always)]
    fn cell(&self, height: f64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is out of range is meant to be cut at its ends"
        )]
        let cell = ((height - self.lowest) * self.cells_per_height) as usize;
        cell.min(self.before.len() - 2)
    }

    /// How many splits are at most a height. Those of later cells are above it, so that none has to be counted but those of
    /// its own cell: one or two as a rule, which are looked at without a branch that could be foreseen wrongly.
    #[inline(always)]
    fn up_to(&self, height: f64) -> u16 {
        let cell = self.cell(height);
        let mut count = self.before[cell];
        for _ in 0..2 {
            count += u16::from(self.heights[usize::from(count)] <= height);
        }
        let (first, end) = (usize::from(count), usize::from(self.before[cell + 1]));
        if self.heights[first] <= height {
            let rest = self.heights[first..end].partition_point(|&split| split <= height);
            #[expect(clippy::cast_possible_truncation, reason = "fewer than 2¹⁵")]
            let rest = rest as u16;
            count += rest;
        }
        count
    }
}

impl<T: Element> Ordered for Rows<'_, T> {
    type Scratch = Heights<T>;

    fn n_rows(&self) -> usize {
        self.n_rows()
    }

    fn n_columns(&self) -> usize {
        self.n_columns()
    }

    fn scratch(&self) -> Result<Heights<T>> {
        Heights::new(self.n_columns())
    }

    fn heights(
        &self,
        batch: Batch<'_>,
        factors: &[f64],
        scratch: &mut Heights<T>,
        out: &mut [f64],
    ) {
        match batch {
            Batch::From(first) => scratch.compute(&self.source(first, out.len()), factors),
            Batch::Listed(rows) => {
                for &row in rows {
                    self.prefetch(row);
                }
                scratch.compute(&self.listed(rows, &[]), factors);
            }
        }
        out.copy_from_slice(&scratch.out.0[..out.len()]);
    }

    fn compare(&self, row: usize, other: usize) -> Ordering {
        (0..self.n_columns())
            .filter_map(|column| self.at(row, column).partial_cmp(&self.at(other, column)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}
