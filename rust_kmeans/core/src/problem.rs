//! Data read once for everything that a fit does with them.

use ndarray::ArrayView2;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::lloyd::{Fit, iterate};
use crate::oversampling::oversample;
use crate::params::ValidParams;
use crate::pool::{Pool, useful_threads};
use crate::scale::Scale;
use crate::seeding::{Seeds, random_rows, spread};
use crate::variance::variance_within;
use crate::view::Rows;

/// Samples and weights that were checked, with their scale and the threads to work on them: seeding, several runs and
/// the tolerance share one pass over the data and one pool.
#[derive(Debug)]
pub struct Problem<'a, T> {
    pub(crate) data: Rows<'a, T>,
    pub(crate) weights: Option<&'a [f64]>,
    pub(crate) scale: Scale,
    pub(crate) pool: Pool,
    pub(crate) params: ValidParams,
}

impl<'a, T: Element> Problem<'a, T> {
    /// Reads `data` (`n_samples`, `n_features`) once. No more threads are started than fits with `n_clusters` centers
    /// can use.
    ///
    /// # Errors
    /// [`Error::NoWeight`], [`Error::Threads`], and those of [`Scale::of`].
    pub fn new<'d: 'a>(
        data: Rows<'d, T>,
        n_clusters: usize,
        weights: Option<&'a [f64]>,
        params: &ValidParams,
    ) -> Result<Self> {
        data.check_shape()?;
        let cost = data
            .n_columns()
            .saturating_mul(n_clusters.saturating_add(4));
        let pool = Pool::new(useful_threads(params.n_threads, data.n_rows(), cost))?;
        let scale = Scale::of(data, weights, &pool)?;
        if !scale.weighty {
            return Err(Error::NoWeight);
        }
        Ok(Self {
            data: data.reborrow(),
            weights,
            scale,
            pool,
            params: params.clone(),
        })
    }

    /// As [`crate::mean_variance`].
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn mean_variance(&self) -> Result<f64> {
        variance_within(self.data, &self.scale, &self.pool)
    }

    /// As [`crate::kmeans_plusplus`].
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
        spread(self, n_clusters, seed, n_local_trials, interrupt)
    }

    /// As [`crate::kmeans_parallel`].
    ///
    /// # Errors
    /// As [`crate::kmeans_parallel`].
    pub fn kmeans_parallel(
        &self,
        n_clusters: usize,
        seed: u64,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Seeds<T>> {
        oversample(self, n_clusters, seed, interrupt)
    }

    /// As [`crate::random_rows`].
    ///
    /// # Errors
    /// As [`crate::random_rows`].
    pub fn random_rows(&self, n_clusters: usize, seed: u64) -> Result<Seeds<T>> {
        random_rows(self.data, n_clusters, self.weights, seed)
    }

    /// As [`crate::lloyd`], with a tolerance of its own.
    ///
    /// # Errors
    /// As [`crate::lloyd`].
    pub fn lloyd(
        &self,
        centers: ArrayView2<'_, T>,
        tol: f64,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Fit<T>> {
        iterate(self, centers, tol, interrupt)
    }
}
