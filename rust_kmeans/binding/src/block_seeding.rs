//! `BlockSearch`, `Nearest` and `Random`: what seeding over blocks keeps with each of them, and what drives it.

use ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use rust_kmeans_core as core;
use rust_kmeans_core::exact_sum::ExactSum;
use rust_kmeans_core::{Element, Isa, Pool, Rows};

use crate::arrays::{self, Matrix, Vector, Weights};
use crate::functions::for_type;
use crate::partial::Scale;
use crate::run::{engine, run, to_python};

type Sums<'py> = Bound<'py, PyArray2<f64>>;
type Levels<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    Sums<'py>,
);

/// Random numbers that depend on a seed alone.
#[pyclass(module = "rust_kmeans._core")]
pub(crate) struct Random(core::Random);

#[pymethods]
impl Random {
    #[new]
    fn new(seed: u64) -> Self {
        Self(core::Random::new(seed))
    }

    fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    fn below(&mut self, n: usize) -> PyResult<usize> {
        if n == 0 {
            return Err(to_python(&core::Error::Parameter {
                name: "n",
                value: "0".to_owned(),
                rule: "it must be positive",
            }));
        }
        Ok(self.0.below(n))
    }

    fn part_of(&mut self, total: f64) -> f64 {
        self.0.part_of(total)
    }
}

#[pyfunction]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn block_heights<'py>(
    X: &Bound<'py, PyAny>,
    most: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let py = X.py();
    let heights = for_type!(Matrix::new("X", X)?, |rows| run(py, |_| {
        core::block_heights(rows, most)
    }))?;
    Ok(heights.into_pyarray(py))
}

#[pyfunction]
pub(crate) fn bucket_splits<'py>(
    py: Python<'py>,
    heights: Vector<'py, f64>,
    n_rows: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let splits = core::bucket_splits(heights.as_slice()?.to_vec(), n_rows);
    Ok(splits.into_pyarray(py))
}

/// The arrays of a block, and what works on them.
struct Block {
    data: Py<PyAny>,
    weights: Option<Py<PyArray1<f64>>>,
    pool: Pool,
    isa: Isa,
}

impl Block {
    fn new(
        data: &Bound<'_, PyAny>,
        weights: &Weights<'_>,
        n_threads: Option<usize>,
    ) -> PyResult<Self> {
        let (pool, isa) = engine(n_threads)?;
        Ok(Self {
            data: data.clone().unbind(),
            weights: weights.as_ref().map(Vector::to_array),
            pool,
            isa,
        })
    }

    /// Calls with the weights.
    fn with_weights<R>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(Option<&[f64]>) -> PyResult<R>,
    ) -> PyResult<R> {
        let weights = self.weights.as_ref().map(|weights| weights.bind(py));
        let weights = weights.map(PyArrayMethods::try_readonly).transpose()?;
        let weights = weights.as_ref().map(|weights| weights.as_slice());
        call(weights.transpose()?)
    }
}

/// The nearest candidate of every row of a block. The arrays are referred to, not copied.
#[pyclass(module = "rust_kmeans._core")]
pub(crate) struct Nearest {
    block: Block,
    scale: core::Scale,
    inner: core::Nearest,
}

#[pymethods]
impl Nearest {
    /// Rounds of drawing.
    #[classattr]
    const ROUNDS: usize = core::ROUNDS;
    /// Candidates expected of a round, in units of the number of clusters.
    #[classattr]
    const OVERSAMPLING: f64 = core::OVERSAMPLING;

    #[new]
    #[pyo3(
        signature = (X, sample_weight, scale, n_threads=Some(1)),
        text_signature = "(X, sample_weight, scale, n_threads=1)"
    )]
    #[expect(non_snake_case, reason = "scikit-learn's name of the data")]
    fn new(
        X: &Bound<'_, PyAny>,
        sample_weight: Weights<'_>,
        scale: &Bound<'_, Scale>,
        n_threads: Option<usize>,
    ) -> PyResult<Self> {
        let scale = scale.get().0.clone();
        let n_rows = for_type!(Matrix::new("X", X)?, |rows| rows.n_rows());
        Ok(Self {
            block: Block::new(X, &sample_weight, n_threads)?,
            inner: core::Nearest::new(n_rows, &scale).map_err(|error| to_python(&error))?,
            scale,
        })
    }

    fn weight<'py>(&self, py: Python<'py>) -> PyResult<Sums<'py>> {
        self.block.with_weights(py, |weights| {
            let sum = core::weight_of_rows(weights.unwrap_or_default(), &self.scale);
            Ok(sums(py, &[sum]))
        })
    }

    fn row_at_weight(
        &self,
        py: Python<'_>,
        before: (f64, f64),
        target: f64,
    ) -> PyResult<Option<usize>> {
        let (high, low) = before;
        self.block.with_weights(py, |weights| {
            let weights = weights.unwrap_or_default();
            let before = ExactSum { high, low };
            Ok(core::row_at_weight(weights, &self.scale, before, target))
        })
    }

    fn add<'py>(&mut self, candidates: &Bound<'py, PyAny>, before: usize) -> PyResult<Sums<'py>> {
        fn typed<T: Element + numpy::Element>(
            nearest: &mut core::Nearest,
            samples: (Rows<'_, T>, Option<&[f64]>),
            candidates: &Bound<'_, PyAny>,
            before: usize,
            engine: (&Pool, Isa),
        ) -> PyResult<ExactSum> {
            let borrowed = arrays::centers::<T>(candidates)?;
            let view = borrowed.as_array();
            run(candidates.py(), |_| {
                nearest.add(samples, view, before, engine)
            })
        }
        let py = candidates.py();
        let Self { block, inner, .. } = self;
        let engine = (&block.pool, block.isa);
        let potential = block.with_weights(py, |weights| {
            for_type!(Matrix::new("X", block.data.bind(py))?, |rows| typed(
                inner,
                (rows, weights),
                candidates,
                before,
                engine
            ))
        })?;
        Ok(sums(py, &[potential]))
    }

    fn draw<'py>(
        &self,
        py: Python<'py>,
        expected: f64,
        potential: f64,
        bits: u64,
        first_row: u64,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let drawing = core::Drawing {
            expected,
            potential,
            bits,
            first_row,
        };
        let rows = self.block.with_weights(py, |weights| {
            run(py, |_| self.inner.draw(weights, &drawing, &self.block.pool))
        })?;
        Ok(numbers(py, rows))
    }

    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Sums<'py>> {
        let found = self
            .block
            .with_weights(py, |weights| run(py, |_| self.inner.weights(weights)))?;
        Ok(sums(py, &found))
    }
}

/// A search in the type of its block.
enum Typed {
    F32(core::BlockSearch<f32>),
    F64(core::BlockSearch<f64>),
}

/// Calls a function with the rows of a block and the search of the same type, which the block's array keeps.
macro_rules! for_search {
    ($py:expr, $block:expr, $search:expr, |$rows:ident, $typed:ident| $call:expr) => {
        match (&Matrix::new("X", $block.data.bind($py))?, $search) {
            (Matrix::F32(array), Typed::F32($typed)) => {
                let $rows = Rows::new(array.as_array());
                $call
            }
            (Matrix::F64(array), Typed::F64($typed)) => {
                let $rows = Rows::new(array.as_array());
                $call
            }
            _ => Err(PyTypeError::new_err("the dtype of X has changed")),
        }
    };
}

/// What greedy k-means++ keeps of one block. The arrays are referred to, not copied.
#[pyclass(module = "rust_kmeans._core")]
pub(crate) struct BlockSearch {
    block: Block,
    search: Typed,
}

#[pymethods]
impl BlockSearch {
    #[new]
    #[pyo3(
        signature = (X, sample_weight, scale, splits, n_clusters, n_local_trials=None, n_threads=Some(1)),
        text_signature = "(X, sample_weight, scale, splits, n_clusters, n_local_trials=None, n_threads=1)"
    )]
    #[expect(non_snake_case, reason = "scikit-learn's name of the data")]
    fn new(
        X: &Bound<'_, PyAny>,
        sample_weight: Weights<'_>,
        scale: &Bound<'_, Scale>,
        splits: Vector<'_, f64>,
        n_clusters: usize,
        n_local_trials: Option<usize>,
        n_threads: Option<usize>,
    ) -> PyResult<Self> {
        let py = X.py();
        let block = Block::new(X, &sample_weight, n_threads)?;
        let (scale, most) = (&scale.get().0, (n_clusters, n_local_trials));
        let splits = splits.as_slice()?.to_vec();
        let engine = (&block.pool, block.isa);
        let search = match Matrix::new("X", X)? {
            Matrix::F32(array) => {
                let rows = Rows::new(array.as_array());
                Typed::F32(run(py, |_| {
                    core::BlockSearch::new(rows, scale, splits, most, engine)
                })?)
            }
            Matrix::F64(array) => {
                let rows = Rows::new(array.as_array());
                Typed::F64(run(py, |_| {
                    core::BlockSearch::new(rows, scale, splits, most, engine)
                })?)
            }
        };
        Ok(Self { block, search })
    }

    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Sums<'py>> {
        let found = self.block.with_weights(py, |weights| match &self.search {
            Typed::F32(search) => run(py, |_| search.weights(weights)),
            Typed::F64(search) => run(py, |_| search.weights(weights)),
        })?;
        Ok(sums(py, &found))
    }

    fn levels<'py>(&mut self, py: Python<'py>, bucket: usize) -> PyResult<Levels<'py>> {
        let Self { block, search } = self;
        let levels = block.with_weights(py, |weights| {
            for_search!(py, block, search, |rows, search| run(py, |_| {
                search.levels((rows, weights), bucket, &block.pool)
            }))
        })?;
        let terms: Vec<_> = levels.iter().map(|level| level.term).collect();
        let heights: Vec<_> = levels.iter().map(|level| level.height).collect();
        Ok((
            numbers(py, levels.iter().map(|level| level.row)),
            numbers(py, levels.iter().map(|level| level.place)),
            numbers(py, levels.iter().map(|level| level.count)),
            heights.into_pyarray(py),
            sums(py, &terms),
        ))
    }

    fn row_at(&mut self, py: Python<'_>, bucket: usize, place: usize) -> PyResult<usize> {
        let Self { block, search } = self;
        for_search!(py, block, search, |rows, search| run(py, |_| {
            search.row_at(rows, bucket, place)
        }))
    }

    fn start<'py>(&mut self, center: &Bound<'py, PyAny>) -> PyResult<Sums<'py>> {
        let py = center.py();
        let Self { block, search } = self;
        let found = block.with_weights(py, |weights| {
            for_search!(py, block, search, |rows, search| {
                let borrowed = arrays::centers(center)?;
                let view = borrowed.as_array();
                run(py, |_| search.start((rows, weights), view, &block.pool))
            })
        })?;
        Ok(sums(py, &found))
    }

    fn evaluate<'py>(&mut self, trials: &Bound<'py, PyAny>) -> PyResult<Sums<'py>> {
        let py = trials.py();
        let Self { block, search } = self;
        let found = block.with_weights(py, |weights| {
            for_search!(py, block, search, |rows, search| {
                let borrowed = arrays::centers(trials)?;
                let view = borrowed.as_array();
                run(py, |_| search.evaluate((rows, weights), view, &block.pool))
            })
        })?;
        Ok(sums(py, &found))
    }

    fn accept<'py>(&mut self, py: Python<'py>, number: usize, trial: usize) -> PyResult<Sums<'py>> {
        let Self { block, search } = self;
        let found = block.with_weights(py, |weights| {
            for_search!(py, block, search, |rows, search| run(py, |_| {
                search.accept((rows, weights), number, trial, &block.pool)
            }))
        })?;
        Ok(sums(py, &found))
    }
}

/// Exact sums as rows of a high and a low part.
fn sums<'py>(py: Python<'py>, sums: &[ExactSum]) -> Sums<'py> {
    let parts = Array2::from_shape_fn((sums.len(), 2), |(i, part)| match part {
        0 => sums[i].high,
        _ => sums[i].low,
    });
    parts.into_pyarray(py)
}

/// Row numbers, which fit into i64: the data are in memory.
fn numbers(py: Python<'_>, rows: impl IntoIterator<Item = usize>) -> Bound<'_, PyArray1<i64>> {
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| row.cast_signed() as i64)
        .collect();
    rows.into_pyarray(py)
}
