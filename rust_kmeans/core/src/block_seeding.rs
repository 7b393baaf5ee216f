//! Greedy k-means++ over blocks: the part that stays with the rows of one.

use ndarray::{Array2, ArrayView2, Axis};

use crate::assign::{check_columns, check_rows};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::kernel::Isa;
use crate::order::{Order, sample_heights, splits};
use crate::pool::Pool;
use crate::scale::{Scale, check_centers};
use crate::seeding::{Samples, Search, check_number, checked_trials};
use crate::view::Rows;

/// Heights of at most `most` rows of a block: those of all blocks part the order of all rows into buckets
/// ([`bucket_splits`]).
///
/// # Errors
/// [`Error::Empty`], [`Error::Memory`].
pub fn block_heights<T: Element>(data: Rows<'_, T>, most: usize) -> Result<Vec<f64>> {
    data.check_shape()?;
    sample_heights(data, most)
}

/// The heights that part the order of `n_rows` rows into buckets, given those of some of them. Seeds do not depend on them.
#[must_use]
pub fn bucket_splits(heights: Vec<f64>, n_rows: usize) -> Vec<f64> {
    splits(heights, n_rows)
}

/// Rows of a block with the same values and what each counts, which lie one after the other in the order of all rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The first of them.
    pub row: usize,
    /// Where the first lies in the order of the rows of the bucket.
    pub place: usize,
    /// How many they are.
    pub count: usize,
    /// Their height: rows are ordered by it, then by their values.
    pub height: f64,
    /// What each counts.
    pub term: ExactSum,
}

/// What greedy k-means++ ([`crate::kmeans_plusplus`]) keeps of one block. The block stays with the caller, who hands it to
/// every call, unchanged.
///
/// A driver settles from the sums of the buckets of all blocks which bucket a random number falls into, and from the
/// [`Level`]s of that bucket which row it stands for. Terms and potentials are exact: seeds are those of all rows at once,
/// bit for bit, for any split into blocks. Every call may be repeated.
pub struct BlockSearch<T> {
    order: Order,
    buckets: Vec<u16>,
    weight_grid: Grid,
    grid: Grid,
    search: Search<T>,
    most: (usize, usize),
    /// Centers so far, and the trials of the present step: row-major.
    centers: Vec<T>,
    drawn: Array2<T>,
}

impl<T: Element> BlockSearch<T> {
    /// For `n_clusters` centers and `n_local_trials` trials each (`None`: 2 + ⌊ln k⌋). `data` has shape (`n_samples`,
    /// `n_features`); `scale` and `splits` ([`bucket_splits`]) are those of all blocks.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Shape`], [`Error::Parameter`], [`Error::TooLarge`], [`Error::Damaged`] for splits that are
    /// none, [`Error::Memory`].
    pub fn new(
        data: Rows<'_, T>,
        scale: &Scale,
        splits: Vec<f64>,
        (n_clusters, n_local_trials): (usize, Option<usize>),
        (pool, isa): (&Pool, Isa),
    ) -> Result<Self> {
        data.check_shape()?;
        let d = data.n_columns();
        check_columns("the scale", scale.n_features(), d)?;
        if n_clusters == 0 {
            return Err(Error::NoClusters);
        }
        check_number(n_clusters, d)?;
        let trials = checked_trials(n_local_trials, n_clusters)?;
        if !(splits.is_sorted() && splits.iter().all(|split| split.is_finite()))
            || splits.len() > usize::from(u16::MAX) / 2
        {
            return Err(Error::Damaged {
                what: "the list of splits",
                reason: "it is too long, or its heights do not ascend",
            });
        }
        let (order, buckets) = Order::parted(data, splits, pool)?;
        let n_buckets = order.n_buckets();
        let most = (n_clusters, trials);
        Ok(Self {
            search: Search::new(&data, scale, n_buckets, most, (pool, isa.check()?))?,
            buckets,
            order,
            weight_grid: Grid::new(scale.max_weight, scale.n_rows),
            grid: scale.distance_grid(&[]),
            most,
            centers: Vec::new(),
            drawn: Array2::from_shape_simple_fn((0, d), T::default),
        })
    }

    /// The weight of the rows of each bucket.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Memory`].
    pub fn weights(&self, weights: Option<&[f64]>) -> Result<Vec<ExactSum>> {
        self.check_weights(weights)?;
        let mut sums = try_vec("the weights", self.order.n_buckets(), ExactSum::default())?;
        for (row, &bucket) in self.buckets.iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[row]);
            sums[usize::from(bucket)].add(self.weight_grid, weight);
        }
        Ok(sums)
    }

    /// The rows of a bucket in order, equal ones together. A row counts its weight before there is a center, then its
    /// weight times its squared distance to the nearest.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Parameter`] for a bucket that does not exist, [`Error::Memory`].
    pub fn levels(
        &mut self,
        (data, weights): (Rows<'_, T>, Option<&[f64]>),
        bucket: usize,
        pool: &Pool,
    ) -> Result<Vec<Level>> {
        self.check(&data, weights)?;
        self.check_bucket(bucket)?;
        let samples = Samples {
            data,
            weights,
            buckets: &self.buckets,
            pool,
        };
        let rows = self.order.in_bucket(data, bucket)?.to_vec();
        let heights = self.order.heights(data, &rows)?;
        let mut levels: Vec<Level> = Vec::new();
        for (place, (row, height)) in rows.into_iter().zip(heights).enumerate() {
            let (grid, term) = if self.centers.is_empty() {
                let weight = weights.map_or(1.0, |weights| weights[row]);
                (self.weight_grid, weight)
            } else {
                (self.grid, self.search.term(&samples, row))
            };
            let mut sum = ExactSum::default();
            sum.add(grid, term);
            let same = levels
                .last()
                .is_some_and(|last| last.term == sum && same_bits(&data, last.row, row));
            match levels.last_mut() {
                Some(last) if same => last.count += 1,
                _ => levels.push(Level {
                    row,
                    place,
                    count: 1,
                    height,
                    term: sum,
                }),
            }
        }
        Ok(levels)
    }

    /// The row at a place in the order of those of a bucket.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Parameter`] for a bucket or a place that does not exist, [`Error::Memory`].
    pub fn row_at(&mut self, data: Rows<'_, T>, bucket: usize, place: usize) -> Result<usize> {
        self.check(&data, None)?;
        self.check_bucket(bucket)?;
        let rows = self.order.in_bucket(data, bucket)?;
        rows.get(place).copied().ok_or(Error::Parameter {
            name: "place",
            value: place.to_string(),
            rule: "it must be less than the number of rows of the bucket",
        })
    }

    /// Takes the first center (1, `n_features`); the potential of each bucket with it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`], [`Error::Overflow`].
    pub fn start(
        &mut self,
        (data, weights): (Rows<'_, T>, Option<&[f64]>),
        center: ArrayView2<'_, T>,
        pool: &Pool,
    ) -> Result<Vec<ExactSum>> {
        self.check(&data, weights)?;
        check_rows("the first center", center.nrows(), 1)?;
        if self.centers.is_empty() {
            self.take_trials(center)?;
            let samples = Samples {
                data,
                weights,
                buckets: &self.buckets,
                pool,
            };
            self.search
                .start(samples, (&Rows::new(self.drawn.view()), &[0]));
            self.centers.extend(self.drawn.iter().copied());
        }
        Ok(self.search.potentials().to_vec())
    }

    /// The potential of the block with each of some trials (`n_local_trials`, `n_features`) as one more center.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`], [`Error::Overflow`].
    pub fn evaluate(
        &mut self,
        (data, weights): (Rows<'_, T>, Option<&[f64]>),
        trials: ArrayView2<'_, T>,
        pool: &Pool,
    ) -> Result<Vec<ExactSum>> {
        self.check(&data, weights)?;
        check_rows("the trials", trials.nrows(), self.most.1)?;
        self.take_trials(trials)?;
        let samples = Samples {
            data,
            weights,
            buckets: &self.buckets,
            pool,
        };
        let d = data.n_columns();
        let centers = ArrayView2::from_shape((self.centers.len() / d, d), &self.centers);
        let centers = Rows::new(centers.map_err(|_| Error::NoClusters)?);
        let drawn = Rows::new(self.drawn.view());
        let numbers: Vec<_> = (0..centers.n_rows().max(drawn.n_rows())).collect();
        let chosen = (&drawn, &numbers[..drawn.n_rows()]);
        self.search
            .evaluate(samples, (&centers, &numbers[..centers.n_rows()]), chosen);
        let potentials = numbers[..drawn.n_rows()].iter().map(|trial| {
            let center = (&drawn, std::slice::from_ref(trial));
            self.search.potential_with(samples, center, *trial)
        });
        Ok(potentials.collect())
    }

    /// Makes a trial of the last [`BlockSearch::evaluate`] the center of that number; the potential of each bucket with it.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Parameter`] for a trial that does not exist, or a center out of its turn.
    pub fn accept(
        &mut self,
        (data, weights): (Rows<'_, T>, Option<&[f64]>),
        number: usize,
        trial: usize,
        pool: &Pool,
    ) -> Result<Vec<ExactSum>> {
        self.check(&data, weights)?;
        let d = data.n_columns();
        let count = self.centers.len() / d;
        if trial >= self.drawn.nrows() {
            return Err(Error::Parameter {
                name: "trial",
                value: trial.to_string(),
                rule: "it must be one of those evaluated last",
            });
        }
        if number + 1 == count {
            return Ok(self.search.potentials().to_vec());
        }
        if number != count || number >= self.most.0 {
            return Err(Error::Parameter {
                name: "number",
                value: number.to_string(),
                rule: "centers come one after the other, n_clusters at most",
            });
        }
        let samples = Samples {
            data,
            weights,
            buckets: &self.buckets,
            pool,
        };
        let drawn = Rows::new(self.drawn.view());
        self.search
            .accept(samples, (&drawn, &[trial]), (number, trial));
        self.centers.extend(self.drawn.row(trial).iter().copied());
        Ok(self.search.potentials().to_vec())
    }

    /// Keeps rows that may lie anywhere.
    fn take_trials(&mut self, trials: ArrayView2<'_, T>) -> Result<()> {
        let d = self.drawn.ncols();
        check_columns("the trials", trials.ncols(), d)?;
        let values: Vec<f64> = trials.iter().map(|&x| x.into()).collect();
        check_centers(&values, d)?;
        self.drawn = trials.select(Axis(0), &(0..trials.nrows()).collect::<Vec<_>>());
        Ok(())
    }

    fn check_bucket(&self, bucket: usize) -> Result<()> {
        if bucket < self.order.n_buckets() {
            return Ok(());
        }
        Err(Error::Parameter {
            name: "bucket",
            value: bucket.to_string(),
            rule: "there are one more of them than splits",
        })
    }

    fn check(&self, data: &Rows<'_, T>, weights: Option<&[f64]>) -> Result<()> {
        check_columns("the block", data.n_columns(), self.drawn.ncols())?;
        check_rows("the block", data.n_rows(), self.buckets.len())?;
        self.check_weights(weights)
    }

    fn check_weights(&self, weights: Option<&[f64]>) -> Result<()> {
        weights.map_or(Ok(()), |weights| {
            check_rows("sample_weight", weights.len(), self.buckets.len())
        })
    }
}

/// Whether two rows are the same, zeros of either sign told apart.
fn same_bits<T: Element>(data: &Rows<'_, T>, row: usize, other: usize) -> bool {
    let bits = |row, column| -> u64 { Into::<f64>::into(data.at(row, column)).to_bits() };
    (0..data.n_columns()).all(|column| bits(row, column) == bits(other, column))
}
