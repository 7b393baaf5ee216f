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
use crate::error::{Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::pool::{Pool, rows_per_piece};
use crate::random::Random;
use crate::view::Rows;

/// Rows of a bucket, about; any number gives the same order.
const ROWS: usize = 256;
/// Buckets at most, so that a number of 16 bits tells them apart and what is known of each stays in a core's cache.
const MOST: usize = 2048;
/// Heights whose quantiles part the buckets, in units of the number of buckets.
const SAMPLED: usize = 4;
/// Parts of a height that are summed side by side.
pub(crate) const LANES: usize = 8;

const WHAT: &str = "the order of the rows";

/// Data whose rows have an order.
pub(crate) trait Ordered: Copy + Sync {
    fn n_rows(&self) -> usize;
    fn n_columns(&self) -> usize;
    /// The sum of the values of a row times the factors: those of every eighth feature from first to last, then these sums.
    /// `scratch` has room for a row.
    fn height(&self, row: usize, factors: &[f64], scratch: &mut [f64]) -> f64;
    /// Compares the values of two rows, the first feature first.
    fn compare(&self, row: usize, other: usize) -> Ordering;
}

/// The order of the rows of a data set, which every method is given again.
pub(crate) struct Order {
    factors: Vec<f64>,
    /// Bucket of each row.
    buckets: Vec<u16>,
    /// Where each bucket begins among `rows`, and where the last one ends.
    starts: Vec<usize>,
    /// Rows by bucket, those of a sorted one in order.
    rows: Vec<usize>,
    sorted: Vec<bool>,
}

impl Order {
    /// Reads all data once.
    pub(crate) fn new<D: Ordered>(data: D, pool: &Pool) -> Result<Self> {
        let count = n_buckets(data.n_rows());
        if count == 1 {
            return Self::parted(data, Vec::new(), pool);
        }
        let sample = sample_heights(data, count * SAMPLED)?;
        Self::parted(data, quantiles(sample), pool)
    }

    /// The same with the heights that part the buckets given, in ascending order and fewer than [`MOST`].
    pub(crate) fn parted<D: Ordered>(data: D, splits: Vec<f64>, pool: &Pool) -> Result<Self> {
        let n = data.n_rows();
        let count = splits.len() + 1;
        let mut order = Self {
            factors: factors(data.n_columns())?,
            buckets: try_vec(WHAT, n, 0)?,
            starts: try_vec(WHAT, count + 1, 0)?,
            rows: try_vec(WHAT, n, 0)?,
            sorted: try_vec(WHAT, count, false)?,
        };
        if count > 1 {
            order.distribute(data, &Splits::new(splits)?, pool)?;
        }
        order.list();
        Ok(order)
    }

    /// Finds the bucket of each row.
    fn distribute<D: Ordered>(&mut self, data: D, splits: &Splits, pool: &Pool) -> Result<()> {
        let factors = self.factors.as_slice();
        let (n, d) = (data.n_rows(), data.n_columns());
        let threads = pool.useful_threads(n, d * 2 + 64);
        let piece = rows_per_piece(n, threads);
        let mut scratch = vec![try_vec(WHAT, d, 0.0)?; threads];
        pool.for_each(
            self.buckets.chunks_mut(piece).enumerate(),
            &mut scratch,
            |scratch, (at, buckets)| {
                for (row, bucket) in (at * piece..).zip(buckets) {
                    let height = data.height(row, factors, scratch);
                    #[expect(clippy::cast_possible_truncation, reason = "below MOST")]
                    let found = splits.up_to(height) as u16;
                    *bucket = found;
                }
            },
        );
        Ok(())
    }

    /// Lists the rows by bucket.
    fn list(&mut self) {
        for &bucket in &self.buckets {
            self.starts[usize::from(bucket)] += 1;
        }
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        for (row, &bucket) in self.buckets.iter().enumerate().rev() {
            let start = &mut self.starts[usize::from(bucket)];
            *start -= 1;
            self.rows[*start] = row;
        }
    }

    /// Bucket of each row.
    pub(crate) fn buckets(&self) -> &[u16] {
        &self.buckets
    }

    /// The same, taken out.
    pub(crate) fn take_buckets(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.buckets)
    }

    /// Number of buckets.
    pub(crate) fn n_buckets(&self) -> usize {
        self.sorted.len()
    }

    /// The row at a place of the order, which is less than the number of rows.
    pub(crate) fn nth<D: Ordered>(&mut self, data: D, place: usize) -> Result<usize> {
        self.sort(
            data,
            self.starts.partition_point(|&start| start <= place) - 1,
        )?;
        Ok(self.rows[place])
    }

    /// The first row up to which the terms, not negative, sum to more than `target`; `sums` are those of the buckets.
    /// Prefix sums are exact and rounding is monotone, so the answer does not depend on the buckets.
    pub(crate) fn find<D: Ordered>(
        &mut self,
        data: D,
        sums: &[ExactSum],
        grid: Grid,
        target: f64,
        term: impl Fn(usize) -> f64,
    ) -> Result<Option<usize>> {
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
        let Some(bucket) = bucket else {
            return Ok(None);
        };
        let rows = self.in_bucket(data, bucket)?;
        Ok(rows.iter().copied().find(|&row| {
            prefix.add(grid, term(row));
            prefix.value() > target
        }))
    }

    /// The rows of a bucket in order.
    pub(crate) fn in_bucket<D: Ordered>(&mut self, data: D, bucket: usize) -> Result<&[usize]> {
        self.sort(data, bucket)?;
        Ok(&self.rows[self.starts[bucket]..self.starts[bucket + 1]])
    }

    /// The height of a row; `scratch` has room for a row.
    pub(crate) fn height<D: Ordered>(&self, data: D, row: usize, scratch: &mut [f64]) -> f64 {
        data.height(row, &self.factors, scratch)
    }

    /// All rows in order.
    pub(crate) fn into_rows<D: Ordered>(mut self, data: D, pool: &Pool) -> Result<Vec<usize>> {
        let (n, d) = (data.n_rows(), data.n_columns());
        let sizes = self.starts.windows(2).map(|ends| ends[1] - ends[0]);
        let largest = sizes.clone().max().unwrap_or(0);
        let threads = pool.useful_threads(n, d * 2 + 256);
        let mut sorters = (0..threads)
            .map(|_| Sorter::new(d, largest))
            .collect::<Result<Vec<_>>>()?;
        let factors = self.factors.as_slice();
        let mut rest = self.rows.as_mut_slice();
        let buckets = sizes.map(|size| {
            let (bucket, after) = std::mem::take(&mut rest).split_at_mut(size);
            rest = after;
            bucket
        });
        pool.for_each(buckets, &mut sorters, |sorter, rows| {
            sorter.sort((data, factors), rows);
        });
        Ok(self.rows)
    }

    fn sort<D: Ordered>(&mut self, data: D, bucket: usize) -> Result<()> {
        if self.sorted[bucket] {
            return Ok(());
        }
        let rows = &mut self.rows[self.starts[bucket]..self.starts[bucket + 1]];
        let mut sorter = Sorter::new(data.n_columns(), rows.len())?;
        sorter.sort((data, &self.factors), rows);
        self.sorted[bucket] = true;
        Ok(())
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
    let (n, d) = (data.n_rows(), data.n_columns());
    let taken = most.min(n);
    let (factors, mut scratch) = (factors(d)?, try_vec(WHAT, d, 0.0)?);
    let mut sample = try_vec(WHAT, taken, 0.0)?;
    for (i, height) in sample.iter_mut().enumerate() {
        *height = data.height(i * (n / taken), &factors, &mut scratch);
    }
    Ok(sample)
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
struct Sorter {
    /// A row.
    scratch: Vec<f64>,
    /// Heights and rows.
    keyed: Vec<(f64, usize)>,
}

impl Sorter {
    /// For at most so many rows of `d` features.
    fn new(d: usize, rows: usize) -> Result<Self> {
        Ok(Self {
            scratch: try_vec(WHAT, d, 0.0)?,
            keyed: try_vec(WHAT, rows, (0.0, 0))?,
        })
    }

    fn sort<D: Ordered>(&mut self, (data, factors): (D, &[f64]), rows: &mut [usize]) {
        let keyed = &mut self.keyed[..rows.len()];
        for (keyed, &row) in keyed.iter_mut().zip(&*rows) {
            *keyed = (data.height(row, factors, &mut self.scratch), row);
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
    /// In ascending order.
    heights: Vec<f64>,
    lowest: f64,
    cells_per_height: f64,
    /// How many splits lie in cells before each one, cells being equal parts of their range.
    before: Vec<u16>,
}

impl Splits {
    /// Cells a split.
    const CELLS: usize = 2;

    fn new(heights: Vec<f64>) -> Result<Self> {
        let (lowest, highest) = (heights[0], heights[heights.len() - 1]);
        let cells = heights.len() * Self::CELLS;
        let mut splits = Self {
            lowest,
            cells_per_height: cells as f64 / (highest - lowest),
            before: try_vec(WHAT, cells + 1, 0)?,
            heights,
        };
        for at in 0..splits.heights.len() {
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

    /// How many splits are at most a height.
    #[inline(always)]
    fn up_to(&self, height: f64) -> usize {
        let cell = self.cell(height);
        let [first, end] = [self.before[cell], self.before[cell + 1]].map(usize::from);
        first + self.heights[first..end].partition_point(|&split| split <= height)
    }
}

impl<T: Element> Ordered for Rows<'_, T> {
    fn n_rows(&self) -> usize {
        self.n_rows()
    }

    fn n_columns(&self) -> usize {
        self.n_columns()
    }

    fn height(&self, row: usize, factors: &[f64], scratch: &mut [f64]) -> f64 {
        if let Some(values) = self.row(row) {
            return height(values, factors);
        }
        self.read_row(row, scratch);
        height(scratch, factors)
    }

    fn compare(&self, row: usize, other: usize) -> Ordering {
        (0..self.n_columns())
            .filter_map(|column| self.at(row, column).partial_cmp(&self.at(other, column)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// The sum of the values times the factors, the same bits wherever the values lie.
fn height<T: Element>(values: &[T], factors: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (groups, rest) = values.as_chunks::<LANES>();
    let (factors, last) = factors.as_chunks::<LANES>();
    for (group, factors) in groups.iter().zip(factors) {
        add(&mut lanes, group, factors);
    }
    add(&mut lanes, rest, last);
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}

#[inline(always)]
fn add<T: Element>(lanes: &mut [f64; LANES], values: &[T], factors: &[f64]) {
    for (lane, (&value, factor)) in lanes.iter_mut().zip(values.iter().zip(factors)) {
        let value: f64 = value.into();
        *lane += value * factor;
    }
}
