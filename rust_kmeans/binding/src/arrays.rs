//! NumPy arrays as the core reads them: in place.

use numpy::{
    Element, PyArray, PyArray1, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1,
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
                "{name} is not aligned to its elements: pass {name}.copy()"
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

/// Numbers one after the other: an array that is, or a copy that NumPy makes of anything it understands. NumPy, because
/// it reads any strides and alignment, and believes no object's word on its length.
pub(crate) struct Vector<'py, T: Element>(PyReadonlyArray1<'py, T>);

impl<T: Element> Vector<'_, T> {
    pub(crate) fn as_slice(&self) -> PyResult<&[T]> {
        Ok(self.0.as_slice()?)
    }

    /// The array itself, to be kept.
    pub(crate) fn to_array(&self) -> Py<PyArray1<T>> {
        self.0.as_unbound().clone_ref(self.0.py())
    }
}

impl<'py, T: Element> FromPyObject<'_, 'py> for Vector<'py, T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let array = py
            .import("numpy")?
            .call_method1("require", (object, T::get_dtype(py), "CA"))?;
        let array = array
            .cast::<PyArray1<T>>()
            .map_err(|_| PyValueError::new_err("a vector is needed: an array with 1 dimension"))?;
        Ok(Self(array.try_readonly()?))
    }
}

/// One weight a sample.
pub(crate) type Weights<'py> = Option<Vector<'py, f64>>;

/// The weights as a slice.
pub(crate) fn weights<'a>(weights: &'a Weights<'_>) -> PyResult<Option<&'a [f64]>> {
    weights.as_ref().map(Vector::as_slice).transpose()
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object
        .get_type()
        .name()
        .map_or_else(|_| "this".to_owned(), |name| name.to_string())
}
