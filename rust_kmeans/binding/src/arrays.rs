//! NumPy arrays as the core reads them: in place.

use std::borrow::Cow;

use numpy::{
    AllowTypeChange, Element, PyArray, PyArrayDescrMethods, PyArrayLike1, PyArrayMethods,
    PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// A two-dimensional array of one of the two types.
pub(crate) enum Matrix<'py> {
    F32(PyReadonlyArray2<'py, f32>),
    F64(PyReadonlyArray2<'py, f64>),
}

impl<'py> Matrix<'py> {
    /// Borrows `object`, an ndarray of float32 or float64 with two dimensions and any strides.
    pub(crate) fn new(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let array = object.cast::<PyUntypedArray>().map_err(|_| {
            PyTypeError::new_err(format!(
                "{name} must be a NumPy array of float32 or float64, not {}",
                type_name(object)
            ))
        })?;
        if array.ndim() != 2 {
            return Err(PyValueError::new_err(format!(
                "{name} must have 2 dimensions, it has {}",
                array.ndim()
            )));
        }
        let size = array.dtype().itemsize().cast_signed();
        if !array.is_aligned()
            || size == 0
            || array.strides().iter().any(|stride| stride % size != 0)
        {
            return Err(PyValueError::new_err(format!(
                "{name} is not aligned to its elements: pass numpy.ascontiguousarray({name})"
            )));
        }
        if let Ok(array) = object.cast::<PyArray<f32, numpy::Ix2>>() {
            Ok(Self::F32(array.try_readonly()?))
        } else if let Ok(array) = object.cast::<PyArray<f64, numpy::Ix2>>() {
            Ok(Self::F64(array.try_readonly()?))
        } else {
            Err(PyTypeError::new_err(format!(
                "{name} has dtype {}: convert it to float32 or float64 (in native byte order) first",
                array.dtype()
            )))
        }
    }
}

/// Borrows centers, of the same type as the samples.
pub(crate) fn centers<'py, T: Element>(
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArray2<'py, T>> {
    let wrong = || {
        PyTypeError::new_err(format!(
            "centers must be a 2-dimensional array of X's dtype, {}",
            T::get_dtype(array.py())
        ))
    };
    Matrix::new("centers", array)?;
    let typed = array
        .cast::<PyArray<T, numpy::Ix2>>()
        .map_err(|_| wrong())?;
    Ok(typed.try_readonly()?)
}

/// Weights: anything NumPy converts to float64 with one dimension.
pub(crate) type Weights<'py> = Option<PyArrayLike1<'py, f64, AllowTypeChange>>;

/// The weights as a slice, copied only if they are strided.
pub(crate) fn weights<'a>(weights: &'a Weights<'_>) -> Option<Cow<'a, [f64]>> {
    weights.as_ref().map(|weights| match weights.as_slice() {
        Ok(slice) => Cow::Borrowed(slice),
        Err(_) => Cow::Owned(weights.as_array().to_vec()),
    })
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object
        .get_type()
        .name()
        .map_or_else(|_| "this".to_owned(), |name| name.to_string())
}
