//! Fits as nearly all are asked for: parameters and samples of the plainest types, which are read where they lie.
//!
//! Checked in Python, a thousand samples wait for their fit as long as it takes: the interpreter's own code and data come
//! from memory for it, which is where most of the time of a first call goes.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};
use rust_kmeans_core::{Params, Problem, Rows};

use crate::arrays::Matrix;
use crate::fits::{BestTuple, Init, Start, best_fits};
use crate::functions::for_type;
use crate::mersenne::seeds;
use crate::run::{checked, settings};

/// Fits an estimator, whose attributes are `state`, if all is plain and certainly valid, and returns how many clusters have
/// samples. `None` if there is anything that this function does not know, or that calls for a warning or an error: nothing
/// was done then. What the data turn out to be wrong with is an error as of [`crate::functions::fit`].
#[pyfunction]
#[pyo3(signature = (state, X, sample_weight, /))]
#[expect(non_snake_case, reason = "scikit-learn's name of the data")]
pub(crate) fn plain_fit<'py>(
    state: &Bound<'py, PyDict>,
    X: &Bound<'py, PyAny>,
    sample_weight: &Bound<'py, PyAny>,
) -> PyResult<Option<usize>> {
    let Some(asked) = Asked::read(state) else {
        return Ok(None);
    };
    let Some((matrix, shape)) = plain_matrix(X) else {
        return Ok(None);
    };
    let Some(weights) = plain_weights(sample_weight, shape[0]) else {
        return Ok(None);
    };
    if !asked.suits(shape, &matrix) {
        return Ok(None);
    }
    let (n_init, start) = asked.start()?;
    let tol = asked.params.tol;
    let params = checked(asked.params)?;
    let weights = weights
        .as_ref()
        .map(PyReadonlyArray1::as_slice)
        .transpose()?;
    let starts = [start];
    let fits = for_type!(matrix, |rows| best_fits(X.py(), &starts, tol, None, |k| {
        Problem::new(rows, k, weights, &params)
    }))?;
    let mut distinct = None;
    for fit in fits {
        distinct = Some(fit.6);
        keep(state, fit, (asked.n_clusters, shape[1], n_init))?;
    }
    Ok(distinct)
}

/// The samples and their shape.
fn plain_matrix<'py>(object: &Bound<'py, PyAny>) -> Option<(Matrix<'py>, [usize; 2])> {
    let &[rows, columns] = object.cast_exact::<PyUntypedArray>().ok()?.shape() else {
        return None;
    };
    let matrix = Matrix::new("X", object).ok()?;
    (rows > 0 && columns > 0).then_some((matrix, [rows, columns]))
}

/// The weights of as many rows, if there are any.
#[expect(clippy::option_option, reason = "not plain, none, or some")]
fn plain_weights<'py>(
    object: &Bound<'py, PyAny>,
    rows: usize,
) -> Option<Option<PyReadonlyArray1<'py, f64>>> {
    if object.is_none() {
        return Some(None);
    }
    let weights = object.cast_exact::<PyArray1<f64>>().ok()?;
    let is_plain = weights.is_aligned() && weights.is_c_contiguous() && weights.len() == rows;
    Some(Some(is_plain.then(|| weights.try_readonly().ok())??))
}

/// The attributes that are parameters, all of them certainly valid.
struct Asked<'py> {
    n_clusters: usize,
    init: AskedInit<'py>,
    /// `None` for "auto".
    n_init: Option<usize>,
    params: Params,
}

enum AskedInit<'py> {
    /// And what its seeds follow from.
    Named(Init, u32),
    Given(Matrix<'py>, Bound<'py, PyUntypedArray>),
}

impl<'py> Asked<'py> {
    fn read(state: &Bound<'py, PyDict>) -> Option<Self> {
        let py = state.py();
        let get = |name: &Bound<'py, PyString>| state.get_item(name).ok().flatten();
        // Somebody watches.
        if get(intern!(py, "_skl_callbacks")).is_some()
            || integer(&get(intern!(py, "verbose"))?)? != 0
        {
            return None;
        }
        let n_clusters = positive(&get(intern!(py, "n_clusters"))?)?;
        let n_init = get(intern!(py, "n_init"))?;
        let n_init = if n_init.is_exact_instance_of::<PyString>() {
            (text(&n_init)? == "auto").then_some(None)?
        } else {
            Some(positive(&n_init)?)
        };
        let random_state = get(intern!(py, "random_state"))?;
        let random_state = if random_state.is_none() {
            None
        } else {
            Some(integer(&random_state)?)
        };
        if !get(intern!(py, "copy_x"))?.is(PyBool::new(py, true)) {
            return None;
        }
        let n_threads = get(intern!(py, "n_threads"))?;
        let params = settings(
            positive(&get(intern!(py, "max_iter"))?)?,
            tolerance(&get(intern!(py, "tol"))?)?,
            // "elkan" is a name that the core does not know.
            &text(&get(intern!(py, "algorithm"))?)?,
            if n_threads.is_none() {
                None
            } else {
                Some(positive(&n_threads)?)
            },
        );
        Some(Self {
            n_clusters,
            init: AskedInit::read(&get(intern!(py, "init"))?, random_state)?,
            n_init,
            params: params.ok()?,
        })
    }

    /// Whether samples of a shape and type can be fitted.
    fn suits(&self, [rows, columns]: [usize; 2], samples: &Matrix<'_>) -> bool {
        let has_centers = match &self.init {
            AskedInit::Named(..) => true,
            AskedInit::Given(centers, array) => {
                // Several runs from the same start are one, with a warning.
                array.shape() == [self.n_clusters, columns]
                    && matches!(self.n_init, None | Some(1))
                    && matches!(
                        (centers, samples),
                        (Matrix::F32(_), Matrix::F32(_)) | (Matrix::F64(_), Matrix::F64(_))
                    )
            }
        };
        has_centers && self.n_clusters <= rows
    }

    /// How many runs there are, and what they start from.
    fn start(&self) -> PyResult<(usize, Start<'py>)> {
        match &self.init {
            AskedInit::Given(_, array) => Ok((1, Start::Given(vec![array.as_any().clone()]))),
            AskedInit::Named(init, random_state) => {
                let several = if matches!(init, Init::Random) { 10 } else { 1 };
                let n_init = self.n_init.unwrap_or(several);
                let seeds = seeds(*random_state, n_init)?;
                let n_clusters = self.n_clusters;
                Ok((
                    n_init,
                    Start::Drawn {
                        init: *init,
                        n_clusters,
                        seeds,
                    },
                ))
            }
        }
    }
}

impl<'py> AskedInit<'py> {
    fn read(object: &Bound<'py, PyAny>, random_state: Option<u32>) -> Option<Self> {
        if let Ok(array) = object.cast_exact::<PyUntypedArray>() {
            let matrix = Matrix::new("centers", object).ok()?;
            return Some(Self::Given(matrix, array.clone()));
        }
        // Without a seed it is NumPy that draws one.
        let init = text(object)?.parse().ok()?;
        Some(Self::Named(init, random_state?))
    }
}

fn integer(object: &Bound<'_, PyAny>) -> Option<u32> {
    object.cast_exact::<PyInt>().ok()?.extract().ok()
}

fn positive(object: &Bound<'_, PyAny>) -> Option<usize> {
    let number = object.cast_exact::<PyInt>().ok()?.extract().ok()?;
    (number > 0).then_some(number)
}

fn tolerance(object: &Bound<'_, PyAny>) -> Option<f64> {
    let is_number =
        object.is_exact_instance_of::<PyFloat>() || object.is_exact_instance_of::<PyInt>();
    let tol: f64 = is_number.then(|| object.extract().ok())??;
    (tol >= 0.0 && tol.is_finite()).then_some(tol)
}

fn text(object: &Bound<'_, PyAny>) -> Option<PyBackedStr> {
    object.cast_exact::<PyString>().ok()?.extract().ok()
}

/// Sets the attributes of a fitted estimator.
fn keep<'py>(
    state: &Bound<'py, PyDict>,
    fit: BestTuple<'py>,
    (n_clusters, n_features, n_init): (usize, usize, usize),
) -> PyResult<()> {
    let py = state.py();
    let (centers, labels, inertia, history, n_iter, algorithm, _) = fit;
    let names = intern!(py, "feature_names_in_");
    if state.contains(names)? {
        state.del_item(names)?;
    }
    state.set_item(intern!(py, "n_features_in_"), n_features)?;
    state.set_item(intern!(py, "_n_init"), n_init)?;
    state.set_item(intern!(py, "cluster_centers_"), centers)?;
    state.set_item(intern!(py, "labels_"), labels)?;
    state.set_item(intern!(py, "inertia_"), inertia)?;
    state.set_item(intern!(py, "inertia_history_"), history)?;
    state.set_item(intern!(py, "n_iter_"), n_iter)?;
    state.set_item(intern!(py, "algorithm_"), algorithm)?;
    state.set_item(intern!(py, "_n_features_out"), n_clusters)
}
