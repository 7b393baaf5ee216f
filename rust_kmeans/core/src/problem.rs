//! Data read once for everything that a fit does with them.

use ndarray::ArrayView2;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::lloyd::{Fit, iterate};
use crate::minibatch::{self, DenseBatches, MiniBatchFit, Progress, Schedule};
use crate::oversampling::oversample;
use crate::params::ValidParams;
use crate::pool::{Pool, cost};
use crate::sampler::Sampler;
use crate::scale::Scale;
use crate::seeding::{Seeder, Seeds, random_rows};
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
    /// Reads `data` (`n_samples`, `n_features`) once. No more threads are started than a fit with
    /// `n_clusters` centers, the most of any fit to come, can use.
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
        let cost = cost(data.n_columns(), n_clusters);
        let pool = params.pool_for(data.n_rows(), cost)?;
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

    /// For several draws of starting centers: the rows are brought into order once.
    #[must_use]
    pub fn seeder(&self) -> Seeder<'_, 'a, T> {
        Seeder::new(self)
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
        self.seeder()
            .kmeans_plusplus(n_clusters, seed, n_local_trials, interrupt)
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
        self.lloyd_many(&[vec![centers]], tol, interrupt)?
            .pop()
            .ok_or(Error::NoClusters)
    }

    /// For each list of starting centers, each of shape (its `n_clusters`, `n_features`), the fit of least inertia among
    /// those [`Problem::lloyd`] makes from them, the first of equals: bit for bit the same fit. One list of many is a fit
    /// with restarts, many lists with different numbers of centers are a sweep.
    ///
    /// All runs advance in lock step: they share each pass over the data, while a piece of it is in a core's cache. A
    /// run whose centers have come to rest leaves, and the next enters. Runs under way keep at most as many bytes of
    /// labels, bounds and sums as the data take, or 64 MiB if that is more, and one run at least is under way; of those
    /// that ended, the best of each list keeps its labels. The interrupt is asked once a pass.
    ///
    /// # Errors
    /// [`Error::NoClusters`] for an empty list, and as [`crate::lloyd`]; no fit is returned then.
    pub fn lloyd_many(
        &self,
        starts: &[Vec<ArrayView2<'_, T>>],
        tol: f64,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Vec<Fit<T>>> {
        if starts.iter().any(Vec::is_empty) {
            return Err(Error::NoClusters);
        }
        let lists: Vec<_> = starts
            .iter()
            .enumerate()
            .flat_map(|(list, starts)| std::iter::repeat_n(list, starts.len()))
            .collect();
        let mut best: Vec<Option<(usize, Fit<T>)>> = starts.iter().map(|_| None).collect();
        iterate(
            self,
            &starts.concat(),
            tol,
            interrupt,
            &mut |number, fit| {
                let best = &mut best[lists[number]];
                // Runs end in any order.
                if best.as_ref().is_none_or(|(other, least)| {
                    let order = fit.inertia.total_cmp(&least.inertia);
                    order.then(number.cmp(other)).is_lt()
                }) {
                    *best = Some((number, fit));
                }
            },
        )?;
        best.into_iter()
            .map(|best| best.map(|(_, fit)| fit).ok_or(Error::NoClusters))
            .collect()
    }

    /// Draws rows by weight, in the order of their values. Sorts all rows.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn sampler(&self) -> Result<Sampler> {
        Sampler::new(self.data, self.weights, &self.scale, &self.pool)
    }

    /// Mini-batch k-means from `centers` (`n_clusters`, `n_features`): each step takes rows from `sampler`, which is that
    /// of the data, and moves the centers by them as [`crate::minibatch_step`]. `watch` is told of every step; `true`
    /// from it ends the work with [`Error::Interrupted`], as it does from the interrupt, which is asked once a step.
    ///
    /// The result depends on the data, the weights, the schedule and the seed, not on threads or the instruction set, nor
    /// on the order of the rows. A row of weight w counts as w equal rows, one of weight 0 as none.
    ///
    /// Sources: D. Sculley, *Web-scale k-means clustering*, WWW 2010; scikit-learn's `MiniBatchKMeans` for the stopping
    /// rules.
    ///
    /// # Errors
    /// [`Error::Parameter`], [`Error::Shape`], [`Error::NotFinite`], [`Error::NoClusters`], [`Error::Memory`],
    /// [`Error::Interrupted`].
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
        let mut batches = DenseBatches::new(self, centers.nrows(), Some(rows))?;
        let batches = &mut batches;
        minibatch::descend(batches, sampler, centers, schedule, seed, interrupt, watch)
    }

    /// The label of each row and the weighted inertia: the same bits as [`crate::predict`] and [`crate::inertia`].
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`], [`Error::NoClusters`], [`Error::Memory`].
    pub fn label(&self, centers: ArrayView2<'_, T>) -> Result<(Vec<i32>, f64)> {
        minibatch::label(self, centers)
    }
}
