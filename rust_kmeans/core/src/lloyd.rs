//! Lloyd's algorithm, step by step that of scikit-learn's `KMeans(algorithm="lloyd")`.

use ndarray::{Array2, ArrayView2, Axis};

use crate::assign::{Found, How, Job, Visit, Visited, Worker, assign, row_major};
use crate::bounds::{Bounds, squared_shift};
use crate::choice::{Choice, Way};
use crate::element::Element;
use crate::error::{Error, Result, try_vec, try_zeros};
use crate::exact_sum::{ExactTable, Grid, Grids};
use crate::history::History;
use crate::interrupt::{self, Convergence, Interrupt, Seen};
use crate::kernel::{
    BLOCK, Grouped, Isa, Moving, Packed, groups_for, own_distances, pairs_a_row_in_bytes,
};
use crate::params::{Algorithm, Params, ValidParams};
use crate::pool::{Pool, cost, rows_per_piece};
use crate::problem::Problem;
use crate::update::{Farthest, means, relocate_empty_clusters, to_unit_length};
use crate::view::Rows;

/// The outcome of [`lloyd`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fit<T> {
    /// Shape (`n_clusters`, `n_features`).
    pub centers: Array2<T>,
    /// Index of the nearest center for each sample: what [`crate::predict`] says of the same data.
    pub labels: Vec<i32>,
    /// Weighted sum of squared distances of the samples to their centers, in float64.
    pub inertia: f64,
    /// For each iteration the inertia of the labels it found, under the centers they were found with, in float64.
    /// Computed from the sums of the clusters: the error is a few units in the last place of the weight of all samples
    /// times their squared range, with weights times range and largest value. The same bits for any number of threads
    /// and any instruction set.
    pub history: Vec<f64>,
    /// Iterations done.
    pub n_iter: usize,
    /// Whether the last iteration changed no label.
    pub strict: bool,
    /// What was used: [`Algorithm::Hamerly`] or [`Algorithm::Yinyang`] if bounds proved labels in some iteration, else
    /// [`Algorithm::Lloyd`].
    pub algorithm: Algorithm,
}

impl<T> Fit<T> {
    /// How many clusters have samples.
    #[must_use]
    pub fn n_distinct(&self) -> usize {
        let mut unseen = vec![true; self.centers.nrows()];
        let mut count = 0;
        for &label in &self.labels {
            let unseen = usize::try_from(label)
                .ok()
                .and_then(|at| unseen.get_mut(at));
            count += usize::from(unseen.is_some_and(std::mem::take));
            if count == self.centers.nrows() {
                break;
            }
        }
        count
    }
}

/// Moves `centers` (`n_clusters`, `n_features`) to a local optimum for `data` (`n_samples`, `n_features`).
///
/// Each iteration assigns every sample to its nearest center, gives clusters without weight the samples farthest from
/// their centers, and moves centers to the (weighted) means. It stops when no label changes, when the summed squared
/// shift of the centers is at most `tol`, or after `max_iter` iterations; in the last two cases samples are assigned
/// once more, so that labels belong to the centers returned. The interrupt is asked once an iteration, and sees it if it
/// wants to.
///
/// The result does not depend on the number of threads or the instruction set.
///
/// Sources: S. P. Lloyd, *Least squares quantization in PCM*, IEEE Trans. Information Theory 28 (1982);
/// scikit-learn's `_kmeans_single_lloyd` and `_relocate_empty_clusters_dense` for the rules.
///
/// # Errors
/// [`Error::TooFewRows`], [`Error::NoClusters`], [`Error::Shape`], [`Error::NotFinite`], [`Error::Weight`],
/// [`Error::NoWeight`], [`Error::Overflow`], [`Error::Memory`], [`Error::Interrupted`].
pub fn lloyd<T: Element>(
    data: Rows<'_, T>,
    centers: ArrayView2<'_, T>,
    weights: Option<&[f64]>,
    params: &ValidParams,
    interrupt: &mut Interrupt<'_>,
) -> Result<Fit<T>> {
    Problem::new(data, centers.nrows(), weights, params)?.lloyd(centers, params.tol, interrupt)
}

/// What runs that advance together may keep of labels, bounds and sums, if the data take less.
const LEAST_MEMORY: usize = 64 << 20;

/// What runs may keep for all of them to stay in the caches of most machines.
const CACHED_MEMORY: usize = 8 << 20;

/// Runs [`lloyd`] from each of `starts` and calls `finished` with the number of the start and the fit, in the order in
/// which runs end.
///
/// Runs advance in lock step, so that an iteration of all of them is one pass over the data. One that skips samples
/// reads little of the data, but all of its labels and bounds: it goes ahead alone, while they are in the cache, until it
/// ends or looks at all samples again, unless those of all runs fit there. None of this changes a result. A run that
/// ends makes room for the next; together they keep at most as many bytes as the data take, or [`LEAST_MEMORY`] if that
/// is more.
pub(crate) fn iterate<T: Element>(
    problem: &Problem<'_, T>,
    starts: &[ArrayView2<'_, T>],
    tol: f64,
    interrupt: &mut Interrupt<'_>,
    finished: &mut dyn FnMut(usize, Fit<T>),
) -> Result<()> {
    let (n, d) = (problem.data.n_rows(), problem.data.n_columns());
    let starts: Vec<_> = starts
        .iter()
        .map(|centers| row_major(*centers, d))
        .collect::<Result<_>>()?;
    if let Some(start) = starts.iter().find(|start| start.len() / d > n) {
        return Err(Error::TooFewRows {
            rows: n,
            clusters: start.len() / d,
        });
    }
    let grids = problem.scale.grids()?;
    // As many threads as the largest run can use alone: waking one more for many small runs takes longer than they do.
    let largest = starts
        .iter()
        .map(|start| start.len() / d)
        .max()
        .unwrap_or(0);
    let mut workers = Worker::team(
        &problem.pool,
        &problem.data,
        (largest, problem.params.isa),
        starts.len(),
    )?;
    let room = n.saturating_mul(d * size_of::<T>()).max(LEAST_MEMORY);
    let needs: Vec<_> = starts
        .iter()
        .map(|start| Run::bytes(problem, start.len() / d, workers.len()))
        .collect();
    let mut waiting = starts.into_iter().enumerate().peekable();
    let mut active: Vec<Run<'_, '_, T>> = Vec::new();
    let watched = interrupt.sees();
    loop {
        while let Some(&(number, _)) = waiting.peek() {
            let used: usize = active.iter().map(|run| needs[run.number]).sum();
            if !active.is_empty() && (watched || used.saturating_add(needs[number]) > room) {
                break;
            }
            if let Some((number, start)) = waiting.next() {
                active.push(Run::new(problem, &grids, number, start, &mut workers)?);
                if watched {
                    interrupt.started(number);
                }
            }
        }
        if active.is_empty() {
            return Ok(());
        }
        interrupt::check(interrupt)?;
        let used: usize = active.iter().map(|run| needs[run.number]).sum();
        let alone = active
            .iter()
            .position(Run::skips)
            .filter(|_| used > CACHED_MEMORY);
        let going = alone.map_or(0..active.len(), |at| at..at + 1);
        let mut at = going.start;
        let going = &mut active[going];
        let mut left = going.len();
        let largest = going
            .iter()
            .map(|run| run.labelling.packed.k())
            .max()
            .unwrap_or(0);
        let threads = problem.pool.useful_threads(n, cost(d, largest));
        let visits = going
            .iter_mut()
            .map(|run| run.visit(watched))
            .collect::<Result<_>>()?;
        assign(visits, (&problem.pool, &mut workers[..threads]));
        while left > 0 {
            left -= 1;
            let watch = watched.then_some(&mut *interrupt);
            match active[at].advance(tol, &mut workers[..threads], watch)? {
                None => at += 1,
                Some(inertia) => {
                    let run = active.remove(at);
                    Worker::close(&mut workers, run.number);
                    finished(run.number, run.end(inertia)?);
                }
            }
        }
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The next pass is an iteration.
    Moving,
    /// The next pass is the last: the inertia, and unless the labels are `settled`, those of the centers as they are.
    Last { settled: bool },
}

/// One run: all that changes from iteration to iteration.
struct Run<'a, 'd, T> {
    problem: &'a Problem<'d, T>,
    grids: &'a Grids,
    number: usize,
    labelling: Labelling<T>,
    centers: Vec<T>,
    /// Room for new centers; after a step, the old ones.
    next: Vec<T>,
    stage: Stage,
    history: History,
    n_iter: usize,
    strict: bool,
}

impl<'a, 'd, T: Element> Run<'a, 'd, T> {
    fn new(
        problem: &'a Problem<'d, T>,
        grids: &'a Grids,
        number: usize,
        centers: Vec<T>,
        workers: &mut [Worker<T>],
    ) -> Result<Self> {
        let k = centers.len() / problem.data.n_columns();
        Worker::open(workers, number, k)?;
        Ok(Self {
            problem,
            grids,
            number,
            labelling: Labelling::new(
                &problem.data,
                k,
                (problem.params.algorithm, problem.params.isa),
            )?,
            next: try_vec("the centers", centers.len(), T::default())?,
            centers,
            stage: Stage::Moving,
            history: History::new(&problem.scale)?,
            n_iter: 0,
            strict: false,
        })
    }

    /// What a run keeps: labels and bounds, and for each thread the sums.
    fn bytes(problem: &Problem<'_, T>, k: usize, threads: usize) -> usize {
        let (n, d) = (problem.data.n_rows(), problem.data.n_columns());
        let sums = (k * (d + 1)).saturating_mul(2 * size_of::<f64>() * (threads + 1));
        let bounds = choice(
            (problem.params.algorithm, problem.params.isa),
            &problem.data,
            k,
        );
        let bounds = (1 + bounds.groups()) * size_of::<T>();
        n.saturating_mul(size_of::<i32>() + bounds)
            .saturating_add(sums)
    }

    /// Whether the next pass leaves out samples.
    fn skips(&self) -> bool {
        self.labelling.skips(self.stage)
    }

    /// What the next pass does for this run; makes room for bounds when they are needed first. Who watches wants the
    /// inertia of each pass.
    fn visit(&mut self, watched: bool) -> Result<Visit<'_, 'd, T>> {
        let scale = &self.problem.scale;
        let packed = &mut self.labelling.packed;
        packed.load(&self.centers, scale);
        let inertia =
            (watched || self.stage != Stage::Moving).then(|| scale.distance_grid(packed.exact()));
        let moving = self.moving();
        self.labelling
            .visit(self.number, moving, &self.centers, self.stage, inertia)
    }

    /// Finishes what a pass began, and shows it to who watches; the inertia after the last one.
    fn advance(
        &mut self,
        tol: f64,
        team: &mut [Worker<T>],
        watch: Option<&mut Interrupt<'_>>,
    ) -> Result<Option<f64>> {
        let found = self.labelling.take(team, self.number, self.stage);
        if self.stage != Stage::Moving {
            return Ok(Some(found.inertia.value()));
        }
        self.history.note(&self.centers, &self.labelling.sums)?;
        self.update();
        self.n_iter += 1;
        let shift = squared_shift(&self.next, &self.centers);
        let converged = Convergence::of(found.changed, shift, tol);
        let stopped = match watch {
            Some(watch) => Seen {
                run: self.number,
                number: self.n_iter - 1,
                inertia: found.inertia.value(),
                shift,
                tol,
                converged,
            }
            .show(watch, &self.centers, self.problem.data.n_columns())?,
            None => false,
        };
        if converged == Some(Convergence::Strict) {
            self.strict = true;
            // Without relocation the same labels give the same sums, so the centers did not move either.
            self.stage = Stage::Last {
                settled: self.centers == self.next,
            };
        } else if converged.is_some() || stopped || self.n_iter >= self.problem.params.max_iter {
            self.stage = Stage::Last { settled: false };
        }
        Ok(None)
    }

    fn moving(&self) -> Moving<'a, 'd, T> {
        Moving {
            data: &self.problem.data,
            weights: self.problem.weights,
            grids: self.grids,
        }
    }

    /// Moves the centers to the means.
    fn update(&mut self) {
        let Labelling {
            packed,
            labels,
            sums,
            ..
        } = &self.labelling;
        let step = Step {
            moving: self.moving(),
            packed,
            labels,
            pool: &self.problem.pool,
        };
        let d = self.problem.data.n_columns();
        match step.relocate_empty_clusters(sums) {
            Some(relocated) => means(&relocated, d, &mut self.next),
            None => means(sums, d, &mut self.next),
        }
        if self.problem.params.spherical {
            to_unit_length(&self.centers, d, &mut self.next);
        }
        self.labelling.centers_moved(&self.centers, &self.next);
        std::mem::swap(&mut self.centers, &mut self.next);
    }

    fn end(self, inertia: f64) -> Result<Fit<T>> {
        let (k, d) = (self.labelling.packed.k(), self.problem.data.n_columns());
        let history = self
            .history
            .finish((&self.centers, &self.labelling.sums), inertia);
        let centers =
            Array2::from_shape_vec((k, d), self.centers).map_err(|_| Error::TooLarge {
                what: "the centers",
                rows: k,
                columns: d,
            })?;
        Ok(Fit {
            centers,
            labels: self.labelling.labels,
            inertia,
            history,
            n_iter: self.n_iter,
            strict: self.strict,
            algorithm: self.labelling.choice.used(),
        })
    }
}

/// The labels of some rows under centers that move, and the sums of these labels: what a pass over the rows brings up to
/// date, with bounds that say which rows it may leave out.
pub(crate) struct Labelling<T> {
    /// The centers of the next pass, to be loaded before it.
    pub(crate) packed: Packed<T>,
    /// Nothing that counts before the first pass.
    pub(crate) labels: Vec<i32>,
    pub(crate) has_labels: bool,
    /// Of the labels after the last pass.
    pub(crate) sums: ExactTable,
    pub(crate) choice: Choice,
    bounds: Option<Bounds<T>>,
}

impl<T: Element> Labelling<T> {
    /// No labels yet, for the rows of `data` and `k` centers.
    pub(crate) fn new(
        data: &Rows<'_, T>,
        k: usize,
        (algorithm, isa): (Algorithm, Isa),
    ) -> Result<Self> {
        Ok(Self {
            packed: Packed::new(isa, k, data.n_columns())?,
            labels: try_zeros("the labels", data.n_rows())?,
            has_labels: false,
            sums: ExactTable::new(k, data.n_columns() + 1)?,
            choice: choice((algorithm, isa), data, k),
            bounds: None,
        })
    }

    /// Whether the next pass leaves out samples.
    fn skips(&self, stage: Stage) -> bool {
        self.choice.next() == Way::Bounded && stage != Stage::Last { settled: true }
    }

    /// What the next pass does for `run`, under the `centers` that are loaded; makes room for bounds when they are needed
    /// first.
    pub(crate) fn visit<'a, 'd>(
        &'a mut self,
        run: usize,
        moving: Moving<'a, 'd, T>,
        centers: &[T],
        stage: Stage,
        inertia: Option<Grid>,
    ) -> Result<Visit<'a, 'd, T>> {
        let how = match (stage, self.choice.next()) {
            (Stage::Last { settled: true }, _) => How::Kept,
            // Margins stored in the last pass would not be read again.
            (_, Way::Dense) | (Stage::Last { .. }, Way::Fill) => How::Dense,
            (_, way) => {
                let bounds = match &mut self.bounds {
                    Some(bounds) => bounds,
                    none => {
                        let groups = match self.choice.groups() {
                            0 => None,
                            groups => {
                                let (d, isa) = (moving.data.n_columns(), self.packed.isa());
                                Some(group(centers, d, groups, isa)?)
                            }
                        };
                        none.insert(Bounds::new(self.labels.len(), self.packed.k(), groups)?)
                    }
                };
                if way == Way::Fill {
                    bounds.reset();
                }
                How::Bounded {
                    margins: &mut bounds.margins,
                    drift: &bounds.drift,
                    groups: bounds.groups.as_mut().map(|groups| {
                        groups.grouped.load(&self.packed);
                        Visited {
                            lower: &mut groups.lower,
                            drift: &groups.drift,
                            grouped: &groups.grouped,
                        }
                    }),
                    trust: way == Way::Bounded,
                }
            }
        };
        let job = Job {
            run,
            packed: &self.packed,
            data: moving.data,
            weights: moving.weights,
            // Sums are those of the labels after the last pass too: the history is relative to them.
            moving: (stage != Stage::Last { settled: true }).then_some(moving),
        };
        let visit = Visit::new(job, &mut self.labels, how, inertia);
        Ok(if std::mem::replace(&mut self.has_labels, true) {
            visit
        } else {
            visit.unlabelled()
        })
    }

    /// Takes what a pass found for `run`, and learns from an iteration which way the next one goes.
    pub(crate) fn take(&mut self, team: &mut [Worker<T>], run: usize, stage: Stage) -> Found {
        let found = Found::take(team, run, &mut self.sums);
        if stage == Stage::Moving {
            self.choice
                .observe(found.changed, found.screened, found.pairs);
        }
        found
    }

    /// The next pass is under other centers than the last one.
    pub(crate) fn centers_moved(&mut self, old: &[T], new: &[T]) {
        if let Some(bounds) = &mut self.bounds {
            bounds.advance(old, new);
        }
    }
}

/// Chooses the way of each pass over the rows of `data` with `k` centers.
fn choice<T: Element>((algorithm, isa): (Algorithm, Isa), data: &Rows<'_, T>, k: usize) -> Choice {
    let (n, d) = (data.n_rows(), data.n_columns());
    let across = data.source(0, 1).across();
    let in_bytes = pairs_a_row_in_bytes(isa, k, d).filter(|_| across == 1);
    let groups = match (across, algorithm) {
        // Where all centers cost as little, bounds by groups of them save nothing.
        (1, Algorithm::Auto) if in_bytes.is_some() => 0,
        (1, _) => groups_for::<T>(k, d),
        _ => 0,
    };
    Choice::new(algorithm, (n, d, k), (groups, in_bytes.unwrap_or(k)))
}

/// Puts centers (row-major, `d` columns) into at most so many groups of near ones: by a few iterations of this algorithm on
/// the centers themselves, from some spread evenly over their order.
fn group<T: Element>(centers: &[T], d: usize, groups: usize, isa: Isa) -> Result<Grouped<T>> {
    /// Enough for most centers to find their group; better groups save little.
    const ITERATIONS: usize = 5;
    let k = centers.len() / d;
    let too_large = |_| Error::TooLarge {
        what: "the centers",
        rows: k,
        columns: d,
    };
    let rows = ArrayView2::from_shape((k, d), centers).map_err(too_large)?;
    let start: Vec<_> = (0..groups).map(|group| group * k / groups).collect();
    let start = rows.select(Axis(0), &start);
    let params = Params {
        max_iter: ITERATIONS,
        algorithm: Algorithm::Lloyd,
        n_threads: Some(1),
        isa: Some(isa),
        ..Params::default()
    };
    let fit = lloyd(
        Rows::new(rows),
        start.view(),
        None,
        &params.check()?,
        &mut || false,
    );
    match fit {
        Ok(fit) => Grouped::new(&fit.labels, d),
        // Centers that were given may lie farther out than data can: any groups will do.
        Err(Error::Overflow { .. }) => {
            let in_order: Vec<_> = (0..).take(groups).cycle().take(k).collect();
            Grouped::new(&in_order, d)
        }
        Err(error) => Err(error),
    }
}

/// What the update of one iteration reads.
struct Step<'a, 'd, T> {
    moving: Moving<'a, 'd, T>,
    labels: &'a [i32],
    /// The centers the labels belong to.
    packed: &'a Packed<T>,
    pool: &'a Pool,
}

impl<T: Element> Step<'_, '_, T> {
    /// As [`relocate_empty_clusters`].
    fn relocate_empty_clusters(&self, sums: &ExactTable) -> Option<ExactTable> {
        let d = self.moving.data.n_columns();
        let own = (self.packed.exact(), self.labels);
        let kernel = (self.pool, self.packed.isa());
        let (farthest, move_row) = (
            |count| farthest(self.moving.data, own, count, kernel),
            |sums: &mut ExactTable, row_move| {
                self.packed.move_rows(sums, &self.moving, &[row_move]);
            },
        );
        relocate_empty_clusters(sums, (self.labels, d), farthest, move_row)
    }
}

/// The `count` samples farthest from their centers with their squared distances, farthest first. `centers` are row-major,
/// and the labels name one for each sample.
pub(crate) fn farthest<T: Element>(
    data: &Rows<'_, T>,
    (centers, labels): (&[f64], &[i32]),
    count: usize,
    (pool, isa): (&Pool, Isa),
) -> Vec<(f64, usize)> {
    let threads = pool.useful_threads(labels.len(), data.n_columns() * 8);
    let piece = rows_per_piece(labels.len(), threads);
    let mut kept: Vec<_> = (0..threads).map(|_| Farthest::new(count)).collect();
    pool.for_each(
        labels.chunks(piece).enumerate(),
        &mut kept,
        |kept, (at, labels)| {
            for (block, labels) in labels.chunks(BLOCK).enumerate() {
                let first = at * piece + block * BLOCK;
                let mut distances = [0.0; BLOCK];
                own_distances(isa, data, first, (centers, labels), &mut distances);
                for (row, &distance) in (first..).zip(&distances[..labels.len()]) {
                    kept.consider(distance, row);
                }
            }
        },
    );
    Farthest::first(kept, count)
}
