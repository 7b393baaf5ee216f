//! One block of rows in a fit that is driven from outside, over blocks that may lie on many machines.

use ndarray::ArrayView2;

use crate::assign::{Worker, assign, check_columns, check_rows, row_major};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::Grids;
use crate::kernel::{Isa, Moving};
use crate::lloyd::{Labelling, Stage, farthest};
use crate::params::Algorithm;
use crate::partial::Partial;
use crate::pool::Pool;
use crate::scale::Scale;
use crate::view::Rows;

/// What one run knows of one block of rows: labels, bounds and exact sums, as [`crate::lloyd`] keeps them of all rows.
///
/// Each [`BlockRun::step`] is the block's part of an iteration: only rows whose label the bounds do not prove are looked at,
/// only those whose label changes are moved between the sums. Partials of blocks under one [`Scale`], merged in any order,
/// are the bits of the same iteration over all rows at once, whichever algorithm each block uses, and so are the centers
/// that [`crate::next_centers`] makes of them. The block itself stays with the caller, who hands it to every call, unchanged.
///
/// What is kept can be computed again: a new run of the same block, stepped to the centers before the present ones and then to
/// these, answers with the same bits.
pub struct BlockRun<T> {
    scale: Scale,
    grids: Grids,
    algorithm: Algorithm,
    isa: Isa,
    n_rows: usize,
    state: Option<State<T>>,
}

/// What a run knows after its first step.
struct State<T> {
    labelling: Labelling<T>,
    /// Row-major; those the labels belong to.
    centers: Vec<T>,
    /// Labels that the last step changed; `None` if it failed.
    changed: Option<usize>,
}

impl<T: Element> BlockRun<T> {
    /// No labels yet. `data` has shape (`n_samples`, `n_features`), `weights` one number a sample, and `scale` covers all
    /// blocks whose partials will be merged ([`Scale::merge`]). With `check` the block is read once, to prove that it is
    /// finite and lies within `scale`; a caller that has computed the block's own scale before may leave that out.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ScaleMismatch`], [`Error::Isa`], and those of [`Scale::of`].
    pub fn new(
        data: Rows<'_, T>,
        weights: Option<&[f64]>,
        scale: &Scale,
        check: bool,
        algorithm: Algorithm,
        (pool, isa): (&Pool, Isa),
    ) -> Result<Self> {
        data.check_shape()?;
        check_columns("the scale", scale.n_features(), data.n_columns())?;
        if check {
            scale.check_covers(&Scale::of(data, weights, pool)?)?;
        } else if let Some(weights) = weights {
            check_rows("sample_weight", weights.len(), data.n_rows())?;
        }
        Ok(Self {
            scale: scale.clone(),
            grids: scale.grids()?,
            algorithm,
            isa: isa.check()?,
            n_rows: data.n_rows(),
            state: None,
        })
    }

    /// Finds the label of each row under `centers` (`n_clusters`, `n_features`; the same `n_clusters` each time), and returns
    /// the partial of the block and how many labels changed: all, in the first step.
    ///
    /// The partial has its inertia only if that is asked for, as it takes one more look at all rows: a fit wants it of its
    /// last step. A step to the centers of the last one repeats that one's answer, so that it may be asked twice.
    ///
    /// # Errors
    /// [`Error::NoClusters`], [`Error::Shape`] (also if `data` or `weights` have another number of rows than before),
    /// [`Error::NotFinite`] (centers), [`Error::Overflow`], [`Error::Memory`]. The next step is a right one after these too.
    pub fn step(
        &mut self,
        (data, weights): (Rows<'_, T>, Option<&[f64]>),
        centers: ArrayView2<'_, T>,
        inertia: bool,
        pool: &Pool,
    ) -> Result<(Partial, usize)> {
        self.check(&data, weights)?;
        let centers = row_major(centers, data.n_columns())?;
        let k = centers.len() / data.n_columns();
        let state = match &mut self.state {
            Some(state) => state,
            none => none.insert(State {
                labelling: Labelling::new(&data, k, (self.algorithm, self.isa))?,
                centers: centers.clone(),
                changed: None,
            }),
        };
        let State {
            labelling,
            centers: current,
            changed,
        } = state;
        if labelling.packed.k() != k {
            return Err(Error::Shape {
                what: "the centers",
                axis: "clusters",
                found: k,
                expected: labelling.packed.k(),
            });
        }
        let known = changed.take().filter(|_| *current == centers);
        if known.is_none() {
            labelling.centers_moved(current, &centers);
            labelling.packed.load(&centers, &self.scale);
            *current = centers;
        }
        let mut partial = Partial::empty(&self.scale, &labelling.packed)?;
        // An iteration is told apart from the last pass only where labels stand: the caller may go on after an inertia.
        let stage = match known {
            Some(_) => Stage::Last { settled: true },
            None => Stage::Moving,
        };
        let mut found = 0;
        if inertia || known.is_none() {
            let mut workers = Worker::team(pool, &data, (k, self.isa), 1)?;
            Worker::open(&mut workers, 0, k)?;
            let moving = Moving {
                data: &data,
                weights,
                grids: &self.grids,
            };
            let grid = inertia.then_some(partial.inertia_grid);
            let visit = labelling.visit(0, moving, current, stage, grid)?;
            assign(vec![visit], (pool, &mut workers));
            let taken = labelling.take(&mut workers, 0, stage);
            partial.inertia = inertia.then_some(taken.inertia);
            found = taken.changed;
        }
        let found = known.unwrap_or(found);
        *changed = Some(found);
        partial.n_rows = data.n_rows() as u64;
        partial.sums = labelling.sums.clone();
        Ok((partial, found))
    }

    /// The label of each row after the last step, -1 before the first.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn labels(&self) -> Result<Vec<i32>> {
        let mut labels = try_vec("the labels", self.n_rows, -1)?;
        if let Some(state) = &self.state
            && state.labelling.has_labels
        {
            labels.copy_from_slice(&state.labelling.labels);
        }
        Ok(labels)
    }

    /// The `count` rows farthest from their centers, those of the last step, with their squared distances and labels: farthest
    /// first, of equally far ones the lowest first. Those of all blocks, sorted, say where empty clusters go.
    ///
    /// # Errors
    /// As [`BlockRun::step`]; [`Error::Parameter`] before the first step.
    pub fn farthest_rows(
        &self,
        data: Rows<'_, T>,
        count: usize,
        pool: &Pool,
    ) -> Result<Vec<(f64, usize, i32)>> {
        self.check(&data, None)?;
        let Some(State { labelling, .. }) = self.state.as_ref().filter(|s| s.changed.is_some())
        else {
            return Err(Error::Parameter {
                name: "count",
                value: count.to_string(),
                rule: "rows are far from centers only after a step",
            });
        };
        let labels = &labelling.labels;
        let own = (labelling.packed.exact(), labels.as_slice());
        let found = farthest(&data, own, count.min(self.n_rows), (pool, self.isa));
        Ok(found
            .into_iter()
            .map(|(distance, row)| (distance, row, labels[row]))
            .collect())
    }

    /// What bounds have been used for, as in [`crate::Fit`].
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        let state = self.state.as_ref();
        state.map_or(Algorithm::Lloyd, |state| state.labelling.choice.used())
    }

    /// Refuses a block of another shape.
    fn check(&self, data: &Rows<'_, T>, weights: Option<&[f64]>) -> Result<()> {
        check_columns("the block", data.n_columns(), self.scale.n_features())?;
        check_rows("the block", data.n_rows(), self.n_rows)?;
        weights.map_or(Ok(()), |weights| {
            check_rows("sample_weight", weights.len(), self.n_rows)
        })
    }
}
