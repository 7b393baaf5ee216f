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
    check_ratio(reassignment_ratio)?;
    let mut steps = Steps::new(&problem.pool, params, &data, &problem.scale, running)?;
    let mut random = Random::new(seed);
    let inertia = steps.step(&data, weights);
    let reassigned = steps.reassign(&data, reassignment_ratio, &mut random)?;
    *running = steps.end()?;
    Ok((inertia, reassigned))
}

/// [`Problem::minibatch`].
pub(crate) fn descend<T: Element>(
    problem: &Problem<'_, T>,
    centers: ArrayView2<'_, T>,
    schedule: &Schedule,
    seed: u64,
    interrupt: &mut Interrupt<'_>,
    watch: &mut dyn FnMut(&Progress) -> bool,
) -> Result<MiniBatchFit<T>> {
    schedule.check()?;
    let data = &problem.data;
    let (n, d) = (data.n_rows(), data.n_columns());
    let rows = schedule.batch_size.min(n);
    // Rows are drawn by weight, so that each counts once.
    let scale = Scale {
        max_weight: 1.0,
        ..problem.scale.clone()
    };
    let running = Running {
        centers: centers.to_owned(),
        counts: try_vec("the counts", centers.nrows(), 0.0)?,
        n_since_reassignment: 0,
    };
    let mut random = Random::new(seed);
    let draw = Draw::new(n, problem.weights)?;
    let mut drawn = try_vec("the batch", rows, 0)?;
    let mut batch =
        Array2::from_shape_vec((rows, d), try_vec("the batch", rows * d, T::default())?).map_err(
            |_| Error::TooLarge {
                what: "the batch",
                rows,
                columns: d,
            },
        )?;
    let (pool, params) = (&problem.pool, &problem.params);
    let mut steps = Steps::new(pool, params, &Rows::new(batch.view()), &scale, &running)?;
    let mut trend = Trend::new(schedule, rows, n);
    let mut step = 1;
    loop {
        interrupt::check(interrupt)?;
        drawn.fill_with(|| draw.row(&mut random));
        gather(data, &drawn, &mut batch);
        let batch = Rows::new(batch.view());
        let mean_inertia = steps.step(&batch, None) / rows as f64;
        let n_reassigned = steps.reassign(&batch, schedule.reassignment_ratio, &mut random)?;
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
    let mut workers = Worker::team(pool, data, packed.k(), 1)?;
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

/// What steps share: nothing is allocated in one, unless centers are reassigned.
struct Steps<'a, T> {
    pool: &'a Pool,
    scale: &'a Scale,
    grids: Grids,
    packed: Packed<T>,
    workers: Vec<Worker<T>>,
    labels: Vec<i32>,
    sums: ExactTable,
    /// Row-major.
    centers: Vec<T>,
    /// The centers before the last step.
    before: Vec<T>,
    counts: Vec<f64>,
    n_since_reassignment: u64,
    /// Whether this step reassigns.
    due: bool,
}

impl<'a, T: Element> Steps<'a, T> {
    /// For batches of the shape of `batch` that lie within `scale`.
    fn new(
        pool: &'a Pool,
        params: &ValidParams,
        batch: &Rows<'_, T>,
        scale: &'a Scale,
        running: &Running<T>,
    ) -> Result<Self> {
        let d = batch.n_columns();
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
        let mut workers = Worker::team(pool, batch, k, 1)?;
        Worker::open(&mut workers, 0, k)?;
        Ok(Self {
            pool,
            scale,
            grids: scale.grids()?,
            packed: Packed::new(params.isa, k, d)?,
            workers,
            labels: try_vec("the labels", batch.n_rows(), -1)?,
            sums: ExactTable::new(k, d + 1)?,
            before: try_vec("the centers", k * d, T::default())?,
            centers,
            counts: running.counts.clone(),
            n_since_reassignment: running.n_since_reassignment,
            due: false,
        })
    }

    /// Moves the centers to the means; returns the inertia under those before.
    fn step(&mut self, batch: &Rows<'_, T>, weights: Option<&[f64]>) -> f64 {
        let d = batch.n_columns();
        self.before.copy_from_slice(&self.centers);
        self.n_since_reassignment = self
            .n_since_reassignment
            .saturating_add(batch.n_rows() as u64);
        self.due = self.counts.contains(&0.0)
            || self.n_since_reassignment >= 10 * self.counts.len() as u64;
        self.packed.load(&self.centers, self.scale);
        self.labels.fill(-1);
        self.sums.clear();
        let job = Job {
            run: 0,
            packed: &self.packed,
            data: batch,
            weights,
            moving: Some(Moving {
                data: batch,
                weights,
                grids: &self.grids,
            }),
        };
        let grid = self.scale.distance_grid(self.packed.exact());
        let visit = Visit::new(job, &mut self.labels, How::Dense, Some(grid));
        assign(vec![visit], (self.pool, &mut self.workers));
        let found = Found::take(&mut self.workers, 0, &mut self.sums);
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
        found.inertia.value()
    }

    /// If it is time, puts centers with low counts, half as many as the batch has rows at most, on distinct rows of it, drawn
    /// uniformly. They get the least count of the others, so that they are not moved again at once.
    fn reassign(&mut self, batch: &Rows<'_, T>, ratio: f64, random: &mut Random) -> Result<usize> {
        if !self.due {
            return Ok(0);
        }
        self.n_since_reassignment = 0;
        let (n, d) = (batch.n_rows(), batch.n_columns());
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
            rows.swap(i, i + below(n - i, random));
            let center = &mut self.centers[c * d..(c + 1) * d];
            copy_row(batch, rows[i], center);
            self.counts[c] = least;
        }
        Ok(low.len())
    }

    /// Summed squared shift of the centers in the last step.
    fn shift(&self) -> f64 {
        squared_shift(&self.before, &self.centers)
    }

    fn end(self) -> Result<Running<T>> {
        let (k, d) = (self.packed.k(), self.scale.n_features());
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

/// Rows drawn with replacement.
enum Draw<'a> {
    Uniform { n: usize },
    Weighted { weights: &'a [f64], ends: Vec<f64> },
}

/// Weights that are summed between two prefix sums: as many as lie in a few lines of the cache.
const SEGMENT: usize = 64;

impl<'a> Draw<'a> {
    fn new(n: usize, weights: Option<&'a [f64]>) -> Result<Self> {
        let Some(weights) = weights else {
            return Ok(Self::Uniform { n });
        };
        let mut ends = try_vec("the weights", n.div_ceil(SEGMENT), 0.0)?;
        let mut sum = 0.0;
        for (end, weights) in ends.iter_mut().zip(weights.chunks(SEGMENT)) {
            sum = weights.iter().fold(sum, |sum, weight| sum + weight);
            *end = sum;
        }
        Ok(Self::Weighted { weights, ends })
    }

    /// One row, with probability proportional to its weight.
    fn row(&self, random: &mut Random) -> usize {
        match self {
            Self::Uniform { n } => below(*n, random),
            Self::Weighted { weights, ends } => {
                let total = ends.last().copied().unwrap_or(0.0);
                let target = (random.unit() * total).min(total.next_down());
                let segment = ends.partition_point(|&end| end <= target);
                let mut sum = segment.checked_sub(1).map_or(0.0, |before| ends[before]);
                let first = segment * SEGMENT;
                // The sums are those of `new`, so that the last one of the segment exceeds the target.
                let within = weights[first..].iter().position(|&weight| {
                    sum += weight;
                    sum > target
                });
                first + within.unwrap_or(0)
            }
        }
    }
}

/// A number in `0..n`, uniform but for a bias of at most n·2⁻⁶⁴ (D. Lemire, *Fast random integer generation in an
/// interval*, ACM TOMACS 29 (2019), without the rejection).
fn below(n: usize, random: &mut Random) -> usize {
    let product = u128::from(random.bits()) * n as u128;
    #[expect(clippy::cast_possible_truncation, reason = "less than n")]
    let number = (product >> u64::BITS) as usize;
    number
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
