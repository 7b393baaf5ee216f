//! Rows drawn with replacement, by weight.

use crate::assign::check_rows;
use crate::error::{Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::order::{Order, Ordered};
use crate::pool::Pool;
use crate::random::Random;
use crate::scale::Scale;

/// Draws rows of one data set with replacement and with probability proportional to weight.
///
/// A random number stands for a part of the weight of the rows in the order of their values, so that what is drawn does not
/// depend on the order of the data: a row of weight w is drawn like w equal rows, one of weight 0 never.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// In the order of their values.
    rows: Vec<usize>,
    /// The weight of all rows up to each one; empty without weights.
    ends: Vec<f64>,
    n_samples: usize,
}

impl Sampler {
    /// Of data and weights that were checked.
    pub(crate) fn new<D: Ordered>(
        data: D,
        weights: Option<&[f64]>,
        scale: &Scale,
        pool: &Pool,
    ) -> Result<Self> {
        let (order, _) = Order::new(data, pool)?;
        let rows = order.into_rows(data, pool)?;
        let Some(weights) = weights else {
            return Ok(Self {
                n_samples: rows.len(),
                ends: Vec::new(),
                rows,
            });
        };
        let grid = Grid::new(scale.max_weight, scale.n_rows);
        let mut ends = try_vec("the weights", rows.len(), 0.0)?;
        let (mut sum, mut positive) = (ExactSum::default(), 0);
        for (end, &row) in ends.iter_mut().zip(&rows) {
            sum.add(grid, weights[row]);
            *end = sum.value();
            positive += usize::from(weights[row] > 0.0);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and cut where float64 numbers lie apart"
        )]
        let total = sum.value().min(1e15) as usize;
        Ok(Self {
            rows,
            ends,
            n_samples: total.max(positive),
        })
    }

    /// Number of rows of the data.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// How many samples the rows stand for: the sum of the weights, but no less than there are rows of positive weight, so
    /// that weights of any scale will do; at most 10¹⁵.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// So many rows.
    ///
    /// # Errors
    /// [`crate::Error::Memory`].
    pub fn draw_many(&self, count: usize, seed: u64) -> Result<Vec<usize>> {
        let mut random = Random::new(seed);
        let mut drawn = try_vec("the drawn rows", count, 0)?;
        drawn.fill_with(|| self.draw(&mut random));
        Ok(drawn)
    }

    /// One row.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let Some(&total) = self.ends.last() else {
            return self.rows[random.below(self.rows.len())];
        };
        let target = random.part_of(total);
        self.rows[self.ends.partition_point(|&end| end <= target)]
    }

    /// Refuses data of another number of rows.
    pub(crate) fn check(&self, n_rows: usize) -> Result<()> {
        check_rows("the sampler", self.n_rows(), n_rows)
    }
}
