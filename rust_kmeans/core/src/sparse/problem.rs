//! Sparse data read once for everything that a fit does with them.

use ndarray::ArrayView2;

use super::lloyd::{label, lloyd};
use super::minibatch::SparseBatches;
use super::seeding::spread;
use super::view::{Csr, Index};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::interrupt::Interrupt;
use crate::lloyd::Fit;
use crate::minibatch::{MiniBatchFit, Progress, Schedule, descend};
use crate::params::ValidParams;
use crate::pool::{Pool, cost};
use crate::sampler::Sampler;
use crate::scale::Scale;
use crate::seeding::{Seeds, check_enough_rows, draw_rows};

/// [`crate::Problem`] for sparse data: every function gives what it gives for the dense data, with memory for rows and
/// centers but never for the dense data.
#[derive(Debug)]
pub struct SparseProblem<'a, T, I> {
    pub(super) data: Csr<'a, T, I>,
    pub(super) weights: Option<&'a [f64]>,
    pub(super) scale: Scale,
    pub(super) pool: Pool,
    pub(super) params: ValidParams,
}

impl<'a, T: Element, I: Index> SparseProblem<'a, T, I> {
    /// Reads `data` (`n_samples`, `n_features`) once. No more threads are started than a fit with `n_clusters` centers,
    /// the most of any fit to come, can use.
    ///
    /// # Errors
    /// [`Error::NoWeight`], [`Error::Threads`], [`Error::Shape`] (number of weights), [`Error::Weight`],
    /// [`Error::NotFinite`] with the first row and column, [`Error::Overflow`]; [`Error::Memory`].
    pub fn new(
        data: Csr<'a, T, I>,
        n_clusters: usize,
        weights: Option<&'a [f64]>,
        params: &ValidParams,
    ) -> Result<Self> {
        let cost = cost(data.per_row(), n_clusters);
        let pool = params.pool_for(data.n_rows(), cost)?;
        let scale = data.scale(weights)?;
        if !scale.weighty {
            return Err(Error::NoWeight);
        }
        Ok(Self {
            data,
            weights,
            scale,
            pool,
            params: params.clone(),
        })
    }

    /// As [`crate::mean_variance`], up to rounding: (Σ (x − m)² − n·(mean − m)²) / n with m the middle of each range.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn mean_variance(&self) -> Result<f64> {
        let (n, d) = (self.data.n_rows(), self.data.n_columns());
        let what = "the sums of the features";
        let mut sums = try_vec(what, d, (0.0, 0.0, 0_usize))?;
        let ranges = self.scale.lowest.iter().zip(&self.scale.highest);
        let mut middle = try_vec(what, d, 0.0)?;
        for (middle, (lowest, highest)) in middle.iter_mut().zip(ranges) {
            *middle = lowest / 2.0 + highest / 2.0;
        }
        for row in 0..n {
            for (column, x) in self.data.row(row) {
                let (sum, squares, stored) = &mut sums[column];
                let x = x - middle[column];
                *sum += x;
                *squares += x * x;
                *stored += 1;
            }
        }
        let variances = sums
            .iter()
            .zip(middle)
            .map(|(&(sum, squares, stored), middle)| {
                let absent = (n - stored) as f64;
                let mean = (sum - absent * middle) / n as f64;
                ((squares + absent * middle * middle) / n as f64 - mean * mean).max(0.0)
            });
        Ok(variances.sum::<f64>() / d as f64)
    }

    /// As [`crate::kmeans_plusplus`]: the same rows.
    ///
    /// # Errors
    /// As [`crate::kmeans_plusplus`].
    pub fn kmeans_plusplus(
        &self,
        n_clusters: usize,
        seed: u64,
        n_local_trials: Option<usize>,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Seeds<T>> {
        check_enough_rows(self.data.n_rows(), n_clusters)?;
        self.seeds(spread(self, n_clusters, seed, n_local_trials, interrupt)?)
    }

    /// As [`crate::random_rows`]: the same rows.
    ///
    /// # Errors
    /// As [`crate::random_rows`].
    pub fn random_rows(&self, n_clusters: usize, seed: u64) -> Result<Seeds<T>> {
        let n = self.data.n_rows();
        check_enough_rows(n, n_clusters)?;
        self.seeds(draw_rows(n, n_clusters, self.weights, seed)?)
    }

    fn seeds(&self, indices: Vec<usize>) -> Result<Seeds<T>> {
        Ok(Seeds {
            centers: self.data.select(&indices)?,
            indices,
        })
    }

    /// As [`crate::Problem::lloyd_many`], one run after the other. Labels and centers are the same bits; inertias are
    /// those of the dense data up to rounding.
    ///
    /// # Errors
    /// As [`crate::Problem::lloyd_many`].
    pub fn lloyd_many(
        &self,
        starts: &[Vec<ArrayView2<'_, T>>],
        tol: f64,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Vec<Fit<T>>> {
        let mut fits = Vec::with_capacity(starts.len());
        let mut run = 0;
        for starts in starts {
            let mut best: Option<Fit<T>> = None;
            for start in starts {
                let fit = lloyd(self, (run, *start), tol, interrupt)?;
                run += 1;
                if best.as_ref().is_none_or(|best| fit.inertia < best.inertia) {
                    best = Some(fit);
                }
            }
            fits.push(best.ok_or(Error::NoClusters)?);
        }
        Ok(fits)
    }

    /// As [`crate::Problem::sampler`].
    ///
    /// # Errors
    /// As [`crate::Problem::sampler`].
    pub fn sampler(&self) -> Result<Sampler> {
        Sampler::new(&self.data, self.weights, &self.scale, &self.pool)
    }

    /// As [`crate::Problem::minibatch`]. Batches, labels and sums are the same; inertias, which decide when to stop, are those
    /// of the dense data up to rounding. A step takes time for all centers, `n_clusters` times `n_features`.
    ///
    /// # Errors
    /// As [`crate::Problem::minibatch`].
    pub fn minibatch(
        &self,
        sampler: &Sampler,
        centers: ArrayView2<'_, T>,
        schedule: &Schedule,
        seed: u64,
        interrupt: &mut Interrupt<'_>,
        watch: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<MiniBatchFit<T>> {
        let rows = schedule.rows(sampler, self.data.n_rows())?;
        let batches = &mut SparseBatches::new(self, centers.nrows(), Some(rows))?;
        descend(batches, sampler, centers, schedule, seed, interrupt, watch)
    }

    /// The label of each row and the weighted inertia: the same as [`crate::sparse_predict`] and [`crate::sparse_inertia`].
    ///
    /// # Errors
    /// As [`crate::Problem::label`].
    pub fn label(&self, centers: ArrayView2<'_, T>) -> Result<(Vec<i32>, f64)> {
        label(self, centers)
    }
}
