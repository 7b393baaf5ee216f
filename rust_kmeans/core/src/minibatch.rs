//! Mini-batch k-means: centers that are running means of the batches assigned to them.

use ndarray::{Array2, ArrayView2};

use crate::assign::{Found, How, Job, Visit, Worker, assign, row_major};
use crate::bounds::squared_shift;
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactTable, Grids};
use crate::interrupt::{self, Interrupt};
use crate::kernel::{Moving, Packed};
use crate::params::ValidParams;
use crate::pool::Pool;
use crate::problem::Problem;
use crate::random::Random;
use crate::sampler::Sampler;
use crate::scale::Scale;
use crate::view::Rows;

/// How [`Problem::minibatch`] steps and when it stops.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Rows a step, at least 1.
    pub batch_size: usize,
    /// Most steps, at least 1.
    pub n_steps: usize,
    /// Stop when the summed squared shift of the centers in a step is at most this, in squared units of the data;
    /// 0 for never.
    pub tol: f64,
    /// Stop after so many steps in a row without a new least smoothed inertia; `None` for never.
    pub max_no_improvement: Option<usize>,
    /// Centers whose count is below this share of the largest are put on rows of the batch now and then; 0 for never.
    pub reassignment_ratio: f64,
}

/// Centers and what they are means of.
#[derive(Debug, Clone, PartialEq)]
pub struct Running<T> {
    /// Shape (`n_clusters`, `n_features`).
    pub centers: Array2<T>,
    /// Weight that each center has taken in.
    pub counts: Vec<f64>,
    /// Rows seen since centers were last reassigned.
    pub n_since_reassignment: u64,
}

/// Why a fit stopped before its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The centers moved by no more than the tolerance.
    Shift,
    /// The smoothed inertia no longer falls.
    NoImprovement,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Its number, from 1.
    pub step: usize,
    /// Centers put on rows of the batch.
    pub n_reassigned: usize,
    /// Mean squared distance of the batch to the centers before the step.
    pub mean_inertia: f64,
    /// Exponentially weighted average of that; `None` after the first step, which only says how good the start was.
    pub ewa_inertia: Option<f64>,
    /// Set in the last step, unless that is the last of the schedule.
    pub stop: Option<Stop>,
}

/// The outcome of [`Problem::minibatch`].
#[derive(Debug, Clone, PartialEq)]
pub struct MiniBatchFit<T> {
    /// Centers, counts, rows since the last reassignment.
    pub running: Running<T>,
    /// The last step.
    pub last: Progress,
}

/// Moves centers by one batch: labels, then for each cluster the mean of all it has taken in, then, if it is time,
/// reassignment of centers with low counts. Returns the weighted inertia of the batch under the centers before the step, and
/// how many were reassigned.
///
/// `data` has shape (`n_samples`, `n_features`), `weights` one number a sample. The result does not depend on threads.
///
/// Source: D. Sculley, *Web-scale k-means clustering*, WWW 2010; reassignment as in scikit-learn's `MiniBatchKMeans`.
///
/// # Errors
/// [`Error::Shape`], [`Error::Parameter`] for counts and ratios that are none, and those of [`Problem::new`].
pub fn minibatch_step<T: Element>(
    data: Rows<'_, T>,
    weights: Option<&[f64]>,
    running: &mut Running<T>,
    reassignment_ratio: f64,
    seed: u64,
    params: &ValidParams,
) -> Result<(f64, usize)> {
    let problem = Problem::new(data, running.centers.nrows(), weights, params)?;
    let mut batches = DenseBatches::new(&problem, running.centers.nrows(), None)?;
    step_once(&mut batches, running, reassignment_ratio, seed)
}

/// Batches of data of one kind.
pub(crate) trait Batches<T> {
    /// Rows of the batch.
    fn n_rows(&self) -> usize;
    /// Features.
    fn n_columns(&self) -> usize;
    /// Makes rows of the data the batch, each of weight 1; always as many.
    fn take(&mut self, rows: &[usize]);
    /// Adds the weighted rows of the batch and their weights to the sums of the nearest of the centers, which are row-major;
    /// returns the weighted inertia.
    fn add_to(&mut self, sums: &mut ExactTable, centers: &[T]) -> f64;
    /// Writes a row of the batch.
    fn copy_row(&self, row: usize, to: &mut [T]);
}

/// [`minibatch_step`] on batches of any kind.
pub(crate) fn step_once<T: Element>(
    batches: &mut impl Batches<T>,
    running: &mut Running<T>,
    reassignment_ratio: f64,
    seed: u64,
) -> Result<(f64, usize)> {
    check_ratio(reassignment_ratio)?;
    let mut steps = Steps::new(running, batches.n_columns())?;
    let mut random = Random::new(seed);
    let inertia = steps.step(batches);
    let reassigned = steps.reassign(batches, reassignment_ratio, &mut random)?;
    *running = steps.end()?;
    Ok((inertia, reassigned))
}

/// [`Problem::minibatch`] on batches of any kind; they have [`Schedule::rows`] rows.
pub(crate) fn descend<T: Element>(
    batches: &mut impl Batches<T>,
    sampler: &Sampler,
    centers: ArrayView2<'_, T>,
    schedule: &Schedule,
    seed: u64,
    interrupt: &mut Interrupt<'_>,
    watch: &mut dyn FnMut(&Progress) -> bool,
) -> Result<MiniBatchFit<T>> {
    let rows = batches.n_rows();
    let running = Running {
        centers: centers.to_owned(),
        counts: try_vec("the counts", centers.nrows(), 0.0)?,
        n_since_reassignment: 0,
    };
    let mut random = Random::new(seed);
    let mut drawn = try_vec("the batch", rows, 0)?;
    let mut steps = Steps::new(&running, batches.n_columns())?;
    let mut trend = Trend::new(schedule, rows, sampler.n_samples());
    let mut step = 1;
    loop {
        interrupt::check(interrupt)?;
        drawn.fill_with(|| sampler.draw(&mut random));
        batches.take(&drawn);
        let mean_inertia = steps.step(batches) / rows as f64;
        let n_reassigned = steps.reassign(batches, schedule.reassignment_ratio, &mut random)?;
        let stop = trend.observe(mean_inertia, || steps.shift());
        let last = Progress {
            step,
            n_reassigned,
            mean_inertia,
            ewa_inertia: trend.ewa,
            stop,
        };
        if watch(&last) {
            return Err(Error::Interrupted);
        }
        if stop.is_some() || step >= schedule.n_steps {
            let running = steps.end()?;
            return Ok(MiniBatchFit { running, last });
        }
        step += 1;
    }
}

/// Labels of all rows and their weighted inertia, for [`Problem::label`].
pub(crate) fn label<T: Element>(
    problem: &Problem<'_, T>,
    centers: ArrayView2<'_, T>,
) -> Result<(Vec<i32>, f64)> {
    let Problem {
        data,
        weights,
        scale,
        pool,
        params,
    } = problem;
    let d = data.n_columns();
    let centers = row_major(centers, d)?;
    let mut packed = Packed::new(params.isa, centers.len() / d, d)?;
    packed.load(&centers, scale);
    let mut labels = try_vec("the labels", data.n_rows(), -1)?;
    let mut workers = Worker::team(pool, data, (packed.k(), packed.isa()), 1)?;
    let job = Job {
        run: 0,
        packed: &packed,
        data,
        weights: *weights,
        moving: None,
    };
    let grid = scale.distance_grid(packed.exact());
    let visit = Visit::new(job, &mut labels, How::Dense, Some(grid));
    assign(vec![visit], (pool, &mut workers));
    let found = Found::take(&mut workers, 0, &mut ExactTable::default());
    Ok((labels, found.inertia.value()))
}

impl Schedule {
    /// Rows of a batch drawn by a sampler of `n_rows` rows: no more than the samples they stand for.
    pub(crate) fn rows(&self, sampler: &Sampler, n_rows: usize) -> Result<usize> {
        self.check()?;
        sampler.check(n_rows)?;
        Ok(self.batch_size.min(sampler.n_samples()))
    }

    fn check(&self) -> Result<()> {
        let wrong = |name, value: String, rule| Err(Error::Parameter { name, value, rule });
        if self.batch_size == 0 {
            return wrong("batch_size", "0".to_owned(), "it must be at least 1");
        }
        if self.n_steps == 0 {
            return wrong("n_steps", "0".to_owned(), "it must be at least 1");
        }
        if !(self.tol >= 0.0 && self.tol.is_finite()) {
            let rule = "it must be finite and not negative";
            return wrong("tol", self.tol.to_string(), rule);
        }
        check_ratio(self.reassignment_ratio)
    }
}

fn check_ratio(value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Parameter {
        name: "reassignment_ratio",
        value: value.to_string(),
        rule: "it must be finite and not negative",
    })
}

/// Batches of dense data.
pub(crate) struct DenseBatches<'a, T> {
    data: Rows<'a, T>,
    weights: Option<&'a [f64]>,
    /// The batch, if it is not all of the data.
    drawn: Option<Array2<T>>,
    /// Of the batch.
    scale: Scale,
    grids: Grids,
    pool: &'a Pool,
    packed: Packed<T>,
    workers: Vec<Worker<T>>,
    labels: Vec<i32>,
}

impl<'a, T: Element> DenseBatches<'a, T> {
    /// Batches of `drawn` rows for `k` centers; `None` for all of the data as the batch.
    pub(crate) fn new(problem: &'a Problem<'_, T>, k: usize, drawn: Option<usize>) -> Result<Self> {
        let (data, pool) = (problem.data.reborrow(), &problem.pool);
        let d = data.n_columns();
        let rows = drawn.unwrap_or(data.n_rows());
        let batch = || {
            let too_large = Error::TooLarge {
                what: "the batch",
                rows,
                columns: d,
            };
            let Some(cells) = rows.checked_mul(d) else {
                return Err(too_large);
            };
            let cells = try_vec("the batch", cells, T::default())?;
            Array2::from_shape_vec((rows, d), cells).map_err(|_| too_large)
        };
        let drawn = drawn.map(|_| batch()).transpose()?;
        let scale = match &drawn {
            Some(_) => problem.scale.of_drawn(rows),
            None => problem.scale.clone(),
        };
        let mut workers = Worker::team(
            pool,
            &batch_of(data, drawn.as_ref()),
            (k, problem.params.isa),
            1,
        )?;
        Worker::open(&mut workers, 0, k)?;
        Ok(Self {
            data,
            weights: problem.weights.filter(|_| drawn.is_none()),
            grids: scale.grids()?,
            scale,
            pool,
            packed: Packed::new(problem.params.isa, k, d)?,
            workers,
            labels: try_vec("the labels", rows, -1)?,
            drawn,
        })
    }
}

impl<T: Element> Batches<T> for DenseBatches<'_, T> {
    fn n_rows(&self) -> usize {
        self.labels.len()
    }

    fn n_columns(&self) -> usize {
        self.data.n_columns()
    }

    fn take(&mut self, rows: &[usize]) {
        if let Some(drawn) = &mut self.drawn {
            gather(&self.data, rows, drawn);
        }
    }

    fn add_to(&mut self, sums: &mut ExactTable, centers: &[T]) -> f64 {
        let batch = batch_of(self.data, self.drawn.as_ref());
        self.packed.load(centers, &self.scale);
        self.labels.fill(-1);
        let job = Job {
            run: 0,
            packed: &self.packed,
            data: &batch,
            weights: self.weights,
            moving: Some(Moving {
                data: &batch,
                weights: self.weights,
                grids: &self.grids,
            }),
        };
        let grid = self.scale.distance_grid(self.packed.exact());
        let visit = Visit::new(job, &mut self.labels, How::Dense, Some(grid));
        assign(vec![visit], (self.pool, &mut self.workers));
        Found::take(&mut self.workers, 0, sums).inertia.value()
    }

    fn copy_row(&self, row: usize, to: &mut [T]) {
        copy_row(&batch_of(self.data, self.drawn.as_ref()), row, to);
    }
}

/// What was drawn, or else all of the data.
fn batch_of<'a: 'b, 'b, T: Element>(
    data: Rows<'a, T>,
    drawn: Option<&'b Array2<T>>,
) -> Rows<'b, T> {
    drawn.map_or(data.reborrow(), |drawn| Rows::new(drawn.view()))
}

/// What steps share.
struct Steps<T> {
    sums: ExactTable,
    /// Row-major.
    centers: Vec<T>,
    /// The centers before the last step.
    before: Vec<T>,
    d: usize,
    counts: Vec<f64>,
    n_since_reassignment: u64,
    /// Whether this step reassigns.
    due: bool,
}

impl<T: Element> Steps<T> {
    /// For batches of `d` features.
    fn new(running: &Running<T>, d: usize) -> Result<Self> {
        let centers = row_major(running.centers.view(), d)?;
        let k = centers.len() / d;
        if running.counts.len() != k {
            return Err(Error::Shape {
                what: "counts",
                axis: "entries",
                found: running.counts.len(),
                expected: k,
            });
        }
        let valid = |count: f64| count >= 0.0 && count.is_finite();
        if let Some(count) = running.counts.iter().find(|&&count| !valid(count)) {
            return Err(Error::Parameter {
                name: "counts",
                value: count.to_string(),
                rule: "each must be finite and not negative",
            });
        }
        Ok(Self {
            sums: ExactTable::new(k, d + 1)?,
            before: try_vec("the centers", k * d, T::default())?,
            centers,
            d,
            counts: running.counts.clone(),
            n_since_reassignment: running.n_since_reassignment,
            due: false,
        })
    }

    /// Moves the centers to the means; returns the inertia under those before.
    fn step(&mut self, batches: &mut impl Batches<T>) -> f64 {
        let d = self.d;
        self.before.copy_from_slice(&self.centers);
        self.n_since_reassignment = self
            .n_since_reassignment
            .saturating_add(batches.n_rows() as u64);
        self.due = self.counts.contains(&0.0)
            || self.n_since_reassignment >= 10 * self.counts.len() as u64;
        self.sums.clear();
        let inertia = batches.add_to(&mut self.sums, &self.centers);
        let centers = self.centers.chunks_exact_mut(d);
        for (c, (center, count)) in centers.zip(&mut self.counts).enumerate() {
            let weight = self.sums.value(c, d);
            if weight > 0.0 {
                let total = *count + weight;
                for (center, sum) in center.iter_mut().zip(self.sums.values(c)) {
                    let old: f64 = (*center).into();
                    *center = T::from_f64((old * *count + sum) / total);
                }
                *count = total;
            }
        }
        inertia
    }

    /// If it is time, puts centers with low counts, half as many as the batch has rows at most, on distinct rows of it, drawn
    /// uniformly. They get the least count of the others, so that they are not moved again at once.
    fn reassign(
        &mut self,
        batches: &impl Batches<T>,
        ratio: f64,
        random: &mut Random,
    ) -> Result<usize> {
        if !self.due {
            return Ok(0);
        }
        self.n_since_reassignment = 0;
        let (n, d) = (batches.n_rows(), self.d);
        let largest = self.counts.iter().fold(0.0, |m: f64, &count| m.max(count));
        let is_low = |&c: &usize| self.counts[c] < ratio * largest;
        let mut low: Vec<_> = (0..self.counts.len()).filter(is_low).collect();
        low.sort_by(|&a, &b| self.counts[a].total_cmp(&self.counts[b]));
        low.truncate(n / 2);
        if low.is_empty() {
            return Ok(0);
        }
        let mut kept = self.counts.clone();
        for &c in &low {
            kept[c] = f64::INFINITY;
        }
        let least = kept.into_iter().fold(f64::INFINITY, f64::min);
        let least = if least.is_finite() { least } else { 0.0 };
        let mut rows = try_vec("the batch", n, 0)?;
        for (i, row) in rows.iter_mut().enumerate() {
            *row = i;
        }
        for (i, &c) in low.iter().enumerate() {
            rows.swap(i, i + random.below(n - i));
            let center = &mut self.centers[c * d..(c + 1) * d];
            batches.copy_row(rows[i], center);
            self.counts[c] = least;
        }
        Ok(low.len())
    }

    /// Summed squared shift of the centers in the last step.
    fn shift(&self) -> f64 {
        squared_shift(&self.before, &self.centers)
    }

    fn end(self) -> Result<Running<T>> {
        let (k, d) = (self.counts.len(), self.d);
        let centers =
            Array2::from_shape_vec((k, d), self.centers).map_err(|_| Error::TooLarge {
                what: "the centers",
                rows: k,
                columns: d,
            })?;
        Ok(Running {
            centers,
            counts: self.counts,
            n_since_reassignment: self.n_since_reassignment,
        })
    }
}

/// Whether the inertia still falls.
struct Trend<'a> {
    schedule: &'a Schedule,
    /// Weight of a batch in the average.
    alpha: f64,
    started: bool,
    ewa: Option<f64>,
    least: f64,
    without_improvement: usize,
}

impl<'a> Trend<'a> {
    fn new(schedule: &'a Schedule, batch_size: usize, n_samples: usize) -> Self {
        Self {
            schedule,
            alpha: (2.0 * batch_size as f64 / (n_samples as f64 + 1.0)).min(1.0),
            started: false,
            ewa: None,
            least: f64::INFINITY,
            without_improvement: 0,
        }
    }

    /// Takes in the inertia of a step; says whether to stop.
    fn observe(&mut self, inertia: f64, shift: impl FnOnce() -> f64) -> Option<Stop> {
        // The first inertia is one of the start.
        if !std::mem::replace(&mut self.started, true) {
            return None;
        }
        let ewa = match self.ewa {
            None => inertia,
            Some(ewa) => ewa * (1.0 - self.alpha) + inertia * self.alpha,
        };
        self.ewa = Some(ewa);
        if self.schedule.tol > 0.0 && shift() <= self.schedule.tol {
            return Some(Stop::Shift);
        }
        if ewa < self.least {
            (self.least, self.without_improvement) = (ewa, 0);
        } else {
            self.without_improvement += 1;
        }
        self.schedule
            .max_no_improvement
            .filter(|&most| self.without_improvement >= most)
            .map(|_| Stop::NoImprovement)
    }
}

/// Copies rows into the batch.
fn gather<T: Element>(data: &Rows<'_, T>, drawn: &[usize], batch: &mut Array2<T>) {
    /// Rows lie anywhere in memory: so many are asked for ahead.
    const AHEAD: usize = 16;
    for (i, mut to) in batch.rows_mut().into_iter().enumerate() {
        if let Some(&ahead) = drawn.get(i + AHEAD) {
            data.prefetch(ahead);
        }
        if let Some(to) = to.as_slice_mut() {
            copy_row(data, drawn[i], to);
        }
    }
}

fn copy_row<T: Element>(data: &Rows<'_, T>, row: usize, to: &mut [T]) {
    match data.row(row) {
        Some(from) => to.copy_from_slice(from),
        None => {
            for (to, &from) in to.iter_mut().zip(data.as_array().row(row)) {
                *to = from;
            }
        }
    }
}
